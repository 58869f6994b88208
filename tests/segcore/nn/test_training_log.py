from __future__ import annotations

from pathlib import Path

from segcore.nn.training_log import TrainingLog, read_lines


def test_a_resumed_log_drops_what_came_after_the_checkpoint_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "resume" / "progress.jsonl"
    log = TrainingLog(path, tmp_path / "logs", 0, 10)
    for iteration in (2, 4, 6):
        log.write(iteration, 1.0 / iteration, 0.001)
    log.close()
    with path.open("a") as file:
        file.write('{"iteration": 8, "num_it')
    log = TrainingLog(path, tmp_path / "logs", 4, 10)
    log.write(6, 0.5, 0.001)
    log.close()
    lines = read_lines(path)
    assert [line["iteration"] for line in lines] == [2, 4, 6]
    assert lines[-1]["loss"] == 0.5
    assert lines[-1]["num_iterations"] == 10
    assert lines[-1]["eta_s"] >= 0


def test_a_missing_log_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.jsonl") == []
