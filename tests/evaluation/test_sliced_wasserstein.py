import numpy as np
import pytest
import scipy.stats
from scipy.special import gamma

from jaxgan.evaluation import sliced_wasserstein as module
from jaxgan.evaluation.sliced_wasserstein import sliced_wasserstein


def two_sets(n, m, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.exponential(size=(m, d)) * np.arange(1, d + 1)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (30, 30), (30, 20), (7, 50), (12, 1)])
def test_on_a_line_it_is_the_distance_on_a_line(n, m):
    x, y = two_sets(n, m, d=1)
    expected = scipy.stats.wasserstein_distance(x[:, 0], y[:, 0])
    np.testing.assert_allclose(sliced_wasserstein(x, y, 5, order=1.0)[0], expected, rtol=1e-12)
    np.testing.assert_allclose(sliced_wasserstein(y, x, 5, order=1.0)[0], expected, rtol=1e-12)
    # every point as often as makes the sets equally large
    a, b = np.sort(np.repeat(x[:, 0], m)), np.sort(np.repeat(y[:, 0], n))
    for order in (2.0, 3.5):
        value, error = sliced_wasserstein(x, y, 5, order=order)
        np.testing.assert_allclose(value, (np.abs(a - b) ** order).mean() ** (1 / order), rtol=1e-12)
        assert error < 1e-12 * value


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 25)])
def test_against_its_directions_one_by_one(n, m, monkeypatch):
    x, y = two_sets(n, m)
    monkeypatch.setattr(module, "DIRECTIONS_AT_ONCE", 4)
    directions = np.random.default_rng(6).normal(size=(10, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    costs = np.array([scipy.stats.wasserstein_distance(x @ u, y @ u) for u in directions])
    value, error = sliced_wasserstein(x, y, 10, seed=6, order=1.0)
    np.testing.assert_allclose(value, costs.mean(), rtol=1e-12)
    np.testing.assert_allclose(error, scipy.stats.sem(costs), rtol=1e-10)


@pytest.mark.parametrize("d", [2, 16])
def test_a_shift_closed_form(d):
    """W_p along u is |u.s|, and u.s / |s| has moments of a coordinate on the sphere."""
    x, shift = two_sets(50, 1, d)[0], np.linspace(-1.0, 3.0, d)
    length = np.linalg.norm(shift)
    first = gamma(d / 2) / (np.sqrt(np.pi) * gamma((d + 1) / 2))
    for order, share in ((1.0, first), (2.0, 1 / np.sqrt(d))):
        value, error = sliced_wasserstein(x, x + shift, 4000, order=order)
        assert 0 < error < 0.03 * value
        assert abs(value - length * share) < 3 * error


def test_gaussians_of_other_mean_and_scale():
    """Along every u N(0, 1) meets N(u.s, 9): W_2^2 = (u.s)^2 + 4, so the mean is |s|^2 / d + 4."""
    rng = np.random.default_rng(0)
    d, shift = 4, np.array([1.0, -2.0, 0.0, 2.0])
    x, y = rng.normal(size=(30_000, d)), 3.0 * rng.normal(size=(20_000, d)) + shift
    value, error = sliced_wasserstein(x, y, 300)
    np.testing.assert_allclose(value, np.sqrt(9 / 4 + 4), atol=3 * error + 0.02)


def test_the_error_is_the_spread_over_seeds():
    x, y = two_sets(60, 45, 5)
    values, errors = np.array([sliced_wasserstein(x, y, 50, seed=seed) for seed in range(60)]).T
    np.testing.assert_allclose(errors.mean(), values.std(ddof=1), rtol=0.25)
    assert sliced_wasserstein(x, y, 50, seed=3) == (values[3], errors[3])


def test_nothing_apart_is_0():
    x, _ = two_sets(9, 1)
    assert sliced_wasserstein(x, x[::-1]) == (0.0, 0.0)


def test_mistakes_are_refused():
    x, y = two_sets(5, 4)
    for arguments, message in (
        ((x, y[:, :2]), "the same d"),
        ((x, y[:0]), "the same d"),
        ((x, y * np.nan), "not finite"),
        ((x, y, 1), "at least 2.*got 1"),
        ((x, y, 10, 0, 0.5), "order must be at least 1, got 0.5"),
    ):
        with pytest.raises(ValueError, match=message):
            sliced_wasserstein(*arguments)
