"""Heads: small nets on the last hidden activations of a discriminator."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.layers import Normalization, leaky_relu

weights = nn.initializers.normal(0.02)


class Linear(nn.Module):
    """features [batch, n] -> logits float32 [batch, outputs]: the classifier of AC-GAN.

    Odena et al. 2017, arXiv 1610.09585.
    """

    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Array, train: bool = True) -> Array:
        return nn.Dense(self.outputs, dtype=self.dtype, kernel_init=weights)(features).astype(jnp.float32)


class Codes(nn.Module):
    """features [batch, n] -> (logits float32 [batch, categories], means float32 [batch, continuous]): InfoGAN's Q.

    A hidden layer of `width`, normalized, then the parameters of q(c | x): a categorical distribution, and
    the means of Gaussians whose deviation is fixed. Chen et al. 2016, arXiv 1606.03657, appendix C.1 (there 128,
    batch normalization). slope: of its leaky rectifier, 0.01 in the authors' code and not 0.2.
    """

    categories: int
    continuous: int
    width: int = 128
    normalization: Normalization | None = None
    slope: float = 0.2
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Array, train: bool = True) -> tuple[Array, Array]:
        hidden = nn.Dense(self.width, self.normalization is None, self.dtype, kernel_init=weights)(features)
        if self.normalization is not None:
            hidden = self.normalization(dtype=self.dtype)(hidden, train)
        outputs = nn.Dense(self.categories + self.continuous, dtype=self.dtype, kernel_init=weights)(
            leaky_relu(hidden, self.slope)
        ).astype(jnp.float32)
        return outputs[:, : self.categories], outputs[:, self.categories :]
