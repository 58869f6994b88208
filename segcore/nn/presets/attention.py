"""Architectures of presets built from attention: Swin, SegFormer, DINOv2 and DINOv3."""

from __future__ import annotations

from dataclasses import dataclass, replace

from segcore.nn.presets.parts import (
    SHRINK,
    ModelDict,
    auxiliary_head,
    batch_norm,
    classifier,
    segmentor,
    shallow,
    uper_head,
)

TINY_LAYERS = 4  # one for each map of the pyramid


@dataclass(frozen=True)
class SwinUPerNet:
    """Swin (Liu et al. 2021, https://arxiv.org/abs/2103.14030) and UPerNet. width: of the first stage.

    mmseg's own Swin: in that of transformers some parameters get no gradient, which stops training on several GPUs.
    """

    width: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window: int

    def tiny(self) -> SwinUPerNet:
        """Return it at a fraction of width and depth."""
        return replace(self, width=self.width // SHRINK, depths=shallow(self.depths))

    def model(self, num_classes: int, head_channels: int) -> ModelDict:
        """Return the model= dict."""
        backbone = {
            "type": "SwinTransformer",
            "pretrain_img_size": 384 if self.window == 12 else 224,
            "embed_dims": self.width,
            "depths": list(self.depths),
            "num_heads": list(self.num_heads),
            "window_size": self.window,
            "drop_path_rate": 0.3,
        }
        widths = [self.width * 2**stage for stage in range(4)]
        return segmentor(
            backbone,
            uper_head(widths, head_channels, num_classes),
            auxiliary_head=auxiliary_head(widths[2], head_channels // 2, num_classes),
        )


@dataclass(frozen=True)
class SegFormer:
    """SegFormer (Xie et al. 2021, https://arxiv.org/abs/2105.15203). width: of a head of its Mix Transformer."""

    width: int
    layers: tuple[int, ...]

    def tiny(self) -> SegFormer:
        """Return it at a fraction of width and depth."""
        return SegFormer(self.width // SHRINK, shallow(self.layers))

    def model(self, num_classes: int, head_channels: int) -> ModelDict:
        """Return the model= dict."""
        num_heads = [1, 2, 5, 8]
        backbone = {
            "type": "MixVisionTransformer",
            "embed_dims": self.width,
            "num_layers": list(self.layers),
            "num_heads": num_heads,
            "patch_sizes": [7, 3, 3, 3],
            "sr_ratios": [8, 4, 2, 1],
            "mlp_ratio": 4,
            "qkv_bias": True,
            "drop_path_rate": 0.1,
        }
        head = {
            "type": "SegformerHead",
            "in_channels": [self.width * heads for heads in num_heads],
            "in_index": [0, 1, 2, 3],
            "channels": head_channels,
            **classifier(num_classes),
        }
        return segmentor(backbone, head)


@dataclass(frozen=True)
class DinoPyramid:
    """A vision transformer of DINOv2 or DINOv3, four of its layers spread out to a pyramid, and UPerNet.

    Oquab et al. 2023 (https://arxiv.org/abs/2304.07193), Siméoni et al. 2025 (https://arxiv.org/abs/2508.10104). The
    pyramid is mmseg's Feature2Pyramid: transposed convolutions and pooling, as in ViTDet (Li et al. 2022).
    """

    version: int
    width: int
    layers: int
    num_heads: int

    def tiny(self) -> DinoPyramid:
        """Return it at a fraction of width and depth."""
        return replace(self, width=self.width // SHRINK, layers=TINY_LAYERS)

    def model(self, num_classes: int, head_channels: int) -> ModelDict:
        """Return the model= dict."""
        config = {
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.num_heads,
            "drop_path_rate": 0.1,
            "out_features": [f"stage{self.layers * quarter // 4}" for quarter in (1, 2, 3, 4)],
        }
        if self.version == 2:
            config |= {"model_type": "dinov2", "image_size": 518, "patch_size": 14}
        else:
            config |= {"model_type": "dinov3_vit", "intermediate_size": 4 * self.width, "num_register_tokens": 4}
        return segmentor(
            {"type": "HuggingFaceBackbone", "config": config},
            uper_head([self.width] * 4, head_channels, num_classes),
            neck={"type": "Feature2Pyramid", "embed_dim": self.width, "norm_cfg": batch_norm()},
        )
