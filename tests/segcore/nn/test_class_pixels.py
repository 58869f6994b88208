from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segcore.data.label_maps import write_label_maps
from segcore.errors import ConfigError
from segcore.nn.class_pixels import class_shares, count_pixels, inverse_sqrt_weights, weights_by_name


def test_pixels_are_counted_by_image_and_class_and_ignored_ones_left_out(tmp_path: Path) -> None:
    maps = [("a", np.array([[0, 1, 255]], np.uint8)), ("b", np.array([[2, 2], [0, 2]], np.uint8))]
    write_label_maps(tmp_path / "maps", maps)
    assert count_pixels(tmp_path / "maps", ("b", "a"), 4).tolist() == [[1, 0, 3, 0], [1, 1, 0, 0]]


def test_inverse_square_roots_weigh_the_mean_pixel_1_and_an_unseen_class_as_the_rarest() -> None:
    shares = class_shares(np.array([[64, 0, 4], [0, 16, 16]]))
    assert shares.tolist() == [0.64, 0.16, 0.2]
    weights = np.array(inverse_sqrt_weights(np.array([0.64, 0.0, 0.36])))
    assert weights[0] / weights[2] == pytest.approx(0.6 / 0.8)
    assert weights[1] == weights[2]
    assert weights @ [0.64, 0.0, 0.36] == pytest.approx(1.0)
    assert inverse_sqrt_weights(np.zeros(2)) == (1.0, 1.0)


def test_classes_that_are_not_named_weigh_1_and_unknown_names_are_refused() -> None:
    assert weights_by_name({"b": 3.0}, ("a", "b")) == (1.0, 3.0)
    with pytest.raises(ConfigError, match=r"train\.loss\.class_weights names the class 'bb'.*did you mean 'b'"):
        weights_by_name({"bb": 3.0}, ("a", "b"))
