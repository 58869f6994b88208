"""How the C library hands out memory on the host."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
KEPT_BYTES = 2**31 - 1  # the most that mallopt, which takes an int, can be told
LARGEST_KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Let this process keep memory that it freed for the next layer, before other threads start; in glibc only.

    By default blocks over 32 MB go back to the kernel at once and come back as pages that it has to clear, one fault
    each 4 kB, some 60,000 an image of labelling with EfficientNet-Lite0. One arena for all threads is the smaller heap.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    for option, value in ((M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_ARENA_MAX, 1)):
        mallopt(option, value)
