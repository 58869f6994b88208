"""Weights to start from, as others publish them: small models written here, in the forms of the hub and OpenMMLab."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from mmseg.models import BaseSegmentor
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

from segcore.errors import CheckpointError
from segcore.nn.networks import model_config, started_student
from segcore.nn.presets import PRESETS
from segcore.nn.weights import State, WeightReport
from segcore.process.jobs import ModelSpec

SPEC = ModelSpec("convnext_tiny_upernet", None, None, 8, ("a", "b"), ((0, 0, 0), (1, 1, 1)), tiny=True)


def started(preset: str, weights: str | Path | None) -> tuple[BaseSegmentor, WeightReport | None]:
    """Return a tiny preset with weights, other random values each time where it has none."""
    spec = dataclasses.replace(SPEC, preset=preset, weights=None if weights is None else str(weights))
    return started_student(spec, model_config(spec, 64))


def hub_folder(preset: str, folder: Path, **changes: object) -> State:
    """Write a tiny model with random weights as the hub has them, and return its tensors."""
    config = dict(PRESETS[preset].model(2, tiny=True)["backbone"]["config"]) | changes
    kind = AutoModel if "dinov3" in preset else AutoModelForImageClassification
    model = kind.from_config(AutoConfig.for_model(**config))
    model.save_pretrained(folder)
    return dict(model.state_dict())


@pytest.mark.parametrize("preset", ["convnext_tiny_upernet", "dinov2_small_fpn", "dinov3_small_fpn"])
@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_weights_of_the_hub_fill_the_backbone_from_folder_and_file(preset: str, name: str, tmp_path: Path) -> None:
    published = hub_folder(preset, tmp_path)
    network, report = started(preset, tmp_path / name)
    own = network.backbone.model.state_dict()
    assert report is not None
    assert {part.partition(".")[0] for part in report.missing} <= {"hidden_states_norms"}
    assert report.reshaped == ()
    assert len(report.matched) + len(report.missing) == len(own)
    for prefix in ("convnext.", "dinov2."):
        published = {name.removeprefix(prefix): value for name, value in published.items()}
    shared = [name for name in own if name in published]
    assert len(shared) > 30
    assert all(torch.equal(own[name], published[name]) for name in shared)


def test_old_files_of_the_hub_are_read_without_running_anything(tmp_path: Path) -> None:
    published = hub_folder("convnext_tiny_upernet", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(published, tmp_path / "pytorch_model.bin")
    network, report = started("convnext_tiny_upernet", tmp_path)
    assert report is not None
    assert any(name.startswith("classifier") for name in report.unexpected)
    key = "embeddings.patch_embeddings.weight"
    assert torch.equal(network.backbone.model.state_dict()[key], published[f"convnext.{key}"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_sizes": [16, 32, 64, 128]}, "of another shape"),
        ({"depths": [1, 1, 1, 1]}, r"layers\.1"),
    ],
)
def test_weights_of_another_size_are_an_error_that_names_tensors(
    changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    hub_folder("convnext_tiny_upernet", tmp_path, **changes)
    with pytest.raises(CheckpointError, match=words):
        started("convnext_tiny_upernet", tmp_path)


def test_weights_of_another_kind_of_model_are_an_error(tmp_path: Path) -> None:
    hub_folder("dinov2_small_fpn", tmp_path)
    with pytest.raises(CheckpointError, match="must hold every tensor of the backbone"):
        started("convnext_tiny_upernet", tmp_path)


def test_a_folder_without_weights_and_a_path_to_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.safetensors or pytorch_model\.bin"):
        started("convnext_tiny_upernet", tmp_path)
    with pytest.raises(CheckpointError, match="no such file or folder"):
        started("convnext_tiny_upernet", tmp_path / "none.pth")


@pytest.mark.parametrize("preset", ["swin_tiny_upernet", "segformer_b1", "deeplabv3plus_r50", "pidnet_small"])
def test_a_backbone_of_openmmlab_is_loaded_and_a_gap_in_it_is_an_error(preset: str, tmp_path: Path) -> None:
    source, _ = started(preset, None)
    state = {
        name: value
        for name, value in source.backbone.state_dict().items()
        if not name.startswith(("norm0.", "norm1.", "norm2.", "norm3.", "spp.", "dfm."))
    }
    torch.save({"state_dict": state}, tmp_path / "backbone.pth")
    network, report = started(preset, tmp_path / "backbone.pth")
    assert report is not None
    assert set(report.matched) == set(state)
    assert all(torch.equal(network.backbone.state_dict()[name], value) for name, value in state.items())
    lost = next(name for name in state if name.endswith("weight"))
    torch.save({"state_dict": {name: state[name] for name in state if name != lost}}, tmp_path / "gap.pth")
    with pytest.raises(CheckpointError, match=re.escape(lost)):
        started(preset, tmp_path / "gap.pth")


def test_a_whole_student_is_loaded_but_for_a_head_for_other_classes(tmp_path: Path) -> None:
    source, _ = started("convnext_tiny_upernet", None)
    state = source.state_dict()
    state["decode_head.conv_seg.weight"] = torch.zeros(9, 8, 1, 1)
    torch.save({"state_dict": state}, tmp_path / "model.pth")
    network, report = started("convnext_tiny_upernet", tmp_path / "model.pth")
    assert report is not None
    assert report.reshaped == ("decode_head.conv_seg.weight",)
    name = "backbone.model.embeddings.layernorm.weight"
    assert torch.equal(network.state_dict()[name], state[name])


def swin_of_its_authors(state: State) -> State:
    """Return mmseg's weights of Swin under the names its authors use; reductions in whatever order."""
    renamed = (("stages", "layers"), ("attn.w_msa.", "attn."), ("ffn.layers.0.0.", "mlp.fc1."))
    renamed += (("ffn.layers.1.", "mlp.fc2."), ("projection", "proj"))
    found = {}
    for name, value in state.items():
        for ours, theirs in renamed:
            name = name.replace(ours, theirs)
        found[name] = value
    return found


