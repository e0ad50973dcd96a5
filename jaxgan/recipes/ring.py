"""An MLP GAN on eight Gaussians in a ring (or `--data grid`, 25 in a square): mode coverage, seen.

Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv 1406.2661; the data of Lin et al.,
"PacGAN", 2018, arXiv 1712.04086, section 4.1.

    jaxgan train ring                        all modes, in seconds
    jaxgan train ring --seeds 10             ten seeds in one program, with standard errors
    jaxgan train ring --preset paper         PacGAN's nets and numbers, under which GANs lose modes: an accelerator
    jaxgan train ring --preset paper --packing 2 --batch 200
    jaxgan train ring --preset unrolled      Metz's nets and numbers, under which they hop from mode to mode
    jaxgan train ring --preset unrolled --unrolled-steps 5

The preset `unrolled` is that of Metz, Poole, Pfau, Sohl-Dickstein, "Unrolled Generative Adversarial
Networks", 2017, arXiv 1611.02163, in their released code, but with eight modes (theirs draws one
twice). Points are drawn anew at every step. Expected of the defaults: all eight modes and over 90 per
cent of the samples within three deviations of one; measured over seeds by experiments/first_run.py,
and for PacGAN's and Metz's protocols by experiments/mode_collapse.py.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.config import Options, Preset, RequestError, at_least
from jaxgan.data import toy
from jaxgan.games.two_player import collapse_alarm
from jaxgan.latent import normal_prior
from jaxgan.nets import mlp
from jaxgan.nets.adapt import adapt
from jaxgan.recipes.classic import classic_game, seen_shape
from jaxgan.recipes.dataset import Data
from jaxgan.recipes.judging import generate_with, toy_evaluation
from jaxgan.recipes.rules import (
    DTYPES,
    LOSSES,
    Dtype,
    Rules,
    discriminator_couples_batch,
    discriminator_options,
    generator_options,
    numbers,
)
from jaxgan.training.recipe import Recipe, Stage

RULES = Rules(r1_weight=0.05, ema_decay=0.995)


@dataclass(frozen=True)
class Config:
    latent: int = 2
    """Dimensions of the latent."""
    generator_width: int = 128
    """Units of each hidden layer of the generator."""
    generator_depth: int = 3
    """Hidden layers of the generator."""
    discriminator_width: int = 128
    """Units of each hidden layer of the discriminator."""
    discriminator_depth: int = 3
    """Hidden layers of the discriminator."""
    maxout: int = 0
    """Linear pieces of each unit of the discriminator, 0 for leaky ReLU."""
    activation: Literal["default", "tanh"] = "default"
    """Of both nets; the default is ReLU in the generator and leaky ReLU in the discriminator."""
    weight_deviation: float = 0.0
    """Deviation of the first weights, 0 for one that fits the layer."""
    orthogonal_gain: float = 0.0
    """Gain of orthogonal first weights instead, 0 for none."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "latent", "generator_width", "discriminator_width")
        at_least(self, 0, "generator_depth", "discriminator_depth", "maxout", "weight_deviation", "orthogonal_gain")
        if self.weight_deviation and self.orthogonal_gain:
            raise RequestError("first weights are normal or orthogonal: leave one of the two flags at 0")


PRESETS = {
    "cpu": Preset(
        Config(),
        Options(steps=10_000, batch=256, data="ring", log_every=250, sample_every=1000, save_every=5000),
    ),
    "paper": Preset(
        Config(
            generator_width=400,
            generator_depth=4,
            discriminator_width=200,
            maxout=5,
            weight_deviation=0.02,
            rules=Rules(
                generator_normalization="batch",
                dynamics="simultaneous",
                generator_learning_rate=1e-4,
                discriminator_learning_rate=1e-4,
                beta1=0.8,
                beta2=0.999,
            ),
        ),
        Options(
            steps=400_000,
            batch=100,
            data="ring",
            log_every=2000,
            sample_every=20_000,
            save_every=20_000,
            evaluate_samples=2500,
        ),
    ),
    "unrolled": Preset(
        Config(
            latent=256,
            generator_depth=2,
            discriminator_depth=2,
            activation="tanh",
            orthogonal_gain=1.4,
            rules=Rules(
                loss="minimax",
                dynamics="simultaneous",
                generator_learning_rate=1e-3,
                discriminator_learning_rate=1e-4,
                beta2=0.999,
            ),
        ),
        Options(
            steps=25_000,
            batch=512,
            data="ring",
            log_every=500,
            sample_every=2500,
            save_every=5000,
            evaluate_every=1000,
            evaluate_samples=2500,
        ),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    if not isinstance(data, toy.Mixture):
        raise RequestError(f"ring learns the points of ring or grid, and {data.name!r} is a set of images")
    rules, shape = config.rules, (data.means.shape[1],)
    prior = normal_prior(config.latent)
    nets: dict[str, Any] = {"dtype": DTYPES[config.dtype]}
    if config.weight_deviation:
        nets["kernel_init"] = jax.nn.initializers.normal(config.weight_deviation)
    if config.orthogonal_gain:
        nets["kernel_init"] = jax.nn.initializers.orthogonal(config.orthogonal_gain)
    if config.activation == "tanh":
        nets["activation"] = jnp.tanh
    generator = mlp.Generator(
        shape, config.generator_width, config.generator_depth, **nets, **generator_options(rules, prior)
    )
    discriminator = mlp.Discriminator(
        config.discriminator_width,
        config.discriminator_depth,
        maxout=config.maxout,
        **nets,
        **discriminator_options(rules),
    )
    generator_net = adapt(generator, (config.latent,), couples_batch=rules.generator_normalization == "batch")
    discriminator_net = adapt(discriminator, seen_shape(shape, rules), couples_batch=discriminator_couples_batch(rules))
    game = classic_game(rules, generator_net, discriminator_net, prior, options, shape, observation="point")
    generate = generate_with(generator_net)
    return Recipe(
        stages=(Stage(game, options.steps, toy.batches(data, options.batch), hyper=numbers(rules)),),
        prior=prior,
        generate=generate,
        draw=partial(toy.draw, mixture=data),
        reals=np.asarray(toy.sample(data, jax.random.key(0), 1000)),
        evaluations={"modes": toy_evaluation(data, options, generate, prior)},
        best=("modes", "wasserstein", 1),
        alarm=partial(collapse_alarm, logits_are_odds=LOSSES[rules.loss].zero_separates),
    )
