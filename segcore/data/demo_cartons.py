"""Cardboard of the demo scenes: boxes turned in space, flattened and torn pieces."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.data.demo_sprites import Canvas, Sprite, canvas, dented, soft
from segcore.data.demo_textures import (
    Array,
    Colour,
    creases,
    flat,
    fractal_noise,
    ink,
    jitter,
    mix,
    printed_art,
    text_lines,
)

Vector = NDArray[np.float64]
Face = tuple[Vector, Vector, Vector]  # a corner and the two edges that leave it; canvas units, z towards the camera


def draw_carton(rng: np.random.Generator, length_px: float, style: int, crush: float) -> Sprite:
    """Styles: brown box, printed milk carton, flattened board, printed box, torn brown piece."""
    area = canvas(length_px, 0.9)
    brown = jitter(rng, (0.62, 0.45, 0.28), 0.1)
    if style in (2, 4):
        return _flat_board(rng, area, brown, torn=style == 4)
    plain = jitter(rng, (0.86, 0.84, 0.78))
    base = {0: brown, 1: jitter(rng, (0.90, 0.89, 0.85))}.get(style, plain)
    size = np.array([rng.uniform(0.75, 1.0), rng.uniform(0.4, 0.65), rng.uniform(0.3, 0.6)]) * 0.78
    if style == 1:
        size = np.array([0.88, 0.34, 0.34])
    shape = area.shape
    box = Sprite(
        flat(shape, base),
        np.zeros(shape, np.float32),
        np.ones(shape, np.float32),
        np.zeros(shape, np.float32),
        0.12,
        8.0,
    )
    for face in _box_faces(size, rng.uniform(-0.75, 0.75), rng.uniform(-0.6, 0.6)):
        _paint_face(box, area, face, _face_print(rng, base, brown_box=style == 0))
    box.height[:] += dented(rng, area, crush * 0.35) - min(0.0, float(box.height.min()))
    return box


def _face_print(rng: np.random.Generator, base: Colour, brown_box: bool) -> Array:
    """Return the (90, 120, 3) print of one face; a brown box has little print and a strip of tape."""
    art = mix(flat((90, 120), base), printed_art(rng, (90, 120), base), 0.25 if brown_box else 1.0)
    if brown_box:
        art[40:50] = mix(art[40:50], (0.72, 0.60, 0.42), 0.7)
    for edge in (art[:3], art[-3:], art[:, :3], art[:, -3:]):
        edge *= 0.86
    return art


def _paint_face(box: Sprite, area: Canvas, face: Face, art: Array) -> None:
    """Paint one face of a box into its sprite, in place; a face seen from its edge is left out."""
    corner, one, two = face
    if abs(one[0] * two[1] - one[1] * two[0]) < 0.02:
        return
    place = np.linalg.inv(np.stack([one[:2], two[:2]], axis=1)).astype(np.float32)
    u, v = area.u - np.float32(corner[0]), area.v - np.float32(corner[1])
    s, t = place[0, 0] * u + place[0, 1] * v, place[1, 0] * u + place[1, 1] * v
    inside = (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)
    seen = cv2.remap(
        art, np.clip(s, 0, 1) * (art.shape[1] - 1), np.clip(t, 0, 1) * (art.shape[0] - 1), cv2.INTER_LINEAR
    )
    box.albedo[inside] = seen[inside]
    box.height[inside] = ((corner[2] + s * one[2] + t * two[2]) * area.half)[inside]
    box.cover[inside] = 1


def _box_faces(size: Vector, roll: float, pitch: float) -> list[Face]:
    """Return the three faces that the camera sees of a box of the given half edges."""
    about_x = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    about_y = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    axes = (about_y @ about_x).T * size[:, None]  # one edge (half length) a row
    faces: list[Face] = []
    for index in range(3):
        normal, one, two = axes[index], axes[(index + 1) % 3], axes[(index + 2) % 3]
        outward = normal if normal[2] > 0 else -normal
        faces.append((outward - one - two, 2 * one, 2 * two))
    return faces


def _flat_board(rng: np.random.Generator, area: Canvas, brown: Colour, torn: bool) -> Sprite:
    """Return a flattened or torn piece of corrugated board."""
    rough = (fractal_noise(rng, area.shape, 9 if torn else 4) - 0.5) * (0.5 if torn else 0.05)
    outline = (
        np.minimum(0.95 - np.abs(area.u), rng.uniform(0.45, 0.75) - np.abs(area.v + 0.2 * rng.normal() * area.u))
        + rough
    )
    flutes = np.sin(area.v * area.half * rng.uniform(0.5, 0.9))
    albedo = (
        flat(area.shape, brown) * (0.93 + 0.04 * flutes + 0.14 * (fractal_noise(rng, area.shape, 6) - 0.5))[..., None]
    )
    fold = np.abs(area.u - rng.uniform(-0.5, 0.5)) < 0.02
    albedo[fold] *= 0.72
    if rng.random() < 0.5:
        albedo = mix(albedo, ink(rng), text_lines(rng, area.shape, 9) * (np.abs(area.v) < 0.2) * 0.7)
    albedo = mix(albedo, (0.80, 0.66, 0.48), (np.abs(outline) < 0.03).astype(np.float32))
    height = creases(rng, area.shape, 3) * area.half * 0.12 + 4
    return Sprite(albedo, soft(outline, area.half), np.ones(area.shape, np.float32), height, 0.08, 8.0)
