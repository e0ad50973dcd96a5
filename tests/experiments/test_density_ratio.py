import json

import density_ratio
import jax
import numpy as np
import pytest
from contract import RESULTS
from density_ratio import EQUAL, LINEAR, MODES, PLANE, SHIFT, lower_bound, plug_in
from gaussians import INTEGRANDS, Gaussians, box, device_arrays, draw, gaussian, log_density, on_a_line, sampler
from play import last
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm


def log_ratio(case) -> np.ndarray:
    return log_density(case.p, case.grid.points) - log_density(case.q, case.grid.points)


def test_a_linear_discriminator_learns_the_log_ratio_and_the_generator_stays():
    discriminator = density_ratio.net(LINEAR)
    stage = density_ratio.stage(LINEAR, discriminator, steps=600, batch=256)
    # the step size of the study is for ten times as many steps
    states = last(stage, seeds=2)
    dense = states.params["discriminator"]["Dense_0"]
    np.testing.assert_allclose(np.ravel(dense["kernel"]), -SHIFT, atol=0.06)
    np.testing.assert_allclose(np.ravel(dense["bias"]), SHIFT**2 / 2, atol=0.06)
    assert list(states.opt_state) == ["discriminator"] and states.params["generator"] == {}
    assert [update.name for update in stage.game.updates] == ["discriminator"]


def test_exact_divergences_are_the_closed_forms():
    # KL of Gaussians and Pearson's chi squared, by hand
    assert density_ratio.exact(LINEAR, "kl") == pytest.approx(SHIFT**2 / 2, abs=1e-9)
    assert density_ratio.exact(LINEAR, "pearson") == pytest.approx(np.expm1(SHIFT**2), abs=1e-9)
    a, b = PLANE.p.covariances[0], PLANE.q.covariances[0]
    mean = PLANE.p.means[0]
    log_determinants = np.linalg.slogdet(b)[1] - np.linalg.slogdet(a)[1]
    kl = (np.trace(np.linalg.solve(b, a)) + mean @ np.linalg.solve(b, mean) - 2 + log_determinants) / 2
    assert density_ratio.exact(PLANE, "kl") == pytest.approx(kl, abs=1e-6)
    p, q = lambda x: 0.4 * norm(-1.5, 0.8).pdf(x) + 0.6 * norm(1.5, 1.0).pdf(x), norm(0, 1.8).pdf
    integral = lambda f: quad(f, -14, 14, epsabs=1e-11, limit=200, points=[-1.5, 1.5])[0]  # noqa: E731
    assert density_ratio.exact(MODES, "kl") == pytest.approx(integral(lambda x: p(x) * np.log(p(x) / q(x))), abs=1e-8)
    assert density_ratio.exact(MODES, "reverse_kl") == pytest.approx(
        integral(lambda x: q(x) * np.log(q(x) / p(x))), abs=1e-8
    )
    assert density_ratio.exact(MODES, "pearson") == pytest.approx(
        integral(lambda x: (p(x) - q(x)) ** 2 / q(x)), abs=1e-8
    )


def _of_certainty(case) -> float:
    """The error of D = 1, whose square is the mean of (q / (p + q))^2."""
    p, q = (lambda x, law=law: np.exp(log_density(law, np.array([[x]]))[0]) for law in (case.p, case.q))
    return np.sqrt(quad(lambda x: q(x) ** 2 / (p(x) + q(x)) / 2, -14, 14, points=[-1, 1], epsabs=1e-9)[0])


@pytest.mark.parametrize("case", [LINEAR, MODES, EQUAL], ids=lambda case: case.name)
def test_both_estimates_are_exact_at_the_true_ratio_and_bounds_stay_below_at_any_other(case):
    best, rng = log_ratio(case), np.random.default_rng(0)
    wrong = 0.8 * best + 0.3 * np.sin(3 * case.grid.points[:, 0]) + rng.normal()
    for name, _, _ in density_ratio.DIVERGENCES:
        truth = density_ratio.exact(case, name)
        assert lower_bound(name, best, case) == pytest.approx(truth, abs=1e-7)
        assert plug_in(name, best, case) == pytest.approx(truth, abs=1e-7)
        assert lower_bound(name, wrong, case) < truth - 1e-3
    # a plug-in bounds nothing, but for Jensen-Shannon it is the bound
    assert plug_in("jensen_shannon", wrong, case) == pytest.approx(lower_bound("jensen_shannon", wrong, case))
    assert plug_in("kl", best + 0.5, case) == pytest.approx(density_ratio.exact(case, "kl") + 0.5)
    assert density_ratio.logit_error(best + 0.5, case) == pytest.approx(0.5)
    assert density_ratio.probability_error(0 * best + 1e3, case) == pytest.approx(_of_certainty(case))
    # the value of the game, and that of a discriminator that cannot tell
    value = -np.log(4) + density_ratio.exact(case, "jensen_shannon")
    assert lower_bound("gan", best, case) == pytest.approx(value, abs=1e-7)
    assert lower_bound("gan", 0 * best, case) == pytest.approx(-np.log(4), abs=1e-7)


