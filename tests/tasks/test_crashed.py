"""Which run folder's lock tells whether a flow run is alive; zombies themselves are in tests/flows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.crashed import FOLDS, LOOP, folder_of


@pytest.mark.parametrize(
    ("flow_name", "given", "folder"),
    [
        (LOOP, {}, "tiny"),
        (LOOP, {"run_id": "mine"}, "mine"),
        (FOLDS, {}, "tiny-cv"),
        (FOLDS, {"run_id": "mine", "num_folds": 3}, "mine-cv"),
    ],
)
def test_a_flow_run_is_alive_while_the_folder_it_writes_to_is_held(
    tmp_path: Path, write_tiny: Callable[[Path, str], Path], flow_name: str, given: dict[str, Any], folder: str
) -> None:
    flow_run: Any = SimpleNamespace(name="a", parameters={"config": str(write_tiny(tmp_path, "tiny")), **given})
    assert folder_of(flow_run, flow_name) == tmp_path / "artifacts" / folder


def test_a_flow_run_whose_config_cannot_be_read_is_left_alone() -> None:
    flow_run: Any = SimpleNamespace(name="a", parameters={"config": "/nowhere.yaml"})
    assert folder_of(flow_run, LOOP) is None
