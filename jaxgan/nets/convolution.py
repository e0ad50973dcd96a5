"""Strided convolutions in the forms that run fast, behind plain layer names.

On CPU, XLA runs the gradients of strided and transposed convolutions several to thirty times
slower than the same numbers as matrix products, and any convolution's weight gradient slower still
inside a compiled loop. There these layers are matrix products; elsewhere they are the compiler's own
convolutions. Both forms agree to rounding at every order of differentiation.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def downsampling_convolution(images: Array, kernel: Array) -> Array:
    """Stride-2 convolution with a 4x4 kernel and one pixel of zero padding: halves height and width.

    images [batch, height, width, in], even sides; kernel [4, 4, in, out];
    returns [batch, height / 2, width / 2, out].
    """
    return (_downsampling_as_product if _on_cpu() else _downsampling_as_convolution)(images, kernel)


def upsampling_convolution(images: Array, kernel: Array) -> Array:
    """Stride-2 transposed convolution with a 4x4 kernel: doubles height and width.

    images [batch, height, width, in]; kernel [4, 4, in, out]; returns [batch, 2 height, 2 width, out].
    Equals ``lax.conv_transpose(images, kernel, (2, 2), "SAME")``: the kernel is not flipped.
    """
    return (_upsampling_as_product if _on_cpu() else _upsampling_as_convolution)(images, kernel)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _downsampling_as_convolution(images: Array, kernel: Array) -> Array:
    return jax.lax.conv_general_dilated(images, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=DIMENSIONS)


def _upsampling_as_convolution(images: Array, kernel: Array) -> Array:
    return jax.lax.conv_transpose(images, kernel, (2, 2), "SAME", dimension_numbers=DIMENSIONS)


def _downsampling_as_product(images: Array, kernel: Array) -> Array:
    # the sixteen pixels that each output reads, side by side, times the kernel as one matrix
    batch, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    read = [padded[:, i : i + height : 2, j : j + width : 2] for i in range(4) for j in range(4)]
    outputs = jnp.concatenate(read, axis=-1).reshape(-1, 16 * channels) @ kernel.reshape(16 * channels, -1)
    return outputs.reshape(batch, height // 2, width // 2, -1)


def _upsampling_as_product(images: Array, kernel: Array) -> Array:
    # each input pixel times all sixteen taps; then every output pixel adds the four taps that reach it
    batch, height, width, channels = images.shape
    features = kernel.shape[-1]
    taps = images.reshape(-1, channels) @ kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    taps = taps.reshape(batch, height, width, 4, 4, features)
    taps = jnp.pad(taps, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0), (0, 0)))

    def outputs_at(row: int, column: int) -> Array:
        # output row 2i + row reads input rows i - 1 + row and i + row, through kernel rows row and row + 2
        reached = [
            taps[:, row + i : row + i + height, column + j : column + j + width, row + 2 * i, column + 2 * j]
            for i in (0, 1)
            for j in (0, 1)
        ]
        return reached[0] + reached[1] + reached[2] + reached[3]

    phases = jnp.stack([outputs_at(row, column) for row in (0, 1) for column in (0, 1)], axis=3)
    phases = phases.reshape(batch, height, width, 2, 2, features)
    return phases.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, features)


class _Strided(nn.Module):
    features: int
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = jnp.float32

    def _convolve(self, images: Array, convolution: Callable[[Array, Array], Array]) -> Array:
        kernel = self.param("kernel", self.kernel_init, (4, 4, images.shape[-1], self.features), jnp.float32)
        outputs = convolution(images.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
            outputs = outputs + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return outputs


class DownsamplingConvolution(_Strided):
    """`downsampling_convolution` as a layer: [batch, h, w, in] -> [batch, h / 2, w / 2, features]."""

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._convolve(images, downsampling_convolution)


class UpsamplingConvolution(_Strided):
    """`upsampling_convolution` as a layer: [batch, h, w, in] -> [batch, 2h, 2w, features]."""

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._convolve(images, upsampling_convolution)
