"""Latents: priors, paths between two, and truncation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Key


def normal_prior(dimension: int) -> Callable[..., Array]:
    """(key, n, condition=None) -> latents float32 [n, dimension] from N(0, I); the condition is ignored."""
    return lambda key, n, condition=None: jax.random.normal(key, (n, dimension))


def uniform_prior(dimension: int) -> Callable[..., Array]:
    """(key, n, condition=None) -> latents float32 [n, dimension], uniform in (-sqrt 3, sqrt 3): unit variance."""
    bound = 3.0**0.5
    return lambda key, n, condition=None: jax.random.uniform(key, (n, dimension), minval=-bound, maxval=bound)


def labelled(prior: Callable[..., Array], num_classes: int) -> Callable[..., tuple[Array, Array]]:
    """(key, n, condition=None) -> (latents, labels int32 [n]): labels as asked for, or uniform over the classes."""

    def draw(key: Key, n: int, condition: Array | None = None) -> tuple[Array, Array]:
        latent_key, label_key = jax.random.split(key)
        if condition is None:
            condition = jax.random.randint(label_key, (n,), 0, num_classes)
        return prior(latent_key, n), jnp.asarray(condition, jnp.int32)

    return draw


def truncate(latent: Array, truncation: float, mean: Array | float = 0.0) -> Array:
    """``mean + truncation * (latent - mean)``: 1 leaves latents as they are, 0 puts all on the mean.

    The interpolating form of StyleGAN (Karras et al. 2019, arXiv 1812.04948, section B). BigGAN's
    truncation trick instead redraws the entries that exceed a threshold.
    """
    return mean + truncation * (latent - mean)


def lerp(start: Array, end: Array, t: Array | np.ndarray) -> Array:
    """Straight line from start to end [..., dimension] at the fractions t [steps]: [steps, ..., dimension].

    Between two Gaussian latents it passes through points of unlikely small norm; `slerp` does not.
    """
    t, start, end = _broadcast(t, start, end)
    return (1.0 - t) * start + t * end


def slerp(start: Array, end: Array, t: Array | np.ndarray) -> Array:
    """Spherical path from start to end [..., dimension] at the fractions t [steps]: [steps, ..., dimension].

    Shoemake, "Animating rotation with quaternion curves", 1985; for latents White, "Sampling
    Generative Networks", 2016, arXiv 1609.04468, section 2.1. The norm goes linearly from one end's
    to the other's, so that ends of unequal norm are met exactly. For (anti)parallel ends, `lerp`.
    """
    t, start, end = _broadcast(t, start, end)
    norm_start = jnp.linalg.norm(start, axis=-1, keepdims=True)
    norm_end = jnp.linalg.norm(end, axis=-1, keepdims=True)
    a, b = start / norm_start, end / norm_end
    angle = jnp.arccos(jnp.clip(jnp.sum(a * b, -1, keepdims=True), -1.0, 1.0))
    sine = jnp.sin(angle)
    safe = jnp.where(sine > 1e-4, sine, 1.0)
    direction = (jnp.sin((1.0 - t) * angle) * a + jnp.sin(t * angle) * b) / safe
    return jnp.where(sine > 1e-4, direction * ((1.0 - t) * norm_start + t * norm_end), (1.0 - t) * start + t * end)


def _broadcast(t: Array | np.ndarray, start: Array, end: Array) -> tuple[Array, Array, Array]:
    return jnp.asarray(t, start.dtype).reshape(-1, *([1] * start.ndim)), start[None], end[None]
