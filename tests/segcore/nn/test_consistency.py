from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.models import EncoderDecoder
from torch import nn

from segcore.config.student_schema import ConsistencyConfig
from segcore.nn.consistency import (
    Target,
    Views,
    box_masks,
    consistency_loss,
    cut_mixed,
    divided,
    logits_of,
    masked_cross_entropy,
    still_statistics,
    views_of,
)
from segcore.nn.devices import autocast
from segcore.nn.networks import build_network, model_config
from segcore.nn.unlabelled_data import UnlabelledStream
from segcore.process.jobs import ModelSpec

NAMES, PALETTE = ("a", "b", "c"), ((0, 0, 0), (9, 9, 9), (90, 90, 90))
SIZE = 64


def model(preset: str = "efficientnet_lite0_upernet") -> EncoderDecoder:
    """Return a small network with random weights."""
    torch.manual_seed(0)
    return build_network(model_config(ModelSpec(preset, None, None, None, NAMES, PALETTE, tiny=True), SIZE))


class Echo(nn.Module):
    """A backbone and a head at once: the logits are the image."""

    with_neck, align_corners = False, False

    def backbone(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (images,)

    @property
    def decode_head(self) -> Any:
        return SimpleNamespace(forward=lambda features: features[0])


def slow_loss(logits: torch.Tensor, labels: torch.Tensor, confidence: torch.Tensor, valid: torch.Tensor) -> float:
    """Return what masked_cross_entropy does, pixel by pixel, at tau 0.6."""
    total, count = 0.0, 0
    for place in np.ndindex(*labels.shape):
        if not valid[place]:
            continue
        count += 1
        if confidence[place] >= 0.6:
            image, row, column = place
            values = logits[image, :, row, column].tolist()
            total -= values[int(labels[place])] - math.log(sum(math.exp(value) for value in values))
    return total / max(count, 1)


def test_the_loss_counts_sure_pixels_and_divides_by_all_that_are_no_padding():
    torch.manual_seed(1)
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    confidence, valid = torch.rand(2, 4, 5), torch.rand(2, 4, 5) > 0.2
    found = masked_cross_entropy(logits, Target(labels, confidence, valid), 0.6)
    assert float(found) == pytest.approx(slow_loss(logits, labels, confidence, valid), rel=1e-5)
    nothing = masked_cross_entropy(logits, Target(labels, confidence, torch.zeros_like(valid)), 0.6)
    assert float(nothing) == 0


def test_the_whole_loss_is_that_of_a_slow_reference_with_cutmix_on_both_views():
    torch.manual_seed(2)
    weak, first, second = (torch.randn(2, 3, 4, 4) * 2 for _ in range(3))
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    valid[1, :, 3] = False
    masks = [
        box_masks(torch.tensor([[0, 2, 1, 3], [0, 0, 0, 0]]), 4, 4),
        box_masks(torch.tensor([[1, 4, 0, 4]] * 2), 4, 4),
    ]
    config = ConsistencyConfig(tau=0.6, feature_dropout=0)
    echo: Any = Echo()
    found = consistency_loss(echo, echo, Views(weak, first, second, *masks, valid), config)
    confidence, labels = weak.softmax(1).max(1)
    losses = []
    for strong, mask in zip((first, second), masks, strict=True):
        view, one, two, three = strong.clone(), labels.clone(), confidence.clone(), valid.clone()
        for image, row, column in np.argwhere(mask.numpy()):
            other = 1 - image
            view[image, :, row, column] = strong[other, :, row, column]
            one[image, row, column] = labels[other, row, column]
            two[image, row, column] = confidence[other, row, column]
            three[image, row, column] = valid[other, row, column]
        losses.append(slow_loss(view, one, two, three))
    assert float(found.loss) == pytest.approx(sum(losses) / 2, rel=1e-5)
    assert float(found.confident) == pytest.approx(float(((confidence >= 0.6) & valid).sum() / valid.sum()))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_reach_the_student_alone(precision):
    student, teacher = model(), model()
    batch = {
        name: [torch.randint(0, 256, (3, 50, 64), dtype=torch.uint8)] * 2 for name in ("weak", "strong_1", "strong_2")
    }
    batch |= {name: [torch.tensor([0, 20, 0, 20])] * 2 for name in ("box_1", "box_2")}
    views = views_of(student, batch)
    assert views.weak.shape == (2, 3, SIZE, SIZE)
    assert views.valid[:, :50].all()
    assert not views.valid[:, 50:].any()
    before = {name: value.clone() for name, value in student.named_buffers()}
    with autocast(precision, "cpu"):
        found = consistency_loss(student.train(), teacher.eval(), views, ConsistencyConfig(tau=0.01))
    assert found.loss.dtype == torch.float32
    found.loss.backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in student.backbone.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in student.named_buffers())


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_two_views_get_complementary_channels(share):
    torch.manual_seed(3)
    num_pairs = 4
    features = [torch.ones(2 * num_pairs, 64, 3, 2), torch.ones(2 * num_pairs, 16, 1, 1)]
    for feature in divided(features, share):
        first, second = feature.chunk(2)
        assert torch.equal(first + second, torch.full_like(first, 2))
        kept = (first == 1).flatten(1).all(1)
        assert int(kept.sum()) == num_pairs - int(num_pairs * share)
        assert set(first[~kept].unique().tolist()) <= {0.0, 2.0}
        assert torch.equal(first[:, :, :1, :1].expand_as(first), first)
    if share == 1.0:
        assert 0.4 < float((divided(features, share)[0] == 2).float().mean()) < 0.6


def test_cutmix_shows_the_image_from_the_other_end_of_the_batch_inside_the_box():
    images = torch.arange(3.0)[:, None, None, None].expand(3, 2, 4, 4)
    mask = box_masks(torch.tensor([[0, 2, 0, 1], [0, 4, 0, 4], [0, 0, 0, 0]]), 4, 4)
    mixed = cut_mixed(images, mask)
    assert torch.equal(mixed[0, 0, :, 0], torch.tensor([2.0, 2.0, 0.0, 0.0]))
    assert torch.equal(mixed[1], images[1])
    assert torch.equal(mixed[2], images[2])


def test_running_statistics_stand_still_and_move_again_afterwards():
    norm = nn.BatchNorm2d(2)
    with still_statistics(norm):
        out = norm(torch.randn(4, 2, 3, 3) + 5)
    assert abs(float(out.detach().mean())) < 1e-5
    assert torch.equal(norm.running_mean, torch.zeros(2))
    norm(torch.randn(4, 2, 3, 3) + 5)
    assert norm.running_mean.abs().min() > 0


@pytest.mark.parametrize("preset", ["segformer_b0", "deeplabv3plus_r50", "convnext_tiny_upernet", "dinov2_small_fpn"])
def test_every_kind_of_network_gives_logits_of_the_images_size_with_divided_features(preset):
    init_default_scope("mmseg")
    network = model(preset).train()
    with torch.no_grad(), still_statistics(network):
        assert logits_of(network, torch.randn(4, 3, SIZE, SIZE), 0.5).shape == (4, 3, SIZE, SIZE)


def test_the_pool_is_walked_in_epochs_by_a_function_of_seed_and_position():
    stream = UnlabelledStream(5, 2, 100, seed=3)
    turns = [stream.image_at(position) for position in range(10)]
    assert sorted(turns[:5]) == sorted(turns[5:]) == list(range(5))
    assert turns == [UnlabelledStream(5, 4, 9, seed=3).image_at(position) for position in range(10)]
    assert turns != [UnlabelledStream(5, 2, 100, seed=4).image_at(position) for position in range(10)]
