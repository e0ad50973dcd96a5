"""Runs from begin to end: make the folder, train, resume, evaluate. What the command line and notebooks call."""

import dataclasses
import fcntl
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgan
from jaxgan import recipes
from jaxgan.config import Options, RequestError, changed, finite, settings
from jaxgan.data.images import Images
from jaxgan.data.source import DeviceSource
from jaxgan.evaluate import draw_evidence, evaluate
from jaxgan.evaluation.report import write_report
from jaxgan.game import State
from jaxgan.recipes.dataset import Data, describe, open_data
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.folder import (
    Place,
    Run,
    check_unchanged,
    find_members,
    load,
    make_groups,
    read_description,
    write_description,
)
from jaxgan.training.checkpoint import CheckpointError, Checkpoints, write_atomically
from jaxgan.training.loop import Outcome, Plan, fit, fit_population
from jaxgan.training.parallel import choose_devices, configure_backend
from jaxgan.training.population import Group
from jaxgan.training.program import Program, abstract_state
from jaxgan.training.recipe import Recipe

__all__ = ["Request", "Run", "evaluate", "load", "prepare", "resume", "start", "train"]

VERSIONED = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "grain", "numpy")


@dataclass(frozen=True)
class Request:
    """A run that could start: everything was built and checked, and nothing was written.

    members, groups: of a population, none for a single run; `recipe` is that of the first member.
    """

    recipe_name: str
    config: Any
    options: Options
    data: Data
    recipe: Recipe
    initial: State | None = None
    members: tuple[Place, ...] = ()
    groups: tuple[Group, ...] = ()


def train(recipe: str, preset: str = "cpu", quiet: bool = False, **values: Any) -> Run:
    """Trains a recipe and returns the trained run; the flags of `jaxgan train` as keywords.

    values: fields of `Options` and settings of the recipe's Config, such as steps=2000 or r1_weight=0.0.
    A population (seeds=5, vary=("r1_weight=0.1,1",)) returns its first member; `load` has the others.
    """
    configure_backend()
    chosen = find_preset(recipe, preset)
    option_names = {field.name for field in dataclasses.fields(Options)}
    config_names = set(settings(chosen.config))
    unknown = sorted(set(values) - option_names - config_names)
    if unknown:
        raise RequestError(f"{recipe} has no {unknown}; there are {sorted(option_names | config_names)}")
    options = replace(chosen.options, **{k: v for k, v in values.items() if k in option_names})
    config = changed(chosen.config, {k: v for k, v in values.items() if k in config_names})
    directory, outcome = start(prepare(recipe, config, options), quiet=quiet)
    if outcome.stopped != "end":
        raise RuntimeError(f"training of {directory} stopped at step {outcome.step}: {outcome.message}")
    return load(directory)


def find_preset(recipe: str, preset: str) -> Any:
    presets = recipes.find(recipe).PRESETS
    if preset not in presets:
        raise RequestError(f"{recipe} has no preset {preset!r}; there are {', '.join(presets)}")
    return presets[preset]


def prepare(recipe: str, config: Any, options: Options, members: tuple[Place, ...] | None = None) -> Request:
    """Opens the data and builds everything, so that mistakes show before anything is written.

    members: those of a run that was begun; by default found from the options.
    """
    data, begins = open_data(options), members is None
    groups: tuple[Group, ...] = ()
    try:
        if members is None:
            members = find_members(recipe, config, options, data) if options.population else ()
        if members:
            groups = make_groups(recipe, config, options, data, members)
            made = groups[0].recipe
        else:
            made = recipes.find(recipe).make(config, options, data)
        if begins and made.refusal is not None:
            raise RequestError(made.refusal)
        expected = abstract_state(made.stages[0])
        for stage in [stage for one in (*(group.recipe for group in groups), made) for stage in one.stages]:
            choose_devices(options.devices, 0 if members else stage.source.batch_size)
            if isinstance(stage.source, DeviceSource):
                arrays = dict(stage.source.arrays)
                jax.eval_shape(stage.source.batch, arrays, jax.eval_shape(jax.random.key, 0), np.int32(0))
    except RequestError:
        raise
    except ValueError as error:
        raise RequestError(str(error)) from error
    initial = None
    if options.resume_from is not None:
        initial = load(options.resume_from).state
        mine, theirs = (jax.tree.map(np.shape, (s.params, s.variables)) for s in (expected, initial))
        if mine != theirs:
            raise RequestError(f"--resume-from {options.resume_from}: its nets have other shapes than these")
    return Request(recipe, config, options, data, made, initial, members, groups)


