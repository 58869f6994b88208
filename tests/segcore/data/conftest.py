"""A tiny data set on disk that a test can damage before it is read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segcore.config.schema import RunConfig

WIDTH, HEIGHT = 64, 48


def photo(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return (H, W, 3) uint8, smooth and unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def square(x: int, y: int, side: int) -> list[list[float]]:
    """Return a polygon of side x side px with its upper left corner at (x, y)."""
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


@dataclass
class TinyData:
    """Documents by source, written by config(); images are written at once."""

    root: Path
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    raw: dict[str, str] = field(default_factory=dict)

    def add(self, source: str, num_images: int, first_seed: int, labelled: bool = True) -> None:
        """Add a source of images 000.jpg … with a can on even ones and a bottle on odd ones."""
        folder = self.root / source
        folder.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {
            "images": [],
            "categories": [{"id": 3, "name": "can"}, {"id": 7, "name": "bottle"}],
            "annotations": [],
        }
        for index in range(num_images):
            name = f"{index:03}.jpg"
            cv2.imwrite(str(folder / name), photo(first_seed + index), [cv2.IMWRITE_JPEG_QUALITY, 95])
            document["images"].append({"id": 10 + index, "file_name": name, "width": WIDTH, "height": HEIGHT})
            if labelled:
                document["annotations"].append(
                    {
                        "id": 100 + index,
                        "image_id": 10 + index,
                        "category_id": 7 if index % 2 else 3,
                        "segmentation": square(4 + index, 6, 10),
                        "iscrowd": 0,
                    }
                )
        self.documents[source] = document

    def file(self, source: str) -> Path:
        """Return the COCO file of a source."""
        return self.root / f"{source}.json"

    def config(self, **data: Any) -> RunConfig:
        """Write the documents and return a config over train, val, unlabeled and test; data: fields to change."""
        for source, document in self.documents.items():
            self.file(source).write_text(self.raw.get(source, json.dumps(document)), encoding="utf-8")
        entry = {s: {"images": self.root / s, "annotations": self.file(s)} for s in self.documents}
        roles = data.pop("roles", {})
        teacher = data.pop("teacher", None)
        pool = data.pop("pool", {})
        fields = {"train": entry["train"], "val": entry.get("val"), "unannotated": "background"}
        if "unlabeled" in entry:
            fields["unlabeled"] = [{"images": self.root / "unlabeled"}]
        if "test" in entry:
            fields["test"] = entry["test"]
        return RunConfig.model_validate(
            {
                "data": fields | data,
                "roles": roles,
                "pool": pool,
                "model": {"teacher": teacher},
                "train": {"iterations": 1},
            }
        )


@pytest.fixture
def tiny(tmp_path: Path) -> TinyData:
    """Return 4 train, 6 val, 3 unlabeled and 2 test images; all of them different."""
    data = TinyData(tmp_path / "data")
    data.add("train", 4, 100)
    data.add("val", 6, 200)
    data.add("unlabeled", 3, 300, labelled=False)
    data.add("test", 2, 400, labelled=False)
    return data
