import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from jaxgan.directions import (
    factorise,
    least_squares_direction,
    logistic_direction,
    mean_difference,
    principal_directions,
    random_directions,
    reading_kernels,
)

KEY = jax.random.key(0)


def test_arithmetic_of_means():
    parts = [np.random.default_rng(i).normal(size=(3 + i, 4)).astype(np.float32) + i for i in range(3)]
    found = mean_difference([jnp.asarray(parts[0]), jnp.asarray(parts[1])], [jnp.asarray(parts[2])])
    np.testing.assert_allclose(found, parts[0].mean(0) + parts[1].mean(0) - parts[2].mean(0), rtol=1e-5)
    np.testing.assert_allclose(mean_difference([jnp.asarray(parts[1])]), parts[1].mean(0), rtol=1e-5)


def test_random_directions_have_their_length_and_no_preference():
    drawn = random_directions(KEY, 4000, 3, 2.5)
    np.testing.assert_allclose(jnp.linalg.norm(drawn, axis=1), 2.5, rtol=1e-5)
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(np.cov(np.asarray(drawn).T), 2.5**2 / 3 * np.eye(3), atol=0.15)
    # Archimedes: of a sphere in three dimensions each coordinate is uniform
    assert all(kstest(column / 2.5, "uniform", (-1, 2)).pvalue > 1e-3 for column in np.asarray(drawn).T)


def test_principal_directions_of_the_latents_are_their_principal_components():
    random = np.random.default_rng(1)
    turn, _ = np.linalg.qr(random.normal(size=(4, 4)))
    latents = (random.normal(size=(3000, 4)) * [0.5, 3.0, 1.0, 2.0]) @ turn.T + [1.0, -2.0, 0.0, 5.0]
    found, shares = principal_directions(jnp.asarray(latents, jnp.float32), jnp.asarray(latents, jnp.float32), 3)
    values, vectors = np.linalg.eigh(np.cov(latents.T))
    np.testing.assert_allclose(shares, values[::-1][:3] / values.sum(), rtol=1e-3)
    np.testing.assert_allclose(np.abs(found @ vectors[:, ::-1][:, :3]), np.eye(3), atol=1e-3)
    np.testing.assert_allclose(np.abs(found @ turn[:, [1, 3, 2]]), np.eye(3), atol=0.1)
    assert (np.take_along_axis(np.asarray(found), np.abs(found).argmax(1)[:, None], 1) > 0).all()


def test_principal_directions_of_a_linear_layer_are_its_factorisation():
    random = np.random.default_rng(2)
    kernel = random.normal(size=(3, 9)) * np.array([[3.0], [2.0], [1.0]])
    latents = random.normal(size=(20_000, 3))
    by_samples, shares = principal_directions(
        jnp.asarray(latents, jnp.float32), jnp.asarray((latents @ kernel + 7.0).reshape(-1, 3, 3), jnp.float32), 3
    )
    closed, parts = factorise([jnp.asarray(kernel, jnp.float32)], 3)
    np.testing.assert_allclose(np.abs(np.sum(by_samples * closed, axis=1)), 1, atol=5e-3)
    np.testing.assert_allclose(shares, parts, rtol=0.05)


def test_factorisation_finds_the_direction_that_moves_the_layer_most():
    kernels = [jax.random.normal(k, (5, m)) for k, m in zip(jax.random.split(KEY), (4, 7), strict=True)]
    directions, shares = factorise(kernels, 5)
    left, sizes, _ = np.linalg.svd(np.concatenate(kernels, axis=1))
    np.testing.assert_allclose(np.abs(directions @ left), np.eye(5), atol=1e-4)
    np.testing.assert_allclose(shares, sizes**2 / (sizes**2).sum(), rtol=1e-4)
    moved = jnp.linalg.norm(directions @ jnp.concatenate(kernels, axis=1), axis=1)
    assert (jnp.diff(moved) < 0).all()


@pytest.mark.parametrize("method", ["principal", "closed"])
def test_more_directions_than_there_are(method):
    latents = jax.random.normal(KEY, (10, 3))
    with pytest.raises(ValueError, match=r"\[1, 3\]"):
        principal_directions(latents, latents, 4) if method == "principal" else factorise([latents.T], 4)


