from itertools import permutations

import numpy as np
import pytest
import scipy.stats

from jaxgan.evaluation.modes import class_statistics, mode_statistics, stack_statistics, wasserstein

MEANS = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def test_hand_computed_modes():
    # Deviation 0.5, threshold 3: counted below distance 1.5. Mode 0 gets 3, mode 1 gets 1, mode 2 none, mode 3 none.
    samples = [[0.0, 0.0], [1.0, 1.0], [0.0, -1.49], [10.0, 1.0], [0.0, 8.0], [5.0, 5.0], [10.0, 11.6], [0.0, 1.51]]
    result = mode_statistics(samples, MEANS, 0.5)
    assert result["modes"] == 2
    assert result["high_quality"] == 4 / 8
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    np.testing.assert_allclose(result["reverse_kl"], np.log(4) - entropy, rtol=1e-13)


def test_the_threshold_itself_is_outside():
    assert mode_statistics([[1.5, 0.0]], MEANS, 0.5, threshold=3.0)["high_quality"] == 0.0
    assert mode_statistics([[1.4999, 0.0]], MEANS, 0.5, threshold=3.0)["high_quality"] == 1.0
    assert mode_statistics([[1.5, 0.0]], MEANS, 0.5, threshold=3.1)["high_quality"] == 1.0


def test_nearest_by_each_modes_own_deviation():
    # 4 from mode 0 and 6 from mode 1, but 4 and 2 deviations.
    result = mode_statistics([[4.0, 0.0]], MEANS[:2], [1.0, 3.0])
    assert result == {"modes": 1, "high_quality": 1.0, "reverse_kl": pytest.approx(np.log(2)), "per_mode": [0, 1]}
    assert mode_statistics([[4.0, 0.0]], MEANS[:2], 1.0)["high_quality"] == 0.0


def test_the_true_mixture():
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(8) / 8
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    result = mode_statistics(ring[rng.integers(0, 8, 50_000)] + 0.01 * rng.normal(size=(50_000, 2)), ring, 0.01)
    assert result["modes"] == 8
    np.testing.assert_allclose(result["high_quality"], 1 - np.exp(-4.5), atol=0.002)
    assert 0 <= result["reverse_kl"] < 0.001


def test_nothing_counted_is_infinitely_far_and_nan_is_no_sample_of_quality():
    assert mode_statistics([[5.0, 5.0]], MEANS, 0.5) == {
        "modes": 0,
        "high_quality": 0.0,
        "reverse_kl": np.inf,
        "per_mode": [0] * len(MEANS),
    }
    result = mode_statistics([[np.nan, 0.0], [np.inf, 0.0], [10.0, 10.0]], MEANS, 0.5)
    assert result == {
        "modes": 1,
        "high_quality": 1 / 3,
        "reverse_kl": pytest.approx(np.log(4)),
        "per_mode": [0, 0, 0, 1],
    }


def test_wrong_modes_are_refused():
    with pytest.raises(ValueError, match="samples must be"):
        mode_statistics(np.zeros((3, 3)), MEANS, 0.5)
    with pytest.raises(ValueError, match="deviation must be positive"):
        mode_statistics(np.zeros((3, 2)), MEANS, 0.0)
    with pytest.raises(ValueError, match="deviation"):
        mode_statistics(np.zeros((3, 2)), MEANS, [0.1, 0.2])


PROBABILITIES = np.array(
    [[0.95, 0.05, 0.0], [0.92, 0.0, 0.08], [0.04, 0.96, 0.0], [0.9, 0.1, 0.0], [0.3, 0.3, 0.4], [0.06, 0.91, 0.03]]
)


def test_hand_computed_classes():
    # 0.9 itself is not above 0.9: recognised are 0, 0, 1, 1.
    result = class_statistics(PROBABILITIES)
    assert result == {"recognised": 4 / 6, "classes": 2, "class_kl": pytest.approx(np.log(1.5)), "num_classes": 3}
    everything = class_statistics(PROBABILITIES, threshold=0.0)
    assert everything["recognised"] == 1.0 and everything["classes"] == 3
    share = np.array([3, 2, 1]) / 6
    np.testing.assert_allclose(everything["class_kl"], np.log(3) + (share * np.log(share)).sum(), rtol=1e-12)


