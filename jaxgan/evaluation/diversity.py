"""Multi-scale structural similarity of two images, and of random pairs: how alike the images of one class are."""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan.arrays import Array, to_float

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first: Wang, Simoncelli, Bovik 2003, section 3.2."""
WINDOW, WINDOW_DEVIATION = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
PAIRS_AT_ONCE = 50


def num_scales(height: int, width: int) -> int:
    """How many scales, at most 5, images have: the window of 11 pixels must fit into the smallest.

    5 from 176 pixels a side, 4 from 88, 3 from 44, 2 from 22 and 1 from 11. Raises ValueError below.
    """
    side = min(height, width)
    if side < WINDOW:
        raise ValueError(f"structural similarity takes images of at least {WINDOW}x{WINDOW}, got {height}x{width}")
    return min((side // WINDOW).bit_length(), len(SCALE_WEIGHTS))


def ms_ssim(a: ArrayLike, b: ArrayLike, scales: int | None = None) -> np.ndarray:
    """Multi-scale structural similarity of images a and b [n, height, width, channel], pair by pair: float32 [n].

    uint8 in [0, 255] or floats in [-1, 1]; both are brought to [0, 1], for the luminance term depends on where 0 is. In
    [0, 1], and 1 for equal images. `scales` defaults to `num_scales`: the paper's five need 176 pixels, and values
    at different numbers of scales do not compare. With fewer, the first weights are brought to sum 1, and with 1 it
    is the mean structural similarity (SSIM; Wang, Bovik, Sheikh, Simoncelli 2004) instead, in [-1, 1].

    Gaussian window of 11 pixels and deviation 1.5, placed only where it fits; variances by n, not n - 1; scales by
    means of 2x2, an odd last row or column left out; for each channel alone the mean of contrast and structure at
    each scale, with luminance at the coarsest only, to the power of its weight, multiplied; then the mean over
    channels, as in TensorFlow's `ssim_multiscale`. A negative mean, which has no such power, counts as 0.

    Raises ValueError for shapes that differ or are no images, and for more scales than fit.
    Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment", 2003, equation 7.
    """
    a, b = _checked(a), _checked(b)
    if a.shape != b.shape:
        raise ValueError(f"images to compare must have one shape, got {a.shape} and {b.shape}")
    scales = _scales(a.shape, scales)
    both = np.concatenate([a, b])
    places = np.arange(len(a))
    return _of_pairs(both, np.stack([places, places + len(a)], axis=1), scales)


def ms_ssim_diversity(
    images: ArrayLike, num_pairs: int = 100, seed: int = 0, scales: int | None = None
) -> Mapping[str, float | int]:
    """Mean `ms_ssim` over random pairs of different images [n, height, width, channel] of *one* class.

    Lower is more diverse; a generator that makes one image of the class has 1. Over all classes at once it says little,
    for images of two classes differ anyway. It has no optimum of 0: report the value of real images of the class
    beside it. It sees pixels only, so blur and noise lower contrast and with it the value's meaning. Returns

    - ``ms_ssim`` (in [0, 1]), ``ms_ssim_error``: its standard error over pairs, which share images when they
      are many, so that it is too small then;
    - ``scales`` (int): how many fitted, see `num_scales`; ``pairs`` (int).

    Raises ValueError for fewer than two images or two pairs.
    Odena, Olah, Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017, arXiv 1610.09585,
    section 4.2: 100 pairs in each class, of 128x128 images. At that size five scales need a window that shrinks, as
    much code does without a word; ours takes four, so that numbers there do not compare with published ones.
    """
    images = _checked(images)
    if len(images) < 2 or num_pairs < 2:
        raise ValueError(f"diversity takes at least two images and two pairs, got {len(images)} and {num_pairs}")
    scales = _scales(images.shape, scales)
    rng = np.random.default_rng(seed)
    first = rng.integers(0, len(images), num_pairs)
    # a step of 1 to n - 1 around the circle never ends where it began
    second = (first + rng.integers(1, len(images), num_pairs)) % len(images)
    values = _of_pairs(images, np.stack([first, second], axis=1), scales).astype(np.float64)
    return {
        "ms_ssim": float(values.mean()),
        "ms_ssim_error": float(values.std(ddof=1) / np.sqrt(num_pairs)),
        "scales": scales,
        "pairs": num_pairs,
    }


def _of_pairs(images: np.ndarray, pairs: np.ndarray, scales: int) -> np.ndarray:
    found = []
    at_once = min(PAIRS_AT_ONCE, len(pairs))
    for start in range(0, len(pairs), at_once):
        block = pairs[start : start + at_once]
        # padded, so that a call compiles once
        padded = np.pad(block, ((0, at_once - len(block)), (0, 0)))
        a, b = (_unit(images[padded[:, side]]) for side in range(2))
        found.append(np.asarray(_ms_ssim(a, b, scales))[: len(block)])
    return np.concatenate(found)


@partial(jax.jit, static_argnums=2)
def _ms_ssim(a: Array, b: Array, scales: int) -> Array:
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    product = jnp.ones(())
    for scale, weight in enumerate(weights):
        if scale:
            a, b = _halved(a), _halved(b)
        similarity = _similarity(a, b, with_luminance=scale == scales - 1)
        if scales == 1:
            return similarity.mean(axis=-1)
        product = product * jnp.maximum(similarity, 0.0) ** weight
    return product.mean(axis=-1)


def _similarity(a: Array, b: Array, with_luminance: bool) -> Array:
    """Mean over positions of contrast times structure (times luminance), [n, channel]."""
    rows, columns = (jnp.asarray(_window(side)) for side in a.shape[1:3])

    def blurred(x: Array) -> Array:
        # as two matrix products: a convolution of one channel each is slow on CPU
        return jnp.einsum("ph,nhwc,qw->npqc", rows, x, columns, precision="highest")

    mean_a, mean_b = blurred(a), blurred(b)
    # about 1/2 the squares are small, and so is the rounding of their difference
    centre_a, centre_b = mean_a - 0.5, mean_b - 0.5
    a, b = a - 0.5, b - 0.5
    variances = blurred(a * a + b * b) - centre_a**2 - centre_b**2
    similarity = (2.0 * (blurred(a * b) - centre_a * centre_b) + C2) / (variances + C2)
    if with_luminance:
        similarity = similarity * (2.0 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return similarity.mean(axis=(1, 2))


def _window(side: int) -> np.ndarray:
    """[side - 10, side]: each row is the Gaussian window at one place where it fits."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * np.square(offsets / WINDOW_DEVIATION))
    matrix = np.zeros((side - WINDOW + 1, side), np.float32)
    for place, row in enumerate(matrix):
        row[place : place + WINDOW] = weights / weights.sum()
    return matrix


def _halved(x: Array) -> Array:
    n, height, width, channels = x.shape
    even = x[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(n, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def _unit(images: np.ndarray) -> Array:
    floats = to_float(jnp.asarray(images)) if images.dtype == np.uint8 else jnp.asarray(images, jnp.float32)
    return (floats + 1.0) / 2.0


def _checked(images: ArrayLike) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must be [n, height, width, channel] with n > 0, got shape {images.shape}")
    if images.dtype != np.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be uint8 in [0, 255] or floats in [-1, 1], got {images.dtype}")
    return images


def _scales(shape: tuple[int, ...], scales: int | None) -> int:
    fitting = num_scales(*shape[1:3])
    if scales is not None and not 1 <= scales <= fitting:
        raise ValueError(f"scales must be in [1, {fitting}] for images of {shape[1]}x{shape[2]}, got {scales}")
    return fitting if scales is None else scales
