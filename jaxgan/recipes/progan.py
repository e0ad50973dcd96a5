"""ProGAN: both nets grow from 4 pixels to the whole picture, each new resolution fading in over the one before.

Karras, Aila, Laine, Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and Variation", ICLR
2018, arXiv 1710.10196.

    jaxgan train progan                      real 8x8 digits: 4 pixels, then 8
    jaxgan train progan --preset paper       CIFAR-10 with the paper's nets and numbers: an accelerator

A resolution is a stage of the run: fade_steps in which alpha, the share of the new layers in both nets and of the
new detail in the real images, goes from 0 to 1, and steady_steps at 1; the last stage goes on to the end. A run too
short for the whole resolution is refused. Parameters and averages are carried into the next stage, optimizers begin
anew. Samples of a lower resolution have each pixel repeated, so that sheets and evaluations see one size.

D looks at groups of `deviation_group` examples together, so its gradient penalty is that of the sum of their logits,
as in the authors' code. Preset `paper`: their schedule for one GPU at 16 images a batch (800,000 images for each
half of a stage). Told the class, D adds the product of its features with the class's vector; there it has a classifier.

Expected of the defaults, seed 0, in four minutes on one busy CPU core: 94 per cent of the samples recognised by the
data set's classifier, 97 as the class that was asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Batch, Key
from jaxgan.config import Options, Preset, RequestError, at_least
from jaxgan.data.batches import image_batches
from jaxgan.data.source import BatchFn
from jaxgan.game import Net, State
from jaxgan.games.two_player import Round
from jaxgan.latent import labelled, normal_prior, truncate
from jaxgan.nets import progressive
from jaxgan.nets.adapt import adapt
from jaxgan.nets.progressive import doubled, halved, level_of
from jaxgan.recipes.classic import Heads, classes_told, classic_game, staged
from jaxgan.recipes.compatibility import check_layers
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.judging import Generate
from jaxgan.recipes.rules import DTYPES, Dtype, Rules, numbers
from jaxgan.training.recipe import Recipe, Stage

RULES = Rules(
    r1_weight=0.1,
    generator_learning_rate=2e-3,
    discriminator_learning_rate=2e-3,
    learning_rate_decay="cosine",
    beta1=0.0,
    beta2=0.99,
    ema_decay=0.995,
)


@dataclass(frozen=True)
class Config:
    latent: int = 64
    """Dimensions of the latent."""
    generator_width: int = 32
    """Channels of the generator."""
    discriminator_width: int = 32
    """Channels of the discriminator."""
    wide_until: int = 32
    """Sides from which on channels halve with every doubling."""
    fade_steps: int = 500
    """Steps over which a new resolution fades in."""
    steady_steps: int = 500
    """Steps at each resolution besides, but for the last, which goes on to the end."""
    deviation_group: int = 4
    """Examples that D compares with one another by their deviation, at most; 0 for no such layer."""
    drift_weight: float = 0.0
    """Weight of D's squared logits of reals, which keeps a Wasserstein critic near 0; 0 for none."""
    conditional: Literal["auto", "yes", "no"] = "auto"
    """Tell both nets the class; auto where the data have labels."""
    flip: bool = False
    """Mirror half of the images (not for digits)."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "latent", "generator_width", "discriminator_width", "wide_until", "steady_steps")
        at_least(self, 0, "fade_steps", "deviation_group", "drift_weight")
        check_layers(self.rules, "progan")
        if self.rules.packing > 1:
            raise RequestError(
                "progan tells D its alpha once for each example, not for each pack: leave --packing at 1"
            )


PRESETS = {
    "cpu": Preset(Config(), Options(steps=4000, batch=64, data="digits", evaluate_every=1000)),
    "paper": Preset(
        Config(
            latent=512,
            generator_width=512,
            discriminator_width=512,
            fade_steps=50_000,
            steady_steps=50_000,
            deviation_group=16,
            drift_weight=0.001,
            conditional="no",
            rules=Rules(
                loss="wasserstein",
                gradient_penalty_weight=10.0,
                generator_learning_rate=1e-3,
                discriminator_learning_rate=1e-3,
                beta1=0.0,
                beta2=0.99,
                ema_decay=0.999,
            ),
        ),
        Options(steps=1_187_500, batch=16, data="cifar10", sample_every=25_000, save_every=12_500),
    ),
}


def beginnings(config: Config, levels: int) -> list[int]:
    """The first step of each level's stage."""
    return [0, *(config.steady_steps + k * (config.fade_steps + config.steady_steps) for k in range(levels - 1))]


def fading(config: Config, begins: int) -> Callable[[Array], Array]:
    """step -> alpha in [0, 1], of the stage that begins at step `begins`."""
    return lambda step: jnp.clip((step - begins) / max(1, config.fade_steps), 0.0, 1.0)


