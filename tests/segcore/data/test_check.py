from __future__ import annotations

import pytest

from segcore.data.check import check_data


def messages(config, severity: str) -> list[str]:
    return [finding.message for finding in check_data(config) if finding.severity == severity]


def test_good_data_has_no_errors_and_few_images_of_a_class_are_a_warning(tiny):
    config = tiny.config(roles={"min_gate_images": 2})
    assert messages(config, "error") == []
    assert messages(config, "warning") == [
        "class 'can' is in 2 of the 4 train images",
        "class 'bottle' is in 2 of the 4 train images",
        "class 'can' is in 3 of the 6 val images",
        "class 'bottle' is in 3 of the 6 val images",
    ]


def test_too_few_gate_images_are_an_error_before_anything_is_trained(tiny):
    assert messages(tiny.config(), "error") == [
        "the gate would get about 4 images, roles.min_gate_images asks for 10; add validation images, raise "
        "roles.gate_share (or roles.val_share without val), or lower roles.min_gate_images"
    ]


def test_bad_labelled_images_are_errors_and_bad_pool_images_warnings(tiny):
    (tiny.root / "val" / "001.jpg").write_bytes(b"")
    (tiny.root / "unlabeled" / "001.jpg").write_bytes(b"")
    config = tiny.config(roles={"min_gate_images": 2})
    (error,) = messages(config, "error")
    assert "val/001.jpg" in error
    assert any("quarantined" in text and "unlabeled/001.jpg" in text for text in messages(config, "warning"))


def test_a_pool_without_a_usable_image_is_an_error(tiny):
    for path in (tiny.root / "unlabeled").iterdir():
        path.write_bytes(b"")
    (error,) = messages(tiny.config(roles={"min_gate_images": 2}), "error")
    assert "data.unlabeled_0: none of its images is usable, say " in error
    assert "unlabeled/000.jpg" in error


@pytest.mark.parametrize("source", ["train", "val"])
def test_a_broken_label_file_is_the_one_error(tiny, source: str):
    tiny.raw[source] = "{"
    (error,) = messages(tiny.config(), "error")
    assert f"{source}.json: not valid JSON" in error


def test_many_errors_are_counted_not_all_shown(tiny):
    tiny.add("train", 30, 500)
    for path in (tiny.root / "train").iterdir():
        path.unlink()
    found = messages(tiny.config(roles={"min_gate_images": 2}), "error")
    assert len(found) == 21
    assert found[-1] == "… and 10 more errors of this kind"
