"""ConvNeXt-XL (Liu et al. 2022) with UPerNet."""

_base_ = ["swin_tiny_upernet.py"]

custom_imports = {"imports": ["benchmarks.convnext"], "allow_failed_imports": False}

model = {
    "backbone": {
        "_delete_": True,
        "type": "ConvNeXtBackbone",
        "depths": (3, 3, 27, 3),
        "widths": (256, 512, 1024, 2048),
    },
    "decode_head": {"in_channels": [256, 512, 1024, 2048]},
}
