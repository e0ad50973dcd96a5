"""What every gradient penalty keeps to. A new penalty adds a row to `ROWS`."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.losses import penalties
from jaxgan.losses.penalties import Penalty

KEY = jax.random.key(4)
BATCH, SHAPE = 6, (2, 2, 3)
REAL = jax.random.normal(jax.random.key(0), (BATCH, *SHAPE))
FAKE = jax.random.normal(jax.random.key(1), (BATCH, *SHAPE)) + 0.5
WEIGHT = jax.random.normal(jax.random.key(2), SHAPE)


@dataclass(frozen=True)
class Row:
    """A penalty; its value as a function of the gradient's norm; where it is taken."""

    penalty: Penalty
    of_norm: Callable[[np.ndarray], np.ndarray]
    points: Callable[[np.ndarray, np.ndarray], np.ndarray]


def interpolates(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    weight = np.asarray(jax.random.uniform(KEY, (len(real), 1, 1, 1)))
    return weight * real + (1 - weight) * fake


ROWS = (
    Row(penalties.r1, lambda norm: norm**2, lambda real, fake: real),
    Row(penalties.wgan_gp, lambda norm: (norm - 1) ** 2, interpolates),
)
every_penalty = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.penalty.__name__)


def per_example(critic: Callable) -> Callable:
    return lambda images: jax.vmap(critic)(images)


linear = per_example(lambda x: jnp.sum(WEIGHT * x) + 3.0)
quadratic = per_example(lambda x: 0.7 * jnp.sum(x * x) - 1.3 * jnp.sum(WEIGHT * x))


@every_penalty
def test_on_a_linear_critic_the_norm_is_the_weights(row):
    norm = np.linalg.norm(np.asarray(WEIGHT, np.float64))
    for compute in (row.penalty, jax.jit(row.penalty, static_argnums=0)):
        value = compute(linear, REAL, FAKE, KEY)
        assert value.shape == (BATCH,) and value.dtype == jnp.float32
        np.testing.assert_allclose(value, row.of_norm(norm), rtol=1e-5)


@every_penalty
def test_on_a_quadratic_critic_the_norm_is_that_of_the_point(row):
    points = row.points(np.asarray(REAL, np.float64), np.asarray(FAKE, np.float64))
    gradient = 2 * 0.7 * points - 1.3 * np.asarray(WEIGHT, np.float64)
    norm = np.sqrt((gradient.reshape(BATCH, -1) ** 2).sum(1))
    np.testing.assert_allclose(row.penalty(quadratic, REAL, FAKE, KEY), row.of_norm(norm), rtol=1e-4)
    assert not np.allclose(row.penalty(quadratic, FAKE, REAL, KEY), row.of_norm(norm), rtol=1e-2)


@every_penalty
@pytest.mark.parametrize("scale", [-2.0, 0.25])
def test_scaling_the_critic_scales_the_norm(row, scale):
    norm = abs(scale) * np.linalg.norm(np.asarray(WEIGHT, np.float64))
    value = row.penalty(lambda x: scale * linear(x), REAL, FAKE, KEY)
    np.testing.assert_allclose(value, row.of_norm(norm), rtol=1e-5)


@every_penalty
def test_examples_are_judged_one_by_one(row):
    value = np.asarray(row.penalty(quadratic, REAL, FAKE, KEY))
    other = np.asarray(row.penalty(quadratic, REAL.at[2].add(1.0), FAKE.at[2].add(-3.0), KEY))
    np.testing.assert_array_equal(np.delete(value, 2), np.delete(other, 2))
    assert abs(value[2] - other[2]) > 1e-3


@every_penalty
def test_logits_of_one_example_are_summed(row):
    patches = per_example(lambda x: WEIGHT[..., 0] * x[..., 0])
    norm = np.linalg.norm(np.asarray(WEIGHT[..., 0], np.float64))
    np.testing.assert_allclose(row.penalty(patches, REAL, FAKE, KEY), row.of_norm(norm), rtol=1e-5)


@every_penalty
def test_half_precision_in_float32_out(row):
    real, fake = REAL.astype(jnp.bfloat16), FAKE.astype(jnp.bfloat16)
    value = row.penalty(per_example(lambda x: jnp.sum(WEIGHT.astype(jnp.bfloat16) * x)), real, fake, KEY)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, row.of_norm(np.linalg.norm(np.asarray(WEIGHT, np.float64))), rtol=2e-2)


@every_penalty
def test_double_precision_is_kept(row):
    with jax.enable_x64(True):
        real, fake, weight = (jnp.asarray(np.asarray(x), jnp.float64) for x in (REAL, FAKE, WEIGHT))
        value = row.penalty(per_example(lambda x: jnp.sum(weight * x)), real, fake, KEY)
        assert value.dtype == jnp.float64
        np.testing.assert_allclose(value, row.of_norm(np.linalg.norm(np.asarray(weight))), rtol=1e-12)


@every_penalty
def test_the_gradient_for_the_critics_weights_is_the_closed_form(row):
    def mean(weight: jax.Array) -> jax.Array:
        return jnp.mean(row.penalty(per_example(lambda x: jnp.sum(weight * x)), REAL, FAKE, KEY))

    weight, step = np.asarray(WEIGHT, np.float64), 1e-6
    norm = np.linalg.norm(weight)
    slope = (row.of_norm(norm + step) - row.of_norm(norm - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(mean)(WEIGHT), slope * weight / norm, rtol=1e-4, atol=1e-5)


@every_penalty
def test_a_flat_critic_has_finite_gradients(row):
    def mean(weight: jax.Array) -> jax.Array:
        return jnp.mean(row.penalty(per_example(lambda x: jnp.sum(weight * x)), REAL, FAKE, KEY))

    value, gradient = jax.value_and_grad(mean)(jnp.zeros(SHAPE))
    np.testing.assert_allclose(value, row.of_norm(np.zeros(())))
    np.testing.assert_array_equal(gradient, np.zeros(SHAPE))
