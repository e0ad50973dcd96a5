"""The f-divergences: conjugates, bounds that hold and are reached, divergences of two Gaussians."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.special import wrightomega
from scipy.stats import norm

from jaxgan.losses import adversarial, divergence
from jaxgan.losses.divergence import Divergence, f_gan, log_wright_omega

# of different widths, so that no divergence equals its mirror image, and chi squared exists both ways round
P, Q = norm(0.3, 1.0), norm(-0.4, 1.2)
X = np.linspace(-14, 14, 8001)


def log_ratio(x: np.ndarray) -> np.ndarray:
    return P.logpdf(x) - Q.logpdf(x)


def gaussian_kl(a, b) -> float:
    """Of two scipy Gaussians, in closed form."""
    return np.log(b.std() / a.std()) + (a.var() + (a.mean() - b.mean()) ** 2) / (2 * b.var()) - 0.5


def gaussian_power(a, b, k: float) -> float:
    """``integral a^k b^(1-k)`` of two Gaussians, in closed form."""
    precision = k / a.var() + (1 - k) / b.var()
    center = (k * a.mean() / a.var() + (1 - k) * b.mean() / b.var()) / precision
    exponent = k * (a.mean() - center) ** 2 / a.var() + (1 - k) * (b.mean() - center) ** 2 / b.var()
    # at the mode: sum of k (mu - c)^2 / var; the cross terms vanish
    return a.std() ** -k * b.std() ** (k - 1) * precision**-0.5 * np.exp(-exponent / 2)


def gaussian_total_variation() -> float:
    """From the distribution functions between the two points where the densities cross."""
    a, b = 1 / Q.var() - 1 / P.var(), 2 * (P.mean() / P.var() - Q.mean() / Q.var())
    c = Q.mean() ** 2 / Q.var() - P.mean() ** 2 / P.var() + 2 * np.log(Q.std() / P.std())
    low, high = np.sort(np.roots([a, b, c]))
    return (P.cdf(high) - P.cdf(low)) - (Q.cdf(high) - Q.cdf(low))


def twice_jensen_shannon() -> float:
    mixture = lambda x: np.logaddexp(P.logpdf(x), Q.logpdf(x)) - np.log(2)  # noqa: E731
    return sum(quad(lambda x, d=d: d.pdf(x) * (d.logpdf(x) - mixture(x)), -14, 14, epsabs=1e-12)[0] for d in (P, Q))


@dataclass(frozen=True)
class Row:
    """truth: D_f(P || Q); best_logit: from log p/q, by the paper's activations; ts: points of the domain of f*."""

    name: str
    divergence: Divergence
    truth: float
    best_logit: Callable[[np.ndarray], np.ndarray]
    ts: tuple[float, ...]


ROWS = (
    Row("kl", divergence.kl, gaussian_kl(P, Q), lambda s: 1 + s, (-3.0, 0.2, 1.0, 2.5)),
    Row("reverse_kl", divergence.reverse_kl, gaussian_kl(Q, P), lambda s: s, (-4.0, -1.0, -0.3, -0.05)),
    Row("jensen_shannon", divergence.jensen_shannon, twice_jensen_shannon(), lambda s: s, (-5.0, -0.4, 0.0, 0.6)),
    Row(
        "jeffrey",
        divergence.jeffrey,
        gaussian_kl(P, Q) + gaussian_kl(Q, P),
        lambda s: 1 + s - np.exp(-s),
        (-6.0, -0.7, 0.0, 2.0),
    ),
    Row(
        "pearson",
        divergence.pearson,
        gaussian_power(P, Q, 2) - 1,
        lambda s: 2 * np.expm1(s),
        (-1.9, -0.3, 0.0, 4.0),
    ),
    Row("neyman", divergence.neyman, gaussian_power(P, Q, -1) - 1, lambda s: 2 * s, (-8.0, -0.5, 0.0, 0.9)),
    Row(
        "squared_hellinger",
        divergence.squared_hellinger,
        2 - 2 * gaussian_power(P, Q, 0.5),
        lambda s: s / 2,
        (-3.0, -0.2, 0.0, 0.8),
    ),
    Row(
        "total_variation",
        divergence.total_variation,
        gaussian_total_variation(),
        lambda s: 1e4 * np.sign(s),
        (-0.5, -0.1, 0.0, 0.45),
    ),
    Row("gan", divergence.gan, twice_jensen_shannon() - np.log(4), lambda s: s, (-3.0, -0.69, -0.2, -0.01)),
)
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def test_every_divergence_has_a_row():
    defined = {name for name, value in vars(divergence).items() if isinstance(value, Divergence)}
    assert defined == {row.name for row in ROWS}
    assert all(getattr(divergence, row.name) is row.divergence for row in ROWS)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def bound(row: Row, logits: np.ndarray, alternative: bool = False) -> float:
    """``E_P[T] - E_Q[f*(T)]`` by the trapezoidal rule, read off what the library's players pay."""
    loss = f_gan(row.divergence, alternative)
    logits, zero = jnp.asarray(logits), jnp.zeros_like(logits)
    on_real = loss.discriminator(logits, zero)
    on_fake = loss.discriminator(zero, logits)
    both = loss.discriminator(zero, zero)
    return -np.trapezoid(P.pdf(X) * on_real + Q.pdf(X) * (on_fake - both), X)


