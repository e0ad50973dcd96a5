import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.losses.penalties import (
    consistency,
    dragan,
    interpolates,
    lipschitz,
    r1,
    r2,
    safe_sqrt,
    squared_gradient_norm,
    wgan_gp,
    zero_centered_gp,
)


def test_interpolates_are_uniform_between_fake_and_real():
    """On D(x) = x^2/2 the gradient is x itself: the penalty shows the point."""
    real, fake = jnp.full((4000, 1), 3.0), jnp.full((4000, 1), 2.0)
    value = wgan_gp(lambda x: 0.5 * jnp.sum(x * x, axis=1), real, fake, jax.random.key(0))
    point = 1 + np.sqrt(np.asarray(value, np.float64))
    assert point.min() > 2 - 1e-5 and point.max() < 3 + 1e-5
    counts, _ = np.histogram(point, 10, (2, 3))
    assert ((counts - 400) ** 2 / 400).sum() < 27.9  # 99.9 per cent of chi squared with 9 degrees


def test_the_pixels_of_an_example_share_one_weight():
    """From (0, 10) to (10, 0) the squared norm lies in 50..100, unless each pixel is mixed by itself."""
    real, fake = jnp.tile(jnp.array([[10.0, 0.0]]), (500, 1)), jnp.tile(jnp.array([[0.0, 10.0]]), (500, 1))
    value = wgan_gp(lambda x: x[:, 0] * x[:, 1], real, fake, jax.random.key(0))
    squared = (1 + np.sqrt(np.asarray(value, np.float64))) ** 2
    assert squared.min() > 50 - 1e-3 and squared.max() < 100 + 1e-3 and np.ptp(squared) > 40


def test_r1_ignores_the_fakes_and_the_key():
    real = jnp.array([[0.3, -2.0], [1.0, 4.0]])
    value = r1(lambda x: jnp.sum(jnp.sin(x), axis=1), real, jnp.full((2, 2), jnp.nan), jax.random.key(0))
    np.testing.assert_allclose(value, (np.cos(np.asarray(real)) ** 2).sum(1), rtol=1e-5)


def test_a_batch_of_many_axes_is_summed_over_all_but_the_first():
    images = jnp.ones((2, 3, 4, 5))
    np.testing.assert_allclose(squared_gradient_norm(lambda x: jnp.sum(2 * x, axis=(1, 2, 3)), images), [240, 240])


def test_safe_sqrt_is_the_square_root_with_a_flat_zero():
    np.testing.assert_allclose(safe_sqrt(jnp.array([0.0, 4.0, 2.25])), [0, 2, 1.5])
    np.testing.assert_allclose(jax.vmap(jax.grad(safe_sqrt))(jnp.array([0.0, 4.0])), [0, 0.25])


def test_r2_ignores_the_reals_and_the_key():
    fake = jnp.array([[0.3, -2.0], [1.0, 4.0]])
    value = r2(lambda x: jnp.sum(jnp.sin(x), axis=1), jnp.full((2, 2), jnp.nan), fake, jax.random.key(0))
    np.testing.assert_allclose(value, (np.cos(np.asarray(fake)) ** 2).sum(1), rtol=1e-5)


def test_the_penalties_on_interpolates_share_their_points():
    """So that swapping one for another compares centres, not draws."""
    real, fake = jax.random.normal(jax.random.key(1), (2, 9, 3)) + jnp.array([1.0, -1.0])[:, None, None]
    critic = lambda x: 0.35 * jnp.sum(x * x, axis=1)  # noqa: E731
    key = jax.random.key(2)
    norm = np.sqrt(np.asarray(zero_centered_gp(critic, real, fake, key)))
    np.testing.assert_allclose(norm, 0.7 * np.linalg.norm(np.asarray(interpolates(real, fake, key)), axis=1), rtol=1e-5)
    assert norm.min() < 0.9 and norm.max() > 1.1
    np.testing.assert_allclose(wgan_gp(critic, real, fake, key), (norm - 1) ** 2, atol=1e-5)
    np.testing.assert_allclose(lipschitz(critic, real, fake, key), np.maximum(norm - 1, 0) ** 2, atol=1e-5)


