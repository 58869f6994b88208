import numpy as np
import pytest

from segcore.errors import DataError
from segcore.pseudo.chunks import GROUPS_PER_CHUNK, plan_chunks, read_chunk
from segcore.pseudo.predictions import IMAGES_PER_ROW_GROUP, Prediction, PredictionWriter
from segcore.records import ImageRecord

PER_CHUNK = GROUPS_PER_CHUNK * IMAGES_PER_ROW_GROUP
NUM_IMAGES = 3 * PER_CHUNK + 1


def record(image_id, width=1):
    return ImageRecord(image_id, "u", image_id, "0", width, 1, "0", image_id, "unlabeled")


@pytest.fixture
def path(tmp_path):
    """A file of one-pixel predictions "0", "1" …, each of class 0 and of the level of its number, modulo 256."""
    with PredictionWriter(tmp_path / "p.parquet") as writer:
        for number in range(NUM_IMAGES):
            level = np.array([[number % 256]], np.uint8)
            writer.write(Prediction(str(number), np.zeros((1, 1), np.uint8), level, level))
    return tmp_path / "p.parquet"


def test_chunks_hold_every_image_of_the_pool_once_and_in_order(path):
    pool = {str(number): record(str(number)) for number in range(0, NUM_IMAGES, 3)}
    chunks = [chunk for chunk, _ in plan_chunks(path, pool, 2)]
    assert len(chunks) == 4
    assert [image.image_id for chunk in chunks for image in chunk.images] == list(pool)
    read = [
        (image.image_id, int(prediction.confidence[0, 0]))
        for chunk in chunks
        for image, prediction in read_chunk(chunk)
    ]
    assert read == [(image_id, int(image_id) % 256) for image_id in pool]


def test_chunks_without_an_image_of_the_pool_are_left_out(path):
    chunks = plan_chunks(path, {str(PER_CHUNK): record(str(PER_CHUNK))}, 2)
    assert [chunk.groups for chunk, _ in chunks] == [tuple(range(GROUPS_PER_CHUNK, 2 * GROUPS_PER_CHUNK))]


def test_the_histograms_of_chunks_add_up_to_that_of_the_pool(path):
    pool = {str(number): record(str(number)) for number in (0, 1, 2 * PER_CHUNK)}
    total = sum(histogram for _, histogram in plan_chunks(path, pool, 2))
    assert total.shape == (2, 256)
    assert [tuple(cell) for cell in np.argwhere(total).tolist()] == [(0, 0), (0, 1), (0, 2 * PER_CHUNK)]


def test_small_label_maps_and_histograms_are_not_read_again(path):
    ((chunk, _),) = plan_chunks(path, {"0": record("0")}, 2)
    assert [(item.small_label_map, item.histogram) for _, item in read_chunk(chunk)] == [(None, None)]


def test_a_prediction_of_another_size_than_its_image_is_refused(path):
    ((chunk, _),) = plan_chunks(path, {"0": record("0", width=2)}, 2)
    with pytest.raises(DataError, match="0: the prediction must be 2 x 1 px as the image, got 1 x 1"):
        list(read_chunk(chunk))
