"""A trained run seen from its latents: the spaces they lie in, and what is seen on the pictures made of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Key
from jaxgan.config import RequestError
from jaxgan.data.images import Images
from jaxgan.evaluation.features import FeatureNet, probabilities
from jaxgan.evaluation.moments import ATTRIBUTES, SCORES
from jaxgan.game import State
from jaxgan.recipes.dataset import open_data
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.folder import Run, check_unchanged

BATCH = 250


@dataclass(frozen=True)
class Space:
    """A latent space of a run: Z, that of the prior, or W, behind the mapping network.

    draw: (state, key, n, condition) -> latents [n, dimension], flat, and what else the generator is told or None.
    outputs: (state, latents [n, dimension], told) -> images [n, height, width, channel], or points.
    told: whether `outputs` needs a class. In W it is in the style already.
    """

    name: str
    draw: Callable[[State, Key, int, Array | None], tuple[Array, Array | None]]
    outputs: Callable[[State, Array, Array | None], Array]
    told: bool


def space_of(run: Run, name: str | None = None) -> Space:
    """The space "z" or "w" of a run; by default w where there is one."""
    recipe, prior, generate = run.recipe, run.prior, run.generate
    inputs = jax.eval_shape(lambda key: prior(key, 2, None), jax.random.key(0))
    told = isinstance(inputs, tuple)
    style, synthesize = recipe.style, recipe.synthesize
    if name == "w" and (style is None or synthesize is None):
        raise RequestError(f"--space w: {run.recipe_name} has no second latent space; there is z")
    if style is None or synthesize is None or name == "z":

        def draw(state: State, key: Key, n: int, condition: Array | None) -> tuple[Array, Array | None]:
            drawn = prior(key, n, condition)
            return drawn if told else (drawn, None)

        def outputs(state: State, latents: Array, label: Array | None) -> Array:
            made: Array = generate(state, latents if label is None else (latents, label), 1.0)
            return made

        return Space("z", draw, outputs, told)
    shape = jax.eval_shape(style, run.state, inputs).shape[1:]

    def draw_style(state: State, key: Key, n: int, condition: Array | None) -> tuple[Array, None]:
        return style(state, prior(key, n, condition)).reshape(n, -1), None

    def from_style(state: State, latents: Array, label: Array | None) -> Array:
        return synthesize(state, latents.reshape(-1, *shape))

    return Space("w", draw_style, from_style, False)


@dataclass(frozen=True, eq=False)
class Explorer:
    """A run and one of its latent spaces; its data and their classifier are opened once somebody asks for them."""

    run: Run
    space: Space
    kept: dict[str, Any] = field(default_factory=dict, repr=False)

    def draw(self, seed: int, stream: int, n: int, class_: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Latents [n, dimension] and what else the generator is told [n], or None. stream: draws of one seed differ."""
        self.run.check_class(class_)
        condition = None if class_ is None else jnp.full((n,), class_, jnp.int32)
        program = jax.jit(self.space.draw, static_argnums=2)
        key = jax.random.fold_in(jax.random.key(seed), stream)
        latents, label = program(self.run.state, key, n, condition)
        return np.asarray(latents), None if label is None else np.asarray(label)

    def outputs(self, latents: np.ndarray, label: np.ndarray | None) -> np.ndarray:
        """Images float32 [n, height, width, channel] in [-1, 1] of latents [n, dimension]."""
        program = self.kept.setdefault("outputs", jax.jit(self.space.outputs))
        parts = []
        for start in range(0, len(latents), BATCH):
            rows = np.arange(start, start + BATCH).clip(max=len(latents) - 1)
            told = None if label is None else label[rows]
            parts.append(np.asarray(program(self.run.state, latents[rows], told)))
        return np.concatenate(parts)[: len(latents)]

    def score(self, name: str, images: np.ndarray) -> np.ndarray:
        """One number an image: a moment, an attribute (a moment with its sign), or "class:NAME", its probability."""
        kind, _, class_ = name.partition(":")
        if kind == "class":
            return self.probabilities(images)[:, find_class(self.run, class_)]
        moment, sign = ATTRIBUTES.get(name, (name, 1))
        if moment not in SCORES:
            raise RequestError(
                f"there is no score {name!r}; there are {', '.join((*SCORES, *ATTRIBUTES))} and class:NAME"
            )
        return sign * np.asarray(jax.jit(SCORES[moment])(images))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """[n, classes], by the classifier of the data set."""
        net = self.feature_net()
        found = None if net.classify is None else probabilities(net, images)
        if found is None or found.shape[1] != len(self.run.data["classes"]):
            raise RequestError(
                f"feature net {net.name} does not know the classes of the data: give --features classifier"
            )
        return found

    def feature_net(self) -> FeatureNet:
        if "net" not in self.kept:
            self.kept["net"] = feature_net(self.run.options.features, self.data())
        found: FeatureNet = self.kept["net"]
        return found

    def data(self) -> Images:
        if "data" not in self.kept:
            data = open_data(self.run.options)
            check_unchanged(self.run.directory, self.run.data, data)
            self.kept["data"] = data
        found: Images = self.kept["data"]
        return found


def explorer(run: Run, space: str | None = None, features: str | None = None) -> Explorer:
    """What the functions below take. features: a feature net other than the one the run was measured with."""
    seen = space_of(run, space)

    def made(key: Key) -> Array:
        return seen.outputs(run.state, *seen.draw(run.state, key, 2, None))

    if jax.eval_shape(made, jax.random.key(0)).ndim != 4:
        raise RequestError(f"{run.directory} is a run of {run.recipe_name}, which makes points: this is for images")
    options = run.options if features is None else replace(run.options, features=features)
    return Explorer(replace(run, options=options), seen)


def find_class(run: Run, name: str) -> int:
    """The number of a class of the run's data by its name, or else by its number."""
    classes = list(run.data["classes"])
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    known = ", ".join(classes) if classes else "none: the data have no labels"
    raise RequestError(f"there is no class {name!r}; there are {known}")
