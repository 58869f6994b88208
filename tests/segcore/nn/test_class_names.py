from __future__ import annotations

from pathlib import Path

import pytest

from segcore.nn.class_names import told_classes

CITYSCAPES = "dict(type='CityscapesDataset')"
OWN = "dict(type='BaseSegDataset', metainfo=dict(classes=('road', 'car'), palette=[[1, 2, 3], [4, 5, 6]]))"
NAMED = "dict(type='CityscapesDataset', metainfo=dict(classes=['road', 'car']))"
WRAPPED = f"dict(type='RepeatDataset', times=2, dataset={OWN})"


def config_with(root: Path, dataset: str) -> Path:
    path = root / "config.py"
    path.write_text(f"model = dict(type='EncoderDecoder')\ntest_dataloader = dict(dataset={dataset})\n")
    return path


@pytest.mark.parametrize("dataset", [OWN, WRAPPED])
def test_a_config_names_its_classes_by_metainfo(tmp_path: Path, dataset: str) -> None:
    assert told_classes(config_with(tmp_path, dataset), 2) == (("road", "car"), ((1, 2, 3), (4, 5, 6)))


def test_names_without_colours_are_taken_alone(tmp_path: Path) -> None:
    assert told_classes(config_with(tmp_path, NAMED), 2) == (("road", "car"), None)


def test_a_data_set_of_mmsegmentation_names_its_classes(tmp_path: Path) -> None:
    names, palette = told_classes(config_with(tmp_path, CITYSCAPES), 19)
    assert names is not None
    assert (names[0], names[-1], len(names)) == ("road", "bicycle", 19)
    assert palette is not None
    assert palette[0] == (128, 64, 128)


@pytest.mark.parametrize("dataset", [CITYSCAPES, OWN, "dict(type='NoSuchDataset')", "dict()"])
def test_classes_of_another_number_or_an_unknown_data_set_are_not_told(tmp_path: Path, dataset: str) -> None:
    assert told_classes(config_with(tmp_path, dataset), 7) == (None, None)
