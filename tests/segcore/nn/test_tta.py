from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.models import BaseSegmentor, SegTTAModel

from segcore.config.label_schema import LabelConfig
from segcore.nn.full_size import ViewLogits
from segcore.nn.passes import PassBudget
from segcore.nn.predictor import open_predictor
from segcore.nn.teacher import Teacher
from segcore.nn.tta import ViewSpec, by_padded_shape, inputs_of, view_logits, view_shape
from segcore.process.jobs import PredictJob, TeacherFiles

from .conftest import draw

SIZES = (64, 96, 128)
MIXED = [(70, 90), (90, 70), (64, 64), (100, 100), (33, 120), (70, 91), (140, 180)]


@pytest.fixture(scope="module")
def teacher(trained: Path) -> Teacher:
    files = TeacherFiles(str(trained / "model.pth"), str(trained / "model_config.py"))
    return open_predictor(PredictJob((files,), 3, LabelConfig(), device="cpu")).teachers[0]


def view_spec(resize: str = "opencv", flip: bool = True, sizes: tuple[int, ...] = SIZES) -> ViewSpec:
    return ViewSpec(sizes, flip, resize, "fp32", "cpu")


def whole(logits: ViewLogits) -> torch.Tensor:
    """Return the probabilities of all rows."""
    with torch.inference_mode():
        return logits.probabilities(slice(0, logits.size[0])).clone()


def together(
    teachers: Sequence[Teacher], images: Sequence[np.ndarray], spec: ViewSpec, pixels: int = 10**6
) -> list[torch.Tensor]:
    with torch.inference_mode():
        return [whole(logits) for logits in view_logits(teachers, images, spec, PassBudget(pixels))]


def ours(teacher: Teacher, image: np.ndarray, spec: ViewSpec) -> torch.Tensor:
    """Return what an image gets when every view of it is run by itself."""
    return together([teacher], [image], spec, pixels=1)[0]


def of_mmseg(network: BaseSegmentor, path: Path) -> tuple[np.ndarray, torch.Tensor]:
    """Return mmseg's own label map, and the mean softmax of its own views."""
    init_default_scope("mmseg")
    flips = [{"type": "RandomFlip", "prob": 0.0}, {"type": "RandomFlip", "prob": 1.0, "direction": "horizontal"}]
    resizes = [{"type": "Resize", "scale": (size, size), "keep_ratio": True} for size in SIZES]
    views = {"type": "TestTimeAug", "transforms": [resizes, flips, [{"type": "PackSegInputs"}]]}
    pipeline = Compose([{"type": "LoadImageFromFile"}, views])
    batch = pseudo_collate([pipeline({"img_path": str(path)})])
    with torch.no_grad():
        merged = SegTTAModel(module=network).test_step(copy.deepcopy(batch))[0].pred_sem_seg.data[0].numpy()
        logits = [
            network.test_step({"inputs": inputs, "data_samples": samples})[0].seg_logits.data
            for inputs, samples in zip(batch["inputs"], batch["data_samples"], strict=True)
        ]
    return merged, torch.stack([one.softmax(dim=0) for one in logits]).mean(dim=0)


@pytest.mark.filterwarnings("ignore:The shape of value will convert:UserWarning")  # by SegTTAModel
@pytest.mark.parametrize(("height", "width"), [(96, 96), (360, 480), (101, 67), (67, 101), (33, 250)])
def test_probabilities_and_label_maps_are_those_of_mmseg(
    teacher: Teacher, tmp_path: Path, height: int, width: int
) -> None:
    image, _ = draw(7, height, width)
    cv2.imwrite(str(tmp_path / "image.png"), image)
    label_map, expected = of_mmseg(teacher.network, tmp_path / "image.png")
    found = ours(teacher, image, view_spec())
    assert found.shape == (3, height, width)
    assert (found - expected).abs().max() < 1e-5
    two_best = expected.topk(2, dim=0).values
    no_tie = (two_best[0] - two_best[1] > 1e-4).numpy()
    assert no_tie.mean() > 0.9
    assert np.array_equal(found.argmax(dim=0).numpy()[no_tie], label_map[no_tie])


def test_resizing_on_the_device_agrees_with_opencv_almost_everywhere(teacher: Teacher) -> None:
    image, _ = draw(8, 160, 120)
    opencv, device = ours(teacher, image, view_spec()), ours(teacher, image, view_spec("device"))
    assert (opencv.argmax(dim=0) == device.argmax(dim=0)).float().mean() >= 0.995


