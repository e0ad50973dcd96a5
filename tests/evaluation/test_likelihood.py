import numpy as np
import pytest
from scipy.stats import multivariate_normal

from jaxgan.evaluation import likelihood
from jaxgan.evaluation.likelihood import parzen_bandwidth, parzen_log_likelihood

DRAWS = np.random.default_rng(0)
POINTS, SAMPLES = DRAWS.normal(size=(7, 3)), DRAWS.normal(0.4, 1.3, size=(11, 3))


@pytest.mark.parametrize("bandwidth", [0.2, 1.5])
def test_equals_the_density_written_out(bandwidth, monkeypatch):
    monkeypatch.setattr(likelihood, "BLOCK", 3)
    kernels = [multivariate_normal(s, bandwidth**2 * np.eye(3)).pdf(POINTS) for s in SAMPLES]
    found = parzen_log_likelihood(POINTS, SAMPLES, bandwidth)
    np.testing.assert_allclose(found, np.log(np.mean(kernels, axis=0)), rtol=1e-10)
    images = parzen_log_likelihood(POINTS.reshape(7, 1, 3, 1), SAMPLES.reshape(11, 1, 3, 1), bandwidth)
    np.testing.assert_array_equal(images, found)


def test_far_points_stay_finite():
    far = parzen_log_likelihood([[1e3]], [[0.0]], 0.1)
    np.testing.assert_allclose(far, -(1e3**2) / 0.02 - 0.5 * np.log(2 * np.pi * 0.01), rtol=1e-12)


def test_the_bandwidth_is_the_best_on_validation():
    """For Gaussian data and many samples the best bandwidth shrinks with their number."""
    few, many = DRAWS.normal(size=(30, 2)), DRAWS.normal(size=(3000, 2))
    validation, candidates = DRAWS.normal(size=(500, 2)), np.logspace(-1, 0, 10)
    chosen = parzen_bandwidth(validation, few, candidates), parzen_bandwidth(validation, many, candidates)
    assert chosen[1] < chosen[0] < 1
    scores = [parzen_log_likelihood(validation, few, c).mean() for c in candidates]
    assert chosen[0] == candidates[int(np.argmax(scores))]


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="points have 3 numbers each, samples 2"):
        parzen_log_likelihood(POINTS, SAMPLES[:, :2], 1.0)
    with pytest.raises(ValueError, match="bandwidth is 0"):
        parzen_log_likelihood(POINTS, SAMPLES, 0)
