"""The folder of a run: what it says of itself, and the trained system rebuilt from nothing else."""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgan
from jaxgan import recipes
from jaxgan.config import Options, RequestError, changed, combinations, from_json, settings, to_json
from jaxgan.game import State
from jaxgan.recipes.dataset import Data, describe, recall
from jaxgan.training.checkpoint import Checkpoints, unflatten, write_atomically
from jaxgan.training.population import Group, Member
from jaxgan.training.program import abstract_state, lowered
from jaxgan.training.recipe import Recipe


class BrokenMember(RequestError):
    """A member of a population whose weights are not finite at the checkpoint that was asked for."""


@dataclass(frozen=True)
class Place:
    """A member of a population as config.json has it; `program` numbers the groups that share a compiled program."""

    member: int
    seed: int
    values: Mapping[str, Any]
    program: int


@dataclass(frozen=True)
class Description:
    """config.json: what rebuilds a run exactly. members: none for a single run."""

    recipe: str
    config: Any
    options: Options
    data: Mapping[str, Any]
    members: tuple[Place, ...] = ()


def find_members(recipe: str, config: Any, options: Options, data: Data) -> tuple[Place, ...]:
    """The members that the options ask for: every combination of values with every seed.

    Two combinations share a program if they differ in nothing but numbers that the program reads from
    its state (`Stage.hyper`), and the compiler's input is the same text for both.
    """
    wanted = combinations(config, options)
    make = recipes.find(recipe).make
    programs: dict[tuple[str, ...], int] = {}
    places: list[Place] = []
    for values in wanted:
        built = changed(config, _with_terms(values, wanted))
        stages = make(built, options, data).stages
        numbers = {name for stage in stages for name in stage.hyper}
        others = {name: value for name, value in settings(built).items() if name not in numbers}
        alone = len(wanted) == 1
        key = (json.dumps(others, sort_keys=True), *("" if alone else lowered(stage) for stage in stages))
        program = programs.setdefault(key, len(programs))
        for i in range(options.seeds):
            places.append(Place(len(places), options.seed + i, values, program))
    return tuple(places)


