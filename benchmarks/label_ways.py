"""The two ways of labelling that are compared, each in a process of its own that keeps its model.

Own processes, because peak memory and thread pools are then each way's own; they take turns, so that both meet the
same machine. While one works the other waits at a pipe, its OpenMP threads asleep.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from segcore.config.label_schema import LabelConfig
from segcore.nn.devices import be_a_good_neighbour, limit_visible_devices
from segcore.nn.host_memory import keep_freed_memory
from segcore.nn.known_warnings import silence_known_warnings
from segcore.process.jobs import PredictImage, PredictJob, PredictRequest, TeacherFiles
from segcore.pseudo.predictions import read_predictions

Images = Sequence[tuple[str, Path]]  # id and file
LabelMap = NDArray[np.uint8]


@dataclass(frozen=True)
class Setting:
    """What a way labels with. checkpoint, config: absolute. device: "cpu" or "cuda". expected_images: as in PredictJob.

    baseline_precision: "bf16" runs mmseg under autocast.
    """

    checkpoint: str
    config: str
    device: str
    num_threads: int
    expected_images: int
    views: LabelConfig = field(default_factory=LabelConfig)
    baseline_precision: str = "fp32"


@dataclass(frozen=True)
class Labelled:
    """What labelling a group of images gave: seconds by the clock, CPU seconds of the process, maps by image id."""

    wall_s: float
    cpu_s: float
    label_maps: dict[str, LabelMap]


class Way(Protocol):
    """A model opened by some engine. precision: "fp32" or "bf16"."""

    description: str
    precision: str

    def label(self, images: Images) -> None:
        """Label images; this is what is timed."""

    def label_maps(self) -> dict[str, LabelMap]:
        """Return the (H, W) uint8 label maps made last."""

    def use_one_thread_of_python(self) -> None:
        """Label in the calling thread from now on: torch's profiler sees no other."""


def ignore(done: int, working: Sequence[str]) -> None:
    """Take news of progress and do nothing."""
    del done, working


class Segloop:
    """Our engine: decoding, all views, label maps, confidence, statistics, and the predictions file on disk."""

    def __init__(self, setting: Setting) -> None:
        from segcore.nn.predictor import open_predictor

        keep_freed_memory()  # as the prediction program does
        teacher = TeacherFiles(setting.checkpoint, setting.config)
        job = PredictJob((teacher,), None, setting.views, setting.device, expected_images=setting.expected_images)
        self.predictor = open_predictor(job)
        self.precision = self.predictor.spec.precision
        self.description = self.predictor.teachers[0].fast.description
        self.folder = tempfile.TemporaryDirectory(prefix="label-")
        self.out = Path(self.folder.name, "predictions.parquet")

    def label(self, images: Images) -> None:
        """Write the predictions file."""
        request = PredictRequest(tuple(PredictImage(name, str(path)) for name, path in images), str(self.out))
        if quarantined := self.predictor.run(request, ignore):
            raise RuntimeError(f"the benchmark's images must be readable, got {quarantined}")

    def label_maps(self) -> dict[str, LabelMap]:
        """Read them from the file."""
        return {one.image_id: one.label_map for one in read_predictions(self.out)}

    def use_one_thread_of_python(self) -> None:
        """Work in one lane, whose operations share torch's threads."""
        from segcore.nn.lanes import Lanes

        self.predictor.lanes = Lanes(1)


