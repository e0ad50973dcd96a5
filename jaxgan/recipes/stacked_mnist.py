"""DCGAN on digits stacked as colours, three an image: a thousand modes, counted with a classifier of single digits.

Lin, Khetan, Fanti, Oh, "PacGAN: The power of two samples in generative adversarial networks", 2018, arXiv
1712.04086, section 4.3; Metz, Poole, Pfau, Sohl-Dickstein, "Unrolled Generative Adversarial Networks", 2017,
arXiv 1611.02163, section 3.3.

    jaxgan train stacked_mnist                                               real 8x8 digits
    jaxgan train stacked_mnist --preset tiny --data mnist                    Metz's tiny nets: PacGAN's Table 3
    jaxgan train stacked_mnist --preset tiny --data mnist --packing 2 --batch 256
    jaxgan train stacked_mnist --preset paper --data mnist --packing 2 --batch 128     Table 2: an accelerator

The batch counts examples, so a batch of 128 packs of two is 256. Where the presets `tiny` and `paper`
differ from the authors' code: the generator's batch statistics are those of the whole batch (there, of as many
as there are packs); stacks come from the training digits alone (in Table 2, the test digits too); its
two generator updates a step have latents of their own, and a step of ours is one of them.
Measured by experiments/stacked_mnist.py. Expected of the defaults, seed 0, in two minutes on two CPU cores: 995 of
the 1,000 modes among 10,000 samples, reverse KL 0.17 (of as many real stacks 0.05).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Batch, Key
from jaxgan.config import Options, Preset, RequestError, at_least
from jaxgan.data.images import Images
from jaxgan.data.source import BatchFn
from jaxgan.data.stacked import STACKED, stacks
from jaxgan.evaluation.features import FeatureNet, probabilities
from jaxgan.evaluation.modes import stack_statistics
from jaxgan.game import Net, State
from jaxgan.games.two_player import collapse_alarm
from jaxgan.latent import normal_prior
from jaxgan.nets import strided
from jaxgan.nets.adapt import adapt
from jaxgan.recipes import protocol
from jaxgan.recipes.classic import classic_game, seen_shape
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.dcgan import RULES
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.judging import QUICK, Generate, Prior, draw_images, generate_with, in_batches
from jaxgan.recipes.protocol import refer
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
from jaxgan.training.recipe import Evaluation, Recipe, Stage


def between_1_and_1(dimension: int) -> Callable[..., Array]:
    """Latents [n, dimension] uniform in (-1, 1), of deviation 0.58; those of `jaxgan.latent.uniform_prior` have 1."""
    return lambda key, n, condition=None: jax.random.uniform(key, (n, dimension), minval=-1.0)


PRIORS = {"normal": normal_prior, "uniform": between_1_and_1}


@dataclass(frozen=True)
class Config:
    latent: int = 64
    """Dimensions of the latent."""
    prior: Literal["normal", "uniform"] = "normal"
    """Of the latent: N(0, 1), or uniform in (-1, 1)."""
    generator_width: int = 16
    """Channels of the generator at its largest hidden resolution; they double towards the smallest."""
    discriminator_width: int = 32
    """Channels of the discriminator's first layer, doubling."""
    depth: int = 0
    """Halvings of the picture, rounded up; 0 for down to about 4 pixels."""
    kernel: int = 3
    """Side of the kernels, 3 or 5."""
    full_resolution: bool = True
    """Whether the generator's largest hidden resolution is the picture's, or half of that."""
    first_normalized: bool = False
    """Whether the discriminator's normalization is behind its first layer too."""
    slope: float = 0.2
    """Slope of the discriminator's leaky ReLUs on the negative side."""
    pixels: Literal["signed", "unit"] = "signed"
    """The data's range for both nets: [-1, 1], or [0, 1], where the generator's tanh covers more."""
    fixed_stacks: int = 0
    """How many stacks the data are, drawn once, 0 for new ones at every step."""
    statistics: Literal["running", "batch"] = "running"
    """Of the generator's batch normalization in evaluations: running averages, or those of each batch."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "latent", "generator_width", "discriminator_width")
        at_least(self, 0, "depth", "slope", "fixed_stacks")
        if self.kernel not in (3, 5):
            raise RequestError(f"--kernel is 3 or 5, got {self.kernel}")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=4000, batch=64, data="digits", evaluate_samples=10_000, evaluate_every=1000)),
    "tiny": Preset(
        Config(
            latent=256,
            generator_width=8,
            discriminator_width=2,
            first_normalized=True,
            slope=0.3,
            statistics="batch",
            rules=Rules(
                generator_normalization="batch",
                discriminator_normalization="batch",
                generator_learning_rate=1e-4,
                discriminator_learning_rate=2e-4,
                beta1=0.5,
                beta2=0.99,
            ),
        ),
        Options(
            steps=500_000,
            batch=128,
            data="mnist",
            log_every=1000,
            sample_every=50_000,
            save_every=10_000,
            evaluate_every=50_000,
            evaluate_samples=25_600,
        ),
    ),
    "paper": Preset(
        Config(
            latent=100,
            prior="uniform",
            generator_width=64,
            discriminator_width=64,
            depth=4,
            kernel=5,
            full_resolution=False,
            pixels="unit",
            fixed_stacks=128_000,
            rules=Rules(
                generator_normalization="batch",
                discriminator_normalization="batch",
                generator_learning_rate=2e-4,
                discriminator_learning_rate=2e-4,
                beta1=0.5,
                beta2=0.999,
                generator_steps=2,
            ),
        ),
        Options(
            steps=200_000,
            batch=64,
            data="mnist",
            log_every=1000,
            sample_every=20_000,
            save_every=10_000,
            evaluate_every=20_000,
            evaluate_samples=26_000,
        ),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    images, rules = need_images(data), config.rules
    source = stacks(images, options.batch, config.fixed_stacks)
    shape = (*images.size[:2], STACKED)
    prior = PRIORS[config.prior](config.latent)
    nets: dict[str, Any] = {"kernel": config.kernel, "depth": config.depth or None, "dtype": DTYPES[config.dtype]}
    generator = strided.Generator(
        shape,
        config.generator_width,
        full_resolution=config.full_resolution,
        **nets,
        **generator_options(rules, prior),
    )
    seen = seen_shape(shape, rules)
    discriminator = strided.Discriminator(
        seen,
        config.discriminator_width,
        first_normalized=config.first_normalized,
        slope=config.slope,
        **nets,
        **discriminator_options(rules),
    )
    generator_net = adapt(generator, (config.latent,), couples_batch=rules.generator_normalization == "batch")
    discriminator_net = adapt(discriminator, seen, couples_batch=discriminator_couples_batch(rules))
    game = classic_game(rules, generator_net, discriminator_net, prior, options, shape)
    generate = generate_with(generator_net)
    judged = generate_with(_with_batch_statistics(generator_net)) if config.statistics == "batch" else generate
    if config.pixels == "unit":
        source = replace(source, batch=_unit(source.batch))
        generate, judged = _signed(generate), _signed(judged)
    classified = options.features != "random-conv" and images.num_classes > 1
    return Recipe(
        stages=(Stage(game, options.steps, source, hyper=numbers(rules)),),
        prior=prior,
        generate=generate,
        draw=draw_images,
        reals=draw_stacks(images, 64) if len(images.image) else None,
        evaluations={"stacks": _evaluation(images, options, judged, prior)},
        best=("stacks", "reverse_kl" if classified else "frechet_distance", 1),
        alarm=partial(collapse_alarm, logits_are_odds=LOSSES[rules.loss].zero_separates),
    )


def draw_stacks(images: Images, n: int, seed: int = 0) -> np.ndarray:
    """`n` real stacks, float32 [n, height, width, 3] in [-1, 1]."""
    source = stacks(images, n)
    return np.asarray(source.batch(source.arrays, jax.random.key(seed), jnp.int32(0))["image"])


def judge_stacks(net: FeatureNet, images: Images, stacked: np.ndarray) -> dict[str, Any]:
    """Modes among stacks [n, height, width, 3] in [-1, 1], each channel labelled by the classifier `net` of `images`.

    A net that names no classes gives distances instead, of single channels to the images.
    """
    channels = np.moveaxis(stacked, -1, 1).reshape(-1, *images.size)
    if net.classify is None:
        return protocol.evaluate(refer(images, net, metrics=QUICK), [(channels, None)], ("frechet", "kernel"))
    label = probabilities(net, channels).argmax(-1).reshape(-1, STACKED)
    return {
        **stack_statistics(label, images.num_classes),
        "n_fake": len(stacked),
        "features": net.name,
        "features_hash": net.identity[:16],
        "reference_hash": images.fingerprint[:16],
    }


def _evaluation(images: Images, options: Options, generate: Generate, prior: Prior) -> Evaluation:
    # looked up at the first evaluation, because the net may have to be trained
    net = cache(lambda: feature_net(options.features, images))

    def evaluate(state: State, key: Key) -> Mapping[str, Any]:
        stacked, _ = in_batches(generate, prior, state, key, options.evaluate_samples, options.batch)
        return judge_stacks(net(), images, stacked)

    return evaluate


def _with_batch_statistics(net: Net) -> Net:
    def apply(variables: Any, latent: Array, train: bool = False) -> Any:
        # the key is for dropout, which is then the same in every batch
        return net.apply(variables, latent, key=jax.random.key(0), train=True)

    return replace(net, apply=apply)


def _unit(batch: BatchFn) -> BatchFn:
    def unit(arrays: Mapping[str, Array], key: Key, step: Array) -> Batch:
        made = batch(arrays, key, step)
        return {**made, "image": (made["image"] + 1.0) / 2.0}

    return unit


def _signed(generate: Generate) -> Generate:
    def signed(state: State, inputs: Any, truncation: float) -> Array:
        return jnp.clip(2.0 * generate(state, inputs, truncation) - 1.0, -1.0, 1.0)

    return signed
