import json
from functools import partial

import fgan
import jax
import numpy as np
import pytest
from contract import RESULTS
from fgan import DEVIATIONS, MEANS, WEIGHTS
from gaussians import device_arrays, draw
from jax.flatten_util import ravel_pytree
from scipy.integrate import quad
from scipy.stats import norm

from jaxgan.dynamics import field
from jaxgan.game import init_state
from jaxgan.losses import divergence
from jaxgan.losses.divergence import Divergence


def density(x: float) -> float:
    return sum(w * norm(m, s).pdf(x) for w, m, s in zip(WEIGHTS, MEANS, DEVIATIONS, strict=True))


def test_every_divergence_of_the_library_is_there():
    assert set(fgan.TITLES) == {name for name, row in vars(divergence).items() if isinstance(row, Divergence)}


@pytest.mark.parametrize("name", list(fgan.TITLES))
def test_true_divergences_are_integrals_of_the_generator_function(name):
    """By another route: the library's f, and an adaptive rule for the tails."""
    mu, sigma = 0.9, 1.6
    q = norm(mu, sigma).pdf
    with jax.enable_x64(True):
        f = getattr(divergence, name).generator_function
        x = np.linspace(-6, 9, 30_001)
        inside = np.trapezoid(q(x) * np.asarray(f(density(x) / q(x))), x)
    by_parts = quad(lambda x: float(fgan.INTEGRANDS[name](np.log(density(x)), norm(mu, sigma).logpdf(x))), -15, -6)[0]
    by_parts += quad(lambda x: float(fgan.INTEGRANDS[name](np.log(density(x)), norm(mu, sigma).logpdf(x))), 9, 20)[0]
    if name == "gan":
        assert fgan.true_divergence(name, mu, sigma) == pytest.approx(
            fgan.true_divergence("jensen_shannon", mu, sigma) - np.log(4), abs=1e-9
        )
    # what lies outside is computed from the integrand, hence small
    assert abs(by_parts) < 0.05
    assert fgan.true_divergence(name, mu, sigma) == pytest.approx(inside + by_parts, abs=1e-5)


def test_optima_are_those_of_the_paper_and_of_moment_matching():
    best, mu, sigma = fgan.optimum("kl")
    mean = np.dot(WEIGHTS, MEANS)
    second = np.dot(WEIGHTS, np.square(MEANS) + np.square(DEVIATIONS))
    np.testing.assert_allclose((mu, sigma), (mean, np.sqrt(second - mean**2)), atol=1e-5)
    entropy = quad(lambda x: -density(x) * np.log(density(x)), -14, 18, points=MEANS, limit=200)[0]
    assert best == pytest.approx(0.5 * np.log(2 * np.pi * np.e * sigma**2) - entropy, abs=1e-7)
    for name, (exact, _) in fgan.PUBLISHED.items():
        np.testing.assert_allclose(fgan.optimum(name), exact, atol=6e-4)


@pytest.mark.parametrize("name", list(fgan.TITLES))
def test_the_bound_is_never_above_the_divergence_and_reaches_it(name):
    x = fgan.GRID.points[:, 0]
    rng = np.random.default_rng(0)
    for mu, sigma in ((0.5, 1.2), (1.3, 1.75), (3.4, 1.6)):
        truth = fgan.true_divergence(name, mu, sigma)
        for _ in range(3):
            a, b, c, d = rng.normal(size=4)
            logits = 3 * a * np.tanh(b * x + c) + d
            assert fgan.bound(name, logits, mu, sigma) <= truth + 1e-9
    log_ratio = np.clip(fgan.log_mixture() - norm(mu, sigma).logpdf(x), -20, 20)
    best = {
        "kl": 1 + log_ratio,
        "jeffrey": 1 + log_ratio - np.exp(-log_ratio),
        "pearson": 2 * np.expm1(log_ratio),
        "neyman": 2 * log_ratio,
        "squared_hellinger": log_ratio / 2,
        "total_variation": 1e4 * np.sign(log_ratio),
    }.get(name, log_ratio)
    reached = fgan.bound(name, best, mu, sigma)
    assert truth - 3e-3 * (1 + abs(truth)) < reached <= truth + 1e-9


def test_tails_decide_where_the_chi_squareds_are_infinite():
    low, high = max(DEVIATIONS) / np.sqrt(2), max(DEVIATIONS) * np.sqrt(2)
    for name, infinite, finite in (("pearson", 0.9999 * low, 1.05 * low), ("neyman", 1.0001 * high, 0.95 * high)):
        assert fgan.true_divergence(name, 1.0, infinite) == np.inf
        assert fgan.true_divergence(name, 1.0, finite) < np.inf
        # the integrand falls off beyond some point where the integral is finite, and grows for ever where not
        for sigma, falls in ((finite, True), (infinite, False)):
            far = np.array([[-2e6], [-1e6]])
            logs = [fgan.log_density(law, far) for law in (fgan.MIXTURE, fgan.fitted(1.0, sigma))]
            p, q = logs if name == "pearson" else logs[::-1]
            assert ((2 * p - q)[0] < (2 * p - q)[1]) == falls


