import numpy as np
import pytest

from segcore.trust.confusion import ConfusionTable
from segcore.trust.members import MemberSpec, choose_members

SPEC = MemberSpec(level=0.05, resamples=500, seed=0)


def table(fold: int, accuracy: float, num_images: int = 20, seed: int = 0) -> ConfusionTable:
    """Return confusions of 3 classes, 300 pixels each and image, of which about a share of `accuracy` is right."""
    rng = np.random.default_rng([seed, fold])
    counts = np.zeros((num_images, 3, 3), np.int64)
    for image in counts:
        for truth in range(3):
            right = int(rng.binomial(300, np.clip(rng.normal(accuracy, 0.05), 0, 1)))
            image[truth, truth] = right
            image[truth, (truth + 1) % 3] = 300 - right
    return ConfusionTable(tuple(f"{fold}/{number}" for number in range(num_images)), counts)


def test_equally_good_members_stay_and_the_intervals_hold_0():
    members = choose_members([table(fold, 0.8) for fold in range(4)], SPEC)
    assert [member.fold_index for member in members] == [0, 1, 2, 3]
    assert all(member.kept and member.delta.low < 0 < member.delta.high for member in members)


def test_a_member_that_is_worse_by_more_than_chance_explains_is_left_out():
    members = choose_members([table(0, 0.8), table(1, 0.82), table(2, 0.5), table(3, 0.8)], SPEC)
    assert [member.kept for member in members] == [True, True, False, True]
    assert members[2].delta.point == pytest.approx(0.5 / 1.5 - 0.806 / 1.194, abs=0.03)


def test_two_always_stay_the_better_ones():
    assert [member.kept for member in choose_members([table(0, 0.9), table(1, 0.2)], SPEC)] == [True, True]
    members = choose_members([table(0, 0.95), table(1, 0.3), table(2, 0.94), table(3, 0.2)], SPEC)
    assert [member.kept for member in members] == [True, False, True, False]


def test_classes_that_one_side_does_not_hold_are_left_out_of_both():
    perfect = [ConfusionTable((f"{fold}/0", f"{fold}/1"), np.tile(np.diag([9, 9, 9]), (2, 1, 1))) for fold in range(3)]
    perfect[0].counts[:, 2] = 0
    assert [member.delta.point for member in choose_members(perfect, SPEC)] == [0.0, 0.0, 0.0]


def test_members_that_share_no_class_cannot_be_compared_and_stay():
    first, second = table(0, 0.8), table(1, 0.8)
    first.counts[:, 1:] = 0
    second.counts[:, 0] = 0
    assert all(member.kept and member.delta.high == 1.0 for member in choose_members([first, second], SPEC))


def test_of_equally_good_members_any_is_left_out_in_at_most_the_level_of_cross_validations():
    spec = MemberSpec(level=0.05, resamples=200, seed=0)
    num_out = sum(
        not all(member.kept for member in choose_members([table(fold, 0.7, 12, run) for fold in range(4)], spec))
        for run in range(60)
    )
    assert num_out <= 7  # 0.05 of 60 is 3; 8 or more would come by chance in 1 of 100