def plan(options: Options, quiet: bool = False, minutes: float | None = None) -> Plan:
    names = {field.name for field in dataclasses.fields(Plan)} & {field.name for field in dataclasses.fields(Options)}
    return Plan(**{name: getattr(options, name) for name in names}, quiet=quiet, minutes=minutes)


def dry_run(request: Request) -> str:
    """What would run, in words: nets, devices, and memory as compiled for this machine."""
    program = Program(request.recipe.stages[0], request.options.devices)
    state = abstract_state(request.recipe.stages[0])
    population = []
    for group in request.groups:
        stages = [member.recipe.stages[0] for member in group.members]
        program = Program(group.recipe.stages[0], request.options.devices, stages)
        assert program.layout is not None
        population.append(
            f"{len(group.members)} members in one program: {program.layout.width} at once on each of "
            f"{program.layout.devices} devices, in {program.layout.rounds} turns"
        )
    lines = [
        f"{request.recipe_name} on {describe(request.data)['name']}, {request.options.steps} steps "
        f"of batch {request.options.batch}",
        f"devices: {len(program.mesh.devices.flat)} x {jax.devices()[0].device_kind}, "
        + ("one call a step" if program.stepwise else "a compiled loop of steps"),
    ]
    lines += population
    lines += [f"{name}: {count:,} parameters" for name, count in count_parameters(state.params).items()]
    lines.append(
        f"state: {num_bytes(state) / 2**20:.1f} MiB, data on each device: "
        f"{num_bytes(program.arrays) / 2**20:.1f} MiB, one step's working memory: "
        f"{program.working_bytes() / 2**20:.1f} MiB"
    )
    lines += [
        f"--{name.replace('_', '-')} {' '.join(value) if isinstance(value, tuple) else value}".rstrip()
        for config in (request.options, request.config)
        for name, value in settings(config).items()
    ]
    return "\n".join(lines)


def start(
    request: Request, command: Sequence[str] | None = None, quiet: bool = False, minutes: float | None = None
) -> tuple[Path, Outcome]:
    """Makes the run's folder and trains; the folder and how it ended.

    minutes: stop after so many, saved: `resume` goes on.
    """
    options = request.options
    if request.recipe.generate is not None and isinstance(request.data, Images):
        feature_net(options.features, request.data)  # trained now if it is not cached: no evaluation should wait for it
    directory = _make_folder(options, request)
    try:
        write_description(directory, request.recipe_name, request.config, options, request.data, request.members)
        manifest = _manifest(request, command)
        write_atomically(directory / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    except OSError as error:
        raise CheckpointError(f"could not write to {directory}: {error.strerror}") from error
    with _locked(directory):
        outcome = _fit(request, directory, plan(options, quiet, minutes), resume=False, initial=request.initial)
        _measure(request, directory, outcome, quiet)
        _report(directory)
    return directory, outcome


def resume(directory: Path, steps: int | None = None, quiet: bool = False, minutes: float | None = None) -> Outcome:
    """Continues a run from its newest intact checkpoint; with `steps`, up to another length. minutes: see `start`."""
    description = read_description(directory)
    options = description.options if steps is None else replace(description.options, steps=steps)
    options = replace(options, resume_from=None)
    request = prepare(description.recipe, description.config, options, description.members)
    check_unchanged(directory, description.data, request.data)
    with _locked(directory):
        has_checkpoint = bool(Checkpoints(directory / "checkpoints").steps())
        reached = Checkpoints(directory / "checkpoints").steps()[-1] if has_checkpoint else 0
        if reached > options.steps:
            raise RequestError(f"{directory} is at step {reached} already: --steps {options.steps} lies behind it")
        if steps is not None:
            asked = replace(options, resume_from=description.options.resume_from)
            members = description.members
            write_description(directory, description.recipe, description.config, asked, request.data, members)
        initial = None
        if not has_checkpoint and not quiet:
            say(f"{directory} has no finished checkpoint: it begins anew")
        if not has_checkpoint and description.options.resume_from is not None:
            initial = load(description.options.resume_from).state
        if reached < options.steps:
            # what was measured of the end that this run no longer has
            (directory / "evaluations.jsonl").unlink(missing_ok=True)
        outcome = _fit(request, directory, plan(options, quiet, minutes), resume=has_checkpoint, initial=initial)
        _measure(request, directory, outcome, quiet)
        _report(directory)
    return outcome


def _fit(request: Request, directory: Path, plan: Plan, resume: bool, initial: State | None) -> Outcome:
    if request.groups:
        return fit_population(request.groups, directory, plan, resume, initial)
    return fit(request.recipe, directory, plan, request.options.seed, resume, initial)


def count_parameters(params: Mapping[str, Any]) -> dict[str, int]:
    return {name: sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree)) for name, tree in params.items()}


