"""Generators from pictures to pictures: U-Net, residual translator, super-resolution; and CUT's projection head.

All take pictures of any size and return them float32 in [-1, 1]. Sides that a net cannot halve are padded by
reflection and the output is cropped (`jaxgan.nets.padding`). Layers in front of a normalization have no bias,
which it would take away: the authors' codes keep one there, whose gradient is zero but for rounding.

Fields of all of them:

channels: of the picture that is made. width: channels at the full resolution.
normalization: called as ``normalization(dtype=...)(x, train)``, or None.
dtype: precision of the computation; parameters and outputs are float32.
output: applied last; None for pictures of any range.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.convolution import Convolution, DownsamplingConvolution, UpsamplingConvolution, ValidConvolution
from jaxgan.nets.ends import one_hot, with_classes
from jaxgan.nets.layers import BatchNorm, InstanceNorm, Normalization, dropout, leaky_relu
from jaxgan.nets.padding import padded_to, reflect_pad, zero_pad
from jaxgan.nets.resample import doubled, halved

# called without arguments: a function, or a layer with parameters of its own
Rectifier = Callable[[], Callable[[Array], Array]]

weights = nn.initializers.normal(0.02)


def unet_depth(height: int, width: int) -> int:
    """Halvings of a `UNet` until the shorter side has one pixel, or two where it is padded; 1 to 8.

    256 -> 8 (the paper's), 64 -> 6, 32 -> 5, 28 -> 4 (padded to 32, then two pixels), 8 -> 3.
    """
    return max(1, min(8, min(height, width).bit_length() - 1))


class UNet(nn.Module):
    """source [batch, height, width, c] -> picture float32 [batch, height, width, channels]: pix2pix's generator.

    Halvings by 4x4 convolutions of stride 2, leaky ReLU 0.2; doublings by transposed ones, ReLU, each after the
    first of which sees the encoder's output of its resolution beside the decoder's. Channels double from
    `width` at half the resolution up to 8 * width. Normalized are all layers but the first, the innermost of
    the encoder (of whose one position instance normalization would leave nothing) and the last.

    depth: halvings; `unet_depth` of the pictures that it is trained on, since the net does not depend on their
        size but takes any. Sides that 2**depth does not divide are padded: a depth beyond the picture costs.
    dropout: of the first three doublings' outputs, never of the last one's. It is the game's noise z, and so
        **on whenever there is a key**, in use too, and off without one, whatever `train` says.

    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017, arXiv 1611.07004,
    section 6.1.1; order of normalization, dropout and skips as in the authors' code. The paper's batch
    normalization is that of batches of one, with its statistics in use too: instance normalization, which has
    scale and shift there.
    """

    channels: int
    depth: int
    width: int = 64
    dropout: float = 0.5
    normalization: Normalization | None = InstanceNorm
    dtype: Any = jnp.float32
    output: Callable[[Array], Array] | None = jnp.tanh

    @nn.compact
    def __call__(self, source: Array, train: bool = True) -> Array:
        if self.depth < 1:
            raise ValueError(f"a U-Net halves its pictures at least once, got depth {self.depth}")
        features = [min(2**i, 8) * self.width for i in range(self.depth)]
        x, cropped = padded_to(source.astype(self.dtype), 2**self.depth)
        seen = []
        for i, number in enumerate(features):
            normalized = self.normalization is not None and 0 < i < self.depth - 1
            x = DownsamplingConvolution(number, not normalized, weights, self.dtype)(leaky_relu(x) if i else x)
            if normalized:
                x = self.normalization(dtype=self.dtype)(x, train)  # type: ignore[misc]
            seen.append(x)
        x = seen.pop()
        for i, number in enumerate(reversed(features[:-1])):
            x = UpsamplingConvolution(number, self.normalization is None, weights, self.dtype)(nn.relu(x))
            if self.normalization is not None:
                x = self.normalization(dtype=self.dtype)(x, train)
            if i < 3:
                x = dropout(x, self.dropout, self.has_rng("noise"))
            x = jnp.concatenate([seen.pop(), x], axis=-1)
        x = UpsamplingConvolution(self.channels, True, weights, self.dtype)(nn.relu(x))
        return _finished(cropped(x), self.output)


class ResNetTranslator(nn.Module):
    """image [batch, height, width, c], told a label or not -> picture float32 [batch, height, width, channels].

    7x7 convolution; `halvings` of stride 2, each with twice the channels; residual blocks (`ResidualBlock`);
    as many doublings by transposed convolutions; 7x7. ReLU, and normalized but for the last. With the defaults
    CycleGAN's generator for 256x256; 6 blocks for 128x128. At least 2**(halvings + 1) pixels a side: of a
    single position instance normalization leaves nothing. Behind reflection padding it also leaves nothing of a
    number added to a whole channel or of the picture's contrast: the brightness of what is made is learned.

    num_domains: 0, or a second input says what to become: int [batch], one of so many domains, or attributes
        [batch, num_domains]. It is set beside the picture as constant channels.
    antialias: halvings are a 3x3 convolution that keeps the sides, and `resample.halved` once it is activated;
        doublings `resample.doubled` and such a convolution. CUT's code has that, and CycleGAN's has not.
    padding: (images, pixels) -> images, of the 7x7 layers and blocks: `reflect_pad` or `zero_pad`. kernel: side
        of the kernels that halve and double, 3 or 4; these have zero padding.
    first_normalized: whether the first layer is. If it is by instance normalization, nothing is left of a label
        behind reflection padding, which is refused; with zero padding, as in StarGAN, the border betrays it, by
        the statistics to all pixels, the less the larger the picture. False lets the label act everywhere.

    To `Net.features` it shows maps, a tuple of [batch, h, w, c], those of `PatchSampleMLP` in CUT: the picture,
    each halving before it is normalized, the first block, and the middle one where that is another. A compiled
    program that uses nothing but these computes no other layer.

    Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", 2017, arXiv
    1703.10593, appendix 7.2, after Johnson et al. 2016, arXiv 1603.08155. StarGAN's (Choi et al. 2018, arXiv
    1711.09020, table 4) is ``ResNetTranslator(3, blocks=6, num_domains=n, padding=zero_pad, kernel=4,
    normalization=partial(InstanceNorm, affine=True))``. Maps: Park et al., "Contrastive Learning for Unpaired
    Image-to-Image Translation", 2020, arXiv 2007.15651, appendix C: of 9 blocks the first and the fifth.
    """

    channels: int
    width: int = 64
    blocks: int = 9
    halvings: int = 2
    normalization: Normalization | None = InstanceNorm
    num_domains: int = 0
    padding: Callable[[Array, int], Array] = reflect_pad
    kernel: int = 3
    first_normalized: bool = True
    antialias: bool = False
    dtype: Any = jnp.float32
    output: Callable[[Array], Array] | None = jnp.tanh

    @nn.compact
    def __call__(self, image: Array, label: Array | None = None, train: bool = True) -> Array:
        if self.blocks < 1 or self.halvings < 0:
            raise ValueError(
                f"a translator has a block or more between its halvings, got {self.blocks} and {self.halvings}"
            )
        instance = getattr(self.normalization, "func", self.normalization) is InstanceNorm
        if self.num_domains and self.first_normalized and instance and self.padding is reflect_pad:
            raise ValueError(
                "instance normalization behind reflection padding removes the label, a constant: with num_domains "
                "set padding=zero_pad or first_normalized=False"
            )
        told = _attributes(label, self.num_domains)
        bias = self.normalization is None
        strided = (bias, weights, self.dtype, (self.kernel, self.kernel))

        def show(x: Array) -> Array:
            self.sow("intermediates", "maps", x)
            return x

        def activated(x: Array) -> Array:
            return nn.relu(x if self.normalization is None else self.normalization(dtype=self.dtype)(x, train))

        x, cropped = padded_to(with_classes(show(image), told).astype(self.dtype), 2**self.halvings)
        x = self.padding(x, 3)
        x = ValidConvolution(self.width, bias or not self.first_normalized, weights, self.dtype, (7, 7))(x)
        x = activated(x) if self.first_normalized else nn.relu(x)
        for i in range(self.halvings):
            if self.antialias:
                x = halved(activated(show(Convolution(2 ** (i + 1) * self.width, bias, weights, self.dtype)(x))))
            else:
                x = activated(show(DownsamplingConvolution(2 ** (i + 1) * self.width, *strided)(x)))
        for i in range(self.blocks):
            x = ResidualBlock(x.shape[-1], self.normalization, lambda: nn.relu, self.padding, weights, self.dtype)(
                x, train
            )
            if i in (0, self.blocks // 2):
                show(x)
        for i in reversed(range(self.halvings)):
            if self.antialias:
                x = activated(Convolution(2**i * self.width, bias, weights, self.dtype)(doubled(x)))
            else:
                x = activated(UpsamplingConvolution(2**i * self.width, *strided)(x))
        x = ValidConvolution(self.channels, True, weights, self.dtype, (7, 7))(self.padding(x, 3))
        return _finished(cropped(x), self.output)


class SuperResolver(nn.Module):
    """image [batch, h, w, c] -> picture float32 [batch, factor * h, factor * w, channels]: SRGAN's generator.

    9x9 convolution, PReLU; residual blocks, a 3x3 convolution, and the input of them all added; for each
    doubling a 3x3 convolution to four times the channels, `pixel_shuffle`, PReLU; 9x9. Zero padding.

    factor: a power of two. normalization: in the blocks and behind them: the paper's is `BatchNorm`, later
    nets have None (EDSR, Lim et al. 2017, arXiv 1707.02921; ESRGAN, Wang et al. 2018, arXiv 1809.00219).

    Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", 2017,
    arXiv 1609.04802, figure 4. There nothing bounds the output. A PReLU has one slope, at first 1/4 (He et al.
    2015, arXiv 1502.01852).
    """

    channels: int
    width: int = 64
    blocks: int = 16
    factor: int = 4
    normalization: Normalization | None = BatchNorm
    dtype: Any = jnp.float32
    output: Callable[[Array], Array] | None = jnp.tanh

    @nn.compact
    def __call__(self, image: Array, train: bool = True) -> Array:
        if self.factor < 1 or self.factor & (self.factor - 1):
            raise ValueError(f"pictures are enlarged by doublings, got a factor of {self.factor}")
        rectifier = partial(nn.PReLU, negative_slope_init=0.25)

        def convolved(x: Array, features: int, side: int, use_bias: bool = True) -> Array:
            layer = ValidConvolution(features, use_bias, dtype=self.dtype, kernel_size=(side, side))
            return layer(zero_pad(x, side // 2))

        x = first = rectifier()(convolved(image, self.width, 9))
        for _ in range(self.blocks):
            x = ResidualBlock(self.width, self.normalization, rectifier, dtype=self.dtype)(x, train)
        x = convolved(x, self.width, 3, self.normalization is None)
        if self.normalization is not None:
            x = self.normalization(dtype=self.dtype)(x, train)
        x = first + x
        for _ in range(self.factor.bit_length() - 1):
            x = rectifier()(pixel_shuffle(convolved(x, 4 * self.width, 3)))
        return _finished(convolved(x, self.channels, 9), self.output)


class ResidualBlock(nn.Module):
    """x [batch, h, w, features] -> ``x + N(C(r(N(C(x)))))``: 3x3 convolutions C, normalizations N, rectifier r."""

    features: int
    normalization: Normalization | None
    rectifier: Rectifier
    padding: Callable[[Array, int], Array] = zero_pad
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        def convolved(x: Array) -> Array:
            layer = ValidConvolution(self.features, self.normalization is None, self.kernel_init, self.dtype)
            x = layer(self.padding(x, 1))
            return x if self.normalization is None else self.normalization(dtype=self.dtype)(x, train)

        return x + convolved(self.rectifier()(convolved(x)))


class PatchSampleMLP(nn.Module):
    """Samples [batch, s, c_i] of each map -> a tuple of unit vectors float32 [batch, s, width], one for each map.

    Each map, an input of its own, has two dense layers of its own with a ReLU between; then each vector is
    divided by its length. Weights N(0, 0.02^2). CUT's head F, by whose cosines patches are compared: Park et
    al., "Contrastive Learning for Unpaired Image-to-Image Translation", 2020, arXiv 2007.15651, section 3.
    """

    width: int = 256
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, *samples: Array, train: bool = True) -> tuple[Array, ...]:
        dense = partial(nn.Dense, self.width, dtype=self.dtype, kernel_init=weights)
        hidden = [nn.relu(dense()(x)) for x in samples]
        return tuple(_unit(dense()(x)) for x in hidden)


def pixel_shuffle(images: Array) -> Array:
    """[batch, h, w, 4 c] -> [batch, 2 h, 2 w, c]: each pixel's channels become 2x2 pixels, row by row.

    Channel (2 i + j) c + k is channel k of pixel (i, j). Shi et al., "Real-Time Single Image and Video
    Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", 2016, arXiv 1609.05158, Eq. 4;
    PyTorch counts the channels otherwise, 4 k + 2 i + j.
    """
    batch, height, width, channels = images.shape
    if channels % 4:
        raise ValueError(f"2x2 pixels need four times the channels, got {channels}")
    pixels = images.reshape(batch, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return pixels.reshape(batch, 2 * height, 2 * width, channels // 4)


def _finished(x: Array, output: Callable[[Array], Array] | None) -> Array:
    x = x.astype(jnp.float32)
    return x if output is None else output(x)


def _attributes(label: Array | None, num_domains: int) -> Array | None:
    """Classes [batch] as one-hot vectors, and attributes [batch, num_domains] as they are."""
    if label is None or not num_domains or label.ndim == 1:
        return one_hot(label, num_domains)
    if label.shape[1:] != (num_domains,):
        raise ValueError(f"attributes are [batch, {num_domains}], got {label.shape}")
    return label.astype(jnp.float32)


def _unit(x: Array) -> Array:
    # inside of the root, so that a vector of zeros has a gradient
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + 1e-14)
