"""Fully connected generator and discriminator, for points and for images of any shape."""

from collections.abc import Callable
from math import prod
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.layers import Normalization


class Generator(nn.Module):
    """latent [batch, latent] -> output [batch, *shape], float32.

    output: applied last; `jnp.tanh` for images in [-1, 1], None for points on the whole plane.
    """

    shape: tuple[int, ...]
    width: int = 128
    depth: int = 3
    normalization: Normalization | None = None
    activation: Callable[[Array], Array] = nn.relu
    output: Callable[[Array], Array] | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latent: Array, train: bool = True) -> Array:
        x = latent.astype(self.dtype)
        for _ in range(self.depth):
            x = nn.Dense(self.width, use_bias=self.normalization is None, dtype=self.dtype)(x)
            if self.normalization is not None:
                x = self.normalization(dtype=self.dtype)(x, train)
            x = self.activation(x)
        x = nn.Dense(prod(self.shape), dtype=self.dtype)(x).astype(jnp.float32)
        x = x.reshape(-1, *self.shape)
        return x if self.output is None else self.output(x)


class Discriminator(nn.Module):
    """example [batch, ...] -> logit float32 [batch]."""

    width: int = 128
    depth: int = 3
    normalization: Normalization | None = None
    activation: Callable[[Array], Array] = lambda x: nn.leaky_relu(x, 0.2)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, example: Array, train: bool = True) -> Array:
        x = example.reshape(example.shape[0], -1).astype(self.dtype)
        for _ in range(self.depth):
            x = nn.Dense(self.width, use_bias=self.normalization is None, dtype=self.dtype)(x)
            if self.normalization is not None:
                x = self.normalization(dtype=self.dtype)(x, train)
            x = self.activation(x)
        return nn.Dense(1, dtype=self.dtype)(x)[:, 0].astype(jnp.float32)
