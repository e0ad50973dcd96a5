"""An MLP GAN on eight Gaussians in a ring (or `--data grid`, 25 in a square): mode coverage, seen.

Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv 1406.2661; the data of Lin et al.,
"PacGAN", 2018, arXiv 1712.04086, section 4.1.

    jaxgan train ring                     all modes, in seconds
    jaxgan train ring --r1-weight 0       what happens without the penalty

Points are drawn anew at every step. Expected: all eight modes and over 90 per cent of the samples
within three deviations of one; measured over seeds by experiments/first_run.py.
"""

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
import optax

from jaxgan.config import Options, Preset, RequestError, at_least, fraction
from jaxgan.data import toy
from jaxgan.game import Player, every
from jaxgan.games.two_player import collapse_alarm, two_player
from jaxgan.latent import normal_prior
from jaxgan.nets import mlp
from jaxgan.nets.adapt import adapt
from jaxgan.recipes.choices import DTYPES, LOSSES, Dtype, Loss, penalty_terms
from jaxgan.recipes.dataset import Data
from jaxgan.recipes.judging import generate_with, toy_evaluation
from jaxgan.training.recipe import Recipe, Stage


@dataclass(frozen=True)
class Config:
    latent: int = 2
    """Dimensions of the latent."""
    width: int = 128
    """Units of each hidden layer, in both nets."""
    depth: int = 3
    """Hidden layers, in both nets."""
    loss: Loss = "non_saturating"
    """Adversarial loss."""
    r1_weight: float = 0.05
    """Weight of the squared gradient at real points (half the paper's gamma), 0 for none."""
    gradient_penalty_weight: float = 0.0
    """Weight of WGAN-GP's penalty, 0 for none."""
    discriminator_steps: int = 1
    """Discriminator steps before each generator step."""
    learning_rate: float = 1e-3
    """Adam's step size, for both players."""
    beta1: float = 0.5
    """Adam's decay of the first moment."""
    beta2: float = 0.99
    """Adam's decay of the second moment."""
    ema_decay: float = 0.995
    """Averaging of the generator's weights, 0 for none."""
    simultaneous: bool = False
    """Both players move at once instead of discriminator first."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""

    def __post_init__(self) -> None:
        at_least(self, 1, "latent", "width", "discriminator_steps")
        at_least(self, 0, "depth", "r1_weight", "gradient_penalty_weight", "learning_rate")
        fraction(self, "beta1", "beta2", "ema_decay")


PRESETS = {
    "cpu": Preset(
        Config(),
        Options(steps=10_000, batch=256, data="ring", log_every=250, sample_every=1000, save_every=5000),
    )
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    if not isinstance(data, toy.Mixture):
        raise RequestError(f"ring learns the points of ring or grid, and {data.name!r} is a set of images")
    dimension = data.means.shape[1]
    dtype = DTYPES[config.dtype]
    generator_net = adapt(mlp.Generator((dimension,), config.width, config.depth, dtype=dtype), (config.latent,))
    discriminator_net = adapt(mlp.Discriminator(config.width, config.depth, dtype=dtype), (dimension,))
    adam = optax.adam(config.learning_rate, b1=config.beta1, b2=config.beta2)
    prior = normal_prior(config.latent)
    game = two_player(
        Player(generator_net, adam, config.ema_decay or None),
        Player(discriminator_net, adam),
        LOSSES[config.loss],
        prior,
        observation="point",
        discriminator_terms=penalty_terms(config, discriminator_net),
        generator_when=every(config.discriminator_steps),
        simultaneous=config.simultaneous,
    )
    generate = generate_with(generator_net)
    return Recipe(
        stages=(Stage(game, options.steps, toy.batches(data, options.batch)),),
        prior=prior,
        generate=generate,
        draw=partial(toy.draw, mixture=data),
        reals=np.asarray(toy.sample(data, jax.random.key(0), 1000)),
        evaluations={"modes": toy_evaluation(data, options, generate, prior)},
        best=("modes", "wasserstein", 1),
        alarm=partial(collapse_alarm, logits_are_odds=config.loss != "wasserstein"),
    )
