"""Resizing as the published image metrics do it: which resizer was used moves a FID by more than most papers gain.

A resizer is two matrices, one for rows and one for columns, made in NumPy and applied as matrix products
inside the compiled function. `tf1` is the one of FID as first published, `clean` that of clean-fid.
"""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array

BICUBIC_SUPPORT = 2.0


def tf1(images: Array, size: tuple[int, int]) -> Array:
    """Bilinear resizing of TensorFlow 1, float32 [n, *size, channel] in [0, 255].

    images: uint8 or float [n, height, width, channel] in [0, 255]; size: (height, width) wanted.

    Output pixel i reads input position ``i * before / after``: no half-pixel offset (the picture shifts up
    and left), no antialiasing (a smaller picture skips pixels), borders repeated. This is
    ``tf.image.resize_bilinear(align_corners=False)``, which the Inception graph of 2015 applies and torch-fidelity
    imitates; not ``torch.nn.functional.interpolate`` (half-pixel centres) and not `clean`.
    Raises ValueError for shapes and types that are no images. Heusel et al., 2017, arXiv 1706.08500, released code.
    """
    _check(images, size)
    return _apply(images, tf1_matrix(images.shape[1], size[0]), tf1_matrix(images.shape[2], size[1]))


def clean(images: Array, size: tuple[int, int]) -> Array:
    """Antialiased bicubic resizing of Pillow on float channels, clipped: float32 [n, *size, channel] in [0, 255].

    images: uint8 or float [n, height, width, channel] in [0, 255]; size: (height, width) wanted.

    As clean-fid: ``Image.fromarray(channel, mode="F").resize(size, BICUBIC)``, nothing rounded to
    uint8 between. A FID under it is a clean-FID and is not to be set beside one under `tf1`.
    Raises ValueError as `tf1`. Parmar, Zhang, Zhu, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation",
    2022, arXiv 2104.11222, section 3.
    """
    _check(images, size)
    resized = _apply(images, bicubic_matrix(images.shape[1], size[0]), bicubic_matrix(images.shape[2], size[1]))
    return jnp.clip(resized, 0.0, 255.0)


@cache
def tf1_matrix(before: int, after: int) -> np.ndarray:
    """Weights float64 [after, before] of `tf1` along one side; rows sum to 1. Read-only."""
    # float32, as the kernel computes positions: at 1,000 pixels float64 is another 1e-4 of a pixel away
    positions = np.arange(after, dtype=np.float32) * np.float32(before / after)
    low = np.minimum(positions.astype(np.int64), before - 1)
    high = np.minimum(low + 1, before - 1)
    share = positions.astype(np.float64) - low
    matrix = np.zeros((after, before))
    np.add.at(matrix, (np.arange(after), low), 1.0 - share)
    np.add.at(matrix, (np.arange(after), high), share)
    matrix.flags.writeable = False
    return matrix


@cache
def bicubic_matrix(before: int, after: int) -> np.ndarray:
    """Weights float64 [after, before] of `clean` along one side; rows sum to 1, some are negative. Read-only.

    The kernel of Keys 1981 with a = -0.5 (PyTorch and OpenCV take -0.75), widened by ``before / after`` when
    the picture shrinks, cut at the border and normalised.
    """
    scale = before / after
    widened = max(scale, 1.0)
    support = BICUBIC_SUPPORT * widened
    matrix = np.zeros((after, before))
    for i in range(after):
        centre = (i + 0.5) * scale
        start, stop = max(math.floor(centre - support + 0.5), 0), min(math.floor(centre + support + 0.5), before)
        weights = _bicubic((np.arange(start, stop) + 0.5 - centre) / widened)
        matrix[i, start:stop] = weights / weights.sum()
    matrix.flags.writeable = False
    return matrix


def _bicubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < BICUBIC_SUPPORT, far, 0.0))


def _check(images: Array, size: tuple[int, int]) -> None:
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must be [n, height, width, channel] and not empty, got shape {images.shape}")
    if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be uint8 or floats in [0, 255], got {images.dtype}")
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size must be (height, width), both at least 1, got {size}")


def _apply(images: Array, rows: np.ndarray, columns: np.ndarray) -> Array:
    # an accelerator's default precision would round pixels to eight bits of mantissa
    exact = jax.lax.Precision.HIGHEST
    resized = images.astype(jnp.float32)
    resized = jnp.einsum("ab,nbwc->nawc", jnp.asarray(rows, jnp.float32), resized, precision=exact)
    return jnp.einsum("ab,nhbc->nhac", jnp.asarray(columns, jnp.float32), resized, precision=exact)
