import json
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import slices
import stacked_mnist
from contract import RESULTS, committed

from jaxgan.config import RequestError, changed
from jaxgan.data import images
from jaxgan.data.stacked import stacks
from jaxgan.evaluation.modes import stack_statistics
from jaxgan.run import find_preset, prepare
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.loop import _Session
from jaxgan.training.parallel import configure_backend


def test_the_ceiling_is_three_times_that_of_single_digits_and_a_bias():
    """The channels are independent, so their divergences add up; a sample of n adds (modes - 1) / 2n."""
    shares = np.array([5, 9, 6, 8, 7, 4, 6, 9, 5, 7])
    label, n = np.repeat(np.arange(10), shares), 200_000
    source = stacks(images.from_arrays("grey", np.zeros((len(label), 2, 2), np.uint8), label), n)
    index = np.asarray(source.batch(source.arrays, jax.random.key(0), jnp.int32(0))["index"])
    found = stack_statistics(label[index], 10)
    expected = 3 * scipy.stats.entropy(shares, np.ones(10)) + 999 / (2 * n)
    assert found["modes"] == 1000
    np.testing.assert_allclose(found["reverse_kl"], expected, rtol=0.03)


def small(outdir, steps=2):
    """A run that compiles fast: slices know no system."""
    preset = find_preset("ring", "cpu")
    options = replace(preset.options, steps=steps, batch=4, outdir=str(outdir), name="row", evaluate_samples=50)
    return prepare("ring", changed(preset.config, {"generator_width": 4, "discriminator_width": 4}), options)


def test_a_row_is_begun_gone_on_with_and_read(tmp_path, monkeypatch):
    configure_backend()
    # time is up with the first step, which compiles
    with monkeypatch.context() as patch:
        patch.setattr(_Session, "out_of_time", lambda session: session.step == 1)
        with pytest.raises(slices.SliceEnds):
            slices.finished(small(tmp_path), tmp_path / "row", deadline=None)
    assert Checkpoints(tmp_path / "row" / "checkpoints").steps() == [1]
    with pytest.raises(slices.SliceEnds):
        slices.finished(small(tmp_path), tmp_path / "row", deadline=time.monotonic())
    assert Checkpoints(tmp_path / "row" / "checkpoints").steps() == [1]
    assert slices.finished(small(tmp_path), tmp_path / "row", None) == tmp_path / "row"
    assert Checkpoints(tmp_path / "row" / "checkpoints").steps() == [1, 2]
    monkeypatch.setattr(slices, "resume", lambda *args, **keywords: pytest.fail("trained again"))
    slices.finished(small(tmp_path), tmp_path / "row", None)
    with pytest.raises(RequestError, match="begun with other settings"):
        slices.finished(small(tmp_path, steps=3), tmp_path / "row", None)


def test_what_was_not_run_is_pending_beside_its_published_value():
    found = {trial.method for trial in stacked_mnist.PAPER_TRIALS[1:]}
    modes, divergence = stacked_mnist._unfinished("paper", found)
    assert (modes.method, modes.metric, modes.published) == ("DCGAN, tiny (paper)", "modes", 78.5)
    assert (divergence.metric, divergence.published, divergence.published_uncertainty) == ("reverse_kl", 5.21, 0.19)


def test_triples_stand_side_by_side():
    images = np.arange(4 * 3, dtype=np.float32).reshape(4, 1, 1, 3) / 127.5 - 1
    sheet = stacked_mnist._apart(images)
    assert sheet[sheet < 255].reshape(2, 6).tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]


def test_packs_of_two_find_more_modes():
    """The claim of the committed result, by more than two standard errors of the difference."""
    rows = {(row.method, row.metric): row for row in committed("stacked_mnist", "cpu")}
    plain, packed = (rows[f"{name}, tiny (cpu)", "modes"] for name in ("DCGAN", "PacDCGAN2"))
    error = np.hypot(plain.uncertainty, packed.uncertainty)
    assert packed.measured - plain.measured > 2 * error and plain.n_seeds == packed.n_seeds >= 4
    ceiling = rows["real stacks (cpu)", "modes"].measured
    assert ceiling == 1000 > packed.measured
    curves = json.loads((RESULTS / "stacked_mnist.json").read_text())["details"]["curves"]
    assert np.mean(curves[packed.method]["modes"][-1]) == packed.measured
