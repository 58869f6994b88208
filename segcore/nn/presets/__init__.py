"""Models that a run config may name by a word. Plain data: no torch is imported before a model is built.

Each is an ordinary mmsegmentation model= dict; what mmseg does not have itself is registered by the preset's imports.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from segcore.errors import ConfigError
from segcore.nn.presets.attention import DinoPyramid, SegFormer, SwinUPerNet
from segcore.nn.presets.convolutional import ConvNeXtUPerNet, DeepLabV3Plus, LiteUPerNet, PIDNet
from segcore.nn.presets.parts import ModelDict
from segcore.nn.presets.preset import Preset
from segcore.nn.presets.published import (
    HubWeights,
    OpenMMLabWeights,
    PackagedWeights,
    lite_weights,
    weights_file,
)

__all__ = ["PRESETS", "ModelDict", "Preset", "preset_named", "start_file"]

LITE = ("segcore.nn.efficientnet_lite",)
HUGGING_FACE = ("segcore.nn.hf_backbone",)
EDGES = ("segcore.nn.edge_head",)

MIT_NAMES = ("7e0fe6dd", "02e5a6a1", "66e8bf70", "13b1141c", "d588d980", "658746d9")
MIT_LAYERS = ((2, 2, 2, 2), (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 18, 3), (3, 8, 27, 3), (3, 6, 40, 3))


def preset_named(name: str) -> Preset:
    """Return a preset; raise ConfigError if there is none of that name."""
    if name not in PRESETS:
        raise ConfigError(f"model.preset must be one of {', '.join(sorted(PRESETS))}, got {name!r}")
    return PRESETS[name]


def start_file(preset: str | None, weights: str | None) -> Path | None:
    """Return the file that model.weights stands for; None for random values, and for what a config file itself names.

    CheckpointError with what to do if it is not on this machine.
    """
    if weights is None or (weights == "imagenet" and preset is None):
        return None
    return preset_named(str(preset)).weights.find() if weights == "imagenet" else weights_file(weights)


def lite_presets() -> dict[str, Preset]:
    """Return EfficientNet-Lite with a small UPerNet head: for a CPU. Their ImageNet weights are Python packages."""
    channels = ((24, 40, 112, 320), (24, 40, 112, 320), (24, 48, 120, 352))
    return {
        f"efficientnet_lite{variant}_upernet": Preset(
            LiteUPerNet(variant, channels[variant]), 64, LITE, PackagedWeights(partial(lite_weights, variant))
        )
        for variant in range(3)
    }


def swin_presets() -> dict[str, Preset]:
    """Return Swin with UPerNet as wide as its authors have it; B and L are pretrained on ImageNet-22k at 384 px."""
    large_depths = (2, 2, 18, 2)
    sizes = {
        "tiny": (SwinUPerNet(96, (2, 2, 6, 2), (3, 6, 12, 24), 7), "tiny_patch4_window7_224_20220317-1cdeb081"),
        "small": (SwinUPerNet(96, large_depths, (3, 6, 12, 24), 7), "small_patch4_window7_224_20220317-7ba6d6dd"),
        "base": (SwinUPerNet(128, large_depths, (4, 8, 16, 32), 12), "base_patch4_window12_384_22k_20220317-e5c09f74"),
        "large": (
            SwinUPerNet(192, large_depths, (6, 12, 24, 48), 12),
            "large_patch4_window12_384_22k_20220412-6580f57d",
        ),
    }
    return {
        f"swin_{size}_upernet": Preset(swin, 512, (), OpenMMLabWeights(f"swin/swin_{file}.pth"))
        for size, (swin, file) in sizes.items()
    }


def convnext_presets() -> dict[str, Preset]:
    """Return ConvNeXt with UPerNet, stochastic depth as in mmseg's configs; from B on pretrained on ImageNet-22k."""
    sizes = {
        "tiny": (ConvNeXtUPerNet(96, (3, 3, 9, 3), 0.4), "facebook/convnext-tiny-224"),
        "small": (ConvNeXtUPerNet(96, (3, 3, 27, 3), 0.3), "facebook/convnext-small-224"),
        "base": (ConvNeXtUPerNet(128, (3, 3, 27, 3), 0.4), "facebook/convnext-base-224-22k"),
        "large": (ConvNeXtUPerNet(192, (3, 3, 27, 3), 0.4), "facebook/convnext-large-224-22k"),
        "xlarge": (ConvNeXtUPerNet(256, (3, 3, 27, 3), 0.4), "facebook/convnext-xlarge-224-22k"),
    }
    return {
        f"convnext_{size}_upernet": Preset(convnext, 512, HUGGING_FACE, HubWeights(repo))
        for size, (convnext, repo) in sizes.items()
    }


def dino_presets() -> dict[str, Preset]:
    """Return DINOv2 and DINOv3 with a feature pyramid under UPerNet. Meta asks for consent before it gives DINOv3."""
    sizes = {"small": (384, 12, 6, "s"), "base": (768, 12, 12, "b"), "large": (1024, 24, 16, "l")}
    found: dict[str, Preset] = {}
    for size, (width, layers, num_heads, letter) in sizes.items():
        weights = {2: f"facebook/dinov2-{size}", 3: f"facebook/dinov3-vit{letter}16-pretrain-lvd1689m"}
        for version, repo in weights.items():
            dino = DinoPyramid(version, width, layers, num_heads)
            source = HubWeights(repo, asks_consent=version == 3)
            found[f"dinov{version}_{size}_fpn"] = Preset(dino, 256, HUGGING_FACE, source)
    return found


def segformer_presets() -> dict[str, Preset]:
    """Return SegFormer as mmseg has it."""
    return {
        f"segformer_b{number}": Preset(
            SegFormer(32 if number == 0 else 64, layers),
            256,
            (),
            OpenMMLabWeights(f"segformer/mit_b{number}_20220624-{MIT_NAMES[number]}.pth"),
        )
        for number, layers in enumerate(MIT_LAYERS)
    }


def deeplab_presets() -> dict[str, Preset]:
    """Return DeepLabV3+ at stride 8 as mmseg has it."""
    files = {50: "resnet50_v1c-2cccc1ad", 101: "resnet101_v1c-e67eebb6"}
    return {
        f"deeplabv3plus_r{depth}": Preset(
            DeepLabV3Plus(depth), 512, (), OpenMMLabWeights(f"{file}.pth", "pretrain/third_party")
        )
        for depth, file in files.items()
    }


def pidnet_presets() -> dict[str, Preset]:
    """Return PIDNet-S: for video speed."""
    weights = OpenMMLabWeights("pidnet/pidnet-s_imagenet1k_20230306-715e6273.pth")
    return {"pidnet_small": Preset(PIDNet(), 128, EDGES, weights)}


PRESETS: dict[str, Preset] = {
    **lite_presets(),
    **swin_presets(),
    **convnext_presets(),
    **dino_presets(),
    **segformer_presets(),
    **deeplab_presets(),
    **pidnet_presets(),
}
