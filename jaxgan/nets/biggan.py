"""BigGAN's nets: a generator that is told its class and its latent at every block, and a wide discriminator.

Brock, Donahue, Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019,
arXiv 1809.11096, appendix B (BigGAN, not BigGAN-deep). Where the paper is silent these are the nets of
the authors' PyTorch code. Blocks and ends are those of `resnet`, with orthogonal kernels.

    128x128     Generator((128, 128, 3), num_classes=1000, attention=64) on 120 latents: 70,433,988 parameters
                discriminator((128, 128, 3), num_classes=1000, attention=64): 87,982,370

(the counts that the authors' code prints). width is the paper's ch. 8 to 512 pixels a side: up to 48, nets
have one width, 4 ch, as the authors' for CIFAR-10.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array
from jaxgan.nets.convolution import Convolution
from jaxgan.nets.ends import one_hot
from jaxgan.nets.layers import BatchNorm, ConditionalBatchNorm, Minibatch, SelfAttention, dropout, weigh
from jaxgan.nets.resnet import Discriminator, UpBlock, check_attention, halvings

orthogonal = nn.initializers.orthogonal()

# Channels in units of ch, by the number of blocks that double or halve. G: at the start and after each block.
UP = {4: (16, 16, 8, 4, 2), 5: (16, 16, 8, 4, 2, 1), 6: (16, 16, 8, 8, 4, 2, 1), 7: (16, 16, 8, 8, 4, 2, 1, 1)}
# D: after each block; the last one does not halve.
DOWN = {4: (1, 2, 4, 8, 16), 5: (1, 2, 4, 8, 16, 16), 6: (1, 2, 4, 8, 8, 16, 16), 7: (1, 1, 2, 4, 8, 8, 16, 16)}


def chunk_sizes(latent: int, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """How many of the latent's dimensions the start and each block get: equal shares, the first ones one more."""
    chunks = halvings(*shape[:2], 4) + 1
    if latent < chunks:
        raise ValueError(f"a latent is shared out to the start and {chunks - 1} blocks: {chunks} or more, got {latent}")
    return tuple(len(part) for part in np.array_split(np.arange(latent), chunks))


class Generator(nn.Module):
    """latent [batch, latent] and label int [batch] -> images float32 [batch, *shape] in [-1, 1].

    The latent is split into one chunk for the start and one for each block (`chunk_sizes`). Each block's
    normalizations are told the joined vector of its chunk and of the class's embedding, which all share.
    num_classes: 0 for images without classes: then they are told the chunk alone.
    embedding: length of the embedding. spectral: of all kernels, those of the normalizations included; the
        embedding itself never.
    attention: the height in pixels at which `SelfAttention` follows, 0 for none.
    """

    shape: tuple[int, int, int]
    width: int = 96
    num_classes: int = 0
    embedding: int = 128
    attention: int = 0
    spectral: bool = True
    dropout: float = 0.0
    dtype: Any = jnp.float32
    output: Callable[[Array], Array] | None = jnp.tanh

    @nn.compact
    def __call__(self, latent: Array, label: Array | None = None, train: bool = True) -> Array:
        height, width, channels = self.shape
        depth = halvings(height, width, 4)
        if depth < 1:
            raise ValueError(f"BigGAN doubles a picture of 4 pixels or more: sides of 8 and more, got {height}x{width}")
        multiples = UP.get(depth, (4,) * (depth + 1))
        check_attention(self.attention, [height // 2**i for i in range(depth + 1)])
        first, *rest = jnp.split(latent, np.cumsum(chunk_sizes(latent.shape[-1], self.shape))[:-1], axis=-1)
        classes = one_hot(label, self.num_classes)
        shared = []
        if classes is not None:
            table = self.param("embedding", orthogonal, (self.num_classes, self.embedding), jnp.float32)
            shared = [classes @ table]

        start = (height // 2**depth, width // 2**depth, multiples[0] * self.width)
        dense = nn.Dense(int(np.prod(start)), kernel_init=orthogonal, dtype=self.dtype)
        x = weigh(dense, first, train, self.spectral).reshape(-1, *start)
        if self.attention == start[0]:
            x = SelfAttention(self.spectral, orthogonal, self.dtype)(x, train)
        normalization = partial(ConditionalBatchNorm, spectral=self.spectral, kernel_init=orthogonal)
        for multiple, chunk in zip(multiples[1:], rest, strict=True):
            condition = jnp.concatenate([*shared, chunk], axis=-1)
            block = UpBlock(multiple * self.width, normalization, self.spectral, self.dtype, orthogonal)
            x = dropout(block(x, train, condition), self.dropout, train)
            if x.shape[1] == self.attention:
                x = SelfAttention(self.spectral, orthogonal, self.dtype)(x, train)
        x = nn.relu(BatchNorm(dtype=self.dtype)(x, train))
        last = Convolution(channels, kernel_init=orthogonal, dtype=self.dtype)
        x = weigh(last, x, train, self.spectral).astype(jnp.float32)
        return x if self.output is None else self.output(x)


def discriminator(
    shape: tuple[int, int, int],
    width: int = 96,
    num_classes: int = 0,
    attention: int = 0,
    spectral: bool = True,
    dropout: float = 0.0,
    minibatch: Minibatch | None = None,
    dtype: Any = jnp.float32,
) -> Discriminator:
    """images [batch, *shape] and label -> logit float32 [batch]: `resnet.Discriminator` with BigGAN's channels."""
    depth = halvings(*shape[:2], 4)
    multiples = DOWN.get(depth)
    if multiples is None:
        depth = max(1, halvings(*shape[:2], 7))
        multiples = (4,) * (depth + 2)
    return Discriminator(
        shape,
        depth=depth,
        features=tuple(multiple * width for multiple in multiples),
        num_classes=num_classes,
        attention=attention,
        spectral=spectral,
        dropout=dropout,
        minibatch=minibatch,
        dtype=dtype,
        wide=True,
        kernel_init=orthogonal,
    )
