"""How many GPUs there are, asked without importing torch here."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from segcore.errors import StepError

DEVICE_FILES = Path("/dev")
COUNT_TIMEOUT_S = 120.0


def has_several_gpus() -> bool:
    """Return whether there are device files of more than one NVIDIA GPU: a cheap look before torch is asked."""
    return len([path for path in DEVICE_FILES.glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()]) > 1


@lru_cache(maxsize=1)
def num_gpus() -> int:
    """Return how many GPUs torch sees, asked in a process of its own, which obeys CUDA_VISIBLE_DEVICES as all do."""
    command = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COUNT_TIMEOUT_S, check=True)
        return int(done.stdout.split()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise StepError(
            f"torch could not be asked for the GPUs ({error}); name one by runtime.device, e.g. cuda:0"
        ) from None
