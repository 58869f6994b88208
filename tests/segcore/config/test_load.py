"""Run configs: every file in configs/ loads; every wrong field gets one message a person can act on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from segcore.config.load import load_config
from segcore.config.messages import field_names
from segcore.config.schema import RunConfig
from segcore.errors import ConfigError

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

SMALL: dict[str, Any] = {
    "data": {
        "train": {"annotations": "train.json", "images": "images"},
        "unlabeled": [{"images": "pool"}],
        "unannotated": "background",
    },
    "train": {"iterations": 10},
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    """Return a function that writes a config file."""

    def write_config(content: Any, name: str = "small.yaml") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write_config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_loads_and_starts_with_its_promise(path: Path) -> None:
    config = load_config(path)
    assert config.run_id is not None
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for promise in ("For:", "Hardware:", "Time:", "Expected:", "Command:"):
        assert any(promise in line for line in header), f"{path.name} does not state {promise}"
    assert any("Command:" in line and f"segloop run configs/{path.name}" in line for line in header)


def test_there_are_configs() -> None:
    assert {path.name for path in CONFIGS} >= {"demo.yaml", "garbage6.yaml"}


def test_paths_are_relative_to_the_file_and_run_id_is_its_name(write: Callable[[Any], Path], tmp_path: Path) -> None:
    config = load_config(write(SMALL))
    assert config.data.train.annotations == tmp_path / "train.json"
    assert config.data.unlabeled[0].images == tmp_path / "pool"
    assert config.run_id == "small"


def test_overrides_reach_nested_fields_and_missing_sections(write: Callable[[Any], Path]) -> None:
    overrides = ["train.iterations=7", "loop.rounds=1", "filter.tau={red: 0.5}", "label.sizes=[64, 96]"]
    config = load_config(write(SMALL), overrides)
    assert (config.train.iterations, config.loop.rounds, config.label.sizes) == (7, 1, (64, 96))
    assert config.filter.tau == {"red": 0.5}


WRONG: dict[str, tuple[str, list[str]]] = {
    "a misspelt field names the nearest": ("train.iteratoins=5", ["train.iteratoins", "train.iterations"]),
    "a misspelt section names the nearest": ("trian.iterations=5", ["trian", "train"]),
    "a field in the wrong section names its place": ("train.patience=3", ["train.patience", "loop.patience"]),
    "a threshold out of range": ("filter.tau=1.7", ["filter.tau", "1.7"]),
    "a wrong type": ("train.batch_size=many", ["train.batch_size", "'many'"]),
    "one kept checkpoint is refused with the reason": ("train.keep_checkpoints=1", ["keep_checkpoints", "at least 2"]),
    "an unknown choice": ("data.unannotated=void", ["data.unannotated", "background", "ignore", "'void'"]),
    "two model sources": ("model.config=my.py", ["exactly one of preset and config"]),
    "a size that is no multiple of 32": ("train.size=100", ["train.size", "32", "100"]),
    "a bad run_id": ("run_id=../elsewhere", ["run_id", "../elsewhere"]),
    "no pool": ("data.unlabeled=[]", ["data.unlabeled", "loop.rounds"]),
    "an override without value": ("train.iterations", ["--set", "FIELD=VALUE"]),
}


@pytest.mark.parametrize(("override", "expected"), WRONG.values(), ids=WRONG.keys())
def test_wrong_configs(override: str, expected: list[str], write: Callable[[Any], Path]) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(SMALL), [override])
    for part in expected:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [("a: [1", "not valid YAML"), ("- 1\n", "mapping"), ("", "mapping"), ("train: {iterations: 3}\n", "data")],
)
def test_broken_files(content: str, expected: str, write: Callable[[Any], Path]) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_config(write(content))


def test_images_are_not_ranked_by_the_agreement_of_one_view(write: Callable[[Any], Path]) -> None:
    one_view = ["label.sizes=[64]", "label.flip=false", "filter.reliable_share=0.5"]
    with pytest.raises(ConfigError, match=r"filter\.reliable_share must be 1 .* one view, got 0\.5.*set label\.flip"):
        load_config(write(SMALL), one_view)
    assert load_config(write(SMALL), [*one_view, "label.flip=true"]).filter.reliable_share == 0.5


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.teacher={checkpoint: a.pth, config: a.py, trained_on: []}", "given teacher.*reliability: views"),
        ("train.round_iterations=2", "less than 3 iterations.*raise train"),
    ],
)
def test_images_are_ranked_by_checkpoints_only_where_a_training_has_some(
    write: Callable[[Any], Path], override: str, expected: str
) -> None:
    ranked = ["label.sizes=[64]", "label.flip=false", "filter.reliability=checkpoints"]
    assert load_config(write(SMALL), [*ranked, "filter.reliable_share=0.5"]).filter.reliability == "checkpoints"
    with pytest.raises(ConfigError, match=expected):
        load_config(write(SMALL), [*ranked, "filter.reliable_share=0.5", override])
    assert load_config(write(SMALL), [*ranked, override]).filter.reliable_share == 1  # nobody is ranked


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_python_objects_in_yaml_are_not_built(write: Callable[[Any], Path], tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(ConfigError):
        load_config(write(f"run_id: !!python/object/apply:pathlib.Path.touch ['{marker}']\n"))
    assert not marker.exists()


def test_every_field_of_every_section_is_documented_or_plain() -> None:
    names = field_names(RunConfig)
    assert len(names) == len(set(names))
    assert "train.augment.flip" in names


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("imagenet", "imagenet"),
        ("facebook/convnext-tiny-224", "facebook/convnext-tiny-224"),
        ("there/folder", "{folder}/there/folder"),
        ("there/none.pth", "{folder}/there/none.pth"),
        ("./owner/name", "{folder}/owner/name"),
        ("weights.safetensors", "{folder}/weights.safetensors"),
        ("plain", "{folder}/plain"),
        ("/a/b", "/a/b"),
    ],
)
def test_weights_are_a_path_unless_there_is_none_and_they_can_be_a_name_on_the_hub(
    write: Callable[[Any], Path], tmp_path: Path, weights: str, expected: str
) -> None:
    (tmp_path / "there" / "folder").mkdir(parents=True)
    path = write(SMALL | {"model": {"weights": weights}})
    assert load_config(path).model.weights == expected.format(folder=tmp_path.resolve())


def test_a_tiny_model_has_no_published_weights(write: Callable[[Any], Path]) -> None:
    with pytest.raises(ConfigError, match="set weights to null"):
        load_config(write(SMALL | {"model": {"tiny": True}}))
    assert load_config(write(SMALL | {"model": {"tiny": True, "weights": None}})).model.tiny
