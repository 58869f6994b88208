"""Job files: what the training and prediction child programs are told, as JSON. No torch here.

``python -m segcore.nn.train_process JOB.json`` reads a TrainJob, ``python -m segcore.nn.predict_process JOB.json``
a PredictJob. The lines that both programs write are described at the top of their modules.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from segcore.config.label_schema import LabelConfig
from segcore.config.student_schema import StudentConfig
from segcore.config.train_schema import LossConfig, TrainConfig
from segcore.errors import StepError

FORMAT = 1

Job = TypeVar("Job")


@dataclass(frozen=True)
class ModelSpec:
    """The network of a training.

    Exactly one of preset (segcore/nn/presets) and config (absolute path of an mmsegmentation config file) is given.
    weights: "imagenet" (the preset's own backbone weights), a name on the hub, an absolute path of a file or of a
    folder of the hub's files, or None for random values. head_channels: None for the preset's own. tiny: at a fraction
    of width and depth.
    class_names, palette: one per class id; palette is RGB 0..255.
    """

    preset: str | None
    config: str | None
    weights: str | None
    head_channels: int | None
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    tiny: bool = False


@dataclass(frozen=True)
class Sample:
    """One training image. path: absolute. image_id: also the id of its label map."""

    image_id: str
    path: str


@dataclass(frozen=True)
class TrainJob:
    """One student.

    iterations: length of this training (train.iterations and train.round_iterations are not looked at).
    ground_truth_maps, pseudo_maps: absolute paths of LabelMaps files; pseudo_maps is None in round 0.
    unlabelled: pool images for consistency training (student.consistency), else empty.
    pseudo_confidence: absolute path of a LabelMaps file with the confidence levels of pseudo_maps' pixels; None: none.
    init_weights: absolute path of a whole-model checkpoint to start from; None: model.weights only.
    resume_dir: absolute; lives across attempts and holds checkpoints and progress.jsonl.
    out_dir: absolute, existing; gets model.pth, model_config.py and logs/.
    earlier_at: iterations, rising, after which the weights are kept too (earlier_file) for segcore/nn/earlier.py.
    unannotated_class: the class id that pixels without annotation got; None where they are ignored.
    """

    model: ModelSpec
    train: TrainConfig
    iterations: int
    seed: int
    ground_truth: tuple[Sample, ...]
    ground_truth_maps: str
    pseudo: tuple[Sample, ...]
    pseudo_maps: str | None
    init_weights: str | None
    resume_dir: str
    out_dir: str
    device: str = "auto"
    log_every: int = 50
    pseudo_confidence: str | None = None
    unlabelled: tuple[Sample, ...] = ()
    student: StudentConfig = field(default_factory=StudentConfig)
    earlier_at: tuple[int, ...] = ()
    unannotated_class: int | None = None


@dataclass(frozen=True)
class TeacherFiles:
    """A model that labels. checkpoint, config: absolute paths; config is any mmsegmentation config file.

    weight: its share among several teachers, before they are made to sum to 1.
    """

    checkpoint: str
    config: str
    weight: float = 1.0


@dataclass(frozen=True)
class PredictJob:
    """One or several models, their views, and how to run them; images follow on standard input.

    teachers: their probabilities are averaged by weight. num_classes: what each must tell apart; None: as many as the
    first one has.
    label: sizes, flip, precision and resize path of the views; sharding fields are not looked at.
    num_threads: decoding threads; None: as many as CPU cores, at most 4. one_by_one: name each image before it is even
    opened, and do nothing else meanwhile: slow, but if the program dies it is known on which image.
    expected_images: about how many images will be asked for; long preparations pay for many only.
    earlier: checkpoints of the teachers' own trainings; how far their label maps agree with that of the teachers is
    stored with each prediction. Their weight is not looked at.
    """

    teachers: tuple[TeacherFiles, ...]
    num_classes: int | None
    label: LabelConfig
    device: str = "auto"
    max_megapixels: float = 200.0
    num_threads: int | None = None
    one_by_one: bool = False
    expected_images: int = 1
    earlier: tuple[TeacherFiles, ...] = ()


@dataclass(frozen=True)
class ImportJob:
    """A checkpoint from outside that becomes the student of round 0.

    checkpoint, config: absolute paths; config is an mmsegmentation config file. size: longer image side of
    single-view prediction, px. out_dir: absolute, existing; gets model.pth and model_config.py.
    """

    checkpoint: str
    config: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    size: int
    out_dir: str


@dataclass(frozen=True)
class CheckJob:
    """The models to be tried before a run starts.

    models: by the config's field that names them. size: longer image side of training, px. teacher: None without one.
    loss: what their heads will be asked for. consistency: whether they must be fit for consistency training. gpus: that
    a training is shared by.
    """

    models: dict[str, ModelSpec]
    size: int
    teacher: ImportJob | None
    device: str = "auto"
    loss: LossConfig = field(default_factory=LossConfig)
    consistency: bool = False
    gpus: int = 1


@dataclass(frozen=True)
class PredictImage:
    """One image to predict. small_size: (height, width) of the extra label map for a submission, or None.

    vote_px: keep the probabilities of at most so many of its pixels, in a votes file beside the predictions; None: of
    none (segcore/pseudo/votes.py).
    """

    image_id: str
    path: str
    small_size: tuple[int, int] | None = None
    vote_px: int | None = None


@dataclass(frozen=True)
class PredictRequest:
    """One line on the standard input of the prediction program: images in order, and the file to write."""

    images: tuple[PredictImage, ...]
    out: str


@dataclass(frozen=True)
class Ready:
    """What the prediction program says once its models are loaded.

    class_names, palette: of the first model's config, one per class id, where it or its data set tells them.
    """

    device: str
    precision: str
    num_classes: int
    class_names: tuple[str, ...] | None = None
    palette: tuple[tuple[int, int, int], ...] | None = None


def earlier_file(index: int) -> str:
    """Return the name of a student's weights after the iteration earlier_at[index] of its training."""
    return f"earlier_{index}.pth"


def write_train_job(path: Path, job: TrainJob) -> None:
    """Write job as JSON."""
    path.write_text(json.dumps({"format": FORMAT, **_TRAIN.dump_python(job, mode="json")}, indent=1))


def read_train_job(path: Path) -> TrainJob:
    """Read a TrainJob; raise StepError if the file is not one."""
    return _read(path, _TRAIN, "TrainJob")


def write_predict_job(path: Path, job: PredictJob) -> None:
    """Write job as JSON."""
    path.write_text(json.dumps({"format": FORMAT, **_PREDICT.dump_python(job, mode="json")}, indent=1))


def read_predict_job(path: Path) -> PredictJob:
    """Read a PredictJob; raise StepError if the file is not one."""
    return _read(path, _PREDICT, "PredictJob")


def write_import_job(path: Path, job: ImportJob) -> None:
    """Write job as JSON."""
    path.write_text(json.dumps({"format": FORMAT, **_IMPORT.dump_python(job, mode="json")}, indent=1))


def read_import_job(path: Path) -> ImportJob:
    """Read an ImportJob; raise StepError if the file is not one."""
    return _read(path, _IMPORT, "ImportJob")


def check_job_text(job: CheckJob) -> str:
    """Return job as JSON."""
    return json.dumps(_CHECK.dump_python(job, mode="json"))


def parse_check_job(text: str) -> CheckJob:
    """Return the CheckJob in a text; raise StepError if it is not one."""
    try:
        return _CHECK.validate_json(text)
    except ValidationError as error:
        raise StepError(f"the check program must be given a CheckJob: {error}") from None


def request_line(request: PredictRequest) -> str:
    """Return request as one line of JSON, newline included."""
    return json.dumps(_REQUEST.dump_python(request, mode="json")) + "\n"


def parse_request(line: str) -> PredictRequest:
    """Return the request on a line; raise StepError if it is not one."""
    try:
        return _REQUEST.validate_json(line)
    except ValidationError as error:
        raise StepError(f"a prediction request must have images and out, got {line[:200]!r}: {error}") from None


def parse_ready(message: dict[str, Any]) -> Ready:
    """Return the Ready in an event; StepError if it is none."""
    try:
        return _READY.validate_python(message)
    except ValidationError as error:
        raise StepError(
            f"a labelling process must say device, precision and num_classes, got {message}: {error}"
        ) from None


def _read(path: Path, adapter: TypeAdapter[Job], kind: str) -> Job:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StepError(f"job file {path} must be readable JSON: {error}") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise StepError(f"job file {path} must have format {FORMAT}; it was written by another version of segloop")
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        raise StepError(f"job file {path} is not a {kind}: {error}") from None


_TRAIN: TypeAdapter[TrainJob] = TypeAdapter(TrainJob)
_PREDICT: TypeAdapter[PredictJob] = TypeAdapter(PredictJob)
_IMPORT: TypeAdapter[ImportJob] = TypeAdapter(ImportJob)
_CHECK: TypeAdapter[CheckJob] = TypeAdapter(CheckJob)
_REQUEST: TypeAdapter[PredictRequest] = TypeAdapter(PredictRequest)
_READY: TypeAdapter[Ready] = TypeAdapter(Ready)
