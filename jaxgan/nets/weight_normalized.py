"""Fully connected nets whose weights are normalized: the generator and the classifier of semi-supervised learning.

Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, "Improved Techniques for Training GANs", 2016,
arXiv 1606.03498, section 5.1; widths, noise and inits are those of the authors' code for MNIST.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array


class WeightNormDense(nn.Module):
    """[batch, in] -> [batch, units]: ``x @ v * scale / |v| + bias``, each unit's weights v of length `scale`.

    data_dependent: initialised so that on the batch that initialises it each unit has mean 0 and
        variance 1: scale = 1 / deviation and bias = -mean / deviation of ``x @ v / |v|`` there (a unit
        that is constant there has scale 1). Otherwise scale 1 and bias 0.
    train_scale: False keeps the scale as it was initialised, in the collection "reference".

    Salimans and Kingma, "Weight Normalization", 2016, arXiv 1602.07868, Eqs. 2 and 6. Unlike
    `SpectralNorm` it bounds each unit's weights and not the layer as a map.
    """

    units: int
    data_dependent: bool = False
    train_scale: bool = True
    kernel_init: Callable = nn.initializers.normal(0.1)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.units), jnp.float32)
        inverse_norm = jax.lax.rsqrt(jnp.sum(jnp.square(kernel), axis=0) + 1e-6)
        linear = x.astype(self.dtype) @ kernel.astype(self.dtype)

        def first_mean() -> Array:
            return jnp.mean(linear.astype(jnp.float32), axis=0) * inverse_norm

        def first_scale() -> Array:
            if not self.data_dependent:
                return jnp.ones((self.units,))
            variance = jnp.var(linear.astype(jnp.float32), axis=0) * jnp.square(inverse_norm)
            return jnp.where(variance > 0, jax.lax.rsqrt(jnp.where(variance > 0, variance, 1.0)), 1.0)

        if self.train_scale:
            scale = self.param("scale", lambda key: first_scale())
        else:
            scale = self.variable("reference", "scale", first_scale).value
        shift = lambda key: -first_mean() * scale if self.data_dependent else jnp.zeros((self.units,))  # noqa: E731
        bias = self.param("bias", shift)
        factor = (scale * inverse_norm).astype(self.dtype)
        return linear * factor[None] + bias.astype(self.dtype)[None]


class Generator(nn.Module):
    """latent [batch, latent] -> images [batch, *shape] in [-1, 1], float32.

    Hidden layers of softplus units behind batch normalization that shifts and does not scale; an
    output of sigmoids, whose pixels in [0, 1] become [-1, 1], with weights normalized to a trained length.
    """

    shape: tuple[int, int, int]
    width: int = 500
    depth: int = 2
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latent: Array, train: bool = True) -> Array:
        x, glorot = latent.astype(self.dtype), nn.initializers.glorot_uniform()
        for _ in range(self.depth):
            x = nn.Dense(self.width, False, self.dtype, kernel_init=glorot)(x)
            # the authors' epsilon is smaller than the error of a variance as a difference of squares
            norm = nn.BatchNorm(
                not train, momentum=0.9, epsilon=1e-6, dtype=self.dtype, use_scale=False, use_fast_variance=False
            )
            x = nn.softplus(norm(x))
        x = WeightNormDense(prod(self.shape), kernel_init=glorot, dtype=self.dtype)(x).astype(jnp.float32)
        return (2.0 * nn.sigmoid(x) - 1.0).reshape(-1, *self.shape)


class Classifier(nn.Module):
    """images [batch, height, width, channel] in [-1, 1] -> logits float32 [batch, num_classes].

    Permutation-invariant: pixels, brought to [0, 1], are a vector. Five hidden layers of
    `WeightNormDense` with ReLU, of width, width / 2 and three times width / 4 units, whose scale is not
    trained, and Gaussian noise in training: of deviation `input_noise` on the pixels, `noise` on the
    hidden activations. The last activations, before their noise, are the features. All layers
    are initialised from the first batch, see `WeightNormDense` and the `first` of `adapt`.
    """

    num_classes: int
    width: int = 1000
    input_noise: float = 0.3
    noise: float = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, train: bool = True) -> Array:
        x = (images.reshape(images.shape[0], -1).astype(self.dtype) + 1.0) / 2.0
        x = self._noisy(x, self.input_noise, train)
        for share in (1, 2, 4, 4, 4):
            units = max(1, self.width // share)
            x = nn.relu(WeightNormDense(units, data_dependent=True, train_scale=False, dtype=self.dtype)(x))
            shown, x = x, self._noisy(x, self.noise, train)
        self.sow("intermediates", "features", shown)
        return WeightNormDense(self.num_classes, data_dependent=True, dtype=self.dtype)(x).astype(jnp.float32)

    def _noisy(self, x: Array, deviation: float, train: bool) -> Array:
        if not train or not deviation:
            return x
        return x + deviation * jax.random.normal(self.make_rng("noise"), x.shape, x.dtype)