def _with_terms(values: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The values that a member's program is made with.

    A weight of 0 leaves its term out of the game. Where other members have the term, the member plays
    their program, in which the term then weighs 0.
    """

    def other(name: str, value: Any) -> Any:
        return next((v[name] for v in wanted if v[name]), value)

    return {n: other(n, v) if n.endswith("_weight") and v == 0 else v for n, v in values.items()}


def make_groups(recipe: str, config: Any, options: Options, data: Data, places: Sequence[Place]) -> tuple[Group, ...]:
    """The members by the program they share."""
    make, wanted = recipes.find(recipe).make, [place.values for place in places]
    groups = []
    for program in sorted({place.program for place in places}):
        ours = [place for place in places if place.program == program]
        made = make(changed(config, _with_terms(ours[0].values, wanted)), options, data)
        members = []
        for place in ours:
            own = changed(config, place.values)
            alone = make(own, replace(options, seed=place.seed), data)
            stages = [
                # a number whose term the member would leave out if it were alone is its setting's value
                replace(mine, hyper={n: float(mine.hyper.get(n, settings(own).get(n, x))) for n, x in s.hyper.items()})
                for mine, s in zip(alone.stages, made.stages, strict=True)
            ]
            members.append(Member(place.member, place.seed, replace(alone, stages=tuple(stages)), place.values))
        groups.append(Group(made, tuple(members)))
    return tuple(groups)


def write_description(
    directory: Path, recipe: str, config: Any, options: Options, data: Data, members: Sequence[Place] = ()
) -> None:
    population = {"members": [dataclasses.asdict(place) for place in members]} if members else {}
    content = {
        "recipe": recipe,
        "config": to_json(config),
        "options": to_json(options),
        "data": describe(data),
        **population,
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
        members = tuple(Place(**place) for place in content.get("members", ()))
        return Description(name, config, from_json(Options, content["options"]), content["data"], members)
    except RequestError as error:
        raise RequestError(f"{path} cannot be used: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path} is damaged: {error!r}") from error


def check_unchanged(directory: Path, described: Mapping[str, Any], data: Data) -> None:
    now = describe(data)
    if now != dict(described):
        raise RequestError(
            f"the data of {directory} have changed since: {described['name']} was "
            f"{str(described['fingerprint'])[:16]}, and is {str(now['fingerprint'])[:16]}"
        )


@dataclass(frozen=True)
class Run:
    """A trained system: `prior` and `generate` of its recipe, and the state of one checkpoint, ready to generate.

    member: which one of a population, None for a single run; `config` and `options` are the member's own.
    """

    directory: Path
    recipe_name: str
    config: Any
    options: Options
    data: Mapping[str, Any]
    recipe: Recipe = field(repr=False)
    state: State = field(repr=False)
    step: int
    member: int | None = None

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
        self.check_class(condition)
        labels = None if condition is None else jnp.full((batch,), condition, jnp.int32)

        def make(state: State, key: Any) -> Any:
            assert recipe.prior is not None and recipe.generate is not None
            return recipe.generate(state, recipe.prior(key, batch, labels), truncation)

        state = self.state if truncation == 1 else recipe.readied(self.state, self.options.seed, truncation)
        program, key = jax.jit(make), jax.random.key(seed)
        parts = [np.asarray(program(state, jax.random.fold_in(key, i))) for i in range(-(-n // batch))]
        return np.concatenate(parts)[:n]

    def check_class(self, condition: int | None) -> None:
        """RequestError for a class that there is not."""
        num_classes = self._generator().num_classes
        if condition is not None and not 0 <= condition < num_classes:
            if num_classes == 0:
                raise RequestError(f"{self.directory} is unconditional: it takes no class")
            raise RequestError(f"class {condition} does not exist; classes are 0..{num_classes - 1}")

    def draw(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs as one uint8 picture [height, width, channel]."""
        draw = self._generator().draw
        assert draw is not None
        return draw(outputs)

    def _generator(self) -> Recipe:
        if self.recipe.translations:
            raise RequestError(
                f"{self.directory} is a run of {self.recipe_name}, which translates pictures: use jaxgan translate"
            )
        if self.recipe.generate is None:
            raise RequestError(f"{self.directory} is a run of {self.recipe_name}, which generates nothing")
        return self.recipe


def load(directory: str | Path, checkpoint: int | str = "final", member: int | None = None) -> Run:
    """The run in a folder, rebuilt from the folder alone.

    checkpoint: "final" (the newest intact one), "best" (by the recipe's evaluation), or a step.
    member: of a population; None for its first one, and for a single run.
    """
    directory = Path(directory)
    description = read_description(directory)
    place = find_member(directory, description, member)
    config, options = description.config, description.options
    program = config
    if place is not None:
        program = changed(config, _with_terms(place.values, [p.values for p in description.members]))
        config, options = changed(config, place.values), replace(options, seed=place.seed, seeds=1, vary=())
    recipe = recipes.find(description.recipe).make(program, options, recall(description.data))
    step, arrays = _read_checkpoint(directory, checkpoint)
    prefix = "state."
    if place is not None:
        # arrays are stacked over the members of the program, all but the step
        prefix = f"programs.{place.program}.state."
        row = [p.member for p in description.members if p.program == place.program].index(place.member)
        arrays = {n: a if n == f"{prefix}step" else a[row] for n, a in arrays.items() if n.startswith(prefix)}
        if not all(np.isfinite(a).all() for a in arrays.values() if a.dtype.kind == "f"):
            raise BrokenMember(
                f"member {place.member} of {directory} was broken at step {step}: its weights are not finite"
            )
    like = abstract_state(recipe.stages[recipe.stage_at(max(step - 1, 0))])
    state_arrays = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    state = recipe.readied(jax.device_put(unflatten(state_arrays, like)), options.seed)
    return Run(
        directory,
        description.recipe,
        config,
        options,
        description.data,
        recipe,
        state,
        step,
        None if place is None else place.member,
    )


def find_member(directory: Path, description: Description, member: int | None) -> Place | None:
    """The place of a member, by default the first; None for a single run. RequestError if there is no such member."""
    if not description.members:
        if member is not None:
            raise RequestError(f"{directory} is a single run: it has no member {member}")
        return None
    for place in description.members:
        if place.member == (member or 0):
            return place
    raise RequestError(f"{directory} has no member {member}; there are 0..{len(description.members) - 1}")


def _read_checkpoint(directory: Path, checkpoint: int | str) -> tuple[int, dict[str, np.ndarray]]:
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
    return checkpoints.restore_arrays(step)
