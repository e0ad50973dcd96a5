"""DCGAN: Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", 2016, arXiv 1511.06434, section 3 and figure 1.

Kernels are 4x4 (the authors' code has 5x5), weights N(0, 0.02^2), leaky slope 0.2.
Options that all nets have: `jaxgan.nets.ends`.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.convolution import DownsamplingConvolution, UpsamplingConvolution
from jaxgan.nets.ends import Reference, discriminator_input, discriminator_logit, generator_input
from jaxgan.nets.layers import Minibatch, Normalization, dropout, leaky_relu, weigh

weights = nn.initializers.normal(0.02)


def default_depth(height: int, width: int) -> int:
    """How often the picture is halved: down to the 4 pixels of the paper, at least twice if that leaves 2 or more.

    64 -> 4 times, 32 -> 3, 28 -> 2, 8 -> 2.
    """
    depth = 0
    while height % 2 == 0 and width % 2 == 0 and (min(height, width) >= 8 or (depth < 2 and min(height, width) >= 4)):
        height, width, depth = height // 2, width // 2, depth + 1
    if depth == 0:
        raise ValueError(f"DCGAN halves pictures of at least 4x4 with even sides, got {height}x{width}")
    return depth


def _check(shape: tuple[int, int, int], depth: int) -> None:
    height, width, _ = shape
    if depth < 1 or height % 2**depth or width % 2**depth:
        raise ValueError(f"a DCGAN of depth {depth} needs sides divisible by {2**depth}, got {height}x{width}")


class Generator(nn.Module):
    """latent [batch, latent] -> images float32 [batch, *shape] in [-1, 1].

    shape: (height, width, channels); depth: doublings, None for `default_depth`.
    width: channels at the last hidden resolution, doubling towards the latent up to max_width.
    dense: units of a further layer in front of the first maps, 0 for none (InfoGAN has one, Chen et al.
        2016, arXiv 1606.03657, appendix C.1); the first maps are then normalized while they are units, as in its
        authors' code, and channel by channel without.
    output: applied last. dropout: of each hidden layer's activations.
    """

    shape: tuple[int, int, int]
    width: int = 64
    depth: int | None = None
    max_width: int = 512
    normalization: Normalization | None = None
    num_classes: int = 0
    dtype: Any = jnp.float32
    reference: Reference | None = None
    spectral: bool = False
    dropout: float = 0.0
    dense: int = 0
    output: Callable[[Array], Array] | None = jnp.tanh

    @nn.compact
    def __call__(self, latent: Array, label: Array | None = None, train: bool = True) -> Array:
        height, width, channels = self.shape
        latent, normalization, held = generator_input(self, latent, label)
        depth = self.depth or default_depth(height, width)
        _check(self.shape, depth)
        features = [min(self.width * 2**i, self.max_width) for i in reversed(range(depth))]
        start = (height // 2**depth, width // 2**depth, features[0])
        bias = normalization is None
        x = latent
        if self.dense:
            wide = nn.Dense(self.dense, use_bias=bias, kernel_init=weights, dtype=self.dtype)
            x = weigh(wide, x, train, self.spectral)
            if normalization is not None:
                x = normalization(dtype=self.dtype)(x, train)
            x = dropout(nn.relu(x), self.dropout, train)
        dense = nn.Dense(start[0] * start[1] * start[2], use_bias=bias, kernel_init=weights, dtype=self.dtype)
        x = weigh(dense, x, train, self.spectral)
        if self.dense and normalization is not None:
            x = normalization(dtype=self.dtype)(x, train)
        x = x.reshape(-1, *start)
        for i in range(depth):
            if normalization is not None and (i > 0 or not self.dense):
                x = normalization(dtype=self.dtype)(x, train)
            x = dropout(nn.relu(x), self.dropout, train)
            last = i == depth - 1
            up = UpsamplingConvolution(channels if last else features[i + 1], bias or last, weights, self.dtype)
            x = weigh(up, x[held:] if last else x, train, self.spectral)
        x = x.astype(jnp.float32)
        return x if self.output is None else self.output(x)


class Discriminator(nn.Module):
    """images [batch, *shape] -> logit float32 [batch]. The first layer is never normalized.

    dropout: of each hidden layer's activations. slope: of the leaky rectifiers.
    dense: units of a further layer behind the last maps, 0 for none; its activations are then the features.
    """

    shape: tuple[int, int, int]
    width: int = 64
    depth: int | None = None
    max_width: int = 512
    normalization: Normalization | None = None
    num_classes: int = 0
    dtype: Any = jnp.float32
    projection: bool = True
    minibatch: Minibatch | None = None
    spectral: bool = False
    dropout: float = 0.0
    dense: int = 0
    slope: float = 0.2

    @nn.compact
    def __call__(self, images: Array, label: Array | None = None, train: bool = True) -> Array:
        if images.shape[1:] != self.shape:
            raise ValueError(f"this discriminator sees images of {self.shape}, got {images.shape[1:]}")
        depth = self.depth or default_depth(*self.shape[:2])
        _check(self.shape, depth)
        x, classes = discriminator_input(self, images, label)
        x = x.astype(self.dtype)
        for i in range(depth):
            normalized = self.normalization is not None and i > 0
            features = min(self.width * 2**i, self.max_width)
            x = weigh(DownsamplingConvolution(features, not normalized, weights, self.dtype), x, train, self.spectral)
            if normalized:
                x = self.normalization(dtype=self.dtype)(x, train)  # type: ignore[misc]
            x = dropout(leaky_relu(x, self.slope), self.dropout, train)
        x = x.reshape(x.shape[0], -1)
        if self.dense:
            wide = nn.Dense(self.dense, self.normalization is None, self.dtype, kernel_init=weights)
            x = weigh(wide, x, train, self.spectral)
            if self.normalization is not None:
                x = self.normalization(dtype=self.dtype)(x, train)
            x = dropout(leaky_relu(x, self.slope), self.dropout, train)
        return discriminator_logit(self, x, classes, train, weights)