def test_what_is_drawn_has_the_density_it_is_said_to_have():
    law = Gaussians(
        np.array([0.3, 0.7]), np.array([[-2.0, 1.0], [1.0, 0.0]]), np.array([[[1, 0.6], [0.6, 2]], np.eye(2) / 4])
    )
    points = np.asarray(draw(device_arrays(law), jax.random.key(0), 40_000), float)
    low = points[:, 0] < -0.7
    mean = law.weights @ law.means
    second = sum(w * (c + np.outer(m, m)) for w, m, c in zip(law.weights, law.means, law.covariances, strict=True))
    np.testing.assert_allclose(points.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(points.T), second - np.outer(mean, mean), atol=0.06)
    share = 0.3 * norm(-2, 1).cdf(-0.7) + 0.7 * norm(1, 0.5).cdf(-0.7)
    assert low.mean() == pytest.approx(share, abs=0.01)
    expected = 0.3 * multivariate_normal(law.means[0], law.covariances[0]).pdf(points[:5]) + 0.7 * multivariate_normal(
        law.means[1], law.covariances[1]
    ).pdf(points[:5])
    np.testing.assert_allclose(np.exp(log_density(law, points[:5])), expected)
    # the frozen generator's Gaussian, of correlated coordinates
    z = jax.random.normal(jax.random.key(1), (40_000, 2))
    made, changed = sampler(PLANE.q).apply({"params": {}}, z)
    np.testing.assert_allclose(np.cov(np.asarray(made).T), PLANE.q.covariances[0], atol=0.03)
    assert changed == {}


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="add up to 1"):
        on_a_line([0.5, 0.6], [0, 1], [1, 1])
    with pytest.raises(ValueError, match="covariances"):
        Gaussians(np.ones(1), np.zeros((1, 2)), np.ones((1, 1, 1)))
    with pytest.raises(ValueError, match="one Gaussian"):
        sampler(MODES.p)


def test_integrands_are_symmetric_where_the_divergence_is():
    grid = box(-14, 14, 2801)
    p, q = (log_density(gaussian([m], [[v]]), grid.points) for m, v in ((0.3, 1.0), (-0.4, 1.4)))
    integral = lambda name, a, b: grid.integral(INTEGRANDS[name](a, b))  # noqa: E731
    for name in ("jensen_shannon", "jeffrey", "squared_hellinger", "total_variation"):
        assert integral(name, p, q) == pytest.approx(integral(name, q, p))
    for one, other in (("kl", "reverse_kl"), ("pearson", "neyman")):
        assert integral(one, p, q) == pytest.approx(integral(other, q, p))
        assert abs(integral(one, p, q) - integral(one, q, p)) > 1e-3


def test_the_committed_discriminators_are_the_log_ratio():
    rows = json.loads((RESULTS / "density_ratio.json").read_text())["rows"]
    measured = {(row["method"], row["metric"]): row["measured"] for row in rows}
    for case in density_ratio.CASES:
        name = case.name
        assert measured[name, "error of the logit (RMS)"] < 0.25 and measured[name, "error of D (RMS)"] < 0.01
        exact = -np.log(4) + density_ratio.exact(case, "jensen_shannon")
        assert measured[f"{name}, exact", "value of the game"] == pytest.approx(exact, abs=1e-6)
        assert exact - 2e-3 < measured[name, "value of the game"] <= exact + 1e-6
        for _, title, _ in density_ratio.DIVERGENCES:
            truth = measured[f"{name}, exact", title]
            assert 0.9 * truth - 2e-3 < measured[name, f"{title}, lower bound"] <= truth + 1e-6
    assert measured[LINEAR.name, "slope of the logit"] == pytest.approx(-SHIFT, abs=0.02)
    assert measured[LINEAR.name, "intercept of the logit"] == pytest.approx(SHIFT**2 / 2, abs=0.02)
    # and it is not where there are no data
    nowhere = "error of the logit between 5 and 8 from 0"
    assert measured[MODES.name, nowhere] > 5 * measured[MODES.name, "error of the logit (RMS)"]
