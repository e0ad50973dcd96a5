import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets.padding import padded_to, reflect_pad, zero_pad


def image(height, width, channels=2):
    return np.random.default_rng(0).normal(size=(3, height, width, channels)).astype(np.float32)


@pytest.mark.parametrize(
    ("height", "width", "pixels"), [(5, 7, 3), (4, 3, 3), (2, 9, 5), (1, 4, 2), (1, 1, 3), (6, 6, 0)]
)
def test_reflection_is_that_of_numpy_however_small_the_picture(height, width, pixels):
    x = image(height, width)
    around = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    np.testing.assert_array_equal(reflect_pad(x, pixels), np.pad(x, around, mode="reflect"))
    np.testing.assert_array_equal(zero_pad(x, pixels), np.pad(x, around))


def test_the_edge_is_not_repeated():
    line = jnp.arange(4.0).reshape(1, 1, 4, 1)
    np.testing.assert_array_equal(reflect_pad(line, 2)[0, 0, :, 0], [2, 1, 0, 1, 2, 3, 2, 1])


def test_the_gradient_counts_how_often_a_pixel_is_seen():
    weight = np.random.default_rng(1).normal(size=(3, 9, 8, 2)).astype(np.float32)
    found = jax.grad(lambda x: jnp.vdot(reflect_pad(x, 3), weight))(image(3, 2))
    where = np.pad(np.arange(3 * 3 * 2 * 2).reshape(3, 3, 2, 2), ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
    expected = np.bincount(where.ravel(), weight.ravel()).reshape(3, 3, 2, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "multiple", "size"),
    [(35, 51, 16, (48, 64)), (28, 28, 16, (32, 32)), (8, 9, 4, (8, 12)), (1, 3, 8, (8, 8)), (12, 4, 4, (12, 4))],
)
def test_sides_become_multiples_and_what_was_cut_out_is_the_picture(height, width, multiple, size):
    x = image(height, width)
    padded, cropped = padded_to(jnp.asarray(x), multiple)
    assert padded.shape == (3, *size, 2)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    around = ((0, 0), (top, size[0] - height - top), (left, size[1] - width - left), (0, 0))
    np.testing.assert_array_equal(padded, np.pad(x, around, mode="reflect"))
    np.testing.assert_array_equal(cropped(padded), x)
    assert cropped(jnp.zeros((3, *size, 5))).shape == (3, height, width, 5)
    with pytest.raises(ValueError, match="padded picture is"):
        cropped(jnp.zeros((3, size[0] + 1, size[1], 2)))


def test_a_multiple_of_nothing_is_refused():
    with pytest.raises(ValueError, match="1 or more, got 0"):
        padded_to(jnp.zeros((1, 4, 4, 1)), 0)
