"""Death and disk errors at every single point of publishing, not at a sample of them."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from segcore.errors import StepError
from segcore.store.environment import environment
from segcore.store.publish import ensure, find
from segcore.store.steps import Step

STEP = Step("train", 1, "round_00/student", {"seed": 1})
CALLS = ("open", "write", "fsync", "mkdir", "rename", "replace", "unlink", "rmdir", "close")
DIED = 77
MOST_POINTS = 500  # far more than there are: only an endless loop reaches it


def build(folder: Path) -> dict[str, int]:
    """Leave a mark outside the step for each start, so that builds can be counted across processes."""
    with (folder.parents[1] / "starts").open("a") as file:
        file.write("x")
    (folder / "sub").mkdir()
    (folder / "sub" / "model").write_bytes(b"weights")
    (folder / "log").write_text("done")
    return {"iterations": 3}


def num_starts(run_dir: Path) -> int:
    marks = run_dir / "starts"
    return len(marks.read_text()) if marks.exists() else 0


def at_call(number: int, fault: Callable[..., None]) -> Callable[[pytest.MonkeyPatch], None]:
    """Return what patches os so that its number-th call (of CALLS, 1-based) runs into fault first."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        count = 0

        def wrap(name: str, real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                nonlocal count
                count += 1
                if count == number:
                    fault(name, real, arguments)
                return real(*arguments, **options)

            return call

        for name in CALLS:
            monkeypatch.setattr(os, name, wrap(name, getattr(os, name)))

    return patch


def die(name: str, real: Callable[..., object], arguments: tuple[object, ...]) -> None:
    if name == "write":
        descriptor, data = arguments
        real(descriptor, bytes(data)[: len(data) // 2])  # half of it is there
    os._exit(DIED)


def exit_code_of(action: Callable[[], object]) -> int:
    """Run action in a forked process; return its exit code, 0 when it got to the end."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_with(run_dir: Path, patch: Callable[[pytest.MonkeyPatch], None]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch(monkeypatch)
        ensure(run_dir, STEP, build)


def test_death_at_any_point_of_publishing_leaves_all_or_nothing_and_resume_agrees(tmp_path):
    environment()  # remembered, so that its own subprocess is no point of publishing
    expected = ensure(tmp_path / "uninterrupted", STEP, build).digest
    for number in range(1, MOST_POINTS):
        run_dir = tmp_path / f"run_{number}"
        code = exit_code_of(lambda run_dir=run_dir, number=number: run_with(run_dir, at_call(number, die)))
        published = (run_dir / STEP.folder).exists()
        resumed = ensure(run_dir, STEP, build)
        assert resumed.digest == expected
        assert resumed.reused is published
        assert num_starts(run_dir) <= 2
        assert not (run_dir / "quarantine").exists()
        assert [path.name for path in resumed.path.parent.iterdir()] == [resumed.path.name]
        if code == 0:
            break
        assert code == DIED
    assert 15 < number < MOST_POINTS - 1


def test_death_while_a_dead_attempt_is_cleared_away_does_no_harm(tmp_path):
    environment()
    for number in range(1, 15):
        run_dir = tmp_path / f"run_{number}"
        exit_code_of(lambda run_dir=run_dir: run_with(run_dir, at_call(18, die)))
        exit_code_of(lambda run_dir=run_dir, number=number: run_with(run_dir, at_call(number, die)))
        assert ensure(run_dir, STEP, build).value == {"iterations": 3}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_disk_error_at_any_point_fails_the_step_and_publishes_nothing_or_does_no_harm(tmp_path, number):
    environment()
    reached: list[int] = []
    num_failed = 0

    def fail(name: str, real: Callable[..., object], arguments: tuple[object, ...]) -> None:
        reached.append(point)
        raise OSError(number, os.strerror(number), "somewhere")

    for point in range(1, MOST_POINTS):
        run_dir = tmp_path / f"run_{point}"
        error = error_of(lambda run_dir=run_dir, point=point: run_with(run_dir, at_call(point, fail)))
        if point not in reached:
            break
        assert error is None or isinstance(error, StepError)
        assert (find(run_dir, STEP) is None) is (error is not None)
        assert error is None or os.strerror(number) in str(error)
        assert ensure(run_dir, STEP, build).value == {"iterations": 3}
        num_failed += error is not None
    assert num_failed > 15
    assert len(reached) < MOST_POINTS - 1


def error_of(action: Callable[[], object]) -> Exception | None:
    try:
        action()
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_a_disk_error_inside_build_is_a_step_error_that_names_the_step(tmp_path, number):
    def full(folder: Path) -> None:
        (folder / "shard").write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(StepError, match=r"round_00/student: could not be written .* nothing incomplete was published"):
        ensure(tmp_path, STEP, full)
    assert list((tmp_path / "round_00").iterdir()) == []
