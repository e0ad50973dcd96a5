"""What distinguishes the losses from each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from jaxgan.losses import divergence
from jaxgan.losses.adversarial import (
    flip_labels,
    hinge,
    label_smoothing,
    least_squares,
    limit_exponent,
    maximum_likelihood,
    minimax,
    non_saturating,
    relativistic,
    relativistic_average,
    relativistic_average_hinge,
    relativistic_average_least_squares,
    wasserstein,
)
from jaxgan.losses.divergence import f_gan

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


def test_maximum_likelihood_follows_the_gradient_of_kl():
    """With D optimal between N(0, 1) and N(mean, 1), G's shift feels the gradient of mean^2/2."""
    x = np.linspace(-14, 14, 4001)
    for mean in (0.4, -1.1):

        def paid(shift, mean=mean):
            # G's samples at x move by `shift`, under a D that stays
            logit = mean**2 / 2 - mean * (jnp.asarray(x, jnp.float32) + shift)
            weight = jnp.asarray(norm(mean, 1).pdf(x) * (x[1] - x[0]), jnp.float32)
            return jnp.sum(weight * maximum_likelihood.generator(logit, logit))

        np.testing.assert_allclose(jax.grad(paid)(0.0), mean, rtol=1e-4)


def test_an_exponent_continues_as_its_tangent():
    x = jnp.array([-5.0, 0.0, 29.9, 30.0, 31.0, 50.0, 1e4])
    expected = np.where(x < 30, np.exp(np.minimum(x, 30.0)), np.exp(30.0) * (1 + np.asarray(x) - 30))
    np.testing.assert_allclose(jnp.exp(limit_exponent(x)), expected, rtol=1e-5)
    slope = jax.vmap(jax.grad(lambda x: jnp.exp(limit_exponent(x))))(x)
    np.testing.assert_allclose(slope, np.exp(np.minimum(np.asarray(x, np.float64), 30)), rtol=1e-5)


def test_least_squares_has_one_half_between_real_and_fake():
    np.testing.assert_allclose(least_squares.discriminator(jnp.array(0.5), jnp.array(0.5)), 0.5)
    np.testing.assert_allclose(least_squares.discriminator(jnp.array(1.0), jnp.array(0.0)), 0.0)
    np.testing.assert_allclose(least_squares.generator(jnp.array(9.0), jnp.array(1.0)), 0.0)
    np.testing.assert_allclose(least_squares.generator(jnp.array(9.0), jnp.array(0.0)), 1.0)


def test_relativistic_losses_ignore_a_constant_on_all_logits():
    for loss in (
        relativistic,
        relativistic_average,
        relativistic_average_least_squares,
        relativistic_average_hinge,
    ):
        for player in (loss.discriminator, loss.generator):
            np.testing.assert_allclose(player(REAL + 3.0, FAKE + 3.0), player(REAL, FAKE), atol=1e-5)
            assert not np.allclose(player(REAL + 3.0, FAKE), player(REAL, FAKE), atol=1e-1)
        assert not loss.zero_separates


def test_relativistic_players_are_each_others_mirror_image_and_both_feel_both_logits():
    for loss in (relativistic, relativistic_average, relativistic_average_hinge):
        np.testing.assert_allclose(loss.generator(REAL, FAKE), loss.discriminator(FAKE, REAL))
        for argument, sign in ((0, 1), (1, -1)):  # G pushes reals down and fakes up
            gradient = jax.grad(lambda r, f, loss=loss: jnp.sum(loss.generator(r, f)), argument)(REAL, FAKE)
            assert np.all(sign * np.asarray(gradient) >= 0) and np.any(gradient)


def test_relativistic_means_are_of_the_other_side_position_by_position():
    real, fake = np.random.default_rng(0).normal(size=(2, 4, 3)) + np.array([0.5, 0.0])[:, None, None]
    value = relativistic_average_least_squares.discriminator(jnp.float32(real), jnp.float32(fake))
    for i in range(4):
        for j in range(3):
            expected = (real[i, j] - fake[:, j].mean() - 1) ** 2 + (fake[i, j] - real[:, j].mean() + 1) ** 2
            np.testing.assert_allclose(value[i, j], expected, rtol=1e-4)


def test_which_losses_have_a_meaningful_zero():
    for loss in (minimax, non_saturating, maximum_likelihood, hinge):
        assert loss.zero_separates
    for loss in (wasserstein, least_squares, relativistic):
        assert not loss.zero_separates


