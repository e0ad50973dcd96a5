"""StyleGAN2 in PyTorch, as its users write it, with our borders: the nets of jaxgan/nets/stylegan2.py.

A modulated convolution scales what goes in and what comes out, as the authors' code does in training,
instead of having one group and one set of weights an example. Doubling and halving is, as there, a convolution of
stride 2 with the 3x3 kernel, nine multiplications for a pixel of the smaller image, and a filter.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_layers import (
    Downsample,
    DownsampledConvolution,
    Size,
    Upsample,
    UpsampledConvolution,
    halvings,
    put,
    put_layer,
)
from torch import nn


def activated(x: Any) -> Any:
    return F.leaky_relu(x, 0.2) * 2.0**0.5


class EqualizedLinear(nn.Module):
    def __init__(self, before: int, after: int, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / rate)
        self.bias = nn.Parameter(torch.full((after,), bias / rate))
        self.gain, self.rate = rate / before**0.5, rate

    def forward(self, x: Any) -> Any:
        return F.linear(x, self.weight * self.gain, self.bias * self.rate)


class EqualizedConv2d(nn.Module):
    def __init__(self, before: int, after: int, side: int, down: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, side, side))
        self.bias = nn.Parameter(torch.zeros(after)) if bias else None
        self.gain, self.side = (before * side**2) ** -0.5, side
        self.down = DownsampledConvolution() if down else None

    def forward(self, x: Any) -> Any:
        weight = self.weight * self.gain
        if self.down is not None:
            return self.down(x, weight, self.bias)
        return F.conv2d(x, weight, self.bias, padding=self.side // 2)


class Mapping2(nn.Module):
    """latent [batch, n] -> styles [batch, num_styles, n], nine tenths of them mixed from two latents."""

    def __init__(self, features: int, depth: int, num_styles: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EqualizedLinear(features, features, 0.01) for _ in range(depth)])
        self.num_styles = num_styles
        self.register_buffer("mean", torch.zeros(features))
        self.mean: Any

    def mapped(self, latent: Any) -> Any:
        x = latent * (latent.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            x = activated(layer(x))
        return x.float()

    def forward(self, latent: Any, noisy: bool = True) -> Any:
        w = self.mapped(latent)
        with torch.no_grad():
            self.mean.lerp_(w.mean(0), 0.005)
        styles = w[:, None].expand(-1, self.num_styles, -1)
        if not noisy:
            return styles
        other = self.mapped(torch.randn_like(latent))
        mixed = torch.rand(len(w), 1, device=w.device) < 0.9
        first = torch.randint(1, self.num_styles, (len(w), 1), device=w.device)
        swapped = mixed & (torch.arange(self.num_styles, device=w.device)[None] >= first)
        return torch.where(swapped[:, :, None], other[:, None], styles)


class ModulatedConv2d(nn.Module):
    def __init__(self, before: int, after: int, features: int, side: int, up: bool, demodulate: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, side, side))
        self.style = EqualizedLinear(features, before, bias=1.0)
        self.gain, self.side, self.demodulate = (before * side**2) ** -0.5, side, demodulate
        self.up = UpsampledConvolution() if up else None

    def forward(self, x: Any, w: Any) -> Any:
        style, weight = self.style(w), self.weight * self.gain
        x = x * style[:, :, None, None].to(x.dtype)
        x = F.conv2d(x, weight, padding=self.side // 2) if self.up is None else self.up(x, weight)
        if not self.demodulate:
            return x
        with torch.autocast(x.device.type, enabled=False):
            squares = style.float().square() @ weight.float().square().sum((2, 3)).t()
        return x * (squares + 1e-8).rsqrt()[:, :, None, None].to(x.dtype)


class StyledLayer(nn.Module):
    def __init__(self, before: int, after: int, features: int, sides: tuple[int, int], up: bool) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(before, after, features, 3, up, True)
        self.bias, self.strength = nn.Parameter(torch.zeros(after)), nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, *sides))
        self.noise: Any

    def forward(self, x: Any, w: Any, noisy: bool) -> Any:
        x = self.conv(x, w)
        noise = torch.randn(len(x), 1, *x.shape[2:], device=x.device) if noisy else self.noise
        x = x + (self.strength * noise).to(x.dtype) + self.bias[:, None, None].to(x.dtype)
        return activated(x)


class Colours(nn.Module):
    def __init__(self, before: int, after: int, features: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(before, after, features, 1, False, False)
        self.bias = nn.Parameter(torch.zeros(after))

    def forward(self, x: Any, w: Any) -> Any:
        return self.conv(x, w).float() + self.bias[:, None, None]


class StyleGenerator(nn.Module):
    """latent -> images [batch, channel, height, width]; `noisy` mixes styles and draws noise anew."""

    def __init__(self, size: Size, width: int, max_width: int, features: int, depth: int) -> None:
        super().__init__()
        height, wide, colours = size
        doublings = halvings(size, 4)
        channels = [min(width * 2**i, max_width) for i in reversed(range(doublings + 1))]
        sides = [(height >> i, wide >> i) for i in reversed(range(doublings + 1))]
        self.mapping = Mapping2(features, depth, 2 * doublings + 2)
        self.start = nn.Parameter(torch.randn(1, channels[0], *sides[0]))
        layers = [StyledLayer(channels[0], channels[0], features, sides[0], False)]
        for (before, after), side in zip(pairwise(channels), sides[1:], strict=True):
            layers.append(StyledLayer(before, after, features, side, True))
            layers.append(StyledLayer(after, after, features, side, False))
        self.layers = nn.ModuleList(layers)
        self.upsample = Upsample()
        self.colours = nn.ModuleList([Colours(n, colours, features) for n in channels])

    def forward(self, latent: Any, noisy: bool = True) -> Any:
        w = self.mapping(latent, noisy)
        x = self.start.expand(len(w), -1, -1, -1)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        x = self.layers[0](x, w[:, 0], noisy)
        image = self.colours[0](x, w[:, 1])
        for i in range(1, len(self.colours)):
            x = self.layers[2 * i - 1](x, w[:, 2 * i - 1], noisy)
            x = self.layers[2 * i](x, w[:, 2 * i], noisy)
            with torch.autocast(x.device.type, enabled=False):
                image = self.upsample(image)
            image = image + self.colours[i](x, w[:, 2 * i + 1])
        return image


class StyleBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.downsample, self.shortcut = Downsample(), EqualizedConv2d(before, after, 1, bias=False)
        self.conv1, self.conv2 = EqualizedConv2d(before, before, 3), EqualizedConv2d(before, after, 3, down=True)

    def forward(self, x: Any) -> Any:
        y = activated(self.conv2(activated(self.conv1(x))))
        return (y + self.shortcut(self.downsample(x))) * 0.5**0.5


class StyleDiscriminator(nn.Module):
    def __init__(self, size: Size, width: int, max_width: int, group: int) -> None:
        super().__init__()
        depth = halvings(size, 4)
        channels = [min(width * 2**i, max_width) for i in range(depth + 1)]
        last = channels[-1]
        self.colours = EqualizedConv2d(size[2], channels[0], 1)
        self.blocks = nn.Sequential(*[StyleBlock(*pair) for pair in pairwise(channels)])
        self.conv = EqualizedConv2d(last + 1, last, 3)
        self.sides = (size[0] >> depth, size[1] >> depth)
        self.dense = EqualizedLinear(last * self.sides[0] * self.sides[1], last)
        self.last, self.group = EqualizedLinear(last, 1), group

    def forward(self, x: Any) -> Any:
        x = self.blocks(activated(self.colours(x)))
        group = next(n for n in range(self.group, 0, -1) if len(x) % n == 0)
        grouped = x.float().reshape(group, -1, *x.shape[1:])
        deviation = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        deviation = deviation.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        x = activated(self.conv(torch.cat([x, deviation.to(x.dtype)], 1)))
        return self.last(activated(self.dense(x.flatten(1))))[:, 0].float()


def copy_generator(net: StyleGenerator, variables: Any) -> None:
    """Puts parameters, mean w and held noise of `jaxgan.nets.stylegan2.Generator` into the net."""
    params, held = variables["params"], variables["reference"]["synthesis"]
    for i, layer in enumerate(net.mapping.layers):
        put_layer(layer, params["mapping"][f"layers_{i}"]["layer"])
    put(net.mapping.mean, variables["average"]["mapping"]["w"])
    put(net.start, np.transpose(params["synthesis"]["start"], (2, 0, 1))[None])

    def modulated(layer: Any, tree: Any) -> None:
        put(layer.bias, tree["bias"])
        put_layer(layer.conv, tree["ModulatedConvolution_0"])
        put_layer(layer.conv.style, tree["ModulatedConvolution_0"]["Dense_0"])

    for i, layer in enumerate(net.layers):
        tree = params["synthesis"][f"_StyledLayer_{i}"]
        modulated(layer, tree)
        put(layer.strength, tree["strength"])
        put(layer.noise, np.asarray(held[f"_StyledLayer_{i}"]["noise"])[None, :, :, 0][None])
    for i, layer in enumerate(net.colours):
        modulated(layer, params["synthesis"][f"_Colours_{i}"])


def copy_discriminator(net: StyleDiscriminator, variables: Any) -> None:
    """Puts the parameters of `jaxgan.nets.stylegan2.Discriminator` without classes into the net."""
    params, n = variables["params"], len(net.blocks)
    put_layer(net.colours, params["Convolution_0"])
    for i, block in enumerate(net.blocks):
        put_layer(block.shortcut, params[f"Convolution_{2 * i + 1}"])
        put_layer(block.conv1, params[f"Convolution_{2 * i + 2}"])
        put_layer(block.conv2, params[f"PooledConvolution_{i}"])
    put_layer(net.conv, params[f"Convolution_{2 * n + 1}"])
    # ours flattens [height, width, channel], theirs [channel, height, width]
    kernel = np.asarray(params["Dense_0"]["kernel"])
    sides = net.sides
    put(net.dense.weight, kernel.reshape(*sides, -1, kernel.shape[1]).transpose(3, 2, 0, 1).reshape(kernel.shape[::-1]))
    put(net.dense.bias, params["Dense_0"]["bias"])
    put_layer(net.last, params["Dense_1"])