class Mmseg:
    """SegTTAModel with its TestTimeAug pipeline, one image at a time; label maps stay in memory, nothing is written."""

    def __init__(self, setting: Setting) -> None:
        import torch
        from mmengine.config import Config
        from mmengine.dataset import Compose
        from mmengine.registry import init_default_scope
        from mmengine.runner import load_checkpoint
        from mmengine.utils import import_modules_from_strings
        from mmseg.registry import MODELS

        config = Config.fromfile(setting.config)
        import_modules_from_strings(**{"imports": [], **config.get("custom_imports", {})})
        init_default_scope("mmseg")
        self.model = MODELS.build({"type": "SegTTAModel", "module": config.model})
        load_checkpoint(self.model.module, setting.checkpoint, map_location="cpu", strict=True)
        self.model.to(setting.device).eval()
        torch.backends.cudnn.benchmark = True  # as mmseg's own default_runtime.py sets it
        self.pipeline = Compose(pipeline_of(setting.views))
        self.autocast = setting.baseline_precision == "bf16"
        self.device = setting.device
        self.maps: dict[str, LabelMap] = {}
        self.precision = setting.baseline_precision
        self.description = f"SegTTAModel, batch 1, {self.precision}"

    def label(self, images: Images) -> None:
        """Label one image after the other."""
        import torch
        from mmengine.dataset import pseudo_collate

        self.maps = {}
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self.autocast):
            for name, path in images:
                batch = pseudo_collate([self.pipeline({"img_path": str(path)})])
                (sample,) = self.model.test_step(batch)
                self.maps[name] = sample.pred_sem_seg.data.squeeze(0).to(torch.uint8).cpu().numpy()

    def label_maps(self) -> dict[str, LabelMap]:
        """Return them."""
        return self.maps

    def use_one_thread_of_python(self) -> None:
        """Do nothing: it never uses more."""


def pipeline_of(views: LabelConfig) -> list[dict[str, Any]]:
    """Return mmseg's pipeline of the views."""
    resizes = [{"type": "Resize", "scale": (size, size), "keep_ratio": True} for size in views.sizes]
    flips = [{"type": "RandomFlip", "prob": float(flip)} for flip in range(1 + views.flip)]
    transforms = [resizes, flips, [{"type": "PackSegInputs"}]]
    return [{"type": "LoadImageFromFile"}, {"type": "TestTimeAug", "transforms": transforms}]


WAYS: dict[str, Callable[[Setting], Way]] = {"segloop": Segloop, "mmseg": Mmseg}
opened: dict[str, Way] = {}  # in the child: the one way that was opened there


class Contestant:
    """A way in a process of its own; `with Contestant("mmseg", setting) as one: one.label(images)`.

    start: seconds until it could label, and what it says of itself.
    """

    def __init__(self, name: str, setting: Setting) -> None:
        be_a_good_neighbour()  # the child inherits it, and has it before torch is imported
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.start = self.ask(open_way, name, setting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the process."""
        return self.pool.submit(function, *arguments).result()

    def label(self, images: Images) -> Labelled:
        """Label images."""
        labelled: Labelled = self.ask(label, list(images))
        return labelled

    def peak(self) -> dict[str, float]:
        """Return the most memory the process has held so far, in MB."""
        peak: dict[str, float] = self.ask(peak_memory)
        return peak


def open_way(name: str, setting: Setting) -> dict[str, Any]:
    """Open a way in this process. Importing torch and mmseg is timed, too: both ways have to."""
    started = time.perf_counter()
    limit_visible_devices(setting.device)
    silence_known_warnings()
    import cv2
    import torch

    torch.set_num_threads(setting.num_threads)
    cv2.setNumThreads(setting.num_threads)
    opened["way"] = WAYS[name](setting)
    start_s = time.perf_counter() - started
    return {"start_s": start_s, "precision": opened["way"].precision, "description": opened["way"].description}


def label(images: Images) -> Labelled:
    """Label images in this process."""
    way = opened["way"]
    wall, cpu = time.perf_counter(), time.process_time()
    way.label(images)
    wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    return Labelled(wall_s, cpu_s, way.label_maps())


def peak_memory() -> dict[str, float]:
    """Return this process's peak resident memory and, with CUDA, its peak allocations there, in MB."""
    import torch

    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    peak = {"resident_mb": peak_kb / 1024}
    if torch.cuda.is_initialized():
        peak |= {"cuda_mb": torch.cuda.max_memory_allocated() / 2**20}
    return peak
