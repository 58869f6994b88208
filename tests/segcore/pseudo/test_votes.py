"""Votes: what is kept of an image for soft votes, and the file it lies in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segcore.errors import DataError
from segcore.pseudo.votes import Votes, VoteWriter, grid_step, read_votes, votes_path


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 5000))
def test_a_grid_has_at_most_so_many_points_and_the_next_finer_one_more(height: int, width: int, max_px: int) -> None:
    def points(step: int) -> int:
        return len(range(0, height, step)) * len(range(0, width, step))

    step = grid_step((height, width), max_px)
    assert points(step) <= max_px
    assert step == 1 or points(step - 1) > max_px


def test_votes_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = votes_path(tmp_path / "predictions.parquet")
    values = np.random.default_rng(0).random((3, 4, 5)).astype(np.float16)
    with VoteWriter(path) as writer:
        writer.write(Votes("a", values, 2))
        writer.write(Votes("b", values[:, :1], 7))
    first, second = read_votes(path)
    assert (first.image_id, first.step_px, second.image_id, second.step_px) == ("a", 2, "b", 7)
    assert np.array_equal(first.values, values)
    assert np.array_equal(second.values, values[:, :1])


def test_without_votes_there_is_no_file_and_another_file_is_refused(tmp_path: Path) -> None:
    with VoteWriter(tmp_path / "none.parquet"):
        pass
    assert not (tmp_path / "none.parquet").exists()
    (tmp_path / "bad.parquet").write_bytes(b"no votes")
    with pytest.raises(DataError, match=r"bad\.parquet: must be a readable votes file"):
        list(read_votes(tmp_path / "bad.parquet"))
