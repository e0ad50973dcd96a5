"""BigGAN in PyTorch, as its users write it: the nets of jaxgan/nets/biggan.py, spectral normalization PyTorch's own."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_layers import Size, halvings, put, put_layer, put_weight
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

UP = {4: (16, 16, 8, 4, 2), 5: (16, 16, 8, 4, 2, 1), 6: (16, 16, 8, 8, 4, 2, 1), 7: (16, 16, 8, 8, 4, 2, 1, 1)}
DOWN = {4: (1, 2, 4, 8, 16), 5: (1, 2, 4, 8, 16, 16), 6: (1, 2, 4, 8, 8, 16, 16), 7: (1, 1, 2, 4, 8, 8, 16, 16)}


def conv(before: int, after: int, side: int, bias: bool = True) -> nn.Module:
    return _orthogonal(nn.Conv2d(before, after, side, padding=side // 2, bias=bias))


def linear(before: int, after: int, bias: bool = True) -> nn.Module:
    return _orthogonal(nn.Linear(before, after, bias))


def _orthogonal(layer: Any) -> nn.Module:
    nn.init.orthogonal_(layer.weight)
    return spectral_norm(layer)


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(1, channels // 8), max(1, channels // 2)
        self.query, self.key = conv(channels, narrow, 1, bias=False), conv(channels, narrow, 1, bias=False)
        self.value, self.output = conv(channels, half, 1, bias=False), conv(half, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Any) -> Any:
        query = self.query(x).flatten(2).transpose(1, 2)
        key = F.max_pool2d(self.key(x), 2).flatten(2).transpose(1, 2)
        value = F.max_pool2d(self.value(x), 2).flatten(2).transpose(1, 2)
        # one head, no division by the root of the dimension
        seen = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=1.0)[:, 0]
        seen = seen.transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.gamma.to(x.dtype) * self.output(seen)


class ToldNorm(nn.Module):
    """Batch normalization whose scale and shift are linear in the condition."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale, self.shift = linear(condition, channels, bias=False), linear(condition, channels, bias=False)

    def forward(self, x: Any, condition: Any) -> Any:
        scale, shift = 1.0 + self.scale(condition), self.shift(condition)
        return self.norm(x) * scale[:, :, None, None] + shift[:, :, None, None]


