"""Room on the disk, asked for before hours are spent, and the error when a disk does not take what it is given."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from segcore.errors import StepError

GB = 1_000_000_000


def free_gb(path: Path) -> float:
    """Return the free space, in gigabytes, of the disk that path is on or would be created on."""
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free / GB


def require_free_space(path: Path, min_free_gb: float) -> None:
    """Raise StepError unless the disk of path has min_free_gb gigabytes free."""
    found = free_gb(path)
    if found < min_free_gb:
        raise StepError(
            f"{path} must have {min_free_gb:g} GB free before a round starts (runtime.min_free_gb), "
            f"and has {found:.2f} GB; make room and start the run again: finished steps are reused"
        )


@contextlib.contextmanager
def written(what: str) -> Iterator[None]:
    """Turn an OSError of the block, such as a full disk, into a StepError that names what was being written."""
    try:
        yield
    except OSError as error:
        raise StepError(
            f"{what}: could not be written ({error}); nothing incomplete was published. "
            "Make room or mend permissions, then start the run again"
        ) from error
