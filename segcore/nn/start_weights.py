"""Weights that a student starts from: of a whole model or of its backbone alone, reported, never partial in silence."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mmseg
from mmengine.runner.checkpoint import get_external_models
from mmseg.models import BaseSegmentor

from segcore.errors import CheckpointError
from segcore.nn.presets import start_file
from segcore.nn.presets.published import downloaded
from segcore.nn.weights import REBUILT, State, WeightReport, apply_weights, load_foreign
from segcore.process.jobs import ModelSpec

CONVERTERS = Path(mmseg.__file__).parent / ".mim" / "tools" / "model_converters"  # mmseg's, which it does not import
NEW_PARTS = {  # tensors that published weights of a backbone never hold: norms of maps that classification does not use
    "SwinTransformer": ("norm0.", "norm1.", "norm2.", "norm3."),
    "HuggingFaceBackbone": ("hidden_states_norms.",),
    # nothing says which of its branches the classifier had; stem and context branch it must have had
    "PIDNet": ("p_branch_layers.", "d_branch_layers.", "compression_", "diff_", "pag_", "spp.", "dfm."),
}


def apply_start_weights(network: BaseSegmentor, path: Path, source: str) -> WeightReport:
    """Load a whole model's or a backbone's weights, whichever the file holds; it is logged how they fitted.

    source: what the config calls them. Raises CheckpointError if a tensor of the backbone is not there.
    """
    state = load_foreign(path)
    if any(name.removeprefix("module.").startswith("decode_head.") for name in state):
        report, prefix = apply_weights(network, state, source), "backbone."
    elif hasattr(network.backbone, "load_published"):
        report, prefix = network.backbone.load_published(state, source), ""
    else:
        report, prefix = apply_weights(network.backbone, as_in_mmseg(network.backbone, state), source), ""
    refuse_gaps(network.backbone, report, prefix, source)
    return report


def refuse_gaps(backbone: Any, report: WeightReport, prefix: str, source: str) -> None:
    """Raise CheckpointError if tensors of the backbone keep random values that published weights always hold."""
    new = NEW_PARTS.get(type(backbone).__name__, ())
    gaps = [
        name
        for name in (*report.missing, *report.reshaped)
        if name.startswith(prefix) and not name.removeprefix(prefix).startswith(new) and not name.endswith(REBUILT)
    ]
    if gaps:
        raise CheckpointError(
            f"weights {source}: must hold every tensor of the backbone {type(backbone).__name__}, but {len(gaps)} are "
            f"not there or of another shape ({', '.join(gaps[:3])}{' …' if len(gaps) > 3 else ''}); {report}. "
            "Give the weights of this very network and size, or null for random ones"
        )


def as_in_mmseg(backbone: Any, state: State) -> State:
    """Return weights under mmseg's names; those of the authors of Swin and SegFormer go through mmseg's converters."""
    kind = type(backbone).__name__
    if kind == "SwinTransformer" and "layers.0.blocks.0.attn.qkv.weight" in state:
        return converter("swin2mmseg", "convert_swin")(state)
    if kind == "MixVisionTransformer" and "block1.0.attn.q.weight" in state:
        return converter("mit2mmseg", "convert_mit")(state)
    return state


def converter(module: str, function: str) -> Callable[[State], State]:
    """Return a function of a script that mmseg brings beside its package."""
    spec = importlib.util.spec_from_file_location(module, CONVERTERS / f"{module}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    found: Callable[[State], State] = getattr(loaded, function)
    return found


def weights_path(spec: ModelSpec, named: Sequence[str]) -> Path:
    """Return the file that model.weights, not null, stands for. named: what a config file itself would load."""
    found = start_file(spec.preset, spec.weights)
    if found is not None:
        return found
    for source in named:
        if Path(source).is_file():
            return Path(source)
        url = get_external_models().get(source.removeprefix("open-mmlab://"), source)
        if url.startswith(("http://", "https://")):
            return downloaded(url)
    raise CheckpointError(
        f"model.weights 'imagenet' is known for presets only, and {spec.config} names {list(named) or 'no weights'}; "
        "download them and give the file as model.weights, or null for random weights"
    )
