"""What every other part agrees on: array types, batch keys, value ranges, image grids.

Standard batch keys
    ``image``     float32 [batch, height, width, channel] in [-1, 1]
    ``label``     int32   [batch]
    ``index``     int32   [batch], position of the example in its data set
    ``point``     float32 [batch, dimension], the on-device toys
Images are stored and shown as uint8 in [0, 255]; `to_float` and `to_uint8` are the only conversions.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
Key = jax.Array
Params = Any
Variables = Mapping[str, Any]
Batch = Mapping[str, Array]
Metrics = Mapping[str, Array]


def to_float(images: Array) -> Array:
    """uint8 images in [0, 255] as float32 in [-1, 1]: ``x / 127.5 - 1``, any shape."""
    if images.dtype != jnp.uint8:
        raise TypeError(f"to_float takes uint8 images, got {images.dtype}")
    return images.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(images: Array | np.ndarray) -> Array:
    """Float images in [-1, 1] as uint8: ``round((x + 1) * 127.5)``, halves to even, clipped to [0, 255].

    Inverts `to_float` exactly for all 256 values. (Truncating instead of rounding, as some
    published evaluation code does, shifts every pixel by half a level.) NaN becomes 0.
    """
    scaled = jnp.round((jnp.asarray(images, jnp.float32) + 1.0) * 127.5)
    return jnp.nan_to_num(jnp.clip(scaled, 0.0, 255.0), nan=0.0).astype(jnp.uint8)


def image_grid(images: np.ndarray, columns: int | None = None, gap: int = 1) -> np.ndarray:
    """Tiles uint8 images [n, height, width, channel] row by row into one picture [h, w, channel].

    `columns` defaults to the smallest square that holds all; tiles are `gap` black pixels apart
    and empty places stay black.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype != np.uint8:
        raise ValueError(f"image_grid takes uint8 [n, height, width, channel], got {images.dtype} {images.shape}")
    n, height, width, channels = images.shape
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    grid = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        grid[top : top + height, left : left + width] = image
    return grid
