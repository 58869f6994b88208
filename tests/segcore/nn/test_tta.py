from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.models import BaseSegmentor, SegTTAModel

from segcore.config.schema import LabelConfig
from segcore.errors import StepError
from segcore.nn.predictor import open_predictor
from segcore.nn.tta import ViewSpec, images_per_pass, view_logits, view_shape
from segcore.process.jobs import PredictJob, TeacherFiles

from .conftest import draw

SIZES = (64, 96, 128)


@pytest.fixture(scope="module")
def network(trained: Path) -> BaseSegmentor:
    teacher = TeacherFiles(str(trained / "model.pth"), str(trained / "model_config.py"))
    return open_predictor(PredictJob((teacher,), 3, LabelConfig(), device="cpu")).network


def view_spec(resize: str = "opencv", flip: bool = True, batch_megapixels: float = 4.0) -> ViewSpec:
    return ViewSpec(SIZES, flip, resize, "fp32", "cpu", batch_megapixels)


def ours(network: BaseSegmentor, image: np.ndarray, spec: ViewSpec) -> torch.Tensor:
    with torch.inference_mode():
        (logits,) = view_logits(network, [image], spec)
        return logits.probabilities(slice(0, image.shape[0])).clone()


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
    network: BaseSegmentor, tmp_path: Path, height: int, width: int
) -> None:
    image, _ = draw(7, height, width)
    cv2.imwrite(str(tmp_path / "image.png"), image)
    label_map, expected = of_mmseg(network, tmp_path / "image.png")
    found = ours(network, image, view_spec())
    assert found.shape == (3, height, width)
    assert (found - expected).abs().max() < 1e-5
    two_best = expected.topk(2, dim=0).values
    no_tie = (two_best[0] - two_best[1] > 1e-4).numpy()
    assert no_tie.mean() > 0.9
    assert np.array_equal(found.argmax(dim=0).numpy()[no_tie], label_map[no_tie])


def test_resizing_on_the_device_agrees_with_opencv_almost_everywhere(network: BaseSegmentor) -> None:
    image, _ = draw(8, 160, 120)
    opencv, device = ours(network, image, view_spec()), ours(network, image, view_spec("device"))
    assert (opencv.argmax(dim=0) == device.argmax(dim=0)).float().mean() >= 0.995


def test_images_predicted_together_get_what_they_get_alone(network: BaseSegmentor) -> None:
    images = [draw(index, 70, 90)[0] for index in range(3)]
    with torch.inference_mode():
        for image, logits in zip(images, view_logits(network, images, view_spec()), strict=True):
            assert (logits.probabilities(slice(0, 70)) - ours(network, image, view_spec())).abs().max() < 1e-5


def test_a_network_that_has_diverged_is_an_error_and_no_label(network: BaseSegmentor) -> None:
    broken = copy.deepcopy(network)
    broken.decode_head.conv_seg.bias.data[0] = float("nan")
    with pytest.raises(StepError, match="diverged"):
        ours(broken, draw(1, 64, 64)[0], view_spec())


@pytest.mark.parametrize(
    ("megapixels", "num_classes", "expected"),
    [(4.0, 3, 122), (0.1, 3, 3), (1e-9, 3, 1), (4.0, 150, 15), (4.0, 10**6, 1)],
)
def test_as_many_images_run_together_as_memory_allows(megapixels: float, num_classes: int, expected: int) -> None:
    assert images_per_pass(view_spec(batch_megapixels=megapixels), num_classes) == expected


def test_a_mirrored_image_gets_mirrored_probabilities_when_views_are_flipped(network: BaseSegmentor) -> None:
    image, _ = draw(9, 96, 96)
    plain, mirrored = ours(network, image, view_spec()), ours(network, image[:, ::-1].copy(), view_spec())
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
