"""The two ends that every generator and every discriminator share: what they are told, and the logit.

The fields that these functions read are options of all our nets:

num_classes: 0, or the net takes a label int [batch] as its second input; a call without raises ValueError.
normalization, spectral, dtype: normalization between the layers; spectral normalization of all kernels;
    the precision of the computation (parameters and outputs are float32).
Of generators: `reference`, see `generator_input`. Of discriminators: `projection` and `minibatch`,
see `discriminator_input` and `discriminator_logit`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Key
from jaxgan.nets.layers import Normalization, weigh

# The latents of a reference batch: key -> [reference, latent], a prior with its number of examples.
Reference = Callable[[Key], Array]


def generator_input(net: Any, latent: Array, label: Array | None) -> tuple[Array, Normalization | None, int]:
    """What a generator's first layer sees [rows, n], its normalization, and how many rows are its reference.

    Classes are appended to the latent as a one-hot vector (Mirza and Osindero, "Conditional Generative
    Adversarial Nets", 2014, arXiv 1411.1784).

    net.reference: None, or what draws the reference latents of `VirtualBatchNorm`, once, when the net
        is initialised. They and their labels, each class as likely, are held in the collection
        "reference" and travel in front of the batch; the generator cuts them off its output.
    """
    x = with_classes(latent, one_hot(label, net.num_classes))
    if net.reference is None:
        return x, net.normalization, 0
    if net.normalization is None:
        raise ValueError("a generator's reference batch serves VirtualBatchNorm; this one has no normalization")
    held = net.variable("reference", "latent", lambda: net.reference(net.make_rng("params"))).value
    n = held.shape[0]
    if net.num_classes:
        draw = lambda: jax.random.randint(net.make_rng("params"), (n,), 0, net.num_classes)  # noqa: E731
        held = with_classes(held, one_hot(net.variable("reference", "label", draw).value, net.num_classes))
    return jnp.concatenate([held.astype(x.dtype), x]), partial(net.normalization, reference=n), n


def discriminator_input(net: Any, examples: Array, label: Array | None) -> tuple[Array, Array | None]:
    """What a discriminator's first layer sees, and the classes that are left for its logit.

    net.projection: the logit is told the class, see `discriminator_logit`; otherwise the input is:
        the one-hot vector is appended to vectors and, as constant channels, to images, so that D
        judges the pair (Mirza and Osindero 2014, arXiv 1411.1784, figure 1).
    """
    classes = one_hot(label, net.num_classes)
    return (examples, classes) if net.projection else (with_classes(examples, classes), None)


def discriminator_logit(
    net: Any, x: Array, classes: Array | None, train: bool, kernel_init: Callable, use_bias: bool = True
) -> Array:
    """The logit float32 [batch] of the last hidden activations [batch, n], which it shows as features.

    net.minibatch: None, or a layer, called as ``minibatch(dtype=...)(x)``, that lets D look at the
        whole batch: `MinibatchDiscrimination` or `MinibatchDeviation`. Its net couples the batch.
    classes: None, or the logit gains the inner product of x and a vector of the class (Miyato and
        Koyama, "cGANs with Projection Discriminator", 2018, arXiv 1802.05637, Eq. 3).
    """
    net.sow("intermediates", "features", x)
    if net.minibatch is not None:
        x = net.minibatch(dtype=net.dtype)(x)
    last = nn.Dense(1, use_bias, net.dtype, kernel_init=kernel_init)
    logit = weigh(last, x, train, net.spectral)[:, 0]
    if classes is not None:
        embedding = nn.Dense(x.shape[-1], False, net.dtype, kernel_init=kernel_init)
        vector = weigh(embedding, classes.astype(net.dtype), train, net.spectral)
        logit = logit + jnp.sum(x * vector, axis=-1)
    return logit.astype(jnp.float32)


def one_hot(label: Array | None, num_classes: int) -> Array | None:
    """The classes as vectors [batch, num_classes], or None for a net without; ValueError where one is wrong."""
    if num_classes and label is None:
        raise ValueError(f"a net with {num_classes} classes needs a label")
    if not num_classes and label is not None:
        raise ValueError("a net without classes (num_classes=0) was given a label")
    return None if label is None else jax.nn.one_hot(label, num_classes)


def with_classes(x: Array, classes: Array | None) -> Array:
    """x [batch, ..., c] and the vectors [batch, n], if any, at every position as n further channels."""
    if classes is None:
        return x
    constant = classes.reshape(classes.shape[0], *(1,) * (x.ndim - 2), -1)
    return jnp.concatenate([x, jnp.broadcast_to(constant, (*x.shape[:-1], constant.shape[-1]))], axis=-1)
