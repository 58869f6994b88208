"""The page of a labelling measurement: caveats first, then the goals, then what each figure is made of."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.label_weights import MODELS_BY_NAME
from benchmarks.page import last_lines

GOAL_CUDA, GOAL_CASE_S, GOAL_RATE = 15.0, 30.0, 0.6
GOAL_AGREEMENT, GOAL_MIOU_POINTS = 0.995, 0.1
OURS, THEIRS = "segloop", "mmseg"
CAVEATS = """Read with care. One machine, one measurement. mmseg is `SegTTAModel` on its `TestTimeAug` pipeline
(LoadImageFromFile, Resize with kept proportions, RandomFlip, PackSegInputs), batch 1, eval and inference mode,
decoding included; it gives label maps in memory and writes nothing. segloop gives label maps, confidence and
statistics and writes them to a predictions file, all of it timed. Same weights, same photos, same number of threads,
each way in a process of its own, whose OpenMP threads sleep when idle; photos go to them in groups, one way after the
other, the order alternating. The first group is not counted: compiling and other preparations are listed apart.
Weights are from short trainings on 49 photos, one seed; they serve to compare label maps, and their mIoU is that of
the photos counted here: no set that anybody scores."""


def page(result: Mapping[str, Any], stamp: str) -> str:
    """Return the result as a page."""
    models: dict[str, Any] = result["models"]
    before = result["before"]
    lines = [
        f"# Labelling with test-time augmentation, against mmsegmentation's own, {stamp}",
        "",
        CAVEATS,
        "",
        *device_lines(result),
        "",
        *speed_table(models, before),
        "",
        *verdicts(models, result["device"]),
        "",
        "## Are the label maps the same?",
        "",
        *label_table(models),
        "",
        "## What it takes to begin, and memory",
        "",
        *start_table(models),
        "",
        "## How far from the device's arithmetic",
        "",
        *rate_table(models),
        "",
        *(line for name, model in models.items() for line in profile_lines(name, model)),
        *([result["notes"]] if result["notes"] else []),
        *last_lines(result["environment"], "label" + " --device cuda" * (result["device"] != "CPU")),
    ]
    return "\n".join(lines)


def device_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what it ran on, under which load, and what it could not show."""
    first = next(iter(result["models"].values()))
    sizes = "/".join(map(str, first["views"]["sizes"]))
    flipped = ", each also mirrored" if first["views"]["flip"] else ""
    load = f"{result['load_before']:.1f} before, {result['load_after']:.1f} after"
    lines = [
        f"On {result['device']}, {result['threads']} threads; views of {sizes} px{flipped}. Load {load}.",
        f"The engine was told to expect {result['expected_images']:,} images: what it prepares follows from that.",
    ]
    if result["device"] == "CPU" and first["ways"][OURS]["precision"] == "fp32":
        lines.append("This processor has no units for bf16: both ways compute in fp32.")
    if result["device"] == "CPU":
        lines.append(
            "No GPU was at hand, so its goals are open; `python -m benchmarks label --device cuda` measures them."
        )
    return lines


def title(name: str) -> str:
    """Return what people call a model."""
    return MODELS_BY_NAME[name].title


def of(model: Mapping[str, Any], way: str, figure: str = "wall_s") -> list[float]:
    """Return a figure of a way, group by group."""
    return [group[way][figure] for group in model["groups"]]


def ratios(model: Mapping[str, Any], way: str = THEIRS, figure: str = "wall_s") -> list[float]:
    """Return how many times as long a way took as our engine, group by group."""
    return [theirs / ours for theirs, ours in zip(of(model, way, figure), of(model, OURS, figure), strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return median, least and most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} … {max(values):.{digits}f})"


