from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import infogan
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from contract import committed


def test_what_does_not_vary_correlates_with_nothing():
    a, b = np.random.default_rng(0).normal(size=(2, 9))
    assert infogan.rank_correlation(a, -np.exp(a)) == pytest.approx(-1.0)
    assert infogan.rank_correlation(a, b) == pytest.approx(scipy.stats.spearmanr(b, a).statistic)
    assert infogan.rank_correlation(a, np.ones(9)) == infogan.rank_correlation(np.ones(9), b) == 0.0


@dataclass
class Drawn:
    """A generator that draws bars: code 1 leans them, code 2 makes them thicker, the noise does neither."""

    config: Any = None
    state: Any = None

    def prior(self, key, n, condition):
        noise, code = jnp.zeros((n, 2)), jax.random.uniform(key, (n, 2), minval=-0.2, maxval=0.2)
        return jnp.concatenate([noise, jax.nn.one_hot(condition, 2), code], axis=1)

    def generate(self, state, latents, truncation):
        lean, thick = (latents[:, i].reshape(-1, 1, 1) for i in (-2, -1))
        rows, columns = jnp.arange(16.0) - 7.5, jnp.arange(16.0) - 7.5
        across = columns[None, None, :] + 0.4 * lean * rows[None, :, None]
        ink = jax.nn.sigmoid(4.0 * (1.5 + 0.8 * thick - jnp.abs(across)))
        ink = jnp.where(jnp.abs(rows)[None, :, None] < 6, ink, 0.0)
        return (2.0 * ink - 1.0)[..., None]


def test_codes_that_lean_and_thicken_are_told_apart_and_noise_from_both():
    config = SimpleNamespace(categories=2, continuous=2, noise=2, prior="normal")
    found = infogan.codes_of(Drawn(config), 40)
    lean, thick = found["codes"]
    assert lean["slant"]["correlation"] > 0.95 and abs(thick["slant"]["correlation"]) < 0.3
    assert thick["thickness"]["correlation"] > 0.95 and thick["ink"]["correlation"] > 0.95
    # by the angle it was leant by, and not when made thicker
    assert lean["slant"]["change"] == pytest.approx(2 * np.degrees(np.arctan(0.4 * 8 / 9)), rel=0.05)
    assert abs(thick["slant"]["change"]) < 3 and thick["ink"]["change"] > 0.05
    assert all(one == {"correlation": 0.0, "change": 0.0} for noise in found["noise"] for one in noise.values())
    rows = {(row.method, row.metric): row for row in infogan.rows_of("cpu", [found | {"code_error": 0.2}], [0.3])}
    assert rows["InfoGAN (cpu)", f"slant: {infogan.CORRELATION}"].measured > 0.95
    assert rows["two dimensions of the noise (cpu)", f"slant: {infogan.CORRELATION}"].measured < 1e-9


def test_published_numbers_stand_beside_the_papers_protocol_alone():
    config = SimpleNamespace(categories=2, continuous=2, noise=2, prior="uniform")
    found = [infogan.codes_of(Drawn(config), 2) | {"code_error": error} for error in (0.3, 0.05, 0.1)]
    for protocol, published in (("cpu", None), ("paper", 0.05)):
        median, best, clusters = infogan.rows_of(protocol, found, [0.2, 0.4, 0.3])[:3]
        assert (median.measured, best.measured, clusters.measured) == (0.1, 0.05, 0.3)
        assert (median.published, best.published, clusters.published) == (published, published, None)
        assert median.n_seeds == 3
    waiting = infogan.pending("paper")
    assert all(row.measured is None and row.method == "InfoGAN (paper)" for row in waiting)
    assert waiting[0].published == 0.05 and waiting[0].source


def test_codes_have_more_to_do_with_slant_thickness_and_width_than_noise_has():
    """The claim of the committed result, by more than two standard errors of the difference."""
    rows = {(row.method, row.metric): row for row in committed("infogan", "cpu")}
    for name in ("slant", "thickness", "width"):
        metric = f"{name}: {infogan.CORRELATION}"
        code, noise = (rows[f"{of} (cpu)", metric] for of in ("InfoGAN", "two dimensions of the noise"))
        assert code.measured - noise.measured > 2 * np.hypot(code.uncertainty, noise.uncertainty), name
        assert code.n_seeds == noise.n_seeds >= 5
