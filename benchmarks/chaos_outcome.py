"""What a run came to, and in what two runs differ."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from segcore.data.label_maps import LabelMaps
from segcore.store.events import read_events
from segcore.store.verify import verify_run


def units_of(run_dir: Path) -> dict[str, Any]:
    """Return how often a run was started, and its units of work: steps begun again, steps made twice."""
    events = list(read_events(run_dir))
    begun = Counter(event["place"] for event in events if event["event"] == "step_started")
    done = Counter(event["place"] for event in events if event["event"] == "step_done")
    quarantine = run_dir / "quarantine"
    return {
        "starts": sum(event["event"] == "opened" for event in events),
        "begun_again": sum(count - 1 for count in begun.values()),
        "made_twice": sum(count - 1 for count in done.values()),
        "quarantined": len(list(quarantine.iterdir())) if quarantine.exists() else 0,
        "whole": verify_run(run_dir).whole,
    }


def compare(undisturbed: Path, killed: Path) -> dict[str, Any]:
    """Return which parts of two runs differ, and in how many pixels their final label maps do."""
    one, other = outcome(undisturbed), outcome(killed)
    return {
        "differing": [name for name in one if one[name] != other[name]],
        "differing_pixels": differing_pixels(final_maps(undisturbed), final_maps(killed)),
    }


def outcome(run_dir: Path) -> dict[str, Any]:
    """Return what must not depend on kills."""
    rounds = [json.loads(path.read_text()) for path in sorted(run_dir.glob("round_??/round.json"))]
    thresholds = sorted(run_dir.glob("*/pseudo_labels.*/thresholds.json"))
    return {
        "weights": [record["student"]["digest"] for record in rounds],
        "decisions": [record["decision"] for record in rounds],
        "scores": [record["score"] for record in rounds],
        "thresholds": [json.loads(path.read_text()) for path in thresholds],
        "annotations": (run_dir / "outputs" / "annotations.json").read_text(),
        "submission": (run_dir / "outputs" / "submission.csv").read_text(),
        "names of steps": sorted(path.parent.relative_to(run_dir).as_posix() for path in manifests(run_dir)),
    }


def manifests(run_dir: Path) -> list[Path]:
    """Return the manifests of published steps."""
    found = [path.relative_to(run_dir) for path in run_dir.glob("**/manifest.json")]
    return [run_dir / path for path in found if path.parts[0] != "quarantine"]


def final_maps(run_dir: Path) -> Path:
    """Return the label maps of the final pseudo-labels."""
    return max(run_dir.glob("final/pseudo_labels.????????/label_maps.arrow"), key=lambda path: path.stat().st_mtime_ns)


def differing_pixels(one: Path, other: Path) -> int:
    """Return how many pixels of two files of label maps differ; those of an image that only one has count whole."""
    first, second = LabelMaps(one), LabelMaps(other)
    both = set(first.ids()) & set(second.ids())
    num = sum(int(np.count_nonzero(first[name] != second[name])) for name in both)
    num += sum(maps[name].size for maps in (first, second) for name in set(maps.ids()) - both)
    first.close()
    second.close()
    return num
