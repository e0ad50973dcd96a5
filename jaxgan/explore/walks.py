"""Directions in the latent space of a run, how far each moves the pictures, and what a score does along it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan.arrays import Array, image_grid, to_uint8
from jaxgan.config import RequestError
from jaxgan.directions import (
    factorise,
    least_squares_direction,
    logistic_direction,
    principal_directions,
    random_directions,
    reading_kernels,
)
from jaxgan.explore.space import Explorer, find_class
from jaxgan.recipes import pictures
from jaxgan.training.log import write_picture

FEWEST = 5
GIF_SAMPLES = 4


@dataclass(frozen=True, eq=False)
class Found:
    """Directions [count, dimension], as long as one standard deviation of the latents along them, and what is known.

    says: for each, what a picture's row means. moved: root mean square change of pixels for a step of 1 to either
    side, and `random_moved` that of random directions of the same length.
    """

    method: str
    vectors: np.ndarray
    says: tuple[str, ...]
    moved: np.ndarray
    random_moved: float


def find(
    run: Explorer,
    method: str,
    count: int = 5,
    scores: Sequence[str] = (),
    n: int = 2000,
    seed: int = 0,
    class_: int | None = None,
) -> Found:
    """Directions by "pca" (of styles in W; in Z of the outputs), "factorisation" or "supervised", one for each score.

    Of a system that is told its class, the components are those within classes.
    """
    latents, told = run.draw(seed, 0, n, class_)
    if method == "factorisation":
        units, shares = _factorised(run, latents[0], None if told is None else told[:1], count)
        says = [f"{100 * share:.1f} % of the weights' square" for share in shares]
    elif method == "pca":
        activations = latents if run.space.name == "w" else run.outputs(latents, told).reshape(n, -1)
        if told is not None:
            for group in np.unique(told):
                activations[told == group] -= activations[told == group].mean(axis=0)
        try:
            units, shares = principal_directions(jnp.asarray(latents), jnp.asarray(activations), count)
        except ValueError as error:
            raise RequestError(f"--count: {error}") from error
        of = "styles" if run.space.name == "w" else "pictures"
        says = [f"{100 * share:.1f} % of the variance of {of}" for share in shares]
    else:
        images = run.outputs(latents, told)
        units = jnp.stack([_supervised(run, name, latents, images) for name in scores])
        says = list(scores)
    spread = np.std(latents @ np.asarray(units).T, axis=0)
    vectors = np.asarray(units) * spread[:, None]
    starts, told = run.draw(seed, 1, min(n, 500), class_)
    key = jax.random.fold_in(jax.random.key(seed), 2)
    others = np.asarray(random_directions(key, len(starts), latents.shape[1])) * spread.mean()

    def moved(direction: np.ndarray) -> float:
        ends = [run.outputs(starts + sign * direction, told) for sign in (-1, 1)]
        return float(np.sqrt(np.mean(np.square(ends[1] - ends[0])))) / 2

    return Found(method, vectors, tuple(says), np.array([moved(v) for v in vectors]), moved(others))


def _factorised(run: Explorer, latent: np.ndarray, label: np.ndarray | None, count: int) -> tuple[Array, Array]:
    state, name = run.run.state, "generator"
    # those that samples are made with
    params = state.ema.get(name, state.params[name])
    told = None if label is None else jnp.asarray(label)

    def outputs(params: Any) -> Array:
        changed = replace(state, params={**state.params, name: params}, ema={**state.ema, name: params})
        return run.space.outputs(changed, jnp.asarray(latent)[None], told)

    kernels = reading_kernels(outputs, params, jnp.asarray(latent), jax.random.key(0))
    if not kernels:
        raise RequestError(
            f"--method factorisation: no layer of this generator is a matrix of the whole latent {run.space.name}; "
            "use --method pca"
        )
    try:
        return factorise(kernels, count)
    except ValueError as error:
        raise RequestError(f"--count: {error}") from error


def _supervised(run: Explorer, name: str, latents: np.ndarray, images: np.ndarray) -> Array:
    scores = run.score(name, images)
    if not name.startswith("class:"):
        return least_squares_direction(jnp.asarray(latents), jnp.asarray(scores))
    positive = run.probabilities(images).argmax(1) == find_class(run.run, name.partition(":")[2])
    if min(positive.sum(), (~positive).sum()) < FEWEST:
        raise RequestError(f"{positive.sum()} of {len(images)} samples are {name}: nothing to separate")
    return logistic_direction(jnp.asarray(latents), jnp.asarray(positive))


def walk(
    run: Explorer,
    vectors: np.ndarray,
    strengths: ArrayLike,
    starts: int,
    seed: int = 0,
    class_: int | None = None,
) -> np.ndarray:
    """Pictures [directions, starts, strengths, height, width, channel] of the same latents along each direction."""
    latents, told = run.draw(seed, 3, starts, class_)
    places = latents[None, :, None] + np.asarray(strengths, np.float32)[None, None, :, None] * vectors[:, None, None]
    if told is not None:
        told = np.broadcast_to(told[None, :, None], places.shape[:3]).reshape(-1)
    made = run.outputs(places.reshape(-1, latents.shape[1]), told)
    return made.reshape(*places.shape[:3], *made.shape[1:])


def score_change(
    run: Explorer,
    score: str,
    vector: np.ndarray,
    strengths: ArrayLike,
    n: int = 500,
    seed: int = 0,
    class_: int | None = None,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean score at each strength [strengths] along a direction, along random ones as long, and its deviation at 0."""
    starts, told = run.draw(seed, 4, n, class_)
    key = jax.random.fold_in(jax.random.key(seed), 5)
    others = np.asarray(random_directions(key, n, starts.shape[1], float(np.linalg.norm(vector))))
    means = [
        [float(run.score(score, run.outputs(starts + np.float32(s) * way, told)).mean()) for s in np.asarray(strengths)]
        for way in (vector, others)
    ]
    deviation = float(run.score(score, run.outputs(starts, told)).std())
    return np.array(means[0]), np.array(means[1]), deviation


