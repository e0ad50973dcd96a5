"""Layers that several architectures use."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array

# A normalization is called as normalization(dtype=...)(x, train): one of the modules below.
Normalization = Callable[..., nn.Module]


class BatchNorm(nn.Module):
    """Batch normalization over all axes but the last, with scale and shift.

    Couples the examples of a batch while training; uses running averages otherwise. Statistics in
    float32. On a batch sharded by jit they are those of the whole batch; under pmap and shard_map
    they are each device's own, and `make_step` averages the running ones.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=self.momentum,
            epsilon=self.epsilon,
            dtype=self.dtype,
            scale_init=lambda key, shape, dtype: 1.0 + 0.02 * jax.random.normal(key, shape, dtype),
        )(x)


class LayerNorm(nn.Module):
    """Layer normalization over height, width and channels of each example, scale and shift per channel.

    Ba et al. 2016, arXiv 1607.06450, as WGAN-GP uses it in critics: examples stay independent.
    """

    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        axes = tuple(range(1, x.ndim))
        return nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, reduction_axes=axes, feature_axes=-1)(x)


def leaky_relu(x: Array) -> Array:
    """max(x, 0.2 x), the slope of DCGAN's discriminator."""
    return nn.leaky_relu(x, 0.2)
