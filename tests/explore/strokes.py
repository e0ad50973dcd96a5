"""A system whose latent space is known: strokes on 16x16 pixels of which each latent dimension changes one thing."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.config import Options
from jaxgan.evaluation.features import FeatureNet
from jaxgan.explore.space import Explorer, space_of
from jaxgan.game import State
from jaxgan.latent import labelled, normal_prior
from jaxgan.recipes.folder import Run
from jaxgan.training.recipe import Recipe, Stage

SLANT, THICKNESS, ACROSS, NOTHING = range(4)
KERNEL = jnp.diag(jnp.array([0.35, 0.7, 2.0, 0.0]))
"""What the first layer makes of the latent: that of the averaged weights. Training has the opposite order of sizes."""


def strokes(parameters, label=None):
    """Images [n, 16, 16, 1] of one bar each, from the first layer's output [n, 4]; bars of class 1 are shorter."""
    y, x = (jnp.arange(16.0) - 7.5).reshape(1, 16, 1), (jnp.arange(16.0) - 7.5).reshape(1, 1, 16)
    slant, thick, across = (parameters[:, i].reshape(-1, 1, 1) for i in (SLANT, THICKNESS, ACROSS))
    height = 6.0 if label is None else 6.0 - 3.0 * label.astype(jnp.float32).reshape(-1, 1, 1)
    distance = jnp.abs(x - across + y * jnp.tanh(slant))
    # from 1.5 to 4.5 pixels, with soft edges
    inside = jax.nn.sigmoid(4.0 * (1.5 + 0.75 * jnp.tanh(thick) - distance)) * jax.nn.sigmoid(
        4.0 * (height - jnp.abs(y))
    )
    return (2.0 * inside - 1.0)[..., None]


def halves(images):
    """Probabilities [n, 2] of the classes: ink in the left half, or in the right."""
    ink = (images[..., 0] + 1.0) / 2.0
    right = jax.nn.sigmoid(jnp.sum(ink * (jnp.arange(16.0) - 7.5).reshape(1, 1, 16), axis=(1, 2)) / 10.0)
    return jnp.stack([1.0 - right, right], axis=1)


def explorer(conditional: bool = False, second_space: bool = False, space: str | None = None) -> Explorer:
    prior = labelled(normal_prior(4), 2) if conditional else normal_prior(4)

    def read(state, latents):
        return latents @ state.ema["generator"]["first"]["kernel"]

    def generate(state, inputs, truncation):
        latents, *label = inputs if isinstance(inputs, tuple) else (inputs,)
        if second_space:
            return strokes(read(state, style(state, inputs)[:, 0]), *label)
        return strokes(read(state, truncation * latents), *label)

    def style(state, inputs):
        # [n, 2, 4], as a net has a style for each of its layers: no normal latents any more
        z = inputs[0] if isinstance(inputs, tuple) else inputs
        return jnp.stack([z * jnp.array([[1.0, 0.5, 2.0, 4.0]]) + 0.3, 10.0 + z], axis=1)

    second = {"style": style, "synthesize": lambda state, styles: strokes(read(state, styles[:, 0]))}
    stage = Stage(game=None, until=1, source=None)  # type: ignore[arg-type]
    recipe = Recipe((stage,), prior, generate, num_classes=2 if conditional else 0, **(second if second_space else {}))
    trained = {"first": {"kernel": KERNEL[::-1, ::-1]}, "other": {"kernel": jnp.ones((4, 3))}}
    averaged = {"first": {"kernel": KERNEL}, "other": {"kernel": jnp.ones((4, 3))}}
    empty: dict = {}
    state = State(
        jnp.int32(1), jax.random.key(0), {"generator": trained}, empty, empty, {"generator": averaged}, empty, empty
    )
    data = {"shape": [16, 16, 1], "classes": ["left", "right"], "resizer": "none", "name": "strokes"}
    run = Run(Path("strokes"), "strokes", None, Options(), data, recipe, state, 1)
    found = Explorer(run, space_of(run, space))
    found.kept["net"] = FeatureNet("halves", lambda images: images.reshape(len(images), -1), halves, "")
    return found


def angle_to(direction, dimension: int) -> float:
    """The cosine between a direction and a dimension of the latent."""
    return float(direction[dimension] / np.linalg.norm(direction))


def without_classes(found: Explorer) -> Explorer:
    return replace(found, kept={**found.kept, "net": replace(found.kept["net"], classify=None)})
