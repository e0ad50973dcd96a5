"""The folder of a run: what it says of itself, and the trained system rebuilt from nothing else."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgan
from jaxgan import recipes
from jaxgan.config import Options, RequestError, from_json, to_json
from jaxgan.game import State
from jaxgan.recipes.dataset import Data, describe, recall
from jaxgan.training.checkpoint import Checkpoints, unflatten, write_atomically
from jaxgan.training.program import abstract_state
from jaxgan.training.recipe import Recipe


@dataclass(frozen=True)
class Description:
    """config.json: what rebuilds a run exactly."""

    recipe: str
    config: Any
    options: Options
    data: Mapping[str, Any]


def write_description(directory: Path, recipe: str, config: Any, options: Options, data: Data) -> None:
    content = {
        "recipe": recipe,
        "config": to_json(config),
        "options": to_json(options),
        "data": describe(data),
        "version": jaxgan.__version__,
    }
    write_atomically(directory / "config.json", json.dumps(content, indent=2) + "\n")


def read_description(directory: Path) -> Description:
    """Reads config.json; `RequestError` if the folder is no run, or one of a version that is not this one's."""
    path = directory / "config.json"
    if not path.is_file():
        what = "is not a run: it has no config.json" if directory.is_dir() else "does not exist"
        raise RequestError(f"{directory} {what}")
    try:
        content = json.loads(path.read_text())
        version, name = str(content["version"]), str(content["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path} is damaged: {error!r}") from error
    if version.split(".")[:2] != jaxgan.__version__.split(".")[:2]:
        raise RequestError(
            f"{directory} was made by jaxgan {version}, and this is {jaxgan.__version__}: "
            f"use it with pip install 'jaxgan=={version}'"
        )
    try:
        config = from_json(recipes.find(name).Config, content["config"])
        recall(content["data"])
        return Description(name, config, from_json(Options, content["options"]), content["data"])
    except RequestError as error:
        raise RequestError(f"{path} cannot be used: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path} is damaged: {error!r}") from error


@dataclass(frozen=True)
class Run:
    """A trained system: `prior` and `generate` of its recipe, and the state of one checkpoint."""

    directory: Path
    recipe_name: str
    config: Any
    options: Options
    data: Mapping[str, Any]
    recipe: Recipe = field(repr=False)
    state: State = field(repr=False)
    step: int

    @property
    def prior(self) -> Any:
        return self._generator().prior

    @property
    def generate(self) -> Any:
        return self._generator().generate

    def sample(
        self, n: int = 64, seed: int = 0, condition: int | None = None, truncation: float = 1.0, batch: int = 256
    ) -> np.ndarray:
        """`n` outputs, float32 [n, ...]: images in [-1, 1], or points.

        Sample i depends on (seed, i) alone, not on n. condition: a class index, for conditional systems.
        """
        recipe = self._generator()
        if condition is not None and not 0 <= condition < recipe.num_classes:
            if recipe.num_classes == 0:
                raise RequestError(f"{self.directory} is unconditional: it takes no class")
            raise RequestError(f"class {condition} does not exist; classes are 0..{recipe.num_classes - 1}")
        labels = None if condition is None else jnp.full((batch,), condition, jnp.int32)

        def make(state: State, key: Any) -> Any:
            assert recipe.prior is not None and recipe.generate is not None
            return recipe.generate(state, recipe.prior(key, batch, labels), truncation)

        program, key = jax.jit(make), jax.random.key(seed)
        parts = [np.asarray(program(self.state, jax.random.fold_in(key, i))) for i in range(-(-n // batch))]
        return np.concatenate(parts)[:n]

    def draw(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs as one uint8 picture [height, width, channel]."""
        draw = self._generator().draw
        assert draw is not None
        return draw(outputs)

    def _generator(self) -> Recipe:
        if self.recipe.generate is None:
            raise RequestError(f"{self.directory} is a run of {self.recipe_name}, which generates nothing")
        return self.recipe


def load(directory: str | Path, checkpoint: int | str = "final") -> Run:
    """The run in a folder, rebuilt from the folder alone.

    checkpoint: "final" (the newest intact one), "best" (by the recipe's evaluation), or a step.
    """
    directory = Path(directory)
    description = read_description(directory)
    recipe = recipes.find(description.recipe).make(description.config, description.options, recall(description.data))
    checkpoints = Checkpoints(directory / "checkpoints", warn=lambda message: print(message, file=sys.stderr))
    steps = checkpoints.steps()
    if not steps:
        raise RequestError(f"{directory} has no checkpoint yet")
    if checkpoint == "best":
        best = checkpoints.best()
        if best is None:
            raise RequestError(f"{directory} has no best checkpoint: it was never evaluated")
        step: int | None = best
    elif checkpoint == "final":
        step = None
    else:
        step = int(checkpoint) if str(checkpoint).isdecimal() else None
        if step not in steps:
            raise RequestError(f"{directory} has no checkpoint {checkpoint}; there are final, best and {steps}")

    def like(step: int) -> State:
        return abstract_state(recipe.stages[recipe.stage_at(max(step - 1, 0))])

    arrays_step, arrays = checkpoints.restore_arrays(step)
    state_arrays = {n.removeprefix("state."): a for n, a in arrays.items() if n.startswith("state.")}
    state = jax.device_put(unflatten(state_arrays, like(arrays_step)))
    return Run(
        directory,
        description.recipe,
        description.config,
        description.options,
        description.data,
        recipe,
        state,
        arrays_step,
    )
