"""The doctor's child: `python -m segcore.nn.doctor_process` prints one JSON line on what torch and mmseg can do here.

{"errors": [{"what", "error"}], "devices": [...], "weights": {preset: path or null}}. It always ends with exit code 0
unless the interpreter itself dies.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

from segcore.errors import CheckpointError
from segcore.nn.devices import be_a_good_neighbour
from segcore.nn.known_warnings import silence_known_warnings

MODULES = ("torch", "mmengine", "mmcv", "mmseg", "mmseg.models", "segcore.nn.efficientnet_lite")


def main() -> int:
    """Print what was found; return the exit status."""
    silence_known_warnings()
    be_a_good_neighbour()
    errors = [error for name in MODULES if (error := import_error(name)) is not None]
    found = {"errors": errors, "devices": [] if errors else devices(), "weights": preset_weights()}
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def import_error(name: str) -> dict[str, str] | None:
    """Return why a module cannot be imported; None when it can."""
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken installation raises all sorts
        return {"what": name, "error": f"{type(error).__name__}: {error}"}
    return None


def devices() -> list[str]:
    """Return the devices torch sees, the CPU last."""
    import torch

    names = [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    return [*names, f"cpu with {os.cpu_count()} cores"]


def preset_weights() -> dict[str, Any]:
    """Return, by preset, the path of its published weights; None where they are not on this machine."""
    from segcore.nn.presets import PRESETS

    found: dict[str, Any] = {}
    for name, preset in PRESETS.items():
        try:
            path = preset.weights.find()
            found[name] = str(path) if path.is_file() else None
        except CheckpointError:
            found[name] = None
    return found


if __name__ == "__main__":
    sys.exit(main())