class BigUpBlock(nn.Module):
    def __init__(self, before: int, after: int, condition: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ToldNorm(before, condition), ToldNorm(after, condition)
        self.conv1, self.conv2 = conv(before, after, 3), conv(after, after, 3)
        self.shortcut = conv(before, after, 1)

    def forward(self, x: Any, condition: Any) -> Any:
        y = self.conv1(F.interpolate(F.relu(self.norm1(x, condition)), scale_factor=2, mode="nearest"))
        y = self.conv2(F.relu(self.norm2(y, condition)))
        # the 1x1 convolution before the doubling: the same numbers for a quarter of the work
        return y + F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")


class BigGenerator(nn.Module):
    def __init__(self, size: Size, width: int, latent: int, num_classes: int, embedding: int, attention: int) -> None:
        super().__init__()
        depth = halvings(size, 4)
        channels = [width * n for n in UP.get(depth, (4,) * (depth + 1))]
        self.chunks = [len(part) for part in np.array_split(np.arange(latent), depth + 1)]
        self.sides = (size[0] >> depth, size[1] >> depth)
        self.embedding = nn.Embedding(num_classes, embedding)
        nn.init.orthogonal_(self.embedding.weight)
        self.start = linear(self.chunks[0], self.sides[0] * self.sides[1] * channels[0])
        self.blocks = nn.ModuleList(
            BigUpBlock(before, after, embedding + chunk)
            for (before, after), chunk in zip(pairwise(channels), self.chunks[1:], strict=True)
        )
        # attention follows the start or a block, where the image has that height
        self.attended = next((i for i in range(depth + 1) if attention == self.sides[0] << i), None)
        self.attention = Attention(channels[self.attended]) if self.attended is not None else None
        self.norm, self.last = nn.BatchNorm2d(channels[-1]), conv(channels[-1], size[2], 3)

    def forward(self, latent: Any, label: Any) -> Any:
        first, *rest = latent.split(self.chunks, 1)
        shared = self.embedding(label)
        x = self.start(first).unflatten(1, (*self.sides, -1)).permute(0, 3, 1, 2)
        if self.attention is not None and self.attended == 0:
            x = self.attention(x)
        for i, (block, chunk) in enumerate(zip(self.blocks, rest, strict=True), 1):
            x = block(x, torch.cat([shared, chunk], 1))
            if self.attention is not None and self.attended == i:
                x = self.attention(x)
        return torch.tanh(self.last(F.relu(self.norm(x))).float())


class BigDownBlock(nn.Module):
    def __init__(self, before: int, after: int, down: bool, first: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(before, after, 3), conv(after, after, 3)
        self.shortcut = conv(before, after, 1) if down or before != after else None
        self.down, self.first = down, first

    def forward(self, x: Any) -> Any:
        y = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        short = x
        if self.down:
            # the mean before the 1x1 convolution: the same numbers for a quarter of the work
            y, short = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
        return y + (short if self.shortcut is None else self.shortcut(short))


class BigDiscriminator(nn.Module):
    def __init__(self, size: Size, width: int, num_classes: int, attention: int) -> None:
        super().__init__()
        depth = halvings(size, 4)
        if depth in DOWN:
            channels = [width * n for n in DOWN[depth]]
        else:
            depth = max(1, halvings(size, 7))
            channels = [4 * width] * (depth + 2)
        pairs = enumerate(pairwise([size[2], *channels]))
        self.blocks = nn.ModuleList(BigDownBlock(*pair, down=i < depth, first=i == 0) for i, pair in pairs)
        self.attended = next((i for i in range(depth) if attention == size[0] >> (i + 1)), None)
        self.attention = Attention(channels[self.attended]) if self.attended is not None else None
        self.last, self.embedding = linear(channels[-1], 1), _orthogonal(nn.Embedding(num_classes, channels[-1]))

    def forward(self, x: Any, label: Any) -> Any:
        for i, block in enumerate(self.blocks):
            x = block(x)
            if self.attention is not None and self.attended == i:
                x = self.attention(x)
        x = F.relu(x).float().sum((2, 3))
        return (self.last(x)[:, 0] + (x * self.embedding(label)).sum(1)).float()


def copy_attention(net: Attention, params: Any, spectral: Any) -> None:
    # in the order in which ours makes them
    for i, name in enumerate(("query", "key", "value", "output")):
        put_layer(getattr(net, name), params[name], spectral[f"SpectralNorm_{i}"]["u"])
    put(net.gamma, params["gamma"])


def copy_generator(net: BigGenerator, variables: Any) -> None:
    """Puts parameters and power iterations of `jaxgan.nets.biggan.Generator` with classes into the net."""
    params, spectral = variables["params"], variables["spectral"]
    put(net.embedding.weight, params["embedding"])
    put_layer(net.start, params["Dense_0"], spectral["SpectralNorm_0"]["u"])
    blocks: Any = net.blocks
    for i, block in enumerate(blocks):
        tree, us = params[f"UpBlock_{i}"], spectral[f"UpBlock_{i}"]
        for j, layer in enumerate((block.shortcut, block.conv1, block.conv2)):
            name = ("Convolution_0", "UpsampledConvolution_0", "Convolution_1")[j]
            put_layer(layer, tree[name], us[f"SpectralNorm_{j}"]["u"])
        for j, norm in enumerate((block.norm1, block.norm2)):
            told, its = tree[f"ConditionalBatchNorm_{j}"], us[f"ConditionalBatchNorm_{j}"]
            put_layer(norm.scale, told["Dense_0"], its["SpectralNorm_0"]["u"])
            put_layer(norm.shift, told["Dense_1"], its["SpectralNorm_1"]["u"])
    if net.attention is not None:
        copy_attention(net.attention, params["SelfAttention_0"], spectral["SelfAttention_0"])
    put(net.norm.weight, params["BatchNorm_0"]["BatchNorm_0"]["scale"])
    put(net.norm.bias, params["BatchNorm_0"]["BatchNorm_0"]["bias"])
    put_layer(net.last, params["Convolution_0"], spectral["SpectralNorm_1"]["u"])


def copy_discriminator(net: BigDiscriminator, variables: Any) -> None:
    """Puts parameters and power iterations of `jaxgan.nets.biggan.discriminator` with classes into the net."""
    params, spectral = variables["params"], variables["spectral"]
    for i, block in enumerate(net.blocks):
        name = "FirstBlock_0" if i == 0 else f"DownBlock_{i - 1}"
        tree, us = dict(params[name]), spectral[name]
        layers = [block.conv1, block.conv2] if block.shortcut is None else [block.shortcut, block.conv1, block.conv2]
        plain = iter(f"Convolution_{k}" for k in range(3))
        for j, layer in enumerate(layers):
            merged = layer is block.conv2 and block.down
            put_layer(layer, tree["PooledConvolution_0" if merged else next(plain)], us[f"SpectralNorm_{j}"]["u"])
    if net.attention is not None:
        copy_attention(net.attention, params["SelfAttention_0"], spectral["SelfAttention_0"])
    put_layer(net.last, params["Dense_0"], spectral["SpectralNorm_0"]["u"])
    # ours is a matrix [classes, n] seen from the other side: its u is their v
    table, u = np.asarray(params["Dense_1"]["kernel"]), np.asarray(spectral["SpectralNorm_1"]["u"])
    put_weight(net.embedding, table, table @ u)
