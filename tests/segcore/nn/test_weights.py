from __future__ import annotations

import collections
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from safetensors.torch import save_file
from torch import nn

from segcore.errors import CheckpointError
from segcore.nn.weights import StandIn, apply_weights, bare_weights, load_foreign, load_tensors


def small_model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


class Surprise:
    """Something that unpickling would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


@pytest.mark.parametrize("nest", [lambda s: s, lambda s: {"state_dict": s, "meta": {"a": 1}}, lambda s: {"model": s}])
def test_weights_are_found_where_common_tools_put_them(tmp_path: Path, nest: object) -> None:
    model = small_model()
    torch.save(nest(model.state_dict()), tmp_path / "w.pth")  # type: ignore[operator]
    state = load_foreign(tmp_path / "w.pth")
    report = apply_weights(small_model(), state, "w.pth")
    assert len(report.matched) == len(model.state_dict())
    assert not report.missing + report.unexpected + report.reshaped


def test_a_checkpoint_of_an_mmengine_training_is_read_without_its_log(tmp_path: Path) -> None:
    hub = MessageHub.get_instance("test_weights")
    hub.update_scalar("train/loss", torch.tensor(1.5))
    hub.update_info("best", np.float64(0.5))
    content = {"state_dict": small_model().state_dict(), "meta": {"seed": np.int64(3)}, "message_hub": hub.state_dict()}
    torch.save(content, tmp_path / "iter_10.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "iter_10.pth", weights_only=True)
    state = load_foreign(tmp_path / "iter_10.pth")
    assert list(state) == list(small_model().state_dict())


class Reaches:
    """Something that would be looked up in an object of the checkpoint, and called."""

    def __reduce__(self) -> tuple[object, tuple[object, str]]:
        return getattr, ([1, 2, 3], "pop")


def test_what_stands_in_for_a_log_looks_nothing_up(tmp_path: Path) -> None:
    torch.save({"state_dict": small_model().state_dict(), "hook": Reaches()}, tmp_path / "w.pth")
    assert isinstance(load_tensors(tmp_path / "w.pth")["hook"], StandIn)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "w.pth", weights_only=True)


def test_safetensors_files_are_read(tmp_path: Path) -> None:
    model = small_model()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    other = small_model()
    apply_weights(other, load_foreign(tmp_path / "w.safetensors"), "w")
    assert torch.equal(other[0].weight, model[0].weight)


@pytest.mark.parametrize("prefix", ["module.", "backbone."])
def test_prefixes_of_wrappers_are_taken_off(prefix: str) -> None:
    model, other = small_model(), small_model()
    apply_weights(other, {prefix + name: value for name, value in model.state_dict().items()}, "w")
    assert torch.equal(other[2].weight, model[2].weight)


@pytest.mark.parametrize(
    "content",
    [b"", b"no checkpoint", b"PK\x03\x04 torn zip", b"\x80\x04K\x01."],
    ids=["empty", "text", "torn", "number"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_checkpoint_is_one_clear_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights .*w\.(pth|safetensors)"):
        load_foreign(path)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": small_model().state_dict(), "meta": Surprise()}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        load_foreign(tmp_path / "w.pth")
    assert "code ran" not in capsys.readouterr().out


def test_a_missing_file_and_one_without_tensors_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is none"):
        load_foreign(tmp_path / "none.pth")
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="found none"):
        load_foreign(tmp_path / "w.pth")


def test_weights_of_another_network_are_refused_with_counts() -> None:
    with pytest.raises(CheckpointError, match="only 0 of its"):
        apply_weights(small_model(), {"layer.weight": torch.zeros(3)}, "w.pth")


def test_a_head_for_other_classes_is_reported_and_left_out() -> None:
    state = dict(small_model().state_dict())
    state["2.weight"], state["2.bias"] = torch.zeros(9, 4, 1, 1), torch.zeros(9)
    model = small_model()
    report = apply_weights(model, state, "w.pth")
    assert report.reshaped == ("2.weight", "2.bias")
    assert model[2].weight.shape[0] == 2
    assert "2 reshaped" in str(report)


def test_equal_weights_give_equal_files_whatever_their_memory_format(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    model = small_model()
    torch.save(bare_weights(model), tmp_path / "a" / "model.pth")
    torch.save(bare_weights(model.to(memory_format=torch.channels_last)), tmp_path / "b" / "model.pth")
    assert (tmp_path / "a" / "model.pth").read_bytes() == (tmp_path / "b" / "model.pth").read_bytes()


def test_state_dicts_may_be_ordered_dicts(tmp_path: Path) -> None:
    torch.save(collections.OrderedDict(small_model().state_dict()), tmp_path / "w.pth")
    assert load_foreign(tmp_path / "w.pth")
