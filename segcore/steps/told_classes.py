"""Classes of a model that nobody named: as its config tells them, else numbered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segcore.data.coco import CocoCategory
from segcore.process.jobs import parse_ready
from segcore.records import ClassMap
from segcore.steps.model_files import from_categories


def classes_told(ready: Mapping[str, Any]) -> ClassMap:
    """Return the classes of a model from what the labelling process said of it (segcore/process/jobs.py: Ready).

    Names and colours are those of the config's data set; without them classes are called class_0, class_1 ...
    """
    told = parse_ready(dict(ready))
    names = told.class_names or tuple(f"class_{index}" for index in range(told.num_classes))
    classes = from_categories([CocoCategory(index, name) for index, name in enumerate(names, 1)])
    return classes if told.palette is None else replace(classes, palette=told.palette)