@every_row
def test_the_conjugate_is_the_supremum(row):
    f = lambda u: float(row.divergence.generator_function(jnp.float64(u)))  # noqa: E731
    for t in row.ts:
        # over log u, from far below to far above every maximum
        grid = np.linspace(-25, 12, 1500)
        values = np.exp(grid) * t - np.asarray(row.divergence.generator_function(jnp.exp(jnp.asarray(grid))))
        best = grid[np.argmax(values)]
        found = minimize_scalar(
            lambda s, t=t: f(np.exp(s)) - t * np.exp(s), bounds=(best - 0.05, best + 0.05), method="bounded"
        )
        np.testing.assert_allclose(row.divergence.conjugate(jnp.float64(t)), -found.fun, rtol=1e-6, atol=1e-6)


@every_row
def test_the_conjugate_inequality_holds_with_equality_at_the_derivative(row):
    d = row.divergence
    u = jnp.exp(jnp.linspace(-3, 3, 41))
    t = jnp.asarray(row.ts)
    gap = d.generator_function(u)[:, None] + d.conjugate(t)[None, :] - u[:, None] * t[None, :]
    assert gap.min() > -1e-12
    best = d.derivative(u)
    np.testing.assert_allclose(d.conjugate(best), u * best - d.generator_function(u), rtol=1e-9, atol=1e-9)


@every_row
def test_the_derivative_is_that_of_the_generator_function(row):
    for u in (0.2, 0.9, 1.3, 4.0):
        difference = row.divergence.generator_function(jnp.array([u - 1e-6, u + 1e-6]))
        expected = (difference[1] - difference[0]) / 2e-6
        np.testing.assert_allclose(row.divergence.derivative(jnp.float64(u)), expected, rtol=1e-7)


@every_row
def test_the_threshold_is_the_derivative_at_one(row):
    d = row.divergence
    np.testing.assert_allclose(d.derivative(jnp.float64(1.0)), d.threshold, atol=1e-12)
    np.testing.assert_allclose(d.activation(jnp.float64(d.threshold_logit)), d.threshold, atol=1e-12)
    assert f_gan(d).zero_separates == (row.name != "kl")
    expected = -np.log(4) if row.name == "gan" else 0.0
    np.testing.assert_allclose(d.generator_function(jnp.float64(1.0)), expected, atol=1e-12)


@every_row
def test_the_composition_is_the_conjugate_of_the_activation(row):
    """Also beyond the limit of exponents: T is then another point of the domain, its conjugate exact."""
    d = row.divergence
    v = jnp.concatenate([jnp.linspace(-34.0, -28.0, 7), jnp.linspace(-6.0, 6.0, 25), jnp.linspace(28.0, 34.0, 7)])
    # the conjugate itself, applied to t next to the border of its domain, is ill conditioned
    kept = {"jensen_shannon": v < 8, "gan": v < 8, "neyman": v < 8, "squared_hellinger": v < 8, "reverse_kl": v < 31}
    v = v[kept.get(row.name, v == v)]
    np.testing.assert_allclose(d.conjugate_of_activation(v), d.conjugate(d.activation(v)), rtol=1e-9, atol=1e-9)


@every_row
def test_activations_increase(row):
    assert np.all(np.diff(row.divergence.activation(jnp.linspace(-15.0, 15.0, 301))) > 0)
    assert np.all(np.diff(row.divergence.activation(jnp.linspace(-1e4, 1e4, 301))) >= 0)


