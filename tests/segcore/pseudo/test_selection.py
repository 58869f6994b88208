import numpy as np
import pytest

from segcore.config.label_schema import FilterConfig
from segcore.errors import DataError
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.pseudo.selection import Choice, choice_of, reliable_images, reliable_share
from segcore.records import ImageRecord

MAP = np.zeros((1, 1), np.uint8)


def record(image_id):
    return ImageRecord(image_id, "u", image_id, "0", 1, 1, "0", image_id, "unlabeled")


@pytest.fixture
def written(tmp_path):
    """Return a function that writes predictions with agreements, two to a file, and returns the paths."""

    def write(agreement):
        items = list(agreement.items())
        paths = []
        for first in range(0, len(items), 2):
            paths.append(tmp_path / f"{first}.parquet")
            with PredictionWriter(paths[-1]) as writer:
                for image_id, value in items[first : first + 2]:
                    writer.write(Prediction(image_id, MAP, MAP, agreement=value))
        return paths

    return write


def chosen(images, paths, share, ranked_by="views"):
    choice = Choice(share, ranked_by)
    return [image.image_id for image in reliable_images([record(name) for name in images], paths, choice)]


@pytest.mark.parametrize(
    ("share", "expected"),
    [(1.0, "dbcae"), (0.8, "dbca"), (0.75, "dbc"), (0.5, "db"), (0.25, "b"), (0.01, "b")],
)
def test_the_images_whose_views_agree_most_are_chosen_in_the_order_given(written, share, expected):
    paths = written({"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.7, "calib": 1.0})
    assert chosen("dbcae", paths, share) == [*expected]


def test_of_two_that_agree_equally_the_first_by_id_is_taken(written):
    assert chosen("cba", written({"c": 0.5, "b": 0.5, "a": 0.4}), 0.3) == ["b"]


def test_images_are_ranked_by_checkpoints_where_the_config_says_so(tmp_path):
    with PredictionWriter(tmp_path / "p.parquet") as writer:
        for image_id, views, checkpoints in (("a", 0.9, 0.1), ("b", 0.2, 0.8), ("c", 0.3, 0.5)):
            writer.write(Prediction(image_id, MAP, MAP, agreement=views, checkpoint_agreement=checkpoints))
    assert chosen("abc", [tmp_path / "p.parquet"], 0.5) == ["a", "c"]
    assert chosen("abc", [tmp_path / "p.parquet"], 0.5, "checkpoints") == ["b", "c"]
    assert choice_of(FilterConfig(reliability="checkpoints", reliable_share=0.5), 1) == Choice(0.5, "checkpoints")


def test_predictions_without_checkpoints_cannot_be_ranked_by_them(written):
    with pytest.raises(DataError, match=r"a has no agreement of checkpoints.*label them again"):
        chosen("a", written({"a": 0.5}), 0.5, "checkpoints")


def test_without_agreement_the_remedy_is_told(written):
    with pytest.raises(DataError, match=r"b has no agreement of views.*label\.flip"):
        chosen("ab", written({"a": 0.5, "b": None}), 0.5)


@pytest.mark.parametrize(("round_index", "share"), [(1, 0.4), (2, 0.7), (3, 1.0), (9, 1.0)])
def test_the_share_grows_to_all(round_index, share):
    assert reliable_share(FilterConfig(reliable_share=0.4, reliable_step=0.3), round_index) == pytest.approx(share)
