import numpy as np
import pytest

from jaxgan.evaluation import kernel as module
from jaxgan.evaluation.kernel import kernel_distance, mmd2


def kernel(a, b):
    return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1.0) ** 3


def brute_force(x, y):
    within_x = [kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]
    within_y = [kernel(y[i], y[j]) for i in range(len(y)) for j in range(len(y)) if i != j]
    between = [kernel(a, b) for a in x for b in y]
    return np.mean(within_x) + np.mean(within_y) - 2 * np.mean(between)


def two_sets(n=9, m=6, d=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 1.5 * rng.normal(size=(m, d)) + 0.7


def test_against_a_double_loop():
    x, y = two_sets()
    np.testing.assert_allclose(mmd2(x, y), brute_force(x, y), rtol=1e-11)
    np.testing.assert_allclose(mmd2(y, x), mmd2(x, y), rtol=1e-12)


def test_blocks_do_not_show(monkeypatch):
    x, y = two_sets()
    whole = mmd2(x, y)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)
    np.testing.assert_allclose(mmd2(x, y), whole, rtol=1e-12)


def test_two_points_by_hand():
    # d = 1: k(0,2) = 1, k(1,3) = 64; between: k(0,1) = 1, k(0,3) = 1, k(2,1) = 27, k(2,3) = 343.
    np.testing.assert_allclose(mmd2([[0.0], [2.0]], [[1.0], [3.0]]), 1 + 64 - 2 * (1 + 1 + 27 + 343) / 4, rtol=1e-14)


def test_unbiased_negative_for_half_of_equal_distributions():
    rng = np.random.default_rng(0)
    values = np.array([mmd2(rng.normal(size=(20, 3)), rng.normal(size=(25, 3))) for _ in range(600)])
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean()) < 4 * error
    assert 0.3 < (values < 0).mean() < 0.8


def test_expectation_of_point_masses():
    # Far-apart constants: k(x,x) + k(y,y) - 2 k(x,y), exactly.
    x, y = np.full((5, 2), 2.0), np.full((7, 2), -1.0)
    np.testing.assert_allclose(mmd2(x, y), 5.0**3 + 2.0**3 - 2 * (-1.0) ** 3, rtol=1e-13)


def test_float32_features_are_summed_in_float64():
    x, y = two_sets(200, 150, 16)
    x, y = (10 * x).astype(np.float32), (10 * y).astype(np.float32)
    np.testing.assert_allclose(mmd2(x, y), mmd2(x.astype(np.float64), y.astype(np.float64)), rtol=1e-14)


def test_subsets_against_their_definition():
    x, y = two_sets(30, 20)
    rng = np.random.default_rng(5)
    values = []
    for _ in range(4):
        rows = rng.choice(30, 8, replace=False)
        values.append(brute_force(x[rows], y[rng.choice(20, 8, replace=False)]))
    mean, error = kernel_distance(x, y, seed=5, subset_size=8, num_subsets=4)
    np.testing.assert_allclose(mean, np.mean(values), rtol=1e-10)
    np.testing.assert_allclose(error, np.std(values, ddof=1) / 2, rtol=1e-10)


def test_subsets_agree_with_the_exact_value():
    x, y = two_sets(400, 300, 4)
    mean, error = kernel_distance(x, y, seed=0, subset_size=100, num_subsets=100)
    assert abs(mean - mmd2(x, y)) < 4 * error
    assert 0 < error < 0.2 * mean
    assert kernel_distance(x, y, seed=0, subset_size=100) == (mean, error)
    assert kernel_distance(x, y, seed=1, subset_size=100) != (mean, error)


def test_a_subset_that_is_everything():
    x, y = two_sets(12, 12)
    mean, error = kernel_distance(x, y, subset_size=12, num_subsets=3)
    np.testing.assert_allclose(mean, mmd2(x, y), rtol=1e-10)
    assert error < 1e-12


def test_impossible_subsets_are_refused():
    x, y = two_sets()
    with pytest.raises(ValueError, match=r"subset_size must be in \[2, 6\].*got 7"):
        kernel_distance(x, y, subset_size=7)
    with pytest.raises(ValueError, match="num_subsets"):
        kernel_distance(x, y, subset_size=5, num_subsets=1)
    with pytest.raises(ValueError, match="features must be"):
        mmd2(x, y[:, :3])
    with pytest.raises(ValueError, match="not finite"):
        mmd2(x, y * np.nan)
