"""Semi-supervised learning: a discriminator of K + 1 classes, and a generator that matches its features.

Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, "Improved Techniques for Training GANs", 2016,
arXiv 1606.03498, sections 3.1 and 5; the numbers are those of the authors' code for MNIST.

    jaxgan train semi_supervised                                   8x8 digits with 5 labels of each, a minute
    jaxgan train semi_supervised --seeds 5 --vary unlabelled=true,false --sample-every 0     beside the baseline
    jaxgan train semi_supervised --preset paper --seeds 10         MNIST, 300 epochs: an accelerator

`labels` images have a label, as many of each class; which ones follows from the seed. All training
images, those among them, are also used without. The baseline, `--unlabelled false`, is the same net on
the same labelled batches for as many steps. Test images are classified by averaged parameters and without noise.

Expected of the defaults, seed 0: 24 of the 300 test images wrong; over seeds 0 to 2 of 4,000 steps 26.3 on
average (standard error 1.8), and 45 (1.7) without the generator. Its samples are digits, blurred and many
of them malformed: feature matching serves the classifier. More labels and fewer: experiments/semi_supervised.py.

Unlike the authors' code: their average starts at 0 and is not corrected, which shrinks every weight
of a run of 18,000 steps by a sixth; here it is divided by the sum of its weights, and the same after
180,000. D and G see the same latents in a step. The 500 images that the first scales are computed
from are the same for all seeds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan.arrays import Array, Key, to_float
from jaxgan.config import Options, Preset, RequestError, at_least, fraction
from jaxgan.data.images import Images
from jaxgan.data.labelled import by_class, few_labels
from jaxgan.data.pixels import in_parts
from jaxgan.game import Net, Player, State
from jaxgan.games.semi_supervised import semi_supervised
from jaxgan.games.two_player import collapse_alarm
from jaxgan.latent import truncate
from jaxgan.nets.adapt import adapt
from jaxgan.nets.weight_normalized import Classifier, Generator
from jaxgan.optimizers import from_hyper
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.judging import draw_images
from jaxgan.recipes.rules import DTYPES, Dtype
from jaxgan.training.recipe import Evaluation, Recipe, Stage

# images from which the first scales are computed
FIRST = 500


@dataclass(frozen=True)
class Config:
    labels: int = 50
    """Training images that have a label, as many of each class: a multiple of the number of classes."""
    unlabelled: bool = True
    """Learn from images without a label, too; false leaves the generator out: the supervised baseline."""
    latent: int = 100
    """Dimensions of the latent, uniform in (0, 1)."""
    generator_width: int = 128
    """Units of each of the generator's two hidden layers."""
    discriminator_width: int = 256
    """Units of the first of the discriminator's five hidden layers; then a half, and three times a quarter."""
    input_noise: float = 0.3
    """Deviation of the noise on the pixels that D sees, which lie in [0, 1]."""
    noise: float = 0.5
    """Deviation of the noise on D's hidden activations."""
    learning_rate: float = 3e-3
    """Adam's step size, for both."""
    ema_decay: float = 0.999
    """Averaging of D's weights for the test, free of the bias of its start; 0 for none."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""

    def __post_init__(self) -> None:
        at_least(self, 1, "labels", "latent", "generator_width", "discriminator_width")
        at_least(self, 0, "input_noise", "noise", "learning_rate")
        fraction(self, "ema_decay")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=6000, batch=100, data="digits", evaluate_every=1000)),
    "paper": Preset(
        Config(labels=100, generator_width=500, discriminator_width=1000, ema_decay=0.9999),
        Options(steps=180_000, batch=100, data="mnist", sample_every=6000, save_every=6000, evaluate_every=6000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    images = need_images(data)
    _check(config, images)
    dtype = DTYPES[config.dtype]
    generator = adapt(Generator(images.size, config.generator_width, dtype=dtype), (config.latent,), couples_batch=True)
    discriminator = adapt(
        Classifier(images.num_classes, config.discriminator_width, config.input_noise, config.noise, dtype),
        images.size,
        first=(_first(images),),
    )
    prior = partial(_uniform, config.latent)
    average = _unbiased(config.ema_decay) if config.ema_decay else None
    hyper = {"learning_rate": config.learning_rate}
    # epsilon stands inside the root
    adam = from_hyper(lambda h, step: optax.adam(h["learning_rate"], 0.5, 0.999, eps=0.0, eps_root=1e-8), hyper)
    game = semi_supervised(
        Player(generator, adam), Player(discriminator, adam, average), prior, unlabelled=config.unlabelled
    )
    tested = images.test_image is not None and images.test_label is not None
    generates: dict[str, Any] = {"prior": prior, "generate": partial(_generate, generator), "draw": draw_images}
    return Recipe(
        stages=(Stage(game, options.steps, few_labels(images, config.labels, options.batch), hyper=hyper),),
        **(generates if config.unlabelled else {}),
        reals=np.asarray(images.image)[:64] if config.unlabelled and len(images.image) else None,
        evaluations={"test": _evaluation(discriminator, images, config.labels)} if tested else {},
        alarm=partial(collapse_alarm, logits_are_odds=False),
    )


def _check(config: Config, images: Images) -> None:
    k = images.num_classes
    if k < 2:
        raise RequestError(f"semi_supervised needs at least 2 classes, and {images.name} has {k}")
    if config.labels % k:
        below = max(config.labels // k, 1) * k
        raise RequestError(
            f"--labels is as many of each of the {k} classes, {below} or {below + k} say, got {config.labels}"
        )
    if not isinstance(images.image, np.ndarray):
        raise RequestError(f"semi_supervised needs images in memory, and {images.name} is read as it is needed")
    if len(images.image) and images.label is not None:
        least = int(by_class(images.label, k).count.min())
        if least * k < config.labels:
            raise RequestError(f"--labels is at most {least * k}: a class of {images.name} has {least} images")


def _first(images: Images) -> Array:
    """The images that initialise D: the same for every seed, so that the members of a population are single runs."""
    rows = np.random.default_rng(0).permutation(len(images.image))[:FIRST]
    return to_float(jnp.asarray(np.asarray(images.image)[rows]))


def _uniform(latent: int, key: Key, n: int, condition: Array | None = None) -> Array:
    return jax.random.uniform(key, (n, latent))


def _unbiased(decay: float) -> Callable[[Array], Array]:
    """The decays with which an average from any start is the one from 0 divided by the sum of its weights."""
    return lambda step: 1.0 + (1.0 - decay) / jnp.expm1((step + 1.0) * np.log(decay))


def _generate(net: Net, state: State, inputs: Array, truncation: float) -> Array:
    variables = {"params": state.params["generator"], **state.variables["generator"]}
    return net.apply(variables, truncate(inputs, truncation, 0.5), train=False)[0]


def _evaluation(net: Net, images: Images, labels: int) -> Evaluation:
    @jax.jit
    def classes(variables: Any, part: Array) -> Array:
        return jnp.argmax(net.apply(variables, to_float(part), train=False)[0], axis=-1)

    def evaluate(state: State, key: Key) -> Mapping[str, Any]:
        assert images.test_image is not None
        params = state.ema.get("discriminator", state.params["discriminator"])
        variables = {"params": params, **state.variables["discriminator"]}
        found = np.concatenate([np.asarray(classes(variables, part)) for part in in_parts(images.test_image)])
        errors = int((found != images.test_label).sum())
        return {
            "errors": errors,
            "error_rate": errors / len(found),
            "accuracy": 1 - errors / len(found),
            "n_test": len(found),
            "n_labels": labels,
            "weights": "ema" if "discriminator" in state.ema else "raw",
            "note": images.note,
        }

    return evaluate
