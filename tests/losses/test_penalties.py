import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.losses.penalties import r1, safe_sqrt, squared_gradient_norm, wgan_gp


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
