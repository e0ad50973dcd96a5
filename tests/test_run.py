"""Runs from Python: what `jaxgan.train` and `jaxgan.load` return, and what a folder says of itself."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jaxgan
from jaxgan import run as runs
from jaxgan.config import RequestError
from jaxgan.recipes.dataset import describe, open_data, recall
from jaxgan.recipes.folder import read_description
from jaxgan.training.checkpoint import Checkpoints
from tests.commands import strict_json, timeless

TINY: dict[str, Any] = {"width": 8, "depth": 2, "batch": 8, "steps": 4, "evaluate_samples": 50, "quiet": True}


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


def test_mistakes_are_request_errors(ring: runs.Run, tmp_path: Path) -> None:
    for values, message in (
        ({"widht": 3}, r"ring has no \['widht'\]"),
        ({"preset": "nope"}, "ring has no preset 'nope'"),
        ({"width": 0}, "--width is at least 1"),
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
    with pytest.raises(RuntimeError, match="stopped at step 1: generator/gradient_norm was not finite at step 0"):
        jaxgan.train("ring", outdir=str(tmp_path), learning_rate=1e30, **TINY)


def test_what_a_folder_says_of_itself(ring: runs.Run) -> None:
    described = read_description(ring.directory)
    assert (described.recipe, described.config, described.options) == ("ring", ring.config, ring.options)
    manifest = strict_json((ring.directory / "manifest.json").read_text())
    assert manifest["versions"]["jax"] == jax.__version__ and manifest["versions"]["jaxgan"] == jaxgan.__version__
    assert manifest["parameters"] == {"discriminator": 105, "generator": 114}
    assert manifest["devices"] and manifest["data"]["name"] == "ring8" and manifest["command"] is None
    assert json.loads((ring.directory / "config.json").read_text())["version"] == jaxgan.__version__


def test_evaluate_and_resume(ring: runs.Run, tmp_path: Path) -> None:
    result = runs.evaluate(ring.directory, n=30, checkpoint="2")
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
