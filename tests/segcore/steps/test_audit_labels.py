"""Pseudo-labels against truth that is given afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segcore.errors import ConfigError, DataError, RunError
from segcore.steps.audit_labels import AuditSpec, audit_labels
from segcore.steps.run import Run


@pytest.fixture
def truth(oracle: dict[str, Any], tmp_path: Path) -> Path:
    """Return the file with the pool's truth."""
    (tmp_path / "oracle.json").write_text(json.dumps(oracle))
    return tmp_path / "oracle.json"


def test_rounds_and_the_end_are_audited_against_truth_joined_by_file_name(
    finished_run: Run, truth: Path, tmp_path: Path
) -> None:
    first, final = audit_labels(AuditSpec(finished_run.folder, truth, json_path=tmp_path / "audit.json"))
    assert (first.name, final.name) == ("round 1", "final")
    assert first.figures["num_images"] == 12
    assert [row["name"] for row in first.figures["classes"]] == ["background", "red", "green"]
    assert first.figures["all"]["precision"] == final.figures["all"]["recall"] == 1.0
    assert first.figures["all"]["coverage"] == pytest.approx(0.5)
    written = json.loads((tmp_path / "audit.json").read_text())
    assert [entry["name"] for entry in written["audits"]] == ["round 1", "final"]
    assert written["audits"][0]["all"] == first.figures["all"]
    assert "100.0%" in final.table


def test_one_round_or_the_end_alone_can_be_asked_for(finished_run: Run, truth: Path) -> None:
    (first,) = audit_labels(AuditSpec(finished_run.folder, truth, round_index=1))
    (final,) = audit_labels(AuditSpec(finished_run.folder, truth, final=True))
    assert (first.name, final.name) == ("round 1", "final")
    with pytest.raises(ConfigError, match="either"):
        audit_labels(AuditSpec(finished_run.folder, truth, 1, True))
    with pytest.raises(RunError, match="round 7's"):
        audit_labels(AuditSpec(finished_run.folder, truth, 7))


def test_truth_may_name_images_by_image_id_and_cover_a_part(
    finished_run: Run, oracle: dict[str, Any], truth: Path
) -> None:
    image = next(image for image in oracle["images"] if image["file_name"] == "test/002.png")
    image["file_name"] = "test/test/002.png"
    annotations = [entry for entry in oracle["annotations"] if entry["image_id"] == image["id"]]
    truth.write_text(json.dumps({**oracle, "images": [image], "annotations": annotations}))
    (first,) = audit_labels(AuditSpec(finished_run.folder, truth, round_index=1))
    assert (first.figures["num_images"], first.figures["num_without_truth"]) == (1, 11)
    assert "11 more without truth" in first.table


def test_truth_of_other_images_is_refused(finished_run: Run, truth: Path) -> None:
    val = finished_run.config.data.val
    assert val is not None
    with pytest.raises(DataError, match="pool"):
        audit_labels(AuditSpec(finished_run.folder, val.annotations))
