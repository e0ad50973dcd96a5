import importlib.util
import itertools
import sys
import types

import numpy as np
import pytest

from jaxgan.evaluation import kernel as module
from jaxgan.evaluation.kernel import (
    cubic,
    gaussian,
    kernel_distance,
    median_bandwidth,
    mmd2,
    mmd2_variance,
    subset_mmd2,
)


def kernel(a, b):
    return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1.0) ** 3


def bell(bandwidth):
    return lambda a, b: np.exp(-sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / (2 * bandwidth**2))


def brute_force(x, y, kernel=kernel):
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


@pytest.mark.parametrize("bandwidth", [0.4, 3.0])
def test_gaussian_against_a_double_loop(bandwidth):
    x, y = two_sets()
    np.testing.assert_allclose(mmd2(x, y, gaussian(bandwidth)), brute_force(x, y, bell(bandwidth)), rtol=1e-11)


def test_gaussian_of_gaussians_in_closed_form():
    # In d = 1, E k of a difference N(g, v) is s / sqrt(s^2 + v) exp(-g^2 / (2 (s^2 + v))), at bandwidth s.
    bandwidth, deviation, gap = 1.3, 2.0, 0.9

    def expected(variance, mean):
        width = bandwidth**2 + variance
        return bandwidth / np.sqrt(width) * np.exp(-(mean**2) / (2 * width))

    truth = expected(2.0, 0.0) + expected(2 * deviation**2, 0.0) - 2 * expected(1 + deviation**2, gap)
    rng = np.random.default_rng(0)
    values, variances = [], []
    for _ in range(300):
        x, y = rng.normal(size=(40, 1)), deviation * rng.normal(size=(60, 1)) + gap
        values.append(mmd2(x, y, gaussian(bandwidth)))
        variances.append(mmd2_variance(x, y, gaussian(bandwidth)))
    assert abs(np.mean(values) - truth) < 4 * np.std(values, ddof=1) / np.sqrt(300)
    assert abs(np.mean(values) - truth) < 4 * np.sqrt(np.mean(variances) / 300)


def test_gaussian_of_near_copies_stays_below_one():
    x = np.full((3, 4), 1e4) + np.arange(12).reshape(3, 4) * 1e-9
    assert (gaussian(1.0)(x, x) <= 1.0).all()


def test_median_bandwidth_against_all_pairs():
    x, y = two_sets()
    pooled = np.concatenate([x, y])
    pairs = [np.linalg.norm(a - b) for a, b in itertools.combinations(pooled, 2)]
    np.testing.assert_allclose(median_bandwidth(x, y), np.median(pairs), rtol=1e-13)
    np.testing.assert_allclose(median_bandwidth(3 * x, 3 * y), 3 * np.median(pairs), rtol=1e-13)
    assert median_bandwidth(x, y, max_rows=3) == median_bandwidth(x[[0, 4, 8]], y[[0, 2, 5]])


@pytest.mark.parametrize(("kernel", "n", "m"), [(cubic, 4, 5), (gaussian(0.8), 5, 4), (gaussian(0.8), 4, 4)])
def test_variance_against_every_possible_sample(kernel, n, m):
    """Of distributions on 2 and 3 points: all 2^n 3^m samples by their probability, and nothing left to chance."""
    points_x, points_y = np.array([[0.3, -1.0], [1.5, 0.2]]), np.array([[0.0, 0.9], [-0.7, 0.4], [2.0, 1.0]])
    shares_x, shares_y = np.array([0.3, 0.7]), np.array([0.2, 0.5, 0.3])
    chances, values, variances = [], [], []
    # A statistic of the sets: the order within them is no matter, so that each multiset is computed once.
    for rows in itertools.combinations_with_replacement(range(2), n):
        for columns in itertools.combinations_with_replacement(range(3), m):
            chance = _orders(rows) * shares_x[list(rows)].prod() * _orders(columns) * shares_y[list(columns)].prod()
            chances.append(chance)
            values.append(mmd2(points_x[list(rows)], points_y[list(columns)], kernel))
            variances.append(mmd2_variance(points_x[list(rows)], points_y[list(columns)], kernel))
    chances, values = np.array(chances), np.array(values)
    np.testing.assert_allclose(chances.sum(), 1.0, rtol=1e-12)
    mean = chances @ values
    np.testing.assert_allclose(chances @ variances, chances @ (values - mean) ** 2, rtol=1e-10)
    assert min(variances) < 0


def _orders(items):
    return len(set(itertools.permutations(items)))


@pytest.mark.parametrize("gap", [0.0, 0.8])
def test_variance_against_simulation(gap):
    rng = np.random.default_rng(1)
    values, variances = np.array(
        [
            (mmd2(x, y), mmd2_variance(x, y))
            for x, y in ((rng.normal(size=(15, 3)), 1.2 * rng.normal(size=(25, 3)) + gap) for _ in range(3000))
        ]
    ).T
    centred = (values - values.mean()) ** 2
    error = np.hypot(centred.std(), variances.std()) / np.sqrt(len(values))
    assert abs(variances.mean() - values.var(ddof=1)) < 4 * error
    assert error < 0.15 * values.var()


