"""What recipes have in common: how samples are drawn, shown and judged."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Key, image_grid, to_uint8
from jaxgan.config import Options
from jaxgan.data import toy
from jaxgan.data.images import Images
from jaxgan.evaluation.modes import mode_statistics, wasserstein
from jaxgan.game import Net, State
from jaxgan.latent import truncate
from jaxgan.nets.layers import BatchNorm
from jaxgan.recipes import protocol
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.protocol import Reference, refer
from jaxgan.training.recipe import Evaluation

Generate = Callable[[State, Any, float], Array]
Prior = Callable[[Key, int, Array | None], Any]

PICTURE_PIXELS = 512
# what is measured at every evaluation of a training; the rest waits for its end
QUICK = ("frechet", "classes")


def generate_with(net: Net, codes: int = 0) -> Generate:
    """Samples of the player "generator", with its averaged parameters where there are any.

    Inputs are latents, or (latents, labels). Truncation moves the latents towards the prior's mean:
    1 leaves them, 0 gives one output (per class). codes: how many of the last dimensions it leaves alone.
    """

    def generate(state: State, inputs: Any, truncation: float) -> Array:
        latent, *label = inputs if isinstance(inputs, tuple) else (inputs,)
        variables = {"params": state.ema.get("generator", state.params["generator"]), **state.variables["generator"]}
        noise = latent.shape[-1] - codes
        truncated = jnp.concatenate([truncate(latent[..., :noise], truncation), latent[..., noise:]], axis=-1)
        return net.apply(variables, truncated if codes else truncate(latent, truncation), *label, train=False)[0]

    return generate


def standing_statistics(
    net: Net,
    prior: Prior,
    passes: int,
    batch: int,
    truncated: Callable[[Any, float], Any] = lambda inputs, truncation: inputs,
) -> Callable[[State, Key, float], State]:
    """A `Recipe.ready`: the generator's batch statistics measured anew, with the weights that samples are made with.

    The means and variances of `passes` batches of `batch` fresh latents, made by the net in training mode with
    averaged parameters where there are any, are averaged and stand in for the running ones, which lag behind
    and are of the parameters that were trained. Brock et al. 2019, arXiv 1809.11096, section 3.1.

    truncated: (inputs, truncation) -> inputs as `generate` takes them: samples of truncated latents have
        statistics of their own, as in the released modules of that paper.
    """

    @partial(jax.jit, static_argnums=3)
    def measured(params: Any, running: Any, key: Key, truncation: float) -> Any:
        def one_pass(running: Any, key: Key) -> Any:
            latent_key, noise_key = jax.random.split(key)
            inputs = truncated(prior(latent_key, batch, None), truncation)
            told = inputs if isinstance(inputs, tuple) else (inputs,)
            return net.apply({"params": params, **running}, *told, key=noise_key, train=True)[1]

        return standing(running, one_pass, jax.random.split(key, passes))

    def ready(state: State, key: Key, truncation: float = 1.0) -> State:
        params, running = state.ema.get("generator", state.params["generator"]), state.variables["generator"]
        return replace(state, variables={**state.variables, "generator": measured(params, running, key, truncation)})

    return ready


def standing(running: Any, one_pass: Callable[[Any, Any], Any], given: Any) -> Any:
    """A net's running variables with its batch statistics measured anew: their mean over passes in training mode.

    one_pass: (running variables, one of `given`) -> the running variables after it. given: arrays [passes, ...].
    All normalizations of the net are `BatchNorm` or `ConditionalBatchNorm`, with their share of the past. Variables
    without batch statistics come back as they are.
    """
    if "batch_stats" not in running:
        return running
    # from zero, what a pass leaves is its own share
    start = {**running, "batch_stats": jax.tree.map(jnp.zeros_like, running["batch_stats"])}
    found = jax.lax.map(lambda one: one_pass(start, one)["batch_stats"], given)
    return {**running, "batch_stats": jax.tree.map(lambda x: jnp.mean(x, axis=0) / (1.0 - BatchNorm.momentum), found)}


def made_in_batches(
    generate: Generate, prior: Prior, state: State, key: Key, n: int, batch: int = 500
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """`n` outputs, `batch` at a time from one compiled program, each with the labels asked for (or None)."""
    program = _batch_program(generate, prior, batch)
    for i in range(-(-n // batch)):
        outputs, label = jax.device_get(program(state, jax.random.fold_in(key, i)))
        left = n - i * batch
        yield outputs[:left], None if label is None else label[:left]


def in_batches(
    generate: Generate, prior: Prior, state: State, key: Key, n: int, batch: int = 500
) -> tuple[np.ndarray, np.ndarray | None]:
    """All outputs of `made_in_batches` as one array, and all labels (or None)."""
    outputs, labels = zip(*made_in_batches(generate, prior, state, key, n, batch), strict=True)
    return np.concatenate(outputs), None if labels[0] is None else np.concatenate(labels)


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


def weights_of(state: State) -> str:
    """Which weights of the generator samples are made with: averaged ones where they are kept."""
    return "ema" if "generator" in state.ema else "raw"


def image_evaluation(images: Images, options: Options, generate: Generate, prior: Prior) -> Evaluation:
    """The evaluation "images": samples against the training images, by the metrics that cost next to nothing."""

    # looked up at the first evaluation, because the net may have to be trained
    @cache
    def reference() -> Reference:
        return refer(images, feature_net(options.features, images), metrics=QUICK)

    def evaluate(state: State, key: Key) -> Mapping[str, Any]:
        against = reference()
        quick = [name for name in QUICK if name != "classes" or against.net.classify is not None]
        fakes = made_in_batches(generate, prior, state, key, options.evaluate_samples)
        row = protocol.evaluate(against, fakes, quick)
        return row | {"weights": weights_of(state)}

    return evaluate


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
