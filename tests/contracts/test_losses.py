"""What every adversarial loss keeps to. A new loss adds a row to `ROWS`."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_expit

from jaxgan.losses import adversarial
from jaxgan.losses.adversarial import AdversarialLoss

Formula = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Row:
    """A loss beside its formulas in float64 NumPy, by another route than the library's."""

    name: str
    loss: AdversarialLoss
    discriminator: Formula
    generator: Formula


def log_d(logit: np.ndarray) -> np.ndarray:
    return log_expit(logit)


def log_not_d(logit: np.ndarray) -> np.ndarray:
    return log_expit(-logit)


ROWS = (
    Row("minimax", adversarial.minimax, lambda r, f: -log_d(r) - log_not_d(f), lambda r, f: log_not_d(f)),
    Row("non_saturating", adversarial.non_saturating, lambda r, f: -log_d(r) - log_not_d(f), lambda r, f: -log_d(f)),
    Row(
        "hinge",
        adversarial.hinge,
        lambda r, f: np.where(r < 1, 1 - r, 0) + np.where(f > -1, 1 + f, 0),
        lambda r, f: -f,
    ),
    Row("wasserstein", adversarial.wasserstein, lambda r, f: -(r - f), lambda r, f: -f),
)

# no pair symmetric, no value at a hinge's corner
REAL = np.array([-3.1, 0.4, 2.7, 0.9, 7.5, -0.2])
FAKE = np.array([1.3, -2.2, 0.6, 4.1, -5.5, -0.7])

every_player = pytest.mark.parametrize(
    ("loss", "formula"),
    [
        pytest.param(getattr(row.loss, player), getattr(row, player), id=f"{row.name}-{player}")
        for row in ROWS
        for player in ("discriminator", "generator")
    ],
)


@every_player
def test_equals_the_closed_form(loss, formula):
    real, fake = REAL.astype(np.float32), FAKE.astype(np.float32)
    expected = formula(real.astype(np.float64), fake.astype(np.float64))
    for compute in (loss, jax.jit(loss), jax.vmap(loss)):
        result = compute(real, fake)
        assert result.dtype == jnp.float32 and result.shape == (6,)
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


@every_player
def test_gradient_equals_finite_differences(loss, formula):
    step = 1e-6
    for argument in (0, 1):
        shift = [(step, 0.0), (0.0, step)][argument]
        expected = formula(REAL + shift[0], FAKE + shift[1]) - formula(REAL - shift[0], FAKE - shift[1])
        gradient = jax.grad(lambda *logits: jnp.sum(loss(*logits)), argument)(jnp.float32(REAL), jnp.float32(FAKE))
        np.testing.assert_allclose(gradient, expected / (2 * step), rtol=1e-4, atol=1e-6)


@every_player
def test_swapped_arguments_show(loss, formula):
    difference = np.asarray(loss(jnp.float32(REAL), jnp.float32(FAKE)) - loss(jnp.float32(FAKE), jnp.float32(REAL)))
    assert np.abs(difference).min() > 1e-2


@every_player
@pytest.mark.parametrize("shape", [(5,), (2, 3, 3), (4, 1), ()])
def test_is_elementwise(loss, formula, shape):
    draws = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    result = loss(jnp.asarray(draws[0]), jnp.asarray(draws[1]))
    assert result.shape == shape
    np.testing.assert_allclose(result, formula(*draws.astype(np.float64)), rtol=1e-5, atol=1e-6)


@every_player
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_promoted_before_anything_is_computed(loss, formula, dtype):
    real, fake = jnp.asarray(REAL, dtype), jnp.asarray(FAKE, dtype)
    expected = formula(np.asarray(real, np.float64), np.asarray(fake, np.float64))
    result = loss(real, fake)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)
    assert loss(real, jnp.asarray(FAKE, jnp.float32)).dtype == jnp.float32


@every_player
def test_double_precision_is_kept(loss, formula):
    with jax.enable_x64(True):
        result = loss(jnp.asarray(REAL), jnp.asarray(FAKE))
        assert result.dtype == jnp.float64
        np.testing.assert_allclose(result, formula(REAL, FAKE), rtol=1e-14, atol=1e-14)


@every_player
def test_huge_logits_stay_finite_and_exact(loss, formula):
    real = np.array([1e4, 1e4, -1e4, -1e4], np.float32)
    fake = np.array([1e4, -1e4, 1e4, -1e4], np.float32)
    np.testing.assert_allclose(loss(real, fake), formula(np.float64(real), np.float64(fake)), rtol=1e-6, atol=1e-6)
    for argument in (0, 1):
        assert np.all(np.isfinite(jax.grad(lambda *logits: jnp.sum(loss(*logits)), argument)(real, fake)))


@every_player
def test_mistakes_are_refused(loss, formula):
    with pytest.raises(ValueError, match=r"differ in shape: \(3,\), \(3, 1\)"):
        loss(jnp.zeros((3,)), jnp.zeros((3, 1)))
    for real, fake in ((jnp.int32, jnp.int32), (jnp.int32, jnp.float32), (jnp.float32, jnp.bool_)):
        with pytest.raises(TypeError, match="floating"):
            loss(jnp.zeros((3,), real), jnp.zeros((3,), fake))
