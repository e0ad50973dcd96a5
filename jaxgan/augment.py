"""What the discriminator is shown: (examples, key, ...) -> examples of the same shape."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Key


def instance_noise(examples: Array, key: Key, deviation: Array | float) -> Array:
    """Adds independent N(0, deviation^2) to every number of every example, real and fake alike.

    Sonderby et al., "Amortised MAP Inference for Image Super-Resolution", 2017, arXiv 1610.04490,
    section 3.2; Arjovsky and Bottou 2017, arXiv 1701.04862: it gives both distributions common support.
    """
    return examples + deviation * jax.random.normal(key, examples.shape, examples.dtype)


def decaying(value: Array | float, step: Array, until: int) -> Array | float:
    """`value` falling linearly to 0 at step `until`; `until` 0 leaves it constant."""
    return value * jnp.clip(1.0 - step / until, 0.0, 1.0) if until else value


def shift_and_flip(images: Array, key: Key, shift: int = 4) -> Array:
    """Images [batch, height, width, channel] moved by up to `shift` pixels each way, half of them mirrored.

    What moves in is the edge, reflected. The augmentation of consistency regularization (Zhang et
    al. 2020, arXiv 1910.12027, section 4: four pixels at 32). For shapes where left and right
    differ, such as digits, mirroring makes other symbols.
    """
    batch, height, width, _ = images.shape
    shift = min(shift, height // 8, width // 8)
    row_key, column_key, flip_key = jax.random.split(key, 3)
    padded = jnp.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="reflect")
    rows = jax.random.randint(row_key, (batch, 1), 0, 2 * shift + 1) + jnp.arange(height)[None]
    columns = jax.random.randint(column_key, (batch, 1), 0, 2 * shift + 1) + jnp.arange(width)[None]
    columns = jnp.where(jax.random.bernoulli(flip_key, 0.5, (batch, 1)), columns[:, ::-1], columns)
    moved = jnp.take_along_axis(padded, rows[:, :, None, None], axis=1)
    return jnp.take_along_axis(moved, columns[:, None, :, None], axis=2)


# -- DiffAugment -----------------------------------------------------------------------------------


def diffaugment(images: Array, key: Key) -> Array:
    """Colour, translation and cutout of images [batch, height, width, channel] in [-1, 1], all of them always.

    Colour: brightness +-0.5, saturation times 0 to 2 (around the mean of the channels), contrast times 0.5 to
    1.5 (around the mean of the image). Translation by up to an eighth of a side; what moves in is 0, the
    middle grey. Cutout of a square of half a side, 0 too, which the border may cut. Uniform, independent for
    each example, and differentiable, so that G learns through it. Results may leave [-1, 1].

    Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020, arXiv 2006.10738.
    """
    brightness_key, saturation_key, contrast_key, shift_key, cut_key = jax.random.split(key, 5)
    one_each = (images.shape[0], 1, 1, 1)
    images = images + jax.random.uniform(brightness_key, one_each, minval=-0.5, maxval=0.5)
    images = _away_from(
        jnp.mean(images, axis=3, keepdims=True), images, 2.0 * jax.random.uniform(saturation_key, one_each)
    )
    mean = jnp.mean(images, axis=(1, 2, 3), keepdims=True)
    images = _away_from(mean, images, jax.random.uniform(contrast_key, one_each, minval=0.5, maxval=1.5))
    return _cut_out(_translated(images, shift_key), cut_key)


def _away_from(mean: Array, images: Array, factor: Array) -> Array:
    return mean + factor * (images - mean)


def _translated(images: Array, key: Key) -> Array:
    batch, height, width, _ = images.shape

    def along(size: int, key: Key) -> Array:
        # rows that are picked by a product: its gradient is one too, where that of an index would be scattered
        bound = int(size / 8 + 0.5)
        shift = jax.random.randint(key, (batch, 1), -bound, bound + 1)
        return jax.nn.one_hot(jnp.arange(size)[None] + shift, size, dtype=images.dtype)

    row_key, column_key = jax.random.split(key)
    rows, columns = along(height, row_key), along(width, column_key)
    # a pixel is picked whole: half of its digits would be lost in the quick products of accelerators
    exact = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    return exact("bij,bjkc->bikc", rows, exact("bkl,bjlc->bjkc", columns, images))


def _cut_out(images: Array, key: Key) -> Array:
    batch, height, width, _ = images.shape

    def along(size: int, key: Key) -> Array:
        side = int(size / 2 + 0.5)
        first = jax.random.randint(key, (batch, 1), 0, size + 1 - side % 2) - side // 2
        place = jnp.arange(size)[None] - first
        return (place >= 0) & (place < side)

    row_key, column_key = jax.random.split(key)
    inside = along(height, row_key)[:, :, None] & along(width, column_key)[:, None, :]
    return jnp.where(inside[..., None], 0.0, images)


# -- adaptive discriminator augmentation -----------------------------------------------------------


def adaptive(images: Array, key: Key, probability: Array | float) -> Array:
    """Geometry and colour of images [batch, height, width, channel] in [-1, 1], each change with `probability`.

    In this order, each for some of the examples: mirrored; turned by a multiple of 90 degrees; moved by whole
    pixels, up to an eighth of a side; scaled by 2^N(0, 0.2^2); turned by any angle; stretched by
    2^N(0, 0.2^2) and shrunk across; turned again; moved by N(0, 1/8) of a side. Then brightness + N(0, 0.2^2);
    contrast times 2^N(0, 0.5^2); and, where there are three channels, lightness mirrored, hue turned,
    saturation times 2^N(0, 1); with other channels what is left of these: the sign, of all.

    The geometry is one affine map, and one bilinear interpolation; outside, the image is reflected.
    Differentiable with respect to the images. The probability of either free turn is 1 - sqrt(1 - p), so that
    an example is turned with probability p. Results may leave [-1, 1].

    Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020, arXiv 2006.06676,
    appendix B: its classes pixel blitting, geometry and colour ("bgc"), which it recommends. Its code filters
    with wavelets and at twice the resolution where this interpolates. D learns of the distribution as long as
    it is not augmented always: the probability stays below about 0.8. See `jaxgan.memory.Controller`.
    """
    geometry_key, colour_key = jax.random.split(key)
    where = _geometry(geometry_key, images.shape, jnp.asarray(probability, jnp.float32))
    return _coloured(_resampled(images, where), colour_key, jnp.asarray(probability, jnp.float32))


def _sometimes(key: Key, probability: Array, idle: float, draw: Callable[[Key], Array]) -> Array:
    """draw(key) [batch], replaced by `idle` for all but a share `probability` of the examples."""
    draw_key, use_key = jax.random.split(key)
    values = draw(draw_key)
    return jnp.where(jax.random.bernoulli(use_key, probability, values.shape), values, idle)


def _normal(key: Key, batch: int, probability: Array, deviation: float) -> Array:
    return _sometimes(key, probability, 0.0, lambda k: deviation * jax.random.normal(k, (batch,)))


def _factor(key: Key, batch: int, probability: Array, deviation: float) -> Array:
    return jnp.exp2(_normal(key, batch, probability, deviation))


def _uniform(key: Key, batch: int, probability: Array, bound: float) -> Array:
    draw = lambda k: jax.random.uniform(k, (batch,), minval=-bound, maxval=bound)  # noqa: E731
    return _sometimes(key, probability, 0.0, draw)


def _integer(key: Key, batch: int, probability: Array, number: int) -> Array:
    draw = lambda k: jax.random.randint(k, (batch,), 0, number).astype(jnp.float32)  # noqa: E731
    return _sometimes(key, probability, 0.0, draw)


def _geometry(key: Key, shape: tuple[int, ...], probability: Array) -> Array:
    """Maps [batch, 2, 3] from (x, y, 1) of a pixel of the result to (x, y) in the image, from the middles of both."""
    batch, height, width, _ = shape
    keys = jax.random.split(key, 8)
    free_turn = 1.0 - jnp.sqrt(1.0 - probability)

    def scaled(x: Array, y: Array) -> Array:
        zero = jnp.zeros((batch,))
        return _matrix([[x, zero, zero], [zero, y, zero]])

    def turned(angle: Array) -> Array:
        cosine, sine, zero = jnp.cos(angle), jnp.sin(angle), jnp.zeros((batch,))
        return _matrix([[cosine, -sine, zero], [sine, cosine, zero]])

    def moved(x: Array, y: Array) -> Array:
        zero, one = jnp.zeros((batch,)), jnp.ones((batch,))
        return _matrix([[one, zero, x], [zero, one, y]])

    mirror = 1.0 - 2.0 * _integer(keys[0], batch, probability, 2)
    shift_x, shift_y = (
        jnp.round(_uniform(k, batch, probability, size / 8))
        for k, size in zip(jax.random.split(keys[2]), (width, height), strict=True)
    )
    scale, stretch = (_factor(keys[i], batch, probability, 0.2) for i in (3, 5))
    drift_x, drift_y = (
        _normal(k, batch, probability, size / 8)
        for k, size in zip(jax.random.split(keys[7]), (width, height), strict=True)
    )
    changes = [
        scaled(mirror, jnp.ones((batch,))),
        # exact, so that a quarter turn of pixels is a permutation
        _quarter_turn(_integer(keys[1], batch, probability, 4)),
        moved(shift_x, shift_y),
        scaled(scale, scale),
        turned(_uniform(keys[4], batch, free_turn, jnp.pi)),
        scaled(stretch, 1.0 / stretch),
        turned(_uniform(keys[6], batch, free_turn, jnp.pi)),
        moved(drift_x, drift_y),
    ]
    # the result is asked where it comes from, so the last change is undone first; each is drawn as its inverse
    total = changes[0]
    for change in changes[1:]:
        total = _sum_of_products(total, change)
    return total[:, :2]


def _quarter_turn(number: Array) -> Array:
    cosine = jnp.where(number == 0, 1.0, jnp.where(number == 2, -1.0, 0.0))
    sine = jnp.where(number == 1, 1.0, jnp.where(number == 3, -1.0, 0.0))
    zero = jnp.zeros_like(number)
    return _matrix([[cosine, -sine, zero], [sine, cosine, zero]])


def _matrix(rows: list[list[Array]]) -> Array:
    """Two rows for each example as [batch, 3, 3], the third being (0, 0, 1)."""
    zero = jnp.zeros_like(rows[0][0])
    whole = [*rows, [zero, zero, zero + 1.0]]
    return jnp.stack([jnp.stack(row, axis=-1) for row in whole], axis=-2)


def _sum_of_products(a: Array, b: Array) -> Array:
    # not a matrix product, whose precision on accelerators is no pixel's
    return jnp.sum(a[:, :, :, None] * b[:, None], axis=2)


def _resampled(images: Array, where: Array) -> Array:
    """Bilinear interpolation of images [batch, height, width, channel] by the maps [batch, 2, 3]; outside reflected."""
    batch, height, width, channels = images.shape
    y = jnp.arange(height)[None, :, None] - (height - 1) / 2
    x = jnp.arange(width)[None, None, :] - (width - 1) / 2
    source = where[:, :, None, None]
    x, y = (source[:, i, :, :, 0] * x + source[:, i, :, :, 1] * y + source[:, i, :, :, 2] for i in (0, 1))
    x, y = x + (width - 1) / 2, y + (height - 1) / 2
    left, top = jnp.floor(x), jnp.floor(y)
    flat, total = images.reshape(batch, height * width, channels), jnp.zeros((batch, height * width, channels))
    for row in (0, 1):
        for column in (0, 1):
            weight = (1.0 - jnp.abs(y - top - row)) * (1.0 - jnp.abs(x - left - column))
            place = _reflected(top + row, height) * width + _reflected(left + column, width)
            picked = jnp.take_along_axis(flat, place.reshape(batch, -1, 1), axis=1)
            total = total + weight.reshape(batch, -1, 1) * picked
    return total.reshape(images.shape)


def _reflected(place: Array, size: int) -> Array:
    """Places along a side as indices into it; the edge is not repeated."""
    period = max(1, 2 * (size - 1))
    place = jnp.mod(place.astype(jnp.int32), period)
    return jnp.where(place < size, place, period - place)


def _coloured(images: Array, key: Key, probability: Array) -> Array:
    keys, batch = jax.random.split(key, 5), images.shape[0]
    each = lambda values: values[:, None, None, None]  # noqa: E731
    images = images + each(_normal(keys[0], batch, probability, 0.2))
    images = images * each(_factor(keys[1], batch, probability, 0.5))
    flip = _integer(keys[2], batch, probability, 2)
    angle, saturation = _uniform(keys[3], batch, probability, jnp.pi), _factor(keys[4], batch, probability, 1.0)
    if images.shape[3] != 3:
        return images * each(1.0 - 2.0 * flip)
    # lightness along (1, 1, 1); hue and saturation across it
    light = jnp.mean(images, axis=3, keepdims=True)
    colour = images - light
    # the turn by 90 degrees: the cross product with (1, 1, 1) / sqrt 3
    across = (jnp.roll(colour, 1, axis=3) - jnp.roll(colour, -1, axis=3)) / 3.0**0.5
    colour = each(jnp.cos(angle)) * colour + each(jnp.sin(angle)) * across
    return each(1.0 - 2.0 * flip) * light + each(saturation) * colour
