from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.models import BaseSegmentor
from mmseg.structures import SegDataSample

from segcore.config.schema import LabelConfig
from segcore.errors import CheckpointError, ConfigError
from segcore.nn.networks import build_network, read_config
from segcore.nn.teacher import (
    Teacher,
    decided,
    joint_threshold,
    normalised_weights,
    open_teachers,
)
from segcore.process.jobs import PredictJob, TeacherFiles

pytestmark = [  # what mmseg says of two classes, whichever way they are told apart
    pytest.mark.filterwarnings("ignore:threshold is not defined for binary:UserWarning"),
    pytest.mark.filterwarnings("ignore:For binary segmentation, we suggest:UserWarning"),
]
CONFIG = """
data_preprocessor = dict(type='SegDataPreProcessor', mean=[1., 2., 3.], std=[40., 50., 60.], bgr_to_rgb=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='MobileNetV2', widen_factor=0.1, out_indices=(1, 3), norm_cfg=dict(type='BN')),
    decode_head={head},
    auxiliary_head=dict(type='FCNHead', in_channels=8, in_index=0, channels=4, num_convs=1, num_classes=2,
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
    path.with_suffix(".py").write_text(CONFIG.format(head=head))
    torch.manual_seed(seed)
    network = build_network(read_config(path.with_suffix(".py")))
    torch.save({"state_dict": network.state_dict()}, path.with_suffix(".pth"))
    return TeacherFiles(str(path.with_suffix(".pth")), str(path.with_suffix(".py")))


def opened(*files: TeacherFiles, num_classes: int | None = 2) -> tuple[Teacher, ...]:
    return open_teachers(PredictJob(files, num_classes, LabelConfig()), "cpu", "fp32")


def mmseg_label_map(network: BaseSegmentor, inputs: torch.Tensor) -> np.ndarray:
    """Return the label map that mmseg itself makes of one view."""
    sample = SegDataSample()
    shape = tuple(inputs.shape[2:])
    sample.set_metainfo({"ori_shape": shape, "img_shape": shape, "pad_shape": shape, "padding_size": [0] * 4})
    with torch.inference_mode():
        return network.predict(inputs, [sample])[0].pred_sem_seg.data[0].numpy().astype(np.uint8)


@pytest.mark.parametrize(("threshold", "expected"), [(None, 0.3), (0.5, 0.5), (0.62, 0.62)])
def test_a_one_channel_head_gives_the_label_map_of_mmseg_at_its_threshold(
    tmp_path: Path, threshold: float | None, expected: float
) -> None:
    (teacher,) = opened(teacher_files(tmp_path, threshold=threshold))
    inputs = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    head = teacher.network.decode_head
    with torch.inference_mode():
        logits = teacher.fast(inputs)
        head.conv_seg.weight *= 5 / float(logits.std())
        head.conv_seg.bias += float(torch.tensor(expected).logit() - teacher.fast(inputs).median())
        probabilities = teacher.probabilities(teacher.fast(inputs))
    class_ids, confidence = decided(probabilities[0], joint_threshold([teacher]))
    assert teacher.threshold == expected
    assert teacher.num_classes == 2
    assert probabilities.shape == (1, 2, 64, 96)
    assert 0.3 < class_ids.float().mean() < 0.7
    assert np.array_equal(class_ids.numpy(), mmseg_label_map(teacher.network, inputs))
    assert torch.equal(confidence, probabilities[0].gather(0, class_ids[None])[0])


def test_a_softmax_head_gives_the_label_map_of_mmseg_and_its_softmax(tmp_path: Path) -> None:
    (teacher,) = opened(teacher_files(tmp_path, classes=3, out=3), num_classes=3)
    inputs = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        logits = teacher.fast(inputs)
        probabilities = teacher.probabilities(logits)
    class_ids, confidence = decided(probabilities[0], joint_threshold([teacher]))
    assert torch.equal(probabilities, logits.softmax(dim=1))
    assert np.array_equal(class_ids.numpy(), mmseg_label_map(teacher.network, inputs))
    assert torch.equal(confidence, probabilities[0].max(dim=0).values)


def test_under_another_threshold_the_less_probable_class_can_win_and_its_confidence_says_so() -> None:
    probabilities = torch.tensor([[[0.9, 0.65, 0.2]], [[0.1, 0.35, 0.8]]])
    class_ids, confidence = decided(probabilities, 0.3)
    assert class_ids.tolist() == [[0, 1, 1]]
    assert confidence[0].tolist() == pytest.approx([0.9, 0.35, 0.8])


def test_teachers_of_different_heads_label_together_by_weight(tmp_path: Path) -> None:
    one = teacher_files(tmp_path, threshold=0.3)
    two = TeacherFiles(*vars(teacher_files(tmp_path, out=2, seed=1)).values())
    first, second = opened(TeacherFiles(one.checkpoint, one.config, 3.0), two)
    assert (first.weight, second.weight) == (0.75, 0.25)
    assert (first.num_classes, second.num_classes) == (2, 2)
    assert joint_threshold([first, second]) == pytest.approx(0.75 * 0.3 + 0.25 * 0.5)


def test_without_a_number_of_classes_the_first_teacher_decides_and_the_others_must_agree(tmp_path: Path) -> None:
    two, three = teacher_files(tmp_path), teacher_files(tmp_path, classes=3, out=3)
    assert opened(two, num_classes=None)[0].num_classes == 2
    with pytest.raises(CheckpointError, match=r"net_3_3.*2 classes, has 3 outputs"):
        opened(two, three, num_classes=None)


@pytest.mark.parametrize("num_classes", [3, 1])
def test_a_teacher_of_other_classes_is_refused(tmp_path: Path, num_classes: int) -> None:
    with pytest.raises(CheckpointError, match="has 1 outputs"):
        opened(teacher_files(tmp_path), num_classes=num_classes)


@pytest.mark.parametrize(
    ("lost", "refused"),
    [("decode_head.conv_seg.bias", True), ("backbone.conv1.bn.running_var", True), ("auxiliary_head.", False)],
)
def test_weights_that_leave_part_of_what_labels_random_are_refused(tmp_path: Path, lost: str, refused: bool) -> None:
    files = teacher_files(tmp_path)
    state = torch.load(files.checkpoint, weights_only=True)["state_dict"]
    torch.save({name: value for name, value in state.items() if not name.startswith(lost)}, files.checkpoint)
    if refused:
        with pytest.raises(CheckpointError, match=lost):
            opened(files)
    else:
        assert len(opened(files)) == 1


@pytest.mark.parametrize("weights", [[0.0], [1.0, -1.0], [float("nan")], [float("inf"), 1.0], []])
def test_weights_must_be_positive_numbers(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match="positive number"):
        normalised_weights(weights)


def test_weights_sum_to_one() -> None:
    assert normalised_weights([1, 1, 2]) == [0.25, 0.25, 0.5]
