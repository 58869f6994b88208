"""A trained model as it lies on disk, in a run or anywhere: weights, config, lineage and names of classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcore.config.label_schema import LabelConfig
from segcore.data.classes import class_map
from segcore.data.coco import CocoCategory, CocoReader, read_json_object
from segcore.data.problems import Problems
from segcore.errors import CheckpointError, ConfigError
from segcore.process.jobs import TeacherFiles
from segcore.records import ClassMap
from segcore.steps.ensemble_files import ENSEMBLE, ENSEMBLE_FOLDER, is_ensemble, teacher_files
from segcore.steps.finished import existing_run, published_index, run_around
from segcore.steps.index import class_map_of
from segcore.steps.run import Run
from segcore.steps.train import LINEAGE, MODEL_CONFIG, WEIGHTS
from segcore.store.layout import RunLayout

CLASSES = "classes.json"
BACKGROUND = "background"


@dataclass(frozen=True)
class ModelRequest:
    """A model as somebody names it.

    Exactly one of run (folder or run_id: the model in its outputs/) and checkpoint (weights file, or the folder of a
    student or of a run). config: its
    mmsegmentation config, None for model_config.py beside the weights. classes: of a model from outside, "a,b,c" or
    the path of a COCO or classes.json file; None where the model's run tells.
    """

    run: str | None
    checkpoint: str | None
    config: str | None = None
    classes: str | None = None


@dataclass(frozen=True)
class ModelFiles:
    """A model that was found. lineage: None when it came from outside. run: the run it lies in, if any.

    Of an ensemble checkpoint and config are its ensemble.json.
    """

    checkpoint: Path
    config: Path
    lineage: Path | None
    classes: ClassMap | None
    run: Run | None

    @property
    def teachers(self) -> tuple[TeacherFiles, ...]:
        """Return what the prediction program loads: the model, or all members of an ensemble."""
        return teacher_files(self.checkpoint, self.config)

    @property
    def known_classes(self) -> ClassMap:
        """Return the classes; ConfigError when nothing tells them."""
        if self.classes is None:
            raise ConfigError(
                f"{self.checkpoint}: expected {CLASSES} beside it, or a run around it, to name its classes; found "
                "neither, give --classes a,b,c in order of class id"
            )
        return self.classes


@dataclass(frozen=True)
class ViewRequest:
    """Test-time views and where they run. views: longer sides, px; views, flip: None takes those of the model's run."""

    views: tuple[int, ...] | None = None
    flip: bool | None = None
    device: str = "auto"


def find_model(request: ModelRequest) -> ModelFiles:
    """Return the files of a model; ConfigError or CheckpointError when one that it needs is not there."""
    if (request.run is None) == (request.checkpoint is None):
        raise ConfigError("name the model either by a run or by a checkpoint; got both or neither")
    if request.run is not None:
        run: Run | None = existing_run(request.run)
        assert run is not None
        checkpoint = weights_in(run.layout.outputs_dir) or run.layout.outputs_dir / WEIGHTS
    else:
        checkpoint = checkpoint_file(
            Path(str(request.checkpoint))
        ).resolve()  # a link must not hide the lineage beside its target
        run = run_around(checkpoint)
    config = config_of(checkpoint, request.config)
    for path, what in ((checkpoint, "the weights of a model"), (config, "the mmsegmentation config of the model")):
        if not path.is_file():
            raise CheckpointError(f"{path}: expected {what}, found no such file; {remedy(request, what)}")
    lineage = checkpoint.with_name(LINEAGE)
    classes = classes_of(request, checkpoint, run)
    return ModelFiles(checkpoint.resolve(), config.resolve(), lineage if lineage.is_file() else None, classes, run)


def checkpoint_file(path: Path) -> Path:
    """Return the weights that a path means: the file itself, or those in the folder of a student or of a run.

    Of an ensemble, its ensemble.json.
    """
    if not path.is_dir():
        return path
    found = weights_in(path) or weights_in(RunLayout(path).outputs_dir)
    if found is not None:
        return found
    raise CheckpointError(
        f"{path}: expected the folder of a student ({WEIGHTS} in it) or of a finished run (outputs/{WEIGHTS}), found "
        "neither; name a weights file"
    )


