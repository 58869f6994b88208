"""What a result was made with: noted in manifests, never part of a key."""

from __future__ import annotations

import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "segloop",
    "torch",
    "onedl-mmsegmentation",
    "onedl-mmengine",
    "onedl-mmcv",
    "numpy",
    "opencv-python",
    "pyarrow",
    "pycocotools",
    "prefect",
    "pydantic",
)


@lru_cache(maxsize=1)
def environment() -> dict[str, object]:
    """Return versions of Python, platform and packages, and the commit of a source checkout (None elsewhere)."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in PACKAGES if (version := version_of(name)) is not None},
        "commit": source_commit(Path(__file__).resolve().parents[2]),
    }


def version_of(package: str) -> str | None:
    """Return an installed package's version; None when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def source_commit(root: Path) -> str | None:
    """Return the commit checked out in root; None when root is not the top of a git checkout or git is absent."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
