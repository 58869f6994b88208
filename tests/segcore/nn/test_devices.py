from __future__ import annotations

import os

import pytest
import torch

from segcore.errors import ConfigError
from segcore.nn.devices import (
    autocast,
    labelling_precision,
    limit_visible_devices,
    resolve_precision,
    torch_device,
)


@pytest.mark.parametrize(
    ("device", "before", "after"),
    [
        ("cpu", None, ""),
        ("cpu", "0,1", ""),
        ("cuda:1", None, "1"),
        ("cuda:1", "4,6", "6"),
        ("auto", "3", "3"),
        ("cuda", None, None),
    ],
)
def test_one_device_is_left_visible(
    monkeypatch: pytest.MonkeyPatch, device: str, before: str | None, after: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if before is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    limit_visible_devices(device)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == after


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:7", ""])
def test_a_wrong_device_is_named(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ConfigError, match=r"runtime\.device"):
        limit_visible_devices(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_where_there_is_none_is_an_error_with_its_remedy() -> None:
    with pytest.raises(ConfigError, match="use 'cpu'"):
        torch_device("cuda")
    assert torch_device("auto") == "cpu"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_named_precision_is_taken_as_it_is(precision: str) -> None:
    assert resolve_precision(precision, "cpu") == labelling_precision(precision, "cpu") == precision


def test_fp16_is_for_labelling_only() -> None:
    assert labelling_precision("fp16", "cpu") == "fp16"
    assert labelling_precision("auto", "cpu") == resolve_precision("auto", "cpu")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_autocast_multiplies_in_the_precision(precision: str, dtype: torch.dtype) -> None:
    with autocast(labelling_precision(precision, "cpu"), "cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
