"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from segcore.store.environment import environment


def describe() -> dict[str, str]:
    """Return commit, versions and hardware."""
    found = environment()
    packages = found.get("packages")
    versions = packages if isinstance(packages, dict) else {}
    names = ("torch", "onedl-mmsegmentation", "onedl-mmengine", "numpy", "prefect")
    return {
        "commit": str(found.get("commit")),
        "python": platform.python_version(),
        "processor": processor(),
        "cores": str(os.cpu_count()),
        **{name: str(versions[name]) for name in names if name in versions},
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
