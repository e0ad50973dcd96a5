"""Adversarial losses: what each of two players pays, per example, given D's logits.

A logit is the discriminator's output before any sigmoid; D = sigmoid(logit) is its probability
of "real". Every loss takes ``(real_logits, fake_logits)`` for both players, so that relativistic
losses fit the same signature; a loss that ignores one of them costs nothing for it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array

PlayerLoss = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class AdversarialLoss:
    """A pair of losses to be minimised, one for each player.

    discriminator, generator: (real_logits, fake_logits) -> elementwise loss, in float32 at least;
        logits are floating, of any one shape [batch, ...]; no mean is taken.
    """

    discriminator: PlayerLoss
    generator: PlayerLoss


def _elementwise(formula: PlayerLoss) -> PlayerLoss:
    def loss(real_logits: Array, fake_logits: Array) -> Array:
        real_logits, fake_logits = jnp.asarray(real_logits), jnp.asarray(fake_logits)
        if real_logits.shape != fake_logits.shape:
            raise ValueError(f"real and fake logits differ in shape: {real_logits.shape}, {fake_logits.shape}")
        if not all(jnp.issubdtype(logits.dtype, jnp.floating) for logits in (real_logits, fake_logits)):
            raise TypeError(f"logits are floating, got {real_logits.dtype} and {fake_logits.dtype}")
        dtype = jnp.promote_types(jnp.promote_types(real_logits.dtype, fake_logits.dtype), jnp.float32)
        return formula(real_logits.astype(dtype), fake_logits.astype(dtype))

    loss.__doc__ = formula.__doc__
    return loss


@_elementwise
def logistic_discriminator(real_logits: Array, fake_logits: Array) -> Array:
    """Cross-entropy of D, ``-log D(real) - log(1 - D(fake))``: the sum of the two, not their half."""
    return jax.nn.softplus(-real_logits) + jax.nn.softplus(fake_logits)


minimax = AdversarialLoss(
    discriminator=logistic_discriminator,
    generator=_elementwise(lambda real_logits, fake_logits: -jax.nn.softplus(fake_logits)),
)
"""The zero-sum game of Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv 1406.2661, Eq. 1.

The generator minimises ``log(1 - D(fake))``, the *saturating* form: its gradient vanishes where D
is sure of itself. Not to be confused with `non_saturating`, which that paper proposes for practice.
"""

non_saturating = AdversarialLoss(
    discriminator=logistic_discriminator,
    generator=_elementwise(lambda real_logits, fake_logits: jax.nn.softplus(-fake_logits)),
)
"""Goodfellow et al. 2014, arXiv 1406.2661, end of section 3: the generator minimises ``-log D(fake)``.

The same discriminator and fixed point as `minimax`, and gradients where D rejects every fake.
"""

hinge = AdversarialLoss(
    discriminator=_elementwise(
        lambda real_logits, fake_logits: jax.nn.relu(1.0 - real_logits) + jax.nn.relu(1.0 + fake_logits)
    ),
    generator=_elementwise(lambda real_logits, fake_logits: -fake_logits),
)
"""Hinge loss: Lim and Ye, "Geometric GAN", 2017, arXiv 1705.02894; Miyato et al. 2018, arXiv 1802.05957, Eqs. 16-17.

Only the discriminator has margins; the generator's loss is linear.
"""

wasserstein = AdversarialLoss(
    discriminator=_elementwise(lambda real_logits, fake_logits: fake_logits - real_logits),
    generator=_elementwise(lambda real_logits, fake_logits: -fake_logits),
)
"""Kantorovich-Rubinstein dual: Arjovsky et al., "Wasserstein GAN", 2017, arXiv 1701.07875, Eq. 2.

Means something only for a Lipschitz critic: pair it with weight clipping, `penalties.wgan_gp` or
spectral normalization. The discriminator's mean loss is minus the estimated distance.
"""
