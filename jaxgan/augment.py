"""What the discriminator is shown: (examples, key, ...) -> examples of the same shape."""

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
