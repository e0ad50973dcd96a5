"""Losses that are not adversarial: classification."""

import jax.numpy as jnp
import optax

from jaxgan.arrays import Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    """``-log softmax(logits)[label]`` in nats: logits [batch, ..., k], labels int [batch, ...] -> [batch, ...]."""
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels are integers, got {labels.dtype}")
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
