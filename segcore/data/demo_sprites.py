"""What every demo object is drawn with: the Sprite record, canvas coordinates, round shapes and bare metal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from segcore.data.demo_textures import Array, cell_noise, creases, mix


@dataclass(frozen=True)
class Sprite:
    """One object, seen from above, its long axis along x.

    albedo: (H, W, 3) float32 RGB in [0, 1]. cover: (H, W) float32 in [0, 1], 1 inside the outline.
    opacity: (H, W) float32 in [0, 1], how much of what lies below is hidden inside the outline.
    height: (H, W) float32, px over the ground. gloss: strength of highlights. sharpness: their exponent.
    """

    albedo: Array
    cover: Array
    opacity: Array
    height: Array
    gloss: float
    sharpness: float


@dataclass(frozen=True)
class Canvas:
    """Coordinates of a sprite: u in [-1.1, 1.1] along the axis, v across, both (H, W) float32; half: px per unit."""

    u: Array
    v: Array
    half: float

    @property
    def shape(self) -> tuple[int, int]:
        """Return (H, W)."""
        return (self.u.shape[0], self.u.shape[1])


def canvas(length_px: float, breadth: float) -> Canvas:
    """Return the canvas of an object length_px long and breadth times as broad."""
    half = length_px / 2
    rows, columns = max(8, round(2.2 * half * breadth)), max(8, round(2.2 * half))
    limit = 1.1 * breadth
    v, u = np.mgrid[-limit : limit : rows * 1j, -1.1 : 1.1 : columns * 1j].astype(np.float32)
    return Canvas(u, v, half)


def soft(inside_by: Array, half: float) -> Array:
    """Return coverage in [0, 1] of a signed distance (units of u) with an edge of about one pixel."""
    return np.asarray(np.clip(inside_by * half + 0.5, 0, 1), np.float32)


def tube(radius: Array, area: Canvas) -> Array:
    """Return the height in px of a round body with the given radius (units of u) at each pixel."""
    return np.asarray(np.sqrt(np.maximum(radius**2 - area.v**2, 0)) * area.half, np.float32)


def wrap(art: Array, area: Canvas, radius: Array) -> Array:
    """Return art wrapped round a tube: its rows follow the angle, its columns the axis."""
    angle = np.arcsin(np.clip(area.v / np.maximum(radius, 1e-3), -1, 1)) / np.pi + 0.5
    columns = (area.u + 1) / 2 * (art.shape[1] - 1)
    turned = cv2.remap(
        art, columns, angle.astype(np.float32) * (art.shape[0] - 1), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(turned, np.float32)


def metal(rng: np.random.Generator, area: Canvas, radius: Array) -> Array:
    """Return (H, W, 3) of bare metal: a blurred room mirrored in bands along a tube."""
    turn = np.arcsin(np.clip(area.v / np.maximum(radius, 1e-3), -1, 1))
    bands = (
        0.55
        + 0.25 * np.cos(turn * rng.uniform(3, 6) + rng.uniform(0, 6))
        + 0.15 * np.cos(turn * 11 + rng.uniform(0, 6))
    )
    scratches = cell_noise(rng, area.shape, (3, 60)) * 0.1
    return mix((0.30, 0.31, 0.33), (0.90, 0.90, 0.91), np.clip(bands + scratches, 0, 1))


def smooth_step(x: Array, low: float, high: float) -> Array:
    """Return 0 below low, 1 above high, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def dented(rng: np.random.Generator, area: Canvas, crush: float) -> Array:
    """Return an (H, W) height map of dents in px; crush: 0 as new, 1 trodden on."""
    return creases(rng, area.shape, 8) * np.float32(crush * area.half * 0.22)


Draw = Callable[[np.random.Generator, float, int, float], Sprite]  # generator, length in px, style, crush in [0, 1]
