"""R3GAN in PyTorch, as its users write it: the nets of jaxgan/nets/r3gan.py."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_layers import Downsample, Size, Upsample, halvings, put, put_layer
from torch import nn

LEAKY_GAIN = (2.0 / (1.0 + 0.2**2)) ** 0.5


def plain_conv(before: int, after: int, side: int = 1, groups: int = 1, gain: float = 1.0) -> nn.Conv2d:
    layer = nn.Conv2d(before, after, side, padding=side // 2, groups=groups, bias=False)
    nn.init.normal_(layer.weight, std=gain * (before // groups * side**2) ** -0.5)
    return layer


class BiasedActivation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Any) -> Any:
        return F.leaky_relu(x + self.bias[:, None, None].to(x.dtype), 0.2)


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, group_width: int, gain: float) -> None:
        super().__init__()
        inner = 2 * channels
        self.conv1 = plain_conv(channels, inner, gain=gain)
        self.act1, self.act2 = BiasedActivation(inner), BiasedActivation(inner)
        self.conv2 = plain_conv(inner, inner, 3, inner // group_width, gain)
        self.conv3 = plain_conv(inner, channels, gain=0.0)

    def forward(self, x: Any) -> Any:
        return x + self.conv3(self.act2(self.conv2(self.act1(self.conv1(x)))))


class R3Net(nn.Module):
    """What both nets are made of: `blocks` at each side, and 1x1 convolutions where the channels change."""

    def __init__(self, size: Size, width: int, blocks: int, group_width: int, wide_until: int) -> None:
        super().__init__()
        depth = halvings(size, 4)
        self.sides = [(size[0] >> i, size[1] >> i) for i in reversed(range(depth + 1))]
        channels = [max(1, width * wide_until // max(wide_until, *side)) for side in self.sides]
        gain = LEAKY_GAIN * ((depth + 1) * blocks) ** -0.25
        self.channels = self.ordered(channels)
        self.stages = nn.ModuleList(
            nn.Sequential(*[ResidualBlock(n, group_width, gain) for _ in range(blocks)]) for n in self.channels
        )
        self.changes = nn.ModuleList(
            nn.Identity() if before == after else plain_conv(before, after) for before, after in pairwise(self.channels)
        )

    def ordered(self, channels: list[int]) -> list[int]:
        return channels


class R3Generator(R3Net):
    def __init__(self, size: Size, width: int, blocks: int, group_width: int, wide_until: int, latent: int) -> None:
        super().__init__(size, width, blocks, group_width, wide_until)
        self.basis = nn.Parameter(torch.randn(self.channels[0], *self.sides[0]))
        self.upsample = Upsample()
        self.strength = nn.Linear(latent, self.channels[0], bias=False)
        nn.init.normal_(self.strength.weight, std=latent**-0.5)
        self.last = plain_conv(self.channels[-1], size[2])

    def forward(self, latent: Any) -> Any:
        strength = self.strength(latent)
        x = self.stages[0](self.basis[None].to(strength.dtype) * strength[:, :, None, None])
        for change, stage in zip(self.changes, self.stages[1:], strict=True):
            x = stage(self.upsample(change(x)))
        return self.last(x).float()


class R3Discriminator(R3Net):
    def __init__(self, size: Size, width: int, blocks: int, group_width: int, wide_until: int) -> None:
        super().__init__(size, width, blocks, group_width, wide_until)
        self.downsample = Downsample()
        self.first = plain_conv(size[2], self.channels[0])
        height, wide = self.sides[0]
        self.basis = nn.Parameter(torch.randn(self.channels[-1], height, wide) / (height * wide) ** 0.5)
        self.last = nn.Linear(self.channels[-1], 1, bias=False)

    def ordered(self, channels: list[int]) -> list[int]:
        return channels[::-1]

    def forward(self, x: Any) -> Any:
        x = self.stages[0](self.first(x))
        for change, stage in zip(self.changes, self.stages[1:], strict=True):
            x = stage(change(self.downsample(x)))
        x = (x * self.basis[None].to(x.dtype)).sum((2, 3))
        return self.last(x)[:, 0].float()


def _copy_stages(net: R3Net, params: Any, first: int) -> None:
    stages: Any = net.stages
    blocks = [block for stage in stages for block in stage]
    for i, block in enumerate(blocks):
        tree = params[f"Block_{i}"]
        put_layer(block.conv1, tree["Convolution_0"])
        put_layer(block.conv2, tree["GroupedConvolution_0"])
        put_layer(block.conv3, tree["Convolution_1"])
        put(block.act1.bias, tree["BiasedActivation_0"]["bias"])
        put(block.act2.bias, tree["BiasedActivation_1"]["bias"])
    for i, change in enumerate(change for change in net.changes if not isinstance(change, nn.Identity)):
        put_layer(change, params[f"Convolution_{first + i}"])


def copy_generator(net: R3Generator, variables: Any) -> None:
    """Puts the parameters of `jaxgan.nets.r3gan.Generator` without classes into the net."""
    params = variables["params"]
    put(net.basis, np.transpose(params["GenerativeBasis_0"]["basis"], (2, 0, 1)))
    put_layer(net.strength, params["GenerativeBasis_0"]["Dense_0"])
    _copy_stages(net, params, 0)
    count = sum(name.startswith("Convolution_") for name in params)
    put_layer(net.last, params[f"Convolution_{count - 1}"])


def copy_discriminator(net: R3Discriminator, variables: Any) -> None:
    """Puts the parameters of `jaxgan.nets.r3gan.Discriminator` without classes into the net."""
    params = variables["params"]
    put_layer(net.first, params["Convolution_0"])
    _copy_stages(net, params, 1)
    put(net.basis, np.transpose(params["DiscriminativeBasis_0"]["basis"], (2, 0, 1)))
    put_layer(net.last, params["Dense_0"])
