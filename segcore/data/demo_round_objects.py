"""Round waste of the demo scenes: bottles, cans and the small rare batteries."""

from __future__ import annotations

import numpy as np

from segcore.data.demo_sprites import Sprite, canvas, dented, metal, smooth_step, soft, tube, wrap
from segcore.data.demo_textures import Array, Colour, cell_noise, flat, fractal_noise, ink, jitter, mix, printed_art

BOTTLES: tuple[tuple[Colour, float, float], ...] = (  # colour, opacity, cap shade
    ((0.80, 0.86, 0.90), 0.22, 1.0),
    ((0.30, 0.55, 0.80), 0.40, 0.6),
    ((0.08, 0.34, 0.16), 0.80, 0.4),
    ((0.34, 0.17, 0.05), 0.88, 0.4),
    ((0.90, 0.90, 0.87), 1.00, 0.8),
)


def draw_bottle(rng: np.random.Generator, length_px: float, style: int, crush: float) -> Sprite:
    """Styles: clear plastic, blue plastic, green glass, brown glass, opaque white."""
    colour, clearness, cap_shade = BOTTLES[style]
    area = canvas(length_px, 0.42)
    body, neck = rng.uniform(0.24, 0.34), rng.uniform(0.09, 0.12)
    start = rng.uniform(0.0, 0.3)
    radius = body + (neck - body) * smooth_step(area.u, start, start + rng.uniform(0.2, 0.35))
    glass = style in (2, 3)
    if not glass:
        radius += 0.010 * np.sin(area.u * rng.uniform(25, 60)) * (area.u < start)
        radius -= crush * 0.10 * cell_noise(rng, area.shape, (2, 7)) * (area.u < start)
    cap = (area.u > 0.82).astype(np.float32)
    radius += cap * 0.018
    cover = soft(radius - np.abs(area.v), area.half) * soft(1 - np.abs(area.u), area.half)
    edge = (np.abs(area.v) / np.maximum(radius, 1e-3)) ** 5
    albedo = mix(jitter(rng, colour), (0.95, 0.96, 0.96), 0.25 * edge if not glass else 0 * edge)
    opacity = np.clip(clearness + 0.5 * edge, 0, 1)
    low = rng.uniform(-0.75, -0.35)
    label = ((area.u > low) & (area.u < low + rng.uniform(0.35, 0.6))).astype(np.float32) * (rng.random() < 0.75)
    art = printed_art(rng, (80, 160), ink(rng))
    solid = np.maximum(label, cap)
    albedo = mix(mix(albedo, wrap(art, area, radius), label), jitter(rng, ink(rng), 0.1 * cap_shade), cap)
    height = tube(radius, area) + (0 if glass else 1) * dented(rng, area, crush * 0.8)
    return Sprite(albedo, cover, np.maximum(opacity, solid), height, 0.9, 50.0)


def draw_can(rng: np.random.Generator, length_px: float, style: int, crush: float) -> Sprite:
    """Styles: printed drink can, bare aluminium, ribbed tin, dark printed can, standing can seen from above."""
    tilt = rng.uniform(0.9, 1.3) if style == 4 else rng.uniform(0.1, 0.6)
    area = canvas(length_px, 0.72)
    r = rng.uniform(0.42, 0.52) if style != 4 else rng.uniform(0.55, 0.62)
    minor = r * np.sin(tilt)
    end = 1.0 - minor
    radius = np.full(area.shape, r, np.float32)
    if crush > 0.2:
        radius -= crush * 0.16 * cell_noise(rng, area.shape, (2, 5))
    radius -= 0.04 * smooth_step(area.u, end - 0.12, end) + 0.03 * smooth_step(-area.u, 0.85, 0.95)
    round_end = (np.sqrt(np.maximum(1 - (area.v / r) ** 2, 0)) * minor).astype(np.float32)
    body = np.minimum(radius - np.abs(area.v), np.minimum(end + round_end - area.u, area.u + 1.0 - minor + round_end))
    lid_r = np.sqrt(((area.u - end) / max(minor, 0.02)) ** 2 + (area.v / (r - 0.03)) ** 2)
    base: Colour = ink(rng) if style in (0, 4) else (0.08, 0.08, 0.10)
    art = printed_art(rng, (100, 140), base)
    albedo = (
        metal(rng, area, radius) if style in (1, 2) else mix(wrap(art, area, radius), metal(rng, area, radius), 0.18)
    )
    height = tube(radius, area) + dented(rng, area, crush)
    if style == 2:
        height += np.sin(area.u * 40).astype(np.float32) * 1.6
        albedo = mix(
            albedo,
            printed_art(rng, area.shape, (0.9, 0.88, 0.8)),
            ((np.abs(area.u) < 0.45) & (rng.random() < 0.5)).astype(np.float32),
        )
    lid = (lid_r < 1).astype(np.float32)
    albedo, height = mix(albedo, _lid(rng, lid_r), lid), height * (1 - lid) + lid * area.half * r * (0.8 - 0.2 * area.u)
    return Sprite(albedo, soft(body, area.half), np.ones(area.shape, np.float32), height.astype(np.float32), 0.75, 36.0)


def _lid(rng: np.random.Generator, lid_r: Array) -> Array:
    """Return the (H, W, 3) look of a can's lid: rim, groove, opening. lid_r: distance from its middle, rim at 1."""
    tone = 0.72 + 0.18 * np.cos(lid_r * 9 + rng.uniform(0, 3)) - 0.35 * (np.abs(lid_r - 0.86) < 0.05)
    lid = mix((0.2, 0.2, 0.21), (0.86, 0.86, 0.88), np.clip(tone, 0, 1))
    if rng.random() < 0.6:
        opening = np.roll(lid_r, int(lid_r.shape[1] * 0.03), axis=0) < 0.33
        lid[opening] = (0.05, 0.05, 0.05)
    return lid


BATTERIES: tuple[tuple[Colour, Colour], ...] = (  # body, the part next to the nub
    ((0.06, 0.06, 0.07), (0.72, 0.42, 0.20)),
    ((0.70, 0.71, 0.73), (0.10, 0.10, 0.11)),
    ((0.10, 0.36, 0.20), (0.80, 0.78, 0.70)),
    ((0.10, 0.20, 0.55), (0.75, 0.75, 0.77)),
    ((0.60, 0.08, 0.08), (0.90, 0.80, 0.30)),
)


def draw_battery(rng: np.random.Generator, length_px: float, style: int, crush: float) -> Sprite:
    """Styles: copper and black, silver, green, blue, red; crush is rust."""
    body, top = BATTERIES[style]
    area = canvas(length_px, 0.4)
    radius = np.where(area.u < 0.88, rng.uniform(0.27, 0.34), 0.1).astype(np.float32)
    outline = np.minimum(radius - np.abs(area.v), 1 - np.abs(area.u))
    art = mix(flat((60, 120), jitter(rng, body)), printed_art(rng, (60, 120), jitter(rng, body)), 0.5)
    albedo = mix(wrap(art, area, radius), jitter(rng, top), ((area.u > 0.3) & (area.u < 0.82)).astype(np.float32))
    ends = ((area.u > 0.82) | (area.u < -0.92)).astype(np.float32)
    albedo = mix(albedo, metal(rng, area, radius), ends)
    rust = np.clip((fractal_noise(rng, area.shape, 7) - 0.6) * 6, 0, 1) * crush
    albedo = mix(albedo, (0.42, 0.22, 0.10), rust)
    return Sprite(albedo, soft(outline, area.half), np.ones(area.shape, np.float32), tube(radius, area), 0.8, 30.0)
