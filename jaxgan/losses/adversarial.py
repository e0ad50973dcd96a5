"""Adversarial losses: what each of two players pays, per example, given D's logits.

A logit is the discriminator's output before any sigmoid; D = sigmoid(logit) is its probability
of "real". Every loss takes ``(real_logits, fake_logits)`` for both players, so that relativistic
losses fit the same signature; a loss that ignores one of them costs nothing for it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Key

PlayerLoss = Callable[[Array, Array], Array]
LabelledLoss = Callable[[Array, Array | float], Array]

EXPONENT_LIMIT = 30.0


@dataclass(frozen=True)
class AdversarialLoss:
    """A pair of losses to be minimised, one for each player.

    discriminator, generator: (real_logits, fake_logits) -> elementwise loss, in float32 at least;
        logits are floating, of any one shape [batch, ...]; no mean is taken. The losses named
        `relativistic_average...` are elementwise but for a mean over the batch.
    labelled: D's loss of one logit given a label in [0, 1], 1 for real, where there is such a thing:
        then ``discriminator(real, fake) = labelled(real, 1) + labelled(fake, 0)``.
    zero_separates: a logit of 0 separates what D takes for real from what it takes for fake. False
        where the origin of logits means nothing (`wasserstein`, `relativistic`) or lies elsewhere.
    """

    discriminator: PlayerLoss
    generator: PlayerLoss
    labelled: LabelledLoss | None = None
    zero_separates: bool = True


def elementwise(formula: PlayerLoss) -> PlayerLoss:
    """A loss of two arrays of logits from its formula: shapes and dtypes checked, halves promoted to float32.

    ValueError where the shapes differ (nothing is broadcast), TypeError where logits are not floating.
    """

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


def _labelled(formula: Callable[[Array, Array], Array]) -> LabelledLoss:
    def loss(logits: Array, label: Array | float) -> Array:
        logits = jnp.asarray(logits)
        if not jnp.issubdtype(logits.dtype, jnp.floating):
            raise TypeError(f"logits are floating, got {logits.dtype}")
        dtype = jnp.promote_types(logits.dtype, jnp.float32)
        return formula(logits.astype(dtype), jnp.asarray(label, dtype))

    loss.__doc__ = formula.__doc__
    return loss


def limit_exponent(x: Array) -> Array:
    """x up to 30, ``30 + log(1 + x - 30)`` above: its exponential goes on along its tangent there.

    Smooth (once), strictly increasing and unbounded, so that whoever pays an exponential is still
    pushed back, with slope e^30 = 1e13: finite, and its square too, which Adam takes, in float32.
    """
    return jnp.minimum(x, EXPONENT_LIMIT) + jnp.log1p(jnp.maximum(x - EXPONENT_LIMIT, 0.0))


@_labelled
def logistic(logits: Array, label: Array) -> Array:
    """Cross-entropy ``-label log D - (1 - label) log(1 - D) = softplus(logit) - label * logit``, in nats.

    logits [batch, ...]; label in [0, 1], one for all or of the logits' shape -> [batch, ...].
    """
    return label * jax.nn.softplus(-logits) + (1.0 - label) * jax.nn.softplus(logits)


@_labelled
def squared_distance(logits: Array, label: Array) -> Array:
    """``(logit - label)^2``, without half: logits [batch, ...]; label one for all or of their shape -> [batch, ...]."""
    return jnp.square(logits - label)


@elementwise
def logistic_discriminator(real_logits: Array, fake_logits: Array) -> Array:
    """Cross-entropy of D, ``-log D(real) - log(1 - D(fake))``: the sum of the two, not their half."""
    return jax.nn.softplus(-real_logits) + jax.nn.softplus(fake_logits)


minimax = AdversarialLoss(
    discriminator=logistic_discriminator,
    generator=elementwise(lambda real_logits, fake_logits: -jax.nn.softplus(fake_logits)),
    labelled=logistic,
)
"""The zero-sum game of Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv 1406.2661, Eq. 1.

