"""Padding of pictures: by reflection, by zeros, and up to sides that a net can halve."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxgan.arrays import Array


def reflect_pad(images: Array, pixels: int) -> Array:
    """Images [batch, height, width, c] with so many pixels on every side, mirrored at the edge: ``dcb|abcd|cba``.

    The edge itself is not repeated. Pictures of any size: a mirror image that is too short is mirrored again,
    and a single pixel is repeated, as by ``numpy.pad(mode="reflect")``. Returns [batch, height + 2 pixels,
    width + 2 pixels, c].
    """
    return jnp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="reflect")


def zero_pad(images: Array, pixels: int) -> Array:
    """Images [batch, height, width, c] with so many zeros on every side."""
    return jnp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))


def padded_to(images: Array, multiple: int) -> tuple[Array, Callable[[Array], Array]]:
    """Images [batch, height, width, c] whose sides are multiples of `multiple`, and what cuts the picture out again.

    Padded by reflection, as little as it takes: half of it in front, or one pixel less. The function takes
    images of the padded sides with any channels to those of the sides before. Both do nothing where the sides
    are multiples already.
    """
    if multiple < 1:
        raise ValueError(f"sides are padded to a multiple of 1 or more, got {multiple}")
    height, width = images.shape[1:3]
    (top, bottom), (left, right) = (
        (missing // 2, missing - missing // 2) for missing in (-height % multiple, -width % multiple)
    )
    # reflection copies the picture even where nothing is missing
    whole = not (top or bottom or left or right)
    padded = images if whole else jnp.pad(images, ((0, 0), (top, bottom), (left, right), (0, 0)), mode="reflect")

    def cropped(outputs: Array) -> Array:
        if outputs.shape[1:3] != padded.shape[1:3]:
            raise ValueError(f"the padded picture is {padded.shape[1:3]}, got {outputs.shape[1:3]}")
        return outputs[:, top : top + height, left : left + width]

    return padded, cropped
