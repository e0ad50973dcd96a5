"""StyleGAN2: a mapping network, a synthesis network of modulated convolutions, a residual discriminator.

Karras, Laine, Aittala, Hellsten, Lehtinen, Aila, "Analyzing and Improving the Image Quality of StyleGAN",
2020, arXiv 1912.04958 (skip generator and residual discriminator, config F). Conditional nets are those of
the authors' code for Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020,
arXiv 2006.06676.

The nets are those of that code but for the border: where a convolution doubles or halves the image, what
lies outside is the edge for the filter, not zero (`jaxgan.nets.resample.smooth`).

Sides are an odd number of pixels, or 4, doubled: 8 from 4, 28 from 7, 32 from 4. Channels are `width` at
the largest resolution and double towards the smallest up to `max_width`. All layers have an equalised
learning rate, and all rectifiers are leaky and followed by a gain of sqrt 2.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.convolution import Convolution, PooledConvolution, convolution, upsampled_convolution
from jaxgan.nets.ends import one_hot
from jaxgan.nets.layers import Equalized, leaky_relu, minibatch_deviation, pixel_norm
from jaxgan.nets.resample import downsample, smooth, upsample
from jaxgan.nets.resnet import halvings

# of the running mean of w: ``mean <- MEAN_DECAY * mean + (1 - MEAN_DECAY) * batch mean`` a step
MEAN_DECAY = 0.995
MAPPING_RATE = 0.01


def depth_of(shape: tuple[int, int, int]) -> int:
    """How often the image doubles from its start."""
    height, width, _ = shape
    depth = halvings(height, width, 4)
    if not depth:
        raise ValueError(f"StyleGAN2 doubles from 4 pixels or an odd side above: 8 or more, got {height}x{width}")
    return depth


def num_styles(shape: tuple[int, int, int]) -> int:
    """How many styles images of this shape take: one a convolution, and one for the last layer of colours."""
    return 2 * depth_of(shape) + 2


def _channels(shape: tuple[int, int, int], width: int, max_width: int) -> list[int]:
    """Channels by resolution, the smallest first."""
    return [min(width * 2**i, max_width) for i in reversed(range(depth_of(shape) + 1))]


def _activated(x: Array) -> Array:
    return leaky_relu(x) * 2.0**0.5


def _dense(features: int, dtype: Any, rate: float = 1.0, bias: float = 0.0, use_bias: bool = True) -> Equalized:
    layer = nn.Dense(
        features,
        use_bias,
        dtype,
        kernel_init=nn.initializers.normal(1.0 / rate),
        bias_init=nn.initializers.constant(bias / rate),
    )
    return Equalized(layer, gain=1.0, multiplier=rate)


class Mapping(nn.Module):
    """latent [batch, latent] (and label int [batch]) -> styles w float32 [batch, num_styles, features].

    The latent is brought to unit mean square (pixel norm), and so is an embedding of the class, which is
    appended. `depth` layers with 0.01 times the others' learning rate follow. In use all styles of an
    example are the same w. In training with a "noise" stream, a share `mixing` of the examples take the
    styles from a random layer on from the w of a further latent, drawn from N(0, I) (style mixing; Karras et
    al. 2019, arXiv 1812.04948, section 3.1; 0.9 there, and one layer for the whole batch in its code).

    The collection "average" holds `w` [features], the running mean of w, for truncation.
    """

    num_styles: int
    features: int = 512
    depth: int = 8
    num_classes: int = 0
    mixing: float = 0.9
    dtype: Any = jnp.float32

    def setup(self) -> None:
        if self.num_classes:
            self.embedding = _dense(self.features, self.dtype)
        self.layers = [_dense(self.features, self.dtype, MAPPING_RATE) for _ in range(self.depth)]
        self.mean = self.variable("average", "w", jnp.zeros, (self.features,))

    def __call__(self, latent: Array, label: Array | None = None, train: bool = True) -> Array:
        classes = one_hot(label, self.num_classes)
        w = self._mapped(latent, classes)
        if train and not self.is_initializing():
            mean = jnp.mean(jax.lax.stop_gradient(w), axis=0)
            self.mean.value = MEAN_DECAY * self.mean.value + (1.0 - MEAN_DECAY) * mean
        styles = jnp.broadcast_to(w[:, None], (w.shape[0], self.num_styles, self.features))
        if not train or not self.mixing or not self.has_rng("noise"):
            return styles
        latent_key, share_key, layer_key = jax.random.split(self.make_rng("noise"), 3)
        other = self._mapped(jax.random.normal(latent_key, latent.shape, latent.dtype), classes)
        mixed = jax.random.bernoulli(share_key, self.mixing, (w.shape[0], 1))
        first = jax.random.randint(layer_key, (w.shape[0], 1), 1, self.num_styles)
        swapped = mixed & (jnp.arange(self.num_styles)[None] >= first)
        return jnp.where(swapped[:, :, None], other[:, None], styles)

    def _mapped(self, latent: Array, classes: Array | None) -> Array:
        x = pixel_norm(latent)
        if classes is not None:
            x = jnp.concatenate([x, pixel_norm(self.embedding(classes).astype(jnp.float32))], axis=-1)
        for layer in self.layers:
            x = _activated(layer(x.astype(self.dtype)))
        return x.astype(jnp.float32)


class ModulatedConvolution(nn.Module):
    """images [batch, h, w, in], w [batch, n] -> [batch, h, w, features], twice as high and wide with `up`.

    A convolution whose kernel k [rows, columns, in, features] is, for each example, multiplied by a style
    s = A w + 1 [in] and, with `demodulate`, divided by its norm for each output (Eqs. 1 and 3):

        k'_j = s k_j / sqrt(sum (s k_j)^2 + 1e-8).

    Computed with one kernel for all examples, as convolution(s x, k) / norm, which is the same but for
    rounding and an ordinary convolution. Without `demodulate` k is divided by the root of its fan-in.
    """

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    up: bool = False
    demodulate: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, w: Array) -> Array:
        channels = images.shape[-1]
        shape = (*self.kernel_size, channels, self.features)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape, jnp.float32)
        kernel = kernel / (self.kernel_size[0] * self.kernel_size[1] * channels) ** 0.5
        style = _dense(channels, jnp.float32, bias=1.0)(w)
        x = images.astype(self.dtype) * style.astype(self.dtype)[:, None, None]
        x = smooth(upsampled_convolution(x, kernel)) if self.up else convolution(x, kernel)
        if not self.demodulate:
            return x
        squares = jnp.square(style) @ jnp.sum(jnp.square(kernel), axis=(0, 1))
        return x * jax.lax.rsqrt(squares + 1e-8).astype(self.dtype)[:, None, None]


class _StyledLayer(nn.Module):
    """A modulated convolution, noise of a learned strength for each pixel, a bias, a leaky rectifier."""

    features: int
    up: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, w: Array, train: bool) -> Array:
        x = ModulatedConvolution(self.features, up=self.up, dtype=self.dtype)(x, w)
        size = (*x.shape[1:3], 1)
        held = self.variable("reference", "noise", lambda: jax.random.normal(self.make_rng("params"), size))
        if train and self.has_rng("noise"):
            noise = jax.random.normal(self.make_rng("noise"), (x.shape[0], *size))
        else:
            noise = held.value[None]
        strength = self.param("strength", nn.initializers.zeros_init(), (), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        x = x + (strength * noise).astype(self.dtype) + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return _activated(x)


class _Colours(nn.Module):
    """x [batch, h, w, in] -> float32 [batch, h, w, channels]: a modulated 1x1 convolution, not demodulated."""

    channels: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, w: Array) -> Array:
        layer = ModulatedConvolution(self.channels, (1, 1), demodulate=False, dtype=self.dtype)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.channels,), jnp.float32)
        return layer(x, w).astype(jnp.float32) + bias.reshape(1, 1, 1, -1)


class Synthesis(nn.Module):
    """styles w [batch, num_styles, features] -> images float32 [batch, *shape].

    Vectors w [batch, features] stand for the same style in all layers. Each resolution has two styled
    convolutions (the first one) and a layer of colours, and the image is their sum, doubled on the way.

    There is no tanh at the end: in training images may leave [-1, 1], in use they are clipped to it. Noise
    is drawn anew in training with a "noise" stream; otherwise it is that of the collection "reference",
    drawn once: the same for all examples.
    """

    shape: tuple[int, int, int]
    width: int = 64
    max_width: int = 512
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, styles: Array, train: bool = True) -> Array:
        depth, number = depth_of(self.shape), num_styles(self.shape)
        if styles.ndim == 2:
            styles = jnp.broadcast_to(styles[:, None], (styles.shape[0], number, styles.shape[1]))
        if styles.shape[1] != number:
            raise ValueError(f"images of {self.shape} take {number} styles, got {styles.shape[1]}")
        height, width, colours = self.shape
        channels = _channels(self.shape, self.width, self.max_width)
        start = (height // 2**depth, width // 2**depth, channels[0])
        x = self.param("start", nn.initializers.normal(1.0), start, jnp.float32)
        x = jnp.broadcast_to(x.astype(self.dtype)[None], (styles.shape[0], *start))
        x = _StyledLayer(channels[0], False, self.dtype)(x, styles[:, 0], train)
        image = _Colours(colours, self.dtype)(x, styles[:, 1])
        for i, features in enumerate(channels[1:]):
            x = _StyledLayer(features, True, self.dtype)(x, styles[:, 2 * i + 1], train)
            x = _StyledLayer(features, False, self.dtype)(x, styles[:, 2 * i + 2], train)
            # the layer of colours has the style of the next resolution's first convolution
            image = upsample(image) + _Colours(colours, self.dtype)(x, styles[:, 2 * i + 3])
        return image if train else jnp.clip(image, -1.0, 1.0)


class Generator(nn.Module):
    """latent [batch, latent] (and label) -> images float32 [batch, *shape]: `Mapping`, then `Synthesis`.

    Its parameters and running variables are those of the two, under "mapping" and "synthesis".
    """

    mapping: Mapping
    synthesis: Synthesis

    def __call__(self, latent: Array, label: Array | None = None, train: bool = True) -> Array:
        return self.synthesis(self.mapping(latent, label, train), train)


class Discriminator(nn.Module):
    """images [batch, *shape] (and label int [batch]) -> logit float32 [batch].

    Residual blocks down to the generator's start; there the deviation over `group` examples is a further
    channel (the largest number up to `group` that divides the batch; 0: none), so that the net couples the
    batch, in training and in use.

    num_classes: the logit is the inner product of the last features and the class as a mapping network of
        `mapping_depth` layers sees it, divided by the root of their number: a projection (Miyato and Koyama 2018,
        arXiv 1802.05637) without an unconditional part.
    """

    shape: tuple[int, int, int]
    width: int = 64
    max_width: int = 512
    num_classes: int = 0
    mapping_depth: int = 8
    group: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, label: Array | None = None, train: bool = True) -> Array:
        if images.shape[1:] != self.shape:
            raise ValueError(f"this discriminator sees images of {self.shape}, got {images.shape[1:]}")
        classes, dtype = one_hot(label, self.num_classes), self.dtype
        channels = _channels(self.shape, self.width, self.max_width)[::-1]
        start = nn.initializers.normal(1.0)

        def convolve(features: int, size: int = 3, use_bias: bool = True) -> Equalized:
            return Equalized(Convolution(features, use_bias, start, dtype, kernel_size=(size, size)), gain=1.0)

        x = _activated(convolve(channels[0], 1)(images.astype(dtype)))
        for features in channels[1:]:
            # a 1x1 convolution commutes with halving: a quarter of the work
            shortcut = convolve(features, 1, use_bias=False)(downsample(x))
            x = _activated(convolve(x.shape[-1])(x))
            halve = Equalized(PooledConvolution(features, True, start, dtype), gain=1.0)
            x = (_activated(halve(smooth(x))) + shortcut) * 0.5**0.5
        if self.group:
            batch = x.shape[0]
            x = minibatch_deviation(x, next(n for n in range(self.group, 0, -1) if batch % n == 0))
        x = _activated(convolve(channels[-1])(x))
        x = _activated(_dense(channels[-1], dtype)(x.reshape(x.shape[0], -1)))
        self.sow("intermediates", "features", x)
        if classes is None:
            return _dense(1, dtype)(x)[:, 0].astype(jnp.float32)
        number = channels[-1]
        told = pixel_norm(_dense(number, dtype)(classes.astype(dtype)))
        for _ in range(self.mapping_depth):
            told = _activated(_dense(number, dtype, MAPPING_RATE)(told))
        x = _dense(number, dtype)(x)
        return jnp.sum(x.astype(jnp.float32) * told.astype(jnp.float32), axis=-1) / number**0.5
