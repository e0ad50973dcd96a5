"""InfoGAN: a part of the latent that a third net can read off the picture comes to mean something.

Chen, Duan, Houthooft, Schulman, Sutskever, Abbeel, "InfoGAN: Interpretable Representation Learning
by Information Maximizing Generative Adversarial Nets", 2016, arXiv 1606.03657. No label is used in
training: with ten categories, the code comes close to the ten digits, and `code_error` says how close.

    jaxgan train infogan                              real 8x8 digits, about a minute on a CPU core
    jaxgan train infogan --preset paper --data mnist  the authors' protocol
    jaxgan sample RUN --class 3                       "class" is here the category of the code

`paper` is the authors' code for MNIST (openai/InfoGAN, launchers/run_mnist_exp.py), but that images and the
generator's last layer are in [-1, 1] by tanh where theirs are probabilities. In the paper D does not
maximise the information; in that code it does, and so here.

The defaults are its rules with nets of half the width, a quarter of the dense units and less noise, on 8x8 digits:
their error as a classifier is 11 to 25 per cent over five seeds, median 15, where k-means on the pixels has 23. At
half the width and 3,000 steps `paper` has 5 to 26 per cent on MNIST, median 20; Chen et al. report 5. The noise does
little: samples of a category vary with the codes and hardly besides. Measured by experiments/infogan.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Key, to_float
from jaxgan.config import Options, Preset, at_least
from jaxgan.data.images import Images
from jaxgan.data.pixels import in_parts, picked
from jaxgan.evaluation.matching import matched_error
from jaxgan.game import State
from jaxgan.games.terms import mutual_information
from jaxgan.latent import Codes, normal_prior, uniform_prior
from jaxgan.losses.auxiliary import categorical_information, uniform_information
from jaxgan.nets import dcgan, heads
from jaxgan.nets.adapt import adapt, num_features
from jaxgan.recipes.classic import Heads, image_recipe, seen_shape
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.judging import standing
from jaxgan.recipes.rules import (
    DTYPES,
    NORMALIZATIONS,
    Dtype,
    Rules,
    discriminator_couples_batch,
    discriminator_options,
    generator_options,
)
from jaxgan.training.recipe import Evaluation, Recipe

RULES = Rules(
    generator_normalization="batch",
    discriminator_normalization="batch",
    generator_learning_rate=1e-3,
    discriminator_learning_rate=2e-4,
    beta1=0.5,
    beta2=0.999,
)
GENERATED = 1000
# batches on which batch normalization is measured anew before Q is read
PASSES = 16


@dataclass(frozen=True)
class Config:
    noise: int = 32
    """Dimensions of the latent that mean nothing."""
    prior: Literal["normal", "uniform"] = "uniform"
    """Of that noise: N(0, 1), or uniform in (-1, 1)."""
    categories: int = 10
    """Values of the categorical code."""
    continuous: int = 2
    """Continuous codes, uniform in (-1, 1)."""
    categorical_weight: float = 1.0
    """Weight of the information about the categorical code, in the losses of both players."""
    continuous_weight: float = 1.0
    """Weight of the information about the continuous codes."""
    deviation: float = 1.0
    """Deviation of the Gaussian by which Q guesses a continuous code."""
    code_width: int = 128
    """Units of Q's hidden layer, which stands on D's last features."""
    code_normalization: Literal["none", "batch", "layer"] = "batch"
    """Normalization of that layer."""
    generator_width: int = 32
    """Channels of the generator at its largest hidden resolution; they double towards the smallest."""
    discriminator_width: int = 32
    """Channels of the discriminator at its largest hidden resolution, likewise."""
    dense_width: int = 256
    """Units of a dense layer at the small end of both nets, 0 for none: what lets D see a picture as a whole."""
    slope: float = 0.01
    """Of the leaky rectifiers of D and Q below zero."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "noise", "continuous", "code_width", "generator_width", "discriminator_width")
        at_least(self, 2, "categories")
        at_least(self, 0, "categorical_weight", "continuous_weight", "dense_width", "slope")
        at_least(self, 1e-3, "deviation")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=4000, batch=64, data="digits", evaluate_every=1000)),
    "paper": Preset(
        Config(noise=62, generator_width=64, discriminator_width=64, dense_width=1024),
        Options(steps=5000, batch=128, data="mnist", sample_every=500, save_every=1000, evaluate_every=1000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    images, rules, dtype = need_images(data), config.rules, DTYPES[config.dtype]
    codes = Codes(config.categories, config.continuous)
    noise = normal_prior(config.noise) if config.prior == "normal" else uniform_prior(config.noise, 1.0)
    prior, size = codes.prior(noise), config.noise + codes.size
    generator = dcgan.Generator(
        images.size, config.generator_width, dense=config.dense_width, dtype=dtype, **generator_options(rules, prior)
    )
    seen = seen_shape(images.size, rules)
    discriminator = adapt(
        dcgan.Discriminator(
            seen,
            config.discriminator_width,
            dense=config.dense_width,
            slope=config.slope,
            dtype=dtype,
            **discriminator_options(rules),
        ),
        seen,
        couples_batch=discriminator_couples_batch(rules),
    )
    normalization = NORMALIZATIONS[config.code_normalization]
    q = adapt(
        heads.Codes(codes.categories, codes.continuous, config.code_width, normalization, config.slope, dtype),
        (num_features(discriminator, seen),),
        couples_batch=config.code_normalization == "batch",
    )
    information = (
        mutual_information("categorical_weight", "codes", lambda q, z: categorical_information(q[0], codes.of(z)[0])),
        mutual_information(
            "continuous_weight", "codes", lambda q, z: uniform_information(q[1], codes.of(z)[1], config.deviation)
        ),
    )
    weights = {"categorical_weight": config.categorical_weight, "continuous_weight": config.continuous_weight}
    recipe = image_recipe(
        rules,
        adapt(generator, (size,), couples_batch=rules.generator_normalization == "batch"),
        discriminator,
        prior,
        options,
        images,
        heads=Heads({"codes": q}, information, information, weights),
        codes=codes.size,
    )
    return replace(
        recipe,
        # a picture is asked for by its category, and a sheet has a column for each
        num_classes=codes.categories,
        sheet=10 * codes.categories if codes.categories <= 16 else 64,
        evaluations={
            **recipe.evaluations,
            "codes": _evaluation(codes, images, recipe, options.batch // rules.accumulation),
        },
    )


def _evaluation(codes: Codes, images: Images, recipe: Recipe, batch: int) -> Evaluation:
    """What Q says of real test images and of samples.

    code_error: of the category as a classifier of the test images after a one-to-one matching with the classes
    (None for data without labelled test images); codes_used: categories that any of them is told to have.
    categorical_information: nats of the category that Q reads off samples, at most log(categories).
    continuous_explained: share of the continuous codes' variance that Q's guesses explain, at most 1.

    Batch normalization in D and Q saw reals and fakes in batches of their own, and its running means are of both,
    which neither is like. So it is measured anew for each: on `PASSES` batches of training images, and of samples.
    """
    players = recipe.stages[0].game.players
    q, features = players["codes"].net, players["discriminator"].net.features
    assert features is not None and recipe.prior is not None and recipe.generate is not None
    prior, generate = recipe.prior, recipe.generate

    def with_params(state: State, name: str, running: Any) -> Any:
        return {"params": state.params[name], **running}

    @jax.jit
    def read(state: State, pictures: Array) -> tuple[Array, Array]:
        d, own = (with_params(state, name, state.variables[name]) for name in ("discriminator", "codes"))
        (_, shown), _ = features(d, pictures, train=False)
        guessed: tuple[Array, Array] = q.apply(own, shown, train=False)[0]
        return guessed

    @jax.jit
    def ready(state: State, pictures: Array, key: Key) -> State:
        """For pictures like these [passes, batch, height, width, channel]: batch statistics measured on them."""

        def of_d(running: Any, x: Array) -> Any:
            return features(with_params(state, "discriminator", running), x, key=key, train=True)[1]

        def of_q(running: Any, x: Array) -> Any:
            (_, shown), _ = features(
                with_params(state, "discriminator", state.variables["discriminator"]), x, key=key, train=True
            )
            return q.apply(with_params(state, "codes", running), shown, key=key, train=True)[1]

        measured = {
            name: standing(state.variables[name], one_pass, pictures)
            for name, one_pass in (("discriminator", of_d), ("codes", of_q))
        }
        return replace(state, variables={**state.variables, **measured})

    normalized = {name for name in ("discriminator", "codes") if players[name].net.couples_batch}

    @jax.jit
    def reread(state: State, key: Key) -> tuple[Array, Array, Array]:
        latents = prior(key, GENERATED, None)
        category, code = codes.of(latents)
        samples = generate(state, latents, 1.0)
        if normalized:
            others = jax.lax.map(
                lambda own: generate(state, prior(own, batch, None), 1.0),
                jax.random.split(jax.random.fold_in(key, 1), PASSES),
            )
            state = ready(state, others, key)
        logits, means = read(state, samples)
        return categorical_information(logits, category), code, means

    @cache
    def reals() -> np.ndarray:
        """Training images [passes, batch, height, width, channel], again from the start where there are fewer."""
        index = np.resize(np.random.default_rng(0).permutation(len(images.image)), PASSES * batch)
        (some,) = in_parts(picked(images.image, index), len(index))
        return some.reshape(PASSES, batch, *images.size)

    def evaluate(state: State, key: Key) -> Mapping[str, Any]:
        information, code, means = (np.asarray(part) for part in reread(state, key))
        row: dict[str, Any] = {
            "categorical_information": float(information.mean()),
            "continuous_explained": 1.0 - float(np.square(code - means).mean() / np.square(code).mean()),
            "n_generated": GENERATED,
        }
        if images.test_image is None or images.test_label is None:
            return row
        if normalized:
            state = ready(state, to_float(jnp.asarray(reals())), key)
        found = np.concatenate(
            [np.asarray(read(state, to_float(jnp.asarray(part)))[0]).argmax(-1) for part in in_parts(images.test_image)]
        )
        error, _ = matched_error(found, images.test_label)
        return row | {"code_error": error, "codes_used": len(np.unique(found)), "n_test": len(found)}

    return evaluate
