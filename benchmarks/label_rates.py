"""How much arithmetic labelling an image is, how fast the device multiplies, and where an engine's time goes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.label_ways import Images, opened

MATRIX_PX = {"cpu": 2048, "cuda": 8192}
NUM_PRODUCTS = 20
NUM_OPERATIONS = 15  # lines of a profile


def model_flops(config: str, sizes: Sequence[int], flip: bool) -> float:
    """Return the floating-point operations of a network over all views of a square image.

    Counted on the network as mmseg builds it, without data; resizing and softmax of the logits are not counted, and an
    engine that saves some of these operations counts as faster, not as doing less.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from segcore.nn.networks import build_network, read_config

    network = build_network(read_config(Path(config))).to("meta").eval()
    total = 0
    for size in sizes:
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            network.decode_head(network.backbone(torch.empty(1, 3, size, size, device="meta")))
        total += counter.get_total_flops() * (1 + flip)
    return float(total)


def matmul_rate(device: str, precision: str) -> float:
    """Return the operations a second of large matrix products on the device: the median of many."""
    import torch

    side = MATRIX_PX[device]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(NUM_PRODUCTS):
        wait(device)
        started = time.perf_counter()
        torch.mm(a, b)
        wait(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(seconds)


def wait(device: str) -> None:
    """Wait until the device has done all it was given."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def profile(images: Images, device: str) -> dict[str, Any]:
    """Label images under torch's profiler, in the process of an opened way; return the operations that take longest.

    busy: seconds of all operations by those of the clock; on CUDA, below 1 the device waits. shares: of busy time. On a
    CPU one lane works, on all threads: shares are those of labelling, its speed is not.
    """
    import torch
    from torch.profiler import ProfilerActivity

    cuda = device == "cuda"
    opened["way"].use_one_thread_of_python()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    started = time.perf_counter()
    with torch.profiler.profile(activities=activities) as profiler:
        opened["way"].label(images)
        wait(device)
        wall_s = time.perf_counter() - started
    found = profiler.key_averages()
    events = [event for event in found if event.device_type.name == device.upper() and not event.is_user_annotation]
    times = {event.key: event.self_device_time_total if cuda else event.self_cpu_time_total for event in events}
    total = sum(times.values())
    longest = sorted(times, key=lambda name: -times[name])[:NUM_OPERATIONS]
    calls = {event.key: event.count for event in events}
    rows = [{"operation": name, "share": times[name] / total, "calls": calls[name]} for name in longest]
    return {"busy": total / 1e6 / wall_s, "operations": rows}
