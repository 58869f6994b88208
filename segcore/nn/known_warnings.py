"""Warnings of the libraries underneath that nobody here can act on. Must be importable before torch."""

from __future__ import annotations

import warnings


def silence_known_warnings() -> None:
    """Ignore what mmcv, mmengine and mmseg say at import and build time on every run; all else still shows."""
    warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``", category=UserWarning)