@pytest.mark.parametrize("real_label", [0.9, 0.6])
def test_smoothing_moves_the_optimum_to_the_papers(real_label):
    """Salimans et al. 2016, section 3.4: D* = a p / (p + q), where p and q are densities at one point."""
    p, q = 0.3, 0.5
    best = real_label * p / (p + q)
    for loss, logit in ((non_saturating, np.log(best / (1 - best))), (least_squares, best)):
        smoothed = label_smoothing(loss, real_label)
        paid = lambda v, loss=smoothed: p * loss.discriminator(v, 0.0) + q * loss.discriminator(0.0, v)  # noqa: E731
        np.testing.assert_allclose(jax.grad(paid)(jnp.float32(logit)), 0, atol=1e-6)
        hard = lambda v, loss=loss: p * loss.discriminator(v, 0.0) + q * loss.discriminator(0.0, v)  # noqa: E731
        assert abs(jax.grad(hard)(jnp.float32(logit))) > 0.02


def test_smoothing_touches_reals_only_and_not_the_generator():
    smoothed = label_smoothing(non_saturating, 0.9)
    # minus log D of a real, plus a tenth of its logit
    expected = non_saturating.discriminator(REAL, FAKE) + 0.1 * REAL
    np.testing.assert_allclose(smoothed.discriminator(REAL, FAKE), expected, rtol=1e-5)
    assert smoothed.generator is non_saturating.generator
    np.testing.assert_allclose(
        label_smoothing(smoothed, 0.5).discriminator(REAL, FAKE),
        label_smoothing(non_saturating, 0.45).discriminator(REAL, FAKE),
        rtol=1e-5,
    )
    unchanged = label_smoothing(least_squares, 1.0).discriminator(REAL, FAKE)
    np.testing.assert_allclose(unchanged, least_squares.discriminator(REAL, FAKE))


def test_smoothing_takes_a_traced_label():
    paid = jax.jit(lambda label: label_smoothing(least_squares, label).discriminator(REAL, FAKE))
    for label in (0.9, 0.7):
        expected = (np.asarray(REAL) - label) ** 2 + np.asarray(FAKE) ** 2
        np.testing.assert_allclose(paid(label), expected, rtol=1e-5)


def test_smoothing_refuses_what_has_no_labels():
    for loss in (hinge, wasserstein, relativistic, relativistic_average, f_gan(divergence.kl)):
        with pytest.raises(ValueError, match=r"needs a loss with labels .*this one has none"):
            label_smoothing(loss, 0.9)
    with pytest.raises(ValueError, match=r"real_label is in \[0, 1\], got 1.1"):
        label_smoothing(minimax, 1.1)


def test_flips_are_a_share_of_examples_and_swap_both_labels():
    real, fake = jnp.tile(jnp.array([[0.3, -1.2]]), (4000, 1)), jnp.tile(jnp.array([[-0.7, 1.9]]), (4000, 1))
    for loss in (hinge, non_saturating, wasserstein):
        flipped = flip_labels(loss, jax.random.key(3), 0.2)
        value = np.asarray(flipped.discriminator(real, fake))
        swapped = np.isclose(value, loss.discriminator(fake, real))
        kept = np.isclose(value, loss.discriminator(real, fake))
        assert np.all(swapped != kept) and np.all(swapped[:, 0] == swapped[:, 1])
        assert abs(swapped[:, 0].mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 4000)
        assert flipped.generator is loss.generator and flipped.labelled is None
        assert flipped.zero_separates == loss.zero_separates


def test_flips_follow_the_key_and_the_probability():
    def paid(key, probability):
        return flip_labels(wasserstein, key, probability).discriminator(jnp.zeros(64) + 2.0, jnp.zeros(64) - 1.0)

    value = jax.jit(paid)(jax.random.key(0), 0.5)
    np.testing.assert_array_equal(value, paid(jax.random.key(0), 0.5))
    assert set(np.asarray(value)) == {-3.0, 3.0}
    assert np.any(value != paid(jax.random.key(1), 0.5))
    np.testing.assert_array_equal(paid(jax.random.key(0), 0.0), -3)
    np.testing.assert_array_equal(paid(jax.random.key(0), 1.0), 3)
    smoothed = flip_labels(label_smoothing(non_saturating, 0.9), jax.random.key(0), 1.0)
    expected = label_smoothing(non_saturating, 0.9).discriminator(FAKE, REAL)
    np.testing.assert_allclose(smoothed.discriminator(REAL, FAKE), expected)
    with pytest.raises(ValueError, match=r"probability is in \[0, 1\], got -0.1"):
        flip_labels(hinge, jax.random.key(0), -0.1)