def num_bytes(tree: Any) -> int:
    return sum(
        int(np.prod(x.shape)) * (16 if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x.dtype.itemsize)
        for x in jax.tree.leaves(tree)
    )


def _measure(request: Request, directory: Path, outcome: Outcome, quiet: bool) -> None:
    """The full protocol at the end of a training, on the final checkpoint and on the best: evaluations.jsonl."""
    if outcome.stopped != "end" or "images" not in request.recipe.evaluations:
        return
    if not quiet:
        say("measuring the final and the best checkpoint")
    try:
        found = evaluate(directory)
    except RequestError as error:
        say(f"not measured at the end: {error}")
        return
    except KeyboardInterrupt:
        say(f"interrupted while it was measured; the training is done and saved: jaxgan evaluate {directory}")
        return
    rows = [
        {"checkpoint": one["checkpoint"], "step": one["step"], **place, "evaluation": "images", **place_row["images"]}
        for one in (found, found.get("best"))
        if one is not None
        for place_row in one.get("members", [one])
        for place in [{name: place_row[name] for name in ("member",) if name in place_row}]
    ]
    text = "".join(json.dumps(finite(row)) + "\n" for row in rows)
    write_atomically(directory / "evaluations.jsonl", text)
    if not request.groups:
        draw_evidence(directory)


def _report(directory: Path) -> None:
    try:
        write_report(directory)
    except OSError as error:
        raise CheckpointError(f"could not write {directory / 'report.html'}: {error.strerror}") from error


def _make_folder(options: Options, request: Request) -> Path:
    outdir = Path(options.outdir)
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        if options.name is not None:
            directory = outdir / options.name
            try:
                directory.mkdir()
            except FileExistsError:
                raise RequestError(f"{directory} exists already: choose another --name, or jaxgan resume it") from None
            return directory
        while True:
            numbers = [int(p.name[:5]) for p in outdir.iterdir() if p.name[:5].isdigit() and p.name[5:6] == "-"]
            seeds = f"{options.seed}" + (f"-{options.seed + options.seeds - 1}" if options.seeds > 1 else "")
            label = f"{request.recipe_name}-{describe(request.data)['name']}-seed{seeds}"
            directory = outdir / f"{max(numbers, default=-1) + 1:05d}-{label}"
            try:
                directory.mkdir()
                return directory
            except FileExistsError:
                continue  # another process took the number
    except OSError as error:
        raise RequestError(f"--outdir {outdir}: {error.strerror}: choose a folder that can be written") from error


def _manifest(request: Request, command: Sequence[str] | None) -> dict[str, Any]:
    state = abstract_state(request.recipe.stages[-1])
    return {
        "command": None if command is None else shlex.join(command),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "jaxgan": jaxgan.__version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in VERSIONED},
        },
        "devices": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
        "platform": platform.platform(),
        "git_revision": _git_revision(),
        "data": describe(request.data),
        "parameters": count_parameters(state.params),
    }


def _git_revision() -> str | None:
    """The revision of the checkout that jaxgan runs from, "+" for local changes; None for an installed package."""
    source = Path(jaxgan.__file__).parent.parent
    if not (source / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(source)]
        revision = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, timeout=5).returncode
    except (OSError, subprocess.SubprocessError):
        return None
    return revision.stdout.strip() + ("+" if changed else "")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Holds the run for this process; the lock goes with the process, however it ends."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise RequestError(f"{directory}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError(f"{directory} is being trained by another process") from None
        yield
    finally:
        os.close(handle)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
