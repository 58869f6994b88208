"""How much there is to do: the sizes of a run, and the work of its steps in units that time can be measured in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segcore.config.data_schema import RolesConfig
from segcore.config.schema import RunConfig
from segcore.config.student_schema import ConsistencyConfig, StudentConfig
from segcore.data.images import probe_image
from segcore.data.roles import val_shares
from segcore.data.sources import Dataset, SourceImage
from segcore.errors import DataError
from segcore.records import ImageRecord
from segcore.steps.index import Index, images_of, pool_of
from segcore.steps.run import Run

NUM_PROBED = 20  # images whose headers are read to guess the pixels of all
PREDICTION_BYTES_PER_PX = 0.3  # zstd Parquet of label map and confidence; measured 0.23 on the demo, noisier on photos
PSEUDO_LABEL_BYTES_PER_PX = 0.1  # PNG label maps and RLE annotations
POOL_IMAGE_VIEWS = 2 + 1 / 3  # of consistency training: two strong ones, and a weak one without a gradient


@dataclass(frozen=True)
class Work:
    """What a step does. kind: as in events.jsonl.

    amount: train: megapixels of crops; label, evaluate: megapixels of square views; others: images. file_bytes: of
    the files it leaves, without weights.
    """

    kind: str
    amount: float
    file_bytes: float


@dataclass(frozen=True)
class RunSize:
    """How many images a run has, known exactly with an index and nearly without.

    num_pool: get pseudo-labels. num_extra_test: labelled at the end only, for the submission. mean_px: pixels of an
    image.
    """

    config: RunConfig
    num_images: int
    num_pool: int
    num_extra_test: int
    num_calib: int
    num_gate: int
    num_report: int
    mean_px: float

    def num_labelled(self, final: bool) -> int:
        """Return how many images a labelling has."""
        return self.num_pool + self.num_calib + (self.num_extra_test if final else 0)

    def index_work(self) -> Work:
        """Return the work of reading every image once."""
        return Work("index", self.num_images, 0.0)

    def train_work(self, iterations: int) -> Work:
        """Return the work of a training."""
        train = self.config.train
        amount = train_amount(iterations, train.batch_size, train.size, self.config.student.consistency)
        return Work("train", amount, 0.0)

    def label_work(self, num_images: int) -> Work:
        """Return the work of predicting images of the pool."""
        return Work(
            "label",
            self.views(num_images),
            self.prediction_bytes(num_images),
        )

    def evaluate_work(self, num_images: int) -> Work:
        """Return the work of scoring on images."""
        return Work(
            "evaluate",
            self.views(num_images),
            self.prediction_bytes(num_images),
        )

    def votes_work(self) -> Work:
        """Return the work of one model's votes on calib."""
        return Work("votes", self.views(self.num_calib), 0.0)

    def join_work(self) -> Work:
        """Return the work of joining models; their files are links where the file system can."""
        return Work("ensemble", 1.0, 0.0)

    def calibrate_work(self) -> Work:
        """Return the work of counting on calib."""
        return Work("calibrate", self.num_calib, 0.0)

    def filter_work(self) -> Work:
        """Return the work of filtering the pool."""
        return Work("filter", self.num_pool, self.num_pool * self.mean_px * PSEUDO_LABEL_BYTES_PER_PX)

    def inspect_work(self) -> Work:
        """Return the work of the quality card."""
        return Work("inspect", self.num_pool, 0.0)

    def views(self, num_images: int) -> float:
        """Return the megapixels of the views of images."""
        return views_amount(num_images, self.config.label.sizes, self.config.label.flip)

    def prediction_bytes(self, num_images: int) -> float:
        """Return the size of a prediction file, roughly."""
        return num_images * self.mean_px * PREDICTION_BYTES_PER_PX


def train_amount(iterations: int, batch_size: int, size: int, consistency: ConsistencyConfig | None) -> float:
    """Return the megapixels of crops that a training learns from, those it only looks at for a third."""
    num_images = batch_size + (0 if consistency is None else consistency.images_of(batch_size) * POOL_IMAGE_VIEWS)
    return iterations * num_images * size**2 / 1e6


def checkpoint_share(student: StudentConfig) -> int:
    """Return how many times its weights a resume checkpoint holds: themselves, AdamW's two moments, averages."""
    return 3 + (student.ema is not None) + (student.consistency is not None)


def views_amount(num_images: int, sizes: Sequence[int], flip: bool) -> float:
    """Return the megapixels of the views of images, taken as squares."""
    return num_images * sum(size**2 for size in sizes) * (2 if flip else 1) / 1e6


def size_from_index(run: Run, index: Index) -> RunSize:
    """Return the size of a run whose index is there."""
    images = images_of(run, index)
    pool = pool_of(run, index)
    in_pool = {image.image_id for image in pool}
    roles = index.num_images
    return RunSize(
        config=run.config,
        num_images=len(images),
        num_pool=len(pool),
        num_extra_test=sum(image.source == "test" and image.image_id not in in_pool for image in images),
        num_calib=roles.get("calib", 0),
        num_gate=roles.get("gate", 0),
        num_report=roles.get("report", 0),
        mean_px=mean_px_of(pool or images),
    )


def mean_px_of(images: Sequence[ImageRecord]) -> float:
    """Return the mean number of pixels of indexed images."""
    return sum(image.width * image.height for image in images) / max(1, len(images))


def size_from_dataset(config: RunConfig, dataset: Dataset) -> RunSize:
    """Return the size of a run whose index is still to be made: nothing dropped, roles in their expected shares."""
    sources = dataset.sources
    num_val, num_fold = num_held_out(config.roles, {name: len(found) for name, found in sources.items()})
    shares = val_shares(config.roles, num_val)
    unlabelled = list(dataset.images(labelled=False))
    test = [image for image in unlabelled if image.source == "test"]
    num_labelled_test = sum(image.labelled for image in sources.get("test", ()))
    in_pool = unlabelled if config.pool.use_test else [image for image in unlabelled if image.source != "test"]
    return RunSize(
        config=config,
        num_images=sum(len(images) for images in sources.values()),
        num_pool=min(len(in_pool), config.pool.max_images or len(in_pool)),
        num_extra_test=num_labelled_test + (0 if config.pool.use_test else len(test)),
        num_calib=round(shares.get("calib", 0.0) * num_val),
        num_gate=round(shares["gate"] * num_val),
        num_report=num_fold or round(shares.get("report", 0.0) * num_val) + num_labelled_test,
        mean_px=probed_px(unlabelled or sources["train"], config.data.max_megapixels),
    )


def num_held_out(roles: RolesConfig, num_images: Mapping[str, int]) -> tuple[int, int]:
    """Return how many images calib, gate and report are taken from, and how many a fold has. num_images: by source."""
    if roles.fold is not None:
        num_labelled = num_images["train"] + num_images.get("val", 0)
        num_fold = round(num_labelled / roles.fold.of)
        return round(roles.val_share * (num_labelled - num_fold)), num_fold
    return num_images.get("val") or round(roles.val_share * num_images["train"]), 0


def probed_px(images: Sequence[SourceImage], max_megapixels: float) -> float:
    """Return the mean number of pixels of some images spread over a list; 0.0 when no header can be read."""
    found = []
    for image in images[:: max(1, len(images) // NUM_PROBED)][:NUM_PROBED]:
        try:
            header = probe_image(image.path(), max_megapixels)
        except DataError:
            continue
        found.append(header.width * header.height)
    return sum(found) / max(1, len(found))
