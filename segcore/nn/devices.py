"""Which device, and which number format is fast on it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

from segcore.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]
FIRST_FAST_FP16 = (7, 0)  # compute capability of the first GPUs with matrix units, which know fp16 but not bf16
FAST_BF16_FLAGS = ("amx_bf16", "avx512_bf16")


def limit_visible_devices(device: str) -> None:
    """Hide all accelerators but the one named, before torch is imported: mmengine takes what it sees.

    device: "auto", "cpu", "cuda" or "cuda:<index>".
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device.startswith("cuda:"):
        index = device.removeprefix("cuda:")
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        if not index.isdigit() or (visible and int(index) >= len(visible)):
            raise ConfigError(f"runtime.device must be 'auto', 'cpu', 'cuda' or 'cuda:<index>', got {device!r}")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[int(index)] if visible else index
    elif device not in ("auto", "cuda"):
        raise ConfigError(f"runtime.device must be 'auto', 'cpu', 'cuda' or 'cuda:<index>', got {device!r}")


def be_a_good_neighbour() -> None:
    """Let idle OpenMP threads sleep, before torch is imported.

    By default they spin; two trainings on two cores then took 8 s for an iteration of 0.3 s.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def torch_device(device: str) -> str:
    """Return "cpu" or "cuda", after limit_visible_devices; raise ConfigError if CUDA was asked for and is not there."""
    import torch

    available = torch.cuda.is_available()
    if device.startswith("cuda") and not available:
        raise ConfigError(f"runtime.device is {device!r}, but torch {torch.__version__} sees no such device; use 'cpu'")
    return "cuda" if available and device != "cpu" else "cpu"


def resolve_precision(precision: str, device: str) -> Precision:
    """Return the number format in force: "auto" is bf16 where the device has units for it, else fp32."""
    if precision == "auto":
        return "bf16" if has_fast_bf16(device) else "fp32"
    return "bf16" if precision == "bf16" else "fp32"


def labelling_precision(precision: str, device: str) -> Precision:
    """Return the number format that labelling runs in: "auto" also takes fp16, where only that is fast.

    Training does not: gradients leave the range of fp16.
    """
    if precision == "fp16" or (precision == "auto" and not has_fast_bf16(device) and has_fast_fp16(device)):
        return "fp16"
    return resolve_precision(precision, device)


def has_fast_bf16(device: str) -> bool:
    """Return whether a device multiplies bf16 faster than fp32."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpu_info = Path("/proc/cpuinfo")
    return cpu_info.exists() and any(flag in cpu_info.read_text().split() for flag in FAST_BF16_FLAGS)


def has_fast_fp16(device: str) -> bool:
    """Return whether a device multiplies fp16 faster than fp32."""
    import torch

    return device == "cuda" and torch.cuda.get_device_capability() >= FIRST_FAST_FP16


def autocast(precision: Precision, device: str) -> AbstractContextManager[object]:
    """Return the context in which forward passes run."""
    import torch

    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device, torch.bfloat16 if precision == "bf16" else torch.float16)
