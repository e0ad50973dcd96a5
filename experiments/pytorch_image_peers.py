"""The updates of the image families in PyTorch, as its users write them, timed against ours.

Only the benchmark and a test import this, and only where PyTorch is installed. The nets are those of
jaxgan/nets: `copy_parameters` puts our variables into them, and the outputs agree.

Fakes are made once a step and serve both updates, and each backward pass is asked only for the gradients
of the player that moves. R3GAN's penalties are gradients of the very logits that the loss compares, as in its code.
Compiled, a net is run uncompiled where gradients of gradients are taken.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import image_workloads
import pytorch_biggan
import pytorch_r3gan
import pytorch_stylegan2
import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from image_workloads import ImageWorkload

FAMILIES: dict[str, Any] = {"stylegan2": pytorch_stylegan2, "biggan": pytorch_biggan, "r3gan": pytorch_r3gan}


def nets(workload: "ImageWorkload") -> tuple[nn.Module, nn.Module]:
    w = workload
    if w.net == "stylegan2":
        return (
            pytorch_stylegan2.StyleGenerator(w.size, w.width, w.max_width, w.latent, w.mapping_depth),
            pytorch_stylegan2.StyleDiscriminator(w.size, w.width, w.max_width, w.group),
        )
    if w.net == "biggan":
        return (
            pytorch_biggan.BigGenerator(w.size, w.width, w.latent, w.num_classes, w.embedding, w.attention),
            pytorch_biggan.BigDiscriminator(w.size, w.width, w.num_classes, w.attention),
        )
    common = (w.size, w.width, w.blocks, w.group, w.wide_until)
    return pytorch_r3gan.R3Generator(*common, w.latent), pytorch_r3gan.R3Discriminator(*common)


def copy_parameters(workload: "ImageWorkload", pair: tuple[nn.Module, nn.Module], ours: tuple[Any, Any]) -> None:
    """Our variables of G and D into theirs."""
    family = FAMILIES[workload.net]
    family.copy_generator(pair[0], ours[0])
    family.copy_discriminator(pair[1], ours[1])


def discriminator_loss(kind: str, real: Any, fake: Any) -> Any:
    if kind == "hinge":
        return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()
    if kind == "relativistic":
        return F.softplus(fake - real).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(kind: str, real: Any, fake: Any) -> Any:
    if kind == "hinge":
        return -fake.mean()
    return F.softplus(real - fake if kind == "relativistic" else -fake).mean()


def squared_gradient(logits: Any, images: Any) -> Any:
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean()


def player(workload: "ImageWorkload", compiled: bool, device: str, half: bool) -> Callable[[int], None]:
    """A function that plays so many steps and waits for the last; channels last, data in memory as uint8."""
    torch.manual_seed(0)
    w = workload
    placed: dict[str, Any] = {"device": device, "memory_format": torch.channels_last}
    generator, discriminator = (net.to(**placed) for net in nets(w))
    run_g: Any = torch.compile(generator) if compiled else generator
    run_d: Any = torch.compile(discriminator) if compiled else discriminator
    moving = [list(net.parameters()) for net in (generator, discriminator)]
    adams = [
        torch.optim.Adam(params, lr=rate, betas=w.betas, fused=True)
        for params, rate in zip(moving, w.learning_rates, strict=True)
    ]
    pixels, labels = image_workloads.noise(w)
    # images lie in memory as channels last asks for
    data = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
    label = torch.from_numpy(labels).to(device)
    autocast = torch.autocast(device.split(":")[0], torch.bfloat16, enabled=half)
    every_step = (w.r1_weight or w.r2_weight) and w.interval == 1

    def move(player: int, loss: Any) -> None:
        adams[player].zero_grad(set_to_none=True)
        loss.backward(inputs=moving[player])
        adams[player].step()

    def step(index: int) -> None:
        start = index * w.batch % (len(data) - w.batch + 1)
        real = data[start : start + w.batch].float().div(127.5).sub(1.0)
        told = (label[start : start + w.batch],) if w.num_classes else ()
        with autocast:
            fake = run_g(torch.randn(w.batch, w.latent, device=device), *told)
            shown = fake.detach()
            if every_step:
                real, shown = real.requires_grad_(True), shown.requires_grad_(True)
            judge = discriminator if every_step else run_d
            real_logits, fake_logits = judge(real, *told), judge(shown, *told)
            loss = discriminator_loss(w.loss, real_logits, fake_logits)
        if every_step:
            loss = loss + w.r1_weight * squared_gradient(real_logits, real)
            loss = loss + w.r2_weight * squared_gradient(fake_logits, shown)
        move(1, loss)
        real = real.detach()
        if w.interval > 1 and index % w.interval == 0:
            real.requires_grad_(True)
            with autocast:
                logits = discriminator(real, *told)
            move(1, w.interval * w.r1_weight * squared_gradient(logits, real))
            real = real.detach()
        with autocast:
            fake_logits = run_d(fake, *told)
            if w.loss == "relativistic":
                # of the D that has just moved
                with torch.no_grad():
                    real_logits = run_d(real, *told)
            loss = generator_loss(w.loss, real_logits.detach(), fake_logits)
        move(0, loss)

    played = 0

    def play(count: int) -> None:
        nonlocal played
        for index in range(played, played + count):
            step(index)
        played += count
        if device != "cpu":
            torch.cuda.synchronize()

    return play
