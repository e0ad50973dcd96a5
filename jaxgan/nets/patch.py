"""PatchGAN: a discriminator that judges every patch of a picture, not the picture.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017, arXiv 1611.07004,
sections 3.2.2 and 6.1.2.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.convolution import DownsamplingConvolution, ValidConvolution
from jaxgan.nets.layers import Normalization, leaky_relu, weigh
from jaxgan.nets.resample import halved

weights = nn.initializers.normal(0.02)


def patch_layers(height: int, width: int) -> int:
    """Halvings of a `PatchDiscriminator` that leave at least 4x4 logits, 1 to 3.

    8 -> 1, 16 and 28 -> 2, 32 and more -> 3. A logit then sees 16, 34 or 70 pixels a side of the picture and
    of the zeros around it.
    """
    return max(1, min(3, min(height, width).bit_length() - 3))


class PatchDiscriminator(nn.Module):
    """image [batch, height, width, c], beside a source or alone -> logits float32 [batch, h, w], one for each patch.

    4x4 convolutions: `layers` of stride 2, one of stride 1, leaky ReLU 0.2, then one of stride 1 to the
    logits. Channels double from `width` up to 8 * width. h and w are the sides divided by 2**layers, rounded
    up: sides are padded with zeros, so that a picture of any size has a logit. (The authors' code pads by one
    pixel less, and has one row and column less after each of the last two layers: 30x30 logits for 256x256.)
    A gradient penalty on it is that of the sum over a picture's logits.

    layers: 3 for patches of 70x70 pixels; `patch_layers` for small pictures.
    source: what the picture was made from, as further channels in front; where it is smaller by a whole
        factor, as in super-resolution, its pixels are repeated.
    antialias: layers of stride 2 keep the sides, and `resample.halved` follows their activation, as in CUT's code (but
        for the padding, see above).
    normalization: of all layers but the first and the last, or None; spectral: of all kernels.

    Features (`Net.features`) are the last hidden activations [batch, h * w * channels], positions and all, for
    pictures of one size: a linear head on them sees everything, as that of StarGAN does with a kernel as large
    as the map (Choi et al. 2018, arXiv 1711.09020, table 5, whose trunk has six halvings and nothing of stride 1).
    """

    width: int = 64
    layers: int = 3
    normalization: Normalization | None = None
    spectral: bool = False
    antialias: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Array, source: Array | None = None, train: bool = True) -> Array:
        if self.layers < 1:
            raise ValueError(f"a PatchGAN halves its pictures at least once, got {self.layers} layers")
        x = image if source is None else jnp.concatenate([_enlarged(source, *image.shape[1:3]), image], axis=-1)
        x = x.astype(self.dtype)
        for i in range(self.layers + 1):
            normalized = self.normalization is not None and i > 0
            features = min(2**i, 8) * self.width
            if i < self.layers and not self.antialias:
                x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
                x = weigh(
                    DownsamplingConvolution(features, not normalized, weights, self.dtype), x, train, self.spectral
                )
            else:
                x = self._kept(x, features, not normalized, train)
            if normalized:
                x = self.normalization(dtype=self.dtype)(x, train)  # type: ignore[misc]
            x = leaky_relu(x)
            if i < self.layers and self.antialias:
                x = halved(x)
        self.sow("intermediates", "features", x)
        return self._kept(x, 1, True, train)[..., 0].astype(jnp.float32)

    def _kept(self, x: Array, features: int, use_bias: bool, train: bool) -> Array:
        """A 4x4 convolution that keeps the sides: for compact methods."""
        layer = ValidConvolution(features, use_bias, weights, self.dtype, (4, 4))
        return weigh(layer, jnp.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0))), train, self.spectral)


def _enlarged(source: Array, height: int, width: int) -> Array:
    rows, columns = height // source.shape[1], width // source.shape[2]
    if (rows * source.shape[1], columns * source.shape[2]) != (height, width):
        raise ValueError(
            f"a picture of {height}x{width} is no whole multiple of its source, {source.shape[1]}x{source.shape[2]}"
        )
    return source if rows == columns == 1 else jnp.repeat(jnp.repeat(source, rows, axis=1), columns, axis=2)