def speed_table(models: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[str]:
    """Return seconds and ratios, medians of groups with least and most."""
    head = ["model", "way", "photos", "s an image", "CPU s an image", "segloop is times as fast", "by CPU time"]
    head += [] if before is None else [f"times as fast before, at {before['environment']['commit'][:7]}"]
    lines = [row(*head), "|---" * len(head) + "|"]
    for name, model in models.items():
        num_images = len(model["groups"]) * model["group_images"]
        for way in model["ways"]:
            cells = [title(name), way, str(num_images), spread(of(model, way), 3), spread(of(model, way, "cpu_s"), 3)]
            cells += (
                ["", ""] if way == OURS else [f"**{spread(ratios(model, way))}**", spread(ratios(model, way, "cpu_s"))]
            )
            lines.append(row(*cells, *([] if before is None else [earlier(before, name, way)])))
    return lines


def earlier(before: Mapping[str, Any], name: str, way: str) -> str:
    """Return the cell of an earlier result."""
    model = before["models"].get(name)
    return "" if model is None or way == OURS or way not in model["ways"] else spread(ratios(model, way))


def row(*cells: str) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def verdicts(models: Mapping[str, Any], device: str) -> list[str]:
    """Return whether each goal was reached, as sentences."""
    lines = []
    for name, model in models.items():
        goal = MODELS_BY_NAME[name].goal_cpu if device == "CPU" else GOAL_CUDA
        ratio = statistics.median(ratios(model))
        lines.append(verdict(f"{title(name)}: {ratio:.2f} times as fast", ratio >= goal, f"at least {goal:g}"))
        if device != "CPU":
            share, seconds = rate_share(model), model["case"]["wall_s"]
            lines.append(verdict(f"{share:.0%} of the measured matmul rate", share >= GOAL_RATE, f"{GOAL_RATE:.0%}"))
            what = f"{model['case']['num_images']} images in {seconds:.1f} s, preparation not counted"
            lines.append(verdict(what, seconds < GOAL_CASE_S, f"under {GOAL_CASE_S:g} s"))
    for name, model in models.items():
        labels = model["labels"]
        same, points = labels["agreement"], miou_points(model)
        lines.append(
            verdict(f"{title(name)}: {same:.4%} of pixels agree", same >= GOAL_AGREEMENT, f"{GOAL_AGREEMENT:.1%}")
        )
        within = abs(points) <= GOAL_MIOU_POINTS
        lines.append(
            verdict(f"{title(name)}: mIoU differs by {points:+.3f} points", within, f"within {GOAL_MIOU_POINTS}")
        )
    return lines


def verdict(text: str, met: bool, goal: str) -> str:
    """Return a goal as a line of a list."""
    return f"- {text}: {'reached' if met else 'NOT reached'} (goal: {goal})."


def miou_points(model: Mapping[str, Any]) -> float:
    """Return our mIoU minus mmseg's, in points."""
    return float(100 * (model["labels"]["miou"][OURS] - model["labels"]["miou"][THEIRS]))


def label_table(models: Mapping[str, Any]) -> list[str]:
    """Return agreement and scores."""
    lines = [row("model", "weights", "photos", "pixels that agree", "mIoU mmseg", "mIoU segloop", "difference, points")]
    lines.append("|---" * 7 + "|")
    for name, model in models.items():
        labels = model["labels"]
        scores = [f"{100 * labels['miou'][way]:.3f}" for way in (THEIRS, OURS)]
        cells = [title(name), MODELS_BY_NAME[name].weights, str(labels["num_images"]), f"{labels['agreement']:.4%}"]
        lines.append(row(*cells, *scores, f"{miou_points(model):+.3f}"))
    return lines


def start_table(models: Mapping[str, Any]) -> list[str]:
    """Return start-up, warm-up and memory, and after how many images the longer preparation is paid back."""
    lines = [
        row(
            "model",
            "way",
            "start, s",
            "first group beyond a later one, s",
            "pays after images",
            "peak memory, MB",
            "how",
        )
    ]
    lines.append("|---" * 7 + "|")
    for name, model in models.items():
        for way, figures in model["ways"].items():
            peak = figures["peak"]
            memory = f"{peak['resident_mb']:.0f}" + (f", CUDA {peak['cuda_mb']:.0f}" if "cuda_mb" in peak else "")
            pays = pays_after(model) if way == OURS else ""
            cells = [title(name), way, f"{figures['start_s']:.1f}", f"{beyond(model, way):.1f}", pays, memory]
            lines.append(row(*cells, figures["description"]))
    return lines


def beyond(model: Mapping[str, Any], way: str) -> float:
    """Return how much longer the first group took than a later one, in seconds."""
    usual_s: float = statistics.median(of(model, way)) * model["group_images"]
    return max(0.0, float(model["ways"][way]["warm_up_s"]) - usual_s)


def pays_after(model: Mapping[str, Any]) -> str:
    """Return from how many images on our engine is the faster one, its preparations counted."""
    ours, theirs = (model["ways"][way]["start_s"] + beyond(model, way) for way in (OURS, THEIRS))
    gain = statistics.median(of(model, THEIRS)) - statistics.median(of(model, OURS))
    return "never" if gain <= 0 else str(max(1, 1 + int((ours - theirs) / gain)))


def rate_share(model: Mapping[str, Any]) -> float:
    """Return the model's operations a second by the rate of matrix products measured in the same run."""
    return float(model["flops_per_image"] / statistics.median(of(model, OURS)) / model["matmul_flops"])


def rate_table(models: Mapping[str, Any]) -> list[str]:
    """Return operations, and the share of the measured rate."""
    lines = [
        "Operations of the network as mmseg builds it, over all views of one image; the rate is that of large matrix",
        "products in the engine's number format, measured in the same run. What an engine need not compute counts as",
        "speed, so the share may pass 100 %.",
        "",
        row("model", "TFLOP an image", "format", "matrix products, TFLOP/s", "share reached by segloop", "by mmseg"),
        "|---" * 6 + "|",
    ]
    for name, model in models.items():
        theirs = rate_share(model) / statistics.median(ratios(model))
        cells = [f"{model['flops_per_image'] / 1e12:.3f}", model["ways"][OURS]["precision"]]
        rate = f"{model['matmul_flops'] / 1e12:.3f}"
        lines.append(row(title(name), *cells, rate, f"{rate_share(model):.0%}", f"{theirs:.0%}"))
    return lines


def profile_lines(name: str, model: Mapping[str, Any]) -> list[str]:
    """Return where the engine's time goes."""
    found = model["profile"]
    lines = [
        f"### Where segloop's time goes: {title(name)}",
        "",
        f"Operations: {found['busy']:.0%} of the clock's time.",
    ]
    lines += ["", row("operation", "share", "calls"), "|---" * 3 + "|"]
    for operation in found["operations"]:
        label = operation["operation"].replace("|", "/")[:80]
        lines.append(row(f"`{label}`", f"{operation['share']:.1%}", str(operation["calls"])))
    return [*lines, ""]
