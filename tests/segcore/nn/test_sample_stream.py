from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.errors import DataError
from segcore.nn.ranks import Ranks
from segcore.nn.sample_stream import PositionSampler, StreamSpec, position_at, rare_classes


def spec_of(num_true: int = 5, num_pseudo: int = 7, share: float = 0.5, batch: int = 4, seed: int = 0) -> StreamSpec:
    return StreamSpec(num_true, num_pseudo, share, batch, num_iterations=30, seed=seed)


SPECS = st.builds(
    spec_of,
    num_true=st.integers(1, 9),
    num_pseudo=st.integers(0, 9),
    share=st.floats(0, 0.9),
    batch=st.integers(2, 9),
    seed=st.integers(0, 3),
)


@settings(max_examples=40, deadline=None)
@given(SPECS)
def test_every_image_of_a_source_is_drawn_once_before_any_is_drawn_twice_as_often(spec: StreamSpec) -> None:
    places = [position_at(spec, position) for position in range(spec.batch_size * spec.num_iterations)]
    for source in ("ground_truth", "pseudo"):
        drawn = [place.image_index for place in places if place.source == source]
        total = spec.num_ground_truth if source == "ground_truth" else spec.num_pseudo
        counts = Counter(drawn)
        assert all(0 <= index < total for index in counts)
        if drawn:
            assert max(counts.values()) - min(counts[index] for index in range(total)) <= 1


@settings(max_examples=40, deadline=None)
@given(SPECS)
def test_batches_hold_the_pseudo_share_to_within_one_sample(spec: StreamSpec) -> None:
    total = 0
    for iteration in range(spec.num_iterations):
        first = iteration * spec.batch_size
        batch = [position_at(spec, position).source for position in range(first, first + spec.batch_size)]
        assert abs(batch.count("pseudo") - spec.share * spec.batch_size) < 1 + 1e-6
        assert batch == sorted(batch)  # ground truth first
        total += batch.count("pseudo")
    assert abs(total - spec.share * spec.batch_size * spec.num_iterations) < 1 + 1e-6


def test_seeds_of_augmentation_differ_at_every_position_and_with_the_seed() -> None:
    seeds = {position_at(spec_of(seed=seed), position).seed for seed in (0, 1) for position in range(100)}
    assert len(seeds) == 200


def test_another_seed_gives_another_order() -> None:
    orders = {
        tuple(
            position_at(spec_of(num_true=40, num_pseudo=0, seed=seed), position).image_index for position in range(40)
        )
        for seed in range(4)
    }
    assert len(orders) == 4


def sampler(start_iteration: int, share: Sequence[int] | None = None) -> PositionSampler:
    spec = spec_of()
    return PositionSampler(spec.batch_size, spec.num_iterations, start_iteration, share)


def test_processes_that_share_batches_see_each_position_once_and_each_kind_of_sample() -> None:
    shares = [list(sampler(11, Ranks(rank, 2).share(4))) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == list(sampler(11))
    assert len(sampler(11, Ranks(0, 2).share(4))) == len(shares[0]) == len(shares[1])
    for share in shares:
        assert {position_at(spec_of(), position).source for position in share[:2]} == {"ground_truth", "pseudo"}


def test_a_resumed_sampler_goes_on_where_the_first_stopped() -> None:
    whole, rest = list(sampler(0)), list(sampler(11))
    assert rest == whole[11 * 4 :]
    assert len(sampler(11)) == len(rest)


def test_without_pseudo_labels_the_share_is_zero() -> None:
    assert {position_at(spec_of(num_pseudo=0), position).source for position in range(40)} == {"ground_truth"}


def test_training_without_labelled_images_is_refused() -> None:
    with pytest.raises(DataError, match="at least one labelled image"):
        spec_of(num_true=0)


def test_the_last_share_of_the_iterations_is_ground_truth_alone() -> None:
    spec = dataclasses.replace(spec_of(), gt_only_last=0.2)
    sources = [[position_at(spec, iteration * 4 + slot).source for slot in range(4)] for iteration in range(30)]
    assert all(batch.count("pseudo") == 2 for batch in sources[:24])
    assert all(batch.count("pseudo") == 0 for batch in sources[24:])
    before = [position_at(spec_of(), position) for position in range(24 * 4)]
    assert [position_at(spec, position) for position in range(24 * 4)] == before


COUNTS = np.array([[90, 10, 0, 0], [95, 0, 4, 0], [99, 0, 1, 0]])  # the last class is nowhere


def test_rare_classes_are_drawn_as_daformer_has_it_and_their_images_evenly() -> None:
    rare = rare_classes(COUNTS, 0.5, temperature=0.5)
    assert rare is not None
    shares = COUNTS.sum(0) / COUNTS.sum()
    expected = np.exp((1 - shares[:3]) / 0.5) / np.exp((1 - shares[:3]) / 0.5).sum()
    assert rare.chance == pytest.approx([*expected, 0.0])
    assert rare.images == ((0, 1, 2), (0,), (1, 2), ())
    spec = StreamSpec(3, 0, 0.0, batch_size=4, num_iterations=1000, seed=3, rare=rare)
    places = [position_at(spec, position) for position in range(4000)]
    drawn = [place for place in places if place.wanted_class is not None]
    assert [place.wanted_class is not None for place in places] == [False, True] * 2000
    for class_id in range(4):
        images = Counter(place.image_index for place in drawn if place.wanted_class == class_id)
        assert images.total() / 2000 == pytest.approx(rare.chance[class_id], abs=0.03)
        assert set(images) == set(rare.images[class_id])
        assert all(count / images.total() == pytest.approx(1 / len(images), abs=0.06) for count in images.values())
    rest = Counter(place.image_index for place in places if place.wanted_class is None)
    assert max(rest.values()) - min(rest.values()) <= 1


def test_without_a_share_or_any_labelled_pixel_no_class_is_drawn() -> None:
    assert rare_classes(COUNTS, 0.0, 0.01) is None
    assert rare_classes(np.zeros((2, 3), np.int64), 0.5, 0.01) is None
