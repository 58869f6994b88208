"""Real processes: what they leave behind, and what their owner is told."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segcore.errors import CancelledError, RunLockedError, StepError
from segcore.process.child import ProcessSpec, SupervisedProcess, explained, log_tail
from segcore.store.lock import lock_run

SOON_S = 10.0  # far more than needed; only a failing test waits this long

# a trainer that ignores SIGTERM, with a grandchild in a session of its own that ignores it too
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1] + "/grandchild", "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
open(sys.argv[1] + "/child", "w").write(str(os.getpid()))
time.sleep(600)
"""

# owner of a supervised child: sys.argv is folder, command…
OWNER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
from pathlib import Path
from segcore.process.child import ProcessSpec, SupervisedProcess
from segcore.store.lock import lock_run
folder = Path(sys.argv[1])
lock = lock_run(folder / "run")
spec = ProcessSpec(tuple(sys.argv[2:]), folder / "log", pass_fds=(lock.descriptor,), grace_s=0.3)
with SupervisedProcess(spec) as process:
    (folder / "supervisor").write_text(str(process.started.pid))
    process.wait()
"""


def python(code: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *map(str, arguments))


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def supervised(
    tmp_path: Path, command: tuple[str, ...], grace_s: float = 5.0, pipes: bool = False
) -> SupervisedProcess:
    return SupervisedProcess(ProcessSpec(command, tmp_path / "logs" / "log", grace_s=grace_s, pipes=pipes))


def until(condition, what: str):
    end = time.monotonic() + SOON_S
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {SOON_S} s: {what}")


def pid_in(path: Path) -> int:
    return int(until(lambda: path.exists() and path.read_text(), f"a process id in {path.name}"))


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    return False


@pytest.fixture
def owner(tmp_path):
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(python(OWNER, tmp_path, *command)))
        return started[0]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_child_that_ends_well_is_waited_for_with_ticks(tmp_path):
    ticks = []
    with supervised(tmp_path, shell("echo hello; echo trouble >&2; sleep 0.2")) as process:
        process.wait(on_tick=lambda: ticks.append(1), tick_s=0.05)
    assert process.returncode == 0
    assert len(ticks) >= 2
    assert (tmp_path / "logs" / "log").read_text() == "hello\ntrouble\n"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo first; echo 'what went wrong' >&2; exit 3", "exit code 3"),
        ("echo 'what went wrong'; kill -KILL $$", "exit code 137 (SIGKILL: often out of memory)"),
        ("echo 'what went wrong'; kill -TERM $$", "exit code 143 (SIGTERM: was asked to stop)"),
    ],
)
def test_a_failing_child_is_reported_with_its_last_lines_and_its_log(tmp_path, script, expected):
    process = supervised(tmp_path, shell(script))
    with process, pytest.raises(StepError) as caught:
        process.wait()
    assert expected in str(caught.value)
    assert "what went wrong" in str(caught.value)
    assert str(tmp_path / "logs" / "log") in str(caught.value)


def test_a_command_that_does_not_exist_is_a_step_error_naming_it(tmp_path):
    with (
        supervised(tmp_path, ("no-such-program",)) as process,
        pytest.raises(StepError, match="no-such-program could not"),
    ):
        process.wait()


def test_an_unwritable_log_is_a_step_error_and_leaks_nothing(tmp_path):
    (tmp_path / "logs").write_text("a file where a folder is needed")
    with pytest.raises(StepError, match="could not be started"):
        supervised(tmp_path, shell("true")).start()


def test_stop_ends_setsid_and_term_ignoring_processes_after_the_grace_time(tmp_path):
    with supervised(tmp_path, python(STUBBORN, tmp_path), grace_s=0.3) as process:
        pids = [pid_in(tmp_path / "child"), pid_in(tmp_path / "grandchild")]
        assert all(map(alive, pids))
        began = time.monotonic()
        assert process.stop() == 137
        assert time.monotonic() - began >= 0.3
    assert not any(map(alive, pids))


def test_stop_gives_the_child_time_to_save_and_shoots_its_workers_only_afterwards(tmp_path):
    script = f"""
        sleep 600 & worker=$!
        trap 'sleep 0.3; kill -0 $worker && echo saved > {tmp_path}/saved; exit 143' TERM
        echo $worker > {tmp_path}/worker
        while :; do sleep 0.02; done
    """
    with supervised(tmp_path, shell(script), grace_s=10) as process:
        worker = pid_in(tmp_path / "worker")
        began = time.monotonic()
        assert process.stop() == 143
        assert time.monotonic() - began < 5
    assert (tmp_path / "saved").exists()
    assert not alive(worker)


def test_processes_that_a_finished_child_left_behind_are_ended(tmp_path):
    with supervised(tmp_path, shell(f"setsid sh -c 'echo $$ > {tmp_path}/left; sleep 600' & sleep 0.3")) as process:
        process.wait()
    assert not alive(pid_in(tmp_path / "left"))


def test_cancelling_stops_the_tree_and_says_so(tmp_path):
    with supervised(tmp_path, shell(f"echo $$ > {tmp_path}/pid; sleep 600")) as process:
        pid = pid_in(tmp_path / "pid")
        with pytest.raises(CancelledError, match="what was done is kept"):
            process.wait(tick_s=0.02, cancelled=lambda: True)
    assert not alive(pid)


def test_an_exception_in_the_owner_ends_the_tree(tmp_path):
    def fail_while_the_child_works():
        with supervised(tmp_path, shell(f"echo $$ > {tmp_path}/pid; sleep 600")):
            raise KeyError(pid_in(tmp_path / "pid"))

    with pytest.raises(KeyError) as caught:
        fail_while_the_child_works()
    assert not alive(caught.value.args[0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_descendant_survives_the_owner_however_it_dies(tmp_path, owner, number):
    process = owner(*python(STUBBORN, tmp_path))
    pids = [pid_in(tmp_path / name) for name in ("supervisor", "child", "grandchild")]
    process.send_signal(number)
    process.wait(SOON_S)
    until(lambda: not any(map(alive, pids)), "the end of the whole tree")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_supervisor_ends_the_tree(tmp_path, number):
    with supervised(tmp_path, python(STUBBORN, tmp_path), grace_s=0.1) as process:
        pids = [pid_in(tmp_path / "child"), pid_in(tmp_path / "grandchild")]
        os.kill(process.started.pid, number)
        with pytest.raises(StepError):
            process.wait()
    assert not any(map(alive, pids))


def test_the_lock_stays_with_an_orphan_whose_owner_and_supervisor_were_killed(tmp_path, owner):
    process = owner(*shell(f"echo $$ > {tmp_path}/child; exec sleep 600"))
    supervisor, orphan = pid_in(tmp_path / "supervisor"), pid_in(tmp_path / "child")
    os.kill(supervisor, signal.SIGSTOP)  # so that it cannot clean up before it is killed
    process.kill()
    process.wait(SOON_S)
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not alive(supervisor), "the end of the supervisor")
    assert alive(orphan)
    with pytest.raises(RunLockedError, match=f"processes it left: {orphan}; wait"):
        lock_run(tmp_path / "run")
    os.kill(orphan, signal.SIGKILL)
    until(lambda: not alive(orphan), "the end of the orphan")
    lock_run(tmp_path / "run").release()


def test_lines_go_back_and_forth_until_the_owner_says_that_is_all(tmp_path):
    with supervised(tmp_path, shell("while read -r line; do echo got $line; done; echo bye"), pipes=True) as process:
        for word in ("one", "two", "x" * 200_000):
            process.send_line(word)
            assert process.read_line() == f"got {word}"
        process.started.stdin.close()
        assert process.read_line() == "bye"
        assert process.read_line() is None
        process.wait()


def test_finish_waits_for_a_child_that_ends_when_its_input_does(tmp_path):
    with supervised(tmp_path, shell("cat > /dev/null"), pipes=True) as process:
        process.finish()
    assert process.returncode == 0


def test_talking_to_a_dead_child_is_a_step_error_with_its_last_lines(tmp_path):
    with supervised(tmp_path, shell("echo no memory >&2; exit 9"), pipes=True) as process:
        assert process.read_line() is None
        with pytest.raises(StepError, match=r"(?s)stopped reading.*exit code 9.*no memory"):
            process.send_line("x" * 1_000_000)  # more than a pipe holds


def test_waiting_for_a_line_can_be_cancelled(tmp_path):
    with supervised(tmp_path, shell("sleep 600"), pipes=True) as process, pytest.raises(CancelledError):
        process.read_line(tick_s=0.02, cancelled=lambda: True)
    assert process.returncode == 143


def test_the_supervisor_loads_nothing_but_the_standard_library():
    code = "import sys; import segcore.process.supervisor; print(*sys.modules)"
    loaded = subprocess.run(python(code), capture_output=True, text=True, check=True).stdout.split()
    assert "segcore.process.supervisor" in loaded
    assert not {"torch", "numpy", "pydantic", "subprocess", "prefect"} & set(loaded)


@pytest.mark.parametrize(
    ("code", "text"),
    [(None, "exit code None"), (1, "exit code 1"), (139, "exit code 139 (SIGSEGV)"), (255, "exit code 255")],
)
def test_exit_codes_are_explained(code, text):
    assert explained(code) == text


def test_a_log_tail_keeps_the_last_lines_of_a_long_log(tmp_path):
    (tmp_path / "log").write_text("\n".join(f"line {n}" for n in range(100_000)))
    assert log_tail(tmp_path / "log", 2) == "  line 99998\n  line 99999"
    assert log_tail(tmp_path / "none") == "  (nothing)"
