"""Noise, creases and printed art: the raw material of the drawn demo scenes.

All images are RGB float32 in [0, 1]; all randomness comes from the generator that is passed in.
"""

from __future__ import annotations

import string

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Colour = tuple[float, float, float]

FONTS = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_ITALIC)
INKS: tuple[Colour, ...] = (
    (0.75, 0.08, 0.10),
    (0.10, 0.22, 0.60),
    (0.08, 0.42, 0.20),
    (0.92, 0.72, 0.10),
    (0.10, 0.10, 0.12),
    (0.95, 0.94, 0.90),
    (0.90, 0.42, 0.08),
    (0.38, 0.12, 0.42),
)


def cell_noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float]) -> Array:
    """Return smooth noise in [0, 1] of (H, W) = shape with about cells = (rows, columns) independent values."""
    rows, columns = (max(2, round(cells[0])), max(2, round(cells[1])))
    grid = rng.random((rows, columns), dtype=np.float32)
    noise = cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(noise, 0.0, 1.0), np.float32)


def fractal_noise(rng: np.random.Generator, shape: tuple[int, int], cells: float, octaves: int = 4) -> Array:
    """Return (H, W) noise in [0, 1], mean about 0.5: octaves of cell_noise, each half as strong and twice as fine."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        side = cells * 2**octave
        total += cell_noise(rng, shape, (side * shape[0] / shape[1], side)) * 0.5**octave
    return total / np.float32(sum(0.5**octave for octave in range(octaves)))


def creases(rng: np.random.Generator, shape: tuple[int, int], num: int) -> Array:
    """Return an (H, W) height map in about [-1, 1] of flat facets that meet in sharp folds.

    A sum of short ridges, |distance to a line| within reach of it; num: folds. The more there are, the shorter each.
    A little domain warping keeps the folds from being ruler-straight.
    """
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    x, y = x + (cell_noise(rng, shape, (4, 4)) - 0.5) * 0.4, y + (cell_noise(rng, shape, (4, 4)) - 0.5) * 0.4
    reach = np.float32(0.5 if num < 12 else 0.28 if num < 30 else 0.16)
    angles, offsets = rng.uniform(0, np.pi, num), rng.uniform(-1, 1, num)
    weights = rng.choice((-1.0, 1.0), num) * rng.uniform(0.4, 1.0, num)
    total = np.zeros(shape, np.float32)
    for angle, offset, weight in zip(angles, offsets, weights, strict=True):
        distance = np.float32(np.cos(angle)) * x
        distance += np.float32(np.sin(angle)) * y
        distance -= np.float32(offset)
        np.abs(distance, out=distance)
        np.minimum(distance, reach, out=distance)
        total += distance * np.float32(weight)
    total -= total.mean()
    return np.asarray(total / (np.abs(total).max() + 1e-6), np.float32)


def mix(first: Array | Colour, second: Array | Colour, share: Array | float) -> Array:
    """Return first * (1 - share) + second * share; an (H, W) share is spread over the colour axis."""
    part = np.asarray(share, np.float32)
    part = part[..., None] if part.ndim == 2 else part
    return np.asarray(np.asarray(first, np.float32) * (1 - part) + np.asarray(second, np.float32) * part, np.float32)


def flat(shape: tuple[int, int], colour: Colour) -> Array:
    """Return an (H, W, 3) image of one colour."""
    return np.full((*shape, 3), colour, np.float32)


def jitter(rng: np.random.Generator, colour: Colour, amount: float = 0.06) -> Colour:
    """Return the colour, brightness and hue moved at random by about `amount`."""
    moved = np.clip(np.asarray(colour) * rng.normal(1.0, amount) + rng.normal(0, amount / 2, 3), 0.01, 0.99)
    return (float(moved[0]), float(moved[1]), float(moved[2]))


def ink(rng: np.random.Generator) -> Colour:
    """Return a random printing colour."""
    return jitter(rng, INKS[int(rng.integers(len(INKS)))])


def text_lines(rng: np.random.Generator, shape: tuple[int, int], num_lines: int) -> Array:
    """Return (H, W) ink in [0, 1]: columns of words too small to read."""
    page = np.zeros(shape, np.float32)
    pitch = shape[0] / max(1, num_lines)
    thickness = max(1, round(pitch * 0.45))
    for line in range(num_lines):
        y, x = round((line + 0.5) * pitch), shape[1] * 0.05
        while x < shape[1] * rng.uniform(0.8, 0.97):
            word = rng.uniform(0.04, 0.13) * shape[1]
            cv2.line(page, (round(x), y), (round(x + word), y), float(rng.uniform(0.5, 0.9)), thickness)
            x += word + 0.03 * shape[1]
    return page


def brand(rng: np.random.Generator) -> str:
    """Return a made-up brand name of three to six letters."""
    letters = rng.choice(list(string.ascii_uppercase), size=int(rng.integers(3, 7)))
    return "".join(letters.tolist())


def printed_art(rng: np.random.Generator, shape: tuple[int, int], base: Colour) -> Array:
    """Return an (H, W, 3) package print on a base colour: bands, a disc, a brand name, small print."""
    art = flat(shape, base)
    height, width = shape
    for _ in range(int(rng.integers(1, 4))):
        _band(rng, art)
    if rng.random() < 0.6:
        centre = (round(width * rng.uniform(0.3, 0.7)), round(height * rng.uniform(0.3, 0.7)))
        cv2.circle(art, centre, max(2, round(min(shape) * rng.uniform(0.15, 0.32))), ink(rng), -1, cv2.LINE_AA)
    scale = width / rng.uniform(90, 130)
    place = (round(width * rng.uniform(0.02, 0.25)), round(height * rng.uniform(0.35, 0.7)))
    font = FONTS[int(rng.integers(len(FONTS)))]
    stencil = np.zeros(shape, np.uint8)  # OpenCV writes text on 8-bit images only
    cv2.putText(stencil, brand(rng), place, font, scale, 255, max(1, round(scale * 2)), cv2.LINE_AA)
    art = mix(art, ink(rng), np.asarray(stencil / 255, np.float32))
    print_top = round(height * rng.uniform(0.7, 0.85))
    if height - print_top > 5:
        lines = text_lines(rng, (height - print_top, width), 3)
        art[print_top:] = mix(art[print_top:], ink(rng), lines)
    return art


def _band(rng: np.random.Generator, art: Array) -> None:
    """Paint one wavy band of a random ink onto art, in place."""
    height, width = art.shape[:2]
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    angle = rng.choice((0.0, np.pi / 2, rng.uniform(0, np.pi)))
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    centre = rng.uniform(0.1, 0.9) + 0.08 * np.sin(along * rng.uniform(3, 12)) * rng.random()
    inside = np.abs(across - centre) < rng.uniform(0.04, 0.2)
    art[inside] = ink(rng)
