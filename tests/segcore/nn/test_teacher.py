from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.models import BaseSegmentor
from mmseg.structures import SegDataSample

from segcore.config.label_schema import LabelConfig
from segcore.errors import CheckpointError, ConfigError
from segcore.nn.networks import build_network, read_config
from segcore.nn.predictor import open_predictor
from segcore.nn.teacher import (
    Teacher,
    decided,
    joint_threshold,
    normalised_weights,
    open_teachers,
)
from segcore.process.jobs import PredictImage, PredictJob, PredictRequest, TeacherFiles
from segcore.pseudo.confidence import quantise
from segcore.pseudo.predictions import read_predictions

from .teacher_files import teacher_files

pytestmark = [  # what mmseg says of two classes, whichever way they are told apart
    pytest.mark.filterwarnings("ignore:threshold is not defined for binary:UserWarning"),
    pytest.mark.filterwarnings("ignore:For binary segmentation, we suggest:UserWarning"),
]
STRETCH = 40


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


def test_several_views_of_a_one_channel_head_are_the_mean_of_mmsegs_sigmoids(tmp_path: Path) -> None:
    files, sizes = teacher_files(tmp_path, threshold=0.4), (64, 96)
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.GaussianBlur(image, (0, 0), 6))
    network = build_network(read_config(Path(files.config))).eval()
    network.load_state_dict(torch.load(files.checkpoint, weights_only=True)["state_dict"])
    spread_out(network, files, float(np.median(mean_sigmoid(network, tmp_path, sizes))), around=0.4)
    expected = mean_sigmoid(network, tmp_path, sizes)

    predictor = open_predictor(PredictJob((files,), 2, LabelConfig(sizes=sizes), device="cpu"))
    request = PredictRequest((PredictImage("a", str(tmp_path / "a.png")),), str(tmp_path / "out.parquet"))
    assert predictor.run(request, lambda done, working: None) == ()
    (found,) = read_predictions(tmp_path / "out.parquet")
    no_tie = np.abs(expected - 0.4) > 1e-4
    assert 0.2 < (expected > 0.4).mean() < 0.8
    assert np.array_equal(found.label_map[no_tie], (expected > 0.4)[no_tie])
    confidence = np.where(expected > 0.4, expected, 1 - expected)
    assert np.all(found.confidence[no_tie] <= quantise(np.minimum(confidence + 1e-4, 1))[no_tie])
    assert np.all(found.confidence[no_tie] >= quantise(np.maximum(confidence - 1e-4, 0))[no_tie])


def mean_sigmoid(network: BaseSegmentor, folder: Path, sizes: tuple[int, ...]) -> np.ndarray:
    """Return the mean over mmseg's own views of the sigmoid that it gives for each of them: (H, W)."""
    init_default_scope("mmseg")
    flips = [{"type": "RandomFlip", "prob": 0.0}, {"type": "RandomFlip", "prob": 1.0, "direction": "horizontal"}]
    resizes = [{"type": "Resize", "scale": (size, size), "keep_ratio": True} for size in sizes]
    views = {"type": "TestTimeAug", "transforms": [resizes, flips, [{"type": "PackSegInputs"}]]}
    data = Compose([{"type": "LoadImageFromFile"}, views])({"img_path": str(folder / "a.png")})
    batch = pseudo_collate([data])
    with torch.no_grad():
        found = [
            network.test_step({"inputs": inputs, "data_samples": samples})[0].seg_logits.data[0]
            for inputs, samples in zip(batch["inputs"], batch["data_samples"], strict=True)
        ]
    return torch.stack(found).mean(dim=0).numpy()


def spread_out(network: BaseSegmentor, files: TeacherFiles, median: float, around: float) -> None:
    """Stretch the logits of a one-channel head, whose median probability is known, so that both classes are there."""
    head = network.decode_head.conv_seg
    with torch.no_grad():
        head.bias.copy_(STRETCH * (head.bias - logit(median)) + logit(around))
        head.weight *= STRETCH
    torch.save({"state_dict": network.state_dict()}, files.checkpoint)


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


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
