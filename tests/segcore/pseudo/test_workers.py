import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segcore.errors import StepError
from segcore.pseudo.workers import AHEAD, Workers


@pytest.mark.parametrize("num", [1, 2])
def test_results_come_in_the_order_of_the_items(num):
    with Workers(num) as workers:
        assert list(workers.in_order(math.factorial, range(20))) == [math.factorial(item) for item in range(20)]


@pytest.mark.parametrize("num", [1, 2])
def test_what_the_work_raises_is_raised_and_the_workers_go_on(num):
    with Workers(num) as workers:
        with pytest.raises(ValueError, match="negative"):
            list(workers.in_order(math.factorial, [3, -1, 3]))
        assert list(workers.in_order(math.factorial, [3])) == [6]


def test_items_are_taken_only_a_little_ahead():
    taken = []
    with Workers(2) as workers:
        next(workers.in_order(math.sqrt, (taken.append(item) or item for item in range(99))))
    assert len(taken) == AHEAD * 2 + 1


def test_a_worker_that_dies_is_a_clear_error():
    with Workers(2) as workers, pytest.raises(StepError, match="a worker process died, 2 were at work"):
        list(workers.in_order(os._exit, [1]))


OWNER = """
import os, time
from segcore.pseudo.workers import Workers
if __name__ == "__main__":
    with Workers(2) as workers:
        list(workers.in_order(abs, range(4)))
        print(*workers.pool._processes, flush=True)
        list(workers.in_order(time.sleep, [60, 60]))
"""


def test_workers_end_with_their_owner_even_when_it_is_killed(tmp_path):
    (tmp_path / "owner.py").write_text(OWNER)
    env = os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen([sys.executable, str(tmp_path / "owner.py")], stdout=subprocess.PIPE, env=env) as owner:
        workers = [int(pid) for pid in owner.stdout.readline().split()]
        owner.send_signal(signal.SIGKILL)
    assert workers
    end = time.monotonic() + 10
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
