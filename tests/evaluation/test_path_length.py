import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.path_length import path_length
from jaxgan.latent import lerp, normal_prior, slerp

# a generator that is a matrix, of images [2, 3, 1] from latents [4]
MATRIX = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32) * [1.0, 2.0, 0.5, 3.0, 1.0, 0.1]
KEY = jax.random.key(3)


def linear(latents):
    return (latents @ jnp.asarray(MATRIX, jnp.float32)).reshape(-1, 2, 3, 1)


def squared(a, b):
    return jnp.square(a - b).sum(axis=(1, 2, 3))


def trimmed(values):
    """The mean between the 1st and 99th percentile, by sorting."""
    values = np.sort(values)
    last = len(values) - 1
    return values[int(np.floor(0.01 * last)) : int(np.ceil(0.99 * last)) + 1].mean()


def pairs_of(prior, num, batch, key=KEY):
    """The start and end latents that are drawn, by the keys written out."""
    found = []
    for i in range(-(-num // batch)):
        start, end, _ = jax.random.split(jax.random.fold_in(key, i), 3)
        found.append((prior(start, batch), prior(end, batch)))
    return [np.concatenate([np.asarray(pair[side], np.float64) for pair in found])[:num] for side in range(2)]


@pytest.mark.parametrize("full", [True, False])
def test_a_straight_path_of_a_linear_generator(full):
    """|M (end - start)|^2 wherever on the path, so that each value is known."""
    value, error = path_length(linear, squared, normal_prior(4), lerp, KEY, 250, 1e-2, full, batch_size=100)
    start, end = pairs_of(normal_prior(4), 250, 100)
    expected = np.square((end - start) @ MATRIX).sum(axis=1)
    np.testing.assert_allclose(value, trimmed(expected), rtol=1e-4)
    assert trimmed(expected) < 0.99 * expected.mean()
    np.testing.assert_allclose(error, np.std(expected) / np.sqrt(250), rtol=0.2)


def test_the_closed_form_over_the_prior():
    """E|M (end - start)|^2 = 2 tr(M M^T), the trimming aside; of equal-sized terms little is trimmed."""
    matrix = jnp.asarray(np.linalg.qr(np.random.default_rng(1).normal(size=(200, 200)))[0], jnp.float32)
    distance = lambda a, b: jnp.square(a - b).sum(axis=1)  # noqa: E731
    value, error = path_length(lambda z: 2.0 * z @ matrix, distance, normal_prior(200), lerp, KEY, 1000, 1e-2)
    assert 0 < error < 0.005 * value
    np.testing.assert_allclose(value, 2 * 4 * 200, rtol=1e-2)


def test_the_default_step_in_float32():
    found = path_length(linear, squared, normal_prior(4), lerp, KEY, 2000)
    expected = path_length(linear, squared, normal_prior(4), lerp, KEY, 2000, epsilon=1e-2)
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-3)


def test_a_great_circle_is_as_long_as_its_angle():
    """On a sphere of radius r slerp moves at r times the angle, everywhere; lerp cuts the corner in the middle."""

    def sphere(key, n):
        z = jax.random.normal(key, (n, 5))
        return 3.0 * z / jnp.linalg.norm(z, axis=1, keepdims=True)

    distance = lambda a, b: jnp.square(a - b).sum(axis=1)  # noqa: E731
    arguments = (lambda z: z, distance, sphere)
    value, _ = path_length(*arguments, slerp, KEY, 300, 1e-2)
    start, end = pairs_of(sphere, 300, 100)
    angles = np.arccos((start * end).sum(axis=1) / 9.0)
    np.testing.assert_allclose(value, trimmed(np.square(3.0 * angles)), rtol=1e-3)
    chord, _ = path_length(*arguments, lerp, KEY, 300, 1e-2)
    assert chord < 0.95 * value


def test_where_on_the_path_matters_to_a_curved_generator():
    """G(w) = w^2 from -1 to 1, slope 4 (2 t - 1): all of it at the ends, a third on average."""
    ends = iter([-1.0, 1.0])
    prior = lambda key, n: jnp.full((n, 1), next(ends))  # noqa: E731
    distance = lambda a, b: jnp.square(a - b).sum(axis=1)  # noqa: E731
    arguments = (lambda w: w * w, distance)
    value, error = path_length(*arguments, prior, lerp, KEY, 4000, 1e-3, batch_size=4000)
    np.testing.assert_allclose(value, 16.0 / 3.0, atol=4 * error + 0.06)
    ends = iter([-1.0, 1.0])
    value, _ = path_length(*arguments, prior, lerp, KEY, 10, 1e-3, full=False)
    np.testing.assert_allclose(value, 16.0, rtol=5e-3)


def test_one_compilation_and_the_same_again():
    traces = []

    def generate(latents):
        traces.append(latents.shape)
        return linear(latents)

    found = path_length(generate, squared, normal_prior(4), lerp, KEY, 25, batch_size=10)
    assert traces == [(20, 4)]
    assert path_length(generate, squared, normal_prior(4), lerp, KEY, 25, batch_size=10) == found
    assert path_length(generate, squared, normal_prior(4), lerp, jax.random.key(4), 25, batch_size=10) != found


def test_mistakes_are_refused():
    def call(distance=squared, **more):
        return path_length(linear, distance, normal_prior(4), lerp, KEY, **{"num_samples": 10, **more})

    with pytest.raises(ValueError, match="num_samples is at least 2 and batch_size 1, got 1"):
        call(num_samples=1)
    with pytest.raises(ValueError, match=r"epsilon must be in \(0, 1\), got 0"):
        call(epsilon=0)
    with pytest.raises(ValueError, match=r"one number an image, \[10\], got shape \(10, 2, 3, 1\)"):
        call(distance=lambda a, b: jnp.square(a - b))
    with pytest.raises(ValueError, match="10 of 10 path lengths are not finite"):
        call(distance=lambda a, b: squared(a, b) * jnp.nan)
