import cv2
import numpy as np
import pytest
from PIL import Image

from segcore.data.label_maps import LabelMaps, write_label_maps
from segcore.errors import DataError
from segcore.outputs.index_png import export_index_pngs, png_names

LABEL_MAP = np.array([[0, 1], [2, 255]], np.uint8)
PALETTE = ((0, 0, 0), (200, 10, 20), (30, 40, 50))


@pytest.fixture
def exported(tmp_path):
    write_label_maps(tmp_path / "maps", [("test/sub/a.jpg", LABEL_MAP), ("test/b.jpg", LABEL_MAP)])
    assert export_index_pngs(LabelMaps(tmp_path / "maps"), ["test/sub/a.jpg"], tmp_path / "out", PALETTE) == 1
    return tmp_path / "out" / "test" / "sub" / "a.png"


def test_the_pixel_value_is_the_class_id(exported):
    with Image.open(exported) as image:
        assert image.mode == "P"
        assert np.asarray(image).tolist() == LABEL_MAP.tolist()


def test_the_palette_only_colours_and_ignore_is_white(exported):
    colours = cv2.cvtColor(cv2.imread(str(exported)), cv2.COLOR_BGR2RGB).reshape(-1, 3)
    assert colours.tolist() == [[0, 0, 0], [200, 10, 20], [30, 40, 50], [255, 255, 255]]


def test_only_the_wanted_images_are_written(exported):
    assert [path.name for path in exported.parents[2].rglob("*.png")] == ["a.png"]


def test_images_that_would_share_a_name_keep_their_suffix():
    names = png_names(["u/a.jpg", "u/a.png", "v/a.jpg"])
    assert list(map(str, names.values())) == ["u/a.jpg.png", "u/a.png.png", "v/a.png"]


@pytest.mark.parametrize("image_id", ["../a.jpg", "/etc/a.jpg", "u/../../a.jpg"])
def test_no_image_leaves_the_folder(image_id):
    with pytest.raises(DataError, match="must stay inside"):
        png_names([image_id])
