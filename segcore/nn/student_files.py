"""What a training publishes: bare weights under a fixed name, and a config with which plain mmseg opens them."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn

from segcore.nn.weights import bare_weights
from segcore.process.jobs import ModelSpec

WEIGHTS_FILE = "model.pth"
CONFIG_FILE = "model_config.py"


def write_student(out: Path, network: nn.Module, config: Config, spec: ModelSpec) -> None:
    """Write model.pth and model_config.py into out; equal weights give equal bytes."""
    write_weights(out / WEIGHTS_FILE, network, spec)
    config.dump(str(out / CONFIG_FILE))


def write_weights(path: Path, network: nn.Module, spec: ModelSpec) -> None:
    """Write a network's weights and the names of its classes; equal weights give equal bytes under one name."""
    meta = {"dataset_meta": {"classes": list(spec.class_names), "palette": [list(c) for c in spec.palette]}}
    torch.save({"state_dict": bare_weights(network), "meta": meta}, path)
