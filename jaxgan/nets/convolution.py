"""Convolutions in the forms that run fast, behind plain layer names.

On CPU, XLA runs the gradients of strided and transposed convolutions several to thirty times
slower than the same numbers in other forms, and the weight gradient of any convolution twenty
times slower inside a compiled loop. There these layers have gradients of their own, which have
gradients of their own in turn; elsewhere they are the compiler's convolutions. All forms agree to
rounding at every order of reverse differentiation (bare forward mode, ``jax.jvp``, is refused by
those with gradients of their own).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array

Function = Callable[[Array, Array], Array]

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def convolution(images: Array, kernel: Array) -> Array:
    """Convolution of stride 1 with zero padding that keeps height and width ("SAME").

    images [batch, height, width, in]; kernel [rows, columns, in, out], rows and columns odd, cast
    to the images' type; returns [batch, height, width, out].
    """
    rows, columns, channels, features = kernel.shape
    if rows % 2 == 0 or columns % 2 == 0:
        raise ValueError(f"a kernel with a middle has odd sides, got {rows}x{columns}")
    kernel = kernel.astype(images.dtype)
    if (rows, columns) == (1, 1):
        return images @ kernel.reshape(channels, features)
    return (_convolution_on_cpu if _on_cpu() else _same_convolution)(images, kernel)


def upsampled_convolution(images: Array, kernel: Array) -> Array:
    """`convolution` of the images doubled by repeating each pixel, with a 3x3 kernel: doubles height and width.

    images [batch, height, width, in]; kernel [3, 3, in, out]; returns [batch, 2 height, 2 width, out].
    Computed as one `upsampling_convolution`, exact but for rounding: 4 multiplications an output, not 9.
    """
    return upsampling_convolution(images, _widened(kernel))


def pooled_convolution(images: Array, kernel: Array) -> Array:
    """`convolution` with a 3x3 kernel and then the mean of each 2x2 pixels: halves height and width.

    images [batch, height, width, in], even sides; kernel [3, 3, in, out];
    returns [batch, height / 2, width / 2, out].
    Computed as one `downsampling_convolution`, exact but for rounding: 16 multiplications an output, not 36.
    """
    return downsampling_convolution(images, _widened(kernel) / 4.0)


def _widened(kernel: Array) -> Array:
    """The sum of a 3x3 kernel shifted by (0, 0), (0, 1), (1, 0) and (1, 1): a 4x4 kernel."""
    if kernel.shape[:2] != (3, 3):
        raise ValueError(f"convolutions are merged with a doubling or halving for 3x3 kernels, got {kernel.shape[:2]}")
    rows = jnp.pad(kernel, ((0, 1), (0, 0), (0, 0), (0, 0))) + jnp.pad(kernel, ((1, 0), (0, 0), (0, 0), (0, 0)))
    return jnp.pad(rows, ((0, 0), (0, 1), (0, 0), (0, 0))) + jnp.pad(rows, ((0, 0), (1, 0), (0, 0), (0, 0)))


def downsampling_convolution(images: Array, kernel: Array) -> Array:
    """Stride-2 convolution with a 4x4 kernel and one pixel of zero padding: halves height and width.

    images [batch, height, width, in], even sides; kernel [4, 4, in, out], cast to the images' type;
    returns [batch, height / 2, width / 2, out].
    """
    if images.shape[1] % 2 or images.shape[2] % 2:
        raise ValueError(f"only even sides are halved, got {images.shape[1]}x{images.shape[2]}")
    kernel = kernel.astype(images.dtype)
    return (_downsampling_as_product if _on_cpu() else _downsampling_as_convolution)(images, kernel)


def upsampling_convolution(images: Array, kernel: Array) -> Array:
    """Stride-2 transposed convolution with a 4x4 kernel: doubles height and width.

    images [batch, height, width, in]; kernel [4, 4, in, out], cast to the images' type;
    returns [batch, 2 height, 2 width, out].
    Equals ``lax.conv_transpose(images, kernel, (2, 2), "SAME")``: the kernel is not flipped.
    """
    kernel = kernel.astype(images.dtype)
    return (_upsampling_as_product if _on_cpu() else _upsampling_as_convolution)(images, kernel)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _bilinear_family(forward: Function, to_images: Function, to_kernel: Function) -> tuple[Function, ...]:
    """The three derivatives of one form B(images, kernel, outputs), linear in each, as functions with gradients.

    forward: (images, kernel) -> dB/doutputs; to_images: (outputs, kernel) -> dB/dimages;
    to_kernel: (images, outputs) -> dB/dkernel. The gradients of each are the other two, so that
    no order of differentiation leaves the three.
    """
    family = tuple(jax.custom_vjp(function) for function in (forward, to_images, to_kernel))
    outputs_of, images_of, kernel_of = family

    def saved(function: Function) -> Callable:
        return lambda a, b: (function(a, b), (a, b))

    outputs_of.defvjp(saved(outputs_of), lambda saved, y: (images_of(y, saved[1]), kernel_of(saved[0], y)))
    images_of.defvjp(saved(images_of), lambda saved, x: (outputs_of(x, saved[1]), kernel_of(x, saved[0])))
    kernel_of.defvjp(saved(kernel_of), lambda saved, k: (images_of(saved[1], k), outputs_of(saved[0], k)))
    return family


def _same_convolution(images: Array, kernel: Array) -> Array:
    return jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS)


def _same_to_images(outputs: Array, kernel: Array) -> Array:
    return _same_convolution(outputs, kernel[::-1, ::-1].swapaxes(2, 3))


def _same_to_kernel(rows: int, columns: int) -> Function:
    def to_kernel(images: Array, outputs: Array) -> Array:
        # a convolution in the layout of a forward pass, which is what keeps it fast inside compiled loops
        padding = ((rows // 2, rows // 2), (columns // 2, columns // 2))
        images, outputs = images.transpose(3, 1, 2, 0), outputs.transpose(1, 2, 0, 3)
        kernel = jax.lax.conv_general_dilated(images, outputs, (1, 1), padding, dimension_numbers=DIMENSIONS)
        return kernel.transpose(1, 2, 0, 3)

    return to_kernel


@cache
def _same_family(rows: int, columns: int) -> tuple[Function, ...]:
    return _bilinear_family(_same_convolution, _same_to_images, _same_to_kernel(rows, columns))


def _convolution_on_cpu(images: Array, kernel: Array) -> Array:
    return _same_family(*kernel.shape[:2])[0](images, kernel)


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


class _Layer(nn.Module):
    features: int
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = jnp.float32

    def _convolve(self, images: Array, size: tuple[int, int], function: Function) -> Array:
        kernel = self.param("kernel", self.kernel_init, (*size, images.shape[-1], self.features), jnp.float32)
        outputs = function(images.astype(self.dtype), kernel)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
            outputs = outputs + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return outputs


class Convolution(_Layer):
    """`convolution` as a layer: [batch, h, w, in] -> [batch, h, w, features]; kernel_size rows and columns, odd."""

    kernel_size: tuple[int, int] = (3, 3)

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._convolve(images, self.kernel_size, convolution)


class UpsampledConvolution(_Layer):
    """`upsampled_convolution` as a layer: [batch, h, w, in] -> [batch, 2h, 2w, features], kernel 3x3."""

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._convolve(images, (3, 3), upsampled_convolution)


class PooledConvolution(_Layer):
    """`pooled_convolution` as a layer: [batch, h, w, in] -> [batch, h / 2, w / 2, features], kernel 3x3."""

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._convolve(images, (3, 3), pooled_convolution)


class DownsamplingConvolution(_Layer):
    """`downsampling_convolution` as a layer: [batch, h, w, in] -> [batch, h / 2, w / 2, features], kernel 4x4."""

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._convolve(images, (4, 4), downsampling_convolution)


class UpsamplingConvolution(_Layer):
    """`upsampling_convolution` as a layer: [batch, h, w, in] -> [batch, 2h, 2w, features], kernel 4x4."""

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._convolve(images, (4, 4), upsampling_convolution)
