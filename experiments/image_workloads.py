"""StyleGAN2, BigGAN and R3GAN as steps to be timed: their nets at the published widths, and our side of them.

Losses are the published ones in a simple form that pytorch_image_peers.py shares: non-saturating with R1 at every
16th step, a move of D's own (StyleGAN2, without path length; style mixing is in), hinge with one step of D for one
of G (BigGAN, without orthogonal regularisation), relativistic pairing with R1 and R2 at every step (R3GAN). Adam, no
averaged weights, no augmentation.

    stylegan2     the `paper256` configuration of the ADA code: channels 16384 / side, 512 at most, a mapping of 8
    biggan        ch = 96, 1000 classes, attention at 32 or 64 pixels, latents of 20 or 24 dimensions a chunk
    r3gan         the authors' presets FFHQ-64 and FFHQ-256: 768 channels up to 32 pixels, halved beyond
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

LAZY_INTERVAL = 16


@dataclass(frozen=True)
class ImageWorkload:
    """One step to be timed.

    width, max_width, group: channels at the largest side and at most, and of the deviation (StyleGAN2);
        ch (BigGAN); channels up to sides of `wide_until`, `blocks` a side, channels in a group (R3GAN).
    attention: the height at which BigGAN's nets attend. embedding: of its classes.
    learning_rates: of G and D. r1_weight, r2_weight: half of the published gamma.
    interval: the penalties act at each so-manieth step, that much heavier.
    """

    net: str
    batch: int
    size: tuple[int, int, int]
    width: int
    latent: int
    loss: str
    learning_rates: tuple[float, float]
    betas: tuple[float, float]
    max_width: int = 512
    mapping_depth: int = 8
    group: int = 8
    num_classes: int = 0
    embedding: int = 128
    attention: int = 0
    blocks: int = 2
    wide_until: int = 32
    r1_weight: float = 0.0
    r2_weight: float = 0.0
    interval: int = 1


def _workloads() -> dict[str, ImageWorkload]:
    small, large = (64, 64, 3), (256, 256, 3)
    stylegan2 = ImageWorkload(
        "stylegan2", 64, small, 256, 512, "non_saturating", (2.5e-3, 2.5e-3), (0.0, 0.99),
        r1_weight=0.5, interval=LAZY_INTERVAL,
    )  # fmt: skip
    biggan = ImageWorkload(
        "biggan", 64, small, 96, 120, "hinge", (5e-5, 2e-4), (0.0, 0.999), num_classes=1000, attention=32
    )
    r3gan = ImageWorkload(
        "r3gan", 64, small, 768, 64, "relativistic", (2e-4, 2e-4), (0.0, 0.99), group=16, r1_weight=1.0, r2_weight=1.0
    )
    sizes = {
        "stylegan2-64x64": (stylegan2, (64, 256)),
        "stylegan2-256x256": (replace(stylegan2, size=large, width=64), (16, 32, 64)),
        "biggan-64x64": (biggan, (64, 256)),
        "biggan-256x256": (replace(biggan, size=large, latent=140, attention=64), (16, 32, 64)),
        "r3gan-64x64": (r3gan, (64, 256)),
        "r3gan-256x256": (replace(r3gan, size=large, r1_weight=75.0, r2_weight=75.0), (16, 32, 64)),
    }
    return {f"{name}-{n}": replace(w, batch=n) for name, (w, batches) in sizes.items() for n in batches}


IMAGE_WORKLOADS = _workloads()


def tiny_images(workload: ImageWorkload) -> ImageWorkload:
    """The same in small: 8 pixels for 64, 16 for 256."""
    w, side = workload, 8 if workload.size[0] == 64 else 16
    return replace(
        w,
        batch=4,
        size=(side, side, w.size[2]),
        width=4,
        max_width=8,
        latent=12,
        mapping_depth=2,
        group=4 if w.net == "stylegan2" else 2,
        num_classes=min(w.num_classes, 5),
        embedding=6,
        attention=side // 2 if w.attention else 0,
        blocks=1,
        wide_until=8,
        r1_weight=min(w.r1_weight, 1.0),
        r2_weight=min(w.r2_weight, 1.0),
        interval=min(w.interval, 2),
    )


def our_modules(workload: ImageWorkload, dtype: Any = None) -> tuple[Any, Any]:
    """Generator and discriminator, linen modules."""
    import jax.numpy as jnp

    from jaxgan.nets import biggan, r3gan, stylegan2

    w, dtype = workload, jnp.float32 if dtype is None else dtype
    told: dict[str, Any] = {"num_classes": w.num_classes, "dtype": dtype}
    if w.net == "stylegan2":
        number = stylegan2.num_styles(w.size)
        mapping = stylegan2.Mapping(number, w.latent, w.mapping_depth, dtype=dtype)
        return (
            stylegan2.Generator(mapping, stylegan2.Synthesis(w.size, w.width, w.max_width, dtype=dtype)),
            stylegan2.Discriminator(w.size, w.width, w.max_width, group=w.group, dtype=dtype),
        )
    if w.net == "biggan":
        return (
            biggan.Generator(w.size, w.width, embedding=w.embedding, attention=w.attention, **told),
            biggan.discriminator(w.size, w.width, attention=w.attention, **told),
        )
    shared = {"blocks": w.blocks, "group_width": w.group, "wide_until": w.wide_until, **told}
    return r3gan.Generator(w.size, w.width, **shared), r3gan.Discriminator(w.size, w.width, **shared)


def our_nets(workload: ImageWorkload, dtype: Any = None) -> tuple[Any, Any]:
    """Generator and discriminator as `Net`. StyleGAN2's penalty is, as published, of a D that compares examples."""
    from jaxgan.nets.adapt import adapt

    generator, discriminator = our_modules(workload, dtype)
    label: tuple[tuple[int, ...], ...] = ((),) if workload.num_classes else ()
    return (
        adapt(generator, (workload.latent,), *label, couples_batch=workload.net == "biggan"),
        adapt(discriminator, workload.size, *label),
    )


