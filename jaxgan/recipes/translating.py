"""What systems that translate pictures have in common: words of their flags, their nets, how they are put together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Key
from jaxgan.config import Options, RequestError, at_least
from jaxgan.data.pixels import Lazy
from jaxgan.data.source import DeviceSource, HostSource
from jaxgan.game import Game, Net, State
from jaxgan.games.two_player import collapse_alarm
from jaxgan.nets.adapt import adapt
from jaxgan.nets.layers import BatchNorm, InstanceNorm
from jaxgan.nets.patch import PatchDiscriminator, patch_layers
from jaxgan.nets.translation import ResNetTranslator
from jaxgan.recipes.compatibility import check_layers
from jaxgan.recipes.judging import draw_images
from jaxgan.recipes.judging_translations import some
from jaxgan.recipes.rules import DTYPES, Dtype, Rules
from jaxgan.training.recipe import Evaluation, Recipe, Stage, Translate, Translation

Size = tuple[int, int, int]
Task = Literal["canny", "sobel", "grey", "masked", "low_resolution", "segments", "negative"]
Normalization = Literal["instance", "batch", "none"]
NORMALIZATIONS = {"instance": InstanceNorm, "batch": BatchNorm, "none": None}


@dataclass(frozen=True)
class Translators:
    """The nets of a system between two domains, and how its pictures are shown to them."""

    generator_width: int = 16
    """Channels of a translator at the full resolution; they double with each halving."""
    discriminator_width: int = 32
    """Channels of a discriminator at half the resolution; they double up to eight times as many."""
    blocks: int = 3
    """Residual blocks of a translator."""
    halvings: int = 1
    """How often a translator halves its pictures."""
    patch_layers: int = 0
    """Halvings of a discriminator, 3 for patches of 70 pixels; 0 for what suits the pictures."""
    normalization: Normalization = "instance"
    """Of all nets: of each picture alone, or of a batch."""
    antialias: bool = False
    """Low-pass filters where nets halve and double: CUT's nets have them, CycleGAN's have not."""
    jitter: int = 0
    """Pixels by which a picture is shifted at random, at most."""
    flip: bool = False
    """Mirror half of the pictures."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""

    def __post_init__(self) -> None:
        at_least(self, 1, "generator_width", "discriminator_width", "blocks")
        at_least(self, 0, "halvings", "patch_layers", "jitter")


NETS = Translators()
# the papers' nets for 256x256 pictures
PUBLISHED = Translators(64, 64, blocks=9, halvings=2, patch_layers=3, jitter=30, flip=True)


def translator(nets: Translators, size: Size) -> Net:
    """A residual translator of pictures of this size, (height, width, channel)."""
    normalization, dtype = NORMALIZATIONS[nets.normalization], DTYPES[nets.dtype]
    module = ResNetTranslator(
        size[2],
        nets.generator_width,
        nets.blocks,
        nets.halvings,
        normalization,
        antialias=nets.antialias,
        dtype=dtype,
    )
    return adapt(module, size, couples_batch=nets.normalization == "batch")


def patch_judge(
    rules: Rules,
    size: Size,
    width: int,
    layers: int,
    dtype: Dtype,
    normalization: Normalization = "none",
    source: Size | None = None,
    antialias: bool = False,
) -> Net:
    """A discriminator of patches of pictures of this size, beside their `source` if that has one.

    layers: 0 for what suits the size. antialias: see `PatchDiscriminator`.
    """
    module = PatchDiscriminator(
        width,
        layers or patch_layers(*size[:2]),
        NORMALIZATIONS[normalization],
        rules.spectral_norm == "discriminator",
        antialias,
        DTYPES[dtype],
    )
    shapes = (size,) if source is None else (size, source)
    return adapt(module, *shapes, couples_batch=normalization == "batch")


def domain_judge(nets: Translators, rules: Rules, size: Size) -> Net:
    """A discriminator of patches of one domain's pictures of this size, (height, width, channel), alone."""
    width, layers, dtype = nets.discriminator_width, nets.patch_layers, nets.dtype
    return patch_judge(rules, size, width, layers, dtype, nets.normalization, antialias=nets.antialias)


def check_pictures(rules: Rules, size: Size, system: str) -> None:
    """Refuses rules that these nets have no place for, and pictures that are too small for them."""
    check_layers(rules, system, possible=("spectral_norm",))
    if rules.spectral_norm == "both":
        raise RequestError(f"{system}'s generator has layers of its own: choose --spectral-norm discriminator or none")
    if min(size[:2]) < 8:
        raise RequestError(f"{system} takes pictures of at least 8x8 pixels, got {size[0]}x{size[1]}: give a --size")


def translate_with(net: Net, part: str | None = None, *, noise: bool = False, domain: int | None = None) -> Translate:
    """Pictures through the player "generator", with its averaged parameters where there are any.

    part: of a player that is several nets (`nets.adapt.in_parts`). noise: the net draws from the key, as in
    training. domain: the label that the net is told of every picture.
    """

    def translate(state: State, images: Array, key: Key) -> Array:
        params = state.ema.get("generator", state.params["generator"])
        variables = {"params": params, **state.variables["generator"]}
        if part is not None:
            variables = {name: values[part] for name, values in variables.items() if part in values}
        told = () if domain is None else (jnp.full(images.shape[:1], domain, jnp.int32),)
        return net.apply(variables, images, *told, key=key if noise else None, train=False)[0]

    return translate


def translation_recipe(
    game: Game,
    options: Options,
    source: DeviceSource | HostSource,
    hyper: Mapping[str, float],
    translations: Mapping[str, Translation],
    picture: Callable[[State, Key], np.ndarray],
    evaluation: Evaluation,
    reals: Sequence[np.ndarray | Lazy],
    best: tuple[str, int] = ("frechet_distance", 1),
) -> Recipe:
    """The whole system: a game on pictures, what it translates, how that is drawn, judged and watched.

    reals: sets of pictures of which some make reals.png. best: metric of `evaluation` and sign.
    """
    there = all(len(images) for images in reals)
    return Recipe(
        stages=(Stage(game, options.steps, source, hyper=hyper),),
        translations=translations,
        picture=picture,
        draw=draw_images,
        reals=np.concatenate([some(images, 64 // len(reals)) for images in reals]) if there else None,
        evaluations={"translation": evaluation},
        best=("translation", *best),
        # a discriminator of pairs or patches may well win: what collapses shows in the pictures
        alarm=partial(collapse_alarm, logits_are_odds=False),
    )
