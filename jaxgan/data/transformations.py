"""What makes a source for a picture: its edges, its luma, a part of it; for data sets of pairs made out of plain ones.

Each takes uint8 [..., height, width, channel], one picture or many at once, and gives uint8 [..., h, w, c].
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage

from jaxgan.data.images import DataError

MID_GREY = 128
SEGMENTS = 4
"""How many bands of grey levels `segments` draws."""
CANNY_HIGH, CANNY_LOW = 0.3, 0.12
"""Of the steepest gradient in the picture: what begins a line, and what may continue one."""
CANNY_FLOOR = 12.0
"""Grey levels from pixel to pixel: no line begins below, so that a flat picture's noise has none."""


def luma(picture: np.ndarray) -> np.ndarray:
    """uint8 [..., h, w, c] -> uint8 [..., h, w, 1]: ITU-R 601 of three channels, rounded as by Pillow, else means."""
    channels = picture.shape[-1]
    if channels == 1:
        return picture
    if channels != 3:
        return np.rint(picture.mean(-1, keepdims=True)).astype(np.uint8)
    red, green, blue = (picture[..., i : i + 1].astype(np.uint32) for i in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)


def canny(picture: np.ndarray) -> np.ndarray:
    """Lines one pixel wide along the steepest places, 255 on 0, one channel.

    Canny, "A Computational Approach to Edge Detection", 1986, IEEE TPAMI 8(6): a Gaussian (deviation side / 40, in
    0.5..1.4), Sobel's gradient, suppression of what is no maximum along it, and hysteresis: weak places stay where
    they touch a strong one, directly or through others. Of two equal neighbours the darker stays. Directions are
    rounded to eight, and both thresholds are relative to the steepest place of the picture itself (`CANNY_HIGH`,
    `CANNY_LOW`), unlike OpenCV's and scikit-image's.
    """
    grey, lead = _flat(picture)
    height, width = grey.shape[1:]
    deviation = min(max(min(height, width) / 40, 0.5), 1.4)
    down, right = _gradient(ndimage.gaussian_filter(grey, (0, deviation, deviation)))
    steepness = np.hypot(down, right)
    # sector k: the gradient points k * 45 degrees from the right, downwards
    sector = np.rint(np.arctan2(down, right) / (np.pi / 4)).astype(np.int8) % 8
    padded = np.pad(steepness, ((0, 0), (1, 1), (1, 1)))
    ridge = np.zeros(grey.shape, bool)
    # a step between two pixels is equally steep on both: rounding must not decide which one stays
    tolerance = np.float32(1 + 1e-4)
    for k, (dy, dx) in enumerate([(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]):
        before = padded[:, 1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        after = padded[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        ridge |= (sector == k) & (steepness > before * tolerance) & (steepness * tolerance >= after)
    steepest = steepness.max((1, 2), keepdims=True, initial=0)
    high = np.maximum(CANNY_HIGH * steepest, CANNY_FLOOR)
    within = np.zeros((3, 3, 3), bool)
    within[1] = True  # pixels touch within their own picture only
    pieces, count = ndimage.label(ridge & (steepness >= high * (CANNY_LOW / CANNY_HIGH)), within)
    kept = np.zeros(count + 1, bool)
    kept[pieces[ridge & (steepness >= high)]] = True
    return (kept[pieces] * np.uint8(255)).reshape(*lead, height, width, 1)


def sobel(picture: np.ndarray) -> np.ndarray:
    """The length of Sobel's gradient of the luma, one channel; a straight step of s levels is s, and 255 the most."""
    grey, lead = _flat(picture)
    steepness = np.hypot(*_gradient(grey))
    return np.rint(steepness).clip(0, 255).astype(np.uint8).reshape(*lead, *grey.shape[1:], 1)


def grey(picture: np.ndarray) -> np.ndarray:
    """The luma, for learning to colour. DataError for pictures that are grey already."""
    if picture.shape[-1] == 1:
        raise DataError("grey is for colour pictures, and these are grey already; choose another transformation")
    return luma(picture)


def masked(picture: np.ndarray) -> np.ndarray:
    """The picture with a central square, half of its shorter side long, painted mid-grey."""
    height, width = picture.shape[-3:-1]
    side = min(height, width) // 2
    top, left = (height - side) // 2, (width - side) // 2
    out = picture.copy()
    out[..., top : top + side, left : left + side, :] = MID_GREY
    return out


def low_resolution(picture: np.ndarray) -> np.ndarray:
    """The means of squares of 4x4 pixels, or of 2x2 where the shorter side is under 16: a smaller picture.

    DataError where the sides are no multiples of that.
    """
    *lead, height, width, channels = picture.shape
    factor = 2 if min(height, width) < 16 else 4
    if height % factor or width % factor:
        raise DataError(
            f"low_resolution reduces by {factor}, and pictures of {height}x{width} are no multiple of it; "
            f"give --size {max(min(height, width) // factor, 1) * factor}"
        )
    squares = picture.reshape(*lead, height // factor, factor, width // factor, factor, channels)
    return np.rint(squares.mean((-4, -2), dtype=np.float32)).astype(np.uint8)


def segments(picture: np.ndarray) -> np.ndarray:
    """A label map: the luma's levels in `SEGMENTS` bands, drawn as evenly spaced greys, one channel.

    The bands are those of each picture that leave the least variance within, as Otsu's two, sought by Lloyd's
    iteration on the histogram ("Least Squares Quantization in PCM", 1982, IEEE Trans. Inf. Theory 28(2), Sec. V,
    method I) from bands of equal width between the darkest and the brightest level. A flat picture is one band, 0.
    """
    levels, lead = _flat(picture)
    n, height, width = levels.shape
    pixels = levels.reshape(n, height * width).astype(np.int64)
    histogram = np.bincount((pixels + 256 * np.arange(n)[:, None]).ravel(), minlength=256 * n).reshape(n, 256)
    below = np.pad(histogram.cumsum(1), ((0, 0), (1, 0)))
    mass = np.pad((histogram * np.arange(256)).cumsum(1), ((0, 0), (1, 0)))
    low, high = pixels.min(1, initial=255)[:, None], pixels.max(1, initial=0)[:, None]
    between = np.arange(1, SEGMENTS) / SEGMENTS
    # band k of a picture: levels in [bound[k], bound[k + 1])
    inner = np.floor(low + (high - low) * between).astype(np.int64) + 1
    for _ in range(20):
        bound = np.concatenate([np.zeros((n, 1), np.int64), inner, np.full((n, 1), 256)], 1)
        count = np.diff(np.take_along_axis(below, bound, 1), axis=1)
        total = np.diff(np.take_along_axis(mass, bound, 1), axis=1)
        # an empty band keeps its middle, between its neighbours
        centre = np.where(count > 0, total / np.maximum(count, 1), (bound[:, :-1] + bound[:, 1:] - 1) / 2)
        moved = np.floor((centre[:, :-1] + centre[:, 1:]) / 2).astype(np.int64) + 1
        if (moved == inner).all():
            break
        inner = moved
    band = (pixels[:, :, None] >= np.where(high > low, inner, 256)[:, None, :]).sum(-1)
    drawn = (np.arange(SEGMENTS) * 255 // (SEGMENTS - 1)).astype(np.uint8)
    return drawn[band].reshape(*lead, height, width, 1)


def negative(picture: np.ndarray) -> np.ndarray:
    """255 less every value."""
    return 255 - picture


TRANSFORMATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "canny": canny,
    "sobel": sobel,
    "grey": grey,
    "masked": masked,
    "low_resolution": low_resolution,
    "segments": segments,
    "negative": negative,
}


def _flat(picture: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """The luma as float32 [n, h, w], and the leading axes that n stands for."""
    *lead, height, width, _ = picture.shape
    return luma(picture).reshape(-1, height, width).astype(np.float32), tuple(lead)


def _gradient(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sobel's derivatives of [n, h, w] downwards and to the right; a straight step of s levels gives s."""

    def along(axis: int) -> np.ndarray:
        across = 3 - axis
        slope = ndimage.correlate1d(grey, np.array([-1, 0, 1], np.float32), axis)
        return ndimage.correlate1d(slope, np.array([1, 2, 1], np.float32) / 4, across)

    return along(1), along(2)
