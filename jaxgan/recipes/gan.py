"""The GAN of 2014: fully connected nets, maxout and dropout in the discriminator, on images.

Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio, "Generative
Adversarial Nets", 2014, arXiv 1406.2661, section 5; the numbers are those of the authors' code.

    jaxgan train gan                                    real 8x8 digits
    jaxgan train gan --preset paper --data mnist        the authors' nets and optimizer

Preset `paper`: noise uniform with unit variance, 1200 and 1200 ReLU against 240 and 240 maxout units
of 5 pieces, dropout of 0.2 on D's input and 0.5 inside, both players at once, SGD with momentum.
The authors' step size is 0.1 under a bound on the norm of each unit's weights, which is not here: at
0.1 this discriminator diverged after 156 steps, and so the rate is a fifth of theirs. Their momentum rises from
0.5 to 0.7, and their rate falls by a factor of 1.000004 an update; here both stay as they are.

Expected of the defaults, seed 0, in some two minutes on two CPU cores: all ten digits, three quarters
of the samples recognised by the data set's classifier. The likelihood that the paper reports is
measured by experiments/parzen.py.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxgan.config import Options, Preset, at_least, fraction
from jaxgan.latent import normal_prior, uniform_prior
from jaxgan.nets import mlp
from jaxgan.nets.adapt import adapt
from jaxgan.recipes.classic import image_recipe, seen_shape
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.rules import (
    DTYPES,
    Dtype,
    Rules,
    discriminator_couples_batch,
    discriminator_options,
    generator_options,
)
from jaxgan.training.recipe import Recipe

RULES = Rules(
    discriminator_dropout=0.5,
    generator_normalization="batch",
    generator_learning_rate=5e-4,
    discriminator_learning_rate=5e-4,
    learning_rate_decay="cosine",
    ema_decay=0.995,
)


@dataclass(frozen=True)
class Config:
    latent: int = 64
    """Dimensions of the latent."""
    prior: Literal["normal", "uniform"] = "uniform"
    """Distribution of the latent, of unit variance."""
    generator_width: int = 256
    """Units of each of the generator's two hidden layers."""
    discriminator_width: int = 128
    """Units of each of the discriminator's two hidden layers."""
    maxout: int = 5
    """Linear pieces of each unit of the discriminator, 0 for leaky ReLU."""
    input_dropout: float = 0.2
    """Share of the discriminator's input pixels that are dropped."""
    weight_range: float = 0.0
    """First weights are uniform within this bound (a tenth of it in D), 0 for one that fits the layer."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "latent", "generator_width", "discriminator_width")
        at_least(self, 0, "maxout", "weight_range")
        fraction(self, "input_dropout")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=10_000, batch=64, data="digits", evaluate_every=2500)),
    "paper": Preset(
        Config(
            latent=100,
            generator_width=1200,
            discriminator_width=240,
            weight_range=0.05,
            rules=Rules(
                discriminator_dropout=0.5,
                dynamics="simultaneous",
                optimizer="sgd",
                # the authors' discriminator pays the half of the two cross-entropies
                generator_learning_rate=0.02,
                discriminator_learning_rate=0.01,
                beta1=0.6,
            ),
        ),
        Options(steps=125_000, batch=100, data="mnist", sample_every=2500, save_every=5000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    images, rules = need_images(data), config.rules
    bound, dtype = config.weight_range, DTYPES[config.dtype]
    prior = (uniform_prior if config.prior == "uniform" else normal_prior)(config.latent)
    generator = mlp.Generator(
        images.size,
        config.generator_width,
        depth=2,
        output=jnp.tanh,
        dtype=dtype,
        **_uniform(bound),
        **generator_options(rules, prior),
    )
    discriminator = mlp.Discriminator(
        config.discriminator_width,
        depth=2,
        maxout=config.maxout,
        input_dropout=config.input_dropout,
        dtype=dtype,
        **_uniform(bound / 10),
        **discriminator_options(rules),
    )
    return image_recipe(
        rules,
        adapt(generator, (config.latent,), couples_batch=rules.generator_normalization == "batch"),
        adapt(discriminator, seen_shape(images.size, rules), couples_batch=discriminator_couples_batch(rules)),
        prior,
        options,
        images,
    )


def _uniform(bound: float) -> dict[str, Any]:
    """First weights uniform in (-bound, bound), as a field of the nets; nothing for a bound of 0."""
    if not bound:
        return {}
    draw = jax.nn.initializers.uniform(2 * bound)
    return {"kernel_init": lambda key, shape, dtype=jnp.float32: draw(key, shape, dtype) - bound}