def weights_in(folder: Path) -> Path | None:
    """Return the weights, or the ensemble.json, that lie in a folder; None when there is neither."""
    candidates = (folder / WEIGHTS, folder / ENSEMBLE, folder / ENSEMBLE_FOLDER / ENSEMBLE)
    return next((path for path in candidates if path.is_file()), None)


def config_of(checkpoint: Path, given: str | None) -> Path:
    """Return the config of a checkpoint: as given, else the one beside it; an ensemble's members have their own."""
    if is_ensemble(checkpoint):
        if given is not None:
            raise ConfigError(f"--config must not be given for {checkpoint}: its members have configs of their own")
        return checkpoint
    return checkpoint.with_name(MODEL_CONFIG) if given is None else Path(given)


def remedy(request: ModelRequest, what: str) -> str:
    """Return what to do about a missing file."""
    if request.run is not None:
        return "let the run finish first, or name one of its checkpoints"
    return "give --config FILE" if "config" in what else "check the path"


def classes_of(request: ModelRequest, checkpoint: Path, run: Run | None) -> ClassMap | None:
    """Return the classes of a model: as given, as beside it, as in its run."""
    if request.classes is not None:
        return given_classes(request.classes)
    beside = checkpoint.with_name(CLASSES)
    if beside.is_file():
        return read_classes(beside)
    return None if run is None else class_map_of(run, published_index(run))


def given_classes(text: str) -> ClassMap:
    """Return the classes that a user names: a JSON file, or names with commas between, in order of class id."""
    if Path(text).is_file():
        return read_classes(Path(text))
    names = [name.strip() for name in text.split(",")]
    if len(names) < 2 or not all(names) or len(set(names)) != len(names):
        raise ConfigError(f"--classes must be a JSON file, or two or more different names a,b,c, got {text!r}")
    return from_categories([CocoCategory(index, name) for index, name in enumerate(names, 1)])


def read_classes(path: Path) -> ClassMap:
    """Return the classes of a classes.json, or of the categories of a COCO file."""
    document = read_json_object(path)
    if "categories" in document:
        reader = CocoReader(Problems(path), labelled=True)
        categories = reader.categories(reader.table(document, "categories"))
        reader.problems.raise_if_any()
        return from_categories(categories)
    try:
        return ClassMap(
            tuple(str(name) for name in document["names"]),
            tuple((int(red), int(green), int(blue)) for red, green, blue in document["palette"]),
            tuple(None if number is None else int(number) for number in document["category_ids"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: expected classes (names, palette, category_ids) or COCO categories, cannot be read ({error!r})"
        ) from None


def from_categories(categories: Sequence[CocoCategory]) -> ClassMap:
    """Return classes in order of category id; a first one called background is drawn as background."""
    usable = [category for category in categories if not category.ignore]
    has_background = bool(usable) and usable[0].name.casefold() == BACKGROUND
    return class_map(usable, "background" if has_background else "ignore", BACKGROUND, {})


def label_config(model: ModelFiles, request: ViewRequest) -> LabelConfig:
    """Return the test-time views to run: as asked for, else as in the model's run, else the defaults."""
    base = LabelConfig() if model.run is None else model.run.config.label
    changes: dict[str, Any] = {}
    if request.views is not None:
        changes["sizes"] = list(request.views)
    if request.flip is not None:
        changes["flip"] = request.flip
    try:
        return LabelConfig.model_validate(base.model_dump() | changes)
    except ValueError:
        raise ConfigError(f"--views must be sizes of at least 32 px, got {list(request.views or ())}") from None


def class_document(classes: ClassMap) -> str:
    """Return the text of a classes.json."""
    content = {"names": classes.names, "palette": classes.palette, "category_ids": classes.category_ids}
    return json.dumps(content, indent=1, sort_keys=True) + "\n"
