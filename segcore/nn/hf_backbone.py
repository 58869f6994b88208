"""Backbones of Hugging Face transformers for mmsegmentation; config files name them through custom_imports.

What a backbone is stands in the config as plain values, so that nothing is fetched when a published student is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional
from transformers import AutoBackbone, AutoConfig
from transformers.utils import logging as transformers_logging

from segcore.errors import CheckpointError
from segcore.nn.weights import State, WeightReport

log = logging.getLogger(__name__)

WITHOUT_GRADIENT = ("mask_token",)  # of pretraining; on several GPUs a parameter without gradient stops the training


@MODELS.register_module()
class HuggingFaceBackbone(BaseModule):
    """A model of transformers' AutoBackbone.

    config: model_type, and the fields of that type's configuration class; out_features or out_indices choose the maps.

    Such models cut inputs into patches and drop what is left over, so inputs are first resized to the next multiple of
    patch_size: 512 px become 518 with DINOv2's patches of 14, and the maps still cover the whole image.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(init_cfg=None)
        self.model = AutoBackbone.from_config(AutoConfig.for_model(**plain(config)))
        for name, parameter in self.model.named_parameters():
            if name.endswith(WITHOUT_GRADIENT):
                parameter.requires_grad_(False)

    def init_weights(self) -> None:
        """Leave the weights as transformers has drawn them when the model was built."""

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the maps (N, C, h, w), finest first. image_NCHW: normalised, of any height and width."""
        maps = self.model(self.whole_patches(image_NCHW)).feature_maps
        return tuple(maps)

    def whole_patches(self, image_NCHW: Tensor) -> Tensor:
        """Return the image, resized up where its sides are no multiples of the patches."""
        patch = int(getattr(self.model.config, "patch_size", 1))
        height, width = (-(-side // patch) * patch for side in image_NCHW.shape[2:])
        if (height, width) == tuple(image_NCHW.shape[2:]):
            return image_NCHW
        return functional.interpolate(image_NCHW, (height, width), mode="bilinear", align_corners=False)

    def load_published(self, state: State, source: str) -> WeightReport:
        """Load weights as the hub has them, whatever they were saved from, and return how they fitted.

        transformers knows under which names its models were ever saved. source: named in messages.
        """
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()  # it says as a table what is reported here
        transformers_logging.disable_progress_bar()
        try:
            loaded, found = type(self.model).from_pretrained(
                None,
                config=self.model.config,
                state_dict=dict(state),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,
            )
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            raise CheckpointError(f"weights {source}: transformers cannot load them: {error}") from error
        finally:
            transformers_logging.set_verbosity(verbosity)
        new = loaded.state_dict()
        report = report_of(found, list(new))
        self.model.load_state_dict({name: new[name] for name in report.matched}, strict=False)
        log.info("weights %s: %s", source, report)
        return report


def report_of(found: Mapping[str, Any], own: list[str]) -> WeightReport:
    """Return transformers' account of a loading as ours. own: names of the model's tensors."""
    reshaped = {entry if isinstance(entry, str) else entry[0] for entry in found["mismatched_keys"]}
    missing = set(found["missing_keys"])
    return WeightReport(
        matched=tuple(name for name in own if name not in missing | reshaped),
        missing=tuple(sorted(missing)),
        unexpected=tuple(sorted(found["unexpected_keys"])),
        reshaped=tuple(sorted(reshaped)),
    )


def plain(value: Any) -> Any:
    """Return a value of a config as plain dicts and lists; transformers checks types exactly."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
