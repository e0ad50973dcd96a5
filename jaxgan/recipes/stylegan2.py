"""StyleGAN2: styles that modulate every convolution, a smooth space of them, augmentation that follows D.

Karras, Laine, Aittala, Hellsten, Lehtinen, Aila, "Analyzing and Improving the Image Quality of StyleGAN", 2020,
arXiv 1912.04958; Karras, Aittala, Hellsten, Laine, Lehtinen, Aila, "Training Generative Adversarial Networks with
Limited Data" (ADA), 2020, arXiv 2006.06676.

    jaxgan train stylegan2                            real 8x8 digits
    jaxgan train stylegan2 --augmentation ada         the same, D's images augmented as far as it overfits
    jaxgan train stylegan2 --preset paper             CIFAR-10 with the numbers of ADA: an accelerator

The generator is a mapping of latents to styles and a synthesis from styles. R1 acts at every 16th step and path
length, with --path-length-weight 2, at every 4th; `sample --truncation` moves styles towards their running mean.
Preset `paper` is the configuration that ADA tuned for CIFAR-10 without classes (appendix D.1): no style mixing, no
path length, R1 of gamma 0.01 (`r1_weight` is half of it), the average's half-life 500,000 images. It differs from
that code in D, which is residual here, in the layer by layer noise in use, which is one and the same for all images,
in interpolating where augmented images are resampled, and in Adam's beta2, which stays 0.99 for lazy penalties; its
numbers are from memory and were not checked against the text.

Expected of the defaults, seed 0, in four minutes on one busy CPU core: 97.8 per cent of the samples recognised by the
data set's classifier, 99 as the class that was asked for, precision 0.90 and recall 0.35, Frechet distance 10.4 on its
features (`dcgan` has 1.7: styles have little to do at 8 pixels). Path length and style mixing are off: with them, and
a D as slow as G, each class became nearly one picture (recall 0.0007, distance 47).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp

from jaxgan.arrays import Array
from jaxgan.config import Options, Preset, RequestError, at_least
from jaxgan.dynamics import accumulate
from jaxgan.game import Game, State
from jaxgan.games.path_length import with_path_length
from jaxgan.latent import normal_prior, truncate
from jaxgan.nets import stylegan2
from jaxgan.nets.adapt import adapt, rematerialized
from jaxgan.recipes.classic import classes_told, image_recipe, seen_shape
from jaxgan.recipes.compatibility import check_layers
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.rules import DTYPES, Dtype, Rules
from jaxgan.training.recipe import Recipe

PATH_LENGTH_INTERVAL = 4

RULES = Rules(
    r1_weight=0.05,
    penalty_interval=16,
    # a D as slow as G lets each class become one picture
    generator_learning_rate=2e-3,
    discriminator_learning_rate=1e-2,
    learning_rate_decay="cosine",
    beta1=0.0,
    beta2=0.99,
    ema_decay=0.995,
)


@dataclass(frozen=True)
class Config:
    latent: int = 64
    """Dimensions of the latent."""
    style_width: int = 64
    """Dimensions of a style w."""
    mapping_depth: int = 2
    """Layers from latents to styles; of the class's mapping in D as many."""
    generator_width: int = 32
    """Channels of the generator at the largest resolution; they double towards the smallest."""
    discriminator_width: int = 32
    """Channels of the discriminator at the largest resolution, likewise."""
    max_width: int = 64
    """Channels at most."""
    style_mixing: float = 0.0
    """Share of the training samples that take their styles from two latents."""
    path_length_weight: float = 0.0
    """Weight of path length regularisation, 0 for none."""
    deviation_group: int = 4
    """Examples that D compares with one another by their deviation, 0 for no such layer."""
    ema_images: float = 0.0
    """Images in which the past loses half of its weight in the generator's average; 0 for --ema-decay instead."""
    ema_ramp: float = 0.05
    """That number of images is at most this share of the images so far; 0 for all of it at once."""
    conditional: Literal["auto", "yes", "no"] = "auto"
    """Tell both nets the class; auto where the data have labels."""
    flip: bool = False
    """Mirror half of the images (not for digits)."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, styles, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "latent", "style_width", "mapping_depth", "generator_width", "discriminator_width")
        at_least(self, 1, "max_width")
        at_least(self, 0, "path_length_weight", "deviation_group", "ema_images", "ema_ramp")
        if not 0 <= self.style_mixing <= 1:
            raise RequestError(f"--style-mixing lies in [0, 1], got {self.style_mixing}")
        check_layers(self.rules, "stylegan2")
        if self.ema_images and self.rules.ema_decay:
            raise RequestError("the generator is averaged one way: leave --ema-images or --ema-decay at 0")
        if self.path_length_weight and self.rules.dynamics != "alternating":
            raise RequestError(
                "path length is a move of its own: choose --path-length-weight 0 or --dynamics alternating"
            )


PRESETS = {
    "cpu": Preset(Config(), Options(steps=3000, batch=64, data="digits", evaluate_every=1000)),
    "paper": Preset(
        Config(
            latent=512,
            style_width=512,
            mapping_depth=2,
            generator_width=512,
            discriminator_width=512,
            max_width=512,
            style_mixing=0.0,
            path_length_weight=0.0,
            deviation_group=32,
            ema_images=500_000.0,
            conditional="no",
            rules=Rules(
                r1_weight=0.005,
                penalty_interval=16,
                augmentation="ada",
                # 2.5e-3 times k / (k + 1), as Karras et al. 2020 (appendix B) have it for penalties at every k-th step
                generator_learning_rate=2.5e-3 * 4 / 5,
                discriminator_learning_rate=2.5e-3 * 16 / 17,
                beta1=0.0,
                beta2=0.99,
            ),
        ),
        Options(steps=1_562_500, batch=64, data="cifar10", sample_every=5000, save_every=10_000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    images, rules = need_images(data), config.rules
    num_classes = classes_told(config.conditional, images)
    dtype, label = DTYPES[config.dtype], ((),) if num_classes else ()
    prior, number = normal_prior(config.latent), stylegan2.num_styles(images.size)
    to_style = stylegan2.Mapping(
        number, config.style_width, config.mapping_depth, num_classes, config.style_mixing, dtype
    )
    to_images = stylegan2.Synthesis(images.size, config.generator_width, config.max_width, dtype)
    seen = seen_shape(images.size, rules)
    discriminator = stylegan2.Discriminator(
        seen,
        config.discriminator_width,
        config.max_width,
        num_classes,
        config.mapping_depth,
        config.deviation_group,
        dtype,
    )
    mapping = adapt(to_style, (config.latent,), *label)
    synthesis = adapt(to_images, (number, config.style_width))
    recipe = image_recipe(
        rules,
        adapt(stylegan2.Generator(to_style, to_images), (config.latent,), *label),
        adapt(discriminator, seen, *label, couples_batch=config.deviation_group > 1),
        prior,
        options,
        images,
        num_classes,
        config.flip,
        coupled_penalties=True,
    )
    (stage,) = recipe.stages
    game = stage.game
    if config.ema_images:
        game = _averaged_by_images(game, config, options.batch)
    if config.path_length_weight:
        w_net, image_net = (rematerialized(net) if rules.rematerialize else net for net in (mapping, synthesis))
        whole = with_path_length(
            game,
            w_net,
            image_net,
            prior,
            "path_length_weight",
            interval=PATH_LENGTH_INTERVAL,
            condition="label" if num_classes else None,
        )
        own = replace(whole, updates=whole.updates[-1:])
        if rules.accumulation > 1:
            # as the moves of `game` are already; the running mean then moves with each part
            own = accumulate(own, rules.accumulation)
        game = replace(whole, updates=(*game.updates, *own.updates))
    hyper = {**stage.hyper, "path_length_weight": config.path_length_weight}

    def part(state: State, name: str) -> dict[str, Any]:
        params = state.ema.get("generator", state.params["generator"])
        running = state.variables["generator"]
        return {"params": params[name], **{kind: tree[name] for kind, tree in running.items() if name in tree}}

    def style(state: State, inputs: Any) -> Array:
        latent, *told = inputs if isinstance(inputs, tuple) else (inputs,)
        # in use the styles of all layers are one
        return mapping.apply(part(state, "mapping"), latent, *told, train=False)[0][:, 0]

    def synthesize(state: State, w: Array) -> Array:
        made: Array = synthesis.apply(part(state, "synthesis"), w, train=False)[0]
        return made

    def generate(state: State, inputs: Any, truncation: float) -> Array:
        mean = state.variables["generator"]["average"]["mapping"]["w"]
        return synthesize(state, truncate(style(state, inputs), truncation, mean[None]))

    return replace(
        recipe,
        stages=(replace(stage, game=game, hyper=hyper),),
        generate=generate,
        style=style,
        synthesize=synthesize,
    )


def _averaged_by_images(game: Game, config: Config, batch: int) -> Game:
    """The game whose generator is averaged with a half-life in images."""
    # path length is a further move of the generator, at which its average moves, too
    moves = 1.0 + (1.0 / PATH_LENGTH_INTERVAL if config.path_length_weight else 0.0)

    def decay(step: Array) -> Array:
        half_life: Any = config.ema_images
        if config.ema_ramp:
            half_life = jnp.minimum(half_life, step * batch * config.ema_ramp)
        return 0.5 ** (batch / moves / jnp.maximum(half_life, 1e-8))

    averaged: Callable[[Array], Array] = decay
    generator = replace(game.players["generator"], ema_decay=averaged)
    return replace(game, players={**game.players, "generator": generator})