def test_classes_against_a_prior():
    prior = np.array([0.2, 0.7, 0.1])
    expected = scipy.stats.entropy([0.5, 0.5, 0.0], prior)
    np.testing.assert_allclose(class_statistics(PROBABILITIES, prior=prior)["class_kl"], expected, rtol=1e-12)
    assert class_statistics(PROBABILITIES, prior=[0.5, 0.5, 0.0])["class_kl"] == 0.0
    assert class_statistics(PROBABILITIES, prior=[0.0, 0.5, 0.5])["class_kl"] == np.inf


def test_nothing_recognised():
    result = class_statistics(np.full((4, 5), 0.2))
    assert result == {"recognised": 0.0, "classes": 0, "class_kl": np.inf, "num_classes": 5}


@pytest.mark.parametrize("bad", [[[2.0, -1.0]], [[3.0, 1.0]], [[np.nan, 1.0]]])
def test_logits_are_refused(bad):
    with pytest.raises(ValueError, match="logits need a softmax"):
        class_statistics(bad)


def test_counts_are_no_prior():
    with pytest.raises(ValueError, match="prior must be"):
        class_statistics(PROBABILITIES, prior=[10, 20, 30])


def test_wasserstein_against_all_permutations():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), 2 * rng.normal(size=(6, 3)) + 1
    costs = np.sqrt(((x[:, None] - y[None]) ** 2).sum(axis=2))
    expected = min(np.mean([costs[i, j] for i, j in enumerate(order)]) for order in permutations(range(6)))
    np.testing.assert_allclose(wasserstein(x, y), expected, rtol=1e-13)
    np.testing.assert_allclose(wasserstein(y, x), expected, rtol=1e-13)
    assert wasserstein(x, rng.permutation(x)) == 0.0


def test_wasserstein_in_one_dimension():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 1)), rng.exponential(size=(50, 1))
    expected = scipy.stats.wasserstein_distance(x[:, 0], y[:, 0])
    np.testing.assert_allclose(wasserstein(x, y), expected, rtol=1e-12)
    # The same points on a line in the plane take the assignment route.
    line = np.array([[3.0, 4.0]]) / 5
    np.testing.assert_allclose(wasserstein(x * line, y * line), expected, rtol=1e-10)


def test_wasserstein_of_a_translation_and_of_gaussians():
    x = np.random.default_rng(2).normal(size=(40, 2))
    np.testing.assert_allclose(wasserstein(x, x + np.array([3.0, 4.0])), 5.0, rtol=1e-12)
    quantiles = scipy.stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    np.testing.assert_allclose(wasserstein(quantiles, 3 * quantiles), 2 * np.sqrt(2 / np.pi), rtol=1e-3)


def test_wasserstein_floor_of_a_finite_sample():
    rng = np.random.default_rng(3)
    floors = [wasserstein(rng.normal(size=(n, 2)), rng.normal(size=(n, 2))) for n in (50, 800)]
    assert floors[0] > 2 * floors[1] > 0.05


def test_wasserstein_refuses_other_problems():
    with pytest.raises(ValueError, match="equally many points on both sides, got 3 and 4"):
        wasserstein(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="same d"):
        wasserstein(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="not finite"):
        wasserstein(np.zeros((2, 2)), [[np.nan, 0.0], [0.0, 0.0]])


def test_stacks_counted_by_another_route():
    """Against a set of triples and scipy's divergence of their counts."""
    labels = np.random.default_rng(3).geometric(0.4, (3000, 3)).clip(max=10) - 1
    triples, counts = np.unique(labels, axis=0, return_counts=True)
    found = stack_statistics(labels, 10)
    assert (found["modes"], found["num_modes"]) == (len(triples), 1000) and 100 < len(triples) < 900
    divergence = scipy.stats.entropy(np.r_[counts, np.zeros(1000 - len(counts))], np.ones(1000))
    np.testing.assert_allclose(found["reverse_kl"], divergence, rtol=1e-12)


def test_stacks_at_both_ends():
    every = np.stack(np.meshgrid(*[np.arange(4)] * 2), -1).reshape(-1, 2)
    assert stack_statistics(every, 4) == {"modes": 16, "reverse_kl": 0.0, "num_modes": 16}
    one = stack_statistics([[2, 3]] * 5, 4)
    assert one["modes"] == 1
    np.testing.assert_allclose(one["reverse_kl"], np.log(16), rtol=1e-12)
    # the order of the channels counts
    assert stack_statistics([[0, 1], [1, 0]], 4)["modes"] == 2


def test_wrong_stacks_are_refused():
    for labels, message in (
        ([0, 1], "n, channels"),
        ([[0.5]], "integers"),
        ([[4, 0]], "0..3, got 0 to 4"),
        ([[-1, 0]], "got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            stack_statistics(labels, 4)