def make(config: Config, options: Options, data: Data) -> Recipe:
    images, rules = need_images(data), config.rules
    batch = options.batch // rules.accumulation
    if config.deviation_group > 1 and progressive.group_size(batch, config.deviation_group) == 1:
        raise RequestError(
            f"a batch of {batch} has no groups of 2 to {config.deviation_group}: choose --deviation-group 0 or {batch}"
        )
    num_classes = classes_told(config.conditional, images)
    sizes = progressive.sizes_of(images.size)
    prior, begins = normal_prior(config.latent), beginnings(config, len(sizes))
    inputs: Callable[..., Any] = labelled(prior, num_classes) if num_classes else prior
    source = image_batches(images, options.batch, options.seed, config.flip)
    nets = [_nets(config, images.size, num_classes, level) for level in range(len(sizes))]
    hyper = {**numbers(rules), "drift_weight": config.drift_weight}
    stages = []
    for level, (size, (generator, discriminator)) in enumerate(zip(sizes, nets, strict=True)):
        if begins[level] >= options.steps:
            break
        alpha = fading(config, begins[level]) if level else None
        game = classic_game(
            rules,
            generator,
            discriminator,
            prior,
            options,
            (*size, images.size[-1]),
            num_classes=num_classes,
            heads=Heads({}, (_drift,) if config.drift_weight else ()),
            told_by_step=alpha,
            coupled_penalties=True,
        )
        until = min([options.steps, *begins[level + 1 : level + 2]])
        seen = replace(source, batch=_at_level(source.batch, len(sizes) - 1 - level, alpha))
        stages.append(Stage(game, until, seen, grown, hyper))
    generate = _generate([generator for generator, _ in nets], images.size, [fading(config, begin) for begin in begins])
    recipe = staged(rules, tuple(stages), inputs, generate, options, images, num_classes)
    whole = begins[-1] + max(1, config.fade_steps)
    if len(sizes) == 1 or options.steps >= whole:
        return recipe
    refusal = (
        f"the last of {len(sizes)} resolutions is whole at step {whole:,} and there are {options.steps:,}: "
        f"choose --steps {whole} or more, or smaller --fade-steps and --steady-steps"
    )
    return replace(recipe, refusal=refusal)


def grown(before: State, fresh: State) -> State:
    """The state that the next level starts from: layers that both levels have go on, with their averages.

    So does memory that has the same shapes at both levels, such as the strength of an augmentation.
    """

    def carried(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: {**layers, **_shared(old[name], layers)} for name, layers in new.items()}

    def alike(old: Any, new: Any) -> bool:
        return jax.tree.map(jnp.shape, old) == jax.tree.map(jnp.shape, new)

    memory = {
        name: before.memory[name] if alike(before.memory[name], entry) else entry
        for name, entry in fresh.memory.items()
    }
    params, ema = carried(before.params, fresh.params), carried(before.ema, fresh.ema)
    return replace(fresh, params=params, ema=ema, memory=memory)


def _shared(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: layer for name, layer in old.items() if name in new}


def _nets(config: Config, shape: tuple[int, int, int], num_classes: int, level: int) -> tuple[Net, Net]:
    height, width = progressive.sizes_of(shape)[level]
    common: dict[str, Any] = {
        "level": level,
        "wide_until": config.wide_until,
        "num_classes": num_classes,
        "dtype": DTYPES[config.dtype],
    }
    label = ((),) if num_classes else ()
    discriminator = progressive.Discriminator(shape, config.discriminator_width, group=config.deviation_group, **common)
    made = (
        adapt(progressive.Generator(shape, config.generator_width, **common), (config.latent,), *label),
        adapt(discriminator, (height, width, shape[-1]), *label, couples_batch=config.deviation_group > 1),
    )
    return made if num_classes or not level else (_told_alpha_only(made[0]), _told_alpha_only(made[1]))


def _told_alpha_only(net: Net) -> Net:
    """A net without classes, whose second input is then alpha."""

    def without_label(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda variables, x, alpha, **keywords: function(variables, x, None, alpha, **keywords)

    assert net.features is not None
    return replace(net, apply=without_label(net.apply), features=without_label(net.features))


def _drift(played: Round) -> Array:
    return played.hyper["drift_weight"] * jnp.mean(jnp.square(played.real_output))


def _at_level(batch: BatchFn, halvings: int, alpha: Callable[[Array], Array] | None) -> BatchFn:
    """Batches of images halved so often; with `alpha` that share of them, and the rest of their next halving."""

    def lower(arrays: Mapping[str, Array], key: Key, step: Array) -> Batch:
        made = batch(arrays, key, step)
        image = made["image"]
        for _ in range(halvings):
            image = halved(image)
        if alpha is not None:
            share = alpha(step)
            image = share * image + (1.0 - share) * doubled(halved(image))
        return {**made, "image": image}

    return lower


def _generate(nets: list[Net], shape: tuple[int, int, int], alphas: list[Callable[[Array], Array]]) -> Generate:
    """Samples by the level that the state's generator is of, at the alpha of its step, doubled to the whole size."""

    def generate(state: State, inputs: Any, truncation: float) -> Array:
        latent, *told = inputs if isinstance(inputs, tuple) else (inputs,)
        level = level_of(state.params["generator"], shape)
        if level:
            told.append(jnp.broadcast_to(alphas[level](state.step), latent.shape[:1]))
        variables = {"params": state.ema.get("generator", state.params["generator"]), **state.variables["generator"]}
        made = nets[level].apply(variables, truncate(latent, truncation), *told, train=False)[0]
        for _ in range(len(nets) - 1 - level):
            made = doubled(made)
        return made

    return generate
