"""What fails its check is set aside with its reason, never deleted and never used."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path

from segcore.store.durable import make_folders, sync_folder, write_synced
from segcore.store.layout import RunLayout

logger = logging.getLogger(__name__)


def set_aside(run_dir: Path, path: Path, reason: str) -> Path:
    """Move a file or folder of a run to quarantine/<its name>[.n]/ beside a reason.json; return where it is now."""
    layout = RunLayout(run_dir)
    name = layout.relative(path)
    make_folders(layout.quarantine_dir)
    folder = new_folder(layout.quarantine_dir, name.replace("/", "_"))
    write_synced(
        folder / "reason.json", (json.dumps({"path": name, "reason": reason}, indent=1) + "\n").encode("ascii")
    )
    path.rename(folder / path.name)
    sync_folder(folder)
    sync_folder(path.parent)
    logger.warning("set aside %s in %s: %s", name, layout.relative(folder), reason)
    return folder / path.name


def new_folder(parent: Path, name: str) -> Path:
    """Create and return parent/name, or parent/name.1, .2 … when that exists."""
    for number in itertools.count():
        folder = parent / (f"{name}.{number}" if number else name)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable: the count never ends")
