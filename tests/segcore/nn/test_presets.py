"""Every preset, at tiny width: trained for an iteration by the real program, labels an image, opens in plain mmseg."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from mmseg.apis import inference_model, init_model

from segcore.config.label_schema import LabelConfig
from segcore.nn import train_process
from segcore.nn.predictor import open_predictor
from segcore.nn.presets import PRESETS
from segcore.process.jobs import PredictImage, PredictJob, PredictRequest, Sample, TeacherFiles, TrainJob
from segcore.pseudo.predictions import read_predictions

from .conftest import placed

SIZE = 64
FAMILIES = (
    "efficientnet_lite0_upernet", "swin_tiny_upernet", "convnext_tiny_upernet", "dinov2_small_fpn", "dinov3_small_fpn",
    "segformer_b0", "deeplabv3plus_r50", "pidnet_small",
)  # fmt: skip


def tiny(job: TrainJob, preset: str, root: Path) -> TrainJob:
    """Return a training of one iteration."""
    model = dataclasses.replace(job.model, preset=preset, weights=None, head_channels=None, tiny=True)
    train = job.train.model_copy(update={"batch_size": 2, "lr": 1e-3})
    return placed(dataclasses.replace(job, model=model, train=train, iterations=1), root)


def others() -> list[str]:
    """Return one more preset for each model that presets become at tiny width: some differ in size alone."""
    names = {repr(preset.model(3, None, tiny=True)): name for name, preset in reversed(PRESETS.items())}
    return sorted(set(names.values()) - set(FAMILIES))


@pytest.mark.parametrize("preset", [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in others())])
def test_a_tiny_preset_trains_labels_and_opens_in_plain_mmseg(preset: str, tiny_job: TrainJob, tmp_path: Path) -> None:
    job = tiny(tiny_job, preset, tmp_path)
    assert train_process.run(job) == 0
    checkpoint, config = str(tmp_path / "out" / "model.pth"), str(tmp_path / "out" / "model_config.py")
    image = job.ground_truth[2]
    ours = labelled(TeacherFiles(checkpoint, config), image, tmp_path / "predictions.arrow")
    plain = init_model(config, checkpoint, device="cpu")
    theirs = inference_model(plain, image.path).pred_sem_seg.data[0].numpy()
    assert (ours == theirs).mean() > 0.98


def labelled(files: TeacherFiles, image: Sample, out: Path) -> np.ndarray:
    """Return the label map that the labelling engine gives an image."""
    label = LabelConfig(sizes=(SIZE,), flip=False, precision="fp32", resize="opencv")
    predictor = open_predictor(PredictJob((files,), 3, label, "cpu"))
    request = PredictRequest((PredictImage(image.image_id, image.path),), str(out))
    assert predictor.run(request, lambda done, ids: None) == ()
    (prediction,) = read_predictions(out)
    return prediction.label_map
