"""Images to feature vectors: what the Frechet and the kernel distance are computed on.

A distance means nothing without the network whose features it compares, so a `FeatureNet` carries
a name and a hash of its weights, and every reported number carries both.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan.arrays import Array, to_float

LEAKY_SLOPE = 0.2
NUM_LEVELS = 4
LEVEL_WIDTH = 48


@dataclass(frozen=True)
class FeatureNet:
    """A fixed network that evaluation looks through.

    `extract` takes float32 images [n, height, width, channel] in [-1, 1] and returns float32
    features [n, d]; `classify` returns class probabilities [n, k] (rows sum to 1), or is None for a
    network that names no classes. Both treat each image alone (no batch statistics), for batches are
    padded. `identity` is a hex hash of the weights: numbers measured under different identities are
    not comparable. `resizer` names how the net resizes its input, "" for one that takes it as it is.
    `inception` is true of the published network alone: only on its features a distance is FID or KID.
    """

    name: str
    extract: Callable[[Array], Array]
    classify: Callable[[Array], Array] | None
    identity: str
    resizer: str = ""
    inception: bool = False


def features(net: FeatureNet, images: ArrayLike, batch_size: int = 500) -> np.ndarray:
    """Features float32 [n, d] of uint8 images in [0, 255] or float images in [-1, 1], [n, height, width, channel].

    Batched; the last batch is padded, so that a call compiles once. Matrix products and convolutions run at the
    highest precision (an accelerator's default drops mantissa bits, which moves a Frechet distance).
    Raises ValueError for an empty or wrongly shaped array. See `probabilities` for class probabilities.
    """
    return _batched(net.extract, images, batch_size)


def probabilities(net: FeatureNet, images: ArrayLike, batch_size: int = 500) -> np.ndarray:
    """Class probabilities float32 [n, k] of images as in `features`; rows sum to 1.

    Raises ValueError when the net has no classifier.
    """
    if net.classify is None:
        raise ValueError(f"feature net {net.name!r} has no classifier")
    return _batched(net.classify, images, batch_size)


def _batched(function: Callable[[Array], Array], images: ArrayLike, batch_size: int) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images must be [n, height, width, channel] with n > 0, got shape {images.shape}")
    if images.dtype != np.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be uint8 in [0, 255] or floats in [-1, 1], got {images.dtype}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    batch_size = min(batch_size, len(images))
    # jit caches on the function object, so a second call with the same net compiles nothing.
    compiled = jax.jit(function)
    outputs = []
    with jax.default_matmul_precision("highest"):
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            batch = np.asarray(to_float(jnp.asarray(batch))) if batch.dtype == np.uint8 else batch.astype(np.float32)
            missing = batch_size - len(batch)
            padded = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
            outputs.append(np.asarray(compiled(padded), np.float32)[: len(batch)])
    return np.concatenate(outputs)


def random_conv(size: tuple[int, int, int], seed: int = 0) -> FeatureNet:
    """A fixed convolutional net with random weights for images of `size` (height, width, channel); d = 192.

    Four levels of 48 convolutions and leaky ReLUs, each averaged over all positions; the features are
    the four averages, concatenated. The first level strides so that at most about 64 positions a side
    remain; the others stride by two. He-uniform weights without biases, drawn from threefry with `seed`.

    What it can tell: it needs no download and no training and is the same everywhere, and its averages respond
    to colour, contrast, blur, noise, stroke width and local texture. It orders the checkpoints of one run and
    sees collapse and artefacts. What it cannot tell: it has learned nothing, so it does not know objects or classes,
    global arrangement reaches it only through the receptive field, and its distances have no published counterpart.
    They compare with each other only at the same size, seed and number of images; never call one FID (see
    `frechet.frechet_distance`). A trained classifier's features are better wherever one exists.

    Raises ValueError for sides below 8 or no channel.
    """
    height, width, channels = size
    if min(height, width) < 8 or channels < 1:
        raise ValueError(f"random_conv takes images of at least 8x8 with a channel, got size {size}")
    # The generator is named: the identity must not follow a user's default.
    keys = jax.random.split(jax.random.key(seed, impl="threefry2x32"), NUM_LEVELS)
    first_stride = -(-min(height, width) // 64)
    strides = (first_stride, *[2] * (NUM_LEVELS - 1))
    weights: list[np.ndarray] = []
    inputs = channels
    for key, stride in zip(keys, strides, strict=True):
        kernel = 2 * stride + 1 if not weights else 3
        shape = (kernel, kernel, inputs, LEVEL_WIDTH)
        limit = np.float32(np.sqrt(6.0 / ((1.0 + LEAKY_SLOPE**2) * kernel * kernel * inputs)))
        # Uniform bits are the same on every backend and NumPy scales them, so the hash is too;
        # a normal's inverse error function is not.
        uniform = np.asarray(jax.random.uniform(key, shape, jnp.float32))
        weights.append((uniform * np.float32(2.0) - np.float32(1.0)) * limit)
        inputs = LEVEL_WIDTH

    def extract(images: Array) -> Array:
        if images.shape[1:] != (height, width, channels):
            raise ValueError(f"random_conv was built for images of {size}, got {images.shape[1:]}")
        hidden, pools = images, []
        for weight, stride in zip(weights, strides, strict=True):
            hidden = jax.lax.conv_general_dilated(
                hidden, jnp.asarray(weight), (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            hidden = jax.nn.leaky_relu(hidden, LEAKY_SLOPE)
            pools.append(hidden.mean(axis=(1, 2)))
        return jnp.concatenate(pools, axis=1)

    digest = hashlib.sha256(repr((strides, LEAKY_SLOPE, [weight.shape for weight in weights])).encode())
    for weight in weights:
        digest.update(np.ascontiguousarray(weight, dtype="<f4").tobytes())
    return FeatureNet(f"random-conv-{seed}", extract, None, digest.hexdigest())


def pixels(size: tuple[int, int, int]) -> FeatureNet:
    """The pixels themselves as features, for images of `size` (height, width, channel); d = height * width * channel.

    Distances on them see exact copies and mean colours and nothing that a person would: a picture moved by one
    pixel is far away. For a check, or for the desperate. Raises ValueError for images of another size.
    """

    def extract(images: Array) -> Array:
        if images.shape[1:] != size:
            raise ValueError(f"pixels was built for images of {size}, got {images.shape[1:]}")
        return images.reshape(len(images), -1)

    return FeatureNet("pixels", extract, None, hashlib.sha256(repr(size).encode()).hexdigest())
