"""Residual generator and discriminator of pre-activation blocks.

Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, arXiv 1802.05957,
appendix B.4, after the CIFAR-10 nets of Gulrajani et al., "Improved Training of Wasserstein GANs",
2017, arXiv 1704.00028. Where paper and code differ (biases, initialisation, the widths inside a
block) these are the nets of Miyato's code.

Options that all nets have: `jaxgan.nets.ends`. With its defaults and BatchNorm in G, both nets are
those of the paper's table 4 for 32x32 colour: G has 4,276,739 parameters for 128 latents (width 256,
blocks 3 times doubling 4x4), D 1,053,825 (width 128). The nets of its other tables are

    48x48       Generator(shape, features=(512, 256, 128, 64)) and
                Discriminator(shape, features=(64, 128, 256, 512, 1024), depth=4)
    128x128     Generator(shape, features=(1024, 1024, 512, 256, 128, 64)) and
                Discriminator(shape, features=(64, 128, 256, 512, 1024, 1024), depth=5)

and the WGAN-GP nets for 32x32 have width 128 in G, mean_pooling and LayerNorm in D.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.convolution import Convolution, PooledConvolution, UpsampledConvolution
from jaxgan.nets.ends import Reference, discriminator_input, discriminator_logit, generator_input
from jaxgan.nets.layers import Minibatch, Normalization, dropout, weigh

# Glorot and Bengio 2010 times sqrt(2) where a ReLU precedes; times 1 in shortcuts and at both ends
rectified = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")
linear = nn.initializers.xavier_uniform()


def halvings(height: int, width: int, smallest: int) -> int:
    """How often both sides can be halved while the shorter stays at `smallest` or more; they stop at odd sides."""
    depth = 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 2 * smallest:
        height, width, depth = height // 2, width // 2, depth + 1
    return depth


def _depth(shape: tuple[int, int, int], depth: int | None, default: int) -> int:
    height, width, _ = shape
    depth = default if depth is None else depth
    if depth < 1 or height % 2**depth or width % 2**depth:
        raise ValueError(
            f"a residual net of depth {depth} needs sides divisible by {2 ** max(depth, 1)}, got {height}x{width}"
        )
    return depth


def _features(features: tuple[int, ...] | None, width: int, count: int, what: str) -> tuple[int, ...]:
    if features is not None and len(features) != count:
        raise ValueError(f"features holds {what}, {count} numbers here, got {features}")
    return features or (width,) * count


class Generator(nn.Module):
    """latent [batch, latent] -> images float32 [batch, *shape] in [-1, 1].

    depth: blocks, each of which doubles the sides; None for as many as lead to 4 pixels or the odd
        number before: 32 -> 3 (from 4), 28 -> 2 (from 7), 48 -> 3 (from 6), 64 -> 4, 128 -> 5.
    features: channels at the start and after each block, None for `width` everywhere.
    output: applied last. dropout: of each block's output.
    """

    shape: tuple[int, int, int]
    width: int = 256
    depth: int | None = None
    features: tuple[int, ...] | None = None
    normalization: Normalization | None = None
    num_classes: int = 0
    dtype: Any = jnp.float32
    reference: Reference | None = None
    spectral: bool = False
    dropout: float = 0.0
    output: Callable[[Array], Array] | None = jnp.tanh

    @nn.compact
    def __call__(self, latent: Array, label: Array | None = None, train: bool = True) -> Array:
        height, width, channels = self.shape
        depth = _depth(self.shape, self.depth, halvings(height, width, 4))
        features = _features(self.features, self.width, depth + 1, "the start and each block")
        latent, normalization, held = generator_input(self, latent, label)
        start = (height // 2**depth, width // 2**depth, features[0])
        dense = nn.Dense(start[0] * start[1] * start[2], kernel_init=linear, dtype=self.dtype)
        x = weigh(dense, latent, train, self.spectral).reshape(-1, *start)
        for number in features[1:]:
            x = _UpBlock(number, normalization, self.spectral, self.dtype)(x, train)
            x = dropout(x, self.dropout, train)
        if normalization is not None:
            x = normalization(dtype=self.dtype)(x, train)
        last = Convolution(channels, kernel_init=linear, dtype=self.dtype)
        x = weigh(last, nn.relu(x[held:]), train, self.spectral).astype(jnp.float32)
        return x if self.output is None else self.output(x)


class Discriminator(nn.Module):
    """images [batch, *shape] -> logit float32 [batch]. The first block is never normalized.

    depth: blocks that halve the sides; None for as many as leave 7 pixels or more, and at least one:
        32 -> 2 (to 8), 28 -> 2 (to 7), 48 -> 2 (to 12), 64 -> 3 (to 8), 128 -> 4 (to 8).
    features: channels of each block, the `depth` halving ones first; None for `width` in those and in
        two that keep the sides.
    mean_pooling: the mean over positions, as in WGAN-GP; otherwise their sum, as in SNGAN.
    dropout: of each block's output.
    """

    shape: tuple[int, int, int]
    width: int = 128
    depth: int | None = None
    features: tuple[int, ...] | None = None
    normalization: Normalization | None = None
    num_classes: int = 0
    dtype: Any = jnp.float32
    projection: bool = True
    minibatch: Minibatch | None = None
    spectral: bool = False
    dropout: float = 0.0
    mean_pooling: bool = False

    @nn.compact
    def __call__(self, images: Array, label: Array | None = None, train: bool = True) -> Array:
        if images.shape[1:] != self.shape:
            raise ValueError(f"this discriminator sees images of {self.shape}, got {images.shape[1:]}")
        depth = _depth(self.shape, self.depth, max(1, halvings(*self.shape[:2], 7)))
        features = self.features or (self.width,) * (depth + 2)
        if len(features) < depth:
            raise ValueError(f"features holds one number a block, {depth} or more here, got {features}")
        x, classes = discriminator_input(self, images, label)
        x = _FirstBlock(features[0], self.spectral, self.dtype)(x.astype(self.dtype), train)
        for i, number in enumerate(features[1:], start=1):
            x = dropout(x, self.dropout, train)
            x = _DownBlock(number, i < depth, self.normalization, self.spectral, self.dtype)(x, train)
        x = nn.relu(dropout(x, self.dropout, train))
        # hundreds of positions: half precision would round their sum
        pool = jnp.mean if self.mean_pooling else jnp.sum
        x = pool(x.astype(jnp.float32), axis=(1, 2)).astype(self.dtype)
        return discriminator_logit(self, x, classes, train, linear)


class _UpBlock(nn.Module):
    """Normalization, ReLU, doubling, 3x3, normalization, ReLU, 3x3; the shortcut is a 1x1 convolution, doubled."""

    features: int
    normalization: Normalization | None
    spectral: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        apply = partial(weigh, train=train, spectral=self.spectral)
        # a 1x1 convolution commutes with doubling: a quarter of the work
        shortcut = apply(Convolution(self.features, kernel_size=(1, 1), kernel_init=linear, dtype=self.dtype), x)
        shortcut = jnp.repeat(jnp.repeat(shortcut, 2, axis=1), 2, axis=2)
        if self.normalization is not None:
            x = self.normalization(dtype=self.dtype)(x, train)
        x = apply(UpsampledConvolution(self.features, kernel_init=rectified, dtype=self.dtype), nn.relu(x))
        if self.normalization is not None:
            x = self.normalization(dtype=self.dtype)(x, train)
        x = apply(Convolution(self.features, kernel_init=rectified, dtype=self.dtype), nn.relu(x))
        return x + shortcut


class _FirstBlock(nn.Module):
    """3x3, ReLU, 3x3, halving; the shortcut is halved, then a 1x1 convolution. What it sees is not rectified."""

    features: int
    spectral: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        apply = partial(weigh, train=train, spectral=self.spectral)
        shortcut = nn.avg_pool(x, (2, 2), (2, 2))
        shortcut = apply(Convolution(self.features, kernel_size=(1, 1), kernel_init=linear, dtype=self.dtype), shortcut)
        x = apply(Convolution(self.features, kernel_init=rectified, dtype=self.dtype), x)
        return shortcut + apply(PooledConvolution(self.features, kernel_init=rectified, dtype=self.dtype), nn.relu(x))


class _DownBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, and halving if `halve`; the shortcut a 1x1 convolution, or x itself where shapes agree.

    Normalization, if any, in front of both ReLUs. The first convolution keeps the channels.
    """

    features: int
    halve: bool
    normalization: Normalization | None
    spectral: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        apply = partial(weigh, train=train, spectral=self.spectral)
        # a 1x1 convolution commutes with halving: a quarter of the work
        shortcut = nn.avg_pool(x, (2, 2), (2, 2)) if self.halve else x
        if self.halve or x.shape[-1] != self.features:
            shortcut = apply(
                Convolution(self.features, kernel_size=(1, 1), kernel_init=linear, dtype=self.dtype), shortcut
            )
        inner = x.shape[-1]
        if self.normalization is not None:
            x = self.normalization(dtype=self.dtype)(x, train)
        x = apply(Convolution(inner, kernel_init=rectified, dtype=self.dtype), nn.relu(x))
        if self.normalization is not None:
            x = self.normalization(dtype=self.dtype)(x, train)
        layer = PooledConvolution if self.halve else Convolution
        return shortcut + apply(layer(self.features, kernel_init=rectified, dtype=self.dtype), nn.relu(x))
