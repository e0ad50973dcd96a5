import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from jaxgan.losses.auxiliary import cross_entropy


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
