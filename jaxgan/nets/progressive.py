"""Generator and discriminator that grow: layers for a higher resolution are added to both, and fade in.

Karras, Aila, Laine, Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and Variation", 2018,
arXiv 1710.10196, table 2, with the fused resampling of the authors' code: equalised learning rates
(`Equalized`), `pixel_norm` in G, `minibatch_deviation` near D's end, leaky ReLUs of 0.2.

`level` counts the doublings that a net has, from 4 pixels or the odd number before (28: from 7); None for all of
those that lead to `shape`, the images of the last level. Layers are named by the shorter side at which they work, so
that nets of different levels have the same names for the layers they share. With `width` 512 and `wide_until` 32
channels are those of the paper. num_classes, dtype: see `jaxgan.nets.ends`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.convolution import Convolution, PooledConvolution, UpsampledConvolution
from jaxgan.nets.ends import one_hot
from jaxgan.nets.layers import Equalized, leaky_relu, minibatch_deviation, pixel_norm
from jaxgan.nets.r3gan import sizes_of, widths_of

_unit = nn.initializers.normal(1.0)
# of the generator's first layer, sqrt(2) / 4 in the authors' code
FIRST_GAIN = 2.0**0.5 / 4.0


class Generator(nn.Module):
    """latent [batch, latent] -> images float32 [batch, *size of the level, channels].

    The last layer is linear; in use (train False) images are clipped to [-1, 1]. A class is appended to the latent
    as a one-hot vector of the latent's length, sqrt(n); the authors append it with length 1.

    alpha: [batch], the share of the newest level, 0 for none of it (the level before, its pixels doubled) and 1,
        which None stands for, for nothing else.
    """

    shape: tuple[int, int, int]
    width: int = 512
    level: int | None = None
    wide_until: int = 32
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, latent: Array, label: Array | None = None, alpha: Array | None = None, train: bool = True
    ) -> Array:
        sizes, widths, level = _levels(self.shape, self.width, self.wide_until, self.level)
        layer = partial(_layer, dtype=self.dtype)
        classes = one_hot(label, self.num_classes)
        # as long as a latent: a part of the pixel-normalized vector that no layer can overlook
        z = latent if classes is None else jnp.concatenate([latent, classes * latent.shape[-1] ** 0.5], axis=-1)
        (height, width), features = sizes[0], widths[0]
        first = nn.Dense(height * width * features, dtype=self.dtype, kernel_init=_unit, name=f"dense_{min(sizes[0])}")
        x = Equalized(first, FIRST_GAIN)(pixel_norm(z).astype(self.dtype)).reshape(-1, height, width, features)
        x = pixel_norm(leaky_relu(x))
        x = pixel_norm(leaky_relu(layer(Convolution, features, f"convolution_{min(sizes[0])}", x)))
        before = x
        for size, features in zip(sizes[1 : level + 1], widths[1:], strict=False):
            before, side = x, min(size)
            x = pixel_norm(leaky_relu(layer(UpsampledConvolution, features, f"doubling_{side}", x)))
            x = pixel_norm(leaky_relu(layer(Convolution, features, f"convolution_{side}", x)))

        def images(x: Array, size: tuple[int, int]) -> Array:
            return layer(
                partial(Convolution, kernel_size=(1, 1)), self.shape[-1], f"{TO_IMAGE}{min(size)}", x, gain=1.0
            ).astype(jnp.float32)

        made = images(x, sizes[level])
        if level:
            made = _faded(made, doubled(images(before, sizes[level - 1])), alpha)
        return made if train else jnp.clip(made, -1.0, 1.0)


class Discriminator(nn.Module):
    """images [batch, *size of the level, channels] -> logit float32 [batch]. Fields and alpha as in `Generator`.

    group: examples are compared in groups of so many at most (`group_size`) for the minibatch deviation, which
        couples them, in training and in use; 0 for no such layer.

    With classes, the product of the last features and the class's vector is added to the logit (Miyato and Koyama
    2018, arXiv 1802.05637), where the authors have an auxiliary classifier.
    """

    shape: tuple[int, int, int]
    width: int = 512
    level: int | None = None
    wide_until: int = 32
    group: int = 4
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, images: Array, label: Array | None = None, alpha: Array | None = None, train: bool = True
    ) -> Array:
        sizes, widths, level = _levels(self.shape, self.width, self.wide_until, self.level)
        expected = (*sizes[level], self.shape[-1])
        if images.shape[1:] != expected:
            raise ValueError(f"this discriminator judges images of shape {expected}, got {images.shape[1:]}")
        layer = partial(_layer, dtype=self.dtype)
        classes = one_hot(label, self.num_classes)

        def seen(images: Array, k: int) -> Array:
            name = f"{FROM_IMAGE}{min(sizes[k])}"
            x = images.astype(self.dtype)
            return leaky_relu(layer(partial(Convolution, kernel_size=(1, 1)), widths[k], name, x))

        x = seen(images, level)
        for k in range(level, 0, -1):
            side = min(sizes[k])
            x = leaky_relu(layer(Convolution, widths[k], f"convolution_{side}", x))
            x = leaky_relu(layer(PooledConvolution, widths[k - 1], f"halving_{side}", x))
            if k == level:
                x = _faded(x, seen(halved(images), level - 1), alpha)
        side = min(sizes[0])
        if self.group:
            x = minibatch_deviation(x, group_size(x.shape[0], self.group))
        x = leaky_relu(layer(Convolution, widths[0], f"convolution_{side}", x))
        dense = nn.Dense(widths[0], dtype=self.dtype, kernel_init=_unit, name=f"dense_{side}")
        x = leaky_relu(Equalized(dense)(x.reshape(x.shape[0], -1)))
        self.sow("intermediates", "features", x)
        logit = Equalized(nn.Dense(1, dtype=self.dtype, kernel_init=_unit, name="logit"), 1.0)(x)[:, 0]
        if classes is not None:
            table = nn.Dense(widths[0], False, self.dtype, kernel_init=_unit, name="class")
            # a class's vector is one row of the kernel, for which there is no fan in: of the features' product there is
            vector = table(classes.astype(self.dtype)) / widths[0] ** 0.5
            logit = logit + jnp.sum(x * vector, axis=-1)
        return logit.astype(jnp.float32)


TO_IMAGE, FROM_IMAGE = "to_image_", "from_image_"


def level_of(generator: Mapping[str, Any], shape: tuple[int, int, int]) -> int:
    """The level of the generator that has these parameters, by the names of its layers."""
    sides = {int(name.removeprefix(TO_IMAGE)) for name in generator if name.startswith(TO_IMAGE)}
    return [min(size) for size in sizes_of(shape)].index(max(sides))


def group_size(batch: int, most: int) -> int:
    """The largest number up to `most` that divides the batch into equal groups."""
    return max(size for size in range(1, most + 1) if batch % size == 0)


def doubled(images: Array) -> Array:
    """[batch, height, width, c] -> [batch, 2 height, 2 width, c]: each pixel four times."""
    return jnp.repeat(jnp.repeat(images, 2, axis=1), 2, axis=2)


def halved(images: Array) -> Array:
    """[batch, height, width, c], even sides, -> [batch, height / 2, width / 2, c]: the mean of each 2x2 pixels."""
    batch, height, width, channels = images.shape
    return jnp.mean(images.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


def _faded(new: Array, old: Array, alpha: Array | None) -> Array:
    if alpha is None:
        return new
    share = alpha.astype(new.dtype).reshape(-1, 1, 1, 1)
    return share * new + (1.0 - share) * old


def _levels(
    shape: tuple[int, int, int], width: int, wide_until: int, level: int | None
) -> tuple[list[tuple[int, int]], list[int], int]:
    sizes = sizes_of(shape)
    last = len(sizes) - 1
    if level is not None and not 0 <= level <= last:
        raise ValueError(f"nets for {shape[0]}x{shape[1]} have the levels 0 to {last}, got {level}")
    return sizes, widths_of(sizes, width, wide_until), last if level is None else level


def _layer(kind: Any, features: int, name: str, x: Array, dtype: Any, gain: float = 2.0**0.5) -> Array:
    return Equalized(kind(features, kernel_init=_unit, dtype=dtype, name=name), gain)(x)
