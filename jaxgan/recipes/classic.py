"""The classic two-player GAN, put together from nets and rules: what most recipes are."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxgan import augment, dynamics
from jaxgan.arrays import Array, Key
from jaxgan.config import Options, RequestError
from jaxgan.data.images import Images, batches
from jaxgan.game import Game, LossInput, Net, Player, every
from jaxgan.games.two_player import Term, collapse_alarm, feature_matching, gradient_penalty, two_player
from jaxgan.latent import labelled
from jaxgan.losses import penalties
from jaxgan.losses.adversarial import AdversarialLoss, flip_labels, label_smoothing
from jaxgan.memory import Replay
from jaxgan.nets.adapt import rematerialized
from jaxgan.nets.layers import minibatch_deviation
from jaxgan.recipes.compatibility import Setting, check
from jaxgan.recipes.judging import draw_images, generate_with, image_evaluation
from jaxgan.recipes.rules import GRADIENT_PENALTIES, LOSSES, Rules, numbers, optimizer
from jaxgan.training.recipe import Recipe, Stage

Prior = Callable[..., Array]


def seen_shape(shape: tuple[int, ...], rules: Rules) -> Any:
    """The shape of what the discriminator's net sees of examples of this shape."""
    return (*shape[:-1], shape[-1] * rules.packing * (2 if rules.minibatch == "input_deviation" else 1))


def classic_game(
    rules: Rules,
    generator: Net,
    discriminator: Net,
    prior: Prior,
    options: Options,
    shape: tuple[int, ...],
    observation: str = "image",
    conditional: bool = False,
) -> Game:
    """The game of two nets under `rules`; `shape` is that of one example. Rules that do not go together are refused."""
    images = observation == "image"
    check(rules, Setting(conditional, images), options.batch)
    if rules.minibatch == "input_deviation":
        discriminator = _with_input_deviation(discriminator)
    if rules.rematerialize:
        generator, discriminator = rematerialized(generator), rematerialized(discriminator)
    penalty_terms = [
        gradient_penalty(penalty, name, discriminator)
        for name, penalty in GRADIENT_PENALTIES.items()
        if getattr(rules, name)
    ]
    if rules.consistency_weight:
        penalty_terms.append(_consistency(penalties.consistency(augment.shift_and_flip)))
    game = two_player(
        Player(generator, optimizer(rules, "generator", options.steps), rules.ema_decay or None),
        Player(discriminator, optimizer(rules, "discriminator", options.steps)),
        LOSSES[rules.loss],
        prior,
        observation=observation,
        condition="label" if conditional else None,
        lazy_terms=penalty_terms,
        lazy_interval=rules.penalty_interval,
        generator_terms=[feature_matching("feature_matching_weight")] if rules.feature_matching_weight else [],
        generator_weight="adversarial_weight",
        labels=partial(_labels, rules) if rules.real_label < 1 or rules.label_flips else None,
        show=partial(_noise, rules) if rules.instance_noise else None,
        packing=rules.packing,
        replay=Replay(rules.replay) if rules.replay else None,
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
) -> Recipe:
    """The whole system for images: the game, its data, how it is drawn and judged.

    num_classes: 0, or both nets take the label as a second input. flip: mirror half of the images.
    """
    generate = generate_with(generator)
    inputs: Callable[..., Any] = labelled(prior, num_classes) if num_classes else prior
    game = classic_game(rules, generator, discriminator, prior, options, images.size, conditional=num_classes > 0)
    return Recipe(
        stages=(Stage(game, options.steps, batches(images, options.batch, options.seed, flip), hyper=numbers(rules)),),
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
