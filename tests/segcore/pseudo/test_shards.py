import pytest
from hypothesis import given
from hypothesis import strategies as st

from segcore.errors import DataError
from segcore.pseudo.shards import num_shards_for, plan_shards, shard_of

id_sets = st.sets(st.text(max_size=6), max_size=40)


@pytest.mark.parametrize(
    ("num_images", "per_shard", "num_shards"),
    [(0, 500, 1), (1, 500, 1), (499, 500, 1), (1000, 500, 2), (1300, 500, 2), (1600, 500, 4), (100_000, 500, 256)],
)
def test_the_number_of_shards_is_the_power_of_two_nearest_to_the_wish(num_images, per_shard, num_shards):
    assert num_shards_for(num_images, per_shard) == num_shards


@given(id_sets, st.sampled_from([1, 2, 8]))
def test_every_image_is_in_exactly_one_shard_whatever_the_order(ids, num_shards):
    plan = plan_shards(sorted(ids, reverse=True), num_shards)
    assert plan == plan_shards(ids, num_shards)
    assert sorted(name for members in plan.values() for name in members) == sorted(ids)
    assert all(shard_of(name, num_shards) == shard for shard, members in plan.items() for name in members)
    assert all(plan.values())


@given(id_sets, st.text(max_size=6))
def test_a_new_image_changes_only_the_shard_it_falls_into(ids, new):
    before, after = plan_shards(ids - {new}, 8), plan_shards(ids | {new}, 8)
    assert {shard for shard in range(8) if before.get(shard) != after.get(shard)} == {shard_of(new, 8)}


def test_shards_do_not_change_between_releases():
    assert [shard_of(name, 8) for name in ("test/a.jpg", "test/b.jpg", "unlabeled_0/ä.png")] == [0, 2, 2]


def test_an_image_named_twice_is_refused():
    with pytest.raises(DataError, match="'a' twice"):
        plan_shards(["a", "b", "a"], 2)
