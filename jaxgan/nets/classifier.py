"""A small convolutional classifier: an independent judge of samples, and the feature net of small data."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.nets.convolution import Convolution, PooledConvolution


class Classifier(nn.Module):
    """images [batch, height, width, channel] in [-1, 1] -> (logits [batch, num_classes], features [batch, features]).

    3x3 convolutions, all but the first followed by an average over 2x2 pixels, until the picture has at most 7 pixels
    a side, then one hidden layer, whose activations are the features. Dropout from the "noise" stream.
    """

    num_classes: int
    width: int = 32
    features: int = 128
    dropout: float = 0.3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, train: bool = True) -> tuple[Array, Array]:
        x, width = images.astype(self.dtype), self.width
        x = nn.relu(Convolution(width, dtype=self.dtype)(x))
        while True:
            width = min(2 * width, 256)
            even = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
            x = nn.relu(PooledConvolution(width, dtype=self.dtype)(even))
            if min(x.shape[1:3]) <= 7:
                break
        x = nn.Dropout(self.dropout, deterministic=not train, rng_collection="noise")(x.reshape(x.shape[0], -1))
        features = nn.relu(nn.Dense(self.features, dtype=self.dtype)(x)).astype(jnp.float32)
        x = nn.Dropout(self.dropout, deterministic=not train, rng_collection="noise")(features)
        return nn.Dense(self.num_classes, dtype=jnp.float32)(x), features
