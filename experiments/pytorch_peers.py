"""The nets and updates of the benchmarks in PyTorch, as its users write them: eager modules and torch.optim.

Only the benchmarks import this, and only where PyTorch is installed. Fakes are made once a step and
serve both updates, as in PyTorch's own DCGAN example, and each backward pass is asked only for the
gradients of the player that moves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

if TYPE_CHECKING:
    from benchmark_cpu import Workload


@dataclass(frozen=True)
class Variant:
    """How the same step is run. optimizer: Adam's "fused", "foreach" or "single" implementation."""

    optimizer: str
    channels_last: bool = False
    compiled: bool = False

    @property
    def name(self) -> str:
        words = ["compiled" if self.compiled else "eager", self.optimizer]
        return ", ".join(words + ["channels last"] * self.channels_last)


def variants(workload: "Workload", compiled: bool) -> list[Variant]:
    """The variants worth trying; gradients of gradients do not compile."""
    images = workload.net != "ring"
    tried = [Variant("fused", images), Variant("foreach", images)]
    tried += [Variant("fused")] if images else [Variant("single")]
    if compiled and workload.penalty is None and workload.members == 1:
        tried.append(Variant("fused", images, compiled=True))
    return tried


def mlp(inputs: int, outputs: int, width: int, activation: Callable[[], nn.Module]) -> nn.Module:
    sizes = [inputs, width, width, width]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def normalization(kind: str, features: int) -> list[nn.Module]:
    if kind == "batch":
        return [nn.BatchNorm2d(features)]
    return [nn.GroupNorm(1, features)] if kind == "layer" else []


def dcgan_generator(size: tuple[int, int, int], width: int, depth: int, latent: int) -> nn.Module:
    height, _, channels = size
    features = [min(width * 2**i, 512) for i in reversed(range(depth))]
    side = height // 2**depth
    layers: list[nn.Module] = [
        nn.Linear(latent, side * side * features[0], bias=False),
        nn.Unflatten(1, (features[0], side, side)),
    ]
    for i in range(depth):
        last = i == depth - 1
        after = channels if last else features[i + 1]
        layers += [nn.BatchNorm2d(features[i]), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(features[i], after, 4, 2, 1, bias=last)]
    return nn.Sequential(*layers, nn.Tanh())


def dcgan_discriminator(size: tuple[int, int, int], width: int, depth: int, kind: str) -> nn.Module:
    height, _, channels = size
    layers: list[nn.Module] = []
    before = channels
    for i in range(depth):
        after = min(width * 2**i, 512)
        normalized = normalization(kind, after) if i else []
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=not normalized), *normalized]
        # in place would overwrite what the gradient of a gradient still needs
        layers += [nn.LeakyReLU(0.2)]
        before = after
    side = height // 2**depth
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * side * side, 1), nn.Flatten(0))


