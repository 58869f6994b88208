"""Convolutional architectures of presets: EfficientNet-Lite, ConvNeXt, DeepLabV3+ on ResNet, PIDNet."""

from __future__ import annotations

from dataclasses import dataclass, replace

from segcore.nn.presets.parts import (
    SHRINK,
    ModelDict,
    auxiliary_head,
    batch_norm,
    classifier,
    preprocessor,
    segmentor,
    shallow,
    uper_head,
)

FOUR_STAGES = ("stage1", "stage2", "stage3", "stage4")


@dataclass(frozen=True)
class LiteUPerNet:
    """EfficientNet-Lite (segcore/nn/efficientnet_lite.py) and UPerNet. channels: of its maps at strides 4 to 32."""

    variant: int
    channels: tuple[int, ...]
    small: bool = False

    def tiny(self) -> LiteUPerNet:
        """Return it at the least width its layers are rounded to."""
        return replace(self, channels=(8, 8, 16, 40), small=True)

    def model(self, num_classes: int, head_channels: int) -> ModelDict:
        """Return the model= dict."""
        size = {"width": 1 / SHRINK, "depth": 0.5} if self.small else {}
        return segmentor(
            {"type": "EfficientNetLite", "variant": self.variant, **size},
            uper_head(self.channels, head_channels, num_classes),
            data_preprocessor=preprocessor([127.5] * 3, [127.5] * 3),
        )


@dataclass(frozen=True)
class ConvNeXtUPerNet:
    """ConvNeXt (Liu et al. 2022, https://arxiv.org/abs/2201.03545) and UPerNet. width: of the first stage.

    Layer scale begins at 1, as mmseg has it for fine-tuning; published weights bring their own.
    """

    width: int
    depths: tuple[int, ...]
    drop_path: float

    def tiny(self) -> ConvNeXtUPerNet:
        """Return it at a fraction of width and depth."""
        return replace(self, width=self.width // SHRINK, depths=shallow(self.depths))

    def model(self, num_classes: int, head_channels: int) -> ModelDict:
        """Return the model= dict."""
        widths = [self.width * 2**stage for stage in range(4)]
        config = {
            "model_type": "convnext",
            "hidden_sizes": widths,
            "depths": list(self.depths),
            "drop_path_rate": self.drop_path,
            "layer_scale_init_value": 1.0,
            "out_features": list(FOUR_STAGES),
        }
        return segmentor(
            {"type": "HuggingFaceBackbone", "config": config},
            uper_head(widths, head_channels, num_classes),
            auxiliary_head=auxiliary_head(widths[2], head_channels // 2, num_classes),
        )


@dataclass(frozen=True)
class DeepLabV3Plus:
    """DeepLabV3+ (Chen et al. 2018, https://arxiv.org/abs/1802.02611) on a ResNet at stride 8. width: of its stem."""

    depth: int
    width: int = 64

    def tiny(self) -> DeepLabV3Plus:
        """Return it at a fraction of width; 50 layers are the fewest of this kind."""
        return DeepLabV3Plus(50, self.width // SHRINK)

    def model(self, num_classes: int, head_channels: int) -> ModelDict:
        """Return the model= dict."""
        backbone = {
            "type": "ResNetV1c",
            "depth": self.depth,
            "stem_channels": self.width,
            "base_channels": self.width,
            "dilations": [1, 1, 2, 4],
            "strides": [1, 2, 1, 1],
            "norm_cfg": batch_norm(),
            "contract_dilation": True,
        }
        head = {
            "type": "DepthwiseSeparableASPPHead",
            "in_channels": 32 * self.width,
            "in_index": 3,
            "channels": head_channels,
            "dilations": [1, 12, 24, 36],
            "c1_in_channels": 4 * self.width,
            "c1_channels": 3 * self.width // 4,
            **classifier(num_classes),
        }
        auxiliary = auxiliary_head(16 * self.width, head_channels // 2, num_classes)
        return segmentor(backbone, head, auxiliary_head=auxiliary)


@dataclass(frozen=True)
class PIDNet:
    """PIDNet-S (Xu et al. 2023, https://arxiv.org/abs/2206.02066): branches for detail, context and boundaries.

    Its losses are those of mmseg's config without the class weights of Cityscapes.
    """

    width: int = 32
    pyramid_width: int = 96

    def tiny(self) -> PIDNet:
        """Return it at a fraction of width."""
        return PIDNet(self.width // SHRINK, self.pyramid_width // SHRINK)

    def model(self, num_classes: int, head_channels: int) -> ModelDict:
        """Return the model= dict."""
        shared = {"norm_cfg": batch_norm(), "act_cfg": {"type": "ReLU", "inplace": True}}
        backbone = {
            "type": "PIDNet",
            "in_channels": 3,
            "channels": self.width,
            "ppm_channels": self.pyramid_width,
            "num_stem_blocks": 2,
            "num_branch_blocks": 3,
            "align_corners": False,
            **shared,
        }
        hard_pixels = {"type": "OhemCrossEntropy", "thres": 0.9, "min_kept": 131072}
        head = {
            "type": "EdgePIDHead",
            "in_channels": 4 * self.width,
            "channels": head_channels,
            "num_classes": num_classes,
            "out_channels": num_classes,
            "align_corners": True,
            "loss_decode": [
                {"type": "CrossEntropyLoss", "avg_non_ignore": True, "loss_weight": 0.4},
                hard_pixels,
                {"type": "BoundaryLoss", "loss_weight": 20.0},
                dict(hard_pixels),
            ],
            **shared,
        }
        return segmentor(backbone, head)
