"""What moments of its pixels say of a written character: how much ink, how thick, how slanted, how wide.

All take float images [n, height, width, channel] in [-1, 1], bright on dark, whose ink is ``(x + 1) / 2`` averaged
over channels, and return float32 [n]; lengths are in pixels, angles in radians, and an image without ink gives 0.
The attributes are those of Morpho-MNIST (Castro et al. 2019, arXiv 1809.10780, section 2.3), which measures them on
a skeleton of the enlarged binary image; these are sums over pixels, so that they run inside a compiled program.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp

from jaxgan.arrays import Array

FAINT = 0.25
"""Ink below this is no stroke of its own for `thickness`: a generated background is never quite 0."""


def mass(images: Array) -> Array:
    """Mean ink of each image, in [0, 1]."""
    return _ink(images).mean(axis=(1, 2))


def thickness(images: Array) -> Array:
    """Mean width of the strokes: ink over half their perimeter. A bar of length L and width t reads t L / (L + t).

    Ink is how much of a pixel the stroke covers, so that strokes thinner than a pixel, of grey, read below 1. For the
    perimeter they count as whole: it is the total variation of the ink as a share of the strongest among the
    3x3 pixels around it (of `FAINT` at least). Within a twentieth for strokes of more than a pixel; thinner oblique
    ones read up to four tenths too thick.
    """
    ink = jnp.pad(_ink(images), ((0, 0), (2, 2), (2, 2)))
    share = ink[:, 1:-1, 1:-1] / jnp.maximum(_strongest_around(ink), FAINT)
    # differences at the corners between four pixels, where both directions are known at the same place
    down, right = share[:, 1:] - share[:, :-1], share[:, :, 1:] - share[:, :, :-1]
    down, right = (down[:, :, 1:] + down[:, :, :-1]) / 2, (right[:, 1:] + right[:, :-1]) / 2
    perimeter = jnp.sqrt(jnp.square(down) + jnp.square(right)).sum(axis=(1, 2))
    return _ratio(ink.sum(axis=(1, 2)), perimeter / 2)


def slant(images: Array) -> Array:
    """``arctan(-mu11 / mu02)``: the angle from upright by which shearing rows would undo the lean, in (-pi/2, pi/2).

    Positive leans right, as italics and / do; negative leans left, as \\ does. mu11 is the covariance of column and
    row (counted downwards) under the ink, mu02 the variance of the row. A horizontal stroke has no slant that
    means anything; `angle` is the direction of the principal axis instead.
    """
    _, covariance, vertical = _second_moments(images)
    return jnp.arctan(_ratio(-covariance, vertical))


def angle(images: Array) -> Array:
    """``arctan2(-2 mu11, mu20 - mu02) / 2``: the principal axis of the ink, counter-clockwise from the horizontal.

    In (-pi/2, pi/2]: 0 is -, pi/4 is /, -pi/4 is \\, and pi/2 is |. Where ink has no longer axis, as in a disc, it
    is arbitrary.
    """
    horizontal, covariance, vertical = _second_moments(images)
    found = jnp.arctan2(-2.0 * covariance, horizontal - vertical) / 2.0
    # the axis of -pi/2 is that of pi/2, and rounding decides which one arctan2 gives
    return jnp.where(found < 1e-6 - jnp.pi / 2, found + jnp.pi, found)


def width(images: Array) -> Array:
    """How wide the character is once its slant is undone: that of the bar with as large a variance along the rows.

    ``sqrt(12 (mu20 - mu11^2 / mu02) + 1)``, exact for an upright bar; the 1 is what a pixel itself is wide.
    """
    horizontal, covariance, vertical = _second_moments(images)
    upright = jnp.maximum(horizontal - _ratio(jnp.square(covariance), vertical), 0.0)
    return jnp.where(mass(images) > 0, jnp.sqrt(12.0 * upright + 1.0), 0.0)


def _ink(images: Array) -> Array:
    images = jnp.asarray(images)
    if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"images must be floats [n, height, width, channel] in [-1, 1], got {images.dtype} {images.shape}"
        )
    return jnp.clip((images.astype(jnp.float32).mean(axis=-1) + 1.0) / 2.0, 0.0, 1.0)


def _second_moments(images: Array) -> tuple[Array, Array, Array]:
    """mu20, mu11 and mu02, each over the ink: the variance of the column, the covariance, the variance of the row."""
    ink = _ink(images)
    rows = jnp.arange(ink.shape[1], dtype=jnp.float32)
    columns = jnp.arange(ink.shape[2], dtype=jnp.float32)
    total = ink.sum(axis=(1, 2))
    y = rows[None] - _ratio(ink.sum(axis=2) @ rows, total)[:, None]
    x = columns[None] - _ratio(ink.sum(axis=1) @ columns, total)[:, None]
    horizontal = (ink.sum(axis=1) * jnp.square(x)).sum(axis=1)
    vertical = (ink.sum(axis=2) * jnp.square(y)).sum(axis=1)
    covariance = jnp.einsum("nhw,nh,nw->n", ink, y, x)
    return _ratio(horizontal, total), _ratio(covariance, total), _ratio(vertical, total)


def _strongest_around(padded: Array) -> Array:
    """The largest of the 3x3 pixels around each of [n, height + 2, width + 2]: [n, height, width]."""
    tallest = jnp.maximum(jnp.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return jnp.maximum(jnp.maximum(tallest[:, :, :-2], tallest[:, :, 1:-1]), tallest[:, :, 2:])


def _ratio(a: Array, b: Array) -> Array:
    """a / b, and 0 where b is not above 0."""
    return jnp.where(b > 1e-6, a / jnp.where(b > 1e-6, b, 1.0), 0.0)


SCORES: Mapping[str, Callable[[Array], Array]] = {
    "thickness": thickness,
    "slant": slant,
    "width": width,
    "mass": mass,
}
ATTRIBUTES: Mapping[str, tuple[str, int]] = {
    "thick": ("thickness", 1),
    "thin": ("thickness", -1),
    "slanted-right": ("slant", 1),
    "slanted-left": ("slant", -1),
    "wide": ("width", 1),
    "narrow": ("width", -1),
}
"""The score that an attribute is an end of, and which end."""