def our_stage(workload: ImageWorkload, dtype: Any = None) -> Any:
    """The workload as a stage of training, from the library's public parts."""
    import optax

    from jaxgan.data import batches, images
    from jaxgan.game import Player
    from jaxgan.games.two_player import gradient_penalty, two_player
    from jaxgan.latent import normal_prior
    from jaxgan.losses import adversarial, penalties
    from jaxgan.training.recipe import Stage

    w = workload
    pixels, label = noise(w)
    classes = tuple(str(i) for i in range(w.num_classes))
    data = images.Images("noise", pixels, label if classes else None, None, None, classes, "")
    generator, discriminator = our_nets(w, dtype)
    weights: dict[Callable, float] = {penalties.r1: w.r1_weight, penalties.r2: w.r2_weight}
    terms = [gradient_penalty(penalty, weight, discriminator) for penalty, weight in weights.items() if weight]
    adams = [optax.adam(rate, b1=w.betas[0], b2=w.betas[1]) for rate in w.learning_rates]
    game = two_player(
        Player(generator, adams[0]),
        Player(discriminator, adams[1]),
        getattr(adversarial, w.loss),
        normal_prior(w.latent),
        condition="label" if w.num_classes else None,
        lazy_terms=terms,
        lazy_interval=w.interval,
    )
    return Stage(game, 10**9, batches.image_batches(data, w.batch, seed=0))


def noise(workload: ImageWorkload) -> tuple[np.ndarray, np.ndarray]:
    """The data of both sides: uint8 images [n, height, width, channel] and labels int32 [n]."""
    draw, n = np.random.default_rng(0), max(256, 2 * workload.batch)
    pixels = draw.integers(0, 256, (n, *workload.size), np.uint8)
    return pixels, draw.integers(0, max(workload.num_classes, 1), n).astype(np.int32)
