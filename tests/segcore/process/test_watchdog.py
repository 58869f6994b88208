import os

import pytest

from segcore.errors import StepError
from segcore.process import watchdog
from segcore.process.watchdog import Resumes, StalledError, StallWatch, newest_checkpoint, was_killed


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(watchdog.time, "monotonic", lambda: self.now)

    def after(self, seconds, watch):
        self.now += seconds
        watch.check()


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_nothing_new_for_the_whole_time_is_a_stall_and_names_where_nothing_came(tmp_path, clock):
    watch = StallWatch(12, (tmp_path / "resume", tmp_path / "log"))
    clock.after(6, watch)
    with pytest.raises(StalledError, match=r"0\.2 min.*nothing new in .*resume, nothing new in .*log"):
        clock.after(6, watch)


@pytest.mark.parametrize("sign", ["log grows", "progress grows", "checkpoint comes", "file is replaced"])
def test_any_change_of_the_log_or_the_resume_folder_is_a_sign_of_life(tmp_path, clock, sign):
    log, resume = tmp_path / "log", tmp_path / "resume"
    resume.mkdir()
    for path in (log, resume / "progress.jsonl"):
        path.write_text("old\n")
    watch = StallWatch(9, (resume, log))
    for number in range(4):
        if sign == "log grows":
            log.write_text("new\n" * (number + 2))
        elif sign == "progress grows":
            (resume / "progress.jsonl").write_text("new\n" * (number + 2))
        elif sign == "checkpoint comes":
            (resume / f"iteration_{number:08d}.pth").write_text("")
        else:
            os.utime(log, ns=(0, number))
        clock.after(8, watch)
    with pytest.raises(StalledError):
        clock.after(9, watch)


def test_a_pause_of_the_watching_process_itself_is_no_stall(tmp_path, clock):
    watch = StallWatch(60, (tmp_path,))
    clock.after(3600, watch)
    clock.after(1, watch)


def test_a_watch_without_files_counts_from_the_last_word(clock):
    watch = StallWatch(10)
    clock.after(9, watch)
    watch.alive()
    clock.after(9, watch)
    with pytest.raises(StalledError):
        clock.after(1, watch)


def test_resumes_without_a_newer_checkpoint_are_counted_and_end_at_the_limit(tmp_path):
    resumes, failure = Resumes(tmp_path, 2), StepError("no sign of life; see run.log")
    assert [resumes.allow(failure), resumes.allow(failure)] == [0, 0]
    (tmp_path / "iteration_00000040.pth").write_text("")
    assert [resumes.allow(failure), resumes.allow(failure)] == [40, 40]
    with pytest.raises(StepError, match=r"(?s)iteration 40, and did not in 2 resumes.*run\.log.*start the run again"):
        resumes.allow(failure)


def test_an_older_checkpoint_than_the_furthest_is_no_progress(tmp_path):
    newest = tmp_path / "iteration_00000040.pth"
    newest.write_text("")
    resumes = Resumes(tmp_path, 1)
    newest.rename(tmp_path / "iteration_00000020.pth")  # the newest was damaged and moved aside
    assert resumes.allow(StepError("killed")) == 20
    with pytest.raises(StepError, match="iteration 40"):
        resumes.allow(StepError("killed"))


def test_a_limit_of_none_never_resumes(tmp_path):
    with pytest.raises(StepError, match="in 0 resumes"):
        Resumes(tmp_path, 0).allow(StepError("killed"))


def test_only_whole_checkpoints_count(tmp_path):
    assert newest_checkpoint(tmp_path / "none") == 0
    for name in ("iteration_00000007.pth", "iteration_00000009.part", "iteration_x.pth", "iteration_00000008.sha256"):
        (tmp_path / name).write_text("")
    assert newest_checkpoint(tmp_path) == 7


@pytest.mark.parametrize(
    ("returncode", "killed"),
    [(None, False), (0, False), (1, False), (9, False), (127, False), (128, False), (-9, False),
     (137, True), (139, True), (134, True), (143, False), (130, False), (129, False)],
)  # fmt: skip
def test_a_signal_that_nobody_sent_to_stop_it_makes_a_child_worth_resuming(returncode, killed):
    assert was_killed(returncode) is killed
