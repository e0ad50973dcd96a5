import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.arrays import image_grid, to_float, to_uint8

LEVELS = np.arange(256, dtype=np.uint8)


def test_all_levels_survive_the_way_there_and_back():
    floats = to_float(jnp.asarray(LEVELS))
    assert floats.dtype == jnp.float32 and floats[0] == -1 and floats[-1] == 1
    np.testing.assert_allclose(floats, LEVELS.astype(np.float64) * 2 / 255 - 1, atol=1e-7)
    np.testing.assert_array_equal(to_uint8(floats), LEVELS)
    np.testing.assert_array_equal(jax.jit(lambda x: to_uint8(to_float(x)))(LEVELS), LEVELS)


def test_rounding_is_to_the_nearest_level_and_halves_go_to_even():
    step = 1 / 127.5
    x = jnp.asarray([-1 + 0.4 * step, -1 + 0.6 * step, -1 + 100.4 * step, -1 + 100.6 * step, 0.0])
    np.testing.assert_array_equal(to_uint8(x), [0, 1, 100, 101, 128])  # 127.5 is a half
    halves = (np.array([0.5, 1.5, 2.5], np.float64) / 127.5 - 1).astype(np.float32)
    scaled = (halves + np.float32(1)) * np.float32(127.5)
    np.testing.assert_array_equal(to_uint8(jnp.asarray(halves)), np.rint(scaled))


def test_what_lies_outside_is_clipped_and_nan_is_black():
    x = jnp.array([-7.0, 1.2, jnp.inf, -jnp.inf, jnp.nan])
    np.testing.assert_array_equal(to_uint8(x), [0, 255, 255, 0, 0])
    assert to_uint8(x).dtype == jnp.uint8
    np.testing.assert_array_equal(to_uint8(jnp.array([1.0, -1.0], jnp.bfloat16)), [255, 0])


def test_to_float_takes_pixels_only():
    with pytest.raises(TypeError, match="uint8 images, got float32"):
        to_float(jnp.zeros((2, 2)))


def test_image_grid_lays_tiles_row_by_row():
    images = np.arange(1, 6, dtype=np.uint8).reshape(5, 1, 1, 1) * np.ones((5, 2, 3, 1), np.uint8)
    grid = image_grid(images)
    assert grid.shape == (2 * 3 - 1, 3 * 4 - 1, 1) and grid.dtype == np.uint8
    np.testing.assert_array_equal(grid[[0, 0, 0, 3, 3, 3], [0, 4, 8, 0, 4, 8], 0], [1, 2, 3, 4, 5, 0])
    assert not grid[2].any() and not grid[:, 3].any()  # the gaps
    assert grid.sum() == images.sum()


def test_columns_and_gap_of_a_grid():
    images = np.full((3, 2, 2, 3), 9, np.uint8)
    assert image_grid(images, columns=3, gap=0).shape == (2, 6, 3)
    assert image_grid(images, columns=1, gap=2).shape == (10, 2, 3)
    np.testing.assert_array_equal(image_grid(images[:1]), images[0])


@pytest.mark.parametrize("images", [np.zeros((2, 2, 2), np.uint8), np.zeros((1, 2, 2, 1), np.float32)])
def test_a_grid_is_of_pictures(images):
    with pytest.raises(ValueError, match=r"uint8 \[n, height, width, channel\]"):
        image_grid(images)
