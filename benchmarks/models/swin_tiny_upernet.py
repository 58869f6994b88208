"""Swin-T (Liu et al. 2021) with UPerNet, as wide as mmsegmentation has it."""

model = {
    "type": "EncoderDecoder",
    "data_preprocessor": {
        "type": "SegDataPreProcessor",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "bgr_to_rgb": True,
        "pad_val": 0,
        "seg_pad_val": 255,
        "test_cfg": {"size_divisor": 32},
    },
    "backbone": {
        "type": "SwinTransformer",
        "embed_dims": 96,
        "depths": (2, 2, 6, 2),
        "num_heads": (3, 6, 12, 24),
        "window_size": 7,
        "drop_path_rate": 0.2,
    },
    "decode_head": {
        "type": "UPerHead",
        "in_channels": [96, 192, 384, 768],
        "in_index": [0, 1, 2, 3],
        "pool_scales": (1, 2, 3, 6),
        "channels": 512,
        "dropout_ratio": 0.1,
        "num_classes": 7,
        "norm_cfg": {"type": "BN", "requires_grad": True},
        "align_corners": False,
        "init_cfg": {"type": "Normal", "std": 0.1, "override": {"name": "conv_seg"}},
        "loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True},
    },
    "train_cfg": {},
    "test_cfg": {"mode": "whole"},
}
