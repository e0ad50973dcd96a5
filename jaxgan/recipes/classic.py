"""The classic two-player GAN, put together from nets and rules: what most recipes are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import augment, dynamics
from jaxgan.arrays import Array, Key
from jaxgan.config import Options, RequestError
from jaxgan.data.batches import image_batches
from jaxgan.data.images import Images
from jaxgan.game import Game, LossInput, Net, Player, every
from jaxgan.games.terms import another_class, another_picture, matching_aware
from jaxgan.games.two_player import (
    Carried,
    Given,
    Observation,
    Round,
    Term,
    collapse_alarm,
    feature_matching,
    gradient_penalty,
    two_player,
)
from jaxgan.latent import labelled
from jaxgan.losses import penalties
from jaxgan.losses.adversarial import AdversarialLoss, flip_labels, label_smoothing
from jaxgan.memory import Controller, ImagePool, Replay
from jaxgan.nets.adapt import rematerialized
from jaxgan.nets.layers import minibatch_deviation
from jaxgan.recipes.compatibility import Setting, check
from jaxgan.recipes.judging import Generate, draw_images, generate_with, image_evaluation
from jaxgan.recipes.rules import GRADIENT_PENALTIES, LOSSES, Rules, numbers, optimizer
from jaxgan.training.recipe import Recipe, Stage

Prior = Callable[..., Array]


@dataclass(frozen=True)
class Heads:
    """Further nets on D's features or G's, and what the losses gain: terms that are no rules.

    nets: by name, features [batch, n] -> output; they move with D, by its step size.
    hyper: the weights that the terms name, numbers of the run.
    generator_nets: by name, likewise on what the generator shows of itself; they move with it.
    """

    nets: Mapping[str, Net] = field(default_factory=dict)
    discriminator_terms: tuple[Term, ...] = ()
    generator_terms: tuple[Term, ...] = ()
    hyper: Mapping[str, float] = field(default_factory=dict)
    generator_nets: Mapping[str, Net] = field(default_factory=dict)


NO_HEADS = Heads()


def seen_shape(shape: tuple[int, ...], rules: Rules) -> Any:
    """The shape of what the discriminator's net sees of examples of this shape."""
    return (*shape[:-1], shape[-1] * rules.packing * (2 if rules.minibatch == "input_deviation" else 1))


