import numpy as np
import pytest

from jaxgan.evaluation import neighbours
from jaxgan.evaluation.precision_recall import density_coverage, prdc, precision_recall


def two_sets(n=60, m=45, d=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 0.8 * rng.normal(size=(m, d)) + 0.5


def by_hand(real, fake, k, density_k):
    """All four from loops over points, as the papers state them."""

    def gap(a, b):
        return np.sqrt(((a - b) ** 2).sum())

    def radius(points, i, neighbour):
        return sorted(gap(points[i], points[j]) for j in range(len(points)) if j != i)[neighbour - 1]

    wide = [radius(real, i, density_k) for i in range(len(real))]
    inside = np.array([[gap(y, x) < r for x, r in zip(real, wide, strict=True)] for y in fake])
    closed_real, closed_fake = ([radius(p, i, k) for i in range(len(p))] for p in (real, fake))
    return {
        "precision": np.mean([any(gap(y, x) <= r for x, r in zip(real, closed_real, strict=True)) for y in fake]),
        "recall": np.mean([any(gap(x, y) <= r for y, r in zip(fake, closed_fake, strict=True)) for x in real]),
        "density": inside.sum() / (density_k * len(fake)),
        "coverage": inside.any(axis=0).mean(),
    }


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=0, err_msg=name)


@pytest.mark.parametrize(("k", "density_k"), [(3, 5), (4, 2), (1, 1)])
def test_against_loops_over_points(k, density_k):
    real, fake = two_sets()
    expected = by_hand(real, fake, k, density_k)
    assert len(set(expected.values())) == 4 and min(expected.values()) > 0
    assert_same(prdc(real, fake, k, density_k), expected)
    assert_same({**precision_recall(real, fake, k), **density_coverage(real, fake, density_k)}, expected)


def test_ties_on_a_lattice():
    # Whole numbers: every second distance ties with a radius, and only <= against < tells them apart.
    rng = np.random.default_rng(1)
    real, fake = rng.integers(0, 4, (40, 3)), rng.integers(1, 5, (30, 3))
    expected = by_hand(real, fake, 2, 3)
    assert_same(prdc(real, fake, 2, 3), expected)
    # Thirds are not exact in binary, so that here the block's rounding must not decide.
    assert_same(prdc(real / 3 + 100, fake / 3 + 100, 2, 3), by_hand(real / 3 + 100, fake / 3 + 100, 2, 3))


@pytest.mark.parametrize("k", [3, 5])
def test_against_the_authors_package(k, capsys):
    compute = pytest.importorskip("prdc").compute_prdc
    real, fake = two_sets(300, 220, 16)
    assert_same(prdc(real, fake, k, k), compute(real, fake, k))


def test_defaults_are_the_papers():
    real, fake = two_sets()
    assert precision_recall(real, fake) == precision_recall(real, fake, 3) != precision_recall(real, fake, 5)
    assert density_coverage(real, fake) == density_coverage(real, fake, 5) != density_coverage(real, fake, 3)
    assert prdc(real, fake) == {**precision_recall(real, fake), **density_coverage(real, fake)}


def test_swapping_the_sets_swaps_precision_and_recall():
    real, fake = two_sets()
    forward, backward = precision_recall(real, fake), precision_recall(fake, real)
    assert forward["precision"] == backward["recall"] != backward["precision"] == forward["recall"]


def test_a_copy_of_the_data():
    real, _ = two_sets(80, d=8)
    shuffled = np.random.default_rng(3).permutation(real) + 0.0
    assert prdc(real, shuffled) == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}
    assert prdc(real + 1e3, shuffled + 1e3)["density"] == 1.0


def test_far_and_collapsed_fakes():
    real, fake = two_sets(100, 50)
    assert prdc(real, fake + 100) == {"precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0}
    # One real point again and again: right, and nothing but that.
    collapsed = prdc(real, np.repeat(real[:1], 50, axis=0))
    assert collapsed["precision"] == 1.0 and collapsed["recall"] == 0.01 and collapsed["coverage"] < 0.15


def test_one_outlier_lifts_precision_but_not_density():
    # The failure that density was made for: fakes far from all reals but one.
    real, _ = two_sets(100, d=2)
    real[0] = 50.0
    fake = np.random.default_rng(2).normal(size=(100, 2)) + 30.0
    found = prdc(real, fake)
    assert found["precision"] == 1.0 and found["density"] == pytest.approx(1 / 5) and found["coverage"] == 0.01


def test_expectations_for_one_distribution():
    # Naeem et al., section 3: density 1 and coverage 1 - (n-1)...(n-k) / ((m+n-1)...(m+n-k)), in any dimension.
    rng = np.random.default_rng(0)
    n, m, k = 40, 60, 5
    draws = [density_coverage(rng.normal(size=(n, 3)), rng.normal(size=(m, 3)), k) for _ in range(300)]
    steps = np.arange(1, k + 1)
    expected = {"density": 1.0, "coverage": 1 - np.prod((n - steps) / (m + n - steps))}
    for name, value in expected.items():
        found = np.array([draw[name] for draw in draws])
        assert abs(found.mean() - value) < 4 * found.std(ddof=1) / np.sqrt(len(found)), name


def test_blocks_do_not_show(monkeypatch):
    real, fake = two_sets()
    whole = prdc(real, fake)
    monkeypatch.setattr(neighbours, "NUMBERS_AT_ONCE", 200)
    assert prdc(real, fake) == whole


def test_impossible_requests_are_refused():
    real, fake = two_sets(20, 10)
    with pytest.raises(ValueError, match=r"k must be in \[1, 9\].*got 10"):
        precision_recall(real, fake, 10)
    with pytest.raises(ValueError, match=r"k must be in \[1, 19\].*got 20"):
        density_coverage(real, fake, 20)
    assert density_coverage(real, fake[:1], 19)["coverage"] > 0
    with pytest.raises(ValueError, match=r"k must be in \[1, 19\].*got 0"):
        prdc(real, fake, 3, 0)
    with pytest.raises(ValueError, match="one d"):
        precision_recall(real, fake[:, :2])
    with pytest.raises(ValueError, match="1 of 10 feature vectors are not finite"):
        density_coverage(real, np.where(np.arange(10)[:, None] == 4, np.inf, fake))
