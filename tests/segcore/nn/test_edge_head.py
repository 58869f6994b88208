from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.datasets.transforms import GenerateEdge

from segcore.nn.edge_head import edge_maps


@pytest.mark.parametrize("width", [3, 4])
def test_edges_are_those_of_mmseg_with_ignored_pixels_among_them(width: int) -> None:
    rng = np.random.default_rng(0)
    label_maps = np.stack([np.kron(rng.choice([0, 1, 2, 255], (5, 7)), np.ones((6, 5), int)) for _ in range(3)])
    reference = GenerateEdge(edge_width=width)
    expected = [
        reference.transform({"img_shape": one.shape, "gt_seg_map": one.astype(np.uint8)})["gt_edge_map"]
        for one in label_maps
    ]
    found = edge_maps(torch.from_numpy(label_maps)[:, None], width=width)
    assert np.array_equal(found[:, 0].numpy(), np.stack(expected))
    assert found.dtype == torch.int64
    assert 0 < found.sum() < found.numel()


def test_a_map_of_one_class_has_no_edge() -> None:
    assert edge_maps(torch.full((1, 1, 9, 9), 3)).sum() == 0
