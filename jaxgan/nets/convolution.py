"""Convolutions in the forms that run fast, behind plain layer names."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def upsampling_convolution(images: Array, kernel: Array) -> Array:
    """The stride-2 transposed convolution with a 4x4 kernel, doubling height and width.

    images: [batch, height, width, in]; kernel: [4, 4, in, out]; returns [batch, 2 height, 2 width, out].
    Equals ``lax.conv_transpose(images, kernel, (2, 2), "SAME")`` (kernel not flipped: the layer of
    DCGAN), computed as four 2x2 convolutions, one per parity of the output's row and column. Each
    output pixel reads four taps either way, but the gradient of the dilated form with respect to
    its kernel is some thirty times slower on CPU.
    """
    batch, height, width, _ = images.shape
    phases = []
    for row in (0, 1):
        for column in (0, 1):
            # output row 2i + row reads input rows i - 1 + row and i + row through kernel rows row and row + 2
            taps = kernel[row::2, column::2]
            padding = ((1 - row, row), (1 - column, column))
            phases.append(jax.lax.conv_general_dilated(images, taps, (1, 1), padding, dimension_numbers=DIMENSIONS))
    stacked = jnp.stack(phases, axis=3).reshape(batch, height, width, 2, 2, -1)
    return stacked.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, -1)


class UpsamplingConvolution(nn.Module):
    """Stride-2 transposed convolution, 4x4 kernel: [batch, h, w, in] -> [batch, 2h, 2w, features]."""

    features: int
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array) -> Array:
        kernel = self.param("kernel", self.kernel_init, (4, 4, images.shape[-1], self.features), jnp.float32)
        images, kernel = images.astype(self.dtype), kernel.astype(self.dtype)
        outputs = upsampling_convolution(images, kernel)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
            outputs = outputs + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return outputs
