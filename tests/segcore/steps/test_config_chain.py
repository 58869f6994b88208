"""The hash of a config changes with everything that it includes, and nothing is executed to know that."""

from __future__ import annotations

from pathlib import Path

import pytest

from segcore.config.model_schema import NetworkConfig
from segcore.errors import ConfigError
from segcore.steps.config_chain import config_files, config_sha256
from segcore.steps.round_models import model_inputs
from segcore.store.canonical import file_sha256

WRITTEN = {
    "a list": "_base_ = ['bases/model.py', 'bases/data.py']\n",
    "one name": "_base_ = 'bases/data.py'\n",
    "new style": "from mmengine.config import read_base\nwith read_base():\n    from .bases.data import *\n",
    "new style, from above": "with read_base():\n    from ..here.bases.data import *\n",
    "with a placeholder": "_base_ = 'bases/data.py'\nlr = {{_base_.lr}}\n",
}


def write(folder: Path, **texts: str) -> None:
    """Write files by name: bases_model stands for bases/model.py."""
    (folder / "bases").mkdir(exist_ok=True, parents=True)
    for name, text in texts.items():
        (folder / f"{name.replace('_', '/')}.py").write_text(text)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return a folder with two configs, of which one includes the other, and a third by itself."""
    write(tmp_path / "here", bases_model="_base_ = ['deep.py']\n", bases_deep="width = 8\n", bases_data="lr = 1\n")
    return tmp_path / "here"


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_changed_base_changes_the_hash(here: Path, text: str) -> None:
    write(here, top=text)
    before = config_sha256(here / "top.py")
    assert config_sha256(here / "top.py") == before
    write(here, bases_data="lr = 2\n")
    assert config_sha256(here / "top.py") != before


def test_a_changed_base_is_another_model_to_train(here: Path) -> None:
    write(here, top="_base_ = 'bases/data.py'\n")
    model = NetworkConfig(preset=None, config=here / "top.py", weights=None)
    before = model_inputs(model)
    write(here, bases_data="lr = 2\n")
    assert model_inputs(model) != before


def test_bases_of_bases_count_and_each_file_once(here: Path) -> None:
    write(here, top="_base_ = ['bases/model.py', 'bases/deep.py']\n", bases_deep="_base_ = 'model.py'\n")
    assert [path.name for path in config_files(here / "top.py")] == ["top.py", "model.py", "deep.py"]


def test_a_config_without_bases_has_the_hash_of_its_file(here: Path) -> None:
    write(here, top="import os\nmodel = dict(type='EncoderDecoder')\n_base_x = 'bases/data.py'\n")
    assert config_sha256(here / "top.py") == file_sha256(here / "top.py")


@pytest.mark.parametrize("name", ["top.json", "top.yaml"])
def test_json_and_yaml_have_bases_too(here: Path, name: str) -> None:
    (here / name).write_text('{"_base_": ["bases/data.py"], "x": 1}')
    assert [path.name for path in config_files(here / name)] == [name, "data.py"]


def test_what_lies_in_a_package_is_known_by_its_name(here: Path) -> None:
    write(here, top="_base_ = ['mmseg::_base_/models/upernet_swin.py']\nimport custom.module\n")
    assert len(config_files(here / "top.py")) == 1


def test_a_changed_environment_variable_that_the_config_reads_changes_the_hash(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here, top="width = '{{$SEGLOOP_TEST_WIDTH:8}}'\n")
    hashes = set()
    for value in ("8", "16"):
        monkeypatch.setenv("SEGLOOP_TEST_WIDTH", value)
        hashes.add(config_sha256(here / "top.py"))
    assert len(hashes) == 2


def test_nothing_is_executed(here: Path) -> None:
    write(here, top="_base_ = 'bases/data.py'\nraise SystemExit('executed')\n")
    assert config_sha256(here / "top.py")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\n_base_ = os.environ['BASE']\n", "_base_ must be file names as plain text"),
        ("_base_ = ['{{ fileDirname }}/bases/data.py']\n", "_base_ must be file names as plain text"),
        ("_base_ = ['bases/nowhere.py']\n", r"nowhere\.py: this config, or one that includes it, cannot be read"),
        ("model = dict(\n", "expected a Python file"),
    ],
)
def test_a_config_whose_bases_cannot_be_told_is_refused(here: Path, text: str, expected: str) -> None:
    write(here, top=text)
    with pytest.raises(ConfigError, match=expected):
        config_sha256(here / "top.py")