@pytest.mark.parametrize("resize", ["opencv", "device"])
@pytest.mark.parametrize("pixels", [1, 20_000, 10**6])
def test_images_of_any_sizes_predicted_together_get_what_they_get_alone(
    teacher: Teacher, resize: str, pixels: int
) -> None:
    images = [draw(index, *size)[0] for index, size in enumerate(MIXED)]
    found = together([teacher], images, view_spec(resize), pixels)
    for image, probabilities in zip(images, found, strict=True):
        assert probabilities.shape == (3, *image.shape[:2])
        assert (probabilities - ours(teacher, image, view_spec(resize))).abs().max() < 1e-5


def test_views_of_one_padded_shape_run_in_one_pass(teacher: Teacher) -> None:
    seen: list[torch.Size] = []

    class Spy:
        network = teacher.network

        def __call__(self, inputs_NCHW: torch.Tensor) -> torch.Tensor:
            seen.append(inputs_NCHW.shape)
            return teacher.fast(inputs_NCHW)

    spied = dataclasses.replace(teacher, fast=Spy())  # type: ignore[arg-type]
    images = [draw(index, *size)[0] for index, size in enumerate([(64, 64), (50, 100), (100, 100), (128, 128)])]
    together([spied], images, view_spec(sizes=(96,)))
    assert seen == [(6, 3, 96, 96), (2, 3, 64, 96)]


def test_padding_lets_views_of_different_shapes_share_a_pass(teacher: Teacher) -> None:
    preprocessor = copy.deepcopy(teacher.network.data_preprocessor)
    preprocessor.test_cfg = None
    pixels = [torch.zeros(1, 3, 50, 64), torch.zeros(1, 3, 64, 33), torch.zeros(1, 3, 65, 64)]
    assert by_padded_shape(preprocessor, pixels) == {(50, 64): [0], (64, 33): [1], (65, 64): [2]}
    preprocessor.test_cfg = {"size_divisor": 32}
    assert by_padded_shape(preprocessor, pixels) == {(64, 64): [0, 1], (96, 64): [2]}
    preprocessor.test_cfg = {"size": (128, 128)}
    assert by_padded_shape(preprocessor, pixels) == {(128, 128): [0, 1, 2]}


def test_inputs_are_mirrored_before_they_are_padded(teacher: Teacher) -> None:
    preprocessor = copy.deepcopy(teacher.network.data_preprocessor)
    preprocessor.pad_val = 7
    ramp = torch.arange(12, dtype=torch.uint8).view(1, 3, 1, 4)
    inputs = inputs_of(preprocessor, [ramp, ramp[:, :, :, :3]], (2, 5), view_spec())
    red = (torch.tensor([8.0, 9, 10, 11]) - preprocessor.mean[0]) / preprocessor.std[0]  # OpenCV's channels are BGR
    assert torch.allclose(inputs[0, 0, 0], torch.cat([red[0], torch.tensor([7.0])]))
    assert torch.allclose(inputs[1, 0, 0], torch.cat([red[0].flip(0), torch.tensor([7.0])]))
    assert torch.allclose(inputs[3, 0, 0], torch.cat([red[0, :3].flip(0), torch.tensor([7.0, 7.0])]))
    assert (inputs[:, :, 1] == 7).all()


def test_several_teachers_are_averaged_by_weight(teacher: Teacher) -> None:
    other = copy.deepcopy(teacher)
    with torch.no_grad():
        other.network.decode_head.conv_seg.bias += torch.tensor([3.0, 0.0, -1.0])
    image, _ = draw(3, 70, 90)
    first, second = ours(teacher, image, view_spec()), ours(other, image, view_spec())
    assert (first - second).abs().max() > 0.1
    both = [dataclasses.replace(teacher, weight=0.7), dataclasses.replace(other, weight=0.3)]
    (found,) = together(both, [image], view_spec())
    assert (found - (0.7 * first + 0.3 * second)).abs().max() < 1e-5


def test_a_mirrored_image_gets_mirrored_probabilities_when_views_are_flipped(teacher: Teacher) -> None:
    image, _ = draw(9, 96, 96)
    plain, mirrored = ours(teacher, image, view_spec()), ours(teacher, image[:, ::-1].copy(), view_spec())
    assert (plain - mirrored.flip(2)).abs().max() < 0.02  # OpenCV's bilinear weights are not quite symmetric


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [(512, 512, 256, (256, 256)), (360, 480, 256, (192, 256)), (101, 67, 96, (96, 64)), (3, 300, 64, (1, 64))],
)
def test_view_shapes_are_those_of_mmcv(height: int, width: int, size: int, expected: tuple[int, int]) -> None:
    from mmcv import rescale_size

    assert view_shape(height, width, size)[::-1] == rescale_size((width, height), (size, size))
    assert view_shape(height, width, size) == expected


def test_a_view_of_a_very_narrow_image_keeps_one_pixel() -> None:
    assert view_shape(1, 300, 64) == (1, 64)
