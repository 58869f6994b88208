"""Swin-L (Liu et al. 2021) with UPerNet, as wide as mmsegmentation has it."""

_base_ = ["swin_tiny_upernet.py"]

model = {
    "backbone": {"embed_dims": 192, "depths": (2, 2, 18, 2), "num_heads": (6, 12, 24, 48), "window_size": 12},
    "decode_head": {"in_channels": [192, 384, 768, 1536]},
}
