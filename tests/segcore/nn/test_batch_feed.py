from __future__ import annotations

from collections.abc import Iterator

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from segcore.nn.batch_feed import mapped, on_device


def batch() -> dict[str, object]:
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.tensor([[[1, 255]]], dtype=torch.uint8)))
    sample.set_metainfo({"loss_weight": 0.5})
    sample.pixel_weight = PixelData(data=torch.tensor([[[7, 9]]], dtype=torch.uint8))
    unlabelled = SegDataSample()
    return {"labelled": {"inputs": [torch.zeros(3, 1, 2, dtype=torch.uint8)], "data_samples": [sample, unlabelled]}}


def test_label_maps_become_class_indices_and_all_else_stays() -> None:
    (found,) = on_device([batch()], "cpu")
    sample, unlabelled = found["labelled"]["data_samples"]
    assert sample.gt_sem_seg.data.dtype == torch.int64
    assert sample.gt_sem_seg.data.tolist() == [[[1, 255]]]
    assert sample.pixel_weight.data.dtype == torch.uint8
    assert sample.loss_weight == 0.5
    assert "gt_sem_seg" not in unlabelled
    assert found["labelled"]["inputs"][0].dtype == torch.uint8


def test_every_tensor_of_a_batch_is_moved_wherever_it_stands() -> None:
    seen: list[tuple[int, ...]] = []

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(tensor.shape))
        return tensor.to("meta")

    found = mapped([batch(), (torch.zeros(2), "name")], moved)
    assert sorted(seen) == [(1, 1, 2), (1, 1, 2), (2,), (3, 1, 2)]
    labelled = found[0]["labelled"]
    assert labelled["inputs"][0].is_meta
    assert labelled["data_samples"][0].gt_sem_seg.data.is_meta
    assert labelled["data_samples"][0].pixel_weight.data.is_meta
    assert found[1][1] == "name"


def test_closing_the_feed_lets_go_of_the_loader() -> None:
    ended = []

    def loader() -> Iterator[object]:
        try:
            yield batch()
            yield batch()
        finally:
            ended.append(True)

    feed = on_device(loader(), "cpu")
    next(feed)
    feed.close()
    assert ended == [True]
