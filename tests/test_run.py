"""Runs from Python: what `jaxgan.train` and `jaxgan.load` return, and what a folder says of itself."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jaxgan
from jaxgan import run as runs
from jaxgan.config import RequestError, changed
from jaxgan.evaluation.seeds import summary
from jaxgan.recipes import ring as ring_recipe
from jaxgan.recipes.dataset import describe, open_data, recall
from jaxgan.recipes.folder import find_members, read_description
from jaxgan.recipes.protocol import Protocol
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.recipe import READY
from tests.commands import assert_same_run, strict_json, timeless

NETS = {"generator_width": 8, "discriminator_width": 8, "generator_depth": 2, "discriminator_depth": 2}
TINY: dict[str, Any] = {**NETS, "batch": 8, "steps": 4, "evaluate_samples": 50, "quiet": True}


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    return jaxgan.train("ring", outdir=str(tmp_path_factory.mktemp("runs")), save_every=2, log_every=2, **TINY)


def test_train_returns_what_load_finds(ring: runs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = jaxgan.load(str(ring.directory))
    assert (loaded.step, loaded.recipe_name, loaded.config, loaded.options) == (4, "ring", ring.config, ring.options)
    np.testing.assert_array_equal(loaded.sample(5), ring.sample(5))
    assert loaded.sample(5).shape == (5, 2) and loaded.draw(loaded.sample(5)).dtype == np.uint8
    latent = loaded.prior(jax.random.key(0), 3, None)
    assert loaded.generate(loaded.state, latent, 1.0).shape == (3, 2)
    earlier = jaxgan.load(ring.directory, 2)
    assert earlier.step == int(earlier.state.step) == 2
    assert not np.array_equal(earlier.sample(5), ring.sample(5))
    assert capsys.readouterr().out == ""


def test_a_loaded_state_is_ready(ring: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a recipe does with a state before it generates is done with the key of the run's seed."""
    make = ring_recipe.make

    def ready(state: Any, key: Any, truncation: float) -> Any:
        return replace(state, memory={"key": jax.random.key_data(key)})

    monkeypatch.setattr(ring_recipe, "make", lambda *asked: replace(make(*asked), ready=ready))
    loaded = jaxgan.load(ring.directory)
    expected = jax.random.fold_in(jax.random.key(ring.options.seed), READY)
    np.testing.assert_array_equal(loaded.state.memory["key"], jax.random.key_data(expected))
    assert "key" not in ring.state.memory


def test_mistakes_are_request_errors(ring: runs.Run, tmp_path: Path) -> None:
    for values, message in (
        ({"widht": 3}, r"ring has no \['widht'\]"),
        ({"preset": "nope"}, "ring has no preset 'nope'"),
        ({"latent": 0}, "--latent is at least 1"),
        ({"steps": 0}, "--steps is at least 1"),
    ):
        with pytest.raises(RequestError, match=message):
            jaxgan.train("ring", outdir=str(tmp_path / "runs"), **values)
    with pytest.raises(RequestError, match="no checkpoint best2"):
        jaxgan.load(ring.directory, "best2")
    with pytest.raises(RequestError, match="does not exist"):
        jaxgan.load(tmp_path / "nothing")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        jaxgan.trian  # noqa: B018


def test_a_run_that_breaks_raises(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"stopped at step 1: generator/\w+ was not finite at step 0"):
        jaxgan.train(
            "ring", outdir=str(tmp_path), generator_learning_rate=1e30, discriminator_learning_rate=1e30, **TINY
        )


def test_what_a_folder_says_of_itself(ring: runs.Run) -> None:
    described = read_description(ring.directory)
    assert (described.recipe, described.config, described.options) == ("ring", ring.config, ring.options)
    manifest = strict_json((ring.directory / "manifest.json").read_text())
    assert manifest["versions"]["jax"] == jax.__version__ and manifest["versions"]["jaxgan"] == jaxgan.__version__
    assert manifest["parameters"] == {"discriminator": 105, "generator": 114}
    assert manifest["devices"] and manifest["data"]["name"] == "ring8" and manifest["command"] is None
    assert json.loads((ring.directory / "config.json").read_text())["version"] == jaxgan.__version__


def test_evaluate_and_resume(ring: runs.Run, tmp_path: Path) -> None:
    result = runs.evaluate(ring.directory, checkpoint="2", protocol=Protocol(n=30))
    assert result["step"] == 2 and result["modes"]["n_fake"] == 30
    copied = jaxgan.train("ring", outdir=str(tmp_path), name="mine", save_every=2, log_every=2, **TINY).directory
    assert copied == tmp_path / "mine" and timeless(copied) == timeless(ring.directory)
    assert runs.resume(copied, steps=6, quiet=True).step == 6
    assert Checkpoints(copied / "checkpoints").steps() == [2, 4, 6]


def test_folders_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "00007-other").mkdir()
    (tmp_path / "notes").mkdir()
    values = {**TINY, "steps": 1}
    names = [jaxgan.train("ring", outdir=str(tmp_path), seed=seed, **values).directory.name for seed in (0, 3)]
    assert names == ["00008-ring-ring8-seed0", "00009-ring-ring8-seed3"]


