"""The whole augmentation of a sample, in the order of the config's fields.

mmseg's own transforms draw from global generators, which workers and resuming would disturb; order and ranges are
those common in its configs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segcore.config.train_schema import AugmentConfig
from segcore.nn.augment.colour import distorted
from segcore.nn.augment.copy_paste import CopyPaste
from segcore.nn.augment.example import Example
from segcore.nn.augment.geometry import cropped, flipped, resized, turned
from segcore.nn.augment.library import blurred
from segcore.nn.augment.object_bank import ObjectBank
from segcore.nn.augment.strong import cut_out, mixed, strong_colour


@dataclass(frozen=True)
class Augmentation:
    """What is done to samples.

    size: the crop's side and the longer image side at scale 1, px. bank: what is pasted into ground-truth samples;
    None: nothing.
    """

    size: int
    config: AugmentConfig
    bank: ObjectBank | None = None

    def ground_truth(self, example: Example, rng: np.random.Generator, wanted_class: int | None = None) -> Example:
        """Return an example with ground truth, augmented weakly, maybe with objects of rare classes pasted in.

        wanted_class: what the crop should show.
        """
        example = self.moved(example, rng, wanted_class)
        if self.bank is not None and happens(self.config.copy_paste, rng):
            example = CopyPaste(self.bank, self.config)(example, rng)
        return self.recoloured(example, rng).contiguous()

    def weak(self, example: Example, rng: np.random.Generator) -> Example:
        """Return an example augmented as every sample is, at most size px high and wide."""
        return self.recoloured(self.moved(example, rng), rng).contiguous()

    def moved(self, example: Example, rng: np.random.Generator, wanted_class: int | None = None) -> Example:
        """Return an example resized, cropped, flipped and turned at random."""
        config = self.config
        example = resized(example, self.size * rng.uniform(*config.scale_range))
        example = cropped(example, self.size, config.crop_max_share, rng, wanted_class)
        if rng.random() < config.flip:
            example = flipped(example)
        return turned(example, rng) if happens(config.rotate_90, rng) else example

    def recoloured(self, example: Example, rng: np.random.Generator) -> Example:
        """Return an example with other colours and sharpness."""
        image = distorted(example.image, rng) if self.config.photometric else example.image
        if happens(self.config.blur, rng):
            image = blurred(np.ascontiguousarray(image), rng)
        return example.with_image(image)

    def strong(self, example: Example, other: Callable[[], Example], rng: np.random.Generator) -> Example:
        """Return a pseudo-labelled example augmented weakly, then strongly.

        other: draws a further pseudo-labelled example, as it is on disk; called only when the two are to be mixed.
        """
        example = self.strongly_coloured(example, rng)
        if happens(self.config.strong.cutmix, rng):
            example = mixed(example, self.strongly_coloured(other(), rng), rng)
        return cut_out(example, rng) if happens(self.config.strong.cutout, rng) else example

    def strongly_coloured(self, example: Example, rng: np.random.Generator) -> Example:
        """Return an example augmented weakly, then in its colours strongly."""
        example = self.weak(example, rng)
        return example.with_image(strong_colour(example.image, rng, self.config.strong))


def happens(probability: float, rng: np.random.Generator) -> bool:
    """Draw whether something happens; what never happens draws nothing."""
    return probability > 0 and rng.random() < probability
