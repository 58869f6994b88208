"""Vote over results that exist: predictions files, or competition CSVs, of several models for the same images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segcore.errors import ConfigError, DataError
from segcore.outputs.submission import write_rows
from segcore.outputs.submission_rows import SubmissionRows
from segcore.pseudo.confidence import quantise
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.pseudo.predictions_by_id import PredictionsById
from segcore.pseudo.voting import Map, voted
from segcore.steps.ensemble import matched_weights

PARQUET, CSV = ".parquet", ".csv"
UNFINISHED = (".work", ".resume")


@dataclass(frozen=True)
class VoteSpec:
    """Results to vote over: files, or folders that hold predictions files. weights: one for each, or none for equal."""

    members: tuple[str, ...]
    out: str
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class VoteSummary:
    """What was written. unanimous: share of the pixels on which all members agree."""

    num_images: int
    unanimous: float
    out: str


@dataclass(frozen=True)
class Members:
    """The results that vote. names: as the user gave them. files: of each. weights: one for each."""

    names: tuple[str, ...]
    files: Sequence[Sequence[Path]]
    weights: tuple[float, ...]


@dataclass
class Agreement:
    """Pixels counted while a vote goes on. unanimous: those on which all members agree."""

    num_pixels: int = 0
    unanimous: int = 0

    def add(self, shares: NDArray[np.float32]) -> None:
        """Count the pixels of one image. shares: of the weight, in (0, 1]."""
        self.num_pixels += shares.size
        self.unanimous += int((shares == 1).sum())


def vote(spec: VoteSpec) -> VoteSummary:
    """Write the weighted majority of several results in their own format, image by image.

    Images are joined by id. ConfigError or DataError when results are of different kinds, images or sizes.
    """
    if len(spec.members) < 2:
        raise ConfigError(f"a vote needs at least two results, got {len(spec.members)}")
    weights = matched_weights(spec.weights, len(spec.members))
    files = [files_of(Path(member)) for member in spec.members]
    out = checked_out(Path(spec.out), files)
    part, agreement = out.with_name(f".{out.name}.part"), Agreement()
    join = join_predictions if out.suffix == PARQUET else join_rows
    try:
        num_images = join(Members(spec.members, files, weights), part, agreement)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return VoteSummary(num_images, agreement.unanimous / max(1, agreement.num_pixels), str(out))


def join_predictions(members: Members, part: Path, agreement: Agreement) -> int:
    """Write the majority of predictions files; return the number of images."""
    predictions = [PredictionsById(paths) for paths in members.files]
    image_ids = require_same_images(members.names, [member.places for member in predictions])
    with PredictionWriter(part) as writer:
        for image_id in image_ids:
            writer.write(voted_prediction([member[image_id] for member in predictions], members.weights, agreement))
    return len(image_ids)


def join_rows(members: Members, part: Path, agreement: Agreement) -> int:
    """Write the majority of CSVs; return the number of images."""
    rows = [SubmissionRows(paths[0]) for paths in members.files]
    image_ids = require_same_images(members.names, [member.places for member in rows])
    write_rows(part, image_ids, voted_rows(rows, image_ids, members.weights, agreement))
    return len(image_ids)


def files_of(member: Path) -> list[Path]:
    """Return the files of one result: itself, or the predictions files in a folder."""
    if not member.is_dir():
        if not member.is_file():
            raise DataError(f"{member}: expected a predictions file, a folder of them or a CSV, found nothing")
        return [member]
    found = [
        path
        for path in sorted(member.rglob(f"*{PARQUET}"))
        if path.name.startswith("predictions") and not path.parent.name.endswith(UNFINISHED)
    ]
    if not found:
        raise DataError(f"{member}: expected predictions{PARQUET} in it, found none")
    return found


def checked_out(out: Path, files: Sequence[Sequence[Path]]) -> Path:
    """Return the file to write; ConfigError unless it is of the members' one kind, and none of them."""
    kinds = sorted({path.suffix for paths in files for path in paths})
    if len(kinds) != 1 or kinds[0] not in (PARQUET, CSV):
        raise ConfigError(f"results that vote must all be {PARQUET} or all {CSV}, got {', '.join(kinds)}")
    if out.suffix != kinds[0]:
        raise ConfigError(f"--out must be a {kinds[0]} file like the results that vote, got {out}")
    if any(out.resolve() == path.resolve() for paths in files for path in paths):
        raise ConfigError(f"--out must be another file than the results that vote, got {out}")
    return out


def require_same_images(names: Sequence[str], places: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """Return the image ids in the order of the first result; DataError unless all results hold the same."""
    for name, other in zip(names[1:], places[1:], strict=True):
        missing, extra = places[0].keys() - other.keys(), other.keys() - places[0].keys()
        if missing or extra:
            which, lost = (name, missing) if missing else (names[0], extra)
            raise DataError(
                f"{which}: must hold the same images as the other results, but {len(lost)} are missing, the first is "
                f"{min(lost)!r}; predict them too, or vote over the images all have"
            )
    return tuple(places[0])


def voted_prediction(members: Sequence[Prediction], weights: Sequence[float], agreement: Agreement) -> Prediction:
    """Return the majority of predictions of one image; its confidence is the share of the weight that is for it."""
    label_map, share = voted(checked_maps(members[0].image_id, [member.label_map for member in members]), weights)
    agreement.add(share)
    return Prediction(members[0].image_id, label_map, quantise(share), voted_small(members, weights))


def voted_small(members: Sequence[Prediction], weights: Sequence[float]) -> Map | None:
    """Return the majority of the small label maps; None when no member has one."""
    small = [member.small_label_map for member in members if member.small_label_map is not None]
    if not small:
        return None
    if len(small) != len(members):
        raise DataError(f"{members[0].image_id}: either all results must have label maps for a submission, or none")
    return voted(checked_maps(members[0].image_id, small), weights)[0]


def voted_rows(
    members: Sequence[SubmissionRows], image_ids: Sequence[str], weights: Sequence[float], agreement: Agreement
) -> Iterator[Map]:
    """Yield the majority of each image's rows, (h * w) uint8."""
    for image_id in image_ids:
        label_map, share = voted(checked_maps(image_id, [member[image_id] for member in members]), weights)
        agreement.add(share)
        yield label_map


def checked_maps(image_id: str, maps: Sequence[Map]) -> Sequence[Map]:
    """Return the maps of one image; DataError unless they are of one size."""
    shapes = [" x ".join(map(str, one.shape)) for one in maps]
    if len(set(shapes)) > 1:
        raise DataError(f"{image_id}: results that vote must be of one size, got {', '.join(shapes)} px")
    return maps