def test_variance_by_blocks_and_by_a_jackknife(monkeypatch):
    x, y = two_sets(300, 200)
    kernel = gaussian(2.0)
    whole = mmd2_variance(x, y, kernel)
    np.testing.assert_allclose(mmd2_variance(y, x, kernel), whole, rtol=1e-10)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 70)
    np.testing.assert_allclose(mmd2_variance(x, y, kernel), whole, rtol=1e-10)
    without_x = np.array([mmd2(np.delete(x, i, 0), y, kernel) for i in range(300)])
    without_y = np.array([mmd2(x, np.delete(y, j, 0), kernel) for j in range(200)])
    np.testing.assert_allclose(299 * without_x.var() + 199 * without_y.var(), whole, rtol=0.03)


def test_given_subsets_against_their_definition():
    x, y = two_sets(30, 20)
    subsets = [([3, 1, 7], [0, 5]), ([2, 9, 11, 4], [19, 6, 8])]
    expected = [brute_force(x[rows], y[columns]) for rows, columns in subsets]
    np.testing.assert_allclose(subset_mmd2(x, y, subsets), expected, rtol=1e-11)
    bells = [brute_force(x[rows], y[columns], bell(1.5)) for rows, columns in subsets]
    np.testing.assert_allclose(subset_mmd2(x, y, iter(subsets), gaussian(1.5)), bells, rtol=1e-11)
    mean, _ = kernel_distance(x, y, 5, 8, 4, gaussian(1.5))
    assert mean != kernel_distance(x, y, 5, 8, 4)[0]


@pytest.fixture
def torch_fidelity_kid(monkeypatch):
    """The module alone: the package imports torchvision for networks that are not used here."""
    pytest.importorskip("torch")
    found = importlib.util.find_spec("torch_fidelity")
    if found is None:
        pytest.skip("torch-fidelity is not installed")

    def loaded():
        return [name for name in sys.modules if name.split(".")[0] == "torch_fidelity"]

    for name in loaded():
        monkeypatch.delitem(sys.modules, name)
    package = types.ModuleType("torch_fidelity")
    package.__path__ = list(found.submodule_search_locations)
    networks = types.ModuleType("torch_fidelity.utils")
    networks.create_feature_extractor = networks.extract_featuresdict_from_input_id_cached = None
    networks.resolve_feature_extractor = networks.resolve_feature_layer_for_metric = None
    sys.modules |= {"torch_fidelity": package, "torch_fidelity.utils": networks}
    yield importlib.import_module("torch_fidelity.metric_kid")
    for name in loaded():
        del sys.modules[name]


def test_against_torch_fidelity(torch_fidelity_kid):
    kid = torch_fidelity_kid
    torch = importlib.import_module("torch")
    rng = np.random.default_rng(0)
    x, y = np.abs(rng.normal(size=(500, 64))), np.abs(1.1 * rng.normal(size=(400, 64)))
    draw = np.random.RandomState(2020)
    subsets = [(draw.choice(500, 100, replace=False), draw.choice(400, 100, replace=False)) for _ in range(20)]
    settings = {"kid_subsets": 20, "kid_subset_size": 100, "rng_seed": 2020, "verbose": False}
    for kernel, more in ((cubic, {}), (gaussian(7.0), {"kid_kernel": "rbf", "kid_kernel_rbf_sigma": 7.0})):
        expected = kid.kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), **settings, **more)
        values = subset_mmd2(x, y, subsets, kernel)
        np.testing.assert_allclose(values.mean(), expected[kid.KEY_METRIC_KID_MEAN], rtol=0, atol=1e-12)
        np.testing.assert_allclose(values.std(), expected[kid.KEY_METRIC_KID_STD], rtol=0, atol=1e-12)


def test_impossible_kernels_and_sizes_are_refused():
    x, y = two_sets()
    with pytest.raises(ValueError, match=r"bandwidth must be positive and finite, got 0"):
        gaussian(0.0)
    with pytest.raises(ValueError, match="got nan"):
        gaussian(float("nan"))
    with pytest.raises(ValueError, match=r"one number a pair, \[9, 9\], got shape \(9,\)"):
        mmd2(x, y, lambda a, b: a.sum(axis=1))
    with pytest.raises(ValueError, match="at least 4 rows a side, got 9 and 3"):
        mmd2_variance(x, y[:3])
    with pytest.raises(ValueError, match="the median distance is 0"):
        median_bandwidth(np.ones((8, 2)), np.ones((8, 2)))
    with pytest.raises(ValueError, match="n, m >= 2"):
        subset_mmd2(x, y, [([1], [2, 3])])
