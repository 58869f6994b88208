"""Losses of a small real network against formulas written out, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmseg.structures.sampler import OHEMPixelSampler
from torch.nn import functional

from segcore.config.train_schema import LossConfig
from segcore.errors import ConfigError
from segcore.nn.loss.apply import LossPlan, apply_loss
from segcore.nn.networks import build_network, model_config
from segcore.process.jobs import ModelSpec

from .small_network import (
    CROSS_ENTROPY,
    SIDE,
    cascade,
    images,
    label_maps,
    logits_of,
    samples_of,
    small_network,
    with_loss,
)

CLASS_WEIGHTS = (0.5, 1.0, 4.0)
WEIGHTED = LossConfig(pseudo_weight=0.3)
ALL_ON = LossConfig(ohem=0.7, region="lovasz", pseudo_weight=0.3, confidence_weighted=True)


def losses_of(network: Any, labels: Any, weights: Any = None, pixels: Any = None) -> dict[str, float]:
    number = len(labels)
    samples = samples_of(labels, weights or [1.0] * number, pixels or [None] * number)
    return {name: float(value.detach()) for name, value in network(images(number), samples, "loss").items()}


@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_the_weighted_sum_over_the_labelled_pixels_class_weights(
    class_weights: tuple[float, ...] | None, weighted: bool
) -> None:
    network = with_loss(LossPlan(WEIGHTED, class_weights, SIDE))
    labels = label_maps("mixed", "mixed")
    confidence = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    found = losses_of(network, labels, [1.0, 0.3] if weighted else None, [None, confidence] if weighted else None)

    truth = torch.from_numpy(np.stack(labels))
    loss = functional.cross_entropy(logits_of(network, images(2)), truth, reduction="none", ignore_index=255)
    pixels = torch.ones(2, SIDE, SIDE)
    if weighted:
        pixels[1] = 0.3 * torch.from_numpy(confidence) / 255
    classes = torch.tensor([*(class_weights or (1.0, 1.0, 1.0)), *[0.0] * 253])[truth]
    assert found["decode.loss_ce"] == pytest.approx(float((loss * pixels * classes).sum() / classes.sum()), rel=1e-5)


def test_hard_pixels_are_those_under_the_threshold_and_their_weights_stay() -> None:
    network = with_loss(LossConfig(ohem=0.4, pseudo_weight=0.3))
    labels = label_maps("mixed", "mixed")
    truth = torch.from_numpy(np.stack(labels))
    logits = logits_of(network, images(2))
    valid = truth != 255
    chance = logits.softmax(1).gather(1, truth.where(valid, torch.tensor(0))[:, None])[:, 0]
    hard = valid & (chance < 0.4)
    assert 2 * SIDE * SIDE / 16 < hard.sum() < 0.9 * valid.sum()
    loss = functional.cross_entropy(logits, truth, reduction="none", ignore_index=255)
    expected = (loss[0][hard[0]].sum() + 0.3 * loss[1][hard[1]].sum()) / valid.sum()
    assert losses_of(network, labels, [1.0, 0.3])["decode.loss_ce"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("region", ["dice", "lovasz"])
def test_a_region_loss_counts_each_image_by_its_weight_and_the_auxiliary_head_by_its_own(region: str) -> None:
    network = with_loss(LossConfig(region=region, region_weight=0.5, pseudo_weight=0.3))
    labels = label_maps("mixed", "mixed")
    alone = losses_of(network, labels[:1])
    both, less = losses_of(network, labels), losses_of(network, labels, [1.0, 0.3])
    for head, weight in (("decode", 0.5), ("aux", 0.5 * 0.4)):
        name = f"{head}.loss_{region}"
        assert 0 < alone[name] <= weight * 1.01
        second = 2 * both[name] - alone[name]
        assert less[name] == pytest.approx((alone[name] + 0.3 * second) / 2, rel=1e-4)


@pytest.mark.parametrize(
    "config",
    [LossConfig(), LossConfig(region="dice"), LossConfig(region="lovasz"), LossConfig(ohem=0.7), ALL_ON],
    ids=["plain", "dice", "lovasz", "ohem", "all"],
)
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
def test_images_without_any_label_do_no_harm_alone_or_beside_others(
    config: LossConfig, class_weights: tuple[float, ...] | None
) -> None:
    network = with_loss(LossPlan(config, class_weights, SIDE))
    total, _ = network.parse_losses(
        network(images(2), samples_of(label_maps("none", "none"), [1, 1], [None] * 2), "loss")
    )
    total.backward()
    assert float(total.detach()) == 0
    assert all(float(p.grad.abs().max()) == 0 for p in network.parameters() if p.grad is not None)
    (labelled,), (empty,) = label_maps("mixed"), label_maps("none")
    assert losses_of(network, [labelled, empty]) == pytest.approx(losses_of(network, [labelled]), rel=1e-5)
    assert np.isfinite(list(losses_of(network, label_maps("one", "none")).values())).all()


def test_an_image_of_weight_0_has_no_say() -> None:
    network = with_loss(ALL_ON)
    (first,), (second,) = label_maps("mixed"), label_maps("one")
    other = losses_of(network, [first, second], [1.0, 0.0])
    assert other["decode.loss_ce"] * (np.sum(first != 255) + 1) == pytest.approx(
        losses_of(network, [first])["decode.loss_ce"] * np.sum(first != 255), rel=1e-4
    )


def test_with_everything_off_a_network_is_left_as_it_was() -> None:
    network = with_loss(LossConfig())
    for head in (network.decode_head, network.auxiliary_head):
        assert head.sampler is None
        assert type(head.loss_decode).__name__ == "CrossEntropyLoss"
        assert head.loss_decode.class_weight is None
    assert not network._forward_pre_hooks
    labels = label_maps("mixed", "mixed")
    assert losses_of(network, labels) == losses_of(small_network(), labels)


def test_what_is_set_wins_over_the_config_file_and_what_is_not_stays() -> None:
    own = [{**CROSS_ENTROPY, "class_weight": [3.0, 2.0, 1.0]}, {"type": "LovaszLoss", "reduction": "none"}]
    network = small_network(own)
    head = network.decode_head
    head.sampler = OHEMPixelSampler(head, thresh=0.9, min_kept=5)
    apply_loss(network, LossPlan(LossConfig(), None, SIDE))
    assert [loss.loss_name for loss in head.loss_decode] == ["loss_ce", "loss_lovasz"]
    assert (head.loss_decode[0].class_weight, head.sampler.thresh) == ([3.0, 2.0, 1.0], 0.9)
    apply_loss(network, LossPlan(LossConfig(ohem=0.6, region="dice"), CLASS_WEIGHTS, SIDE))
    assert [loss.loss_name for loss in head.loss_decode] == ["loss_ce", "loss_dice"]
    assert head.loss_decode[0].class_weight == list(CLASS_WEIGHTS)
    assert (head.sampler.mining.thresh, head.sampler.mining.min_kept) == (0.6, SIDE * SIDE // 16)


def test_class_weights_of_a_config_file_train() -> None:
    weights = {**CROSS_ENTROPY, "class_weight": list(CLASS_WEIGHTS)}
    labels = label_maps("mixed", "none")
    own = losses_of(with_loss(LossConfig(), loss_decode=weights), labels)
    given = losses_of(with_loss(LossPlan(LossConfig(), CLASS_WEIGHTS, SIDE)), labels)
    assert own["decode.loss_ce"] == pytest.approx(given["decode.loss_ce"], rel=1e-6)


@pytest.mark.parametrize(
    ("loss_decode", "config", "class_weights", "words"),
    [
        ({"type": "FocalLoss"}, LossConfig(ohem=0.7), None, "train.loss.ohem cannot .* decode_head: its FocalLoss"),
        ({"type": "DiceLoss"}, LossConfig(pseudo_weight=0.5), None, "pseudo_weight .* DiceLoss .*train.loss.region"),
        ({"type": "TverskyLoss"}, LossConfig(), CLASS_WEIGHTS, "class_weights cannot .* FCNHead has TverskyLoss"),
    ],
)
def test_losses_that_cannot_do_it_are_named_with_the_remedy(
    loss_decode: Any, config: LossConfig, class_weights: Any, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        with_loss(LossPlan(config, class_weights, SIDE), loss_decode=loss_decode)


def test_every_head_of_a_cascade_is_changed() -> None:
    network = cascade()
    apply_loss(network, LossPlan(ALL_ON, CLASS_WEIGHTS, SIDE))
    for head in network.decode_head:
        assert head.sampler.mining.thresh == 0.7
        assert [loss.loss_name for loss in head.loss_decode] == ["loss_ce", "loss_lovasz"]
    found = losses_of(network, label_maps("mixed", "none"), [1.0, 0.3])
    assert {"decode_0.loss_ce", "decode_0.loss_lovasz", "decode_1.loss_ce", "decode_1.loss_lovasz"} <= set(found)
    assert np.isfinite(list(found.values())).all()


def test_pidnets_head_weighs_classes_but_no_pixels() -> None:
    spec = ModelSpec("pidnet_small", None, None, None, ("a", "b", "c"), ((0, 0, 0),) * 3, tiny=True)
    network = build_network(model_config(spec, 64))
    for config, field in (
        (LossConfig(ohem=0.7), "ohem"),
        (LossConfig(pseudo_ramp=0.1, region="dice"), "region, .*ramp"),
    ):
        with pytest.raises(ConfigError, match=rf"train\.loss\.{field} cannot be used with decode_head: EdgePIDHead"):
            apply_loss(network, LossPlan(config, None, 64))
    apply_loss(network, LossPlan(LossConfig(), CLASS_WEIGHTS, 64))
    weighed = [loss.class_weight for loss in network.decode_head.loss_decode if hasattr(loss, "class_weight")]
    assert weighed == [list(CLASS_WEIGHTS)] * 3
    hard = network.decode_head.loss_decode[1]
    logits = torch.tensor([[[[60.0]], [[0.0]], [[0.0]]]])
    assert float(hard(logits, torch.tensor([[[0]]]))) == 0  # mmseg's is NaN: the one labelled pixel is not hard
