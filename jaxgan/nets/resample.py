"""Resampling of images by a factor of two with a low-pass filter, without learned weights.

Upsampling puts zeros between the pixels, downsampling leaves out every other one; the filter in front
of or behind it removes what would come back as aliases (upfirdn: up, finite impulse response, down).
Filters act along rows and columns alike, from a kernel of one dimension that is divided by its sum.
Everything is made of pads, slices and sums: as convolutions, one channel at a time, they are slow on CPU.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, arXiv 1912.04958,
appendix B, after Zhang, "Making Convolutional Networks Shift-Invariant Again", 2019, arXiv 1904.11486.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array
from jaxgan.nets.padding import reflect_pad

# of StyleGAN2: quadratic, and of even length, so that what is doubled stays centred
BLUR = (1.0, 3.0, 3.0, 1.0)


def filtered(images: Array, kernel: Sequence[float], before: int, after: int) -> Array:
    """Images [batch, height, width, c] with `before` and `after` zeros at both sides' ends, filtered.

    Each side grows by before + after - len(kernel) + 1. A convolution: the kernel is turned around.
    """
    taps = _normalized(kernel)

    def along(x: Array, axis: int) -> Array:
        padded = _padded(x, axis, before, after)
        size = padded.shape[axis] - len(taps) + 1
        return _sum(taps, lambda k: _part(padded, axis, k, size))

    return along(along(images, 1), 2)


def upsample(images: Array, kernel: Sequence[float] = BLUR) -> Array:
    """Images [batch, height, width, c] twice as high and wide; a constant stays one, but for the zeros outside.

    The kernel has an even length of 2 or more.
    """
    taps, half = _even(kernel)

    def reached(padded: Array, axis: int, start: int, size: int, k: int) -> Array:
        return _part(padded, axis, start + k, size)

    def along(x: Array, axis: int) -> Array:
        padded, size, phases = _padded(x, axis, half // 2, half // 2), x.shape[axis], []
        for r in (0, 1):
            # pixel 2 i + r is reached by every other tap only: the others meet zeros
            first = (half + r) % 2
            start = (first + r - half) // 2 + half // 2
            phases.append(_sum(taps[first::2], partial(reached, padded, axis, start, size)))
        doubled = 2.0 * jnp.stack(phases, axis=axis + 1)
        return doubled.reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])

    return along(along(images, 1), 2)


def downsample(images: Array, kernel: Sequence[float] = BLUR) -> Array:
    """Images [batch, height, width, c], even sides, half as high and wide; the kernel has an even length."""
    taps, half = _even(kernel)
    if images.shape[1] % 2 or images.shape[2] % 2:
        raise ValueError(f"only even sides are halved, got {images.shape[1]}x{images.shape[2]}")

    def along(x: Array, axis: int) -> Array:
        padded, size = _padded(x, axis, half - 1, half - 1), x.shape[axis] // 2
        # pairs of neighbours instead of strides, whose gradients are scattered
        pairs = padded.reshape(*x.shape[:axis], size + half - 1, 2, *x.shape[axis + 1 :])
        phases = [pairs[(slice(None),) * (axis + 1) + (r,)] for r in (0, 1)]
        return _sum(taps, lambda k: _part(phases[k % 2], axis, k // 2, size))

    return along(along(images, 1), 2)


def halved(images: Array) -> Array:
    """Images [batch, height, width, c] filtered with [1, 2, 1] / 4, and every other pixel of that, the first kept.

    Mirrored at the border; sides are rounded up. With `doubled`, the resampling of Zhang 2019 as translators have it:
    Park et al. 2020, arXiv 2007.15651, in the authors' code.
    """
    return filtered(reflect_pad(images, 1), (1.0, 2.0, 1.0), 0, 0)[:, ::2, ::2]


def doubled(images: Array) -> Array:
    """`upsample` with `BLUR`, what lies outside being the edge, repeated: a constant stays one up to the border."""
    return upsample(jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge"))[:, 2:-2, 2:-2]


def smooth(images: Array) -> Array:
    """Images [batch, height, width, c] filtered with [1, 2, 1] / 4, what lies outside being the edge, repeated.

    `BLUR` is [1, 1] filtered with [1, 2, 1]. So away from the border a convolution of what `upsample` made is
    this of `upsampled_convolution`, and one with stride 2 that `BLUR` precedes is `pooled_convolution` of
    this, at less than half of the multiplications. Along the border StyleGAN2's code has zeros outside, and
    darkens the edge.
    """

    def along(x: Array, axis: int) -> Array:
        size = x.shape[axis]
        first, last = _part(x, axis, 0, 1), _part(x, axis, size - 1, 1)
        padded = jnp.concatenate([first, x, last], axis=axis)
        return 0.5 * x + 0.25 * (_part(padded, axis, 0, size) + _part(padded, axis, 2, size))

    return along(along(images, 1), 2)


def _normalized(kernel: Sequence[float]) -> list[float]:
    # as they meet the images in a sliding sum
    taps = np.asarray(kernel, np.float64)[::-1]
    return [float(tap) for tap in taps / taps.sum()]


def _even(kernel: Sequence[float]) -> tuple[list[float], int]:
    if len(kernel) < 2 or len(kernel) % 2:
        raise ValueError(f"what is doubled or halved stays centred under kernels of even length, got {len(kernel)}")
    return _normalized(kernel), len(kernel) // 2


def _padded(x: Array, axis: int, before: int, after: int) -> Array:
    return jnp.pad(x, [(before, after) if i == axis else (0, 0) for i in range(x.ndim)])


def _part(x: Array, axis: int, start: int, size: int) -> Array:
    return x[(slice(None),) * axis + (slice(start, start + size),)]


def _sum(taps: Sequence[float], shifted: Callable[[int], Array]) -> Array:
    total = taps[0] * shifted(0)
    for k in range(1, len(taps)):
        total = total + taps[k] * shifted(k)
    return total
