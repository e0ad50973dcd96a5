"""Penalties on a critic: per-example values, to be weighted and averaged by the game.

``Penalty = (critic, real, fake, key) -> [batch]`` in float32 at least, where `critic` maps images
[batch, ...] to logits [batch, ...] and must treat examples one by one: with batch normalization or
minibatch statistics in it, the gradient of the summed logits mixes examples and is not the paper's.

|gradient| is the Euclidean norm over all axes of an example. Where it is exactly zero, the norm's own
gradient is taken as 0, so that the flat critic is a stationary point and nothing is infinite.

None of them skips steps. A lazy penalty (StyleGAN2) is an update of its own that runs on every k-th
step, with a weight k times as large.

    ============================  ======================  ================================
    penalty                       of the gradient         taken at
    ============================  ======================  ================================
    `r1`, `r2`                    |g|^2                   reals; fakes
    `zero_centered_gp`            |g|^2                   between fakes and reals
    `wgan_gp`                     (|g| - 1)^2             between fakes and reals
    `lipschitz`                   max(0, |g| - 1)^2       between fakes and reals
    `dragan`                      (|g| - 1)^2             reals with noise
    `consistency`                 none: |D(x) - D(Tx)|^2  reals and what T makes of them
    ============================  ======================  ================================
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


def r2(critic: Critic, real: Array, fake: Array, key: Key) -> Array:
    """``|grad D(fake)|^2``, [batch]: `r1` on the fakes.

    Mescheder, Geiger, Nowozin 2018, arXiv 1801.04406, Eq. 10, *without* its factor gamma/2.
    """
    return squared_gradient_norm(critic, fake)


def interpolates(real: Array, fake: Array, key: Key) -> Array:
    """Points uniform on the segments from fakes to reals, [batch, ...]; the pixels of an example share one weight."""
    weight = jax.random.uniform(key, (real.shape[0],) + (1,) * (real.ndim - 1), real.dtype)
    return weight * real + (1.0 - weight) * fake


def zero_centered_gp(critic: Critic, real: Array, fake: Array, key: Key) -> Array:
    """``|grad D(x)|^2`` at x uniform on the segment from a fake to a real example, [batch].

    0-GP: Thanh-Tung, Tran, Venkatesh, "Improving Generalization and Stability of Generative Adversarial
    Networks", 2019, arXiv 1902.03984. The points of `wgan_gp`, the centre of `r1`; here of
    D's logits.
    """
    return squared_gradient_norm(critic, interpolates(real, fake, key))


def wgan_gp(critic: Critic, real: Array, fake: Array, key: Key) -> Array:
    """``(|grad D(x)| - 1)^2`` at x uniform on the segment from a fake to a real example, [batch].

    Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, arXiv 1704.00028, Eq. 3, which
    weights it with 10. Centred at 1, on both sides; `lipschitz` charges the upper side only.
    """
    return jnp.square(safe_sqrt(squared_gradient_norm(critic, interpolates(real, fake, key))) - 1.0)


def lipschitz(critic: Critic, real: Array, fake: Array, key: Key) -> Array:
    """``max(0, |grad D(x)| - 1)^2`` at x uniform on the segment from a fake to a real example, [batch].

    WGAN-LP: Petzka, Fischer, Lukovnikov, "On the regularization of Wasserstein GANs", 2018, arXiv
    1709.08894: being 1-Lipschitz asks for slopes of at most 1, not of exactly 1 as `wgan_gp` does.
    """
    return jnp.square(jax.nn.relu(safe_sqrt(squared_gradient_norm(critic, interpolates(real, fake, key))) - 1.0))


def dragan(critic: Critic, real: Array, fake: Array, key: Key) -> Array:
    """``(|grad D(x)| - 1)^2`` at ``x = real + weight * std(real) / 2 * noise``, [batch].

    Kodali et al., "On Convergence and Stability of GANs", 2017, arXiv 1705.07215, with a weight of 10.
    The points are those of the authors' released code, not the paper's ``real + N(0, c I)``: noise uniform
    in [0, 1] for each pixel (hence brighter on average), the weight uniform in [0, 1] for each example,
    std over all numbers of the batch. Only through that number do examples depend on each other.
    """
    weight_key, noise_key = jax.random.split(key)
    weight = jax.random.uniform(weight_key, (real.shape[0],) + (1,) * (real.ndim - 1), real.dtype)
    noise = jax.random.uniform(noise_key, real.shape, real.dtype)
    # statistics of a whole batch lose too much in half precision
    std = jnp.std(real.astype(jnp.promote_types(real.dtype, jnp.float32))).astype(real.dtype)
    return jnp.square(safe_sqrt(squared_gradient_norm(critic, real + weight * (0.5 * std * noise))) - 1.0)


def consistency(augment: Callable[[Array, Key], Array]) -> Penalty:
    """The penalty ``|D(x) - D(augment(x))|^2`` on reals, [batch]; logits of one example are summed, squared.

    CR-GAN: Zhang et al., "Consistency Regularization for Generative Adversarial Networks", 2020, arXiv
    1910.12027, on D's last layer, weighted with 10 there. Reals only, and both sides are
    differentiated; the balanced form of Zhao et al. 2020, arXiv 2002.04724, adds the fakes.
    augment: (images [batch, ...], key) -> images of the same shape, each example changed by itself.
    """

    def penalty(critic: Critic, real: Array, fake: Array, key: Key) -> Array:
        before, after = critic(real), critic(augment(real, key))
        dtype = jnp.promote_types(before.dtype, jnp.float32)
        difference = before.astype(dtype) - after.astype(dtype)
        return jnp.sum(jnp.square(difference), axis=tuple(range(1, difference.ndim)))

    return penalty
