import numpy as np

from segcore.pseudo.calib_counts import class_counts
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
