import numpy as np

from segcore.pseudo.calib_counts import class_counts, pooled_counts
from segcore.pseudo.histograms import CalibHistogram

HISTOGRAM = CalibHistogram(
    ("a", "b", "c"),
    image_index=np.array([0, 0, 0, 1, 2]),
    class_id=np.array([0, 1, 1, 0, 1]),
    level=np.array([9, 3, 7, 9, 255]),
    count=np.array([4, 5, 2, 8, 1]),
    correct=np.array([4, 1, 2, 0, 1]),
)


def test_pixels_are_counted_from_each_level_up_on_the_images_that_have_the_class():
    counts = class_counts(HISTOGRAM, 1)
    assert counts.num_images == 2
    assert counts.count[:, [0, 3, 4, 7, 8, 255]].tolist() == [[7, 7, 2, 2, 0, 0], [1, 1, 1, 1, 1, 1]]
    assert counts.correct[:, [0, 3, 4, 7, 8, 255]].tolist() == [[3, 3, 2, 2, 0, 0], [1, 1, 1, 1, 1, 1]]


def test_a_class_that_is_never_predicted_has_no_image():
    counts = class_counts(HISTOGRAM, 2)
    assert counts.count.shape == counts.correct.shape == (0, 256)


def test_pooled_every_class_weighs_as_much_as_any_other():
    counts = pooled_counts(HISTOGRAM)
    pixels = {0: 12, 1: 8}
    assert counts.num_images == 3
    np.testing.assert_allclose(counts.count[:, 0], [4 / pixels[0] + 7 / pixels[1], 8 / pixels[0], 1 / pixels[1]])
    np.testing.assert_allclose(counts.correct[:, 0], [4 / pixels[0] + 3 / pixels[1], 0, 1 / pixels[1]])
    np.testing.assert_allclose(counts.count[:, 8], [4 / pixels[0], 8 / pixels[0], 1 / pixels[1]])
