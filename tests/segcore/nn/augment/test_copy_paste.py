from __future__ import annotations

import numpy as np
import pytest

from segcore.config.train_schema import AugmentConfig
from segcore.nn.augment.copy_paste import CopyPaste, hides_any, paste
from segcore.nn.augment.example import Example
from segcore.nn.augment.object_bank import MARGIN_PX, ObjectBank, object_bank, rare_classes

SIZE = 64
GREY, WHITE = 100, 255


class Drawn:
    """Two images of 64 px: much of class 0, some of class 1, one square of class 2 of 10 px, one of class 3 of 4 px."""

    def __len__(self) -> int:
        return 2

    def example(self, index: int) -> Example:
        label_map = np.zeros((SIZE, SIZE), np.uint8)
        label_map[: 20 + index] = 1
        label_map[30:40, 30:40] = 2
        if index:
            label_map[60:, :4] = 3
        image = np.repeat(np.where(label_map >= 2, WHITE, GREY).astype(np.uint8)[..., None], 3, axis=2)
        return Example(image, label_map)


def counts_of(examples: Drawn, num_classes: int) -> np.ndarray:
    maps = [examples.example(index).label_map for index in range(len(examples))]
    return np.array([np.bincount(label_map.ravel(), minlength=9)[:num_classes] for label_map in maps])


@pytest.fixture
def bank() -> ObjectBank:
    found = object_bank(Drawn(), counts_of(Drawn(), 5), size=SIZE, seed=0)
    assert found is not None
    return found


def plain(value: int = 0) -> Example:
    return Example(
        np.full((SIZE, SIZE, 3), GREY, np.uint8),
        np.full((SIZE, SIZE), value, np.uint8),
        np.zeros((SIZE, SIZE), np.uint8),
    )


def test_rare_are_the_classes_below_the_median_and_those_without_pixels_are_none() -> None:
    assert rare_classes(np.array([50, 10, 3, 2, 0])) == (3, 2)
    assert rare_classes(np.array([5, 5, 0])) == ()


def test_the_bank_holds_every_rare_object_with_a_margin_even_at_the_border(bank: ObjectBank) -> None:
    assert {class_id: len(found) for class_id, found in bank.objects.items()} == {3: 1, 2: 2}
    item = bank.objects[3][0]
    assert item.image.shape == (4 + 2 * MARGIN_PX, 4 + 2 * MARGIN_PX, 3)
    assert (item.label_map[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX] == 3).all()
    assert (item.label_map == 255).sum() == item.label_map.size - 16


def test_without_rare_classes_there_is_no_bank() -> None:
    assert object_bank(Drawn(), counts_of(Drawn(), 1), size=SIZE, seed=0) is None


def test_what_nobody_drew_is_never_pasted_however_rare_it_is() -> None:
    found = object_bank(Drawn(), counts_of(Drawn(), 5), size=SIZE, seed=0, unannotated=3)
    assert found is not None
    assert set(found.objects) == {2}


def test_a_pasted_object_covers_what_lies_below_and_its_edge_is_soft(bank: ObjectBank) -> None:
    example = plain()
    paste(bank.objects[2][0], example, (20, 20), rarer=())
    corner = 20 + MARGIN_PX
    box = np.s_[corner : corner + 10, corner : corner + 10]
    assert (example.label_map[box] == 2).all()
    assert (example.label_map == 2).sum() == 100
    assert example.pixel_weight is not None
    assert np.array_equal(example.pixel_weight == 255, example.label_map == 2)
    row = example.image[corner + 5, :, 0].astype(int)
    assert row[corner + 5] == WHITE
    assert GREY < row[corner] < WHITE
    assert (example.image[:20] == GREY).all()


def test_an_object_may_be_cut_by_the_border(bank: ObjectBank) -> None:
    example = plain()
    paste(bank.objects[2][0], example, (-8, 56), rarer=())
    assert (example.label_map == 2).sum() == 5 * 5
    assert (example.label_map[:5, 59:] == 2).all()


@pytest.mark.parametrize(("width", "hidden"), [(4, False), (6, True)])
def test_most_of_a_rarer_object_is_never_hidden(width: int, hidden: bool) -> None:
    label_map = np.zeros((20, 20), np.uint8)
    label_map[5:15, 5:15] = 3
    label_map[18:, 18:] = 3  # another object of the class, untouched
    covered = np.ones((10, width), bool)
    assert hides_any(label_map, np.s_[5:15, 5 : 5 + width], covered, rarer=(3,)) == hidden
    assert not hides_any(label_map, np.s_[5:15, 5 : 5 + width], covered, rarer=(1,))


def test_copy_paste_leaves_its_input_alone_and_adds_only_rare_classes_and_follows_its_generator(
    bank: ObjectBank,
) -> None:
    copy_paste = CopyPaste(bank, AugmentConfig())
    example, seen = plain(1), set()
    for seed in range(20):
        first, again = (copy_paste(example, np.random.default_rng(seed)) for _ in range(2))
        assert all(np.array_equal(one, two) for one, two in zip(first.arrays, again.arrays, strict=True))
        seen.update(np.unique(first.label_map).tolist())
    assert seen == {1, 2, 3}
    assert np.array_equal(example.label_map, plain(1).label_map)
