from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from segcore.config.data_schema import FoldConfig, PoolConfig, RolesConfig
from segcore.data.roles import assign_roles, pool_images, read_images, val_shares, write_images, write_ledger
from segcore.data.stratify import LabelledImage, stratify
from segcore.errors import ConfigError, DataError
from segcore.records import ImageRecord


def images(source: str, num: int, num_classes: int = 3) -> list[LabelledImage]:
    return [
        LabelledImage(f"{source}/{i:03}.jpg", source, f"{source}{i}", frozenset({i % num_classes})) for i in range(num)
    ]


grouped = st.lists(
    st.tuples(st.sampled_from(["train", "val", "test"]), st.integers(0, 8), st.frozensets(st.integers(0, 4))),
    min_size=1,
    max_size=40,
).map(
    lambda rows: [
        LabelledImage(f"{source}/{i:02}", source, f"g{group}", classes)
        for i, (source, group, classes) in enumerate(rows)
    ]
)


@settings(max_examples=60, deadline=None)
@given(grouped, st.integers(0, 3), st.floats(0, 0.4), st.randoms(use_true_random=False))
def test_roles_are_complete_keep_groups_together_and_do_not_depend_on_order(found, seed, report_share, random):
    config = RolesConfig(seed=seed, report_share=report_share)
    has_val = any(image.source == "val" for image in found)
    try:
        roles = assign_roles(found, config, has_val)
    except DataError:
        return
    assert set(roles) == {image.image_id for image in found}
    for image in found:
        if image.source == "test":
            assert roles[image.image_id] == "report"
        elif has_val and image.source == "train":
            assert roles[image.image_id] == "train"
        elif has_val:
            assert roles[image.image_id] in ("calib", "gate", "report")
    divided = "val" if has_val else "train"
    parts: dict[str, set[str]] = {}
    for image in found:
        if image.source == divided:
            parts.setdefault(image.group, set()).add(roles[image.image_id])
    assert all(len(part) == 1 for part in parts.values())
    shuffled = list(found)
    random.shuffle(shuffled)
    assert assign_roles(shuffled, config, has_val) == roles


@pytest.mark.parametrize(
    ("num_val", "fields", "expected"),
    [
        (71, {}, {"gate": 50, "calib": 21}),
        (150, {}, {"gate": 75, "calib": 75}),
        (100, {"gate_share": 0.4}, {"gate": 40, "calib": 60}),
        (100, {"report_share": 0.2}, {"gate": 56, "calib": 24, "report": 20}),
        (10, {"gate_share": 1.0}, {"gate": 10}),
        (1, {}, {"gate": 1}),
    ],
)
def test_val_is_divided_by_share(num_val: int, fields: dict[str, float], expected: dict[str, int]):
    roles = assign_roles(images("train", 3) + images("val", num_val), RolesConfig(**fields), has_val=True)
    counts = Counter(roles.values())
    assert counts.pop("train") == 3
    assert all(abs(counts[role] - number) <= 1 for role, number in expected.items()), counts
    assert sum(counts.values()) == num_val


def test_every_class_is_divided_alike():
    found = images("train", 1) + [
        LabelledImage(f"val/{i:03}", "val", f"g{i}", frozenset({0} | ({1} if i < 20 else set()))) for i in range(200)
    ]
    roles = assign_roles(found, RolesConfig(), has_val=True)
    rare = Counter(roles[image.image_id] for image in found if 1 in image.class_ids)
    assert rare == {"gate": 10, "calib": 10}


def test_without_val_it_is_split_off_train():
    roles = assign_roles(images("train", 100), RolesConfig(val_share=0.3), has_val=False)
    counts = Counter(roles.values())
    assert abs(counts["train"] - 70) <= 1
    assert abs(counts["gate"] - 21) <= 1
    assert counts["calib"] == 100 - counts["train"] - counts["gate"]


def test_another_seed_divides_differently_and_the_same_seed_does_not():
    found = images("train", 1) + images("val", 60)
    first, again, other = (assign_roles(found, RolesConfig(seed=seed), True) for seed in (0, 0, 1))
    assert first == again != other


def test_adding_train_images_does_not_move_val_images():
    val = images("val", 40)
    before = assign_roles(images("train", 3) + val, RolesConfig(), True)
    after = assign_roles(images("train", 9) + val, RolesConfig(), True)
    assert all(after[image.image_id] == before[image.image_id] for image in val)


@pytest.mark.parametrize(("gate_share", "report_share"), [(0.9, 0.2), (0.0, 0.5), (None, 1.0)])
def test_shares_beyond_one_or_without_a_gate_are_refused(gate_share: float | None, report_share: float):
    with pytest.raises(ConfigError, match=r"roles\.gate_share must be above 0"):
        val_shares(RolesConfig(gate_share=gate_share, report_share=report_share), 10)


