"""A run that is open: its folder locked for writing, its config known to every step."""

from __future__ import annotations

import contextlib
import gc
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from segcore.config.load import load_config, parse_config
from segcore.config.roots import require_config_under_roots, require_under_roots
from segcore.config.schema import RUN_ID_PATTERN, RunConfig
from segcore.errors import CancelledError, ConfigError
from segcore.store.canonical import JSON
from segcore.store.events import append_event
from segcore.store.layout import RunLayout
from segcore.store.lock import RunLock, lock_run
from segcore.store.publish import Build, Published, ensure
from segcore.store.run_file import open_run_file, read_run_file
from segcore.store.steps import Step

logger = logging.getLogger(__name__)

# a run of many images holds a million small records: looking through them for cycles after every 700 new ones, as
# Python does of itself, takes a quarter of a start that finds everything done
COLLECT_AFTER = (50_000, 20, 50)

held_locks: dict[str, RunLock] = {}  # by run folder; children inherit the descriptors
stopping: set[str] = set()  # run folders whose flow is being unwound by an error or a signal
waiting: set[str] = set()  # run folders whose flow is left because a person has to be asked
cancel_checks: list[Callable[[], bool]] = []  # who else may ask a run to stop, e.g. the task layer for Prefect


@dataclass(frozen=True)
class Run:
    """A run by name and place. folder: absolute. update: a changed config may redo finished steps."""

    run_id: str
    folder: str
    update: bool = False

    @property
    def path(self) -> Path:
        """Return the run folder."""
        return Path(self.folder)

    @property
    def layout(self) -> RunLayout:
        """Return where everything of the run lies."""
        return RunLayout(self.path)

    @property
    def config(self) -> RunConfig:
        """Return the config in run.json."""
        return stored_config(self.folder, self.layout.run_file.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def stored_config(folder: str, changed_ns: int) -> RunConfig:
    """Return a run folder's config; changed_ns: when run.json changed, so that the cache notices."""
    del changed_ns
    run_file = read_run_file(Path(folder))
    return parse_config(run_file.config, f"{folder}/run.json")


def run_folder(config: RunConfig, run_id: str | None = None) -> Path:
    """Return the absolute folder of a config's run; ConfigError for a run_id that is no plain name."""
    if run_id and not re.fullmatch(RUN_ID_PATTERN, run_id):
        raise ConfigError(
            f"run_id must begin with a letter or digit, be at most 64 long and hold only letters, digits, dots, "
            f"dashes and underscores, got {run_id!r}"
        )
    return (config.runtime.artifacts / (run_id or str(config.run_id))).resolve()


@contextlib.contextmanager
def open_run(
    config_path: str,
    run_id: str | None = None,
    update: bool = False,
    overrides: Sequence[str] = (),
    roots: Sequence[Path] | None = None,
) -> Iterator[Run]:
    """Lock a run for writing and note its config; give the lock back at the end.

    roots: folders that the config, and every path in it, must lie under; None for one that its user starts by hand.
    RunLockedError when somebody else works on it, RunChangedError when its config is another one and not update.
    A CANCEL file left from an earlier stop is removed: starting again is what it waited for.
    """
    config = trusted_config(Path(config_path), overrides, roots)
    name = run_id or str(config.run_id)
    folder = run_folder(config, name)
    gc.set_threshold(*COLLECT_AFTER)
    with lock_run(folder) as lock:
        open_run_file(folder, name, config.model_dump(mode="json"), update, completed)
        run = Run(name, str(folder), update)
        run.layout.cancel_file.unlink(missing_ok=True)
        held_locks[run.folder] = lock
        stopping.discard(run.folder)
        waiting.discard(run.folder)
        append_event(folder, "opened", update=update)
        try:
            with stops_together(run):
                yield run
        except BaseException as error:
            if run.folder not in waiting:
                append_event(folder, "stopped", error=f"{type(error).__name__}: {error}"[:2000])
            raise
        finally:
            held_locks.pop(run.folder, None)
        append_event(folder, "finished")


def completed(stored: JSON) -> JSON:
    """Return a stored config with the fields that came since it was written, at their defaults.

    One that today's schema refuses is returned as it is: its differences are then told field by field.
    """
    try:
        return parse_config(stored, "run.json").model_dump(mode="json")
    except ConfigError:
        return stored


def trusted_config(path: Path, overrides: Sequence[str], roots: Sequence[Path] | None) -> RunConfig:
    """Return the config of a file; ConfigError when it, or a path in it, leads out of the roots."""
    if roots is not None:
        require_under_roots(path, roots, "config")
    config = load_config(path, overrides)
    if roots is not None:
        require_config_under_roots(config, roots)
    return config


def lock_descriptors(run: Run) -> tuple[int, ...]:
    """Return the descriptors that child processes must inherit so that the run stays locked while they live."""
    lock = held_locks.get(run.folder)
    return () if lock is None else (lock.descriptor,)


def cancelled(run: Run) -> bool:
    """Return whether the run is to stop: a CANCEL file in its folder, its flow being unwound, or the task layer."""
    return run.folder in stopping or run.layout.cancel_file.exists() or any(check() for check in cancel_checks)


@contextlib.contextmanager
def stops_together(run: Run) -> Iterator[None]:
    """Let what runs in other threads stop when this block is left by an error, a signal or a cancellation.

    Without it a flow that was told to end would wait for its tasks' threads, and these for hours of training.
    """
    try:
        yield
    except BaseException:
        stopping.add(run.folder)
        raise


def note_waiting(run: Run, round_index: int) -> None:
    """Note that the run is left until a person has approved a round: not stopped by an error."""
    waiting.add(run.folder)
    append_event(run.path, "waiting", round_index=round_index)


def refuse_if_cancelled(run: Run) -> None:
    """Raise CancelledError when the run was asked to stop."""
    if cancelled(run):
        raise CancelledError(f"run {run.run_id} was cancelled; start it again to go on where it stopped")


def ensure_step(run: Run, step: Step, build: Build) -> Published:
    """Return a step's result, built only when there is none; note in events.jsonl what happened and how long."""
    refuse_if_cancelled(run)
    started = time.monotonic()

    def timed_build(work: Path) -> Any:
        append_event(run.path, "step_started", place=step.place, kind=step.kind, key=step.key)
        return build(work)

    published = ensure(run.path, step, timed_build)
    event = "step_reused" if published.reused else "step_done"
    folder = run.layout.relative(published.path)
    append_event(run.path, event, place=step.place, kind=step.kind, folder=folder, seconds=time.monotonic() - started)
    if published.reused:
        level = logging.DEBUG if step.shared else logging.INFO  # shards are told of together, by their labelling
        logger.log(level, "%s: reused %s", step.place, folder)
    return published
