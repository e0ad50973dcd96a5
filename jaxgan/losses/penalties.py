"""Gradient penalties on a critic: per-example values, to be weighted and averaged by the game.

``Penalty = (critic, real, fake, key) -> [batch]`` in float32 at least, where `critic` maps images
[batch, ...] to logits [batch, ...] and must treat examples one by one: with batch normalization or
minibatch statistics in it, the gradient of the summed logits mixes examples and is not the paper's.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Key

Critic = Callable[[Array], Array]
Penalty = Callable[[Critic, Array, Array, Key], Array]


def squared_gradient_norm(critic: Critic, images: Array) -> Array:
    """``|grad_x critic(x)|^2`` of each example, float32 [batch]; logits of one example are summed."""
    gradient = jax.grad(lambda x: jnp.sum(critic(x).astype(jnp.promote_types(x.dtype, jnp.float32))))(images)
    gradient = gradient.astype(jnp.promote_types(gradient.dtype, jnp.float32))
    return jnp.sum(jnp.square(gradient), axis=tuple(range(1, gradient.ndim)))


def safe_sqrt(x: Array) -> Array:
    """The square root of x >= 0, with gradient 0 (instead of infinity) at 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def r1(critic: Critic, real: Array, fake: Array, key: Key) -> Array:
    """``|grad D(real)|^2``, [batch].

    Mescheder, Geiger, Nowozin, "Which Training Methods for GANs do actually Converge?", 2018,
    arXiv 1801.04406, Eq. 9, *without* its factor gamma/2: a weight of gamma/2 here is the paper's gamma.
    """
    return squared_gradient_norm(critic, real)


def wgan_gp(critic: Critic, real: Array, fake: Array, key: Key) -> Array:
    """``(|grad D(x)| - 1)^2`` at x uniform on the segment from a fake to a real example, [batch].

    Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, arXiv 1704.00028, Eq. 3, which
    weights it with 10. Centred at 1, on interpolates; `r1` is centred at 0, on real examples. One
    mixing weight per example, shared by its pixels. Where the gradient is exactly zero, the norm's
    own gradient is taken as 0.
    """
    weight = jax.random.uniform(key, (real.shape[0],) + (1,) * (real.ndim - 1), real.dtype)
    between = weight * real + (1.0 - weight) * fake
    return jnp.square(safe_sqrt(squared_gradient_norm(critic, between)) - 1.0)
