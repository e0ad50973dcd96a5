"""StyleGAN2's own ends: truncation in W, path length as a move, and an augmentation that a checkpoint remembers."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.game import LossInput, init_state
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.loop import Plan, fit
from jaxgan.training.parallel import configure_backend
from jaxgan.training.recipe import Recipe
from tests.commands import assert_same_run
from tests.test_recipes import make

EVERY_STEP = Plan(log_every=1, sample_every=6, save_every=1, keep=100, devices=1, quiet=True)
SMALL = {"latent": 4, "style_width": 6, "max_width": 4}


def test_truncation_moves_styles_to_their_mean():
    recipe = make("stylegan2", "cpu", **SMALL)
    stage = recipe.stages[0]
    state = init_state(stage.game, jax.random.key(0), stage.hyper)
    mean = 0.3 * jnp.arange(6.0)
    running = {**state.variables["generator"], "average": {"mapping": {"w": mean}}}
    state = replace(state, variables={**state.variables, "generator": running})
    inputs = recipe.prior(jax.random.key(1), 3, jnp.array([0, 2, 2]))
    whole, none = (np.asarray(recipe.generate(state, inputs, t)) for t in (1.0, 0.0))
    styles = recipe.style(state, inputs)
    np.testing.assert_allclose(whole, recipe.synthesize(state, styles), atol=1e-5)
    np.testing.assert_allclose(none, recipe.synthesize(state, jnp.tile(mean[None], (3, 1))), atol=1e-5)
    half = recipe.synthesize(state, mean[None] + 0.5 * (styles - mean[None]))
    np.testing.assert_allclose(recipe.generate(state, inputs, 0.5), half, atol=1e-5)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3 and np.abs(none[0] - none[1]).max() < 1e-5


def test_path_length_is_a_move_of_its_own_at_every_fourth_step(tmp_path: Path):
    configure_backend()
    recipe = make("stylegan2", "cpu", path_length_weight=2.0, style_mixing=0.9, **SMALL)
    update = recipe.stages[0].game.updates[-1]
    assert update.name == "path_length" and [bool(update.when(s)) for s in range(5)] == [
        True,
        False,
        False,
        False,
        True,
    ]
    outcome = fit(recipe, tmp_path, Plan(log_every=1, devices=1, quiet=True), seed=0)
    assert outcome.stopped == "end" and float(outcome.state.memory["path_length"]) > 0
    plain = make("stylegan2", "cpu", path_length_weight=0.0, **SMALL)
    assert "path_length" not in [u.name for u in plain.stages[0].game.updates]


@pytest.fixture(scope="module")
def all_of_it() -> Recipe:
    """R1 at every 16th step and path length at every 4th, mixed styles, their running mean, and ADA."""
    extra = {"path_length_weight": 2.0, "style_mixing": 0.9, "augmentation": "ada", "ada_images": 100}
    recipe = make("stylegan2", "cpu", **extra, **SMALL)
    return replace(recipe, stages=(replace(recipe.stages[0], until=19),), evaluations={}, best=None)


@pytest.fixture(scope="module")
def whole(all_of_it: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    configure_backend()
    path = tmp_path_factory.mktemp("whole")
    assert fit(all_of_it, path, EVERY_STEP, seed=2).step == 19
    return path


@pytest.mark.parametrize("stop", [1, 3, 16, 18])
def test_a_resumed_run_is_the_uninterrupted_one(whole: Path, all_of_it: Recipe, stop: int, tmp_path: Path) -> None:
    """Between two lazy moves and right before one, with all that the game remembers."""
    remembered = Checkpoints(whole / "checkpoints").restore_arrays(stop)[1]
    for part in ("memory.path_length", "memory.augmentation", "average"):
        assert any(part in name and np.any(value != 0) for name, value in remembered.items()), part
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    for step in range(stop + 1, 20):
        shutil.rmtree(run / "checkpoints" / f"{step:08d}")
    assert fit(all_of_it, run, EVERY_STEP, seed=2, resume=True).stopped == "end"
    assert_same_run(whole, run)


def test_path_length_is_accumulated_and_rematerialized_as_all_else() -> None:
    """A batch in parts has latents of its own for each, where a move that is not accumulated would have the same."""

    def moved(**extra: Any) -> Any:
        recipe = make("stylegan2", "cpu", path_length_weight=2.0, deviation_group=0, **extra, **SMALL)
        (stage,) = recipe.stages
        update = stage.game.updates[-1]
        assert update.name == "path_length"
        state = init_state(stage.game, jax.random.key(0), stage.hyper)
        inputs = LossInput(
            step=state.step,
            key=state.key,
            batch={"image": jnp.zeros((6, 8, 8, 1)), "label": jnp.arange(6) % 2},
            variables=state.variables,
            opt_state=state.opt_state,
            ema=state.ema,
            memory=state.memory,
            hyper=state.hyper,
        )
        length = float(update.loss(state.params, inputs)[1].metrics["length"])
        gradient = jax.grad(lambda params: update.loss(params, inputs)[0])
        return length, "remat" in str(jax.make_jaxpr(gradient)(state.params))

    (one, kept), (parts, _), (same, again) = moved(), moved(accumulation=3), moved(rematerialize=True)
    assert one > 0 and parts > 0 and one != parts
    np.testing.assert_allclose(same, one, rtol=1e-5)
    assert again and not kept


def test_the_probability_of_adaptive_augmentation_survives(tmp_path: Path):
    configure_backend()
    recipe = make("stylegan2", "cpu", augmentation="ada", ada_target=-0.999, ada_images=100, **SMALL)
    outcome = fit(recipe, tmp_path, Plan(log_every=1, devices=1, quiet=True), seed=0)
    kept = {
        name: value
        for name, value in Checkpoints(tmp_path / "checkpoints").restore_arrays()[1].items()
        if ".memory.augmentation" in name
    }
    ours = jax.tree.leaves(outcome.state.memory["augmentation"])
    # D's mean sign is above a target of nearly -1, so the probability has risen
    assert kept and max(float(np.max(x)) for x in ours) > 0
    np.testing.assert_array_equal(sorted(map(float, kept.values())), sorted(map(float, ours)))