class GeneratorBlock(nn.Module):
    """Upsampling residual block: BN, ReLU, nearest doubling, 3x3, BN, ReLU, 3x3; shortcut doubled and 1x1."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv1, self.conv2 = nn.Conv2d(before, after, 3, 1, 1), nn.Conv2d(after, after, 3, 1, 1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Any) -> Any:
        y = self.conv1(F.interpolate(F.relu(self.norm1(x)), scale_factor=2, mode="nearest"))
        y = self.conv2(F.relu(self.norm2(y)))
        # the 1x1 convolution before the doubling: the same numbers for a quarter of the work
        return y + F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")


class DiscriminatorBlock(nn.Module):
    """Residual block: (ReLU,) 3x3, ReLU, 3x3 (, mean of 2x2); shortcut 1x1 where the shape changes."""

    def __init__(self, before: int, after: int, down: bool, first: bool, spectral: bool) -> None:
        super().__init__()
        weigh = spectral_norm if spectral else lambda layer: layer
        self.conv1 = weigh(nn.Conv2d(before, after, 3, 1, 1))
        self.conv2 = weigh(nn.Conv2d(after, after, 3, 1, 1))
        self.shortcut = weigh(nn.Conv2d(before, after, 1)) if down or before != after else None
        self.down, self.first = down, first

    def forward(self, x: Any) -> Any:
        y = self.conv1(x if self.first else F.relu(x))
        y = self.conv2(F.relu(y))
        short = x
        if self.down:
            # the mean before the 1x1 convolution: the same numbers for a quarter of the work
            y, short = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
        return y + (short if self.shortcut is None else self.shortcut(short))


def resnet_generator(size: tuple[int, int, int], width: int, depth: int, latent: int) -> nn.Module:
    side = size[0] // 2**depth
    blocks = [GeneratorBlock(width, width) for _ in range(depth)]
    return nn.Sequential(
        nn.Linear(latent, side * side * width),
        nn.Unflatten(1, (width, side, side)),
        *blocks,
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, size[2], 3, 1, 1),
        nn.Tanh(),
    )


class ResnetDiscriminator(nn.Module):
    """Two blocks that halve, the rest that do not, ReLU, sum over positions, one logit."""

    def __init__(self, size: tuple[int, int, int], width: int, depth: int, spectral: bool) -> None:
        super().__init__()
        halving = depth - 1
        blocks = [DiscriminatorBlock(size[2], width, True, True, spectral)]
        blocks += [DiscriminatorBlock(width, width, i < halving, False, spectral) for i in range(1, halving + 2)]
        self.blocks = nn.Sequential(*blocks)
        last = nn.Linear(width, 1)
        self.last = spectral_norm(last) if spectral else last

    def forward(self, x: Any) -> Any:
        return self.last(F.relu(self.blocks(x)).sum((2, 3)))[:, 0]


def nets(workload: "Workload") -> tuple[nn.Module, nn.Module]:
    w = workload
    if w.net == "ring":
        return mlp(w.latent, 2, w.width, nn.ReLU), nn.Sequential(
            mlp(2, 1, w.width, lambda: nn.LeakyReLU(0.2)), nn.Flatten(0)
        )
    if w.net == "dcgan":
        return (
            dcgan_generator(w.size, w.width, w.depth, w.latent),
            dcgan_discriminator(w.size, w.width, w.depth, w.normalization),
        )
    return (
        resnet_generator(w.size, w.width, w.depth, w.latent),
        ResnetDiscriminator(w.size, w.width, w.depth, w.normalization == "spectral"),
    )


def discriminator_loss(kind: str, real: Any, fake: Any) -> Any:
    if kind == "hinge":
        return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()
    if kind == "wasserstein":
        return fake.mean() - real.mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(kind: str, fake: Any) -> Any:
    return F.softplus(-fake).mean() if kind == "non_saturating" else -fake.mean()


def penalty(kind: str, weight: float, critic: nn.Module, real: Any, fake: Any) -> Any:
    if kind == "r1":
        images = real.detach().requires_grad_(True)
    else:
        share = torch.rand((len(real),) + (1,) * (real.ndim - 1), device=real.device, dtype=real.dtype)
        images = (share * real + (1.0 - share) * fake).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    squared = gradient.float().square().flatten(1).sum(1)
    return weight * (squared if kind == "r1" else (squared.sqrt() - 1.0).square()).mean()


def player(
    workload: "Workload", variant: Variant, device: str = "cpu", half: bool = False, examples: int = 2048
) -> Callable[[int], None]:
    """A function that plays so many steps and waits for the last; data are in memory as the nets read them."""
    torch.manual_seed(0)
    w = workload
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    placed: dict[str, Any] = {"device": device, "memory_format": layout}
    generator, discriminator = (net.to(**placed) for net in nets(w))
    run_g: Any = generator
    run_d: Any = discriminator
    if variant.compiled:
        run_g, run_d = torch.compile(generator), torch.compile(discriminator)
    how = {"fused": {"fused": True}, "foreach": {"foreach": True}, "single": {"foreach": False}}[variant.optimizer]
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=w.learning_rate, betas=w.betas, **how)
        for net in (generator, discriminator)
    ]
    examples = max(examples, 2 * w.batch)
    if w.net == "ring":
        data = torch.randn(examples, 2, device=device)
    else:
        height, width, channels = w.size
        data = torch.rand(examples, channels, height, width, device=device).mul_(2).sub_(1).to(memory_format=layout)
    moving = [list(generator.parameters()), list(discriminator.parameters())]
    autocast = torch.autocast(device.split(":")[0], torch.bfloat16, enabled=half)

    def step(index: int) -> None:
        start = index * w.batch % (examples - w.batch + 1)
        real = data[start : start + w.batch]
        with autocast:
            with torch.set_grad_enabled(w.generator_moves):
                fake = run_g(torch.randn(w.batch, w.latent, device=device))
            detached = fake.detach().contiguous(memory_format=layout) if fake.ndim == 4 else fake.detach()
            loss = discriminator_loss(w.loss, run_d(real), run_d(detached))
            if w.penalty is not None:
                loss = loss + penalty(w.penalty, w.penalty_weight, run_d, real, detached)
        optimizers[1].zero_grad(set_to_none=True)
        loss.backward(inputs=moving[1])
        optimizers[1].step()
        if w.generator_moves:
            with autocast:
                loss = generator_loss(w.loss, run_d(fake))
            optimizers[0].zero_grad(set_to_none=True)
            loss.backward(inputs=moving[0])
            optimizers[0].step()

    def play(count: int) -> None:
        for index in range(count):
            step(index)
        if device != "cpu":
            torch.cuda.synchronize()

    return play


def matmul_peak(device: str, half: bool, side: int = 8192, rounds: int = 10) -> float:
    """Floating-point operations a second of a square matrix product, the fastest of some rounds."""
    import time

    a = torch.randn(side, side, device=device, dtype=torch.bfloat16 if half else torch.float32)
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        a @ a
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best
