from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from segcore.nn.fast_training import fused_adamw, speed_up

SIZE = 64
WIDTHS = [8, 16, 32, 64]
CROSS_ENTROPY = {"type": "CrossEntropyLoss", "avg_non_ignore": True}
LOSSES = [CROSS_ENTROPY, {"type": "DiceLoss", "loss_name": "loss_dice"}, CROSS_ENTROPY | {"loss_weight": 0.5}]
COMMON = {
    "num_classes": 3,
    "channels": 12,
    "norm_cfg": {"type": "BN"},
    "dropout_ratio": 0.0,
    "align_corners": False,
    "loss_decode": CROSS_ENTROPY,
}
HEADS: dict[str, dict[str, Any]] = {
    "UPerHead": {"in_channels": WIDTHS, "in_index": [0, 1, 2, 3], "loss_decode": LOSSES},
    "PSPHead": {"in_channels": WIDTHS[3], "in_index": 3},
    "SegformerHead": {"in_channels": WIDTHS, "in_index": [0, 1, 2, 3]},
    "FCNHead": {"in_channels": WIDTHS[3], "in_index": 3},
}
AUXILIARY = {"type": "FCNHead", "in_channels": WIDTHS[2], "in_index": 2, "num_convs": 1, **COMMON}


def network_of(head: str) -> BaseSegmentor:
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = {
        "type": "EncoderDecoder",
        "backbone": {
            "type": "ResNetV1c",
            "depth": 18,
            "base_channels": 8,
            "stem_channels": 8,
            "norm_cfg": {"type": "BN"},
        },
        "decode_head": {"type": head, **COMMON, **HEADS[head]},
        "auxiliary_head": AUXILIARY,
    }
    network: BaseSegmentor = MODELS.build(ConfigDict(model))
    return network.double().train()


def batch() -> tuple[Tensor, list[SegDataSample]]:
    samples = []
    for seed in range(3):
        labels = torch.randint(0, 3, (1, SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
        labels[:, : 20 * seed] = 255
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels)))
    return torch.randn(3, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(9)), samples


def losses_and_gradients(network: BaseSegmentor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    inputs, samples = batch()
    losses = network.loss(inputs, samples)
    total = torch.stack([value for name, value in losses.items() if "loss" in name]).sum()
    names, parameters = zip(*network.named_parameters(), strict=True)
    return losses, dict(zip(names, torch.autograd.grad(total, parameters), strict=True))


@pytest.mark.parametrize("head", HEADS)
def test_losses_and_all_gradients_are_those_of_plain_mmseg(head: str) -> None:
    plain = network_of(head)
    fast = copy.deepcopy(plain)
    done = speed_up(fast, "cpu", "fp32")
    assert (f"{head} convolves before it upsamples" in done) == (head != "FCNHead")
    expected, expected_gradients = losses_and_gradients(plain)
    found, gradients = losses_and_gradients(fast)
    assert set(found) == {name for name in expected if "acc_seg" not in name}
    assert found.keys() < expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name])
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-6, atol=1e-9)
    assert list(fast.state_dict()) == list(plain.state_dict())


def test_a_copy_of_a_fast_network_computes_with_weights_of_its_own() -> None:
    fast = network_of("UPerHead")
    speed_up(fast, "cpu", "fp32")
    twin = copy.deepcopy(fast)
    before, _ = losses_and_gradients(fast)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    after, _ = losses_and_gradients(fast)
    torch.testing.assert_close(after["decode.loss_ce"], before["decode.loss_ce"])
    zeroed, _ = losses_and_gradients(twin)
    assert not torch.isclose(zeroed["decode.loss_ce"], after["decode.loss_ce"])


def test_the_fused_optimiser_takes_the_steps_of_the_plain_one() -> None:
    weights = [torch.randn(5, 4, dtype=torch.float64), torch.randn(7, dtype=torch.float64)]
    results = []
    for make in (fused_adamw, torch.optim.AdamW):
        parameters = [torch.nn.Parameter(weight.clone()) for weight in weights]
        groups: list[dict[str, Any]] = [{"params": [parameters[0]], "weight_decay": 0.1}, {"params": [parameters[1]]}]
        optimizer = make(groups, lr=0.1)
        for step in range(3):
            for parameter in parameters:
                parameter.grad = (parameter.detach() * (step + 1)).sin()
            optimizer.step()
        results.append(parameters)
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
