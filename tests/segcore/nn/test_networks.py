from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from segcore.errors import CheckpointError, ConfigError
from segcore.nn.networks import build_network, build_student, model_config, read_config
from segcore.process.jobs import ModelSpec

SPEC = ModelSpec("efficientnet_lite0_upernet", None, None, 16, ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))

FCN = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
data_preprocessor = dict(type='SegDataPreProcessor', mean=[1., 2., 3.], std=[4., 5., 6.], bgr_to_rgb=True)
head = dict(type='FCNHead', in_channels=64, in_index=0, channels=8, num_convs=1, num_classes=19, norm_cfg=norm_cfg)
model = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(type='ResNetV1c', depth=18, norm_cfg=norm_cfg, init_cfg=dict(type='Pretrained', checkpoint='net://x')),
    decode_head=head,
    auxiliary_head=[dict(head, in_channels=128, in_index=1)],
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
"""
LOSS = "loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))"


def fcn_spec(tmp_path: Path, **changes: object) -> ModelSpec:
    (tmp_path / "fcn.py").write_text(FCN)
    return dataclasses.replace(SPEC, preset=None, config=str(tmp_path / "fcn.py"), **changes)  # type: ignore[arg-type]


def test_any_mmseg_config_file_becomes_a_student_for_our_classes(tmp_path: Path) -> None:
    spec = fcn_spec(tmp_path)
    config = model_config(spec, 96)
    network = build_student(spec, config)
    assert network.out_channels == 3
    assert network.auxiliary_head[0].num_classes == 3
    assert config.model.data_preprocessor.mean == [1.0, 2.0, 3.0]
    assert list(config.model.data_preprocessor["size"]) == [96, 96]
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in network.modules())
    assert "net://" not in config.pretty_text
    assert "open-mmlab" not in config.pretty_text


def test_imagenet_weights_of_a_config_file_are_never_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    spec = fcn_spec(tmp_path, weights="imagenet")
    with pytest.raises(CheckpointError, match=r"`curl -LO https://\S+/resnet18_v1c-b5776b93\.pth`.*model\.weights"):
        build_student(spec, model_config(spec, 64))


def test_a_published_config_can_be_read_again(tmp_path: Path) -> None:
    config = model_config(SPEC, 64)
    config.dump(str(tmp_path / "model_config.py"))
    text = (tmp_path / "model_config.py").read_text()
    assert str(tmp_path) not in text
    network = build_network(read_config(tmp_path / "model_config.py"))
    assert network.out_channels == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = 3", "must have model=dict"),
        ("x = (", "cannot be read"),
        ("raise ValueError('boom')\nmodel = dict()", "boom"),
        ("model = dict(type='NoSuchSegmentor')", "NoSuchSegmentor"),
        (
            "model = dict(type='FCNHead', in_channels=3, channels=3, num_classes=3, " + LOSS,
            "segmentor",
        ),
    ],
)
def test_a_config_file_that_is_no_model_is_one_clear_error(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ConfigError, match=words):
        build_network(read_config(tmp_path / "bad.py"))


def test_a_missing_config_file_and_an_unknown_preset_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is none"):
        read_config(tmp_path / "none.py")
    with pytest.raises(ConfigError, match="efficientnet_lite0_upernet"):
        model_config(dataclasses.replace(SPEC, preset="nope"), 64)


def test_two_classes_are_a_softmax_of_two() -> None:
    spec = dataclasses.replace(SPEC, class_names=("a", "b"), palette=((0, 0, 0), (1, 1, 1)))
    assert build_student(spec, model_config(spec, 64)).out_channels == 2


def test_a_batch_without_any_labelled_pixel_gives_a_loss_of_zero_and_finite_gradients() -> None:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    network = build_student(SPEC, model_config(SPEC, 64))
    samples = []
    for _ in range(2):
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=torch.full((1, 64, 64), 255))
        samples.append(sample)
    loss = network.loss(torch.randn(2, 3, 64, 64), samples)["decode.loss_ce"]
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in network.parameters())
