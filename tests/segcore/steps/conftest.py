"""A run that looks finished, made in a second: a real index, weights nobody opens, pseudo-labels equal to truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from segcore.data.images import read_image
from segcore.data.label_maps import write_label_maps
from segcore.process.jobs import PredictImage, Ready
from segcore.process.labeller import LabellerSpec
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.records import Quarantined
from segcore.steps import predict_folder, predict_images
from segcore.steps.index import Index, class_map_of, images_of, index_images, pool_of
from segcore.steps.model_files import CLASSES, class_document
from segcore.steps.run import Run, ensure_step, open_run
from segcore.store.layout import pseudo_labels_place
from segcore.store.steps import Step
from segcore.trust.lineage import extend


class ColourLabeller:
    """Stands in for the labelling process: a pixel that is red is class 1, one that is green class 2."""

    ready = Ready("cpu", "fp32", 3)

    def __init__(self, spec: LabellerSpec) -> None:
        self.spec = spec
        self.asked: list[str] = []

    def predict(self, images: Sequence[PredictImage], out: Path, on_progress: object = None) -> list[Quarantined]:
        """Write predictions; an image whose name holds "bad" is set aside."""
        self.asked += [image.image_id for image in images]
        with PredictionWriter(out) as writer:
            for image in images:
                if "bad" not in image.path:
                    label_map = by_colour(Path(image.path))
                    small = None if image.small_size is None else np.zeros(image.small_size, np.uint8)
                    writer.write(Prediction(image.image_id, label_map, np.full_like(label_map, 40), small))
        return [Quarantined(image.image_id, "damaged") for image in images if "bad" in image.path]

    def close(self) -> None:
        """Do nothing."""


def by_colour(path: Path) -> np.ndarray:
    """Return the (H, W) uint8 label map that the colours of a test image stand for."""
    pixels = read_image(path).astype(int)
    red, green = pixels[..., 2] - pixels[..., 1] > 80, pixels[..., 1] - pixels[..., 2] > 80
    return np.where(red, 1, np.where(green, 2, 0)).astype(np.uint8)


@pytest.fixture
def colour_labeller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predict by colour, without a model."""
    monkeypatch.setattr(predict_images, "Crew", lambda spec, devices: ColourLabeller(spec))


@pytest.fixture
def colour_crew(monkeypatch: pytest.MonkeyPatch) -> list[ColourLabeller]:
    """Label folders by colour, without a model; return the labellers that were asked for."""
    made: list[ColourLabeller] = []

    def get(spec: LabellerSpec) -> ColourLabeller:
        if not made or made[-1].spec.job != spec.job:
            made.append(ColourLabeller(spec))
        return made[-1]

    monkeypatch.setattr(predict_folder, "labellers", SimpleNamespace(get=get))
    return made


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, write_tiny: Callable[[Path, str], Path]) -> Run:
    """Return a run with index, outputs/ and the pseudo-labels of round 1 and of the end."""
    config = write_tiny(tmp_path_factory.mktemp("finished"), "tiny")
    with open_run(str(config)) as run:
        index = index_images(run)
        run.layout.outputs_dir.mkdir()
        write_model(run, index, run.layout.outputs_dir)
        first = publish_labels(run, index, 1, ignored=0.5)
        run.layout.round_file(1).write_text(json.dumps({"round_index": 1, "pseudo_labels": {"path": first}}))
        final = publish_labels(run, index, None, ignored=0.0)
        (run.layout.outputs_dir / "annotations.json").write_bytes((run.path / final / "annotations.json").read_bytes())
    return run


def write_model(run: Run, index: Index, folder: Path) -> None:
    """Write what a training leaves; the student has seen train by its labels and the pool by pseudo-labels."""
    (folder / "model.pth").write_bytes(b"weights")
    (folder / "model_config.py").write_text("model = dict()\n")
    (folder / CLASSES).write_text(class_document(class_map_of(run, index)))
    extend(None, images_of(run, index, "train"), pool_of(run, index)).write(folder / "lineage.json")


def publish_labels(run: Run, index: Index, round_index: int | None, ignored: float) -> str:
    """Publish pseudo-labels that are right, but for a share of rows that is ignored; return their folder."""

    def build(work: Path) -> int:
        maps = []
        for image in pool_of(run, index):
            label_map = by_colour(Path(run.config.data.train.images) / image.file_name)
            label_map[: int(ignored * len(label_map))] = 255
            maps.append((image.image_id, label_map))
        write_label_maps(work / "label_maps.arrow", maps)
        (work / "annotations.json").write_text(json.dumps({"round": round_index}))
        return len(maps)

    published = ensure_step(run, Step("filter", 1, pseudo_labels_place(round_index), {"round": round_index}), build)
    return run.layout.relative(published.path)


@pytest.fixture
def oracle(finished_run: Run) -> dict[str, Any]:
    """Return the truth of the pool as COCO, from the colours of its pixels."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    data = Path(finished_run.config.data.train.images)
    for path in sorted([*(data / "unlabeled").iterdir(), *(data / "test").iterdir()]):
        name, label_map = path.relative_to(data).as_posix(), by_colour(path)
        images.append({"id": len(images) + 1, "file_name": name, "width": 64, "height": 64})
        for class_id in (1, 2):
            rle = coco_mask.encode(np.asfortranarray((label_map == class_id).astype(np.uint8)))
            segmentation = {"size": [64, 64], "counts": rle["counts"].decode()}
            entry = {"id": len(annotations) + 1, "image_id": len(images), "category_id": class_id}
            annotations.append({**entry, "segmentation": segmentation})
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    return {"images": images, "annotations": annotations, "categories": categories}
