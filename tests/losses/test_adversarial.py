"""What distinguishes the losses from each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from jaxgan.losses.adversarial import hinge, minimax, non_saturating, wasserstein

REAL, FAKE = jnp.array([0.3, -1.2, 2.5]), jnp.array([-0.7, 1.9, 0.1])


def test_minimax_is_zero_sum_in_the_fakes():
    total = minimax.discriminator(REAL, FAKE) + minimax.generator(REAL, FAKE)
    np.testing.assert_allclose(total, np.log1p(np.exp(-np.asarray(REAL))), rtol=1e-5)


def test_an_undecided_discriminator_pays_two_log_two():
    zero = jnp.zeros(3)
    for loss in (minimax, non_saturating):
        np.testing.assert_allclose(loss.discriminator(zero, zero), 2 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(minimax.generator(zero, zero), -np.log(2), rtol=1e-6)
    np.testing.assert_allclose(non_saturating.generator(zero, zero), np.log(2), rtol=1e-6)


@pytest.mark.parametrize("mean", [0.0, 0.5, 2.0])
def test_the_optimal_discriminator_pays_log_four_minus_twice_the_divergence(mean):
    """Goodfellow et al. 2014, theorem 1, for N(0, 1) against N(mean, 1): logit D* = mean^2/2 - mean x."""
    p, q = norm(0, 1).pdf, norm(mean, 1).pdf
    mixture = lambda x: (p(x) + q(x)) / 2  # noqa: E731
    divergence = quad(lambda x: p(x) * np.log(p(x) / mixture(x)) / 2 + q(x) * np.log(q(x) / mixture(x)) / 2, -12, 14)[0]
    x = np.linspace(-12, 14, 20001, dtype=np.float64)
    logit = (mean**2 / 2 - mean * x).astype(np.float32)
    zero = np.zeros_like(logit)
    on_real = np.asarray(minimax.discriminator(logit, zero), np.float64) - np.log(2)
    on_fake = np.asarray(minimax.discriminator(zero, logit), np.float64) - np.log(2)
    paid = np.trapezoid(p(x) * on_real + q(x) * on_fake, x)
    np.testing.assert_allclose(paid, np.log(4) - 2 * divergence, atol=1e-5)


def test_gradients_of_the_generator_where_every_fake_is_rejected():
    for loss, expected in ((minimax, 0.0), (non_saturating, -1.0), (hinge, -1.0), (wasserstein, -1.0)):
        gradient = jax.grad(lambda fake, loss=loss: loss.generator(jnp.zeros(()), fake))(-20.0)
        np.testing.assert_allclose(gradient, expected, atol=1e-6)
        # and it pushes logits up, towards "real"
        assert jax.grad(lambda fake, loss=loss: loss.generator(jnp.zeros(()), fake))(0.0) < 0


def test_hinge_asks_for_no_more_than_its_margin():
    np.testing.assert_array_equal(
        hinge.discriminator(jnp.array([1.5, 0.5, 1.5]), jnp.array([-1.5, -1.5, 2.0])), [0, 0.5, 3]
    )
    gradients = jax.grad(lambda r, f: jnp.sum(hinge.discriminator(r, f)), (0, 1))(
        jnp.array([1.5, 0.5]), jnp.array([-1.5, 0.5])
    )
    np.testing.assert_array_equal(gradients[0], [0, -1])
    np.testing.assert_array_equal(gradients[1], [0, 1])


def test_a_constant_on_all_logits_changes_only_what_has_an_origin():
    for loss, invariant in ((wasserstein, True), (hinge, False), (minimax, False)):
        shifted = loss.discriminator(REAL + 3.0, FAKE + 3.0)
        assert np.allclose(shifted, loss.discriminator(REAL, FAKE), atol=1e-5) == invariant
