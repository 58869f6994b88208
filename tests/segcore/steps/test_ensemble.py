from __future__ import annotations

from pathlib import Path

import pytest

from segcore.errors import CheckpointError, ConfigError
from segcore.steps.ensemble import EnsembleRequest, find_ensemble
from segcore.steps.run import Run
from segcore.steps.told_classes import classes_told


def model(folder: Path, name: str, own_config: bool = True, classes: str | None = None) -> str:
    """Make the files of a model; return its weights file."""
    root = folder / name
    root.mkdir()
    (root / "model.pth").write_bytes(name.encode())
    if own_config:
        (root / "model_config.py").write_text("model = dict()\n")
    if classes is not None:
        names = classes.split(",")
        categories = ", ".join(f'{{"id": {index}, "name": "{item}"}}' for index, item in enumerate(names, 1))
        (root / "classes.json").write_text(f'{{"categories": [{categories}]}}')
    return str(root / "model.pth")


def config(folder: Path, name: str) -> str:
    (folder / name).write_text("model = dict()\n")
    return str(folder / name)


def found(*checkpoints: str, configs: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Return the names of weights folder and config of each model."""
    ensemble = find_ensemble(EnsembleRequest(checkpoints=checkpoints, configs=configs))
    return [(model.checkpoint.parent.name, model.config.name) for model in ensemble.models]


def test_configs_belong_to_models_in_order(tmp_path: Path) -> None:
    first, second = model(tmp_path, "a", own_config=False), model(tmp_path, "b", own_config=False)
    configs = (config(tmp_path, "a.py"), config(tmp_path, "b.py"))
    assert found(first, second, configs=configs) == [("a", "a.py"), ("b", "b.py")]
    assert found(second, first, configs=configs) == [("b", "a.py"), ("a", "b.py")]


def test_models_with_a_config_of_their_own_need_none(tmp_path: Path) -> None:
    own, foreign = model(tmp_path, "own"), model(tmp_path, "foreign", own_config=False)
    given = (config(tmp_path, "x.py"),)
    assert found(own) == [("own", "model_config.py")]
    assert found(own, configs=given) == [("own", "x.py")]
    assert found(own, foreign, configs=given) == [("own", "model_config.py"), ("foreign", "x.py")]
    assert found(foreign, own, configs=given) == [("foreign", "x.py"), ("own", "model_config.py")]


def test_a_number_of_configs_that_fits_nothing_is_an_error(tmp_path: Path) -> None:
    models = [model(tmp_path, name, own_config=name == "a") for name in "abc"]
    with pytest.raises(ConfigError, match=r"each of the 3 models.*each of the 2 that"):
        found(*models, configs=(config(tmp_path, "x.py"),))
    with pytest.raises(CheckpointError, match="give --config FILE"):
        found(*models)


def test_the_folder_of_a_student_or_of_a_run_stands_for_its_model(tmp_path: Path, finished_run: Run) -> None:
    student = Path(model(tmp_path, "student")).parent
    assert found(str(student), finished_run.folder) == [("student", "model_config.py"), ("outputs", "model_config.py")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty.*model\.pth"):
        found(str(tmp_path / "empty"))


def test_a_run_and_checkpoints_vote_together_the_run_first(tmp_path: Path, finished_run: Run) -> None:
    other = model(tmp_path, "other", classes="background,red,green")
    ensemble = find_ensemble(EnsembleRequest(finished_run.folder, (other,), weights=(2.0, 1.0)))
    assert ensemble.first.run is not None
    assert [teacher.weight for teacher in ensemble.teachers] == [2.0, 1.0]
    assert ensemble.teachers[1].checkpoint == other
    assert len({digest for digest, _, _ in ensemble.digests}) == 2


def test_models_of_other_classes_do_not_vote_together(tmp_path: Path) -> None:
    models = [model(tmp_path, name, classes=classes) for name, classes in (("x", "red,green"), ("y", "green,red"))]
    with pytest.raises(ConfigError, match=r"same classes in the same order.*green, red in .*y/model\.pth"):
        found(*models)


def test_a_model_that_names_no_classes_takes_those_of_the_others(tmp_path: Path) -> None:
    models = (model(tmp_path, "x"), model(tmp_path, "y", classes="red,green"))
    classes = find_ensemble(EnsembleRequest(checkpoints=models)).classes
    assert classes is not None
    assert classes.names == ("red", "green")


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, 2.0, 3.0)])
def test_weights_are_one_positive_number_a_model(tmp_path: Path, weights: tuple[float, ...]) -> None:
    models = (model(tmp_path, "x"), model(tmp_path, "y"))
    with pytest.raises(ConfigError, match=r"--weight.*2 models"):
        find_ensemble(EnsembleRequest(checkpoints=models, weights=weights))


def test_no_model_is_an_error_that_says_how_to_name_one() -> None:
    with pytest.raises(ConfigError, match="--run RUN or by --checkpoint"):
        find_ensemble(EnsembleRequest())


def test_classes_are_numbered_where_nothing_names_them() -> None:
    ready = {"device": "cpu", "precision": "fp32", "num_classes": 2}
    assert classes_told(ready).names == ("class_0", "class_1")
    named = classes_told({**ready, "class_names": ["sky", "car"], "palette": [[9, 9, 9], [1, 2, 3]]})
    assert (named.names, named.palette) == (("sky", "car"), ((9, 9, 9), (1, 2, 3)))
