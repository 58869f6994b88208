"""The order in which a run reaches the disk, as the kernel was asked: strace of a whole three-round loop.

What is written natively (Parquet, Arrow, PNG) is seen as well. The rules: whatever gets its final name by a rename has
been synced, bytes and entries; a step's manifest is begun when all its other files are on disk; the folder that holds
the new name is synced before anything says that the step is done.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .conftest import ENVIRONMENT, STUB_LOOP

TRACED = (
    "openat", "?open", "?creat", "write", "pwrite64", "writev", "ftruncate", "fallocate", "fsync", "fdatasync",
    "?rename", "renameat", "renameat2", "?mkdir", "mkdirat", "?link", "linkat",
)  # fmt: skip
LINE = re.compile(r"^(?P<pid>\d+) +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)(<(?P<opened>[^>]*)>)?")
UNFINISHED = re.compile(r"^(?P<pid>\d+) +(?P<start>\w+\(.*?),? *<unfinished \.\.\.>$")
RESUMED = re.compile(r"^(?P<pid>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)$")
DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")
NAME = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Call:
    """One successful system call. paths: what it names, in order, absolute; of an open, the file it led to."""

    name: str
    paths: tuple[str, ...]
    creates: bool


@dataclass
class Disk:
    """What of a run folder is not on disk yet, as the calls so far tell, and what was done too early."""

    root: str
    unsynced: set[str] = field(default_factory=set)  # files with bytes, folders with entries
    unpromised: set[str] = field(default_factory=set)  # new names of steps in folders that are not synced yet
    faults: list[str] = field(default_factory=list)
    num_published: int = 0

    def see(self, call: Call) -> None:
        """Take one call."""
        if not any(path.startswith(self.root) for path in call.paths):
            return
        if call.name in ("fsync", "fdatasync"):
            self.synced(call.paths[0])
        elif call.name.startswith("rename"):
            self.renamed(*call.paths)
        elif call.name.startswith("link"):
            self.unsynced.add(os.path.dirname(call.paths[1]))  # noqa: PTH120
            self.unsynced |= {call.paths[1]} if call.paths[0] in self.unsynced else set()
        elif call.name.startswith("mkdir") or call.creates:
            self.created(call.paths[-1])
        elif call.name in ("write", "pwrite64", "writev", "ftruncate", "fallocate"):
            self.written(call.paths[0])

    def synced(self, path: str) -> None:
        self.unsynced.discard(path)
        self.unpromised = {name for name in self.unpromised if os.path.dirname(name) != path}  # noqa: PTH120

    def created(self, path: str) -> None:
        if path.endswith(".work/manifest.json"):
            work = path.removesuffix("/manifest.json")
            self.faults += [f"{path} begun before {name} was synced" for name in self.waiting(work)]
        self.unsynced |= {path, os.path.dirname(path)}  # noqa: PTH120

    def written(self, path: str) -> None:
        self.unsynced.add(path)
        if path.endswith("/events.jsonl"):
            self.faults += [f"an event came before the folder of {name} was synced" for name in self.unpromised]

    def renamed(self, old: str, new: str) -> None:
        self.faults += [f"{new} got its name before {name} was synced" for name in self.waiting(old)]
        self.unsynced -= set(self.waiting(old))
        self.unsynced |= {os.path.dirname(old), os.path.dirname(new)}  # noqa: PTH120
        if old.endswith(".work"):
            self.num_published += 1
            self.unpromised.add(new)

    def waiting(self, path: str) -> list[str]:
        """Return what is not synced at or below path."""
        return sorted(name for name in self.unsynced if name == path or name.startswith(path + "/"))


def whole_lines(trace: str) -> Iterator[str]:
    """Yield one line a call: those that another thread's calls interrupt come when they end."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        if found := UNFINISHED.match(line):
            begun[found["pid"]] = found["start"]
        elif found := RESUMED.match(line):
            yield f"{found['pid']} {begun.pop(found['pid'])}{found['rest']}"
        else:
            yield line


def calls(trace: str) -> Iterator[Call]:
    """Yield the successful calls of a trace."""
    for line in whole_lines(trace):
        found = LINE.match(line)
        if found is None or found["result"].startswith("-"):
            continue
        arguments, name = found["arguments"], found["call"]
        if on_descriptor := DESCRIPTOR.match(arguments):
            paths: tuple[str, ...] = (on_descriptor[1],)
        else:
            paths = (found["opened"],) if found["opened"] else tuple(NAME.findall(arguments))
        yield Call(name, paths, found["opened"] is not None and ("O_CREAT" in arguments or "O_TRUNC" in arguments))


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_nothing_of_a_whole_loop_gets_its_name_before_it_is_on_disk(few_images: Path, tmp_path: Path) -> None:
    out = tmp_path / "trace"
    command = ("strace", "-f", "--seccomp-bpf", "-y", "-s", "0", "-e", f"trace={','.join(TRACED)}", "-o", str(out))
    subprocess.run([*command, *STUB_LOOP, str(few_images)], env=ENVIRONMENT, check=True)
    disk = Disk(str(few_images.parent / "artifacts"))
    for call in calls(out.read_text()):
        disk.see(call)
    assert disk.faults == []
    assert disk.unpromised == set()
    assert disk.num_published == len(list((few_images.parent / "artifacts").glob("**/manifest.json")))
    assert disk.num_published > 15


ORDERLY = """\
1 mkdir("/r/a.work", 0777) = 0
1 fsync(3</r>) = 0
1 openat(AT_FDCWD</>, "/r/a.work/x", O_WRONLY|O_CREAT, 0666) = 3</r/a.work/x>
1 write(3</r/a.work/x>, ""..., 9) = 9
1 fsync(4</r/a.work/x>) = 0
1 fsync(4</r/a.work>) = 0
1 openat(AT_FDCWD</>, "/r/a.work/manifest.json", O_WRONLY|O_CREAT, 0666) = 3</r/a.work/manifest.json>
1 write(3</r/a.work/manifest.json>, ""..., 9) = 9
1 fsync(4</r/a.work/manifest.json>) = 0
1 fsync(4</r/a.work>) = 0
1 rename("/r/a.work", "/r/a") = 0
1 fsync(4</r>) = 0
1 write(5</r/events.jsonl>, ""..., 9) = 9
""".splitlines()
NEEDED = {
    4: "x was synced",
    5: "a.work was synced",
    8: "manifest.json was synced",
    9: "work was synced",
    11: "an event",
}


@pytest.mark.parametrize("left_out", [None, *NEEDED])
def test_the_rules_find_each_missing_sync(left_out: int | None) -> None:
    disk = Disk("/r")
    for call in calls("\n".join(line for number, line in enumerate(ORDERLY) if number != left_out)):
        disk.see(call)
    assert bool(disk.faults) is (left_out is not None)
    assert left_out is None or NEEDED[left_out] in "\n".join(disk.faults)
