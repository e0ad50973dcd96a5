import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from jaxgan.latent import labelled, lerp, normal_prior, slerp, truncate, uniform_prior

T = np.array([0.0, 0.25, 0.5, 1.0], np.float32)
START, END = jnp.array([[3.0, 0.0, 0.0], [0.0, 0.6, 0.8]]), jnp.array([[0.0, 3.0, 0.0], [0.0, -0.8, 0.6]])


def test_the_normal_prior_is_normal_and_ignores_the_condition():
    prior = normal_prior(3)
    latent = prior(jax.random.key(0), 2000)
    assert latent.shape == (2000, 3) and latent.dtype == jnp.float32
    assert kstest(np.asarray(latent).ravel(), "norm").pvalue > 1e-3
    np.testing.assert_allclose(np.cov(np.asarray(latent).T), np.eye(3), atol=0.1)
    np.testing.assert_array_equal(latent, prior(jax.random.key(0), 2000, jnp.zeros(2000, jnp.int32)))
    assert not np.allclose(latent, prior(jax.random.key(1), 2000))


def test_truncation_moves_latents_towards_the_mean():
    np.testing.assert_allclose(truncate(START, 1.0, 5.0), START, rtol=1e-6)
    np.testing.assert_allclose(truncate(START, 0.0), 0.0 * START)
    np.testing.assert_allclose(truncate(START, 0.25, 2.0), 2 + 0.25 * (np.asarray(START) - 2), rtol=1e-6)


def test_lerp_is_the_straight_line():
    path = lerp(START, END, T)
    assert path.shape == (4, 2, 3)
    for i, t in enumerate(T):
        np.testing.assert_allclose(path[i], (1 - t) * np.asarray(START) + t * np.asarray(END), rtol=1e-6)


def test_slerp_between_orthogonal_latents_is_a_quarter_of_a_circle():
    path = np.asarray(slerp(START, END, T))
    angle = T * np.pi / 2
    expected = 3 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    np.testing.assert_allclose(path[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(path[:, 1], axis=1), 1, rtol=1e-5)


def test_slerp_moves_angle_and_norm_at_constant_speed():
    start, end = jnp.array([[2.0, 0.0]]), 5 * jnp.array([[np.cos(2.0), np.sin(2.0)]], jnp.float32)
    path = np.asarray(slerp(start, end, np.linspace(0, 1, 11, dtype=np.float32)))[:, 0]
    np.testing.assert_allclose(np.arctan2(path[:, 1], path[:, 0]), np.linspace(0, 2, 11), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), np.linspace(2, 5, 11), rtol=1e-5)
    np.testing.assert_allclose(path[0], start[0], atol=1e-6)
    np.testing.assert_allclose(path[-1], end[0], rtol=1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_slerp_of_parallel_latents_is_lerp(sign):
    start = jnp.array([[0.3, -1.0, 2.0]])
    np.testing.assert_allclose(
        slerp(start, 2 * sign * start, T), lerp(start, 2 * sign * start, T), rtol=1e-4, atol=1e-5
    )


def test_paths_of_any_leading_shape_and_one_fraction():
    many = jnp.ones((2, 4, 3)) * jnp.arange(1.0, 4.0).reshape(1, 1, 3)
    assert slerp(many, -many + 1.0, T).shape == (4, 2, 4, 3)
    assert lerp(START[0], END[0], 0.5).shape == (1, 3)


def test_the_uniform_prior_has_unit_variance():
    latent = np.asarray(uniform_prior(3)(jax.random.key(0), 2000))
    assert latent.shape == (2000, 3) and latent.dtype == np.float32
    assert kstest(latent.ravel(), "uniform", (-(3**0.5), 2 * 3**0.5)).pvalue > 1e-3
    np.testing.assert_allclose(np.cov(latent.T), np.eye(3), atol=0.1)


def test_labelled_latents_are_told_or_draw_their_class():
    prior = labelled(normal_prior(3), 4)
    latent, label = prior(jax.random.key(0), 2000)
    assert latent.shape == (2000, 3) and label.dtype == jnp.int32
    assert chisquare(np.bincount(label, minlength=4)).pvalue > 1e-3
    # the class says nothing of the latent, and asking for one changes no latent
    assert abs(np.corrcoef(np.asarray(label), np.asarray(latent[:, 0]))[0, 1]) < 0.1
    asked = jnp.arange(2000) % 3
    same, told = prior(jax.random.key(0), 2000, asked)
    np.testing.assert_array_equal(told, asked)
    np.testing.assert_array_equal(same, latent)
