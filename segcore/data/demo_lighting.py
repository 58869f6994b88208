"""Light and camera of the demo scenes: shading by height, cast shadows, and what a phone does to a picture.

Shading is Lambert plus a Blinn-Phong highlight (Blinn, 1977); shadows are outlines smeared away from the light.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.data.demo_textures import Array, Colour, cell_noise


@dataclass(frozen=True)
class Light:
    """azimuth_rad: where the light comes from. elevation_rad: its height over the ground.

    ambient, direct: strength of sky and sun. softness_px: blur of shadows. tint: RGB factors of the direct light.
    """

    azimuth_rad: float
    elevation_rad: float
    ambient: float
    direct: float
    softness_px: float
    tint: Colour

    @property
    def direction(self) -> tuple[float, float, float]:
        """Return the unit vector towards the light: x right, y down, z towards the camera."""
        flat_part = float(np.cos(self.elevation_rad))
        return (
            flat_part * float(np.cos(self.azimuth_rad)),
            flat_part * float(np.sin(self.azimuth_rad)),
            float(np.sin(self.elevation_rad)),
        )


@dataclass(frozen=True)
class Lens:
    """exposure: factor. white_balance: RGB factors. blur_px: defocus. motion_px: length of camera shake.

    noise: standard deviation. vignette: darkening in the corners. haze: share of grey veil.
    """

    exposure: float
    white_balance: Colour
    blur_px: float
    motion_px: float
    noise: float
    vignette: float
    haze: float


def shade(height: Array, light: Light, gloss: float, sharpness: float) -> tuple[Array, Array]:
    """Return (H, W) brightness factors and (H, W) highlights of a surface whose height is given in px."""
    smooth = cv2.GaussianBlur(height, (0, 0), 1.0)
    slope_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.125)
    slope_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.125)
    norm = 1 / np.sqrt(slope_x**2 + slope_y**2 + 1)
    x, y, z = light.direction
    facing = np.maximum((z - slope_x * x - slope_y * y) * norm, 0)
    half = np.array([x, y, z + 1.0]) / np.linalg.norm([x, y, z + 1.0])
    mirror = np.maximum((half[2] - slope_x * half[0] - slope_y * half[1]) * norm, 0)
    sky = light.ambient * (0.45 + 0.55 * norm)
    highlight = gloss * (0.25 + light.direct) * mirror**sharpness
    return np.asarray(sky + light.direct * facing, np.float32), np.asarray(highlight, np.float32)


def cast_shadow(cover: Array, thickness_px: float, light: Light) -> Array:
    """Return (H, W) share of the direct light that an object of this outline and thickness takes away, in [0, 1]."""
    x, y, z = light.direction
    reach = thickness_px / max(z, 0.35)
    shadow = cover.copy()
    for step in (0.25, 0.5, 0.75, 1.0):
        move = np.array([[1, 0, -x * reach * step], [0, 1, -y * reach * step]], np.float32)
        shadow = np.maximum(shadow, cv2.warpAffine(cover, move, cover.shape[::-1]))
    return np.asarray(cv2.GaussianBlur(shadow, (0, 0), max(0.8, light.softness_px)), np.float32)


def contact_shadow(cover: Array, thickness_px: float) -> Array:
    """Return (H, W) darkening in [0, 1] close around an object, where the sky is hidden."""
    return np.asarray(cv2.GaussianBlur(cover, (0, 0), 1.5 + 0.25 * thickness_px), np.float32)


def take_photo(scene: Array, lens: Lens, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Return the (size, size, 3) uint8 **BGR** picture of a lit (S, S, 3) float32 RGB scene, S a multiple of size."""
    side = scene.shape[0]
    if lens.motion_px >= 1:
        scene = cv2.filter2D(scene, -1, _shake(rng, lens.motion_px))
    if lens.blur_px > 0.3:
        scene = cv2.GaussianBlur(scene, (0, 0), lens.blur_px)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    falloff = 1 - lens.vignette * (x**2 + y**2) / 2
    picture = scene * falloff[..., None] * np.asarray(lens.white_balance, np.float32) * lens.exposure
    picture = picture * (1 - lens.haze) + 0.75 * lens.haze
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    picture = picture + _sensor_noise(rng, size, lens.noise)
    picture = np.where(picture > 0.8, 0.8 + 0.2 * np.tanh((picture - 0.8) / 0.2), picture)  # film-like shoulder
    return np.asarray((np.clip(picture, 0, 1) * 255).round(), np.uint8)[..., ::-1].copy()


def _shake(rng: np.random.Generator, length_px: float) -> Array:
    """Return the kernel of a straight camera movement."""
    side = int(length_px) | 1
    kernel = np.zeros((side, side), np.float32)
    kernel[side // 2] = 1.0 / side
    turn = cv2.getRotationMatrix2D((side // 2, side // 2), float(rng.uniform(0, 180)), 1.0)
    kernel = cv2.warpAffine(kernel, turn, (side, side))
    return np.asarray(kernel / kernel.sum(), np.float32)


def _sensor_noise(rng: np.random.Generator, size: int, amount: float) -> Array:
    """Return (size, size, 3) noise: mostly brightness, some of it coloured and blotchy."""
    grey = rng.standard_normal((size, size, 1), dtype=np.float32)
    colour = cv2.GaussianBlur(rng.standard_normal((size, size, 3), dtype=np.float32), (0, 0), 1.0) * 1.5
    return np.asarray((grey + 0.6 * colour) * amount, np.float32)


def patchy_light(rng: np.random.Generator, side: int, strength: float) -> Array:
    """Return (side, side) factors in [1 - strength, 1]: light that falls through branches or a window frame."""
    if rng.random() < 0.5:
        veil = np.clip((cell_noise(rng, (side, side), (6, 6)) - 0.45) * 6, 0, 1)
    else:
        y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j].astype(np.float32)
        angle = rng.uniform(0, np.pi)
        across = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5) + rng.uniform(-0.3, 0.3)
        veil = np.clip(across * 30, 0, 1)
    return np.asarray(1 - strength * veil, np.float32)