The generator minimises ``log(1 - D(fake))``, the *saturating* form: its gradient vanishes where D
is sure of itself. Not to be confused with `non_saturating`, which that paper proposes for practice.
"""

non_saturating = AdversarialLoss(
    discriminator=logistic_discriminator,
    generator=elementwise(lambda real_logits, fake_logits: jax.nn.softplus(-fake_logits)),
    labelled=logistic,
)
"""Goodfellow et al. 2014, arXiv 1406.2661, end of section 3: the generator minimises ``-log D(fake)``.

The same discriminator and fixed point as `minimax`, and gradients where D rejects every fake.
"""

maximum_likelihood = AdversarialLoss(
    discriminator=logistic_discriminator,
    generator=elementwise(lambda real_logits, fake_logits: -jnp.exp(limit_exponent(fake_logits))),
    labelled=logistic,
)
"""The maximum likelihood game: the generator minimises ``-exp(sigma^-1(D(fake))) = -exp(logit)``.

Goodfellow, "On distinguishability criteria for estimating generative models", 2014, arXiv 1412.6515, and
"NIPS 2016 Tutorial: Generative Adversarial Networks", arXiv 1701.00160, section 3.2.4, Eqs. 13-14, without
its halves. Where D is optimal, exp(logit) is the ratio of densities p/q, and the expected gradient is that
of KL(data || generator). Logits above 30 pay along the tangent (`limit_exponent`), which keeps value and
gradient finite.
"""

least_squares = AdversarialLoss(
    discriminator=elementwise(lambda real_logits, fake_logits: jnp.square(real_logits - 1.0) + jnp.square(fake_logits)),
    generator=elementwise(lambda real_logits, fake_logits: jnp.square(fake_logits - 1.0)),
    labelled=squared_distance,
    zero_separates=False,
)
"""LSGAN: Mao et al., "Least Squares Generative Adversarial Networks", 2017, arXiv 1611.04076, Eq. 2.

Without the halves of that equation: both players pay twice as much. The 0-1 coding, a = 0, b = c = 1 (Eq. 9),
not the one that minimises a Pearson divergence (a = -1, b = 1, c = 0, Eq. 8). D's output is regressed on
the label itself, so that 1/2 separates real from fake, not 0.
"""

hinge = AdversarialLoss(
    discriminator=elementwise(
        lambda real_logits, fake_logits: jax.nn.relu(1.0 - real_logits) + jax.nn.relu(1.0 + fake_logits)
    ),
    generator=elementwise(lambda real_logits, fake_logits: -fake_logits),
)
"""Hinge loss: Lim and Ye, "Geometric GAN", 2017, arXiv 1705.02894; Miyato et al. 2018, arXiv 1802.05957, Eqs. 16-17.

Only the discriminator has margins; the generator's loss is linear.
"""

wasserstein = AdversarialLoss(
    discriminator=elementwise(lambda real_logits, fake_logits: fake_logits - real_logits),
    generator=elementwise(lambda real_logits, fake_logits: -fake_logits),
    zero_separates=False,
)
"""Kantorovich-Rubinstein dual: Arjovsky et al., "Wasserstein GAN", 2017, arXiv 1701.07875, Eq. 2.

Means something only for a Lipschitz critic: pair it with weight clipping, `penalties.wgan_gp` or
spectral normalization. The discriminator's mean loss is minus the estimated distance.
"""

relativistic = AdversarialLoss(
    discriminator=elementwise(lambda real_logits, fake_logits: jax.nn.softplus(fake_logits - real_logits)),
    generator=elementwise(lambda real_logits, fake_logits: jax.nn.softplus(real_logits - fake_logits)),
    zero_separates=False,
)
"""RSGAN: ``-log sigma(real - fake)`` for D, the two swapped for G; each real example is paired with one fake.

Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN", 2018,
arXiv 1807.00734, section 4.1; also the loss of R3GAN (Huang et al. 2024, arXiv 2501.05441), there with R1
and R2. Both players' losses depend on both logits. Not to be confused with `relativistic_average`.
"""


def _relativistic_average(above: Callable[[Array], Array], below: Callable[[Array], Array]) -> AdversarialLoss:
    def compare(better: Array, worse: Array) -> Array:
        if better.ndim == 0:
            raise ValueError("relativistic average losses compare with the mean over a batch, and got one logit")
        better_mean, worse_mean = (jnp.mean(logits, axis=0, keepdims=True) for logits in (better, worse))
        return above(better - worse_mean) + below(worse - better_mean)

    return AdversarialLoss(
        discriminator=elementwise(compare),
        generator=elementwise(lambda real_logits, fake_logits: compare(fake_logits, real_logits)),
        zero_separates=False,
    )


relativistic_average = _relativistic_average(lambda x: jax.nn.softplus(-x), jax.nn.softplus)
"""RaSGAN: ``-log sigma(real - mean fake) - log(1 - sigma(fake - mean real))`` for D, the two swapped for G.

