"""What `segloop cross-validate` says before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main


@pytest.fixture
def config(tmp_path: Path, write_tiny: Callable[[Path, str], Path]) -> Path:
    """Return the config of a tiny run that nobody has started."""
    return write_tiny(tmp_path, "tiny")


def test_a_plan_names_every_chain_with_its_steps_and_what_comes_after_them(config: Path) -> None:
    result = CliRunner().invoke(main, ["cross-validate", str(config), "--folds", "3", "--plan"])
    assert result.exit_code == 0, result.output
    artifacts = config.parent / "artifacts"
    assert [f"tiny-fold{fold}: {artifacts / f'tiny-fold{fold}'}" in result.output for fold in range(3)] == [True] * 3
    assert result.output.count("  final/report_evaluation  ") == 3
    assert "then, of all 3: the out-of-fold score" in result.output
    assert not artifacts.exists()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("--folds", "1"), 2, "1 is not in the range 2<=x<=50"),
        (("--set", "data.test_labels=x.json"), 2, "data.test_labels=null"),
        (("--set", "train.lr=-1"), 2, "train.lr"),
    ],
)
def test_what_cannot_be_is_told_at_once(config: Path, arguments: tuple[str, ...], exit_code: int, message: str) -> None:
    result = CliRunner().invoke(main, ["cross-validate", str(config), *arguments])
    assert result.exit_code == exit_code
    assert message in result.output
