from functools import reduce

import numpy as np
import pytest
import scipy.linalg

from jaxgan.evaluation import frechet as module
from jaxgan.evaluation.frechet import Moments, frechet_distance, frechet_infinity, merge, moments


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
    for empty in (np.zeros((0, 4)), np.zeros(4)):
        with pytest.raises(ValueError, match="n >= 1"):
            moments(empty)
    with pytest.raises(ValueError, match="2 of 3 feature vectors are not finite"):
        moments([[0.0, np.nan], [1.0, 2.0], [np.inf, np.nan]])


def far_from_zero(n, d=6, seed=2):
    """float32 rows whose mean is a thousand deviations, and of which no two columns are alike."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d)) @ (np.eye(d) + 0.3 * rng.normal(size=(d, d))) * np.arange(1, d + 1)
    return (rows + 1000.0 * np.arange(1, d + 1)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 7, 250, 10_000])
def test_streaming_equals_two_passes(block, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 64)
    # 1,001 rows: every block size here but one leaves a last block of one row
    rows = far_from_zero(1001)
    exact = rows.astype(np.longdouble)
    mean = exact.mean(axis=0)
    covariance = ((exact - mean).T @ (exact - mean) / 1000).astype(float)
    streamed = reduce(merge, (moments(rows[i : i + block]) for i in range(0, len(rows), block)))
    for result in (streamed, moments(rows)):
        assert result.n == 1001 and result.covariance.dtype == np.float64
        np.testing.assert_allclose(result.mean, mean.astype(float), rtol=1e-14)
        np.testing.assert_allclose(result.covariance, covariance, rtol=1e-12, atol=1e-12 * covariance.max())
    # what this is for: sums of x and x x^T, in the features' own precision
    naive = (rows.T @ rows - 1001 * np.outer(rows.mean(0), rows.mean(0))) / 1000
    assert np.abs(naive / covariance - 1).max() > 1e-4


def test_merging_is_of_unequal_parts_in_any_order():
    x, y, z = far_from_zero(5), 2 * far_from_zero(40, seed=3), -far_from_zero(11, seed=4)
    together = moments(np.concatenate([x, y, z]))
    for parts in ((x, y, z), (z, y, x), (y, x, z)):
        merged = reduce(merge, map(moments, parts))
        np.testing.assert_allclose(merged.mean, together.mean, rtol=1e-12)
        np.testing.assert_allclose(merged.covariance, together.covariance, rtol=1e-12)
    with pytest.raises(ValueError, match="different dimensions, 6 and 4"):
        merge(moments(x), moments(y[:, :4]))


def test_features_are_not_copied_whole_nor_changed():
    rows = far_from_zero(100).astype(np.float64)
    before = rows.copy()
    moments(rows)
    np.testing.assert_array_equal(rows, before)


def test_one_row_has_no_covariance_to_compare():
    one, some = moments(far_from_zero(1)), moments(far_from_zero(9))
    assert one.n == 1 and not one.covariance.any()
    with pytest.raises(ValueError, match="n >= 2 rows on both sides, got 9 and 1"):
        frechet_distance(some, one)


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


def test_a_covariance_of_zeros():
    a, b = Moments(np.ones(3), np.zeros((3, 3)), 9), random_moments(0, d=3)
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(b.covariance)
    np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-13)
    np.testing.assert_allclose(frechet_distance(b, a), expected, rtol=1e-13)


@pytest.mark.parametrize("n", [30, 100])
def test_as_torch_fidelity_computes_it(n):
    metric_fid = pytest.importorskip("torch_fidelity.metric_fid")
    a, b = moments(far_from_zero(n) / 100), moments(far_from_zero(n, seed=5) / 90)
    peers = [{"mu": m.mean, "sigma": m.covariance} for m in (a, b)]
    expected = metric_fid.fid_statistics_to_metric(*peers, False)["frechet_inception_distance"]
    np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-6)


def test_infinity_has_no_bias_where_plain_has_a_known_one():
    """Fakes are of the real Gaussian, whose moments are known: the truth is 0.

    To leading order the plain distance is d / n for the mean, and E|E|^2 / 4 = (d^2 + d) / 4n for a covariance I + E.
    """
    d, n, sets = 40, 1500, 16
    real = Moments(np.zeros(d), np.eye(d), 10**9)
    plain, values, errors = [], [], []
    for seed in range(sets):
        fake = np.random.default_rng(seed).normal(size=(n, d))
        plain.append(frechet_distance(real, moments(fake)))
        value, error = frechet_infinity(real, fake, seed=seed, least=300)
        values.append(value)
        errors.append(error)
    bias = d / n + (d**2 + d) / (4 * n)
    np.testing.assert_allclose(np.mean(plain), bias, rtol=0.05)
    deviation = np.std(values, ddof=1)
    assert abs(np.mean(values)) < min(3 * deviation / np.sqrt(sets), 0.1 * bias)
    # as the docstring says: twice the fit's error, for that does not cover the luck of the fakes
    assert 1.0 < np.sqrt(np.mean(np.square(values) / np.square(errors))) < 3.0


def test_infinity_finds_a_distance_that_is_not_0():
    d = 12
    rng, scales, shift = np.random.default_rng(1), np.linspace(0.5, 3.0, d), np.linspace(-1.0, 2.0, d)
    real = Moments(np.zeros(d), np.eye(d), 10**9)
    fake = rng.normal(size=(6000, d)) * scales + shift
    truth = (shift**2).sum() + ((scales - 1) ** 2).sum()
    value, error = frechet_infinity(real, fake.astype(np.float32), seed=4)
    assert 0 < error < 0.05 * truth
    assert abs(value - truth) < 4 * error
    assert frechet_infinity(real, fake.astype(np.float32), seed=4) == (value, error)
    assert frechet_infinity(real, fake.astype(np.float32), seed=5) != (value, error)


def test_infinity_is_the_line_through_its_points():
    """Against numpy's polyfit of plain distances of the same subsets, of which the first are singular."""
    rng = np.random.default_rng(0)
    real, fake = random_moments(3, d=30), rng.normal(size=(200, 30)) * 2
    draws, sizes = np.random.default_rng(9), [20, 65, 110, 155, 200]
    points = [frechet_distance(real, moments(fake[draws.permutation(200)[:size]])) for size in sizes]
    (_, intercept), covariance = np.polyfit(1 / np.array(sizes), points, 1, cov=True)
    value, error = frechet_infinity(real, fake, seed=9, num_points=5, least=20)
    np.testing.assert_allclose(value, intercept, rtol=1e-8)
    np.testing.assert_allclose(error, np.sqrt(covariance[1, 1]), rtol=1e-6)


def test_impossible_extrapolations_are_refused():
    real, fake = random_moments(0), np.random.default_rng(0).normal(size=(50, 5))
    for bad, message in (
        ({"num_points": 2}, "at least 3"),
        ({"least": 50}, r"in \[2, 50\).*got 50"),
        ({"least": 1}, "got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            frechet_infinity(real, fake, **bad)
    with pytest.raises(ValueError, match="different dimensions, 5 and 4"):
        frechet_infinity(real, fake[:, :4])
    with pytest.raises(ValueError, match="got shape"):
        frechet_infinity(real, fake[:2])