@every_row
def test_the_bound_is_reached_at_the_optimal_function(row):
    # Neyman's lives far out, where q/p = e^15 and more: the limit of exponents costs it 3e-5
    rtol = 5e-5 if row.name == "neyman" else 1e-6
    np.testing.assert_allclose(bound(row, row.best_logit(log_ratio(X))), row.truth, rtol=rtol)
    np.testing.assert_allclose(
        np.trapezoid(Q.pdf(X) * row.divergence.generator_function(jnp.exp(log_ratio(X))), X), row.truth, rtol=1e-5
    )


@every_row
def test_the_best_logit_is_the_derivative_at_the_ratio(row):
    s = np.linspace(-2, 2, 8)
    reached = row.divergence.activation(jnp.asarray(row.best_logit(s)))
    np.testing.assert_allclose(reached, row.divergence.derivative(jnp.exp(jnp.asarray(s))), rtol=1e-9, atol=1e-12)


@every_row
def test_no_function_exceeds_the_divergence(row):
    rng = np.random.default_rng(0)
    best = np.clip(row.best_logit(log_ratio(X)), -50, 50)
    for scale in (0.03, 0.3, 3.0, 60.0):
        for a, b, c in rng.normal(size=(4, 3)):
            other = best + scale * (a + b * np.sin(X) + c * np.cos(2 * X))
            assert bound(row, other) < row.truth + 1e-9
            assert bound(row, scale * (a + b * np.tanh(X))) < row.truth - 1e-4


@every_row
def test_both_generators_push_logits_up_and_the_original_is_zero_sum(row):
    real, fake = jnp.array([0.3, -1.2, 2.5]), jnp.array([-0.7, 1.9, 0.1])
    original, alternative = f_gan(row.divergence), f_gan(row.divergence, alternative=True)
    zero_sum = original.discriminator(real, fake) + original.generator(real, fake)
    np.testing.assert_allclose(zero_sum, -row.divergence.activation(real), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(alternative.discriminator(real, fake), original.discriminator(real, fake))
    for loss in (original, alternative):
        assert np.all(jax.vmap(jax.grad(lambda f, loss=loss: loss.generator(jnp.zeros(()), f)))(fake) < 0)
        assert loss.labelled is None


def test_the_gan_row_is_the_original_game():
    real, fake = jnp.array([0.3, -1.2, 2.5]), jnp.array([-0.7, 1.9, 0.1])
    for loss, expected in (
        (f_gan(divergence.gan), adversarial.minimax),
        (f_gan(divergence.gan, alternative=True), adversarial.non_saturating),
    ):
        np.testing.assert_allclose(loss.discriminator(real, fake), expected.discriminator(real, fake), rtol=1e-12)
        np.testing.assert_allclose(loss.generator(real, fake), expected.generator(real, fake), rtol=1e-12)
    half = f_gan(divergence.jensen_shannon)
    np.testing.assert_allclose(
        half.discriminator(real, fake), adversarial.minimax.discriminator(real, fake) - np.log(4), rtol=1e-12
    )
    np.testing.assert_allclose(half.generator(real, fake), adversarial.minimax.generator(real, fake) + np.log(2))


def test_kl_and_maximum_likelihood_pay_the_same_generator_up_to_a_factor():
    fake = jnp.array([-0.7, 1.9, 0.1])
    np.testing.assert_allclose(
        np.e * f_gan(divergence.kl).generator(fake, fake), adversarial.maximum_likelihood.generator(fake, fake)
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.float64, 1e-14)])
def test_log_wright_omega(dtype, tolerance):
    z = np.concatenate([-np.geomspace(1e-3, 1e4, 30)[::-1], [0.0, 1.0, 0.999, 1.001], np.geomspace(1e-3, 1e4, 30)])
    z = np.asarray(jnp.asarray(z, dtype), np.float64)
    # below the range of scipy's own result, exp(x) is nothing beside x
    expected = np.where(z < -700, z, np.log(wrightomega(np.maximum(z, -700))))
    result = log_wright_omega(jnp.asarray(z, dtype))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


def test_log_wright_omega_has_derivatives_of_every_order():
    for z in (-3.0, 0.5, 1.0, 2.0, 40.0):
        w = float(wrightomega(z))
        np.testing.assert_allclose(jax.grad(log_wright_omega)(z), 1 / (1 + w), rtol=1e-12)
        np.testing.assert_allclose(jax.grad(jax.grad(log_wright_omega))(z), -w / (1 + w) ** 3, rtol=1e-12)
        np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(log_wright_omega)))(jnp.full(2, z)), 1 / (1 + w))