def table(run: Explorer, found: Found, strength: float, seed: int = 0, class_: int | None = None) -> list[str]:
    """What was found, in lines; of supervised directions also the mean score along them and along random ones."""
    width = max(len(says) for says in found.says) + 2
    lines = [f"{'':4}{'':{width}}change of pixels a step, against {found.random_moved:.4f} along random directions"]
    for i, (says, moved) in enumerate(zip(found.says, found.moved, strict=True), 1):
        lines.append(f"{i:<4}{says:{width}}{moved:.4f}, {moved / max(found.random_moved, 1e-9):.2f} times")
    if found.method != "supervised":
        return lines
    strengths = np.linspace(-strength, strength, 5)
    lines.append(f"{'mean score':28}" + "".join(f"{s:<10.3g}" for s in strengths))
    for name, vector in zip(found.says, found.vectors, strict=True):
        along, random, deviation = score_change(run, name, vector, strengths, seed=seed, class_=class_)
        for way, means in ((name, along), ("  random directions", random)):
            lines.append(f"{way:28}" + "".join(f"{mean:<10.3g}" for mean in means))
        lines.append(f"{'  deviation of samples':28}{deviation:.3g}")
    return lines


def draw(
    run: Explorer, found: Found, out: Path, strength: float, columns: int, seed: int = 0, class_: int | None = None
) -> None:
    """Writes the sheet, one sample along each direction from -strength to strength, and a GIF of four samples each."""
    made = walk(run, found.vectors, np.linspace(-strength, strength, columns), GIF_SAMPLES, seed, class_)
    images = np.asarray(to_uint8(made.reshape(-1, *made.shape[-3:]))).reshape(made.shape)
    write_picture(out, pictures.sheet(list(images[:, 0])))
    frames = images.swapaxes(0, 2).swapaxes(1, 2).reshape(columns, -1, *images.shape[3:])
    pictures.animate([pictures.enlarged(image_grid(frame, GIF_SAMPLES)) for frame in frames], out.with_suffix(".gif"))
