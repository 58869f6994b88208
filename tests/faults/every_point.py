"""Die at every durable point of a three-round loop, resume from what each death left, and compare.

    python tests/faults/every_point.py CONFIG       (prints one JSON object)

One process walks the loop. At each point it forks, and the fork dies there by os._exit, half-way through a write where
the point says so. What lies on the disk then is copied, and the walk goes on to the next point. Afterwards a fresh
process resumes each copy to the end. Copies that are equal byte by byte (most fsyncs change nothing that a dead process
could tell) are resumed once. A program of its own, because it forks: no thread of a test runner is in its way.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from durable_points import DurablePoints
from stub_loop import SMALL, replace_parts, walk

from segcore.outputs.report import RELIABILITY, TEMPLATE, page_environment
from segcore.store.events import read_events
from segcore.store.verify import verify_run

DIED = 77
RECORDED = "recorded"
NOT_COMPARED = {"events.jsonl", "hash_memo.txt", "LOCK", "run.json"}  # times, inodes, pids, the run's name
TIMED = {"manifest.json", "report.html"}  # hold durations and versions; the digest in a manifest is compared


def main(config: Path) -> dict[str, Any]:
    """Return what was found: points by call, how many distinct states, and what went wrong at which point."""
    prepare()
    expected = outcome(walk(config, SMALL, run_id="undisturbed"))
    gc.collect()
    gc.freeze()  # so that forks share the memory
    states = json.loads(in_a_fork(lambda: record(config)))
    work = [(state, names) for state, names in states.items()]
    halves = [begin(lambda part=part: check(config, work[part::2], expected)) for part in range(2)]
    wrong = [item for half in halves for item in json.loads(end(half))]
    calls = Counter(name.split()[0] for names in states.values() for name in names)
    return {"calls": dict(calls), "num_states": len(states), "wrong": wrong}


def prepare() -> None:
    """Replace tasks and child programs; make what every fork would do again be done once."""
    logging.disable(logging.CRITICAL)
    cv2.setNumThreads(1)
    replace_parts(setattr)
    for page in (TEMPLATE, RELIABILITY):
        page_environment().get_template(page)


def record(config: Path) -> str:
    """Walk the loop once, dying in a fork at every point; return {copied folder: points that left it} as JSON."""
    artifacts = config.parent / "artifacts"
    run_dir = artifacts / RECORDED
    states: dict[str, str] = {}
    points: dict[str, list[str]] = {}

    def die_here(name: str, last_act: Callable[[], object]) -> None:
        pid = os.fork()
        if pid == 0:
            last_act()
            os._exit(DIED)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == DIED
        state = tree_digest(run_dir)
        if state not in states:
            states[state] = f"at_{len(states):04d}"
            if run_dir.exists():
                shutil.copytree(run_dir, artifacts / states[state])
        points.setdefault(states[state], []).append(name)

    DurablePoints(run_dir, die_here).listen()
    walk(config, SMALL, run_id=RECORDED)
    return json.dumps(points)


def tree_digest(folder: Path) -> str:
    """Return a hash of all names and bytes below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)}\0".encode())
        if path.is_file():
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def check(config: Path, work: list[tuple[str, list[str]]], expected: dict[str, Any]) -> str:
    """Resume each copy in a fresh process and compare; return what is wrong as JSON."""
    wrong = []
    for state, names in work:
        folder = config.parent / "artifacts" / state
        try:
            found = json.loads(in_a_fork(lambda name=state: json.dumps(outcome(walk(config, SMALL, run_id=name)))))
            faults = differences(expected, found)
        except RuntimeError as error:
            faults = [str(error)]
        wrong += [{"point": names[0], "faults": faults}] if faults else []
        shutil.rmtree(folder)
    return json.dumps(wrong)


def outcome(run_dir: Path) -> dict[str, Any]:
    """Return what must not depend on deaths: digests, decisions, outputs, names of files; and the units begun."""
    files = [path for path in sorted(run_dir.rglob("*")) if path.is_file()]
    names = {path: path.relative_to(run_dir).as_posix() for path in files}
    begun = Counter(event["place"] for event in read_events(run_dir) if event["event"] == "step_started")
    return {
        "files": [name for name in names.values() if name not in NOT_COMPARED],
        "digests": {names[path]: json.loads(path.read_text())["digest"] for path in files if path.name in TIMED
                    and path.suffix == ".json"},
        "contents": {names[path]: content_of(path) for path in files
                     if path.name not in TIMED | NOT_COMPARED and "logs" not in path.parts},
        "begun": dict(begun),
        "whole": verify_run(run_dir).whole,
    }  # fmt: skip


def content_of(path: Path) -> str:
    """Return a hash of a file's bytes; of round.json without its remarks on what was reused."""
    data = path.read_bytes()
    data = data.replace(b'"reused": true', b'"reused": false') if path.name == "round.json" else data
    return hashlib.sha256(data).hexdigest()


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return in words what differs; one unit more than expected may have been begun."""
    faults = [name for name in ("files", "digests", "contents", "whole") if found[name] != expected[name]]
    details = [f"{name}: {sorted(flat(expected[name]) ^ flat(found[name]))[:4]}" for name in faults]
    again = Counter(found["begun"]) - Counter(expected["begun"])
    return details + ([f"redone: {dict(again)}"] if again.total() > 1 else [])


def flat(value: Any) -> set[str]:
    """Return the items of a list, an object or a single value as text."""
    items = value.items() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return {str(item) for item in items}


def begin(action: Callable[[], str]) -> tuple[int, int]:
    """Start action in a forked process; return its id and a pipe to its answer."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        gc.disable()
        try:
            answer = action().encode()
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(answer)
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
    os.close(writer)
    return pid, reader


def end(started: tuple[int, int]) -> str:
    """Return the answer of a forked process; RuntimeError when it failed."""
    pid, reader = started
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise RuntimeError("the resumed run failed; see standard error")
    return answer.decode()


def in_a_fork(action: Callable[[], str]) -> str:
    """Run action in a forked process; return its answer."""
    return end(begin(action))


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
