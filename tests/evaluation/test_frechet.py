import numpy as np
import pytest
import scipy.linalg

from jaxgan.evaluation.frechet import Moments, frechet_distance, moments


def random_moments(seed, d=5, scale=1.0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d)) * scale
    return Moments(rng.normal(size=d), root @ root.T + 0.1 * np.eye(d), 100)


def test_moments_against_numpy():
    rows = np.random.default_rng(0).normal(size=(7, 3)) * [1, 10, 0.1] + [5, 0, -2]
    result = moments(rows)
    np.testing.assert_allclose(result.mean, rows.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(result.covariance, np.cov(rows, rowvar=False), rtol=1e-12)
    assert result.n == 7


def test_moments_of_float32_are_taken_in_float64():
    # The offset eats a float32 product's digits: the variance of 4096 +- 2^-9 would come out as 0 or 1.
    rows = (4096 + np.array([[-1.0], [1.0], [-1.0], [1.0]]) * 2**-9).astype(np.float32)
    np.testing.assert_allclose(moments(rows).covariance, [[4 / 3 * 2**-18]], rtol=1e-9)


def test_moments_refuses_what_has_none():
    with pytest.raises(ValueError, match="n >= 2"):
        moments(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="2 of 3 feature vectors are not finite"):
        moments([[0.0, np.nan], [1.0, 2.0], [np.inf, np.nan]])


def test_one_dimensional_closed_form():
    # (1 - (-2))^2 + (2 - 0.5)^2
    a, b = Moments(np.array([1.0]), np.array([[4.0]]), 9), Moments(np.array([-2.0]), np.array([[0.25]]), 9)
    np.testing.assert_allclose(frechet_distance(a, b), 11.25, rtol=1e-14)


def test_commuting_covariances_closed_form():
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    a = Moments(np.array([1.0, 2.0, 3.0]), rotation @ np.diag([1.0, 4.0, 9.0]) @ rotation.T, 9)
    b = Moments(np.array([0.0, 2.0, 5.0]), rotation @ np.diag([16.0, 1.0, 9.0]) @ rotation.T, 9)
    np.testing.assert_allclose(frechet_distance(a, b), 1 + 4 + (1 - 4) ** 2 + (2 - 1) ** 2, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_against_scipy_sqrtm(seed):
    a, b = random_moments(seed), random_moments(seed + 10, scale=3.0)
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-9)
    np.testing.assert_allclose(frechet_distance(b, a), expected, rtol=1e-9)


def test_zero_at_identity_and_quadratic_in_a_shift():
    a = random_moments(0, d=40, scale=5.0)
    assert 0.0 <= frechet_distance(a, a) < 1e-9
    shifted = Moments(a.mean + 3.0, a.covariance, a.n)
    np.testing.assert_allclose(frechet_distance(a, shifted), 40 * 9.0, rtol=1e-10)


def test_singular_covariances_closed_form():
    # Rank one in orthogonal directions: nothing overlaps. In the same direction: roots subtract.
    u, v = np.eye(50)[0], np.eye(50)[1]
    a, b = Moments(np.zeros(50), 4.0 * np.outer(u, u), 9), Moments(np.zeros(50), 9.0 * np.outer(v, v), 9)
    np.testing.assert_allclose(frechet_distance(a, b), 13.0, rtol=1e-12)
    c = Moments(np.zeros(50), 9.0 * np.outer(u, u), 9)
    np.testing.assert_allclose(frechet_distance(a, c), 1.0, rtol=1e-12)


def test_fewer_samples_than_dimensions():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 300)), 2.0 * rng.normal(size=(15, 300)) + 1.0
    a, b = moments(x), moments(y)
    # tr (A B)^(1/2) is the nuclear norm of the centred cross products: no square root of a singular matrix.
    cross = (x - x.mean(0)) @ (y - y.mean(0)).T / np.sqrt(19 * 14)
    expected = ((a.mean - b.mean) ** 2).sum() + x.var(0, ddof=1).sum() + y.var(0, ddof=1).sum()
    expected -= 2 * np.linalg.norm(cross, "nuc")
    np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-9)
    assert frechet_distance(a, a) < 1e-9


def test_converges_to_the_distance_of_the_sampled_gaussians():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20_000, 2)) * [1.0, 2.0], rng.normal(size=(20_000, 2)) * [3.0, 2.0] + [0.0, 1.0]
    np.testing.assert_allclose(frechet_distance(moments(x), moments(y)), 4.0 + 1.0, atol=0.15)


def test_different_dimensions_are_refused():
    with pytest.raises(ValueError, match="different dimensions, 5 and 4"):
        frechet_distance(random_moments(0), random_moments(1, d=4))
