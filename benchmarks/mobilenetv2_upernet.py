"""MobileNetV2 (Sandler et al. 2018) with a small UPerNet head, at stride 16."""

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
        "type": "MobileNetV2",
        "widen_factor": 1.0,
        "strides": (1, 2, 2, 2, 1, 2, 1),
        "out_indices": (1, 2, 4, 6),
    },
    "decode_head": {
        "type": "UPerHead",
        "in_channels": [24, 32, 96, 320],
        "in_index": [0, 1, 2, 3],
        "pool_scales": (1, 2, 3, 6),
        "channels": 128,
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
