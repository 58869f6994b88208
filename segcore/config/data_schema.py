"""Config of images: where they are, what role each has, which are pseudo-labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from segcore.config.section import Fraction, PositiveInt, Section


class LabelledImages(Section):
    """A COCO file and the folder its file names are relative to."""

    annotations: Path = Field(description="COCO JSON with images, categories and annotations")
    images: Path = Field(description="folder that file_name is relative to")


class ImageList(Section):
    """Images without labels: a COCO image list with its folder, or a plain folder searched recursively."""

    images: Path = Field(description="image folder")
    annotations: Path | None = Field(None, description="COCO JSON whose images are used; None takes every image file")


class DataConfig(Section):
    """Where images and labels are, and what a pixel without annotation means."""

    train: LabelledImages
    val: LabelledImages | None = Field(None, description="None splits validation images off train")
    unlabeled: tuple[ImageList, ...] = ()
    test: ImageList | None = None
    test_labels: Path | None = Field(None, description="COCO JSON for test: those images become the report set")
    unannotated: Literal["background", "ignore"] = Field(description="meaning of pixels without annotation")
    background: str = Field("background", description="name of the class that unannotated pixels get")
    palette: dict[str, tuple[int, int, int]] = Field(default_factory=dict, description="class name to RGB")
    max_megapixels: Annotated[float, Field(gt=0)] = Field(200.0, description="larger images are quarantined undecoded")

    @property
    def unannotated_class(self) -> int | None:
        """Return the class id that pixels without annotation get (segcore/data/classes.py); None: they are ignored."""
        return 0 if self.unannotated == "background" else None


class FoldConfig(Section):
    """One chain of a cross-validation: which of how many folds is kept from it until its one number at the end."""

    index: Annotated[int, Field(ge=0)]
    of: Annotated[int, Field(ge=2, le=50)]

    @model_validator(mode="after")
    def _one_of_them(self) -> FoldConfig:
        if self.index >= self.of:
            raise ValueError(f"index must be below of, got fold {self.index} of {self.of}; folds count from 0")
        return self


class RolesConfig(Section):
    """How validation images are divided (segcore/data/roles.py)."""

    seed: int = 0
    val_share: Fraction = Field(0.3, description="share of train set aside when there is no val")
    gate_share: Fraction | None = Field(
        None, description="share of val for the gate; None: 0.7 under 150 images, else 0.5"
    )
    report_share: Fraction = Field(0.0, description="share of val never used before the final number")
    min_gate_images: PositiveInt = Field(10, description="fewer honest gate images than this: no score")
    fold: FoldConfig | None = Field(None, description="set by cross-validate: this fold of train and val is report")


class PoolConfig(Section):
    """Which images are pseudo-labelled."""

    use_test: bool = Field(True, description="label test images too (transductive; some rules forbid it)")
    max_images: PositiveInt | None = Field(
        None, description="label this many at most: those whose ids have the smallest hashes, a fixed random choice"
    )
    drop_near_duplicates: bool = Field(
        False, description="leave out unlabelled images that repeat an earlier one; equal files always are left out"
    )
