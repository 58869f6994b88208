"""Which files a model means, and what its classes are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segcore.errors import CheckpointError, ConfigError, RunError, SegloopError
from segcore.steps.model_files import ModelRequest, ViewRequest, find_model, given_classes, label_config
from segcore.steps.run import Run


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Return weights from outside, with a config beside them."""
    (tmp_path / "model_config.py").write_text("")
    (tmp_path / "model.pth").write_bytes(b"weights")
    return tmp_path / "model.pth"


def test_a_run_gives_the_model_in_its_outputs_with_lineage_and_classes(finished_run: Run) -> None:
    model = find_model(ModelRequest(finished_run.folder, None))
    assert model.checkpoint == finished_run.layout.outputs_dir / "model.pth"
    assert model.lineage is not None
    assert model.known_classes.names == ("background", "red", "green")
    assert model.run is not None
    assert model.run.folder == finished_run.folder


def test_a_checkpoint_inside_a_run_takes_its_views_from_the_run(finished_run: Run) -> None:
    checkpoint = str(finished_run.layout.outputs_dir / "model.pth")
    label = label_config(find_model(ModelRequest(None, checkpoint)), ViewRequest())
    assert (label.sizes, label.flip) == ((64,), False)


def test_a_checkpoint_from_outside_has_neither_lineage_nor_classes_unless_given(foreign: Path) -> None:
    model = find_model(ModelRequest(None, str(foreign)))
    assert (model.lineage, model.classes, model.run) == (None, None, None)
    with pytest.raises(ConfigError, match="--classes"):
        _ = model.known_classes
    assert find_model(ModelRequest(None, str(foreign), classes="a,b")).known_classes.names == ("a", "b")


def test_a_link_does_not_hide_the_lineage_of_what_it_leads_to(finished_run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.pth").symlink_to(finished_run.layout.outputs_dir / "model.pth")
    assert find_model(ModelRequest(None, str(tmp_path / "mine.pth"))).lineage is not None


def test_views_that_are_asked_for_win(finished_run: Run) -> None:
    model = find_model(ModelRequest(finished_run.folder, None))
    assert label_config(model, ViewRequest((96, 128), True)).sizes == (96, 128)
    with pytest.raises(ConfigError, match="--views"):
        label_config(model, ViewRequest((8,)))


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (ModelRequest(None, None), ConfigError, "both or neither"),
        (ModelRequest("a", "b"), ConfigError, "both or neither"),
        (ModelRequest("no-such-run", None), RunError, "no-such-run"),
        (ModelRequest(None, "/nowhere/model.pth"), CheckpointError, "/nowhere/model.pth"),
        (ModelRequest(None, __file__), CheckpointError, "--config"),
        (ModelRequest(None, __file__, __file__, "one"), ConfigError, "two or more"),
    ],
)
def test_a_model_that_is_not_there_is_one_clear_error(
    request_: ModelRequest, error: type[SegloopError], words: str
) -> None:
    with pytest.raises(error, match=words):
        find_model(request_)


def test_classes_of_a_coco_file_are_its_categories_without_ignore(tmp_path: Path) -> None:
    categories = [
        {"id": 7, "name": "can"}, {"id": 3, "name": "Background"},
        {"id": 9, "name": "ignore", "segloop": {"ignore": True}},
    ]  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps({"categories": categories}))
    classes = given_classes(str(tmp_path / "c.json"))
    assert classes.names == ("Background", "can")
    assert classes.category_ids == (3, 7)
    assert classes.palette[0] == (0, 0, 0)


def test_a_classes_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"names": ["a"]}')
    with pytest.raises(ConfigError, match=r"c\.json"):
        given_classes(str(tmp_path / "c.json"))
