import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segcore.errors import DataError
from segcore.pseudo.confidence import count_levels
from segcore.pseudo.predictions import (
    SCHEMA,
    Prediction,
    PredictionWriter,
    read_agreements,
    read_histograms,
    read_image_ids,
    read_predictions,
    row_of,
)

shapes = st.tuples(st.integers(1, 5), st.integers(1, 5))


@st.composite
def predictions(draw):
    shape, small_shape = draw(shapes), draw(st.none() | shapes)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    label_map, confidence = random.integers(0, 256, (2, *shape), np.uint8)
    small = None if small_shape is None else random.integers(0, 256, small_shape, np.uint8)
    histogram = count_levels(label_map, confidence, 256) if draw(st.booleans()) else None
    agreements = draw(st.tuples(*[st.none() | st.floats(0, 1)] * 2))
    return Prediction(draw(st.text(max_size=5)), label_map, confidence, small, histogram, *agreements)


def prediction(image_id, value=1, shape=(2, 3)):
    return Prediction(image_id, np.full(shape, value, np.uint8), np.full(shape, 200, np.uint8))


def write(path, items):
    with PredictionWriter(path) as writer:
        for item in items:
            writer.write(item)
    return path


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(predictions(), max_size=20))
def test_what_is_written_is_read_back_in_order(tmp_path_factory, items):
    path = write(tmp_path_factory.mktemp("p") / "x.parquet", items)
    assert [row_of(item) for item in read_predictions(path)] == [row_of(item) for item in items]
    assert read_image_ids(path) == tuple(item.image_id for item in items)
    assert list(read_agreements(path)) == [(item.image_id, item.agreement) for item in items]
    by_checkpoints = [(item.image_id, item.checkpoint_agreement) for item in items]
    assert list(read_agreements(path, "checkpoints")) == by_checkpoints


@settings(max_examples=20, deadline=None)
@given(st.lists(predictions(), min_size=1, max_size=20))
def test_every_histogram_read_is_that_of_the_maps_whoever_counted_it(tmp_path_factory, items):
    path = write(tmp_path_factory.mktemp("p") / "x.parquet", items)
    read = [row for group in read_histograms(path) for row in group]
    assert [image_id for image_id, _ in read] == [item.image_id for item in items]
    for item, (_, histogram) in zip(items, read, strict=True):
        assert (np.pad(histogram, ((0, 256 - len(histogram)), (0, 0))) == one_by_one(item)).all()


def one_by_one(item):
    counts = np.zeros((256, 256), int)
    for class_id, level in zip(item.label_map.ravel(), item.confidence.ravel(), strict=True):
        counts[class_id, level] += 1
    return counts


def test_only_wanted_images_are_read(tmp_path):
    path = write(tmp_path / "x.parquet", [prediction(f"test/{i}.jpg") for i in range(30)])
    assert [item.image_id for item in read_predictions(path, {"test/17.jpg", "test/3.jpg", "test/99.jpg"})] == [
        "test/3.jpg",
        "test/17.jpg",
    ]


@given(ids=st.sets(st.text("aé/😀", min_size=1, max_size=5), max_size=40), data=st.data())
def test_any_choice_of_images_is_found_in_any_order_of_writing(tmp_path_factory, ids, data):
    written = data.draw(st.permutations(sorted(ids)))
    wanted = data.draw(st.sets(st.sampled_from([*written, "b", "", "😁"])))
    path = tmp_path_factory.mktemp("chosen") / "predictions.parquet"
    with PredictionWriter(path) as writer:
        for image_id in written:
            writer.write(Prediction(image_id, np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8)))
    assert [p.image_id for p in read_predictions(path, wanted)] == [name for name in written if name in wanted]


def test_equal_predictions_give_equal_bytes(tmp_path):
    first, second = (write(tmp_path / name, [prediction("a"), prediction("b")]) for name in ("1", "2"))
    assert first.read_bytes() == second.read_bytes()


def test_large_images_come_in_smaller_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("segcore.pseudo.predictions.BYTES_PER_ROW_GROUP", 24)
    path = write(tmp_path / "x.parquet", [prediction(str(i)) for i in range(4)])
    assert pq.ParquetFile(path).num_row_groups == 2


def test_an_exception_leaves_no_file(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "x.parquet", (prediction(str(1 // i)) for i in (1, 0)))
    assert not list(tmp_path.iterdir())


def test_arrays_read_cannot_be_changed(tmp_path):
    item = next(read_predictions(write(tmp_path / "x.parquet", [prediction("a")])))
    with pytest.raises(ValueError, match="read-only"):
        item.label_map[0, 0] = 7


def truncated(path):
    path.write_bytes(write(path, [prediction("a")]).read_bytes()[:-20])


def overwritten(path):
    data = bytearray(write(path, [prediction("a", shape=(50, 50))]).read_bytes())
    data[8:60] = bytes(52)
    path.write_bytes(data)


def other_columns(path):
    pq.write_table(pa.table({"x": [1]}), path)


def without_histograms(path):
    pq.write_table(pa.Table.from_pylist([row_of(prediction("a"))], schema=SCHEMA).drop_columns("histogram"), path)


def short_map(path):
    pq.write_table(pa.Table.from_pylist([row_of(prediction("a")) | {"height": 9}], schema=SCHEMA), path)


def short_histogram(path):
    row = row_of(prediction("a"))
    pq.write_table(pa.Table.from_pylist([row | {"histogram": row["histogram"][:-4]}], schema=SCHEMA), path)


def histogram_of_more(path):
    row = row_of(prediction("a")) | {"histogram": row_of(prediction("a", shape=(2, 4)))["histogram"]}
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMA), path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "must be a readable predictions file"),
        (overwritten, "damaged"),
        (other_columns, "must have the columns"),
        (without_histograms, "must have the columns .* label its shard again"),
        (short_map, "a map of 9 x 3 px must have as many bytes, got 6"),
        (short_histogram, "a histogram must have 256 counts a class of 6 px altogether, got 511 counts"),
        (histogram_of_more, "a histogram must have 256 counts a class of 6 px altogether, got 512 counts of 8 px"),
        (lambda path: None, "must be a readable predictions file"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, damage, message):
    damage(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=message) as caught:
        list(read_predictions(tmp_path / "x.parquet"))
    assert "x.parquet" in str(caught.value)


@pytest.mark.parametrize(
    ("label_map", "confidence", "message"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), "must be one"),
        (np.zeros((2, 3), np.int64), np.zeros((2, 3), np.uint8), "label_map must be 2-D uint8, got 2-D int64"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.float32), "confidence must be 2-D uint8"),
    ],
)
def test_a_prediction_of_wrong_shape_or_type_is_refused(label_map, confidence, message):
    with pytest.raises(DataError, match=message):
        Prediction("a", label_map, confidence)


def test_a_histogram_of_another_shape_is_refused():
    with pytest.raises(DataError, match=r"a: histogram must be \(C, 256\), got \(2, 255\)"):
        Prediction("a", np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8), histogram=np.zeros((2, 255), np.uint32))