class Layers(nn.Module):
    """Two kernels of one shape, of which the first reads the latent, with a class appended and its norm fixed."""

    @nn.compact
    def __call__(self, latent, label):
        x = latent / jnp.linalg.norm(latent, axis=-1, keepdims=True)
        x = nn.Dense(8, name="later")(jnp.concatenate([x, label], axis=-1))
        return jnp.tanh(nn.Dense(3, name="first")(nn.relu(x)))


def test_the_first_layer_is_found_by_what_it_reads():
    net, latent, label = Layers(), jax.random.normal(KEY, (6,)), jnp.array([0.0, 1.0])
    params = net.init(KEY, latent[None], label[None])
    # eight units in, as the second layer has
    found = reading_kernels(lambda p: net.apply(p, latent[None], label[None]), params, latent, KEY)
    assert len(found) == 1
    np.testing.assert_array_equal(found[0], params["params"]["later"]["kernel"][:6])


def test_layers_that_each_read_a_style_are_found_even_if_divided_by_their_norm():
    kernels = {str(i): jax.random.normal(jax.random.fold_in(KEY, i), (5, 5)) for i in range(3)}
    left, _, right = np.linalg.svd(kernels["1"])

    def outputs(p):
        sigma = left[:, 0] @ p["1"] @ right[0]
        hidden = jnp.tanh(style @ p["0"]) * (style @ (p["1"] / sigma))
        return jnp.tanh(hidden @ p["2"])

    style = jnp.arange(1.0, 6.0) * jnp.array([1, -1, 1, 1, -1])
    found = reading_kernels(outputs, kernels, style, KEY)
    assert len(found) == 2
    for kernel, name in zip(found, "01", strict=True):
        np.testing.assert_array_equal(kernel, kernels[name])


def test_a_score_that_is_linear_in_correlated_latents():
    random = np.random.default_rng(3)
    latents = random.normal(size=(4000, 3)) @ np.array([[2.0, 0.0, 0.0], [1.5, 1.0, 0.0], [0.0, 0.3, 0.4]])
    truth = np.array([1.0, -2.0, 0.5])
    scores = latents @ truth + 3.0 + 0.1 * random.normal(size=4000)
    found = least_squares_direction(jnp.asarray(latents, jnp.float32), jnp.asarray(scores, jnp.float32), ridge=0.0)
    np.testing.assert_allclose(found, truth / np.linalg.norm(truth), atol=1e-2)
    # the difference of means goes along with the correlation, and is another direction
    high = scores > np.median(scores)
    difference = latents[high].mean(0) - latents[~high].mean(0)
    assert np.dot(difference / np.linalg.norm(difference), found) < 0.9


def test_a_ridge_is_a_share_of_the_latents_mean_variance():
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(5)
    latents = random.normal(size=(500, 3)) * [6.0, 2.0, 9.0] + 1.0
    scores = latents @ [1.0, -2.0, 0.5] + random.normal(size=500)
    found = least_squares_direction(jnp.asarray(latents, jnp.float32), jnp.asarray(scores, jnp.float32), ridge=0.5)
    penalty = 0.5 * np.trace(np.cov(latents.T, ddof=0)) / 3
    peer = linear_model.Ridge(alpha=500 * penalty).fit(latents, scores).coef_
    np.testing.assert_allclose(found, peer / np.linalg.norm(peer), atol=1e-3)


def test_a_logistic_direction_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(4)
    latents = random.normal(size=(1000, 4)) * [1.0, 2.0, 0.5, 1.0] + 1.0
    positive = latents @ [1.0, 0.3, -2.0, 0.0] + 1.0 + random.logistic(size=1000) > 0
    found = logistic_direction(jnp.asarray(latents, jnp.float32), jnp.asarray(positive), ridge=1e-2)
    penalty = 1e-2 * np.trace(np.cov(latents.T, ddof=0)) / 4
    peer = linear_model.LogisticRegression(C=1 / (1000 * penalty), tol=1e-10).fit(latents, positive).coef_[0]
    np.testing.assert_allclose(found, peer / np.linalg.norm(peer), atol=1e-3)
