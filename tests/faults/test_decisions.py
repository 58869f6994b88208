"""Row 20: rounds that are lower, tied or without a number. The documented decision is taken and the best round kept."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from segcore.data.label_maps import LabelMaps
from segcore.errors import StepError
from segcore.nn.resume_files import ResumeFiles
from segcore.nn.train_loop import ProgressHook, ResumeHook, StopSignal
from segcore.nn.training_log import TrainingLog
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.steps import evaluate, label
from segcore.steps.index import ground_truth_path
from segcore.store.layout import RunLayout

from .stub_loop import walk

NAN = float("nan")


def predict_with_errors(share_by_round: list[float]) -> Any:
    """Return a prediction of gate images that is right but for a share of rows, which depends on the round."""

    def predict(run: Any, index: Any, checkpoint: Any, what: Any) -> dict[str, Any]:
        share = share_by_round[int(what.work.parent.name.removeprefix("round_"))]
        truth = LabelMaps(ground_truth_path(run, index))
        with PredictionWriter(what.work / label.PREDICTIONS) as writer:
            for image in what.images:
                label_map = truth[image.image_id].copy()
                wrong = slice(0, round(share * len(label_map)))
                label_map[wrong] = (label_map[wrong] + 1) % 3
                small = label.small_size(run, image)
                confidence = np.full_like(label_map, 40)
                writer.write(Prediction(image.image_id, label_map, confidence, small and np.zeros(small, np.uint8)))
        truth.close()
        return {"num_images": len(what.images), "quarantined": []}

    return predict


@pytest.mark.parametrize(
    ("shares", "winner", "outcomes", "teachers"),
    [
        ([0.1, 0.6, 0.6], 0, ["first", "worse", "worse"], [0, 0]),
        ([0.1, 0.1, 0.1], 0, ["first", "inconclusive", "inconclusive"], [0, 1]),
        ([0.6, 0.1, 0.6], 1, ["first", "improved", "worse"], [0, 1]),
        ([0.6, 0.6, 0.1], 2, ["first", "inconclusive", "improved"], [0, 1]),
    ],
    ids=["lower", "tied", "up and down", "late gain"],
)
def test_every_series_ends_on_its_best_round_with_the_documented_teachers_and_outcomes(
    few_images: Path, stub_programs: None, monkeypatch: pytest.MonkeyPatch, shares: Any, winner: Any,
    outcomes: list[str], teachers: list[int],
) -> None:  # fmt: skip
    monkeypatch.setattr(evaluate, "predict", predict_with_errors(shares))
    # six gate images prove nothing at the usual level; the decision's own statistics are tested in trust/
    folder = walk(few_images, ["loop.rounds=2", "loop.patience=2", "loop.gate_level=0.4", "loop.gate_resamples=500"])
    rounds = [json.loads(RunLayout(folder).round_file(index).read_text()) for index in range(3)]
    assert [record["decision"]["outcome"] for record in rounds] == outcomes
    students = [record["student"]["digest"] for record in rounds]
    assert [students.index(record["teacher"]["digest"]) for record in rounds[1:]] == teachers
    best = folder / rounds[winner]["student"]["path"]
    assert (folder / "outputs" / "model.pth").read_bytes() == best.read_bytes()


@pytest.mark.parametrize("hook", ["progress", "resume"])
@pytest.mark.parametrize("loss", [NAN, float("inf")])
def test_a_loss_that_is_no_number_ends_the_training_and_no_checkpoint_holds_it(
    tmp_path: Path, hook: str, loss: float
) -> None:
    files = ResumeFiles(tmp_path, "fingerprint", 2)
    network = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(network.parameters())
    runner = SimpleNamespace(
        model=network, optim_wrapper=SimpleNamespace(optimizer=optimizer), max_iters=10, train_loop=SimpleNamespace()
    )
    hooks = {
        "progress": ProgressHook(TrainingLog(tmp_path / "progress.jsonl", tmp_path / "logs", 0, 10), 2),
        "resume": ResumeHook(files, 2, StopSignal(), {}),
    }
    for batch_idx in (0, 1):
        hooks[hook].after_train_iter(runner, batch_idx, {"loss": torch.tensor(1.0)})
    before = sorted(tmp_path.iterdir())
    hooks[hook].after_train_iter(runner, 2, {"loss": torch.tensor(1.0)})
    with pytest.raises(StepError, match=r"iteration 4; lower train\.lr"):
        hooks[hook].after_train_iter(runner, 3, {"loss": torch.tensor(loss)})
    assert sorted(tmp_path.iterdir()) == before
