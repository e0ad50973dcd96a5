import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from scipy.special import log_softmax

from jaxgan.losses.auxiliary import categorical_information, cross_entropy, real_logit, uniform_information


def test_cross_entropy_is_minus_the_log_probability_of_the_label():
    logits = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32) * 4
    labels = np.array([[0, 4, 2], [1, 1, 3]], np.int32)
    expected = -np.take_along_axis(log_softmax(logits.astype(np.float64), -1), labels[..., None], -1)[..., 0]
    result = cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    assert result.shape == (2, 3) and result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_half_precision_is_promoted_and_huge_logits_stay_finite():
    logits = jnp.array([[1e4, -1e4], [0.5, 0.25]], jnp.bfloat16)
    result = cross_entropy(logits, jnp.array([1, 0]))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, [2 * float(jnp.bfloat16(1e4)), np.log1p(np.exp(-0.25))], rtol=1e-6)


def test_labels_are_integers():
    with pytest.raises(TypeError, match="integers, got float32"):
        cross_entropy(jnp.zeros((2, 3)), jnp.zeros((2,)))


def test_the_logit_of_real_is_the_odds_of_all_classes_against_one_more_of_logit_zero():
    logits = np.random.default_rng(2).normal(size=(2, 4, 3)).astype(np.float32) * 3
    z = np.exp(logits.astype(np.float64)).sum(-1)
    result = real_logit(jnp.asarray(logits))
    assert result.shape == (2, 4)
    np.testing.assert_allclose(scipy.special.expit(np.asarray(result, np.float64)), z / (z + 1), rtol=1e-5)
    huge = real_logit(jnp.array([[1e4, -1e4, 9e3], [-1e4, -1e4, -1e4]], jnp.bfloat16))
    assert huge.dtype == jnp.float32
    np.testing.assert_allclose(huge, [float(jnp.bfloat16(1e4)), -float(jnp.bfloat16(1e4)) + np.log(3)], rtol=1e-6)


# -- information -----------------------------------------------------------------------------------

# what each of four symbols becomes: rows p(x | c), neither symmetric nor alike
CHANNEL = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9], [0.4, 0.4, 0.2]])


def mean_bound(logits):
    """The bound in expectation: over all pairs of code and symbol, each with its probability."""
    code, symbol = (axis.ravel() for axis in np.indices(CHANNEL.shape))
    values = categorical_information(jnp.asarray(logits, jnp.float32)[symbol], jnp.asarray(code))
    return float(np.sum(CHANNEL.ravel() / 4 * np.asarray(values, np.float64)))


def test_the_bound_of_a_category_is_the_mutual_information_where_q_is_the_posterior():
    joint = CHANNEL / 4
    marginal = joint.sum(0, keepdims=True)
    information = np.sum(joint * np.log(joint / (marginal / 4)))
    posterior = (joint / marginal).T
    assert 0.3 < information < np.log(4)
    np.testing.assert_allclose(mean_bound(np.log(posterior) + 5.0), information, rtol=1e-5)
    # any other q is short of it by the mean divergence from the posterior to it
    logits = np.random.default_rng(0).normal(size=(3, 4))
    divergence = np.sum(marginal.T * posterior * (np.log(posterior) - log_softmax(logits, -1)))
    assert divergence > 0.1
    np.testing.assert_allclose(mean_bound(logits), information - divergence, rtol=1e-4)
    np.testing.assert_allclose(mean_bound(np.zeros((3, 4))), 0.0, atol=1e-6)


def test_the_bound_of_uniform_codes_by_scipy():
    random = np.random.default_rng(1)
    mean, code = random.normal(size=(2, 5, 3)).astype(np.float32)
    for deviation in (1.0, 0.3):
        expected = np.sum(np.log(2) + scipy.stats.norm.logpdf(code.astype(np.float64), mean, deviation), axis=1)
        result = uniform_information(jnp.asarray(mean), jnp.asarray(code), deviation)
        assert result.shape == (5,) and result.dtype == jnp.float32
        np.testing.assert_allclose(result, expected, rtol=1e-5)
    half = uniform_information(jnp.asarray(mean, jnp.bfloat16), jnp.asarray(code))
    assert half.dtype == jnp.float32
    with pytest.raises(ValueError, match=r"differ in shape: \(5, 3\), \(5, 1\)"):
        uniform_information(jnp.asarray(mean), jnp.asarray(code[:, :1]))


def test_the_bound_of_a_noisy_uniform_code_is_below_its_information():
    """x = c + N(0, s^2) and q = N(x, s^2): log 2 - log(s sqrt(2 pi e)), against I = h(x) - h(noise) by quadrature."""
    s, n = 0.2, 200_000
    random = np.random.default_rng(2)
    code = random.uniform(-1, 1, (n, 1)).astype(np.float32)
    seen = code + s * random.normal(size=(n, 1)).astype(np.float32)
    bound = np.asarray(uniform_information(jnp.asarray(seen), jnp.asarray(code), s), np.float64).mean()
    np.testing.assert_allclose(bound, np.log(2) - np.log(s * np.sqrt(2 * np.pi * np.e)), atol=0.01)
    x = np.linspace(-3, 3, 20_001)
    density = 0.5 * (scipy.stats.norm.cdf((1 - x) / s) - scipy.stats.norm.cdf((-1 - x) / s))
    entropy = scipy.integrate.trapezoid(-scipy.special.xlogy(density, density), x)
    information = entropy - np.log(s * np.sqrt(2 * np.pi * np.e))
    assert bound < information < bound + 0.2
