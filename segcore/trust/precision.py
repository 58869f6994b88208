"""How right the pixels of a class are, with a bound that a few images cannot fool.

Pixels of one image are right or wrong together, so what counts is images. The bound is Clopper and Pearson's for a
share (Biometrika 1934) at the effective sample size of clustered data (Korn and Graubard, Survey Methodology 1998):
`p (1 - p)` over the variance that images show, corrected for few of them. That size is never taken to be larger than
Kish's number of images, `(sum n)^2 / sum n^2` for n pixels each: as if the next image may be wrong as a whole, however
even those seen are. Six perfect images of one size therefore prove a precision of 0.05^(1/6) = 0.61, no more.

An image-level bootstrap cannot know of a kind of failure that none of its images shows, and promises too much: its
"95 %" bounds hold in 60 to 90 % of simulated cases at 30 images (docs/explanation/calibration.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segcore.records import Interval

Floats = NDArray[np.float64]
Counts = NDArray[np.number]

ERROR = 0.05  # chance that a bound does not hold


def precision(count: Counts, correct: Counts) -> Floats:
    """Return the share of pixels that are right over all images, nan where there are none.

    count, correct: (N, ...) pixels by image. Returns (...).
    """
    return share_of(correct.sum(axis=0), count.sum(axis=0))


def effective_images(count: Counts) -> Floats:
    """Return how many images of one size tell as much as these (Kish): at most N, 0 where there are no pixels.

    count: (N, ...) pixels by image. Returns (...).
    """
    pixels = count.astype(np.float64)
    return np.nan_to_num(share_of(pixels.sum(axis=0) ** 2, (pixels**2).sum(axis=0)))


def precision_bound(count: Counts, correct: Counts, error: float = ERROR) -> Floats:
    """Return what the precision is at least, but for the chance `error`; 0 where nothing is known.

    count, correct: (N, ...) pixels by image, correct <= count. Returns (...) float64 in [0, 1].
    """
    from scipy.special import betaincinv  # its import takes half a second, which a run that is reused would wait for

    point = np.nan_to_num(precision(count, correct))
    size = effective_size(count, correct, error)
    right = point * size
    with np.errstate(invalid="ignore"):
        bound = betaincinv(right, size - right + 1, error)
    return np.where(right > 0, np.nan_to_num(bound), 0.0)


def effective_size(count: Counts, correct: Counts, error: float) -> Floats:
    """Return the independent pixels that would tell as much of the precision as these images do: (...) float64."""
    from scipy.special import stdtrit

    num_images = len(count)
    if num_images < 2:
        return np.minimum(effective_images(count), num_images)
    point = np.nan_to_num(precision(count, correct))
    spread = (correct - point * count) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = num_images / (num_images - 1) * spread.sum(axis=0) / count.sum(axis=0).astype(np.float64) ** 2
        size = point * (1 - point) / variance
    few = (stdtrit(num_images - 1, error) / stdtrit(np.inf, error)) ** 2  # Student's t against the normal
    return np.asarray(np.fmin(size / few, effective_images(count)))  # nan or infinite where images do not differ


def expected_precision(count: Counts, correct: Counts, error: float = ERROR) -> Interval | None:
    """Return the precision over all images with bounds of chance `error` on each side; None without pixels.

    count, correct: (N,) pixels by image.
    """
    if not count.sum():
        return None
    low = float(precision_bound(count, correct, error))
    high = 1 - float(precision_bound(count, count - correct, error))
    return Interval(float(precision(count, correct)), low, high)


def cautious_precision(count: Counts, correct: Counts) -> Floats:
    """Return the precision as if one more image, of the mean number of pixels, were wrong as a whole: an expectation.

    For images like those seen, the precision is at least this on average (conformal risk control, Angelopoulos et al.
    2022, equation 4), whatever kind of failure was not seen yet. Of any single case it promises nothing.

    count, correct: (N, ...) pixels by image. Returns (...) float64, 0 where there are no pixels.
    """
    size = effective_images(count)
    return np.nan_to_num(precision(count, correct)) * size / (size + 1)


def share_of(part: NDArray[np.number], whole: NDArray[np.number]) -> Floats:
    """Return part / whole element by element, nan where whole is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(whole > 0, part / whole, np.nan), np.float64)
