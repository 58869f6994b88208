"""What a student cannot be, said when the config is read."""

from __future__ import annotations

from typing import Any

import pytest

from segcore.config.load import parse_config
from segcore.config.schema import RunConfig
from segcore.errors import ConfigError

IMAGES = {"images": "/images", "annotations": "/list.json"}


def config_with(student: dict[str, Any], **sections: Any) -> RunConfig:
    data = {"train": IMAGES, "unlabeled": [IMAGES], "test": IMAGES, "unannotated": "background"}
    return parse_config({"data": data, "train": {"iterations": 10}, "student": student, **sections}, "test")


GIVEN = {"checkpoint": "/t.pth", "config": "/t.py", "trained_on": []}
NO_POOL = {"train": IMAGES, "test": IMAGES, "unannotated": "ignore"}
LARGER = [{"preset": "segformer_b2"}]


@pytest.mark.parametrize(
    ("student", "sections", "expected"),
    [
        ({"start": "teacher", "growing": LARGER}, {}, "another architecture.*set student.start to fresh"),
        ({"start": "teacher"}, {"model": {"teacher": GIVEN}}, r"give its file as model.config \(/t.py"),
        (
            {"consistency": {}},
            {"loop": {"rounds": 0}, "pool": {"use_test": False}, "data": NO_POOL},
            "student.consistency is given, but there are no images without labels",
        ),
        ({"ema": 1.0}, {}, "student.ema: Input should be less than 1, got 1.0"),
        ({"consistency": {"taus": 1}}, {}, "did you mean student.consistency.tau"),
        ({"growing": [{"preset": None}]}, {}, "student.growing.0: exactly one of preset and config"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_to_do(
    student: dict[str, Any], sections: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        config_with(student, **sections)


def test_what_fits_is_taken() -> None:
    other_weights = [{"weights": None}]
    assert config_with({"start": "teacher", "growing": other_weights}).student.growing[0].weights is None
    given = {"preset": None, "config": "/t.py", "weights": None, "teacher": GIVEN}
    assert config_with({"start": "teacher"}, model=given).student.start == "teacher"
    assert config_with({"consistency": {}}, loop={"rounds": 0}).student.consistency is not None


@pytest.mark.parametrize(("batch_size", "given", "expected"), [(8, None, 4), (3, None, 1), (2, 7, 7)])
def test_by_default_half_as_many_pool_images_as_labelled_ones(
    batch_size: int, given: int | None, expected: int
) -> None:
    consistency = config_with({"consistency": {"unlabelled_batch": given}}).student.consistency
    assert consistency is not None
    assert consistency.images_of(batch_size) == expected