def test_an_infinite_divergence_of_what_was_learned_is_said_to_be_infinite():
    logits = np.zeros((2, len(fgan.GRID.points)))
    *_, row = fgan._rows("neyman", np.array([1.0, 1.1]), np.array([1.5, 2.5]), logits)
    assert row.measured == np.inf and row.uncertainty is None and row.n_seeds == 2


@pytest.fixture(scope="module")
def velocity():
    """Where each player goes first, by divergence: parameters as one vector, and how to read them."""
    batch = {"point": draw(device_arrays(fgan.MIXTURE), jax.random.key(5), 10_000)}
    state = jax.jit(partial(init_state, fgan.stage("kl", 1, width=8).game))(jax.random.key(0))

    def move(name: str) -> np.ndarray:
        return np.asarray(jax.jit(partial(field, fgan.stage(name, 1, width=8).game))(state, batch))

    return move, *ravel_pytree(dict(state.params))


def test_jensen_shannon_plays_like_gan(velocity):
    move, _, _ = velocity
    np.testing.assert_allclose(move("jensen_shannon"), move("gan"), atol=1e-6)
    assert np.abs(move("kl") - move("gan")).max() > 1e-2


@pytest.mark.parametrize("name", ["kl", "neyman"])
def test_the_generator_goes_down_the_bound_and_the_critic_up(velocity, name):
    """The sign of both players, from the bound by quadrature and not from the loss."""
    move, flat, restore = velocity
    critic, points = fgan.players(width=8)[1], fgan.COARSE.points.astype(np.float32)

    def bound(flat: np.ndarray) -> float:
        params = restore(flat)
        logits = np.asarray(jax.jit(critic.apply)({"params": params["discriminator"]}, points)[0], np.float64)
        dense = params["generator"]["Dense_0"]
        return fgan.bound(name, logits, float(dense["bias"][0]), float(dense["kernel"][0, 0]), fgan.COARSE)

    direction = move(name)
    # players go by name: the discriminator's parameters come first, then bias and kernel of the generator
    for part, sign in ((slice(-2, None), -1), (slice(0, -2), 1)):
        ahead = np.zeros_like(direction)
        ahead[part] = 0.02 * direction[part] / np.linalg.norm(direction[part])
        slope = (bound(flat + ahead) - bound(flat - ahead)) / 0.04
        assert slope == pytest.approx(sign * np.linalg.norm(direction[part]), rel=0.1)


def test_the_game_is_the_papers_single_step():
    stage = fgan.stage("kl", 1)
    assert stage.game.simultaneous and all(update.when is None for update in stage.game.updates)
    assert stage.source.batch_size == fgan.BATCH == 1024
    dense = jax.jit(stage.game.players["generator"].net.init)(jax.random.key(0))["params"]["Dense_0"]
    assert np.ravel(dense["kernel"]) == 1.0 and np.ravel(dense["bias"]) == 0.0
    critic = jax.eval_shape(stage.game.players["discriminator"].net.init, jax.random.key(0))["params"]
    assert [layer["kernel"].shape for layer in critic.values()] == [(1, 64), (64, 64), (64, 1)]


def test_the_committed_fits_are_near_the_optima_and_below_the_truth():
    content = json.loads((RESULTS / "fgan.json").read_text())
    measured = {(row["method"], row["metric"]): row["measured"] for row in content["rows"]}
    for name, title in fgan.TITLES.items():
        exact, trained = f"{title}, exact optimum", f"{title}, trained"
        assert measured[trained, "bound F"] <= measured[trained, "true D_f there"] + 1e-6
        assert measured[trained, "true D_f there"] >= measured[exact, "D_f*"] - 1e-6
        if name != "total_variation":
            assert measured[trained, "mu"] == pytest.approx(measured[exact, "mu*"], abs=0.08)
            assert measured[trained, "sigma"] == pytest.approx(measured[exact, "sigma*"], abs=0.08)
            excess = measured[trained, "true D_f there"] - measured[exact, "D_f*"]
            assert excess < 0.02 * abs(measured[exact, "D_f*"])
        cross = content["details"][name]["trained with this, measured by"]
        for other, value in cross.items():
            assert value is None or value >= content["details"][other]["optimum"]["divergence"] - 1e-6