def test_too_few_groups_to_divide_are_an_error():
    one_group = [dataclasses.replace(image, group="same") for image in images("train", 10)]
    with pytest.raises(DataError, match=r"data\.train, from which val is split off: 10 images"):
        assign_roles(one_group, RolesConfig(), has_val=False)
    with pytest.raises(DataError, match=r"data\.val: 0 images"):
        assign_roles(images("train", 2), RolesConfig(), has_val=True)


def test_images_without_any_class_are_divided_too():
    empty = [LabelledImage(f"val/{i}", "val", f"g{i}", frozenset()) for i in range(10)]
    assert Counter(stratify(empty, {"a": 0.5, "b": 0.5}, 0).values()) == {"a": 5, "b": 5}


def record(image_id: str, role: str, group: str) -> ImageRecord:
    source, _, file_name = image_id.partition("/")
    return ImageRecord(image_id, source, file_name, "ab" * 32, 64, 48, "0" * 16, group, role)  # type: ignore[arg-type]


RECORDS = [
    record("train/a.jpg", "train", "g1"),
    record("test/a.jpg", "test", "g1"),
    record("test/b.jpg", "test", "g2"),
    record("unlabeled_0/c.jpg", "unlabeled", "g3"),
]


def test_the_pool_leaves_out_test_images_that_resemble_labelled_ones():
    assert [image.image_id for image in pool_images(RECORDS, PoolConfig())] == ["test/b.jpg", "unlabeled_0/c.jpg"]
    assert [image.image_id for image in pool_images(RECORDS, PoolConfig(use_test=False))] == ["unlabeled_0/c.jpg"]


def test_a_capped_pool_is_the_same_part_of_it_in_any_order_and_a_grown_one_loses_as_many_as_come_in():
    pool = [record(f"unlabeled_0/{number:03}.jpg", "unlabeled", f"g{number}") for number in range(200)]

    def capped(images: list[ImageRecord]) -> set[str]:
        return {image.image_id for image in pool_images(images, PoolConfig(max_images=50))}

    assert len(capped(pool)) == 50
    assert capped(pool[::-1]) == capped(pool)
    grown = [*pool, *(record(f"unlabeled_1/{number:03}.jpg", "unlabeled", f"h{number}") for number in range(20))]
    came = {name for name in capped(grown) if name.startswith("unlabeled_1")}
    assert 0 < len(came) < 15
    assert len(capped(pool) - capped(grown)) == len(came)
    assert capped(pool[:40]) == {image.image_id for image in pool[:40]}


def test_records_are_read_back_and_equal_ledgers_have_equal_bytes(tmp_path: Path):
    write_images(tmp_path / "images.parquet", RECORDS)
    assert read_images(tmp_path / "images.parquet") == tuple(RECORDS)
    write_ledger(tmp_path / "a.parquet", RECORDS)
    write_ledger(tmp_path / "b.parquet", RECORDS)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    with pytest.raises(DataError, match=r"gone\.parquet"):
        read_images(tmp_path / "gone.parquet")


def fold(index: int, of: int, **fields: Any) -> RolesConfig:
    return RolesConfig(fold=FoldConfig(index=index, of=of), min_gate_images=1, **fields)


@settings(max_examples=40, deadline=None)
@given(grouped, st.integers(2, 4), st.integers(0, 3))
def test_every_labelled_image_is_report_in_exactly_one_chain_and_its_group_with_it(found, num_folds, seed):
    labelled = [image for image in found if image.source != "test"]
    report: list[str] = []
    for index in range(num_folds):
        try:
            roles = assign_roles(labelled, fold(index, num_folds, seed=seed), has_val=True)
        except DataError:
            return
        held_out = {image.image_id for image in labelled if roles[image.image_id] == "report"}
        groups = {image.group for image in labelled if image.image_id in held_out}
        assert held_out == {image.image_id for image in labelled if image.group in groups}
        report += held_out
    assert sorted(report) == sorted(image.image_id for image in labelled)


def test_a_chain_splits_calib_and_gate_off_all_other_labelled_images():
    found = [*images("train", 60), *images("val", 40)]
    roles = assign_roles(found, fold(2, 5), has_val=True)
    assert Counter(roles.values()) == {"report": 20, "train": 56, "gate": 17, "calib": 7}
    assert {image.source for image in found if roles[image.image_id] == "train"} == {"train", "val"}


def test_a_fold_with_too_few_images_to_be_scored_is_refused_before_anything_is_trained():
    with pytest.raises(DataError, match=r"fold 1 of 3 must have at least 10 images .* has 4 of 12"):
        assign_roles(images("train", 12), RolesConfig(fold=FoldConfig(index=1, of=3)), has_val=False)


def test_a_gate_with_too_few_images_to_decide_is_refused_before_anything_is_trained():
    config = RolesConfig(fold=FoldConfig(index=1, of=2), min_gate_images=6)
    with pytest.raises(DataError, match="the gate of fold 1 must have at least 6 images"):
        assign_roles(images("train", 24), config, has_val=False)


def test_a_fold_must_be_one_of_the_folds():
    with pytest.raises(ValidationError, match="got fold 3 of 3"):
        FoldConfig(index=3, of=3)
