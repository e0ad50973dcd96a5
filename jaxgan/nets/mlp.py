"""Fully connected generator and discriminator, for points and for images of any shape.

Options that all nets have: `jaxgan.nets.ends`.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.ends import Reference, discriminator_input, discriminator_logit, generator_input
from jaxgan.nets.layers import Maxout, Minibatch, Normalization, dropout, leaky_relu, weigh


class Generator(nn.Module):
    """latent [batch, latent] -> output [batch, *shape], float32.

    output: applied last; `jnp.tanh` for images in [-1, 1], None for points on the whole plane.
    dropout: of each hidden layer's activations.
    use_bias: of all layers; those with a normalization behind them have none in any case.
    """

    shape: tuple[int, ...]
    width: int = 128
    depth: int = 3
    normalization: Normalization | None = None
    activation: Callable[[Array], Array] = nn.relu
    output: Callable[[Array], Array] | None = None
    dtype: Any = jnp.float32
    num_classes: int = 0
    reference: Reference | None = None
    spectral: bool = False
    dropout: float = 0.0
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, latent: Array, label: Array | None = None, train: bool = True) -> Array:
        x, normalization, held = generator_input(self, latent, label)
        x = x.astype(self.dtype)
        for _ in range(self.depth):
            bias = self.use_bias and normalization is None
            x = weigh(nn.Dense(self.width, bias, self.dtype, kernel_init=self.kernel_init), x, train, self.spectral)
            if normalization is not None:
                x = normalization(dtype=self.dtype)(x, train)
            x = dropout(self.activation(x), self.dropout, train)
        last = nn.Dense(prod(self.shape), self.use_bias, self.dtype, kernel_init=self.kernel_init)
        x = weigh(last, x[held:], train, self.spectral).astype(jnp.float32).reshape(-1, *self.shape)
        return x if self.output is None else self.output(x)


class Discriminator(nn.Module):
    """example [batch, ...] -> logit float32 [batch]; examples are flattened.

    maxout: 0, or the hidden layers are `Maxout` of so many pieces, and `activation` has no part, as in
        the discriminators of Goodfellow et al., "Generative Adversarial Networks", 2014, arXiv 1406.2661.
    input_dropout: of the example (and of the class, where it is a part of the input).
    dropout: of each hidden layer's activations.
    use_bias: of all layers; those with a normalization behind them have none in any case.
    """

    width: int = 128
    depth: int = 3
    normalization: Normalization | None = None
    activation: Callable[[Array], Array] = leaky_relu
    dtype: Any = jnp.float32
    num_classes: int = 0
    projection: bool = True
    minibatch: Minibatch | None = None
    spectral: bool = False
    dropout: float = 0.0
    input_dropout: float = 0.0
    maxout: int = 0
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, example: Array, label: Array | None = None, train: bool = True) -> Array:
        x, classes = discriminator_input(self, example.reshape(example.shape[0], -1), label)
        x = dropout(x.astype(self.dtype), self.input_dropout, train)
        if self.maxout and self.normalization is not None:
            raise ValueError("maxout layers of a discriminator are not normalized: set one of the two")
        bias = self.use_bias and self.normalization is None
        for _ in range(self.depth):
            if self.maxout:
                layer = Maxout(self.width, self.maxout, self.use_bias, self.kernel_init, self.dtype)
                x = weigh(layer, x, train, self.spectral)
            else:
                dense = nn.Dense(self.width, bias, self.dtype, kernel_init=self.kernel_init)
                x = weigh(dense, x, train, self.spectral)
                if self.normalization is not None:
                    x = self.normalization(dtype=self.dtype)(x, train)
                x = self.activation(x)
            x = dropout(x, self.dropout, train)
        return discriminator_logit(self, x, classes, train, self.kernel_init, self.use_bias)