def classic_game(
    rules: Rules,
    generator: Net,
    discriminator: Net,
    prior: Prior | None,
    options: Options,
    shape: tuple[int, ...],
    observation: Observation = "image",
    num_classes: int = 0,
    given: Given | None = None,
    condition: str | None = None,
    pool: ImagePool | None = None,
    tell_discriminator: bool = True,
    heads: Heads = NO_HEADS,
    told_by_step: Callable[[Array], Array] | None = None,
    coupled_penalties: bool = False,
) -> Game:
    """The game of two nets under `rules`; `shape` is that of one example. Rules that do not go together are refused.

    num_classes: 0, or the generator takes the label as a second input, and so does D with `tell_discriminator`.
    given: see `two_player`: of a generator that translates, without a prior. condition: the batch key of what D is
        told then, the picture that another was made from, or with `tell_discriminator` false of what its heads tell,
        attributes; by default the label. pool: of old fakes, where the system has one of its own.
    told_by_step: see `two_player`. coupled_penalties: gradient penalties of a D that couples the batch are those of
        the sum of its logits, as in systems that are published so, and not refused.
    """
    pictured = condition is not None and tell_discriminator
    setting = Setting(
        condition is not None or num_classes > 0,
        observation != "point",
        tell_discriminator,
        bool(heads.nets),
        pictured,
        bool(heads.generator_terms) and given is not None,
    )
    check(rules, setting, options.batch)
    loss = LOSSES[rules.loss]
    if rules.minibatch == "input_deviation":
        discriminator = _with_input_deviation(discriminator)
    if rules.rematerialize:
        generator, discriminator = rematerialized(generator), rematerialized(discriminator)
    penalized = replace(discriminator, couples_batch=discriminator.couples_batch and not coupled_penalties)
    penalty_terms = [
        gradient_penalty(penalty, name, penalized)
        for name, penalty in GRADIENT_PENALTIES.items()
        if getattr(rules, name)
    ]
    if rules.consistency_weight:
        penalty_terms.append(_consistency(penalties.consistency(augment.shift_and_flip)))
    discriminator_terms, generator_terms = [*heads.discriminator_terms], [*heads.generator_terms]
    if rules.matching_aware_weight:
        wrong = another_picture if pictured else another_class(num_classes)
        discriminator_terms.append(matching_aware(loss, "matching_aware_weight", wrong))
    if rules.feature_matching_weight:
        generator_terms.append(feature_matching("feature_matching_weight"))
    adaptive = rules.augmentation == "ada"
    # clipping is for critics
    of_heads = optimizer(replace(rules, weight_clip=0.0), "discriminator", options.steps)
    game = two_player(
        Player(generator, optimizer(rules, "generator", options.steps), rules.ema_decay or None),
        Player(discriminator, optimizer(rules, "discriminator", options.steps)),
        loss,
        prior,
        given=given,
        observation=observation,
        condition=condition or ("label" if num_classes else None),
        tell_discriminator=tell_discriminator,
        told_by_step=told_by_step,
        heads={name: Player(net, of_heads) for name, net in heads.nets.items()},
        generator_heads={
            name: Player(net, optimizer(rules, "generator", options.steps))
            for name, net in heads.generator_nets.items()
        },
        carried={"augmentation": _controlled(options.batch // rules.accumulation)} if adaptive else {},
        discriminator_terms=discriminator_terms,
        lazy_terms=penalty_terms,
        lazy_interval=rules.penalty_interval,
        generator_terms=generator_terms,
        generator_weight="adversarial_weight",
        labels=partial(_labels, rules) if rules.real_label < 1 or rules.label_flips else None,
        show=partial(_shown, rules) if rules.instance_noise or rules.augmentation != "none" else None,
        packing=rules.packing,
        replay=Replay(rules.replay) if rules.replay else pool,
        batch=(options.batch // rules.accumulation, *shape),
        discriminator_when=every(rules.generator_steps, offset=0),
        generator_when=every(rules.discriminator_steps),
        simultaneous=rules.dynamics == "simultaneous",
    )
    if rules.accumulation > 1:
        game = dynamics.accumulate(game, rules.accumulation)
    if rules.unrolled_steps:
        game = dynamics.unroll(game, mover="generator", opponent="discriminator", steps=rules.unrolled_steps)
    if rules.dynamics == "extragradient":
        game = dynamics.extragradient(game)
    if rules.dynamics == "consensus":
        game = dynamics.consensus(game, lambda inputs: inputs.hyper["consensus_weight"])
    return game


def _consistency(penalty: penalties.Penalty) -> Term:
    return lambda r: r.hyper["consistency_weight"] * jnp.mean(penalty(r.critic, r.real, r.fake, r.key))


def _labels(rules: Rules, loss: AdversarialLoss, key: Key, hyper: Any) -> AdversarialLoss:
    smooth = label_smoothing(loss, hyper["real_label"]) if rules.real_label < 1 else loss
    return flip_labels(smooth, key, hyper["label_flips"]) if rules.label_flips else smooth


def _controlled(batch: int) -> Carried:
    controller = Controller(batch)

    def after(memory: Any, r: Round) -> Any:
        return controller.after(memory, r.real_output, r.hyper["ada_target"], r.hyper["ada_images"])

    return Carried(controller.start(), after, lambda memory: {"augmentation": memory["probability"]})


def _shown(rules: Rules, examples: Array, key: Key, inputs: LossInput) -> Array:
    """What D sees of real and fake examples: augmented, then with noise of the full deviation."""
    augment_key = jax.random.fold_in(key, 1)
    if rules.augmentation == "diffaugment":
        examples = augment.diffaugment(examples, augment_key)
    if rules.augmentation == "ada":
        examples = augment.adaptive(examples, augment_key, inputs.memory["augmentation"]["probability"])
    return _noise(rules, examples, key, inputs) if rules.instance_noise else examples


def _noise(rules: Rules, examples: Array, key: Key, inputs: LossInput) -> Array:
    deviation = augment.decaying(inputs.hyper["instance_noise"], inputs.step, rules.instance_noise_steps)
    return augment.instance_noise(examples, key, deviation)


def _with_input_deviation(net: Net) -> Net:
    def apply(variables: Any, examples: Array, *told: Array, **keywords: Any) -> Any:
        return net.apply(variables, minibatch_deviation(examples, per_pixel=True), *told, **keywords)

    def features(variables: Any, examples: Array, *told: Array, **keywords: Any) -> Any:
        assert net.features is not None
        return net.features(variables, minibatch_deviation(examples, per_pixel=True), *told, **keywords)

    return replace(net, apply=apply, features=features, couples_batch=True)


def image_recipe(
    rules: Rules,
    generator: Net,
    discriminator: Net,
    prior: Prior,
    options: Options,
    images: Images,
    num_classes: int = 0,
    flip: bool = False,
    tell_discriminator: bool = True,
    heads: Heads = NO_HEADS,
    codes: int = 0,
    coupled_penalties: bool = False,
) -> Recipe:
    """The whole system for images: the game, its data, how it is drawn and judged.

    num_classes: 0, or both nets take the label as a second input (with `tell_discriminator`; without, the
        generator alone). flip: mirror half of the images. codes: those of `Recipe`. coupled_penalties: those of
        `classic_game`.
    """
    generate = generate_with(generator, codes)
    inputs: Callable[..., Any] = labelled(prior, num_classes) if num_classes else prior
    game = classic_game(
        rules,
        generator,
        discriminator,
        prior,
        options,
        images.size,
        num_classes=num_classes,
        tell_discriminator=tell_discriminator,
        heads=heads,
        coupled_penalties=coupled_penalties,
    )
    hyper = {**numbers(rules), **heads.hyper}
    stage = Stage(game, options.steps, image_batches(images, options.batch, options.seed, flip), hyper=hyper)
    return replace(staged(rules, (stage,), inputs, generate, options, images, num_classes), codes=codes)


def staged(
    rules: Rules,
    stages: tuple[Stage, ...],
    inputs: Callable[..., Any],
    generate: Generate,
    options: Options,
    images: Images,
    num_classes: int = 0,
) -> Recipe:
    """Stages of a game on images as a recipe: how its samples are drawn, judged, and watched for a collapse.

    inputs: (key, n, condition) -> what `generate` takes. num_classes: of the condition, 0 for none.
    """
    return Recipe(
        stages=stages,
        prior=inputs,
        generate=generate,
        draw=draw_images,
        reals=np.stack([images.image[i] for i in range(min(64, len(images.image)))]) if len(images.image) else None,
        evaluations={"images": image_evaluation(images, options, generate, inputs)},
        num_classes=num_classes,
        sheet=10 * num_classes if 0 < num_classes <= 16 else 64,
        best=("images", "frechet_distance", 1),
        alarm=partial(collapse_alarm, logits_are_odds=LOSSES[rules.loss].zero_separates),
    )


def classes_told(conditional: str, images: Images) -> int:
    """How many classes the nets are told of: none, or those of the data, as ``--conditional`` says."""
    if conditional == "yes" and not images.num_classes:
        raise RequestError(f"--conditional yes needs labels, and {images.name} has none")
    return 0 if conditional == "no" else images.num_classes
