"""DCGAN with kernels of odd sides, as in its TensorFlow code: "SAME" padding, pictures of any size.

The nets of Stacked MNIST. With ``kernel=3``: Metz, Poole, Pfau, Sohl-Dickstein, "Unrolled Generative
Adversarial Networks", 2017, arXiv 1611.02163, section 3.3, as in the code of Lin et al., "PacGAN", 2018,
arXiv 1712.04086, Table 3. With ``kernel=5`` and ``full_resolution=False``: PacGAN's Table 2, after
Radford et al. 2016, arXiv 1511.06434, whose other form, kernels of 4x4 and even sides, is `dcgan`.
Each layer of stride 2 halves the sides, rounded up: 28, 14, 7, 4, 2. Options that all nets have:
`jaxgan.nets.ends`. Weights N(0, 0.02^2).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.convolution import Convolution, convolution, downsampling_convolution, upsampling_convolution
from jaxgan.nets.ends import Reference, discriminator_input, discriminator_logit, generator_input
from jaxgan.nets.layers import Minibatch, Normalization, dropout, weigh

weights = nn.initializers.normal(0.02)


def sides(size: int, depth: int) -> list[int]:
    """A side of the picture and of its `depth` halvings, each rounded up: (28, 3) -> [28, 14, 7, 4]."""
    found = [size]
    for _ in range(depth):
        found.append(-(-found[-1] // 2))
    return found


def default_depth(height: int, width: int) -> int:
    """Halvings down to at most 4 pixels, and at least two: 28 -> 3, 32 -> 3, 8 -> 2."""
    depth = 2
    while sides(min(height, width), depth)[-1] > 4:
        depth += 1
    return depth


def strided_convolution(images: Array, kernel: Array) -> Array:
    """Convolution of stride 2 with "SAME" padding.

    images [batch, height, width, in]; kernel [k, k, in, out] for k 3 or 5, cast to the images' type;
    returns [batch, ceil(height / 2), ceil(width / 2), out].
    """
    height, width = images.shape[1:3]
    kernel = _even(kernel.astype(images.dtype), height, width)
    images = jnp.pad(images, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    if kernel.shape[0] == 4:
        return downsampling_convolution(images, kernel)
    batch, height, width, channels = images.shape
    blocks = images.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    kernel = kernel.reshape(3, 2, 3, 2, channels, -1).transpose(0, 2, 1, 3, 4, 5)
    return convolution(
        blocks.reshape(batch, height // 2, width // 2, 4 * channels), kernel.reshape(3, 3, 4 * channels, -1)
    )


def strided_transposed_convolution(images: Array, kernel: Array, size: tuple[int, int]) -> Array:
    """The adjoint of `strided_convolution`, for images of `size` (height, width): TensorFlow's ``conv2d_transpose``.

    images [batch, ceil(height / 2), ceil(width / 2), in]; kernel [k, k, in, out] for k 3 or 5, cast to the
    images' type, each input times the kernel being painted around its place; returns [batch, *size, out].
    """
    if images.shape[1:3] != (sides(size[0], 1)[1], sides(size[1], 1)[1]):
        raise ValueError(f"{size[0]}x{size[1]} is not twice {images.shape[1]}x{images.shape[2]}, one less or not")
    kernel = _even(kernel.astype(images.dtype), *size)
    if kernel.shape[0] == 4:
        pixels = upsampling_convolution(images, kernel[::-1, ::-1])
    else:
        _, _, channels, features = kernel.shape
        # 6x6 pixels of an input's neighbourhood are 3x3 blocks of 2x2 pixels
        kernel = kernel.reshape(3, 2, 3, 2, channels, features).transpose(0, 2, 4, 1, 3, 5)
        blocks = convolution(images, kernel.reshape(3, 3, channels, 4 * features)[::-1, ::-1])
        batch, height, width, _ = blocks.shape
        pixels = blocks.reshape(batch, height, width, 2, 2, features).transpose(0, 1, 3, 2, 4, 5)
        pixels = pixels.reshape(batch, 2 * height, 2 * width, features)
    return pixels[:, : size[0], : size[1]]


def _even(kernel: Array, height: int, width: int) -> Array:
    """The kernel within one of a row and a column more, placed so that padding is the same on both sides."""
    if kernel.shape[:2] not in ((3, 3), (5, 5)):
        raise ValueError(f"kernels of stride 2 are 3x3 or 5x5, got {kernel.shape[0]}x{kernel.shape[1]}")
    around = [(1 - side % 2, side % 2) for side in (height, width)]
    return jnp.pad(kernel, (*around, (0, 0), (0, 0)))


class _Strided(nn.Module):
    features: int
    kernel: int
    use_bias: bool
    dtype: Any

    def _of(self, images: Array, function: Callable[[Array, Array], Array]) -> Array:
        shape = (self.kernel, self.kernel, images.shape[-1], self.features)
        outputs = function(images.astype(self.dtype), self.param("kernel", weights, shape, jnp.float32))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
            outputs = outputs + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return outputs


class StridedConvolution(_Strided):
    """`strided_convolution` as a layer: [batch, h, w, in] -> [batch, ceil(h / 2), ceil(w / 2), features]."""

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._of(images, strided_convolution)


class StridedTransposedConvolution(_Strided):
    """`strided_transposed_convolution` as a layer: [batch, ceil(h / 2), ceil(w / 2), in] -> [batch, h, w, features]."""

    size: tuple[int, int] = (0, 0)

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return self._of(images, lambda x, kernel: strided_transposed_convolution(x, kernel, self.size))


class Generator(nn.Module):
    """latent [batch, latent] -> images float32 [batch, *shape] in [-1, 1].

    shape: (height, width, channels); depth: doublings, None for `default_depth`; kernel: 3 or 5.
    width: channels at the largest hidden resolution, doubling towards the latent.
    full_resolution: the largest hidden resolution is the picture's, and a convolution of stride 1 follows;
        otherwise it is half of that, and the last layer doubles.
    output: applied last. dropout: of each hidden layer's activations.
    """

    shape: tuple[int, int, int]
    width: int = 8
    depth: int | None = None
    kernel: int = 3
    full_resolution: bool = True
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
        latent, normalization, held = generator_input(self, latent, label)
        depth = self.depth or default_depth(height, width)
        sizes = list(zip(sides(height, depth), sides(width, depth), strict=True))[::-1]
        hidden = depth + self.full_resolution
        features = [self.width * 2**i for i in reversed(range(hidden))]
        bias = normalization is None

        def activated(x: Array) -> Array:
            if normalization is not None:
                x = normalization(dtype=self.dtype)(x, train)
            return dropout(nn.relu(x), self.dropout, train)

        start = (*sizes[0], features[0])
        dense = nn.Dense(start[0] * start[1] * start[2], use_bias=bias, kernel_init=weights, dtype=self.dtype)
        x = activated(weigh(dense, latent, train, self.spectral).reshape(-1, *start))
        for made, size in zip(features[1:], sizes[1:], strict=False):
            up = StridedTransposedConvolution(made, self.kernel, bias, self.dtype, size)
            x = activated(weigh(up, x, train, self.spectral))
        last = (
            Convolution(channels, True, weights, self.dtype, (self.kernel, self.kernel))
            if self.full_resolution
            else StridedTransposedConvolution(channels, self.kernel, True, self.dtype, sizes[-1])
        )
        x = weigh(last, x[held:], train, self.spectral).astype(jnp.float32)
        return x if self.output is None else self.output(x)


class Discriminator(nn.Module):
    """images [batch, *shape] -> logit float32 [batch].

    width: channels of the first layer, doubling. first_normalized: whether its output is normalized too.
    slope: of the leaky ReLUs. dropout: of each hidden layer's activations.
    """

    shape: tuple[int, int, int]
    width: int = 2
    depth: int | None = None
    kernel: int = 3
    first_normalized: bool = True
    slope: float = 0.3
    normalization: Normalization | None = None
    num_classes: int = 0
    dtype: Any = jnp.float32
    projection: bool = True
    minibatch: Minibatch | None = None
    spectral: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(self, images: Array, label: Array | None = None, train: bool = True) -> Array:
        if images.shape[1:] != self.shape:
            raise ValueError(f"this discriminator sees images of {self.shape}, got {images.shape[1:]}")
        x, classes = discriminator_input(self, images, label)
        x = x.astype(self.dtype)
        for i in range(self.depth or default_depth(*self.shape[:2])):
            normalized = self.normalization is not None and (i > 0 or self.first_normalized)
            down = StridedConvolution(self.width * 2**i, self.kernel, not normalized, self.dtype)
            x = weigh(down, x, train, self.spectral)
            if normalized:
                x = self.normalization(dtype=self.dtype)(x, train)  # type: ignore[misc]
            x = dropout(nn.leaky_relu(x, self.slope), self.dropout, train)
        return discriminator_logit(self, x.reshape(x.shape[0], -1), classes, train, weights)
