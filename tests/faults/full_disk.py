"""Walk the loop on a disk that is really full, again and again with a little more room, then make room and resume.

    unshare -rm python tests/faults/full_disk.py FOLDER CONFIG    (prints one JSON object)

FOLDER, in a mount namespace of this program's own, gets a small file system in memory and the data and config of
CONFIG's folder. A file of ballast leaves some pages free; the run has to fail with a clear error and publish nothing
that is not whole. Without the ballast the same run has to end as one that never met a full disk.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from every_point import outcome
from stub_loop import CHECKPOINT, SMALL, replace_parts, walk

from segcore.errors import SegloopError
from segcore.store.verify import verify_run

PAGE = 4096
SIZE = 12_000_000
ROOM_PAGES = range(0, 190, 5)
NO_FLOOR = (*SMALL, "runtime.min_free_gb=0")


def main(folder: Path, config: Path) -> dict[str, Any]:
    """Return per amount of room what happened, and the results of a run that had room."""
    logging.disable(logging.CRITICAL)
    replace_parts(setattr)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=True)
    shutil.copytree(config.parent / "data", folder / "data")
    own = Path(shutil.copy(config, folder))
    expected = outcome(walk(own, NO_FLOOR, run_id="roomy"))
    return {"attempts": [attempt(folder, own, pages, expected) for pages in ROOM_PAGES]}


def attempt(folder: Path, config: Path, pages: int, expected: dict[str, Any]) -> dict[str, Any]:
    """Run with so many pages free, then with room; return the first one's error and what differs in the end."""
    run_id = f"pages_{pages}"
    run_dir = folder / "artifacts" / run_id
    fill(folder / "ballast", folder, pages)
    error = ""
    try:
        walk(config, NO_FLOOR, run_id=run_id)
    except SegloopError as found:
        error = f"{type(found).__name__}: {found}"
    whole = verify_run(run_dir).whole if run_dir.exists() else True
    num_published = len(list(run_dir.glob("**/manifest.json")))
    in_checkpoint = any(run_dir.glob(f"**/{CHECKPOINT}"))
    (folder / "ballast").unlink()
    found = outcome(walk(config, NO_FLOOR, run_id=run_id))
    shutil.rmtree(run_dir)
    same = all(found[name] == expected[name] for name in ("digests", "contents", "whole"))
    return {"pages": pages, "error": error, "whole": whole, "published": num_published, "same": same,
            "checkpoint": in_checkpoint}  # fmt: skip


def fill(ballast: Path, folder: Path, pages: int) -> None:
    """Leave so many pages of the disk free."""
    with ballast.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(folder).free - pages * PAGE)))


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
