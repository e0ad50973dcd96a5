"""DCGAN: Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", 2016, arXiv 1511.06434, section 3 and figure 1.

Kernels are 4x4 (the authors' code has 5x5), weights N(0, 0.02^2), leaky slope 0.2.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.convolution import DownsamplingConvolution, UpsamplingConvolution
from jaxgan.nets.layers import Normalization, leaky_relu

weights = nn.initializers.normal(0.02)


def default_depth(height: int, width: int) -> int:
    """How often the picture is halved: down to the 4 pixels of the paper, at least twice if that leaves 2 or more.

    64 -> 4 times, 32 -> 3, 28 -> 2, 8 -> 2.
    """
    depth = 0
    while height % 2 == 0 and width % 2 == 0 and (min(height, width) >= 8 or (depth < 2 and min(height, width) >= 4)):
        height, width, depth = height // 2, width // 2, depth + 1
    if depth == 0:
        raise ValueError(f"DCGAN halves pictures of at least 4x4 with even sides, got {height}x{width}")
    return depth


def _check(shape: tuple[int, int, int], depth: int) -> None:
    height, width, _ = shape
    if depth < 1 or height % 2**depth or width % 2**depth:
        raise ValueError(f"a DCGAN of depth {depth} needs sides divisible by {2**depth}, got {height}x{width}")


def _one_hot(label: Array | None, num_classes: int) -> Array:
    if label is None:
        raise ValueError(f"a net with {num_classes} classes needs a label")
    return jax.nn.one_hot(label, num_classes)


class Generator(nn.Module):
    """latent [batch, latent] -> images float32 [batch, *shape] in [-1, 1].

    num_classes: 0, or the net takes a label int [batch] as its second input and appends it to the
        latent as a one-hot vector (Mirza and Osindero, "Conditional Generative Adversarial Nets",
        2014, arXiv 1411.1784).
    shape: (height, width, channels); depth: doublings, None for `default_depth`.
    width: channels at the last hidden resolution, doubling towards the latent up to max_width.
    """

    shape: tuple[int, int, int]
    width: int = 64
    depth: int | None = None
    max_width: int = 512
    normalization: Normalization | None = None
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latent: Array, label: Array | None = None, train: bool = True) -> Array:
        height, width, channels = self.shape
        if self.num_classes:
            latent = jnp.concatenate([latent, _one_hot(label, self.num_classes)], axis=-1)
        depth = self.depth or default_depth(height, width)
        _check(self.shape, depth)
        features = [min(self.width * 2**i, self.max_width) for i in reversed(range(depth))]
        start = (height // 2**depth, width // 2**depth, features[0])
        bias = self.normalization is None
        x = nn.Dense(start[0] * start[1] * start[2], use_bias=bias, kernel_init=weights, dtype=self.dtype)(latent)
        x = x.reshape(-1, *start)
        for i in range(depth):
            if self.normalization is not None:
                x = self.normalization(dtype=self.dtype)(x, train)
            x = nn.relu(x)
            last = i == depth - 1
            x = UpsamplingConvolution(channels if last else features[i + 1], bias or last, weights, self.dtype)(x)
        return jnp.tanh(x.astype(jnp.float32))


class Discriminator(nn.Module):
    """images [batch, *shape] -> logit float32 [batch]. The first layer is never normalized.

    num_classes: 0, or the net takes a label int [batch] as its second input and adds the inner
        product of its last features and a vector of the class to the logit (Miyato and Koyama,
        "cGANs with Projection Discriminator", 2018, arXiv 1802.05637, Eq. 3).
    """

    shape: tuple[int, int, int]
    width: int = 64
    depth: int | None = None
    max_width: int = 512
    normalization: Normalization | None = None
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, label: Array | None = None, train: bool = True) -> Array:
        if images.shape[1:] != self.shape:
            raise ValueError(f"this discriminator sees images of {self.shape}, got {images.shape[1:]}")
        depth = self.depth or default_depth(*self.shape[:2])
        _check(self.shape, depth)
        x = images.astype(self.dtype)
        for i in range(depth):
            normalized = self.normalization is not None and i > 0
            features = min(self.width * 2**i, self.max_width)
            x = DownsamplingConvolution(features, not normalized, weights, self.dtype)(x)
            if normalized:
                x = self.normalization(dtype=self.dtype)(x, train)  # type: ignore[misc]
            x = leaky_relu(x)
        x = x.reshape(x.shape[0], -1)
        logit = nn.Dense(1, kernel_init=weights, dtype=self.dtype)(x)[:, 0]
        if self.num_classes:
            classes = _one_hot(label, self.num_classes).astype(self.dtype)
            vector = nn.Dense(x.shape[-1], use_bias=False, kernel_init=weights, dtype=self.dtype)(classes)
            logit = logit + jnp.sum(x * vector, axis=-1)
        return logit.astype(jnp.float32)
