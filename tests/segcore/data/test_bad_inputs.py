"""Wrong inputs as users make them: one clear error, or a quarantine entry, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segcore.data.check import check_data
from segcore.data.index import build_index
from segcore.errors import SegloopError


def set_in(source: str, *place: Any) -> Callable[[Any], None]:
    """Return a change that sets a field of a source's document: all but the last argument are its path."""

    def change(tiny: Any) -> None:
        target = tiny.documents[source]
        for key in place[:-2]:
            target = target[key]
        target[place[-2]] = place[-1]

    return change


def raw(source: str, text: str) -> Callable[[Any], None]:
    return lambda tiny: tiny.raw.update({source: text})


def truncate(source: str) -> Callable[[Any], None]:
    def change(tiny: Any) -> None:
        path = tiny.root / source / "000.jpg"
        path.write_bytes(path.read_bytes()[:700])

    return change


def link_outside(source: str) -> Callable[[Any], None]:
    def change(tiny: Any) -> None:
        path = tiny.root / source / "000.jpg"
        secret = tiny.root / "secret.jpg"
        path.rename(secret)
        path.symlink_to(secret)

    return change


def enlarge(source: str) -> Callable[[Any], None]:
    return lambda tiny: Image.new("1", (16_000, 16_000)).save(tiny.root / source / "001.png")


def drop_bottles(tiny: Any) -> None:
    for document in tiny.documents.values():
        document["categories"] = document["categories"][:1]
        document["annotations"] = document["annotations"][::2]


IMAGE_0, ANNOTATION_0 = ("images", 0), ("annotations", 0)

ERRORS: list[tuple[str, Callable[[Any], None], dict[str, Any], str]] = [
    ("broken JSON", raw("train", '{"images": ['), {}, r"train\.json: not valid JSON, line 1 column 13"),
    ("not an object", raw("val", "[1, 2]"), {}, r"val\.json: expected a JSON object"),
    ("missing image", set_in("train", *IMAGE_0, "file_name", "gone.jpg"), {}, r"train/gone\.jpg: cannot be read"),
    ("unknown image", set_in("val", *ANNOTATION_0, "image_id", 999), {}, r"val\.json: .*got 999"),
    ("unknown category", set_in("train", *ANNOTATION_0, "category_id", 1), {}, r"one of \[3 can, 7 bottle\], got 1"),
    (
        "polygon outside",
        set_in("train", *ANNOTATION_0, "segmentation", [[70, 1, 80, 1, 80, 9]]),
        {},
        r"annotations\[0\] \(id 100\) of image 000\.jpg: a polygon lies outside the image: x 70…80, y 1…9 for .* 64x48",
    ),
    ("polygon of a point", set_in("train", *ANNOTATION_0, "segmentation", [[7, 1]]), {}, "at least 6 numbers"),
    (
        "RLE of another image",
        set_in("train", *ANNOTATION_0, "segmentation", {"size": [9, 9], "counts": [81]}),
        {},
        r"size must be the image's \[height, width\] = \[48, 64\], got \[9, 9\]",
    ),
    ("damaged RLE", set_in("val", *ANNOTATION_0, "segmentation", {"size": [48, 64], "counts": "o"}), {}, "damaged"),
    ("path traversal", set_in("train", *IMAGE_0, "file_name", "../val/000.jpg"), {}, "must stay inside"),
    ("absolute path", set_in("val", *IMAGE_0, "file_name", "/etc/passwd"), {}, "must be relative"),
    ("link outside", link_outside("train"), {}, "symbolic link"),
    ("size mismatch", set_in("train", *IMAGE_0, "width", 63), {}, "says 63x48, the image is 64x48"),
    ("empty val", raw("val", '{"images": [], "categories": [], "annotations": []}'), {}, "data.val to null"),
    ("no annotation", set_in("train", "annotations", []), {}, "expected annotations to learn from"),
    ("one class only", drop_bottles, {"unannotated": "ignore"}, r"2 to 255 classes, got 1 \(can\)"),
    ("truncated JPEG", truncate("val"), {}, r"val/000\.jpg: the file ends early"),
    ("bomb", set_in("train", "images", 0, "id", 10), {"max_megapixels": 0.001}, r"data\.max_megapixels \(0\.001\)"),
    ("other categories", set_in("val", "categories", 0, "name", "tin"), {}, "id 3 is 'tin' here and 'can' there"),
    ("no folder", lambda tiny: (tiny.root / "train").rename(tiny.root / "x"), {}, "expected a folder of images"),
    ("empty pool", lambda tiny: [p.unlink() for p in (tiny.root / "unlabeled").iterdir()], {}, "found none"),
    ("unknown colour", set_in("val", "info", {}), {"palette": {"cup": (0, 0, 0)}}, "'cup', which is no class"),
    ("repeated id", set_in("train", "images", 1, "id", 10), {}, "the id 10 is used twice in images"),
    ("bad shares", set_in("val", "info", {}), {"roles": {"gate_share": 0.9, "report_share": 0.5}}, "at most 1"),
]


@pytest.mark.parametrize(("change", "fields", "message"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_a_wrong_input_is_one_clear_error(tiny, tmp_path: Path, change, fields, message):
    change(tiny)
    out = tmp_path / "index"
    out.mkdir()
    with pytest.raises(SegloopError, match=message) as caught:
        build_index(tiny.config(**fields), out)
    assert "Traceback" not in str(caught.value)


NEEDS_DECODING = {"truncated JPEG"}


@pytest.mark.parametrize(
    ("change", "fields", "message"),
    [row[1:] for row in ERRORS if row[0] not in NEEDS_DECODING],
    ids=[row[0] for row in ERRORS if row[0] not in NEEDS_DECODING],
)
def test_check_finds_it_without_decoding_an_image(tiny, change, fields, message):
    change(tiny)
    fields = {"roles": {"min_gate_images": 1}} | fields
    errors = [finding.message for finding in check_data(tiny.config(**fields)) if finding.severity == "error"]
    with pytest.raises(SegloopError, match=message):
        raise SegloopError("\n".join(errors))


@pytest.mark.parametrize(
    ("change", "image", "reason"),
    [
        (truncate("unlabeled"), "unlabeled_0/000.jpg", "ends early"),
        (link_outside("unlabeled"), "unlabeled_0/000.jpg", "symbolic link"),
        (enlarge("unlabeled"), "unlabeled_0/001.png", "256.0 megapixels"),
        (set_in("test", *IMAGE_0, "file_name", "gone.jpg"), "test/gone.jpg", "cannot be read"),
        (set_in("test", *IMAGE_0, "height", 9), "test/000.jpg", "says 64x9"),
    ],
    ids=["truncated", "link outside", "over the cap", "missing", "size mismatch"],
)
def test_a_bad_pool_image_is_quarantined(tiny, tmp_path: Path, change, image, reason):
    change(tiny)
    (tmp_path / "index").mkdir()
    summary = build_index(tiny.config(), tmp_path / "index")
    (item,) = summary.quarantined
    assert item.image_id == image
    assert reason in item.reason
