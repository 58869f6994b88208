import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.errors import CheckpointError, HonestScoreError
from segcore.records import ImageRecord
from segcore.trust.lineage import Lineage, extend, honest_images, merge, require_honest


def image(number, group=None, sha=None, role="train"):
    group = f"group{number}" if group is None else group
    sha = f"sha{number}" if sha is None else sha
    return ImageRecord(f"{role}/{number}.jpg", role, f"{number}.jpg", sha, 10, 10, "0" * 16, group, role)


def test_an_image_trained_on_as_gt_or_pseudo_label_cannot_score():
    lineage = extend(None, [image(0)], [image(1)])
    kept, excluded = honest_images([image(n, role="gate") for n in range(3)], lineage)
    assert [i.image_id for i in kept] == ["gate/2.jpg"]
    assert len(excluded) == 2


def test_val_copied_into_train_under_other_names_is_excluded_and_counted():
    gate = [image(n, role="gate") for n in range(20)]
    copied = [image(f"copy{n}", sha=gate[n].sha256) for n in range(12)]
    kept, excluded = honest_images(gate, extend(None, copied, []))
    assert (len(kept), len(excluded)) == (8, 12)
    with pytest.raises(HonestScoreError, match=r"at least 10 images .* got 8: 12 of 20 are"):
        require_honest(kept, excluded, 10)
    require_honest(kept, excluded, 8)


def test_a_near_duplicate_counts_as_the_image_itself():
    lineage = extend(None, [image("a", group="scene7")], [])
    kept, excluded = honest_images([image("b", group="scene7", role="gate")], lineage)
    assert not kept
    assert len(excluded) == 1


def test_images_without_a_group_are_not_duplicates_of_each_other():
    kept, _ = honest_images([image("b", group="")], extend(None, [image("a", group="")], []))
    assert len(kept) == 1


def test_ancestors_are_named_once_oldest_first():
    grand = extend(None, [image(0)], [], "d0")
    student = extend(grand, [], [image(1)], "d1")
    assert student.ancestors == ("d0", "d1")
    assert merge(student, Lineage(frozenset(), ("d1", "x"))).ancestors == ("d0", "d1", "x")


numbers = st.sets(st.integers(0, 14), max_size=6)


@settings(deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5), st.integers(2, 15))
def test_nothing_any_ancestor_ever_saw_scores_a_random_lineage(generations, num_groups):
    def pick(chosen):
        return [image(n, group=f"g{n % num_groups}") for n in sorted(chosen)]

    lineage, seen = None, set()
    for index, (gt, pseudo) in enumerate(generations):
        lineage = extend(lineage, pick(gt), pick(pseudo), f"d{index}")
        seen |= gt | pseudo
    gate = pick(range(15))
    kept, excluded = honest_images(gate, lineage)
    seen_groups = {n % num_groups for n in seen}
    expected = [i for n, i in enumerate(gate) if n not in seen and n % num_groups not in seen_groups]
    assert list(kept) == expected
    assert sorted(i.image_id for i in (*kept, *excluded)) == sorted(i.image_id for i in gate)


@given(numbers, numbers)
def test_more_training_images_never_bring_an_excluded_image_back(gt, pseudo):
    gate = [image(n, role="gate") for n in range(15)]
    parent = extend(None, [image(n) for n in gt], [])
    child = extend(parent, [], [image(n) for n in pseudo])
    assert set(honest_images(gate, parent)[1]) <= set(honest_images(gate, child)[1])


@settings(deadline=None)
@given(numbers, numbers)
def test_the_file_gives_back_what_was_written_and_equal_lineages_have_equal_bytes(tmp_path_factory, gt, pseudo):
    folder = tmp_path_factory.mktemp("lineage")
    one = extend(None, [image(n) for n in gt], [image(n) for n in pseudo], "d")
    two = extend(None, [image(n) for n in sorted(gt, reverse=True)], [image(n) for n in sorted(pseudo)], "d")
    one.write(folder / "one.json")
    two.write(folder / "two.json")
    assert Lineage.read(folder / "one.json") == one
    assert (folder / "one.json").read_bytes() == (folder / "two.json").read_bytes()


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"format":9,"images":[],"ancestors":[]}', '{"format":1,"images":[["a","b","x"]],"ancestors":[]}'],
)
def test_a_damaged_lineage_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / "lineage.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"lineage\.json must be a lineage file"):
        Lineage.read(path)
