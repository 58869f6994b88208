from __future__ import annotations

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from segcore.nn.efficientnet_lite import EfficientNetLite
from segcore.nn.presets.published import lite_weights
from segcore.nn.weights import apply_weights, load_foreign

LITE0_STAGE_ENDS = (2, 4, 10, 15)
CHANNELS = ((24, 40, 112, 320), (24, 40, 112, 320), (24, 48, 120, 352))


@pytest.fixture(scope="module")
def backbone() -> EfficientNetLite:
    found = EfficientNetLite()
    report = apply_weights(found, load_foreign(lite_weights(0)), "imagenet")
    assert not report.missing
    assert not report.reshaped
    return found.eval()


@pytest.mark.parametrize("variant", range(3))
def test_installed_weights_fill_every_tensor_of_their_variant(variant: int) -> None:
    backbone = EfficientNetLite(variant)
    report = apply_weights(backbone, load_foreign(lite_weights(variant)), "imagenet")
    assert report.missing == report.reshaped == ()
    with torch.inference_mode():
        features = backbone.eval()(torch.zeros(1, 3, 64, 64))
    assert tuple(feature.shape[1] for feature in features) == CHANNELS[variant]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (224, 224)])
def test_features_come_at_strides_4_8_16_32(backbone: EfficientNetLite, height: int, width: int) -> None:
    with torch.inference_mode():
        features = backbone(torch.zeros(1, 3, height, width))
    expected = [(1, c, height // s, width // s) for c, s in zip(CHANNELS[0], (4, 8, 16, 32), strict=True)]
    assert [tuple(feature.shape) for feature in features] == expected


@pytest.mark.parametrize(("height", "width"), [(33, 250), (101, 67), (97, 63), (35, 32)])
def test_odd_and_oblong_sizes_give_features_within_one_cell_of_the_stride(
    backbone: EfficientNetLite, height: int, width: int
) -> None:
    with torch.inference_mode():
        features = backbone(torch.randn(1, 3, height, width))
    for feature, stride in zip(features, (4, 8, 16, 32), strict=True):
        assert abs(feature.shape[2] - height / stride) < 1
        assert abs(feature.shape[3] - width / stride) < 1
        assert torch.isfinite(feature).all()


def test_values_are_those_of_the_package_it_wraps(backbone: EfficientNetLite) -> None:
    network = EfficientNet.from_name("efficientnet-lite0")
    apply_weights(network, load_foreign(lite_weights(0)), "imagenet")
    network.eval()
    x = image = torch.randn(1, 3, 75, 64, generator=torch.Generator().manual_seed(0))
    expected = []
    with torch.inference_mode():
        x = network._swish(network._bn0(network._conv_stem(x)))
        for index, block in enumerate(network._blocks):
            x = block(x)
            if index in LITE0_STAGE_ENDS:
                expected.append(x)
        found = backbone(image)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_stochastic_depth_acts_in_training_only_and_follows_the_seed() -> None:
    backbone = EfficientNetLite(drop_connect_rate=0.9)
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
    x = torch.randn(2, 3, 64, 64)
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(backbone.train()(x)[-1])
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert torch.equal(backbone.eval()(x)[-1], backbone(x)[-1])


def test_frozen_stages_keep_weights_and_statistics_and_the_rest_trains() -> None:
    backbone = EfficientNetLite(frozen_stages=2).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    loss = sum(feature.square().mean() for feature in backbone(torch.randn(2, 3, 64, 64)))
    loss.backward()  # type: ignore[union-attr]
    torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1).step()
    changed = {
        name.split(".")[1] for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])
    }
    assert {int(block) for block in changed if block.isdigit()} == set(range(5, 16))
    assert torch.equal(backbone._conv_stem.weight, before["_conv_stem.weight"])
