"""Losses that are not adversarial: classification, and what one variable tells of another."""

from math import log, pi

import jax
import jax.numpy as jnp
import optax

from jaxgan.arrays import Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    """``-log softmax(logits)[label]`` in nats: logits [batch, ..., k], labels int [batch, ...] -> [batch, ...]."""
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels are integers, got {labels.dtype}")
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)


def real_logit(logits: Array) -> Array:
    """``logsumexp(logits)``, the log-odds that an example is of one of k classes and not of one more, "generated".

    logits [batch, ..., k] -> [batch, ...]; the further class has logit 0, for a softmax does not see a shift
    of all. Salimans et al., "Improved Techniques for Training GANs", 2016, arXiv 1606.03498, section 5: their
    D(x) = Z / (Z + 1), Z = sum exp(logits), is the sigmoid of this, and the losses of a GAN take it as D's logit.
    """
    return jax.nn.logsumexp(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), axis=-1)


def categorical_information(logits: Array, code: Array) -> Array:
    """``H(c) + log q(c | x)`` in nats for a code uniform over k values: logits [batch, k], code int [batch] -> [batch].

    Its mean is a lower bound of the mutual information of code and example, at most log k, and reaches it
    where q = softmax(logits) is the posterior: the gap is the mean KL(p || q). Chen et al., "InfoGAN", 2016,
    arXiv 1606.03657, Eq. 4 and 5, after Barber and Agakov 2003. To be maximised, unlike `cross_entropy`.
    """
    return log(logits.shape[-1]) - cross_entropy(logits, code)


def uniform_information(mean: Array, code: Array, deviation: float = 1.0) -> Array:
    """The same of codes uniform in (-1, 1) with a Gaussian q(c | x) = N(mean, deviation^2): [batch, m] -> [batch].

        sum over codes of log 2 - log(deviation sqrt(2 pi)) - (code - mean)^2 / (2 deviation^2)

    With a fixed deviation of 1, that of the authors' code for MNIST, it is at most log 2 - log(2 pi) / 2 =
    -0.23 nats a code: a bound still, but one that says nothing of how much is known.
    """
    if mean.shape != code.shape:
        raise ValueError(f"means and codes differ in shape: {mean.shape}, {code.shape}")
    difference = (code - mean.astype(jnp.promote_types(mean.dtype, jnp.float32))) / deviation
    at_best = log(2.0) - 0.5 * log(2.0 * pi) - log(deviation)
    return jnp.sum(at_best - 0.5 * jnp.square(difference), axis=-1)
