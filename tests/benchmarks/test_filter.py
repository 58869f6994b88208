import dataclasses
import json

import click
import pyarrow.parquet as pq
import pytest

from benchmarks.filter import NUM_CLASSES, Pictures, record, same_annotations, write_by_segloop, write_obviously
from benchmarks.filter_pictures import draw_prediction
from segcore.pseudo.predictions import PredictionWriter

SIZE_PX = 96


@pytest.fixture
def written(tmp_path):
    predictions = tuple(draw_prediction(f"u/{seed}.jpg", seed, SIZE_PX, NUM_CLASSES) for seed in range(4))
    records = (record(item.image_id) for item in predictions)
    images = tuple(dataclasses.replace(image, width=SIZE_PX, height=SIZE_PX) for image in records)
    for way, name in ((write_by_segloop, "segloop"), (write_obviously, "obvious")):
        way(Pictures(predictions, images), tmp_path / name)
    return [json.loads((tmp_path / name).read_text()) for name in ("segloop", "obvious")]


def test_both_ways_that_are_timed_write_the_same_annotations(written):
    assert same_annotations(*written) == len(written[0]["annotations"]) > 4


@pytest.mark.parametrize(("field", "value"), [("area", 1), ("iscrowd", 2), ("score", 0.5)])
def test_ways_that_differ_are_not_compared_in_speed(written, field, value):
    written[1]["annotations"][0][field] = value
    with pytest.raises(click.ClickException, match="nothing was measured"):
        same_annotations(*written)


def test_histograms_are_small_against_the_maps(tmp_path):
    with PredictionWriter(tmp_path / "x.parquet") as writer:
        for seed in range(2):
            writer.write(draw_prediction(str(seed), seed, 512, NUM_CLASSES))
    group = pq.ParquetFile(tmp_path / "x.parquet").metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    num_bytes = {column.path_in_schema: column.total_compressed_size for column in columns}
    assert num_bytes["histogram"] < 0.02 * (num_bytes["label_map"] + num_bytes["confidence"])
