"""The spectrum of a run's game at its checkpoints: what `jaxgan spectrum` computes."""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import dynamics, recipes
from jaxgan.config import RequestError, changed, settings
from jaxgan.data.source import HostSource
from jaxgan.evaluation.eigenvalues import Leading, leading_spectrum, quotients
from jaxgan.evaluation.spectrum import Spectrum
from jaxgan.recipes.dataset import open_data
from jaxgan.recipes.folder import BrokenMember, Run, check_unchanged, load
from jaxgan.run import count_parameters, say
from jaxgan.training.checkpoint import CheckpointError, Checkpoints
from jaxgan.training.parallel import compiler_options, quick_compilation
from jaxgan.training.program import DATA
from jaxgan.training.recipe import Stage

# parameters up to which the product with a Jacobian takes longer to compile well than to use
QUICK_BELOW = 20_000


def spectra(
    directory: Path, checkpoint: str = "all", count: int = 4, batches: int = 4, seed: int = 0, member: int | None = None
) -> Iterator[tuple[Spectrum, int]]:
    """The leading spectrum of the game's Jacobian at each checkpoint asked for, and how many of it did not converge.

    The field is that of simultaneous gradient flow (`dynamics.field`), averaged over schedules and over the
    `batches` that training would have seen next; optimizers have no part in it. Its leading eigenvectors
    are then measured on as many batches after these. Nets compute in float32.
    checkpoint: "all" that are kept and intact, "final", "best", or a step.
    member: of a population, by default the first.
    """
    kept: list[int | str] = [checkpoint]
    if checkpoint == "all":
        kept = list(Checkpoints(directory / "checkpoints").steps()) or ["final"]
    stages: dict[int, Any] = {}
    found = 0
    for name in kept:
        try:
            run = load(directory, name, member)
        except (BrokenMember, CheckpointError) as error:
            if len(kept) == 1:
                raise
            say(f"{error}: left out")
            continue
        recipe = run.recipe
        if not stages:
            data = open_data(run.options)
            check_unchanged(directory, run.data, data)
            # look-ahead moves are the optimizers', which have no part in the flow; parameters are always float32
            plain = {"dtype": "float32", **({"dynamics": "simultaneous"} if _extrapolates(run.config) else {})}
            made = recipes.find(run.recipe_name).make(changed(run.config, plain), run.options, data)
        at = recipe.stage_at(max(run.step - 1, 0))
        if at not in stages:
            stages[at] = _flow(made.stages[at], run)
        began = time.perf_counter()
        field, product = stages[at]
        spectrum, leading = _spectrum(made.stages[at], field, product, run, count, batches, seed)
        products = leading.products * batches
        say(f"step {run.step}: {products} products with the Jacobian in {time.perf_counter() - began:.1f} s")
        found += 1
        yield spectrum, leading.missing
    if not found:
        raise RequestError(f"{directory} has no checkpoint with finite weights")


def _extrapolates(config: Any) -> bool:
    return settings(config).get("dynamics") == "extragradient"


def _flow(stage: Stage, run: Run) -> tuple[Any, Any]:
    """The compiled field of a stage's game and the product with its Jacobian."""
    game, platform = dynamics.without_schedules(stage.game, run.step), jax.default_backend()
    small = sum(count_parameters(run.state.params).values()) < QUICK_BELOW
    options = quick_compilation(platform) if small else compiler_options(platform, 1)
    field, product = (
        jax.jit(partial(function, game), compiler_options=options)
        for function in (dynamics.field, dynamics.jacobian_product)
    )
    return field, product


def _spectrum(
    stage: Stage, field: Any, product: Any, run: Run, count: int, batches: int, seed: int
) -> tuple[Spectrum, Leading]:
    source, key = stage.source, jax.random.fold_in(run.state.key, DATA)
    make, whole = jax.jit(source.batch), {} if isinstance(source, HostSource) else dict(source.arrays)
    seen = []
    for step in range(run.step, run.step + 2 * batches):
        arrays = source.dataset[step] if isinstance(source, HostSource) else whole
        state = replace(run.state, step=jnp.int32(step))
        seen.append((state, make(arrays, key, state.step)))
    fields = np.stack([np.asarray(field(*one), np.float64) for one in seen])
    if not np.isfinite(fields).all():
        raise RequestError(f"{run.directory}: the gradients at step {run.step} are not finite")

    def multiply(some: Any, u: np.ndarray) -> np.ndarray:
        return np.asarray(sum(product(*one, u) for one in some)) / np.float32(len(some))

    leading = leading_spectrum(partial(multiply, seen[:batches]), fields.shape[1], count, seed)
    fresh = np.stack([quotients(partial(multiply, [one]), leading.vectors) for one in seen[batches:]])
    noise = np.sqrt(fields.var(axis=0, ddof=1).sum() / len(fields))
    errors = fresh.real.std(axis=0, ddof=1) / np.sqrt(batches)
    norm = float(np.linalg.norm(fields.mean(axis=0)))
    return Spectrum(run.step, leading.values, fresh.mean(axis=0), errors, norm, float(noise)), leading
