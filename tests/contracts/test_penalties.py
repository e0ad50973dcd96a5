"""What every penalty keeps to. A new gradient penalty adds a row to `ROWS`, any other one to `EVERY`."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.losses import penalties
from jaxgan.losses.penalties import Penalty

from .programs import jit

KEY = jax.random.key(4)
BATCH, SHAPE = 6, (2, 2, 3)
REAL = jax.random.normal(jax.random.key(0), (BATCH, *SHAPE))
FAKE = jax.random.normal(jax.random.key(1), (BATCH, *SHAPE)) + 0.5
WEIGHT = jax.random.normal(jax.random.key(2), SHAPE)


@dataclass(frozen=True)
class Row:
    """A penalty; its value as a function of the gradient's norm; where it is taken.

    couples: the points of one example depend on the others.
    """

    penalty: Penalty
    of_norm: Callable[[np.ndarray], np.ndarray]
    points: Callable[[np.ndarray, np.ndarray], np.ndarray]
    couples: bool = False


def interpolates(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    weight = np.asarray(jax.random.uniform(KEY, (len(real), 1, 1, 1)))
    return weight * real + (1 - weight) * fake


def noisy(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """The authors' code: X_p = X + 0.5 * X.std() * random(X.shape); X + alpha * (X_p - X)."""
    weight_key, noise_key = jax.random.split(KEY)
    weight = np.asarray(jax.random.uniform(weight_key, (len(real), 1, 1, 1)))
    perturbed = real + 0.5 * real.std() * np.asarray(jax.random.uniform(noise_key, real.shape))
    return real + weight * (perturbed - real)


ROWS = (
    Row(penalties.r1, lambda norm: norm**2, lambda real, fake: real),
    Row(penalties.r2, lambda norm: norm**2, lambda real, fake: fake),
    Row(penalties.zero_centered_gp, lambda norm: norm**2, interpolates),
    Row(penalties.wgan_gp, lambda norm: (norm - 1) ** 2, interpolates),
    Row(penalties.lipschitz, lambda norm: np.where(norm > 1, norm - 1, 0.0) ** 2, interpolates),
    Row(penalties.dragan, lambda norm: (norm - 1) ** 2, noisy, couples=True),
)
every_gradient_penalty = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.penalty.__name__)


def jitter(images: jax.Array, key: jax.Array) -> jax.Array:
    """An augmentation: contrast and shifts of each example."""
    contrast_key, shift_key = jax.random.split(key)
    contrast = jax.random.uniform(contrast_key, (images.shape[0], 1, 1, 1), images.dtype, 0.5, 1.5)
    return contrast * images + 0.3 * jax.random.normal(shift_key, images.shape, images.dtype)


EVERY = {row.penalty.__name__: row.penalty for row in ROWS} | {"consistency": penalties.consistency(jitter)}
every_penalty = pytest.mark.parametrize(
    ("penalty", "couples"),
    [pytest.param(penalty, name == "dragan", id=name) for name, penalty in EVERY.items()],
)


def per_example(critic: Callable) -> Callable:
    return lambda images: jax.vmap(critic)(images)


linear = per_example(lambda x: jnp.sum(WEIGHT * x) + 3.0)
quadratic = per_example(lambda x: 0.7 * jnp.sum(x * x) - 1.3 * jnp.sum(WEIGHT * x))


@every_gradient_penalty
def test_on_a_linear_critic_the_norm_is_the_weights(row):
    norm = np.linalg.norm(np.asarray(WEIGHT, np.float64))
    for compute in (row.penalty, jit(row.penalty, static_argnums=0)):
        value = compute(linear, REAL, FAKE, KEY)
        assert value.shape == (BATCH,) and value.dtype == jnp.float32
        np.testing.assert_allclose(value, row.of_norm(norm), rtol=1e-5)


@every_gradient_penalty
def test_on_a_quadratic_critic_the_norm_is_that_of_the_point(row):
    points = row.points(np.asarray(REAL, np.float64), np.asarray(FAKE, np.float64))
    gradient = 2 * 0.7 * points - 1.3 * np.asarray(WEIGHT, np.float64)
    norm = np.sqrt((gradient.reshape(BATCH, -1) ** 2).sum(1))
    np.testing.assert_allclose(row.penalty(quadratic, REAL, FAKE, KEY), row.of_norm(norm), rtol=1e-4)
    assert not np.allclose(row.penalty(quadratic, FAKE, REAL, KEY), row.of_norm(norm), rtol=1e-2)


@every_gradient_penalty
@pytest.mark.parametrize("scale", [-2.0, 0.25])
def test_scaling_the_critic_scales_the_norm(row, scale):
    norm = abs(scale) * np.linalg.norm(np.asarray(WEIGHT, np.float64))
    value = row.penalty(lambda x: scale * linear(x), REAL, FAKE, KEY)
    np.testing.assert_allclose(value, row.of_norm(norm), rtol=1e-5)


