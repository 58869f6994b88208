"""The competition CSV of a finished run, at any size, in the order of its test list; and checking one."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from segcore.config.schema import RunConfig
from segcore.data.coco import load_coco
from segcore.data.folders import image_files
from segcore.errors import DataError, RunError
from segcore.outputs.submission import SubmissionSpec, validate_submission, write_submission
from segcore.process.jobs import PredictImage
from segcore.records import ImageRecord
from segcore.steps.finished import existing_run, published_index
from segcore.steps.index import Index, class_map_of, image_path, images_of
from segcore.steps.model_files import ModelFiles, ModelRequest, find_model, weights_in
from segcore.steps.predict_images import PredictRun, Progress, predict_chunks, workspace
from segcore.steps.run import Run

logger = logging.getLogger(__name__)

CSV = "submission.csv"
ANY_CLASS = 255  # class ids are under 255
FILL_CLASS = 0  # of test images that cannot be read: a row must be there


@dataclass(frozen=True)
class MakeSubmissionSpec:
    """A finished run and the CSV to write. size: height, width in px, None: outputs.submission_size of the run.

    refit: by the model of the final refit, which is not scored, in place of the run's own.
    """

    run: str
    out: str
    size: tuple[int, int] | None = None
    refit: bool = False


@dataclass(frozen=True)
class SubmissionSummary:
    """What was written. predicted: whether the test images were labelled again, at this size."""

    out: str
    size: tuple[int, int]
    num_images: int
    predicted: bool


def make_submission(spec: MakeSubmissionSpec) -> SubmissionSummary:
    """Write and check the CSV of a run: its own where the size is the run's, else from new predictions."""
    run = existing_run(spec.run)
    out = Path(spec.out)
    own_size = run.config.outputs.submission_size
    size = spec.size or own_size
    if size is None:
        raise RunError(f"{run.folder}: outputs.submission_size is null, so --size must say height and width in px")
    index = published_index(run)
    names = [image.file_name for image in submission_images(run, index)]
    part = out.with_name(f".{out.name}.new")
    finished = run.layout.outputs_dir / CSV
    reusable = not spec.refit and size == own_size and finished.is_file()
    if reusable:
        shutil.copyfile(finished, part)
    else:
        label_again(run, submitting_model(run, spec.refit), part, size)
    validate_submission(part, names, size, class_map_of(run, index).num_classes)
    part.replace(out)
    return SubmissionSummary(str(out), size, len(names), not reusable)


def submitting_model(run: Run, refit: bool) -> ModelFiles:
    """Return the run's model, or that of its final refit; RunError when there is none."""
    if not refit:
        return find_model(ModelRequest(run.folder, None))
    if weights_in(run.layout.refit_dir) is None:
        raise RunError(
            f"{run.layout.refit_dir}: expected the model of the final refit, found none; set loop.final_refit: true "
            "and run again (what is done is reused)"
        )
    return find_model(ModelRequest(None, str(run.layout.refit_dir)))


def label_again(run: Run, model: ModelFiles, out_csv: Path, size: tuple[int, int]) -> None:
    """Label the test images with a model, probabilities averaged to size, and write the CSV."""
    index = published_index(run)
    records = submission_images(run, index)
    readable = [image for image in records if image.sha256]
    images = [PredictImage(image.image_id, str(image_path(run, image)), size) for image in readable]
    config, progress = run.config, Progress()
    num_classes = class_map_of(run, index).num_classes
    with workspace(out_csv.parent) as work:
        what = PredictRun(
            model, images, num_classes, config.label, config.runtime.device, config.data.max_megapixels, work
        )
        files = tuple(predict_chunks(what, progress))
        write_submission(SubmissionSpec(files, records, size, num_classes, FILL_CLASS), out_csv)


def submission_images(run: Run, index: Index) -> tuple[ImageRecord, ...]:
    """Return a record for every image of the test list, in its order.

    An image that was set aside when the run was indexed has no sha256; its row is filled.
    """
    indexed = {image.file_name: image for image in images_of(run, index) if image.source == "test"}
    return tuple(indexed.get(name) or unreadable(name) for name in test_names(run.config))


def unreadable(file_name: str) -> ImageRecord:
    """Return the record of a test image that is not in the index."""
    return ImageRecord(f"test/{file_name}", "test", file_name, "", 0, 0, "", "", "test")


def test_names(config: RunConfig) -> tuple[str, ...]:
    """Return the file names of the test images: in the order of their COCO list, or sorted for a plain folder."""
    test = config.data.test
    if test is None:
        raise RunError("data.test is not given in this run's config, so there is nothing to submit; name the images")
    return image_files(test.images) if test.annotations is None else listed_names(test.annotations)


def listed_names(path: Path) -> tuple[str, ...]:
    """Return the file names in a COCO file in its order."""
    return tuple(image.file_name for image in load_coco(path, labelled=False).images)


def check_against_run(path: Path, run_name: str, size: tuple[int, int] | None) -> int:
    """Check a CSV against a run's test list; return its number of rows. DataError names the lines that are wrong."""
    run = existing_run(run_name)
    size = size or run.config.outputs.submission_size
    if size is None:
        raise RunError(f"{run.folder}: outputs.submission_size is null, so --size must say height and width in px")
    names = test_names(run.config)
    validate_submission(path, names, size, class_map_of(run, published_index(run)).num_classes)
    return len(names)


def check_against_list(path: Path, names_file: Path, size: tuple[int, int], num_classes: int | None) -> int:
    """Check a CSV against a COCO list of images; return its number of rows. num_classes: None allows every class id."""
    names = listed_names(names_file)
    if not names:
        raise DataError(f"{names_file}: expected the test images in images, found none")
    validate_submission(path, names, size, num_classes or ANY_CLASS)
    return len(names)
