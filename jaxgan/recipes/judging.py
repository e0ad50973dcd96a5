"""What recipes have in common: how samples are drawn, shown and judged."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

import jax
import numpy as np

from jaxgan.arrays import Array, Key, image_grid, to_uint8
from jaxgan.config import Options
from jaxgan.data import toy
from jaxgan.data.images import Images
from jaxgan.evaluation.features import FeatureNet, features, probabilities
from jaxgan.evaluation.frechet import frechet_distance, moments
from jaxgan.evaluation.kernel import kernel_distance
from jaxgan.evaluation.modes import class_statistics, mode_statistics, wasserstein
from jaxgan.game import Net, State
from jaxgan.latent import truncate
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.training.recipe import Evaluation

Generate = Callable[[State, Any, float], Array]
Prior = Callable[[Key, int, Array | None], Any]

PICTURE_PIXELS = 512


def generate_with(net: Net) -> Generate:
    """Samples of the player "generator", with its averaged parameters where there are any.

    Inputs are latents, or (latents, labels). Truncation moves the latents towards the prior's mean:
    1 leaves them, 0 gives one output (per class).
    """

    def generate(state: State, inputs: Any, truncation: float) -> Array:
        latent, *label = inputs if isinstance(inputs, tuple) else (inputs,)
        variables = {"params": state.ema.get("generator", state.params["generator"]), **state.variables["generator"]}
        return net.apply(variables, truncate(latent, truncation), *label, train=False)[0]

    return generate


def in_batches(
    generate: Generate, prior: Prior, state: State, key: Key, n: int, batch: int = 500
) -> tuple[np.ndarray, np.ndarray | None]:
    """`n` outputs as numpy, made `batch` at a time by one compiled program, and the labels asked for (or None)."""
    program = _batch_program(generate, prior, batch)
    parts = [jax.device_get(program(state, jax.random.fold_in(key, i))) for i in range(-(-n // batch))]
    labels = None if parts[0][1] is None else np.concatenate([label for _, label in parts])[:n]
    return np.concatenate([outputs for outputs, _ in parts])[:n], labels


@lru_cache(maxsize=8)
def _batch_program(generate: Generate, prior: Prior, batch: int) -> Callable[[State, Key], tuple[Array, Array | None]]:
    # kept, because every evaluation, of every member of a population, asks for the same one
    @jax.jit
    def program(state: State, key: Key) -> tuple[Array, Array | None]:
        inputs = prior(key, batch, None)
        return generate(state, inputs, 1.0), inputs[1] if isinstance(inputs, tuple) else None

    return program


def draw_images(images: np.ndarray) -> np.ndarray:
    """A sheet of images [n, height, width, channel] in [-1, 1] or uint8, enlarged so that small ones are seen."""
    pictures = images if images.dtype == np.uint8 else np.asarray(to_uint8(images))
    sheet = image_grid(pictures)
    scale = max(1, PICTURE_PIXELS // max(sheet.shape[:2]))
    return sheet.repeat(scale, axis=0).repeat(scale, axis=1)


def judge_images(
    net: FeatureNet, images: Images, real: np.ndarray, fake: np.ndarray, label: np.ndarray | None
) -> dict[str, Any]:
    """Frechet and kernel distance between real and fake images on a feature net, and, where it
    classifies, how many fakes it recognises, and as the class that was asked for if one was.
    Every row says what it was measured with."""
    real_features, fake_features = features(net, real), features(net, fake)
    distance = frechet_distance(moments(real_features), moments(fake_features))
    subset = min(1000, len(real), len(fake))
    kernel, kernel_error = kernel_distance(real_features, fake_features, subset_size=subset)
    row = {"frechet_distance": distance, "kernel_distance": kernel, "kernel_distance_error": kernel_error}
    if net.classify is not None:
        seen = probabilities(net, fake)
        row |= class_statistics(seen)
        if label is not None:
            row["agreement"] = float((seen.argmax(-1) == label).mean())
    return row | {
        "n_real": len(real),
        "n_fake": len(fake),
        "features": net.name,
        "features_hash": net.identity[:16],
        "reference_hash": images.fingerprint[:16],
        "resizer": images.resizer,
    }


def image_evaluation(images: Images, options: Options, generate: Generate, prior: Prior) -> Evaluation:
    """The evaluation "images": samples against the training images."""
    # looked up at the first evaluation, because the net may have to be trained
    net = cache(lambda: feature_net(options, images))

    def evaluate(state: State, key: Key) -> Mapping[str, Any]:
        real = images.image[:] if isinstance(images.image, np.ndarray) else _some(images.image)
        fake, label = in_batches(generate, prior, state, key, options.evaluate_samples)
        return judge_images(net(), images, real, fake, label)

    return evaluate


def _some(images: Any, limit: int = 10_000) -> np.ndarray:
    return np.stack([images[i] for i in range(min(limit, len(images)))])


def toy_evaluation(mixture: toy.Mixture, options: Options, generate: Generate, prior: Prior) -> Evaluation:
    """The evaluation "modes": samples against the known mixture.

    `wasserstein` is exact between two samples of `n_transport` points, and biased upwards for it:
    `wasserstein_floor` is what two real samples of that size are apart.
    """

    def evaluate(state: State, key: Key) -> Mapping[str, Any]:
        fake, _ = in_batches(generate, prior, state, key, options.evaluate_samples)
        n = min(1000, options.evaluate_samples)
        reals = [np.asarray(toy.sample(mixture, jax.random.fold_in(key, i), n)) for i in (1, 2)]
        mixture_hash = hashlib.sha256(mixture.means.tobytes() + repr(mixture.deviation).encode()).hexdigest()
        return {
            **mode_statistics(fake, mixture.means, mixture.deviation),
            "wasserstein": wasserstein(fake[:n], reals[0]),
            "wasserstein_floor": wasserstein(reals[1], reals[0]),
            "n_real": n,
            "n_fake": len(fake),
            "n_transport": n,
            "reference_hash": mixture_hash[:16],
        }

    return evaluate
