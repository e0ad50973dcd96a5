import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare, kstest, norm, truncnorm

from jaxgan.latent import (
    Codes,
    arc_length,
    invert,
    labelled,
    lerp,
    normal_prior,
    slerp,
    truncate,
    truncate_normal,
    uniform_prior,
)

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


@pytest.mark.parametrize("threshold", [0.04, 0.5, 1.0, 2.0])
def test_truncated_latents_have_the_truncated_normal_distribution(threshold):
    latent = jax.random.normal(jax.random.key(0), (2000, 3))
    made = np.asarray(truncate_normal(latent, threshold))
    assert made.dtype == np.float32 and np.abs(made).max() <= threshold * (1 + 1e-5)
    assert kstest(made.ravel(), truncnorm(-threshold, threshold).cdf).pvalue > 1e-3
    order = np.argsort(np.asarray(latent).ravel())
    assert np.all(np.diff(made.ravel()[order]) >= 0)
    # by quantiles, in scipy
    expected = truncnorm(-threshold, threshold).ppf(norm.cdf(np.asarray(latent, np.float64)))
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_truncation_at_its_ends():
    latent = jnp.array([[-9.0, -4.0, 0.0, 1e-3, 0.7, 9.0]])
    np.testing.assert_allclose(truncate_normal(latent, np.inf), latent, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(truncate_normal(latent, 0.0), 0.0, atol=1e-6)
    np.testing.assert_allclose(np.asarray(truncate_normal(latent, 1.5))[0, [0, -1]], [-1.5, 1.5], rtol=1e-5)
    np.testing.assert_allclose(truncate_normal(-latent, 0.8), -truncate_normal(latent, 0.8), rtol=1e-6)


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


def test_the_length_of_a_path_is_that_of_its_chords():
    places = np.random.default_rng(0).normal(size=(5, 2, 3, 2))
    expected = [sum(np.sqrt(((places[i + 1, j] - places[i, j]) ** 2).sum()) for i in range(4)) for j in range(2)]
    np.testing.assert_allclose(arc_length(jnp.asarray(places)), expected, rtol=1e-5)
    # from nine chords on, a quarter of a circle and its straight line are pi/2 and sqrt 2 long
    t = np.linspace(0.0, 1.0, 33, dtype=np.float32)
    np.testing.assert_allclose(arc_length(slerp(START, END, t)), [3 * np.pi / 2, np.pi / 2], rtol=1e-3)
    np.testing.assert_allclose(arc_length(lerp(START, END, t)), [3 * 2**0.5, 2**0.5], rtol=1e-4)


MIXING = np.random.default_rng(5).normal(size=(3, 12)).astype(np.float32)


def made(latents):
    return jnp.tanh(latents @ MIXING).reshape(-1, 2, 3, 2)


def test_inversion_finds_the_latent_of_each_image():
    latents = jnp.array([[0.5, -1.0, 0.3], [-0.2, 0.4, 1.2]])
    starts = jax.random.normal(jax.random.key(0), (2, 3, 3))
    found, errors = jax.jit(lambda x: invert(made, x, starts, prior_weight=0.0))(made(latents))
    np.testing.assert_allclose(found, latents, atol=1e-3)
    np.testing.assert_allclose(errors, jnp.mean(jnp.square(made(found) - made(latents)), axis=(1, 2, 3)), atol=1e-7)
    # an image is inverted alike whatever stands beside it
    alone, _ = invert(made, made(latents)[1:], starts[1:], prior_weight=0.0)
    np.testing.assert_allclose(alone[0], found[1], atol=1e-4)


def test_the_nearest_of_several_restarts_wins():
    def two_valleys(latents):
        # 1 is met at the right alone; from the left a latent ends in the valley at -1
        return jnp.where(latents > 0, latents, 0.4 - 0.2 * jnp.square(latents + 1.0))

    image = jnp.ones((1, 1))
    for order in ([-2.0, 0.5], [0.5, -2.0]):
        found, errors = invert(two_valleys, image, jnp.array(order).reshape(1, 2, 1), prior_weight=0.0)
        np.testing.assert_allclose(found, [[1.0]], atol=1e-3)
        np.testing.assert_allclose(errors, [0.0], atol=1e-5)
    found, errors = invert(two_valleys, image, jnp.array([[[-2.0]]]), prior_weight=0.0)
    np.testing.assert_allclose((found[0, 0], errors[0]), (-1.0, 0.36), atol=1e-3)


def test_restarts_are_judged_by_the_distance_too_and_what_is_no_number_loses():
    image, starts = jnp.array([[1.0, 0.0]]), jnp.array([[[0.8], [2 / 3]]])

    def doubled(latents):
        return jnp.concatenate([latents, 0.5 * latents], axis=1)

    def apart(a, b):
        return 100.0 * jnp.square(jnp.sum(a - b, axis=1))

    # by pixels 0.8 is the nearer one
    for distance, wanted in ((None, 0.8), (apart, 2 / 3)):
        found, _ = invert(doubled, image, starts, steps=0, distance=distance)
        np.testing.assert_allclose(found, [[wanted]], rtol=1e-5)
    # each image has restarts of its own, which stand together
    starts = jnp.array([[[1.1], [1.9]], [[1.2], [1.8]]])
    found, _ = invert(lambda latents: latents, jnp.array([[1.0], [2.0]]), starts, steps=0)
    np.testing.assert_allclose(found, [[1.1], [1.8]], rtol=1e-5)
    found, errors = invert(jnp.sqrt, jnp.array([[1.0]]), jnp.array([[[-1.0], [4.0]]]), steps=0)
    np.testing.assert_allclose((found[0, 0], errors[0]), (4.0, 1.0), rtol=1e-5)


def test_the_prior_of_an_inversion_holds_the_norm():
    # the image says nothing of the last two dimensions
    flat, image = (lambda latents: latents[:, :1]), jnp.array([[0.5]])
    starts = jnp.array([[[0.0, 3.0, 4.0]]])
    mean, deviation = jnp.array([0.5, 1.0, 2.0]), jnp.array([1.0, 2.0, 0.5])
    found, _ = invert(flat, image, starts, 2000, prior_weight=1.0, mean=mean, deviation=deviation)
    np.testing.assert_allclose(jnp.mean(jnp.square((found[0] - mean) / deviation)), 1.0, atol=1e-3)
    free, _ = invert(flat, image, starts, 200, prior_weight=0.0)
    np.testing.assert_allclose(free[0], [0.5, 3.0, 4.0], atol=1e-3)


def test_an_inversion_may_ask_for_another_distance():
    def apart(a, b):
        return 100.0 * jnp.square(jnp.sum(a - b, axis=1))

    # no latent makes (1, 0): the nearest pixels are those of 0.8, and 2/3 has the same sum
    doubled = lambda latents: jnp.concatenate([latents, 0.5 * latents], axis=1)  # noqa: E731
    image, starts = jnp.array([[1.0, 0.0]]), jnp.array([[[0.1]]])
    by_pixels, errors = invert(doubled, image, starts, prior_weight=0.0)
    np.testing.assert_allclose((by_pixels[0, 0], errors[0]), (0.8, 0.1), atol=1e-3)
    by_sum, errors = invert(doubled, image, starts, prior_weight=0.0, distance=apart)
    np.testing.assert_allclose(by_sum, [[2 / 3]], atol=2e-3)
    # the error that is told is that of the pixels alone
    np.testing.assert_allclose(errors, [(1 / 9 + 1 / 9) / 2], atol=1e-3)


def test_codes_lie_behind_the_noise_and_are_read_back():
    codes = Codes(categories=4, continuous=2)
    prior = codes.prior(uniform_prior(3, 0.5))
    latent = np.asarray(prior(jax.random.key(0), 4000))
    assert latent.shape == (4000, 9) and latent.dtype == np.float32 and codes.size == 6
    assert np.abs(latent[:, :3]).max() < 0.5 and np.abs(latent[:, :3]).max() > 0.49
    category, code = codes.of(jnp.asarray(latent))
    np.testing.assert_array_equal(latent[:, 3:7], np.eye(4)[np.asarray(category)])
    np.testing.assert_array_equal(code, latent[:, 7:])
    assert chisquare(np.bincount(category, minlength=4)).pvalue > 1e-3
    assert all(kstest(column, "uniform", (-1, 2)).pvalue > 1e-3 for column in latent[:, 7:].T)
    assert np.abs(np.corrcoef(latent[:, [0, 1, 2, 7, 8]].T) - np.eye(5)).max() < 0.06
    # noise of as many dimensions as there are codes, and of their distribution, is still other noise
    alike = np.asarray(codes.prior(uniform_prior(2, 1.0))(jax.random.key(0), 4000))
    assert np.abs(np.corrcoef(alike[:, [0, 1, 6, 7]].T) - np.eye(4)).max() < 0.06
    asked = jnp.array([3, 0, 2, 2])
    np.testing.assert_array_equal(codes.of(prior(jax.random.key(1), 4, asked))[0], asked)
