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

Further options of both nets:

attention: where the sides are first (in pixels of height) that long, `SelfAttention` follows; 0 for none.
    Zhang et al., "Self-Attention Generative Adversarial Networks", 2019, arXiv 1805.08318.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.convolution import Convolution, PooledConvolution, UpsampledConvolution
from jaxgan.nets.ends import Reference, discriminator_input, discriminator_logit, generator_input, one_hot
from jaxgan.nets.layers import ConditionalBatchNorm, Minibatch, Normalization, SelfAttention, dropout, weigh

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


def check_attention(attention: int, heights: Sequence[int]) -> None:
    """Refuses attention where a net has no pictures of that height."""
    if attention and attention not in heights:
        raise ValueError(f"attention is put where the sides are one of {sorted({*heights})} pixels, got {attention}")


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
    class_norm: the class is not appended to the latent; the normalization of the blocks is told it instead
        (`ConditionalBatchNorm`; the last one stays `normalization`, which is then `BatchNorm`). Miyato and
        Koyama 2018, arXiv 1802.05637, section 4.
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
    class_norm: bool = False
    attention: int = 0

    @nn.compact
    def __call__(self, latent: Array, label: Array | None = None, train: bool = True) -> Array:
        height, width, channels = self.shape
        depth = _depth(self.shape, self.depth, halvings(height, width, 4))
        features = _features(self.features, self.width, depth + 1, "the start and each block")
        start = (height // 2**depth, width // 2**depth, features[0])
        check_attention(self.attention, [start[0] * 2**i for i in range(depth + 1)])
        if self.class_norm:
            if self.reference is not None or self.normalization is None or not self.num_classes:
                raise ValueError("class_norm is batch normalization told the class: it needs both, and no reference")
            condition, held = one_hot(label, self.num_classes), 0
            normalization: Normalization | None = self.normalization
            within: Normalization | None = ConditionalBatchNorm
        else:
            latent, within, held = generator_input(self, latent, label)
            condition, normalization = None, within
        dense = nn.Dense(start[0] * start[1] * start[2], kernel_init=linear, dtype=self.dtype)
        x = weigh(dense, latent, train, self.spectral).reshape(-1, *start)
        if self.attention == start[0]:
            x = SelfAttention(self.spectral, dtype=self.dtype)(x, train)
        for number in features[1:]:
            x = UpBlock(number, within, self.spectral, self.dtype)(x, train, condition)
            x = dropout(x, self.dropout, train)
            if self.attention == x.shape[1]:
                x = SelfAttention(self.spectral, dtype=self.dtype)(x, train)
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
    wide: a block changes its channels in its first convolution instead of its second, as in BigGAN.
    kernel_init: of all kernels; None for those of the paper's code.
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
    attention: int = 0
    wide: bool = False
    kernel_init: Callable | None = None

    @nn.compact
    def __call__(self, images: Array, label: Array | None = None, train: bool = True) -> Array:
        if images.shape[1:] != self.shape:
            raise ValueError(f"this discriminator sees images of {self.shape}, got {images.shape[1:]}")
        depth = _depth(self.shape, self.depth, max(1, halvings(*self.shape[:2], 7)))
        features = self.features or (self.width,) * (depth + 2)
        if len(features) < depth:
            raise ValueError(f"features holds one number a block, {depth} or more here, got {features}")
        check_attention(self.attention, [self.shape[0] // 2 ** (i + 1) for i in range(depth)])
        x, classes = discriminator_input(self, images, label)
        x = x.astype(self.dtype)
        for i, number in enumerate(features):
            before = x.shape[1]
            if i == 0:
                x = FirstBlock(number, self.spectral, self.dtype, self.kernel_init)(x, train)
            else:
                options = (self.normalization, self.spectral, self.dtype, self.wide, self.kernel_init)
                x = DownBlock(number, i < depth, *options)(dropout(x, self.dropout, train), train)
            if x.shape[1] == self.attention != before:
                x = SelfAttention(self.spectral, self.kernel_init or linear, self.dtype)(x, train)
        x = nn.relu(dropout(x, self.dropout, train))
        # hundreds of positions: half precision would round their sum
        pool = jnp.mean if self.mean_pooling else jnp.sum
        x = pool(x.astype(jnp.float32), axis=(1, 2)).astype(self.dtype)
        return discriminator_logit(self, x, classes, train, self.kernel_init or linear)


class UpBlock(nn.Module):
    """Normalization, ReLU, doubling, 3x3, normalization, ReLU, 3x3; the shortcut is a 1x1 convolution, doubled.

    condition: None, or vectors [batch, n] that the normalization is told, which then is `ConditionalBatchNorm`.
    kernel_init: of all kernels; None for those of the paper's code.
    """

    features: int
    normalization: Normalization | None
    spectral: bool
    dtype: Any
    kernel_init: Callable | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool, condition: Array | None = None) -> Array:
        apply = partial(weigh, train=train, spectral=self.spectral)
        inner, outer = self.kernel_init or rectified, self.kernel_init or linear

        def normalized(x: Array) -> Array:
            if self.normalization is None:
                return x
            told = () if condition is None else (condition,)
            return self.normalization(dtype=self.dtype)(x, *told, train)

        # a 1x1 convolution commutes with doubling: a quarter of the work
        shortcut = apply(Convolution(self.features, kernel_size=(1, 1), kernel_init=outer, dtype=self.dtype), x)
        shortcut = jnp.repeat(jnp.repeat(shortcut, 2, axis=1), 2, axis=2)
        x = nn.relu(normalized(x))
        x = nn.relu(normalized(apply(UpsampledConvolution(self.features, kernel_init=inner, dtype=self.dtype), x)))
        return shortcut + apply(Convolution(self.features, kernel_init=inner, dtype=self.dtype), x)


class FirstBlock(nn.Module):
    """3x3, ReLU, 3x3, halving; the shortcut is halved, then a 1x1 convolution. What it sees is not rectified."""

    features: int
    spectral: bool
    dtype: Any
    kernel_init: Callable | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        apply = partial(weigh, train=train, spectral=self.spectral)
        inner, outer = self.kernel_init or rectified, self.kernel_init or linear
        shortcut = nn.avg_pool(x, (2, 2), (2, 2))
        shortcut = apply(Convolution(self.features, kernel_size=(1, 1), kernel_init=outer, dtype=self.dtype), shortcut)
        x = apply(Convolution(self.features, kernel_init=inner, dtype=self.dtype), x)
        return shortcut + apply(PooledConvolution(self.features, kernel_init=inner, dtype=self.dtype), nn.relu(x))


class DownBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, and halving if `halve`; the shortcut a 1x1 convolution, or x itself where shapes agree.

    Normalization, if any, in front of both ReLUs. The first convolution keeps the channels, or with `wide`
    the second. kernel_init: of all kernels; None for those of the paper's code.
    """

    features: int
    halve: bool
    normalization: Normalization | None
    spectral: bool
    dtype: Any
    wide: bool = False
    kernel_init: Callable | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        apply = partial(weigh, train=train, spectral=self.spectral)
        inner, outer = self.kernel_init or rectified, self.kernel_init or linear
        # a 1x1 convolution commutes with halving: a quarter of the work
        shortcut = nn.avg_pool(x, (2, 2), (2, 2)) if self.halve else x
        if self.halve or x.shape[-1] != self.features:
            shortcut = apply(
                Convolution(self.features, kernel_size=(1, 1), kernel_init=outer, dtype=self.dtype), shortcut
            )
        hidden = self.features if self.wide else x.shape[-1]
        if self.normalization is not None:
            x = self.normalization(dtype=self.dtype)(x, train)
        x = apply(Convolution(hidden, kernel_init=inner, dtype=self.dtype), nn.relu(x))
        if self.normalization is not None:
            x = self.normalization(dtype=self.dtype)(x, train)
        layer = PooledConvolution if self.halve else Convolution
        return shortcut + apply(layer(self.features, kernel_init=inner, dtype=self.dtype), nn.relu(x))
