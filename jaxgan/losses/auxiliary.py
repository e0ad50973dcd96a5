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


def contrastive(query: Array, key: Array, temperature: float = 0.07) -> Array:
    """``-log softmax_j(query_i . key_j / temperature)[i]``: query, key [batch, n, features] -> [batch, n], in nats.

    The i-th query is to be like the i-th key and unlike the other n - 1 keys of its own example; no gradient
    flows to the keys. At its largest where a query is like a wrong one; log n where it is like all. Unit vectors
    are expected. InfoNCE (van den Oord et al. 2018, arXiv 1807.03748, Eq. 4) with a dot product, as Park, Efros,
    Zhang, Zhu, "Contrastive Learning for Unpaired Image-to-Image Translation", 2020, arXiv 2007.15651, Eq. 3, has it.
    """
    if query.shape != key.shape:
        raise ValueError(f"queries and keys differ in shape: {query.shape}, {key.shape}")
    key = jax.lax.stop_gradient(key)
    alike = jnp.einsum("bif,bjf->bij", query, key, precision="highest").astype(jnp.float32) / temperature
    right = jnp.broadcast_to(jnp.arange(query.shape[1]), query.shape[:2])
    return cross_entropy(alike, right)


def binary_cross_entropy(logits: Array, attributes: Array) -> Array:
    """Minus the log-probability of attributes that are or are not there: logits, attributes in {0, 1} -> same shape."""
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return optax.losses.sigmoid_binary_cross_entropy(logits, attributes.astype(logits.dtype))
