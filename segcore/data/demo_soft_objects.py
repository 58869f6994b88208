"""Waste of the demo scenes without a stiff shape, paper and bags, and stones and twigs as clutter."""

from __future__ import annotations

import numpy as np

from segcore.data.demo_sprites import Canvas, Sprite, canvas, soft
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


def _outline(rng: np.random.Generator, area: Canvas, breadth: float, wobble: float) -> Array:
    """Return the signed distance (units of u, positive inside) of a blob with a wavy outline."""
    angle = np.arctan2(area.v / breadth, area.u)
    reach = np.full(area.shape, 0.85, np.float32)
    for wave in range(2, 8):
        strength, phase = wobble * rng.normal() / wave, rng.uniform(0, 6.3)
        reach += np.asarray(strength * np.cos(wave * angle + phase), np.float32)
    return np.asarray((np.minimum(reach, 1.05) - np.hypot(area.u, area.v / breadth)) * breadth, np.float32)


PAPERS: tuple[Colour, ...] = (
    (0.92, 0.91, 0.88),
    (0.80, 0.78, 0.72),
    (0.66, 0.52, 0.36),
    (0.90, 0.82, 0.45),
    (0.93, 0.93, 0.94),
)


def draw_paper(rng: np.random.Generator, length_px: float, style: int, crush: float) -> Sprite:
    """Styles: crumpled sheet, newspaper, brown paper, yellow note, white ball of tissue."""
    area = canvas(length_px, 0.85)
    colour = jitter(rng, PAPERS[style])
    outline, height = (_crumpled if style in (0, 2, 4) else _sheet)(rng, area, crush)
    albedo = flat(area.shape, colour)
    if style == 1 or (style == 0 and rng.random() < 0.4):
        albedo = _newsprint(rng, albedo, columns=3 if style == 1 else 1)
    elif style == 3:
        ruled = (np.abs(np.sin(area.v * 26)) > 0.97).astype(np.float32)
        albedo = mix(albedo, (0.25, 0.32, 0.60), np.maximum(ruled, text_lines(rng, area.shape, 16)) * np.float32(0.45))
    return Sprite(
        albedo, soft(outline, area.half), np.ones(area.shape, np.float32), height.astype(np.float32), 0.05, 6.0
    )


def _crumpled(rng: np.random.Generator, area: Canvas, crush: float) -> tuple[Array, Array]:
    """Return signed distance and height (px) of a crumpled sheet."""
    outline = _outline(rng, area, rng.uniform(0.6, 0.8), 0.28) + 0.05 * creases(rng, area.shape, 9)
    folds = creases(rng, area.shape, 16) + np.float32(1.1) * creases(rng, area.shape, 60)
    height = folds * area.half * (0.30 + 0.3 * crush) + np.maximum(outline, 0) * area.half * 0.35
    return np.asarray(outline, np.float32), np.asarray(height, np.float32)


def _sheet(rng: np.random.Generator, area: Canvas, crush: float) -> tuple[Array, Array]:
    """Return signed distance and height (px) of a flat sheet, askew and a little curled."""
    slant = 0.3 * rng.normal()
    outline = np.minimum(0.95 - np.abs(area.u + slant * area.v), rng.uniform(0.55, 0.78) - np.abs(area.v))
    outline = outline + 0.05 * crush * creases(rng, area.shape, 8)
    height = creases(rng, area.shape, 4 + round(8 * crush)) * area.half * (0.05 + 0.15 * crush) + 2
    return np.asarray(outline, np.float32), np.asarray(height, np.float32)


