"""One drawn photo of waste lying on a ground, with its label map.

A Setting says what may happen in a scene: grounds, styles of objects, light, camera. Two exist: FIRST_DAY, the narrow
conditions under which a few images were labelled, and ANY_DAY, what pool, validation and test images are taken from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.data.demo_backgrounds import GROUNDS, draw_ground, draw_leaf
from segcore.data.demo_lighting import Lens, Light, cast_shadow, contact_shadow, patchy_light, shade, take_photo
from segcore.data.demo_objects import CLASS_NAMES, DRAW, NUM_STYLES, RARE
from segcore.data.demo_soft_objects import draw_stone
from segcore.data.demo_sprites import Sprite
from segcore.data.demo_textures import Array, Colour, jitter

SUPERSAMPLE = 2  # scenes are drawn this much larger, then averaged down
SHADOW_REACH = 128  # px of the larger scene; even


@dataclass(frozen=True)
class Setting:
    """What may happen in a scene.

    grounds: names from GROUNDS. num_styles: styles of each class that occur, of NUM_STYLES.
    strain: 0..1, the largest amount of bad light, noise, blur, clutter and crushing.
    rare_share: share of scenes with the rare class.
    """

    grounds: tuple[str, ...]
    num_styles: int
    strain: float
    rare_share: float


FIRST_DAY = Setting(("concrete", "wood", "conveyor"), NUM_STYLES - 1, 0.2, 0.4)
ANY_DAY = Setting(tuple(GROUNDS), NUM_STYLES - 1, 0.75, 0.3)


@dataclass(frozen=True)
class Scene:
    """image: (size, size, 3) uint8 BGR. label_map: (size, size) uint8, 0 background, 1.. as CLASS_NAMES.

    instances: (size, size) uint8, 0 background, 1.. one number an object; objects of one class that touch stay apart.
    """

    image: NDArray[np.uint8]
    label_map: NDArray[np.uint8]
    instances: NDArray[np.uint8]


def draw_scene(rng: np.random.Generator, setting: Setting, size: int) -> Scene:
    """Return one scene. rng is the only source of randomness. size: side in px."""
    side = size * SUPERSAMPLE
    strain = setting.strain * float(rng.beta(1.6, 1.6))
    light = _draw_light(rng, strain)
    ground = draw_ground(str(rng.choice(setting.grounds)), rng, side)
    turned = _view_ground(rng, side)
    albedo = cv2.warpPerspective(ground.albedo, turned, (side, side), borderMode=cv2.BORDER_REFLECT)
    height = cv2.warpPerspective(ground.height, turned, (side, side), borderMode=cv2.BORDER_REFLECT)
    bright, _ = shade(height, light, 0.0, 1.0)
    stage = Stage(albedo * lit(bright, light), np.zeros((side, side), np.uint8), light)
    names = _choose_objects(rng, setting)
    for _ in range(int(rng.poisson(3 * strain))):
        _place(rng, stage, draw_stone(rng, side * rng.uniform(0.03, 0.12), int(rng.integers(5)), strain), 0)
    for number, name in enumerate(names, start=1):
        _place(rng, stage, _draw_object(rng, name, setting, side), number)
    _litter(rng, stage, strain)
    scene = (
        stage.picture
        * patchy_light(rng, side, rng.uniform(0.3, 0.65) if rng.random() < 0.6 * strain else 0.0)[..., None]
    )
    image = take_photo(scene, _draw_lens(rng, strain), rng, size)
    instances = stage.numbers[SUPERSAMPLE // 2 :: SUPERSAMPLE, SUPERSAMPLE // 2 :: SUPERSAMPLE].copy()
    classes = np.array([0, *(CLASS_NAMES.index(name) + 1 for name in names)], np.uint8)
    return Scene(image, classes[instances], instances)


@dataclass
class Stage:
    """A scene being built. picture: (S, S, 3) float32 lit RGB. numbers: (S, S) uint8 object numbers, 0 background."""

    picture: Array
    numbers: NDArray[np.uint8]
    light: Light


def lit(bright: Array, light: Light) -> Array:
    """Return (H, W, 3) factors of a brightness map under the tint of the light."""
    return bright[..., None] * np.asarray(light.tint, np.float32)


def _choose_objects(rng: np.random.Generator, setting: Setting) -> list[str]:
    """Return class names in painting order; the small rare one is painted last."""
    common = [name for name in CLASS_NAMES if name != RARE]
    names = [str(name) for name in rng.choice(common, size=int(rng.integers(2, 4)))]
    if rng.random() < setting.rare_share:
        names += [RARE] * int(rng.integers(1, 3))
    return names


def _draw_object(rng: np.random.Generator, name: str, setting: Setting, side: int) -> Sprite:
    style = int(rng.integers(setting.num_styles))
    crush = setting.strain * float(rng.random())
    low, high = {"battery": (0.24, 0.38), "can": (0.42, 0.62), "bottle": (0.62, 0.95)}.get(name, (0.50, 0.80))
    return DRAW[name](rng, side * rng.uniform(low, high), style, crush)


def _place(rng: np.random.Generator, stage: Stage, sprite: Sprite, number: int) -> None:
    """Turn, move and light one sprite, and lay it onto the stage with its shadows. number 0: clutter, no class."""
    side = stage.numbers.shape[0]
    rows, columns = sprite.cover.shape
    move = cv2.getRotationMatrix2D((columns / 2, rows / 2), float(rng.uniform(0, 360)), 1.0)
    centre = rng.uniform(0.1, 0.9, 2) * side
    reach = np.hypot(rows, columns) / 2 + 2
    left, top = (int(max(0, low)) for low in centre - reach)
    right, bottom = (int(min(side, high)) for high in centre + reach)
    move[:, 2] += centre - (columns / 2, rows / 2) - (left, top)
    move[1] = move[1] * 0.9 + (0, 0, 0.1 * (centre[1] - top))  # the camera looks down at a slant
    seen = _warped(sprite, move, (right - left, bottom - top))
    window = (slice(top, bottom), slice(left, right))
    stage.numbers[window][seen.cover > (0.5 if number else 0.3)] = number
    inside = sprite.cover > 0.5
    thickness = float(np.percentile(sprite.height[inside], 80)) if inside.any() else 1.0
    _throw_shadow(stage, window, seen.cover * (0.35 + 0.65 * seen.opacity), thickness)
    bright, highlight = shade(seen.height, stage.light, sprite.gloss, sprite.sharpness)
    surface = np.clip(seen.albedo, 0, 1) * lit(bright, stage.light)
    share = (seen.cover * seen.opacity)[..., None]
    below = stage.picture[window] * (1 + 0.25 * seen.cover[..., None])  # light shines through clear plastic
    stage.picture[window] = (
        below * (1 - share) + surface * share + (highlight * seen.cover)[..., None] * np.float32(0.8)
    )


def _warped(sprite: Sprite, move: NDArray[np.float64], size: tuple[int, int]) -> Sprite:
    """Return the sprite moved by an affine matrix onto a canvas of size (width, height)."""
    albedo, opacity, height = (
        cv2.warpAffine(layer, move, size, borderMode=cv2.BORDER_REPLICATE)
        for layer in (sprite.albedo, sprite.opacity, sprite.height)
    )
    cover = cv2.warpAffine(sprite.cover, move, size)
    return replace(sprite, albedo=albedo, cover=cover, opacity=opacity, height=height)


def _throw_shadow(stage: Stage, window: tuple[slice, slice], solid: Array, thickness: float) -> None:
    """Darken the stage where the object in the window keeps sun and sky away; at half resolution, being soft."""
    side = stage.numbers.shape[0]
    top, left = (max(0, part.start // 2 * 2 - SHADOW_REACH) for part in window)
    bottom, right = (min(side, part.stop // 2 * 2 + SHADOW_REACH) for part in window)
    outline = np.zeros((bottom - top, right - left), np.float32)
    outline[window[0].start - top : window[0].stop - top, window[1].start - left : window[1].stop - left] = solid
    small = cv2.resize(outline, (outline.shape[1] // 2, outline.shape[0] // 2), interpolation=cv2.INTER_AREA)
    direct = stage.light.direct / (stage.light.direct + stage.light.ambient)
    bright = 1 - 0.95 * direct * cast_shadow(small, min(thickness, 40.0) / 2, stage.light)
    bright *= 1 - 0.5 * contact_shadow(small, min(thickness, 12.0) / 2)
    stage.picture[top:bottom, left:right] *= cv2.resize(bright, outline.shape[::-1])[..., None]


def _litter(rng: np.random.Generator, stage: Stage, strain: float) -> None:
    """Lay a few fallen leaves over everything; they have no class."""
    side = stage.numbers.shape[0]
    for _ in range(int(rng.poisson(2.5 * strain))):
        over, level = np.zeros((side, side, 3), np.float32), np.zeros((side, side), np.float32)
        draw_leaf(rng, over, level, (jitter(rng, (0.48, 0.34, 0.14), 0.2), 1.0))
        _throw_shadow(stage, (slice(0, side), slice(0, side)), (level > 0).astype(np.float32), 4.0)
        bright = stage.light.ambient + 0.8 * stage.light.direct
        stage.picture[level > 0] = (over * bright)[level > 0]
        stage.numbers[level > 0] = 0


def _view_ground(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Return a homography: the ground turned, and tilted away at the top."""
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(0, 360)), 1.0)
    squeeze = rng.uniform(0.0, 0.3) * side
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    seen = corners + np.array([[squeeze * 0.2, 0], [-squeeze * 0.2, 0], [squeeze, 0], [-squeeze, 0]], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(corners, seen) @ np.vstack([turn, [0, 0, 1]]))


