from pathlib import Path

import pytest
import torch

from benchmarks.convnext import ConvNeXtBackbone
from benchmarks.label_weights import MODELS
from segcore.nn.networks import build_network, read_config


def test_stages_come_at_strides_4_to_32():
    outputs = ConvNeXtBackbone((1, 1, 2, 1), (4, 8, 12, 16))(torch.zeros(2, 3, 64, 96))
    assert [tuple(x.shape) for x in outputs] == [(2, 4, 16, 24), (2, 8, 8, 12), (2, 12, 4, 6), (2, 16, 2, 3)]


def test_the_largest_has_the_published_number_of_parameters():
    with torch.device("meta"):
        backbone = ConvNeXtBackbone((3, 3, 27, 3), (256, 512, 1024, 2048))
    classifier = 2048 * 1000 + 1000
    assert sum(p.numel() for p in backbone.parameters()) + classifier == pytest.approx(350.2e6, rel=1e-3)


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.py")), ids=lambda path: path.stem)
def test_every_model_config_is_one_mmsegmentation_builds(path: Path):
    with torch.device("cpu" if "swin" in path.stem else "meta"):  # Swin reads drop rates from tensors it makes
        network = build_network(read_config(path)).to("meta").eval()
    logits = network.decode_head(network.backbone(torch.empty(1, 3, 64, 64, device="meta")))
    assert tuple(logits.shape) == (1, 7, 16, 16)
