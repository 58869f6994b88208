from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from segcore.config.label_schema import LabelConfig
from segcore.nn.predictor import open_predictor
from segcore.nn.resume_files import sha256_of
from segcore.nn.tta import ViewSpec, one_view
from segcore.process.jobs import PredictImage, PredictJob, PredictRequest, TrainJob
from segcore.pseudo.predictions import read_predictions

from .conftest import ITERATIONS, draw, placed, start_training
from .teacher_files import teacher_files

KEPT_AT = (3, 6)


def test_a_training_keeps_its_weights_on_the_way_and_ends_as_without_even_if_they_were_lost(
    trained: Path, tiny_job: TrainJob, tmp_path: Path
) -> None:
    job = dataclasses.replace(placed(tiny_job, tmp_path), earlier_at=KEPT_AT)
    process = start_training(job, tmp_path)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    out, resume = tmp_path / "out", tmp_path / "resume"
    assert sha256_of(out / "model.pth") == sha256_of(trained / "model.pth")
    kept = [sha256_of(out / f"earlier_{index}.pth") for index in range(2)]
    assert len({*kept, sha256_of(out / "model.pth")}) == 3
    # a training that died before it was published, and whose first weights are damaged since
    (resume / "earlier_1.pth").write_bytes(b"torn")
    for path in (*out.glob("*.pth"), *resume.glob("iteration_*08.*")):
        path.unlink()
    process = start_training(job, tmp_path)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "the weights after iteration 6 are not there as written" in errors
    assert f"resuming at iteration 4 of {ITERATIONS}" not in errors  # only the newest two are kept: 8 and 10
    assert [sha256_of(out / f"earlier_{index}.pth") for index in range(2)] == kept
    assert sha256_of(out / "model.pth") == sha256_of(trained / "model.pth")


@pytest.mark.parametrize(
    ("sizes", "middle"), [((64,), 64), ((320, 224), 224), ((256, 384, 512, 640), 384), ((1, 2, 3), 2)]
)
def test_earlier_checkpoints_look_at_the_middle_view(sizes: tuple[int, ...], middle: int) -> None:
    found = one_view(ViewSpec(sizes, True, "opencv", "fp32", "cpu"))
    assert (found.sizes, found.num_flips) == ((middle,), 1)


def mean_iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean IoU of two label maps over the classes in either."""
    return float(np.mean([((one == c) & (other == c)).sum() / ((one == c) | (other == c)).sum()
                          for c in range(3) if ((one == c) | (other == c)).any()]))  # fmt: skip


def predicted(job: PredictJob, root: Path, images: tuple[PredictImage, ...]) -> list:
    """Return what a job predicts of images."""
    open_predictor(job).run(PredictRequest(images, str(root / "p.parquet")), lambda done, ids: None)
    return list(read_predictions(root / "p.parquet"))


def test_agreement_of_checkpoints_is_the_mean_over_them_of_the_mean_iou_with_the_last_ones_map(tmp_path: Path) -> None:
    files = [teacher_files(tmp_path, classes=3, out=3, seed=seed) for seed in range(3)]
    images = []
    for index, (height, width) in enumerate([(64, 64), (51, 80)]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), draw(index, height, width)[0])
        images.append(PredictImage(str(index), str(tmp_path / f"{index}.png")))
    label = LabelConfig(sizes=(64, 96), flip=True, resize="opencv", precision="fp32")
    job = PredictJob((files[0],), 3, label, device="cpu", earlier=tuple(files[1:]))
    found = predicted(job, tmp_path, tuple(images))

    alone = LabelConfig(sizes=(64,), flip=False, resize="opencv", precision="fp32")
    earlier = [predicted(PredictJob((one,), 3, alone, device="cpu"), tmp_path, tuple(images)) for one in files[1:]]
    for prediction, *others in zip(found, *earlier, strict=True):
        expected = np.mean([mean_iou(other.label_map[::4, ::4], prediction.label_map[::4, ::4]) for other in others])
        assert prediction.checkpoint_agreement == pytest.approx(expected)
        assert 0 < expected < 1
    without = predicted(dataclasses.replace(job, earlier=()), tmp_path, tuple(images))
    for one, other in zip(found, without, strict=True):
        assert np.array_equal(one.label_map, other.label_map)
        assert (one.agreement, other.checkpoint_agreement) == (other.agreement, None)