def _draw_light(rng: np.random.Generator, strain: float) -> Light:
    direct = rng.uniform(0.35, 0.6 + 0.5 * strain)
    warm: Colour = (1.0 + 0.16 * strain * rng.normal(), 1.0, 1.0 + 0.16 * strain * rng.normal())
    return Light(
        azimuth_rad=float(rng.uniform(0, 2 * np.pi)),
        elevation_rad=float(rng.uniform(1.1 - 0.75 * strain, 1.25)),
        ambient=float(rng.uniform(0.45, 0.65)) * float(1 - 0.4 * strain * rng.random()),
        direct=float(direct),
        softness_px=float(rng.uniform(1.0, 7.0)),
        tint=(float(np.clip(warm[0], 0.6, 1.4)), 1.0, float(np.clip(warm[2], 0.6, 1.4))),
    )


def _draw_lens(rng: np.random.Generator, strain: float) -> Lens:
    cast = np.clip(1 + 0.08 * strain * rng.normal(size=3), 0.75, 1.25)
    return Lens(
        exposure=float(np.clip(1.3 * np.exp(rng.normal(0, 0.05 + 0.25 * strain)), 0.55, 2.0)),
        white_balance=(float(cast[0]), float(cast[1]), float(cast[2])),
        blur_px=float(0.5 + min(rng.exponential(1.0) * strain, 2.5)),
        motion_px=float(rng.uniform(4, 12)) if rng.random() < 0.35 * strain else 0.0,
        noise=float(0.006 + 0.03 * strain * rng.random()),
        vignette=float(rng.uniform(0.05, 0.25 + 0.3 * strain)),
        haze=float(0.12 * strain * rng.random()),
    )