Jolicoeur-Martineau 2018, arXiv 1807.00734, section 4.2. The means are over the batch (axis 0) of the other
side, position by position where logits are patches, and are differentiated: the loss couples the examples
of a batch. Under `pmap` and `shard_map` the mean is that of one device. A batch needs its axis: ValueError
for logits of shape [].
"""

relativistic_average_least_squares = _relativistic_average(lambda x: jnp.square(x - 1.0), lambda x: jnp.square(x + 1.0))
"""RaLSGAN, Jolicoeur-Martineau 2018, arXiv 1807.00734: `relativistic_average` with targets 1 and -1, squared."""

relativistic_average_hinge = _relativistic_average(lambda x: jax.nn.relu(1.0 - x), lambda x: jax.nn.relu(1.0 + x))
"""RaHingeGAN, Jolicoeur-Martineau 2018, arXiv 1807.00734: `relativistic_average` with margins, for G as well."""


def _refuse_outside_unit_interval(name: str, value: Array | float) -> None:
    if isinstance(value, (int, float)) and not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is in [0, 1], got {value}")


def label_smoothing(loss: AdversarialLoss, real_label: Array | float) -> AdversarialLoss:
    """One-sided label smoothing: D is told `real_label` (0.9, say) of reals, and still 0 of fakes.

    Salimans et al., "Improved Techniques for Training GANs", 2016, arXiv 1606.03498, section 3.4. With
    a real label a, D's optimum is ``D = a p / (p + q)`` for the logistic losses (the logit itself for
    `least_squares`), p and q the densities of data and fakes: the logit is finite where q = 0. A label b
    of fakes would add b q to that numerator and reward G for samples that no data are near to; hence one side.
    The generator's loss is untouched. `real_label`: in [0, 1], a number or a scalar array (traced or not).
    ValueError for a loss without labels.
    """
    labelled = loss.labelled
    if labelled is None:
        raise ValueError("label smoothing needs a loss with labels (logistic or least squares); this one has none")
    _refuse_outside_unit_interval("real_label", real_label)

    def smoothed(logits: Array, label: Array | float) -> Array:
        return labelled(logits, label * real_label)

    return replace(
        loss,
        discriminator=elementwise(
            lambda real_logits, fake_logits: smoothed(real_logits, 1.0) + smoothed(fake_logits, 0.0)
        ),
        labelled=smoothed,
    )


def flip_labels(loss: AdversarialLoss, key: Key, probability: Array | float) -> AdversarialLoss:
    """Flips both labels of a pair at random: D then pays ``discriminator(fake, real)``.

    One draw for each example of the batch, shared by its patches; the generator's loss is untouched.
    Unlike `label_smoothing` it works for any loss; to have both, smooth first. Chintala et al., "How to
    train a GAN? Tips and tricks to make GANs work", 2016, item 6. For the logistic losses D's optimum in
    expectation is that of smoothing both labels: ``D = ((1 - e) p + e q) / (p + q)``, e = `probability`.
    The same key flips the same pairs: build the loss inside the step, with the step's key.
    `probability`: in [0, 1], a number or a scalar array (traced or not).
    """
    _refuse_outside_unit_interval("probability", probability)

    @elementwise
    def discriminator(real_logits: Array, fake_logits: Array) -> Array:
        shape = real_logits.shape[:1] + (1,) * (real_logits.ndim - 1)
        flipped = jax.random.bernoulli(key, probability, shape)
        kept = loss.discriminator(real_logits, fake_logits)
        return jnp.where(flipped, loss.discriminator(fake_logits, real_logits), kept)

    # a pair's loss is no longer a sum over labels known in advance
    return replace(loss, discriminator=discriminator, labelled=None)