def mit_of_its_authors(state: State) -> State:
    """Return mmseg's weights of a Mix Transformer under the names of SegFormer's authors."""
    found: State = {}
    for name, value in state.items():
        stage, part, rest = re.fullmatch(r"layers\.(\d)\.(\d)\.(.*)", name).groups()  # type: ignore[union-attr]
        place = {"0": "patch_embed", "1": "block", "2": "norm"}[part] + str(int(stage) + 1)
        if "in_proj_" in rest:
            width = len(value) // 3
            for theirs, part_of in (("q.", value[:width]), ("kv.", value[width:])):
                found[f"{place}.{rest.replace('attn.in_proj_', theirs)}"] = part_of
            continue
        for ours, theirs in (
            *(("projection", "proj"), ("attn.out_proj.", "proj."), ("ffn.layers.0.", "mlp.fc1.")),
            *(("ffn.layers.1.", "mlp.dwconv.dwconv."), ("ffn.layers.4.", "mlp.fc2.")),
        ):
            rest = rest.replace(ours, theirs)
        found[f"{place}.{rest}"] = value.flatten(1) if "fc" in rest and value.ndim == 4 else value
    return found


def test_swin_and_segformer_of_their_authors_go_through_the_converters_of_mmseg(tmp_path: Path) -> None:
    for preset, rename in (("swin_tiny_upernet", swin_of_its_authors), ("segformer_b1", mit_of_its_authors)):
        source, _ = started(preset, None)
        state = source.backbone.state_dict()
        torch.save({"model": rename(state)}, tmp_path / "theirs.pth")
        network, report = started(preset, tmp_path / "theirs.pth")
        assert report is not None
        assert set(report.matched) == set(state)
        loaded = network.backbone.state_dict()
        assert all(torch.equal(loaded[name], state[name]) for name in state if "downsample" not in name)


@pytest.mark.parametrize(
    ("preset", "weights", "words"),
    [
        ("convnext_tiny_upernet", "nobody/nothing", "hf download nobody/nothing --local-dir nothing"),
        ("convnext_tiny_upernet", "imagenet", "hf download facebook/convnext-tiny-224 --local-dir convnext-tiny-224"),
        ("dinov3_large_fpn", "imagenet", "hf auth login"),
        (
            "swin_large_upernet",
            "imagenet",
            r"curl -LO https://\S*/swin_large_patch4_window12_384_22k_20220412-6580f57d\.pth",
        ),
    ],
)
def test_weights_that_are_not_here_come_with_the_command_that_fetches_them(
    preset: str, weights: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match=words) as caught:
        started(preset, weights)
    assert "model.weights" in str(caught.value)


def test_what_was_fetched_before_is_found_in_the_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    commit = "0" * 40
    snapshot = tmp_path / "models--facebook--convnext-tiny-224" / "snapshots" / commit
    hub_folder("convnext_tiny_upernet", snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(commit)
    for weights in ("imagenet", "facebook/convnext-tiny-224"):
        _, report = started("convnext_tiny_upernet", weights)
        assert report is not None
        assert report.matched
    source, _ = started("pidnet_small", None)
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(source.backbone.state_dict(), checkpoints / "pidnet-s_imagenet1k_20230306-715e6273.pth")
    _, report = started("pidnet_small", "imagenet")
    assert report is not None
    assert report.missing == ()
