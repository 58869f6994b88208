from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.errors import DataError
from segcore.nn.sample_stream import PositionSampler, StreamSpec, position_at


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


def test_a_resumed_sampler_goes_on_where_the_first_stopped() -> None:
    whole, rest = list(PositionSampler(spec_of(), 0)), list(PositionSampler(spec_of(), 11))
    assert rest == whole[11 * 4 :]
    assert len(PositionSampler(spec_of(), 11)) == len(rest)


def test_without_pseudo_labels_the_share_is_zero() -> None:
    assert {position_at(spec_of(num_pseudo=0), position).source for position in range(40)} == {"ground_truth"}


def test_training_without_labelled_images_is_refused() -> None:
    with pytest.raises(DataError, match="at least one labelled image"):
        spec_of(num_true=0)
