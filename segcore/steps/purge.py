"""Take a teacher's pseudo-labels out of a run, with everything that was made from them, so that they are made anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcore.errors import RunError
from segcore.steps.references import content_hashes, readable_manifests, strings_in
from segcore.store.events import append_event
from segcore.store.layout import RunLayout
from segcore.store.manifest import Manifest
from segcore.store.quarantine import set_aside

MIN_DIGEST_CHARS = 8


@dataclass(frozen=True)
class Descendants:
    """What descends from a teacher. steps: published folders, what was made from them after them. rounds: their
    round.json files."""

    teacher: str
    steps: tuple[Path, ...]
    rounds: tuple[Path, ...]


def descendants_of(run_dir: Path, digest: str, itself: bool = False) -> Descendants:
    """Return everything that was made from a teacher's labels. digest: sha256 of its weights, or how that begins.

    itself: the training of the teacher too, so that it is trained anew. RunError when no checkpoint of the run, or
    more than one, has this digest.
    """
    manifests = readable_manifests(run_dir)
    teacher = named_teacher(manifests, digest)
    own = trainings_of(manifests, teacher) if itself else []
    begun = [
        folder
        for folder, manifest in manifests.items()
        if teacher in strings_in(manifest.inputs) and (itself or manifest.kind != "evaluate")
    ]
    steps = with_downstream([*own, *begun], manifests)
    rounds = {run_dir / folder.relative_to(run_dir).parts[0] / "round.json" for folder in steps}
    return Descendants(teacher, tuple(steps), tuple(sorted(path for path in rounds if path.is_file())))


def trainings_of(manifests: Mapping[Path, Manifest], teacher: str) -> list[Path]:
    """Return the steps that published a teacher's weights; of an ensemble, the trainings of its models too."""
    own = [folder for folder, manifest in manifests.items() if weights_of(manifest) == teacher]
    named = {text for folder in own if manifests[folder].kind == "ensemble" for text in weights_in(manifests[folder])}
    return [folder for folder, manifest in manifests.items() if weights_of(manifest) in named | {teacher}]


def weights_in(ensemble: Manifest) -> Iterator[str]:
    """Yield the digests of the models that an ensemble was made of."""
    inputs: Any = ensemble.inputs
    yield from (member["weights"] for member in inputs["members"])


def named_teacher(manifests: Mapping[Path, Manifest], digest: str) -> str:
    """Return the full digest of the one checkpoint that a digest's beginning means."""
    known = {text for text in map(weights_of, manifests.values()) if text is not None}
    found = sorted(text for text in known if text.startswith(digest.lower()))
    if len(digest) < MIN_DIGEST_CHARS or len(found) != 1:
        shown = ", ".join(text[:12] for text in sorted(known)) or "none"
        raise RunError(
            f"--teacher must be at least {MIN_DIGEST_CHARS} hex digits that begin the digest of one checkpoint, got "
            f"{digest!r}, which begins {len(found)}; checkpoints of this run: {shown}"
        )
    return found[0]


def weights_of(manifest: Manifest) -> str | None:
    """Return the sha256 of the weights that a step published, None when it published none."""
    value = manifest.value
    return value.get("weights_sha256") if isinstance(value, dict) else None


def with_downstream(folders: list[Path], manifests: Mapping[Path, Manifest]) -> list[Path]:
    """Return folders and every step made from one of them, and so on; a step stands before those made from it."""
    found = list(dict.fromkeys(folders))
    bad = {text for folder in found for text in content_hashes(manifests[folder])}
    while True:
        new = [
            folder
            for folder, manifest in manifests.items()
            if folder not in found and not bad.isdisjoint(strings_in(manifest.inputs))
        ]
        if not new:
            return found
        found += new
        bad |= {text for folder in new for text in content_hashes(manifests[folder])}


def purge(run_dir: Path, found: Descendants) -> None:
    """Move what descends from a teacher to quarantine/, the youngest first: cut short, the rest is found again.

    Call with the run's lock held. outputs/ stay until the run is started again.
    """
    reason = f"purged: descends from teacher {found.teacher}"
    for path in found.rounds:
        set_aside(run_dir, path, reason)
    for folder in reversed(found.steps):
        set_aside(run_dir, folder, reason)
    append_event(run_dir, "purged", teacher=found.teacher, num_steps=len(found.steps))


def purge_lines(run_dir: Path, found: Descendants) -> list[str]:
    """Return what a purge moves, a line each."""
    layout = RunLayout(run_dir)
    return [f"  {layout.relative(path)}" for path in (*found.steps, *found.rounds)]