def _newsprint(rng: np.random.Generator, page: Array, columns: int) -> Array:
    """Return the page with columns of text, a headline and grey pictures."""
    rows, width = page.shape[0], page.shape[1] // columns
    for column in range(columns):
        part = page[:, column * width : (column + 1) * width]
        part[:] = mix(part, (0.12, 0.12, 0.14), text_lines(rng, (rows, width), max(4, rows // 7)) * 0.75)
        if columns > 1 and rng.random() < 0.6:
            top = int(rng.uniform(0, 0.6) * rows)
            shade = fractal_noise(rng, (max(4, rows // 4), width), 4)
            picture = part[top : top + shade.shape[0]]
            picture[:] = mix((0.2, 0.2, 0.2), (0.8, 0.79, 0.76), shade)[: picture.shape[0]]
    return page


BAGS: tuple[tuple[Colour, float], ...] = (  # colour, opacity
    ((0.90, 0.91, 0.92), 0.80),
    ((0.05, 0.05, 0.06), 1.00),
    ((0.12, 0.28, 0.62), 0.95),
    ((0.82, 0.86, 0.88), 0.40),
    ((0.86, 0.66, 0.12), 0.95),
)


def draw_bag(rng: np.random.Generator, length_px: float, style: int, crush: float) -> Sprite:
    """Styles: white carrier bag, black bin bag, blue bag, clear film, coloured printed bag."""
    colour, opacity = BAGS[style]
    area = canvas(length_px, 0.85)
    outline = _outline(rng, area, rng.uniform(0.55, 0.8), 0.35)
    if rng.random() < 0.6:  # handles
        for side in (-1, 1):
            ring = np.hypot((area.u - 0.78) / 1.3, area.v - side * rng.uniform(0.16, 0.3))
            outline = np.maximum(outline, 0.06 - np.abs(ring - 0.17))
    pull = area.v + 0.5 * fractal_noise(rng, area.shape, 3)
    folds = np.abs(np.sin(np.arctan2(pull, area.u - 1.1) * rng.uniform(9, 18) + 3 * fractal_noise(rng, area.shape, 5)))
    wrinkles = 0.6 * creases(rng, area.shape, 14) + 0.35 * folds + 0.8 * fractal_noise(rng, area.shape, 4)
    height = wrinkles * area.half * (0.2 + 0.15 * crush) + np.minimum(np.maximum(outline, 0), 0.3) * area.half * 0.8
    albedo = flat(area.shape, jitter(rng, colour if style != 4 else ink(rng)))
    if style in (0, 4) and rng.random() < 0.35:
        albedo = mix(
            albedo, printed_art(rng, area.shape, colour), 0.85 * (np.abs(area.u) < 0.5) * (np.abs(area.v) < 0.35)
        )
    veil = np.clip(opacity + 0.5 * (wrinkles - wrinkles.mean()), 0.15, 1.0)
    return Sprite(
        albedo.astype(np.float32),
        soft(outline, area.half),
        veil.astype(np.float32),
        height.astype(np.float32),
        0.9,
        22.0,
    )


def draw_stone(rng: np.random.Generator, length_px: float, style: int, crush: float) -> Sprite:
    """Return clutter without a class: a stone, a twig, a rag of bark or a lump; styles 0..4 are shades."""
    twig = style == 3
    breadth = 0.12 if twig else 0.8
    area = canvas(length_px * (1.4 if twig else 1.0), breadth)
    outline = _outline(rng, area, 0.07 if twig else rng.uniform(0.5, 0.75), 0.05 if twig else 0.2)
    tone = (0.25, 0.45, 0.62, 0.3, 0.5)[style]
    colour = jitter(rng, (tone, tone * 0.92, tone * rng.uniform(0.65, 0.98)), 0.1)
    grain = fractal_noise(rng, area.shape, 8)
    height = np.sqrt(np.maximum(outline, 0)) * area.half * 0.7 + grain * area.half * (0.1 + 0.1 * crush)
    albedo = flat(area.shape, colour) * (0.6 + 0.8 * grain)[..., None]
    return Sprite(
        albedo, soft(outline, area.half), np.ones(area.shape, np.float32), height.astype(np.float32), 0.1, 8.0
    )