@pytest.mark.parametrize("data", ["ring", "grid", "digits"])
def test_data_are_recalled_from_their_description(data: str) -> None:
    opened = open_data(runs.Options(data=data))
    recalled = recall(json.loads(json.dumps(describe(opened))))
    assert recalled.name == opened.name
    if data == "digits":
        assert recalled.size == opened.size and recalled.classes == opened.classes and len(recalled.image) == 0
    else:
        np.testing.assert_array_equal(recalled.means, opened.means)


def test_counting() -> None:
    tree = {"a": {"x": np.zeros((2, 3), np.float32), "y": np.zeros(4, np.uint8)}, "b": {}}
    assert runs.count_parameters(tree) == {"a": 10, "b": 0}
    assert runs.num_bytes(tree) == 28


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds with each of three weights: members 0..5."""
    values: dict[str, Any] = {**TINY, "seed": 3, "seeds": 2, "vary": ("r1_weight=0,0.1,10",), "save_every": 2}
    run = jaxgan.train("ring", outdir=str(tmp_path_factory.mktemp("members")), log_every=2, sample_every=2, **values)
    assert (run.member, run.config.rules.r1_weight, run.options.seed) == (0, 0.0, 3)
    return run.directory


def test_numbers_share_a_program_and_everything_else_does_not() -> None:
    def programs(*vary: str) -> list[int]:
        chosen = runs.find_preset("ring", "cpu")
        options = replace(chosen.options, vary=vary, batch=8)
        config = changed(chosen.config, NETS)
        return [place.program for place in find_members("ring", config, options, open_data(options))]

    assert programs("r1_weight=0,0.1,10", "generator_learning_rate=1e-3,1e-4") == [0] * 6
    assert programs("loss=hinge,wasserstein", "r1_weight=0,1") == [0, 0, 1, 1]
    assert programs("generator_width=8,9") == [0, 1]
    # numbers too, but 0 and 1 are not small ones: they mean no clipping and no smoothing
    assert programs("weight_clip=0,0.1,0.2") == [0, 1, 1]
    assert programs("real_label=1,0.9,0.8") == [0, 1, 1]


def test_a_member_is_loaded_as_the_single_run(members: Path, tmp_path: Path) -> None:
    alone = jaxgan.train("ring", outdir=str(tmp_path), seed=4, r1_weight=10.0, **TINY)
    member = jaxgan.load(members, member=5)
    assert (member.member, member.options.seed, member.config) == (5, 4, alone.config)
    np.testing.assert_allclose(member.sample(20), alone.sample(20), rtol=1e-3, atol=1e-4)
    # seed 4 is that of members 1, 3 and 5, and the weight is what tells them apart
    assert np.abs(jaxgan.load(members, member=4).sample(20) - alone.sample(20)).max() > 1e-2

    def distance(number: int) -> float:
        theirs = jaxgan.load(members, member=number).state.params["discriminator"]
        ours = alone.state.params["discriminator"]
        return max(float(np.abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, (theirs, ours)), strict=True))

    assert distance(5) < 1e-5 and distance(1) > 1e-3 and distance(3) > 1e-4
    assert float(jaxgan.load(members, 2, member=2).state.hyper["r1_weight"]) == pytest.approx(0.1)
    for number in (6, -1):
        with pytest.raises(RequestError, match=rf"no member {number}; there are 0\.\.5"):
            jaxgan.load(members, member=number)
    with pytest.raises(RequestError, match="is a single run: it has no member 1"):
        jaxgan.load(alone.directory, member=1)


def test_members_are_evaluated_together_or_alone(members: Path) -> None:
    result = runs.evaluate(members, protocol=Protocol(n=30))
    assert [one["member"] for one in result["members"]] == list(range(6)) and result["step"] == 4
    assert [one["values"]["r1_weight"] for one in result["members"]] == [0.0, 0.0, 0.1, 0.1, 10.0, 10.0]
    assert runs.evaluate(members, member=3, protocol=Protocol(n=30))["modes"] == result["members"][3]["modes"]


def test_a_population_is_resumed(members: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(members, tmp_path / "run"))
    shutil.rmtree(run / "checkpoints" / "00000004")
    assert runs.resume(run, quiet=True).stopped == "end"
    assert_same_run(members, run)
    assert runs.resume(run, steps=6, quiet=True).step == 6
    assert jaxgan.load(run, member=5).step == 6 and read_description(run).options.seeds == 2


def test_a_broken_member_says_so(tmp_path: Path) -> None:
    run = jaxgan.train("ring", outdir=str(tmp_path), vary=("discriminator_learning_rate=1e-3,1e30",), **TINY).directory
    assert jaxgan.load(run).step == 4
    with pytest.raises(RequestError, match=r"member 1 of .* was broken at step 4"):
        jaxgan.load(run, member=1)
    assert [one["member"] for one in runs.evaluate(run, protocol=Protocol(n=30))["members"]] == [0]
    described = summary(run)["population"]
    assert [one["broken"] for one in described] == [[], [1]]