@pytest.mark.parametrize("slope", [0.2, 1.0, 2.5])
def test_lipschitz_charges_steep_slopes_only(slope):
    points = jnp.zeros((1, 1))
    paid = lambda slope: lipschitz(lambda x: slope * x[:, 0], points, points, jax.random.key(0))[0]  # noqa: E731
    np.testing.assert_allclose(paid(slope), max(0.0, slope - 1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(paid)(slope), 2 * max(0.0, slope - 1), rtol=1e-5)


def test_dragan_lies_around_the_reals_by_the_spread_of_the_batch():
    """On D(x) = x^2/2 in one dimension the penalty shows the point: half of std times two uniform numbers."""
    real = jnp.concatenate([jnp.full((5000, 1), 3.0), jnp.full((5000, 1), 7.0)])
    value = dragan(lambda x: 0.5 * jnp.sum(x * x, axis=1), real, jnp.full_like(real, jnp.nan), jax.random.key(0))
    moved = 1 + np.sqrt(np.asarray(value, np.float64)) - np.asarray(real)[:, 0]
    assert moved.min() > -1e-5 and moved.max() < 0.5 * 2.0 + 1e-5  # the batch's deviation is 2
    # the product of two uniform numbers: mean 1/4, second moment 1/9
    assert abs(moved.mean() - 0.25) < 4 * np.sqrt((1 / 9 - 1 / 16) / 10000)
    assert abs((moved**2).mean() - 1 / 9) < 4 * np.sqrt((1 / 25 - 1 / 81) / 10000)


def test_dragan_gives_pixels_their_own_noise_and_examples_one_weight():
    """A D that is flat in all but one pixel shows the movement of that pixel."""
    real = jnp.tile(jnp.array([[3.0, 5.0]]), (4000, 1))  # of deviation 1

    def moved(pixel: int) -> np.ndarray:
        value = dragan(lambda x: 0.5 * x[:, pixel] ** 2, real, real, jax.random.key(0))
        return 1 + np.sqrt(np.asarray(value, np.float64)) - float(real[0, pixel])

    first, second = moved(0), moved(1)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(3 / 7, abs=0.06)  # by the shared weight alone


def test_consistency_is_the_squared_change_of_the_logits():
    real, fake = jnp.array([[1.0, 2.0], [-3.0, 0.5], [0.0, 4.0]]), jnp.full((3, 2), jnp.nan)
    slopes = np.array([0.5, -2.0])
    moved = lambda images, key: images + jax.random.normal(key, images.shape)  # noqa: E731
    shift = np.asarray(jax.random.normal(jax.random.key(7), real.shape), np.float64)
    value = consistency(moved)(lambda x: x @ jnp.float32(slopes) + 3.0, real, fake, jax.random.key(7))
    np.testing.assert_allclose(value, (shift @ slopes) ** 2, rtol=1e-4)
    same = consistency(lambda images, key: images)(lambda x: jnp.sum(x**2, axis=1), real, fake, jax.random.key(7))
    np.testing.assert_array_equal(same, np.zeros(3))


def test_consistency_sums_patches_and_promotes_halves():
    real = jnp.array([[1.0, 2.0], [-3.0, 0.5]], jnp.bfloat16)
    double = consistency(lambda images, key: 2 * images)
    value = double(lambda x: x[..., None] * jnp.bfloat16(0.5), real, real, jax.random.key(0))
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, [0.25 * (1 + 4), 0.25 * (9 + 0.25)])
    with jax.enable_x64(True):
        assert (
            double(lambda x: jnp.sum(x, 1), jnp.ones((2, 3)), jnp.ones((2, 3)), jax.random.key(0)).dtype == jnp.float64
        )


def test_consistency_differentiates_both_sides():
    """D(x) = w x against D(3 x): (w x - 3 w x)^2 = 4 w^2 x^2."""
    real = jnp.array([[1.5], [-0.5]])
    triple = consistency(lambda images, key: 3 * images)
    gradient = jax.grad(lambda w: jnp.sum(triple(lambda x: w * x[:, 0], real, real, jax.random.key(0))))(0.7)
    np.testing.assert_allclose(gradient, 8 * 0.7 * (1.5**2 + 0.5**2), rtol=1e-5)
