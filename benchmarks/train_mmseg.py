"""Our training job said in plain mmseg: its own default config files, and a data set folder that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from segcore.data.label_maps import LabelMaps
from segcore.process.jobs import TrainJob

if TYPE_CHECKING:
    from mmengine.config import Config

    from benchmarks.train_ways import Setting

OWN = ("val_cfg", "test_cfg", "train_cfg", "optimizer", "optim_wrapper", "param_scheduler")  # the job says these
BASE_FILES = ("default_runtime.py", "schedules/schedule_20k.py")


def write_data(job: TrainJob, folder: Path) -> None:
    """Write a job's labelled images as mmseg reads them: images/N.jpg, which are links, and masks/N.png."""
    maps = LabelMaps(Path(job.ground_truth_maps))
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number, sample in enumerate(job.ground_truth):
        (folder / "images" / f"{number}.jpg").symlink_to(sample.path)
        cv2.imwrite(str(folder / "masks" / f"{number}.png"), maps[sample.image_id])
    maps.close()


def runner_config(setting: Setting, amp: bool) -> Config:
    """Return the config of mmseg's runner for a job: default_runtime.py and schedule_20k.py, then what the job says.

    Model, start weights, samples, batch size, crops, optimiser and learning rates are the job's. amp: as `--amp` of
    mmseg's tools/train.py does it.
    """
    import mmseg
    from mmengine.config import Config
    from mmengine.utils import import_modules_from_strings

    from segcore.nn.networks import model_config
    from segcore.nn.train_data import num_workers

    job = setting.job
    defaults = [Path(mmseg.__file__).parent / ".mim" / "configs" / "_base_" / name for name in BASE_FILES]
    config = Config.fromfile(str(defaults[0]))
    config.merge_from_dict(Config.fromfile(str(defaults[1])).to_dict())
    for name in OWN:
        config.pop(name)
    student = model_config(job.model, job.train.size)
    import_modules_from_strings(**student.custom_imports)  # as Config.fromfile does for a config file that has them
    config.update(
        model=student.model,
        train_dataloader={
            "batch_size": job.train.batch_size,
            "num_workers": num_workers(job),
            "persistent_workers": True,
            "sampler": {"type": "InfiniteSampler", "shuffle": True},
            "dataset": data_set(job, setting.data),
        },
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": job.iterations, "val_interval": job.iterations + 1},
        optim_wrapper=optimiser(job, amp),
        param_scheduler=schedule(job),
        randomness={"seed": job.seed},
        load_from=job.init_weights,
        work_dir=str(setting.folder / "work"),
    )
    return config


def data_set(job: TrainJob, folder: Path) -> dict[str, Any]:
    """Return mmseg's data set over what `write_data` wrote."""
    return {
        "type": "BaseSegDataset",
        "data_root": str(folder),
        "data_prefix": {"img_path": "images", "seg_map_path": "masks"},
        "metainfo": {"classes": job.model.class_names, "palette": [list(colour) for colour in job.model.palette]},
        "pipeline": pipeline(job),
    }


def pipeline(job: TrainJob) -> Sequence[dict[str, Any]]:
    """Return mmseg's transforms that do what the job's augmentation does."""
    size, augment = job.train.size, job.train.augment
    return [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "RandomResize", "scale": (size, size), "ratio_range": augment.scale_range, "keep_ratio": True},
        {"type": "RandomCrop", "crop_size": (size, size), "cat_max_ratio": augment.crop_max_share},
        {"type": "RandomFlip", "prob": augment.flip},
        {"type": "PhotoMetricDistortion"},
        {"type": "PackSegInputs"},
    ]


def optimiser(job: TrainJob, amp: bool) -> dict[str, Any]:
    """Return AdamW with the job's rates: no decay of norms and biases, the backbone's own rate, clipped gradients."""
    from segcore.nn.training import MAX_GRADIENT_NORM

    train = job.train
    return {
        **({"type": "AmpOptimWrapper", "loss_scale": "dynamic"} if amp else {"type": "OptimWrapper"}),
        "optimizer": {"type": "AdamW", "lr": train.lr, "weight_decay": train.weight_decay},
        "clip_grad": {"max_norm": MAX_GRADIENT_NORM},
        "paramwise_cfg": {
            "norm_decay_mult": 0.0,
            "bias_decay_mult": 0.0,
            "custom_keys": {"backbone": {"lr_mult": train.backbone_lr_mult}},
        },
    }


def schedule(job: TrainJob) -> list[dict[str, Any]]:
    """Return linear warm-up, then polynomial decay to 0; mmengine reaches an end value one iteration before `end`."""
    from segcore.nn.schedule import WARMUP_START

    warmup = min(job.train.warmup_iterations, job.iterations - 1)
    decay = {
        "type": "PolyLR",
        "eta_min": 0.0,
        "power": job.train.poly_power,
        "begin": warmup,
        "end": job.iterations + 1,
    }
    start = {"type": "LinearLR", "start_factor": WARMUP_START, "begin": 0, "end": warmup + 1}
    return [*([start | {"by_epoch": False}] if warmup else []), decay | {"by_epoch": False}]