@every_penalty
def test_examples_are_judged_one_by_one(penalty, couples):
    value = np.asarray(penalty(quadratic, REAL, FAKE, KEY))
    assert value.shape == (BATCH,) and np.all(value >= 0)
    other = np.asarray(penalty(quadratic, REAL.at[2].add(1.0), FAKE.at[2].add(-3.0), KEY))
    assert np.array_equal(np.delete(value, 2), np.delete(other, 2)) == (not couples)
    assert abs(value[2] - other[2]) > 1e-3


@every_penalty
def test_a_constant_on_all_logits_costs_nothing_and_the_sign_does_not_matter(penalty, couples):
    value = penalty(quadratic, REAL, FAKE, KEY)
    np.testing.assert_allclose(penalty(lambda x: 5.0 - quadratic(x), REAL, FAKE, KEY), value, rtol=1e-3)


def perceptron(params: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    """A critic of one hidden layer, curved everywhere: images [batch, ...] -> logits [batch, 1]."""
    hidden = jnp.tanh(images.reshape(images.shape[0], -1) @ params["inner"] + params["bias"][None])
    return hidden @ params["outer"]


@every_penalty
def test_the_gradient_for_a_curved_critics_weights_equals_finite_differences(penalty, couples):
    """A penalty on a gradient is differentiated twice; here in float64, every weight by itself."""
    rng = np.random.default_rng(5)
    with jax.enable_x64(True):
        shapes = {"inner": (12, 4), "bias": (4,), "outer": (4, 1)}
        flat, unravel = jax.flatten_util.ravel_pytree(
            {name: jnp.asarray(0.6 * rng.normal(size=shape)) for name, shape in shapes.items()}
        )
        real, fake = jnp.asarray(np.float64(REAL)), jnp.asarray(np.float64(FAKE))

        def values(flat: jax.Array) -> jax.Array:
            return penalty(lambda x: perceptron(unravel(flat), x), real, fake, KEY)

        # weighted, so that examples cannot stand in for each other
        weights = jnp.linspace(0.5, 2.0, BATCH)
        gradient = jit(jax.grad(lambda flat: weights @ values(flat)))(flat)
        step = 1e-5 * np.eye(flat.size)
        both = jit(jax.vmap(values))(np.concatenate([np.asarray(flat) + step, np.asarray(flat) - step]))
        expected = (both[: flat.size] - both[flat.size :]) @ weights / 2e-5
        assert np.abs(expected).min() < 0.1 < np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)
        if penalty is penalties.lipschitz:
            assert 0 < np.count_nonzero(values(flat)) < BATCH


@every_gradient_penalty
def test_logits_of_one_example_are_summed(row):
    patches = per_example(lambda x: WEIGHT[..., 0] * x[..., 0])
    norm = np.linalg.norm(np.asarray(WEIGHT[..., 0], np.float64))
    np.testing.assert_allclose(row.penalty(patches, REAL, FAKE, KEY), row.of_norm(norm), rtol=1e-5)


@every_gradient_penalty
def test_half_precision_in_float32_out(row):
    real, fake = REAL.astype(jnp.bfloat16), FAKE.astype(jnp.bfloat16)
    value = row.penalty(per_example(lambda x: jnp.sum(WEIGHT.astype(jnp.bfloat16) * x)), real, fake, KEY)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, row.of_norm(np.linalg.norm(np.asarray(WEIGHT, np.float64))), rtol=2e-2)


@every_gradient_penalty
def test_double_precision_is_kept(row):
    with jax.enable_x64(True):
        real, fake, weight = (jnp.asarray(np.asarray(x), jnp.float64) for x in (REAL, FAKE, WEIGHT))
        value = row.penalty(per_example(lambda x: jnp.sum(weight * x)), real, fake, KEY)
        assert value.dtype == jnp.float64
        np.testing.assert_allclose(value, row.of_norm(np.linalg.norm(np.asarray(weight))), rtol=1e-12)


@every_gradient_penalty
def test_the_gradient_for_the_critics_weights_is_the_closed_form(row):
    def mean(weight: jax.Array) -> jax.Array:
        return jnp.mean(row.penalty(per_example(lambda x: jnp.sum(weight * x)), REAL, FAKE, KEY))

    weight, step = np.asarray(WEIGHT, np.float64), 1e-6
    norm = np.linalg.norm(weight)
    slope = (row.of_norm(norm + step) - row.of_norm(norm - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(mean)(WEIGHT), slope * weight / norm, rtol=1e-4, atol=1e-5)


@every_gradient_penalty
def test_a_flat_critic_has_finite_gradients(row):
    def mean(weight: jax.Array) -> jax.Array:
        return jnp.mean(row.penalty(per_example(lambda x: jnp.sum(weight * x)), REAL, FAKE, KEY))

    value, gradient = jax.value_and_grad(mean)(jnp.zeros(SHAPE))
    np.testing.assert_allclose(value, row.of_norm(np.zeros(())))
    np.testing.assert_array_equal(gradient, np.zeros(SHAPE))
