from dataclasses import replace

import numpy as np
import pytest

from segcore.errors import DataError
from segcore.outputs.submission import SubmissionSpec, validate_submission, write_submission
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.records import ImageRecord

BLANK = np.zeros((4, 4), np.uint8)
NAMES = ("b.jpg", "sub/a.jpg", "c,d.jpg")
VALID = 'image_id,PredictionString\nb.jpg,1 2 3 4\nsub/a.jpg,2 3 4 5\n"c,d.jpg",3 4 5 6\n'


def record(name):
    return ImageRecord(f"test/{name}", "test", name, "0", 4, 4, "0", name, "test")


@pytest.fixture
def spec(tmp_path):
    """Predictions in another order than the test list, in two files, with images that are in no submission."""
    small = {f"test/{name}": np.array([[1, 2], [3, 4]], np.uint8) + index for index, name in enumerate(NAMES)}
    paths = (tmp_path / "shard_0", tmp_path / "shard_1")
    for path, ids in zip(paths, (("test/c,d.jpg", "unlabeled_0/b.jpg"), ("test/sub/a.jpg", "test/b.jpg")), strict=True):
        with PredictionWriter(path) as writer:
            for image_id in ids:
                writer.write(Prediction(image_id, BLANK, BLANK, small.get(image_id)))
    return SubmissionSpec(paths, tuple(map(record, NAMES)), (2, 2), num_classes=7)


def test_rows_are_joined_by_image_id_in_order_of_the_test_list(spec, tmp_path):
    assert write_submission(spec, tmp_path / "s.csv") == ()
    assert (tmp_path / "s.csv").read_text() == VALID
    validate_submission(tmp_path / "s.csv", NAMES, (2, 2), 7)


def test_nothing_is_left_beside_the_csv(spec, tmp_path):
    before = set(tmp_path.iterdir())
    write_submission(spec, tmp_path / "s.csv")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "s.csv"}


def test_an_image_without_prediction_is_an_error_unless_a_fill_class_is_set(spec, tmp_path):
    lacking = replace(spec, images=(*spec.images, record("z.jpg")))
    with pytest.raises(DataError, match=r"no prediction at submission size for 1 of 4, such as 'test/z.jpg'"):
        write_submission(lacking, tmp_path / "s.csv")
    assert write_submission(replace(lacking, fill_class=0), tmp_path / "s.csv") == ("test/z.jpg",)
    assert (tmp_path / "s.csv").read_text() == VALID + "z.jpg,0 0 0 0\n"


def test_an_empty_test_list_gives_the_header_alone(spec, tmp_path):
    write_submission(replace(spec, images=()), tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "image_id,PredictionString\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (2, 3)}, r"must be \(2, 3\) \(h, w\), got \(2, 2\)"),
        ({"num_classes": 6}, "class ids must be under 6, got 6"),
    ],
)
def test_small_label_maps_that_do_not_fit_are_refused(spec, tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        write_submission(replace(spec, **change), tmp_path / "s.csv")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("image_id,Pred", "id,Pred", "line 1: the header must be image_id,PredictionString, got 'id,PredictionString'"),
        ("b.jpg,1 2", "x.jpg,1 2", "line 2: image_id must be 'b.jpg', got 'x.jpg'"),
        ("1 2 3 4", "1 2 3", "line 2 (b.jpg): must have 2 x 2 = 4 class ids, got 3"),
        ("1 2 3 4", "1 2  4", "line 2 (b.jpg): class ids must be 0 … 6, got '' as number 3"),
        ("2 3 4 5", "2 7 4 5", "line 3 (sub/a.jpg): class ids must be 0 … 6, got '7' as number 2"),
        ("2 3 4 5", "2 -1 4 5", "got '-1' as number 2"),
        ("2 3 4 5", "2 3.0 4 5", "got '3.0' as number 2"),
        ("sub/a.jpg,2 3 4 5\n", "", "after line 3: 1 images are missing"),
        ("sub/a.jpg,2 3 4 5", "b.jpg,2 3 4 5", "line 3: image_id must be 'sub/a.jpg', got 'b.jpg'"),
        ("3 4 5 6\n", "3 4 5 6\nq,1 1 1 1\n", "line 5: only 3 images are in the test list, got a row for 'q'"),
        ('"c,d.jpg",3', "c;d.jpg;3", "line 4: image_id must be 'c,d.jpg', got ''"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, old, new, message):
    (tmp_path / "s.csv").write_text(VALID.replace(old, new))
    with pytest.raises(DataError) as caught:
        validate_submission(tmp_path / "s.csv", NAMES, (2, 2), 7)
    assert message in str(caught.value)
    assert "s.csv is not a valid submission" in str(caught.value)


def test_a_long_list_of_problems_is_cut(tmp_path):
    names = [f"{index}.jpg" for index in range(30)]
    (tmp_path / "s.csv").write_text("image_id,PredictionString\n" + "".join(f"{name},9\n" for name in names))
    with pytest.raises(DataError, match="and 10 more"):
        validate_submission(tmp_path / "s.csv", names, (1, 1), 7)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="must be a readable UTF-8 CSV"):
        validate_submission(tmp_path / "none.csv", NAMES, (2, 2), 7)


def test_windows_line_ends_and_long_rows_are_valid(tmp_path):
    row = " ".join(["10"] * (300 * 300))
    (tmp_path / "s.csv").write_bytes(f"image_id,PredictionString\r\na.jpg,{row}\r\n".encode())
    validate_submission(tmp_path / "s.csv", ["a.jpg"], (300, 300), 11)
