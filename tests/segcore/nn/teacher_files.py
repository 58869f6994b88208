"""Small mmseg networks with random weights, as files of somebody else."""

from __future__ import annotations

from pathlib import Path

import torch

from segcore.nn.networks import build_network, read_config
from segcore.process.jobs import TeacherFiles

CONFIG = """
data_preprocessor = dict(type='SegDataPreProcessor', mean=[1., 2., 3.], std=[40., 50., 60.], bgr_to_rgb=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='MobileNetV2', widen_factor=0.1, out_indices=(1, 3), norm_cfg=dict(type='BN')),
    decode_head={head},
    auxiliary_head=dict(type='FCNHead', in_channels=8, in_index=0, channels=4, num_convs=1, num_classes={classes},
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    test_cfg=dict(mode='whole'),
)
"""
HEAD = (
    "dict(type='FCNHead', in_channels=8, in_index=1, channels=4, num_convs=1, num_classes={classes}, "
    "out_channels={out}, threshold={threshold}, "
    "loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, use_sigmoid={sigmoid}))"
)


def teacher_files(
    root: Path, classes: int = 2, out: int = 1, threshold: float | None = None, seed: int = 0
) -> TeacherFiles:
    """Return a small mmseg network with random weights, as files."""
    head = HEAD.format(classes=classes, out=out, threshold=threshold, sigmoid=out == 1)
    path = root / f"net_{classes}_{out}_{threshold}_{seed}"
    path.with_suffix(".py").write_text(CONFIG.format(head=head, classes=classes))
    torch.manual_seed(seed)
    network = build_network(read_config(path.with_suffix(".py")))
    torch.save({"state_dict": network.state_dict()}, path.with_suffix(".pth"))
    return TeacherFiles(str(path.with_suffix(".pth")), str(path.with_suffix(".py")))
