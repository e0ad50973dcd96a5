import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.data import toy

KEY = jax.random.key(0)


def test_ring_has_distinct_evenly_spaced_means():
    mixture = toy.ring(8, radius=2.0)
    assert mixture.means.shape == (8, 2) and mixture.means.dtype == np.float32
    angles = np.degrees(np.arctan2(mixture.means[:, 1], mixture.means[:, 0])) % 360
    np.testing.assert_allclose(angles, [0, 45, 90, 135, 180, 225, 270, 315], atol=1e-4)
    np.testing.assert_allclose(np.hypot(*mixture.means.T), 2.0, rtol=1e-6)


def test_grid_is_minus_four_to_four():
    expected = {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    assert {tuple(mean) for mean in toy.grid().means.tolist()} == expected


@pytest.mark.parametrize("mixture", [toy.ring(), toy.grid()], ids=lambda m: m.name)
def test_samples_have_the_mixtures_moments(mixture):
    points = np.asarray(toy.sample(mixture, KEY, 20000))
    assert points.shape == (20000, 2) and points.dtype == np.float32
    distance = np.linalg.norm(points[:, None] - mixture.means, axis=-1)
    nearest = distance.argmin(1)
    k = len(mixture.means)
    counts = np.bincount(nearest, minlength=k)
    assert ((counts - 20000 / k) ** 2 / (20000 / k)).sum() < 2 * k + 25
    residual = points - mixture.means[nearest]
    np.testing.assert_allclose(residual.std(0), mixture.deviation, rtol=0.03)
    np.testing.assert_allclose(residual.mean(0), 0, atol=5 * mixture.deviation / np.sqrt(20000))


def test_batches_are_a_function_of_key_and_step():
    mixture = toy.Mixture(np.array([[0, 0, 0], [5, 1, 2]], np.float32), 0.1, "two")
    source = toy.batches(mixture, 6)
    assert source.batch_size == 6
    first = source.batch(source.arrays, KEY, jnp.asarray(3))
    again = jax.jit(source.batch)(source.arrays, KEY, 3)
    assert set(first) == {"point"} and first["point"].shape == (6, 3) and first["point"].dtype == jnp.float32
    np.testing.assert_allclose(first["point"], again["point"], rtol=1e-6)
    for key, step in [(KEY, 4), (jax.random.key(1), 3)]:
        assert not np.allclose(first["point"], source.batch(source.arrays, key, jnp.asarray(step))["point"])
    # the means are an argument, not a constant of the compiled step
    moved = source.batch({"means": mixture.means + 7}, KEY, jnp.asarray(3))
    np.testing.assert_allclose(moved["point"], first["point"] + 7, rtol=1e-5)


def test_picture_puts_points_where_they_are():
    mixture = toy.ring()
    empty = toy.draw(np.zeros((0, 2)), mixture, 200)
    assert empty.shape == (200, 200, 3) and empty.dtype == np.uint8
    assert empty.min() > 150 and (empty == 255).mean() > 0.9  # faint circles on white
    drawn = toy.draw(np.array([[0.0, 1.2], [9.0, 0.0], [np.nan, 0.0]]), mixture, 200)
    y, x = np.nonzero((drawn != empty).any(-1))
    assert len(y) > 3  # and nothing but the one dot inside, above the centre
    assert np.ptp(y) < 8 and np.ptp(x) < 8 and abs(x.mean() - 99.5) < 1 and y.mean() < 40


def test_dense_places_are_darker():
    mixture = toy.ring()
    one, many = (toy.draw(np.zeros((n, 2)), mixture, 100)[50, 50].sum() for n in (1, 10))
    assert many < one


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="mode, dimension"):
        toy.Mixture(np.zeros((3,), np.float32), 0.1, "flat")
    with pytest.raises(ValueError, match="deviation"):
        toy.ring(deviation=-1.0)
    with pytest.raises(ValueError, match=r"\[n, 2\]"):
        toy.draw(np.zeros((4, 3)), toy.ring())
    with pytest.raises(ValueError, match="batch_size"):
        toy.batches(toy.ring(), 0)
