import copy
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from benchmarks import train
from benchmarks.__main__ import main
from benchmarks.page import write_page
from benchmarks.train_mmseg import runner_config
from benchmarks.train_page import page, parts_of
from benchmarks.train_ways import OURS, THEIRS, Contestant, Setting, train_segloop, turn_hook
from segcore.nn import training
from segcore.nn.batch_feed import on_device
from segcore.nn.train_data import train_loader
from segcore.nn.train_loop import StopSignal

pytestmark = pytest.mark.slow  # trains by both ways, in processes of their own

TINY = train.Case(
    "a tiny training", ("model.head_channels=16", "train.size=64", "train.batch_size=2", "train.workers=1"), "", 1, 2, 2
)


@pytest.fixture(scope="module")
def photos(write_tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    write_tiny(folder)
    return folder / "data"


@pytest.fixture(scope="module")
def measured(photos):
    return train.measure(TINY, photos, "cpu", 1)


class Losses:
    """Stands for a Turn: notes the loss of every iteration and never waits."""

    def __init__(self):
        self.found = []

    def begin(self):
        pass

    def iteration_done(self, loss):
        self.found.append(float(loss.detach()))


class SeedEveryIteration(Hook):
    """Seeds torch as our loop does, for dropout."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        torch.manual_seed(batch_idx)


def test_both_ways_train_block_by_block(measured):
    (ways,) = measured["trainings"]
    assert set(ways) == {OURS, THEIRS}
    for way in ways.values():
        assert len(way["wall_s"]) == len(way["cpu_s"]) == TINY.blocks
        assert len(way["losses"]) == TINY.blocks * TINY.block
        assert all(math.isfinite(loss) for loss in way["losses"])
        assert min(way["wall_s"] + way["cpu_s"] + [way["start_s"]]) > 0
    assert measured["num_images"] > 3


@pytest.mark.filterwarnings("ignore")  # mmengine's own, as plain users see them
def test_on_the_same_samples_both_lose_the_same(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "Training", training.Training)
    monkeypatch.setattr(StopSignal, "listen", lambda self: None)
    with train.prepared(TINY, photos, "cpu") as (whole, folder):
        job = train.seeded(whole, 0, tmp_path / "seed_0")
        setting = Setting(OURS, job, folder / "data", 1, 1, tmp_path)
        ours, theirs = Losses(), Losses()
        train_segloop(setting, ours)
        config = runner_config(setting, amp=False)
        loader = train_loader(job, 0)
        runner = Runner.from_cfg(config)
        runner._train_dataloader = DataLoader(
            loader.dataset,
            batch_size=2,
            sampler=loader.sampler,
            collate_fn=lambda items: next(on_device([pseudo_collate(items)], "cpu")),
        )
        for hook in (SeedEveryIteration(), turn_hook(theirs)):
            runner.register_hook(hook)
        runner.train()
    assert len(ours.found) == 4
    assert ours.found == pytest.approx(theirs.found, rel=1e-3)


def test_mmseg_reads_the_very_labels(photos, tmp_path):
    import cv2

    from segcore.data.label_maps import LabelMaps

    with train.prepared(TINY, photos, "cpu") as (job, folder):
        maps = LabelMaps(Path(job.ground_truth_maps))
        for number, sample in enumerate(job.ground_truth):
            mask = cv2.imread(str(folder / "data" / "masks" / f"{number}.png"), cv2.IMREAD_UNCHANGED)
            assert (mask == maps[sample.image_id]).all()
            assert (folder / "data" / "images" / f"{number}.jpg").resolve() == Path(sample.path)
        maps.close()


def test_a_training_that_dies_is_told_with_the_end_of_its_log(photos, tmp_path):
    with train.prepared(TINY, photos, "cpu") as (job, folder):
        setting = Setting("no such way", job, folder / "data", 1, 1, tmp_path / "way")
        with pytest.raises(RuntimeError, match="no such way"):
            Contestant(setting)


def result_of(case):
    return {
        "environment": {"torch": "2"},
        "device": "CPU",
        "threads": 1,
        "load_before": 0.5,
        "load_after": 0.5,
        "cases": {"tiny": case},
        "notes": "Tried: nothing.",
    }


def case_with(measured, ours, theirs):
    """Return a measured case as if it had had three seeds with these mean losses, and mmseg had been twice as slow."""
    trainings = []
    for mean, other in zip(ours, theirs, strict=True):
        ways = copy.deepcopy(measured["trainings"][0])
        ways[OURS] |= {"losses": [mean] * 5, "wall_s": [9.0, 1.0, 1.0]}
        ways[THEIRS] |= {"losses": [other] * 5, "wall_s": [9.0, 2.0, 2.5]}
        for way in ways.values():
            way["cpu_s"] = way["wall_s"]
        trainings.append(ways)
    return measured | {"trainings": trainings}


def test_the_page_states_speed_goals_and_whether_the_losses_agree(measured):
    text = page(result_of(case_with(measured, (1.0, 1.1, 1.2), (1.1, 1.0, 1.25))), "2026-01-01")
    assert "a tiny training: 2.25 times as fast as mmseg: reached (goal: at least 1.3)" in text
    assert "agree in every fifth of the training: reached" in text
    assert "No GPU was at hand" in text
    assert "Tried: nothing." in text


def test_losses_further_apart_than_seeds_explain_do_not_agree(measured):
    case = case_with(measured, (1.0, 1.01, 1.02), (1.2, 1.21, 1.22))
    assert "agree in every fifth of the training: NOT reached" in page(result_of(case), "2026-01-01")
    part = parts_of(case, THEIRS)[0]
    assert part.difference == pytest.approx(-0.2)
    assert part.allowed == pytest.approx(0.05 * 1.21)


def test_the_command_writes_page_and_json(measured, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "measure", lambda case, data, device, threads: measured)
    monkeypatch.setattr(train, "write_page", partial(write_page, folder=tmp_path))
    command = ["train", "--data", str(photos), "--case", "lite0"]
    assert CliRunner().invoke(main, command, catch_exceptions=False).exit_code == 0
    assert sorted(path.suffix for path in tmp_path.glob("*-train.*")) == [".json", ".md"]


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--data", "/nowhere"], "must be the folder of garbage6"), (["--case", "vgg"], "must be of lite0")],
)
def test_what_cannot_be_measured_is_said(photos, options, words):
    done = CliRunner().invoke(main, ["train", "--data", str(photos), *options])
    assert done.exit_code == 1
    assert words in done.output
