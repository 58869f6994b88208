"""Grounds on which demo waste lies: concrete, wood, conveyor belt, tiles, asphalt, grass, soil, leaves, cloth.

Each returns a Ground: what the surface looks like and how it is bent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from segcore.data.demo_textures import Array, Colour, cell_noise, creases, flat, fractal_noise, jitter, mix


@dataclass(frozen=True)
class Ground:
    """albedo: (H, W, 3) float32 RGB in [0, 1]. height: (H, W) float32, px."""

    albedo: Array
    height: Array


def draw_ground(kind: str, rng: np.random.Generator, side: int) -> Ground:
    """Return a (side, side) ground of the named kind. Raises KeyError for a kind that is not in GROUNDS."""
    return GROUNDS[kind](rng, side)


def _speckle(rng: np.random.Generator, side: int, amount: float) -> Array:
    """Return (side, side) grain with a standard deviation of about `amount`."""
    grain = cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), 0.9)
    return np.asarray(grain * (amount * 3), np.float32)


def _stained(rng: np.random.Generator, albedo: Array, darkest: float) -> Array:
    """Return the albedo with large soft stains; darkest: factor in the middle of a stain."""
    stain = np.clip((fractal_noise(rng, albedo.shape[:2], 3) - 0.5) * 4, 0, 1)
    return np.asarray(albedo * (1 - (1 - darkest) * stain[..., None]), np.float32)


def _concrete(rng: np.random.Generator, side: int) -> Ground:
    tone = rng.uniform(0.42, 0.68)
    albedo = flat((side, side), jitter(rng, (tone, tone * 0.98, tone * 0.94), 0.03))
    albedo = albedo * (0.75 + 0.5 * fractal_noise(rng, (side, side), 5, 5))[..., None]
    grain = _speckle(rng, side, 0.05)
    albedo = _stained(rng, albedo + grain[..., None], rng.uniform(0.6, 0.95))
    height = fractal_noise(rng, (side, side), 30, 3) * 1.5
    for _ in range(int(rng.integers(0, 3))):
        _crack(rng, albedo, height)
    return Ground(albedo, height)


def _crack(rng: np.random.Generator, albedo: Array, height: Array) -> None:
    """Draw one crack across the ground, in place."""
    side = albedo.shape[0]
    steps = np.cumsum(rng.normal(0, 9, 24))
    points = np.stack([np.linspace(-5, side + 5, 24), steps + rng.uniform(0.1, 0.9) * side], axis=1)
    points = points[:, ::-1] if rng.random() < 0.5 else points
    line = [points.round().astype(np.int32)]
    cv2.polylines(albedo, line, False, (0.2, 0.19, 0.18), 2, cv2.LINE_AA)
    cv2.polylines(height, line, False, -2.0, 3)


def _asphalt(rng: np.random.Generator, side: int) -> Ground:
    stones = rng.random((side // 2, side // 2), dtype=np.float32)
    stones = cv2.resize(stones, (side, side), interpolation=cv2.INTER_LINEAR)
    tone = rng.uniform(0.18, 0.34)
    albedo = flat((side, side), jitter(rng, (tone, tone, tone * 1.04), 0.04)) * (0.45 + 1.1 * stones)[..., None]
    return Ground(_stained(rng, albedo, rng.uniform(0.7, 1.2)), stones * 3)


def _wood(rng: np.random.Generator, side: int) -> Ground:
    light, dark = ((0.66, 0.46, 0.28), (0.42, 0.26, 0.14))
    if rng.random() < 0.35:
        light, dark = ((0.56, 0.52, 0.47), (0.36, 0.33, 0.30))
    light, dark = jitter(rng, light, 0.12), jitter(rng, dark, 0.12)
    grain = cell_noise(rng, (side, side), (90, 4)) * 0.6 + cell_noise(rng, (side, side), (28, 3)) * 0.4
    albedo = mix(light, dark, np.clip(grain * 1.6 - 0.3, 0, 1))
    height = grain * 1.5
    plank = side / rng.integers(3, 7)
    for seam in np.arange(rng.uniform(0, plank), side, plank):
        row = int(seam)
        albedo[row:] *= rng.uniform(0.88, 1.12)
        albedo[row : row + 3] *= 0.35
        height[row : row + 3] -= 4
    return Ground(np.clip(albedo, 0, 1), np.asarray(height, np.float32))


def _conveyor(rng: np.random.Generator, side: int) -> Ground:
    base: Colour = ((0.10, 0.11, 0.12), (0.10, 0.24, 0.18), (0.22, 0.26, 0.30))[int(rng.integers(3))]
    albedo = flat((side, side), jitter(rng, base, 0.1)) * (0.8 + 0.4 * fractal_noise(rng, (side, side), 4))[..., None]
    scuff = cell_noise(rng, (side, side), (60, 3))
    albedo = mix(albedo, (0.45, 0.43, 0.40), np.clip(scuff - 0.72, 0, 1) * rng.uniform(0.5, 1.5))
    y = np.arange(side, dtype=np.float32)[:, None]
    x = np.arange(side, dtype=np.float32)[None]
    pitch = rng.uniform(7, 24)
    height = (np.maximum(0, np.cos(x * 2 * np.pi / pitch)) * rng.uniform(0.3, 1.8) + 0 * y).astype(np.float32)
    if rng.random() < 0.4:
        rail = int(side * rng.uniform(0.06, 0.16))
        albedo[:rail] = jitter(rng, (0.50, 0.51, 0.52), 0.1)
        height[:rail] = 8
    return Ground(np.clip(albedo + _speckle(rng, side, 0.02)[..., None], 0, 1), height)


def _tiles(rng: np.random.Generator, side: int) -> Ground:
    base: Colour = ((0.80, 0.78, 0.72), (0.62, 0.42, 0.32), (0.70, 0.74, 0.76), (0.50, 0.50, 0.48))[
        int(rng.integers(4))
    ]
    pitch, seam = side / rng.uniform(2.2, 5.5), rng.uniform(2, 5)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    x, y = x + np.float32(rng.uniform(0, pitch)), y + np.float32(rng.uniform(0, pitch))
    tints = rng.normal(1, 0.05, (12, 12)).astype(np.float32)
    tint = tints[(y // pitch).astype(int) % 12, (x // pitch).astype(int) % 12]
    albedo = (
        flat((side, side), jitter(rng, base, 0.08))
        * (tint * (0.9 + 0.2 * fractal_noise(rng, (side, side), 6)))[..., None]
    )
    grout = ((x % pitch) < seam) | ((y % pitch) < seam)
    albedo[grout] = jitter(rng, (0.42, 0.40, 0.37), 0.15)
    height = cv2.GaussianBlur(np.where(grout, 0, 3).astype(np.float32), (0, 0), 1.2)
    return Ground(_stained(rng, np.clip(albedo, 0, 1), rng.uniform(0.75, 1.0)), height)


def _grass(rng: np.random.Generator, side: int) -> Ground:
    dry = rng.uniform(0, 0.7)
    albedo = mix((0.12, 0.14, 0.06), (0.20, 0.15, 0.09), fractal_noise(rng, (side, side), 8))
    height = np.zeros((side, side), np.float32)
    num = 2600
    roots, angles = rng.uniform(-10, side + 10, (num, 2)), rng.normal(-np.pi / 2, 0.9, num)
    lengths, tones, hues = rng.uniform(10, 34, num), np.linspace(0.45, 1.15, num), rng.random(num)
    for index in range(num):
        green = (0.26, 0.42, 0.12) if hues[index] > dry * 0.8 else (0.55, 0.48, 0.26)
        colour = tuple(float(channel * tones[index]) for channel in green)
        tip = roots[index] + lengths[index] * np.array([np.cos(angles[index]), np.sin(angles[index])])
        ends = (tuple(roots[index].astype(int).tolist()), tuple(tip.astype(int).tolist()))
        cv2.line(albedo, ends[0], ends[1], colour, 1 + index % 2, cv2.LINE_AA)
        cv2.line(height, ends[0], ends[1], float(tones[index] * 3), 1)
    return Ground(albedo * (0.7 + 0.6 * fractal_noise(rng, (side, side), 3))[..., None], height)


def _soil(rng: np.random.Generator, side: int) -> Ground:
    base: Colour = ((0.40, 0.29, 0.19), (0.66, 0.55, 0.38), (0.30, 0.24, 0.19))[int(rng.integers(3))]
    clods = fractal_noise(rng, (side, side), 14, 5)
    albedo = flat((side, side), jitter(rng, base, 0.1)) * (0.45 + 1.1 * clods)[..., None]
    height = clods * 14
    for _ in range(int(rng.integers(20, 90))):
        centre = tuple(rng.integers(0, side, 2).tolist())
        axes = tuple(rng.integers(2, 8, 2).tolist())
        angle, tone = float(rng.uniform(0, 180)), float(rng.uniform(0.3, 0.7))
        cv2.ellipse(albedo, centre, axes, angle, 0, 360, (tone, tone * 0.95, tone * 0.87), -1, cv2.LINE_AA)
        cv2.ellipse(height, centre, axes, angle, 0, 360, 14.0, -1)
    return Ground(albedo + _speckle(rng, side, 0.03)[..., None], cv2.GaussianBlur(height, (0, 0), 1.0))


def _leaves(rng: np.random.Generator, side: int) -> Ground:
    ground = _soil(rng, side)
    albedo, height = ground.albedo * 0.6, ground.height * 0.4
    hues: tuple[Colour, ...] = ((0.55, 0.30, 0.10), (0.66, 0.50, 0.16), (0.42, 0.22, 0.10), (0.36, 0.38, 0.14))
    for index in range(230):
        colour = jitter(rng, hues[int(rng.integers(4))], 0.15)
        draw_leaf(rng, albedo, height, (colour, float(index * 0.03)))
    return Ground(albedo, cv2.GaussianBlur(height, (0, 0), 0.8))


def draw_leaf(rng: np.random.Generator, albedo: Array, height: Array, paint: tuple[Colour, float]) -> None:
    """Draw one fallen leaf at a random place onto albedo and height, in place. paint: colour, height px."""
    colour, level = paint
    side = albedo.shape[0]
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(14, 34)
    t = np.linspace(0, 1, 9)
    half = np.sin(np.pi * t**0.8) * length * rng.uniform(0.2, 0.36)
    outline = np.concatenate([np.stack([t * length, half], 1), np.stack([t * length, -half], 1)[::-1]])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = (outline @ turn + rng.uniform(-10, side + 10, 2)).round().astype(np.int32)
    cv2.fillPoly(albedo, [points], colour, cv2.LINE_AA)
    cv2.fillPoly(height, [points], level + 2.0)
    vein = (float(colour[0] * 0.7), float(colour[1] * 0.7), float(colour[2] * 0.7))
    cv2.line(albedo, tuple(points[0].tolist()), tuple(points[8].tolist()), vein, 1, cv2.LINE_AA)


def _cloth(rng: np.random.Generator, side: int) -> Ground:
    base: Colour = ((0.20, 0.34, 0.58), (0.30, 0.42, 0.30), (0.72, 0.70, 0.66), (0.50, 0.20, 0.18))[
        int(rng.integers(4))
    ]
    folds = creases(rng, (side, side), 7)
    albedo = (
        flat((side, side), jitter(rng, base, 0.1)) * (0.9 + 0.2 * cell_noise(rng, (side, side), (160, 160)))[..., None]
    )
    return Ground(albedo, cv2.GaussianBlur(folds, (0, 0), 4) * 40)


GROUNDS: dict[str, Callable[[np.random.Generator, int], Ground]] = {
    "concrete": _concrete,
    "wood": _wood,
    "conveyor": _conveyor,
    "tiles": _tiles,
    "asphalt": _asphalt,
    "grass": _grass,
    "soil": _soil,
    "leaves": _leaves,
    "cloth": _cloth,
}
