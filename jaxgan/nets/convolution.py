"""Convolutions in the forms that run fast, behind plain layer names.

On CPU, XLA runs the gradients of strided and transposed convolutions several to thirty times
slower than the same numbers in other forms, and the weight gradient of any convolution twenty
times slower inside a compiled loop. There these layers have gradients of their own, and these
again, all of them convolutions of stride 1 in the layout of a forward pass; elsewhere they are the
compiler's convolutions. Both agree to rounding at every order of reverse differentiation. Bare
forward mode (``jax.jvp``, ``jax.jacfwd``) is refused on CPU; ``jax.jvp`` of a gradient too.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array

Function = Callable[[Array, Array], Array]

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
# up to here a transposed convolution on CPU is faster as a matrix product
FEW_CHANNELS = 4
# of a batch, one after another in the sum that a kernel's gradient is
PARTS = 4


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
    return (_same_on_cpu if _on_cpu() else _same_as_convolution)(images, kernel)


def valid_convolution(images: Array, kernel: Array) -> Array:
    """Convolution of stride 1 without padding ("VALID"): for pictures that were padded otherwise.

    images [batch, height, width, in]; kernel [rows, columns, in, out], of any sides up to the picture's, cast
    to the images' type; returns [batch, height - rows + 1, width - columns + 1, out].
    """
    rows, columns = kernel.shape[:2]
    if images.shape[1] < rows or images.shape[2] < columns:
        raise ValueError(f"a kernel of {rows}x{columns} does not fit into {images.shape[1]}x{images.shape[2]} pixels")
    return (_valid_on_cpu if _on_cpu() else _valid)(images, kernel.astype(images.dtype))


def grouped_convolution(images: Array, kernel: Array, groups: int) -> Array:
    """`convolution` in groups: output channels are cut into `groups` parts, each of which sees one part of the inputs.

    images [batch, height, width, in]; kernel [rows, columns, in / groups, out], whose outputs lie group by
    group; returns [batch, height, width, out]. Equals `convolution` with a kernel that is zero outside
    the blocks on its diagonal. On CPU one convolution a group: the compiler's own takes two to four
    times as long there, and the gradient of its gradient thirty to sixty times.
    """
    channels, features = kernel.shape[2:]
    if groups < 1 or features % groups or images.shape[-1] != channels * groups:
        raise ValueError(
            f"{groups} groups of a kernel for {channels} channels see {groups * channels} and divide its {features} "
            f"outputs, got {images.shape[-1]} channels"
        )
    if groups == 1:
        return convolution(images, kernel)
    return (_grouped_on_cpu if _on_cpu() else _grouped_as_convolution)(images, kernel, groups)


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
    """Stride-2 convolution with a 4x4 or 3x3 kernel and one pixel of zero padding: halves height and width.

    images [batch, height, width, in], even sides; kernel [4, 4, in, out] or [3, 3, in, out], cast to the
    images' type; returns [batch, height / 2, width / 2, out].
    A 3x3 kernel is a 4x4 one whose last row and column are zero: PyTorch's of stride 2 and padding 1. (That of
    TensorFlow's "SAME" has its first ones zero on even sides: `jaxgan.nets.strided`.)
    """
    _check_stride(kernel)
    if images.shape[1] % 2 or images.shape[2] % 2:
        raise ValueError(f"only even sides are halved, got {images.shape[1]}x{images.shape[2]}")
    kernel = kernel.astype(images.dtype)
    return (_downsampling_on_cpu if _on_cpu() else _downsampling_as_convolution)(images, kernel)


def upsampling_convolution(images: Array, kernel: Array) -> Array:
    """Stride-2 transposed convolution with a 4x4 or 3x3 kernel: doubles height and width.

    images [batch, height, width, in]; kernel [4, 4, in, out] or [3, 3, in, out], cast to the images' type;
    returns [batch, 2 height, 2 width, out].
    Equals ``lax.conv_transpose(images, kernel, (2, 2), "SAME")`` for 4x4: the kernel is not flipped. A 3x3
    kernel is a 4x4 one whose first row and column are zero, so that this is the adjoint of
    `downsampling_convolution` with the kernel turned: PyTorch's of stride 2, padding 1 and output padding 1.
    """
    _check_stride(kernel)
    kernel = kernel.astype(images.dtype)
    return (_upsampling_on_cpu if _on_cpu() else _upsampling_as_convolution)(images, kernel)


def _check_stride(kernel: Array) -> None:
    if kernel.shape[:2] not in ((3, 3), (4, 4)):
        raise ValueError(f"kernels of stride 2 are 4x4 or 3x3, got {kernel.shape[0]}x{kernel.shape[1]}")


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _in_parts(to_kernel: Function) -> Function:
    """A sum over the batch as a loop over parts of it, whose inputs are arrays in memory.

    Otherwise the compiler computes what made them anew, element by element, inside the transposition.
    The parts are interleaved, so that a batch laid over devices stays where it is.
    """

    def summed(images: Array, outputs: Array) -> Array:
        batch = images.shape[0]
        if batch % PARTS:
            return to_kernel(images, outputs)
        images, outputs = (x.reshape(batch // PARTS, PARTS, *x.shape[1:]) for x in (images, outputs))

        def part(i: Array) -> Array:
            pick = lambda x: jax.lax.dynamic_index_in_dim(x, i, 1, keepdims=False)  # noqa: E731
            return to_kernel(pick(images), pick(outputs))

        shape = jax.eval_shape(part, jnp.zeros((), jnp.int32))
        return jax.lax.fori_loop(0, PARTS, lambda i, total: total + part(i), jnp.zeros(shape.shape, shape.dtype))

    return summed


def _bilinear_family(forward: Function, to_images: Function, to_kernel: Function) -> tuple[Function, ...]:
    """The three derivatives of one form B(images, kernel, outputs), linear in each, as functions with gradients.

    forward: (images, kernel) -> dB/doutputs; to_images: (outputs, kernel) -> dB/dimages;
    to_kernel: (images, outputs) -> dB/dkernel. The gradients of each are the other two, so that
    no order of differentiation leaves the three.
    """
    family = tuple(jax.custom_vjp(function) for function in (forward, to_images, _in_parts(to_kernel)))
    outputs_of, images_of, kernel_of = family

    def saved(function: Function) -> Callable:
        return lambda a, b: (function(a, b), (a, b))

    outputs_of.defvjp(saved(outputs_of), lambda saved, y: (images_of(y, saved[1]), kernel_of(saved[0], y)))
    images_of.defvjp(saved(images_of), lambda saved, x: (outputs_of(x, saved[1]), kernel_of(x, saved[0])))
    kernel_of.defvjp(saved(kernel_of), lambda saved, k: (images_of(saved[1], k), outputs_of(saved[0], k)))
    return family


def _valid(images: Array, kernel: Array, padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))) -> Array:
    return jax.lax.conv_general_dilated(images, kernel, (1, 1), padding, dimension_numbers=DIMENSIONS)


def _correlation(images: Array, outputs: Array, padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))) -> Array:
    """The kernel's gradient of `_valid`: [in, h, w, batch], [batch, h', w', out] -> [rows, columns, in, out].

    A convolution in the layout of a forward pass, with the batch as channels: the compiler's own
    choice of layout is twenty times slower inside compiled loops.
    """
    return _valid(images, outputs.transpose(1, 2, 0, 3), padding).transpose(1, 2, 0, 3)


def _turned(kernel: Array) -> Array:
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _same_as_convolution(images: Array, kernel: Array) -> Array:
    return jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS)


@cache
def _same_family(rows: int, columns: int) -> tuple[Function, ...]:
    return _bilinear_family(
        _same_as_convolution,
        lambda outputs, kernel: _same_as_convolution(outputs, _turned(kernel)),
        lambda images, outputs: _correlation(
            images.transpose(3, 1, 2, 0), outputs, ((rows // 2, rows // 2), (columns // 2, columns // 2))
        ),
    )


def _same_on_cpu(images: Array, kernel: Array) -> Array:
    return _same_family(*kernel.shape[:2])[0](images, kernel)


_valid_on_cpu, _, _ = _bilinear_family(
    lambda images, kernel: _valid(images, kernel),
    lambda outputs, kernel: _valid(outputs, _turned(kernel), tuple((n - 1, n - 1) for n in kernel.shape[:2])),
    lambda images, outputs: _correlation(images.transpose(3, 1, 2, 0), outputs),
)


def _grouped_on_cpu(images: Array, kernel: Array, groups: int) -> Array:
    parts = zip(jnp.split(images, groups, axis=-1), jnp.split(kernel, groups, axis=-1), strict=True)
    return jnp.concatenate([convolution(x, k) for x, k in parts], axis=-1)


def _grouped_as_convolution(images: Array, kernel: Array, groups: int) -> Array:
    kernel = kernel.astype(images.dtype)
    return jax.lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS, feature_group_count=groups
    )


def _downsampling_as_convolution(images: Array, kernel: Array) -> Array:
    padding = ((1, kernel.shape[0] - 3),) * 2
    return jax.lax.conv_general_dilated(images, kernel, (2, 2), padding, dimension_numbers=DIMENSIONS)


def _upsampling_as_convolution(images: Array, kernel: Array) -> Array:
    padding = ((kernel.shape[0] - 2, 2),) * 2
    return jax.lax.conv_transpose(images, kernel, (2, 2), padding, dimension_numbers=DIMENSIONS)


# A convolution of stride 2 with a 4x4 kernel is one of stride 1 with a 2x2 kernel on blocks of 2x2 pixels.


def _pixels(blocks: Array) -> Array:
    """[batch, h + 1, w + 1, 4c] -> [batch, 2h, 2w, c]: blocks in their places, without a border of one pixel."""
    batch, height, width, channels = blocks.shape
    pixels = blocks.reshape(batch, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return pixels.reshape(batch, 2 * height, 2 * width, channels // 4)[:, 1:-1, 1:-1]


def _block_kernel(kernel: Array) -> Array:
    """[4, 4, in, out] -> [2, 2, 4 in, out]."""
    _, _, channels, features = kernel.shape
    kernel = kernel.reshape(2, 2, 2, 2, channels, features).transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(2, 2, 4 * channels, features)


def _downsampling_to_images(outputs: Array, kernel: Array) -> Array:
    missing = (0, 4 - kernel.shape[0])
    kernel = jnp.pad(kernel, (missing, missing, (0, 0), (0, 0)))
    if kernel.shape[2] <= FEW_CHANNELS:
        return _painted(outputs, kernel)
    return _pixels(_valid(outputs, _turned(_block_kernel(kernel)), ((1, 1), (1, 1))))


def _downsampling_to_kernel(images: Array, outputs: Array) -> Array:
    batch, height, width, channels = images.shape
    height, width = height // 2 + 1, width // 2 + 1
    pixels = jnp.pad(images.transpose(3, 1, 2, 0), ((0, 0), (1, 1), (1, 1), (0, 0)))
    blocks = pixels.reshape(channels, height, 2, width, 2, batch).transpose(2, 4, 0, 1, 3, 5)
    kernel = _correlation(blocks.reshape(4 * channels, height, width, batch), outputs)
    kernel = kernel.reshape(2, 2, 2, 2, channels, -1).transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(4, 4, channels, -1)


def _painted(outputs: Array, kernel: Array) -> Array:
    # each output times all sixteen taps as one matrix product; then every pixel adds the four taps that reach it
    batch, height, width, features = outputs.shape
    channels = kernel.shape[2]
    taps = outputs.reshape(-1, features) @ kernel.transpose(3, 0, 1, 2).reshape(features, -1)
    taps = taps.reshape(batch, height, width, 4, 4, channels)
    taps = jnp.pad(taps, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0), (0, 0)))

    def pixels_at(row: int, column: int) -> Array:
        # pixel row 2i + row is reached from outputs i - 1 + row and i + row, by kernel rows 3 - row and 1 - row
        reached = [
            taps[:, row + i : row + i + height, column + j : column + j + width, 3 - row - 2 * i, 3 - column - 2 * j]
            for i in (0, 1)
            for j in (0, 1)
        ]
        return reached[0] + reached[1] + reached[2] + reached[3]

    phases = jnp.stack([pixels_at(row, column) for row in (0, 1) for column in (0, 1)], axis=3)
    phases = phases.reshape(batch, height, width, 2, 2, channels)
    return phases.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, channels)


@cache
def _down_family(side: int) -> tuple[Function, ...]:
    return _bilinear_family(
        _downsampling_as_convolution,
        _downsampling_to_images,
        lambda images, outputs: _downsampling_to_kernel(images, outputs)[:side, :side],
    )


def _downsampling_on_cpu(images: Array, kernel: Array) -> Array:
    return _down_family(kernel.shape[0])[0](images, kernel)


def _upsampling_on_cpu(images: Array, kernel: Array) -> Array:
    return _down_family(kernel.shape[0])[1](images, _turned(kernel))


class _Layer(nn.Module):
    features: int
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = jnp.float32

    def _convolve(self, images: Array, size: tuple[int, int], function: Function, channels: int | None = None) -> Array:
        shape = (*size, channels or images.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
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


class ValidConvolution(_Layer):
    """`valid_convolution` as a layer: [batch, h, w, in] -> [batch, h - rows + 1, w - columns + 1, features]."""

    kernel_size: tuple[int, int] = (3, 3)

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._convolve(images, self.kernel_size, valid_convolution)


class GroupedConvolution(_Layer):
    """`grouped_convolution` as a layer: [batch, h, w, in] -> [batch, h, w, features], both divided by `groups`."""

    groups: int = 1
    kernel_size: tuple[int, int] = (3, 3)

    @nn.compact
    def __call__(self, images: Array) -> Array:
        channels = images.shape[-1]
        if self.groups < 1 or channels % self.groups:
            raise ValueError(f"{channels} channels do not divide into {self.groups} groups")
        return self._convolve(
            images, self.kernel_size, partial(grouped_convolution, groups=self.groups), channels // self.groups
        )


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
    """`downsampling_convolution` as a layer: [batch, h, w, in] -> [batch, h / 2, w / 2, features], 4x4 or 3x3."""

    kernel_size: tuple[int, int] = (4, 4)

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._convolve(images, self.kernel_size, downsampling_convolution)


class UpsamplingConvolution(_Layer):
    """`upsampling_convolution` as a layer: [batch, h, w, in] -> [batch, 2h, 2w, features], 4x4 or 3x3."""

    kernel_size: tuple[int, int] = (4, 4)

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._convolve(images, self.kernel_size, upsampling_convolution)
