"""Stages that grow: what is carried, what reals look like meanwhile, and that a run resumes inside each of them."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import Options, RequestError
from jaxgan.data import images
from jaxgan.game import init_state, make_step
from jaxgan.recipes import progan
from jaxgan.recipes.dataset import open_data
from jaxgan.recipes.folder import find_members, load, make_groups, write_description
from jaxgan.recipes.rules import Rules
from jaxgan.run import prepare
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.loop import Plan, fit, fit_population
from jaxgan.training.parallel import configure_backend
from tests.commands import assert_same_run

# levels of 4, 8 and 16 pixels begin at steps 0, 2 and 5
CONFIG = progan.Config(
    latent=4, generator_width=3, discriminator_width=3, fade_steps=1, steady_steps=2, deviation_group=2
)
OPTIONS = Options(steps=8, batch=4, data="digits", features="random-conv", evaluate_samples=8)
PLAN = Plan(log_every=1, sample_every=4, save_every=1, keep=100, devices=1, quiet=True)
ENDS = [2, 5, 8]


def data(side: int = 16, labelled: bool = True) -> images.Images:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (12, side, side, 1), np.uint8)
    return images.from_arrays("noise", image, np.arange(12) % 3 if labelled else None)


def made(steps: int = OPTIONS.steps, **changes: Any) -> Any:
    recipe = progan.make(replace(CONFIG, **changes), replace(OPTIONS, steps=steps), data())
    return replace(recipe, evaluations={}, best=None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    configure_backend()
    path = tmp_path_factory.mktemp("whole")
    assert fit(made(), path, PLAN, seed=2).step == 8
    return path


def arrays(run: Path, step: int) -> dict[str, np.ndarray]:
    return Checkpoints(run / "checkpoints").restore_arrays(step)[1]


@pytest.mark.parametrize("stop", [1, 2, 3, 5, 7])
def test_a_resumed_run_is_the_uninterrupted_one(whole: Path, stop: int, tmp_path: Path) -> None:
    """Inside each stage, while fading and after it, and exactly at a boundary."""
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    for step in range(stop + 1, 9):
        shutil.rmtree(run / "checkpoints" / f"{step:08d}")
    assert fit(made(), run, PLAN, seed=2, resume=True).stopped == "end"
    assert_same_run(whole, run)


def test_shared_layers_go_on_and_the_optimizer_begins_anew(whole: Path) -> None:
    recipe = made()
    assert [stage.until for stage in recipe.stages] == ENDS
    before, after = arrays(whole, 2), arrays(whole, 3)
    # one step of the new stage is one step of Adam away, 2e-3 at most
    for tree in ("params.generator", "params.discriminator", "ema.generator"):
        names = [name for name in before if name.startswith(f"state.{tree}.") and name in after]
        assert any("convolution_4" in name for name in names)
        for name in names:
            np.testing.assert_allclose(after[name], before[name], atol=2.1e-3, err_msg=name)
    assert not any("_8" in name for name in before) and any("doubling_8" in name for name in after)
    counts = [name for name in after if name.endswith("count")]
    assert counts and all(after[name] == 1 and before[name] == 2 for name in counts if name in before)
    last = arrays(whole, 8)
    assert any("to_image_16" in name for name in last) and not any("to_image_4" in name for name in last)


def test_reals_are_shown_at_the_size_of_the_stage() -> None:
    """Halved by means, and while a level fades in blended with what they would be at the level before."""
    recipe, noise = made(), data()
    sizes = []
    for stage, step in zip(recipe.stages, (0, 2, 7), strict=True):
        source = stage.source
        batch = source.batch(dict(source.arrays), jax.random.key(1), jnp.int32(step))
        full = noise.image[np.asarray(batch["index"])] / 127.5 - 1
        sizes.append(batch["image"].shape[1])
        side = sizes[-1]
        expected = full.reshape(4, side, 16 // side, side, 16 // side, 1).mean((2, 4))
        if step == 2:  # alpha 0: nothing of the new level yet
            coarse = full.reshape(4, 4, 4, 4, 4, 1).mean((2, 4))
            expected = coarse.repeat(2, 1).repeat(2, 2)
        np.testing.assert_allclose(batch["image"], expected, atol=1e-5)
    assert sizes == [4, 8, 16]
    alpha = progan.fading(replace(CONFIG, fade_steps=4), 10)
    assert [float(alpha(step)) for step in (10, 11, 14, 99)] == [0.0, 0.25, 1.0, 1.0]


def test_a_checkpoint_of_any_stage_makes_whole_pictures(whole: Path) -> None:
    """Rebuilt from the folder alone; what is known at 4 pixels has each of them four times four times."""
    digits = replace(CONFIG, steady_steps=1)
    opened = open_data(OPTIONS)
    run = whole.parent / "digits"
    run.mkdir(exist_ok=True)
    write_description(run, "progan", digits, replace(OPTIONS, steps=3), opened)
    recipe = replace(progan.make(digits, replace(OPTIONS, steps=3), opened), evaluations={}, best=None)
    fit(recipe, run, PLAN, seed=0)
    for step, blocks in ((1, True), (2, False), (3, False)):
        loaded = load(run, checkpoint=step)
        sample = loaded.sample(3, condition=1, batch=4)
        assert loaded.step == step and sample.shape == (3, 8, 8, 1)
        coarse = sample[:, ::2, ::2].repeat(2, 1).repeat(2, 2)
        assert np.array_equal(sample, coarse) == blocks


def test_the_generator_in_use_knows_its_alpha(whole: Path) -> None:
    """In the middle of a fade a sample is the blend that the game plays with."""
    recipe = made(steps=12, fade_steps=4)
    game = recipe.stages[1].game
    state = jax.jit(lambda: init_state(game, jax.random.key(0), dict(recipe.stages[1].hyper)))()
    state = replace(state, step=jnp.int32(2 + 1))
    latent, label = recipe.prior(jax.random.key(1), 3, jnp.array([0, 1, 2]))
    net = game.players["generator"].net
    expected = net.apply({"params": state.ema["generator"]}, latent, label, jnp.full(3, 0.25), train=False)[0]
    found = recipe.generate(state, (latent, label), 1.0)
    assert found.shape == (3, 16, 16, 1)
    np.testing.assert_allclose(found, np.asarray(expected).repeat(2, 1).repeat(2, 2), rtol=1e-5, atol=1e-6)


def test_a_run_too_short_for_its_resolution_is_refused() -> None:
    """The last of three begins at step 5 and is whole at 6."""
    assert progan.make(CONFIG, replace(OPTIONS, steps=6), data()).refusal is None
    short = progan.make(CONFIG, replace(OPTIONS, steps=5), data())
    assert short.refusal == (
        "the last of 3 resolutions is whole at step 6 and there are 5: "
        "choose --steps 6 or more, or smaller --fade-steps and --steady-steps"
    )
    # digits are of two, 4 and 8 pixels; a run that was begun, and one of a length that is all right, go on
    digits = replace(OPTIONS, steps=2)
    with pytest.raises(RequestError, match="last of 2 resolutions is whole at step 3 and there are 2"):
        prepare("progan", CONFIG, digits)
    prepare("progan", CONFIG, digits, members=())
    prepare("progan", CONFIG, replace(digits, steps=3))
    with pytest.raises(RequestError, match="whole at step 3 and there are 2"):
        prepare("progan", replace(CONFIG, fade_steps=0), digits)


def test_a_population_grows_together(tmp_path: Path) -> None:
    """Two seeds in one program through both stages; a member loaded at the first and at the second."""
    configure_backend()
    config = replace(CONFIG, steady_steps=1, conditional="no")
    options = replace(OPTIONS, steps=3, seeds=2)
    opened = open_data(options)
    members = find_members("progan", config, options, opened)
    groups = make_groups("progan", config, options, opened, members)
    groups = [replace(group, recipe=replace(group.recipe, evaluations={}, best=None)) for group in groups]
    write_description(tmp_path, "progan", config, options, opened, members)
    assert fit_population(groups, tmp_path, PLAN).stopped == "end"
    samples = [load(tmp_path, step, member).sample(2, batch=2) for step in (1, 3) for member in (0, 1)]
    assert all(sample.shape == (2, 8, 8, 1) for sample in samples)
    assert np.abs(samples[0] - samples[1]).max() > 1e-3 and np.abs(samples[2] - samples[3]).max() > 1e-3


def test_drift_is_charged_to_the_critic() -> None:
    """The paper's epsilon: the mean of the squared logits of reals, weighted, in D's loss alone."""
    rules = Rules(loss="wasserstein", gradient_penalty_weight=0.0)
    losses = {}
    for weight in (0.0, 0.7, 1.4):
        stage = made(rules=rules, drift_weight=weight).stages[0]
        state = jax.jit(lambda stage=stage: init_state(stage.game, jax.random.key(0), dict(stage.hyper)))()
        batch = stage.source.batch(dict(stage.source.arrays), jax.random.key(1), jnp.int32(0))
        losses[weight] = jax.jit(make_step(stage.game))(state, batch)[1]
    change = [float(losses[w]["discriminator/loss"] - losses[0.0]["discriminator/loss"]) for w in (0.7, 1.4)]
    assert change[0] > 1e-4
    np.testing.assert_allclose(change[1], 2 * change[0], rtol=1e-3)
    assert change[0] >= 0.7 * float(losses[0.0]["discriminator/real_logit"]) ** 2


def test_what_a_new_level_starts_from() -> None:
    """Shared layers and their averages, each from its own; the others, and the optimizers, as they are made new.

    Of one key, layers of one name begin alike at every level: those of the level before are told apart here.
    """
    stages = made().stages[:2]
    before, fresh = (
        jax.jit(lambda stage=stage: init_state(stage.game, jax.random.key(0), dict(stage.hyper)))() for stage in stages
    )
    moved = {by: jax.tree.map(lambda x, by=by: x + by, before.params) for by in (1.0, 2.0)}
    before = replace(before, params=moved[1.0], ema={"generator": moved[2.0]["generator"]})
    # a replay of pictures of another size begins anew, and the strength of an augmentation does not
    before = replace(before, memory={"strength": jnp.float32(0.4), "pool": jnp.ones((3, 4, 4, 1))})
    fresh = replace(fresh, memory={"strength": jnp.float32(0.0), "pool": jnp.zeros((3, 8, 8, 1))})
    after = progan.grown(before, fresh)
    for old, new, found in (
        (before.params["generator"], fresh.params["generator"], after.params["generator"]),
        (before.params["discriminator"], fresh.params["discriminator"], after.params["discriminator"]),
        (before.ema["generator"], fresh.ema["generator"], after.ema["generator"]),
    ):
        assert set(found) == set(new) and {"convolution_4", "dense_4"} <= set(old) & set(new) < set(new)
        for name, layer in found.items():
            jax.tree.map(np.testing.assert_array_equal, layer, old.get(name, new[name]))
    jax.tree.map(np.testing.assert_array_equal, after.opt_state, fresh.opt_state)
    assert float(after.memory["strength"]) == np.float32(0.4)
    np.testing.assert_array_equal(after.memory["pool"], np.zeros((3, 8, 8, 1)))


def test_wrong_wishes_are_refused() -> None:
    with pytest.raises(RequestError, match="a batch of 7 has no groups of 2 to 4: choose --deviation-group 0 or 7"):
        progan.make(replace(CONFIG, deviation_group=4), replace(OPTIONS, batch=7), data())
    with pytest.raises(RequestError, match="leave --packing at 1"):
        replace(CONFIG, rules=Rules(packing=2))
    with pytest.raises(RequestError, match="progan have their own layers: leave --generator-normalization at none"):
        replace(CONFIG, rules=Rules(generator_normalization="batch"))
