"""Resampling against upfirdn one row at a time in NumPy, and its fast forms against the plain ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets.convolution import convolution, pooled_convolution, upsampled_convolution
from jaxgan.nets.resample import BLUR, doubled, downsample, filtered, halved, smooth, upsample

IMAGES = np.random.default_rng(0).normal(size=(2, 6, 10, 3))
# asymmetric, so that a kernel that is turned around shows
KERNELS = [BLUR, (1.0, 2.0), (1.0, 2.0, 3.0, 4.0, 5.0, 7.0), (3.0, 1.0, 2.0, 5.0, 1.0, 1.0, 2.0, 8.0)]


def upfirdn(images: np.ndarray, kernel: np.ndarray, up: int, down: int, before: int, after: int) -> np.ndarray:
    """Zeros between the pixels, zeros around, a convolution, every so many pixels: rows, then columns."""

    def along(row: np.ndarray) -> np.ndarray:
        wide = np.zeros(up * len(row))
        wide[::up] = row
        return np.convolve(np.pad(wide, (before, after)), kernel, "valid")[::down]

    return np.apply_along_axis(along, 2, np.apply_along_axis(along, 1, images))


@pytest.mark.parametrize("kernel", KERNELS, ids=len)
def test_resampling_equals_upfirdn_with_the_pads_of_the_authors_code(kernel):
    taps, n = np.array(kernel) / sum(kernel), len(kernel)
    # pads of upsample2d and downsample2d
    doubled = upfirdn(IMAGES, 2 * taps, 2, 1, (n + 1) // 2, (n - 2) // 2)
    np.testing.assert_allclose(upsample(jnp.float32(IMAGES), kernel), doubled, atol=1e-5)
    halved = upfirdn(IMAGES, taps, 1, 2, (n - 1) // 2, (n - 2) // 2)
    np.testing.assert_allclose(downsample(jnp.float32(IMAGES), kernel), halved, atol=1e-5)
    assert doubled.shape == (2, 12, 20, 3) and halved.shape == (2, 3, 5, 3)
    np.testing.assert_allclose(
        filtered(jnp.float32(IMAGES), kernel, 3, 1), upfirdn(IMAGES, taps, 1, 1, 3, 1), atol=1e-5
    )


def test_translators_halve_and_double_without_aliases_up_to_the_border():
    """Zhang's layers: rows, then columns, one pixel at a time."""
    half = np.array([1, 2, 1]) / 4

    def down(row):
        wide = np.concatenate([row[1:2], row, row[-2:-1]])
        return np.array([half @ wide[i : i + 3] for i in range(0, len(row), 2)])

    def up(row):
        wide = np.concatenate([row[:1], row, row[-1:]])
        pairs = [(wide[i - 1] + 3 * wide[i], 3 * wide[i] + wide[i + 1]) for i in range(1, len(row) + 1)]
        return np.array(pairs).ravel() / 4

    for found, along, images in ((halved, down, IMAGES), (halved, down, IMAGES[:, :5, :7]), (doubled, up, IMAGES)):
        expected = np.apply_along_axis(along, 2, np.apply_along_axis(along, 1, images))
        np.testing.assert_allclose(found(jnp.asarray(images)), expected, atol=1e-5)


def test_halving_is_the_transpose_of_doubling():
    """<up(x), y> = 4 <x, down(y)> for the symmetric kernel; gradients are each other's, too."""
    x, y = jnp.float32(IMAGES), jax.random.normal(jax.random.key(1), (2, 12, 20, 3))
    np.testing.assert_allclose(jnp.vdot(upsample(x), y), 4 * jnp.vdot(x, downsample(y)), rtol=1e-4)
    gradient = jax.grad(lambda x: jnp.vdot(upsample(x), y))(x)
    np.testing.assert_allclose(gradient, 4 * downsample(y), atol=1e-5)


def test_smoothing_and_the_fast_convolutions_are_the_slow_ones_away_from_the_border():
    """[1, 3, 3, 1] is [1, 1] filtered with [1, 2, 1]: doubled and halved convolutions, both orders of work."""
    x = jax.random.normal(jax.random.key(2), (2, 8, 12, 3))
    kernel = jax.random.normal(jax.random.key(3), (3, 3, 3, 5))
    fast, plain = smooth(upsampled_convolution(x, kernel)), convolution(upsample(x), kernel)
    np.testing.assert_allclose(fast[:, 3:-3, 3:-3], plain[:, 3:-3, 3:-3], atol=2e-5)
    assert np.abs(fast - plain).max() > 1e-2  # the border differs, as documented
    # filter, convolve at every pixel, leave out every other: as a kernel of 6x6 with stride 2
    sums = convolution(filtered(x, BLUR, 1, 1), kernel)[:, 0::2, 0::2]
    shifted = pooled_convolution(smooth(x), kernel)
    np.testing.assert_allclose(shifted[:, 1:-1, 1:-1], sums[:, 1:-1, 1:-1], atol=2e-5)


def test_smoothing_keeps_a_constant_up_to_the_edge():
    np.testing.assert_allclose(smooth(jnp.full((1, 4, 5, 2), 0.7)), 0.7, rtol=1e-6)
    ramp = jnp.broadcast_to(jnp.arange(5.0)[None, None, :, None], (1, 4, 5, 1))
    np.testing.assert_allclose(smooth(ramp)[0, 2, :, 0], [0.25, 1, 2, 3, 3.75], rtol=1e-6)


def test_impossible_requests_are_named():
    with pytest.raises(ValueError, match="even sides are halved, got 5x8"):
        downsample(jnp.zeros((1, 5, 8, 1)))
    for function in (upsample, downsample):
        with pytest.raises(ValueError, match="even length, got 3"):
            function(jnp.zeros((1, 4, 4, 1)), (1.0, 2.0, 1.0))
