import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from scipy.special import log_softmax

from jaxgan.losses.auxiliary import (
    binary_cross_entropy,
    categorical_information,
    contrastive,
    cross_entropy,
    real_logit,
    uniform_information,
)


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


def test_binary_cross_entropy_is_minus_the_log_probability_of_each_attribute():
    logits = np.array([[0.3, -2.0, 1.5], [-0.7, 4.0, 0.0]], np.float32)
    attributes = np.array([[1, 1, 0], [0, 1, 0]], np.int32)
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -np.log(np.where(attributes == 1, probability, 1 - probability))
    for told in (attributes, attributes.astype(np.float32), attributes.astype(bool)):
        result = binary_cross_entropy(jnp.asarray(logits), jnp.asarray(told))
        assert result.shape == (2, 3) and result.dtype == jnp.float32
        np.testing.assert_allclose(result, expected, rtol=1e-5)
    gradient = jax.grad(lambda x: jnp.sum(binary_cross_entropy(x, jnp.asarray(attributes))))(jnp.asarray(logits))
    np.testing.assert_allclose(gradient, probability - attributes, rtol=1e-5, atol=1e-7)
    half = binary_cross_entropy(jnp.array([1e4, -1e4, 1e4], jnp.bfloat16), jnp.array([0, 1, 1]))
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, [float(jnp.bfloat16(1e4))] * 2 + [0.0], rtol=1e-6)


# -- contrast --------------------------------------------------------------------------------------


def units(*shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def test_contrast_is_the_surprise_at_ones_own_key_among_those_of_the_example():
    query, key = units(3, 5, 4), units(3, 5, 4, seed=1)
    result = contrastive(jnp.asarray(query), jnp.asarray(key), 0.3)
    assert result.shape == (3, 5) and result.dtype == jnp.float32
    expected = [
        [-log_softmax(k.astype(np.float64) @ one / 0.3)[i] for i, one in enumerate(q.astype(np.float64))]
        for q, k in zip(query, key, strict=True)
    ]
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    # not the other way round, and not over all examples
    assert np.abs(np.asarray(contrastive(jnp.asarray(key), jnp.asarray(query), 0.3)) - expected).max() > 0.1
    # the default is that of CUT
    np.testing.assert_array_equal(contrastive(query, key), contrastive(query, key, 0.07))


def test_contrast_is_log_n_where_nothing_is_told_apart_and_almost_nothing_where_all_is():
    same = np.broadcast_to(units(1, 1, 4), (2, 6, 4))
    np.testing.assert_allclose(contrastive(jnp.asarray(units(2, 6, 4)), jnp.asarray(same)), np.log(6), rtol=1e-5)
    axes = jnp.broadcast_to(jnp.eye(4), (2, 4, 4))
    np.testing.assert_allclose(contrastive(axes, axes, 0.2), np.log1p(3 * np.exp(-5)), rtol=1e-4)
    wrong = contrastive(jnp.roll(axes, 1, axis=1), axes, 0.2)
    np.testing.assert_allclose(wrong, 5 + np.log1p(3 * np.exp(-5)), rtol=1e-5)


def test_contrast_teaches_the_queries_and_not_the_keys():
    query, key = units(2, 4, 3), units(2, 4, 3, seed=1)
    for_query, for_key = jax.grad(lambda q, k: jnp.sum(contrastive(q, k, 0.5)), (0, 1))(
        jnp.asarray(query), jnp.asarray(key)
    )
    assert not np.any(for_key)
    probability = np.exp(log_softmax(np.einsum("bif,bjf->bij", query, key).astype(np.float64) / 0.5, axis=-1))
    expected = (np.einsum("bij,bjf->bif", probability, key) - key) / 0.5
    np.testing.assert_allclose(for_query, expected, rtol=1e-4, atol=1e-6)


def test_half_precision_contrast_is_promoted_and_stays_finite():
    query = jnp.asarray([[[100.0, 0.0], [0.0, 100.0]]], jnp.bfloat16)
    result = contrastive(query, -query, 0.01)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, [[1e6, 1e6]], rtol=0.01)


def test_queries_and_keys_are_as_many():
    with pytest.raises(ValueError, match=r"differ in shape: \(2, 4, 3\), \(2, 5, 3\)"):
        contrastive(jnp.zeros((2, 4, 3)), jnp.zeros((2, 5, 3)))


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
