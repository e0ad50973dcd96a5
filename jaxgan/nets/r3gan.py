"""R3GAN's generator and discriminator: residual nets without normalization, of grouped convolutions in bottlenecks.

Huang, Gokaslan, Kuleshov, Tompkin, "The GAN is dead; long live the GAN! A Modern GAN Baseline", 2024, arXiv
2501.05441, section 4 and its code (brownvc/R3GAN): an inverted bottleneck of a 1x1 convolution, one of 3x3 in
groups and one of 1x1; leaky ReLUs, with which all biases go; resampling by a filter of [1, 2, 1] on the
doubled grid; and weights that stand in for normalization, after Fixup (Zhang et al. 2019, arXiv 1901.09321): the last
of each block zero, the others N(0, (gain L^(-1/4))^2 / fan in) for L blocks of m = 3 convolutions, L^(-1/(2m - 2)).

Sides are doubled from 4 pixels or the odd number before (28: from 7). With `width` 768, groups of 16 and two blocks,
both nets are those of the authors' preset for CIFAR-10, with `wide_until` 32 those of FFHQ-64 and FFHQ-256.
num_classes, spectral, dtype: see `jaxgan.nets.ends`.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.convolution import Convolution, GroupedConvolution
from jaxgan.nets.ends import one_hot
from jaxgan.nets.layers import leaky_relu
from jaxgan.nets.resample import downsample, upsample
from jaxgan.nets.resnet import halvings

SLOPE = 0.2
# of the leaky ReLU, so that it keeps the second moment
GAIN = (2.0 / (1.0 + SLOPE**2)) ** 0.5


def normal_scaled(gain: float) -> Any:
    """The initializer N(0, gain^2 / fan in)."""
    return nn.initializers.variance_scaling(gain**2, "fan_in", "normal")


linear = normal_scaled(1.0)


class Generator(nn.Module):
    """latent [batch, latent] -> images float32 [batch, *shape].

    The last layer is linear; in use (train False) images are clipped to [-1, 1].

    width: channels where the longer side is `wide_until` or less; they halve with every doubling beyond.
    blocks: residual blocks at each size. expansion: channels inside a block over those outside.
    group_width: channels in a group of the 3x3 convolutions. embedding: dimensions of the class's, of which
        the latent is the other part; None for as many as the latent has.
    """

    shape: tuple[int, int, int]
    width: int = 768
    blocks: int = 2
    expansion: int = 2
    group_width: int = 16
    wide_until: int = 32
    embedding: int | None = None
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latent: Array, label: Array | None = None, train: bool = True) -> Array:
        sizes = sizes_of(self.shape)
        widths = widths_of(sizes, self.width, self.wide_until)
        block = partial(Block, self.expansion, self.group_width, len(sizes) * self.blocks, self.dtype)
        classes = one_hot(label, self.num_classes)
        z = latent.astype(self.dtype)
        if classes is not None:
            told = nn.Dense(self.embedding or latent.shape[-1], False, self.dtype, kernel_init=linear)(classes)
            z = jnp.concatenate([z, told], axis=-1)
        x = GenerativeBasis(*sizes[0], widths[0], dtype=self.dtype)(z)
        for i, width in enumerate(widths):
            if i:
                x = upsample(_channels(x, width, self.dtype))
            for _ in range(self.blocks):
                x = block()(x)
        last = Convolution(self.shape[-1], False, linear, self.dtype, kernel_size=(1, 1))
        x = last(x).astype(jnp.float32)
        return x if train else jnp.clip(x, -1.0, 1.0)


class Discriminator(nn.Module):
    """images [batch, *shape] -> logit float32 [batch]; told a class, the inner product of features and its vector.

    Fields as in `Generator`. embedding: dimensions of that product, None for the channels at the end.
    """

    shape: tuple[int, int, int]
    width: int = 768
    blocks: int = 2
    expansion: int = 2
    group_width: int = 16
    wide_until: int = 32
    embedding: int | None = None
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, label: Array | None = None, train: bool = True) -> Array:
        if images.shape[1:] != self.shape:
            raise ValueError(f"this discriminator judges images of shape {self.shape}, got {images.shape[1:]}")
        sizes = sizes_of(self.shape)
        widths = widths_of(sizes, self.width, self.wide_until)[::-1]
        block = partial(Block, self.expansion, self.group_width, len(sizes) * self.blocks, self.dtype)
        classes = one_hot(label, self.num_classes)
        first = Convolution(widths[0], False, linear, self.dtype, kernel_size=(1, 1))
        x = first(images.astype(self.dtype))
        for i, width in enumerate(widths):
            if i:
                x = _channels(downsample(x), width, self.dtype)
            for _ in range(self.blocks):
                x = block()(x)
        x = DiscriminativeBasis(dtype=self.dtype)(x)
        self.sow("intermediates", "features", x)
        if classes is None:
            return nn.Dense(1, False, self.dtype, kernel_init=linear)(x)[:, 0].astype(jnp.float32)
        size = self.embedding or widths[-1]
        seen = nn.Dense(size, False, self.dtype, kernel_init=linear)(x)
        vector = nn.Dense(size, False, self.dtype, kernel_init=normal_scaled(size**-0.5))(classes)
        return jnp.sum((seen * vector).astype(jnp.float32), axis=-1)


def sizes_of(shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """(height, width) at each stage of a net for images of that shape, from the smallest to the whole."""
    height, width, _ = shape
    doublings = halvings(height, width, 4)
    if not doublings:
        raise ValueError(
            f"these nets double their sides, from 4 pixels or more: at least 8 and even, got {height}x{width}"
        )
    return [(height >> k, width >> k) for k in range(doublings, -1, -1)]


def widths_of(sizes: list[tuple[int, int]], width: int, wide_until: int) -> list[int]:
    """Channels at each size: `width` up to sides of `wide_until`, and as the inverse of the side beyond, 1 or more."""
    return [max(1, width * wide_until // max(wide_until, *size)) for size in sizes]


def _channels(x: Array, width: int, dtype: Any) -> Array:
    return x if x.shape[-1] == width else Convolution(width, False, linear, dtype, kernel_size=(1, 1))(x)


class Block(nn.Module):
    """x + f(x): 1x1 convolution to `expansion` times the channels, 3x3 in groups, 1x1 back; f begins at zero.

    blocks: how many of them the net has, for the scale of their first weights.
    """

    expansion: int
    group_width: int
    blocks: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        inner = self.expansion * x.shape[-1]
        if inner % self.group_width:
            raise ValueError(
                f"groups of {self.group_width} do not divide the {inner} channels inside a block of {x.shape[-1]}"
            )
        scaled = normal_scaled(GAIN * self.blocks**-0.25)
        y = Convolution(inner, False, scaled, self.dtype, kernel_size=(1, 1))(x)
        y = BiasedActivation(self.dtype)(y)
        y = GroupedConvolution(inner, False, scaled, self.dtype, groups=inner // self.group_width)(y)
        y = BiasedActivation(self.dtype)(y)
        return x + Convolution(x.shape[-1], False, nn.initializers.zeros_init(), self.dtype, kernel_size=(1, 1))(y)


class BiasedActivation(nn.Module):
    """``leaky_relu(x + bias)``, a bias a channel: where there is no nonlinearity there is no bias either."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        bias = self.param("bias", nn.initializers.zeros_init(), (x.shape[-1],), jnp.float32)
        return leaky_relu(x + bias.astype(self.dtype).reshape(1, 1, 1, -1), SLOPE)


class GenerativeBasis(nn.Module):
    """latent [batch, n] -> [batch, height, width, features]: a learned picture a channel, each times a number."""

    height: int
    width: int
    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latent: Array) -> Array:
        shape = (self.height, self.width, self.features)
        basis = self.param("basis", nn.initializers.normal(1.0), shape, jnp.float32).astype(self.dtype)
        strength = nn.Dense(self.features, False, self.dtype, kernel_init=linear)(latent)
        return basis[None] * strength[:, None, None, :]


class DiscriminativeBasis(nn.Module):
    """[batch, height, width, c] -> [batch, c]: each channel's inner product with a learned picture of its own."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = x.shape[1:]
        start = nn.initializers.normal((shape[0] * shape[1]) ** -0.5)
        basis = self.param("basis", start, shape, jnp.float32).astype(self.dtype)
        return jnp.sum(x * basis[None], axis=(1, 2))
