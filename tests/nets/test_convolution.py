import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets import convolution
from jaxgan.nets.convolution import (
    DownsamplingConvolution,
    UpsamplingConvolution,
    downsampling_convolution,
    upsampling_convolution,
)

FAST = {"xla_backend_optimization_level": 0}
LAYOUT = ("NHWC", "HWIO", "NHWC")


def transposed(images, kernel):
    return jax.lax.conv_transpose(images, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT)


def strided(images, kernel):
    return jax.lax.conv_general_dilated(images, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)


# the public functions, and whichever of their forms this machine does not choose
FORMS = [
    (upsampling_convolution, transposed),
    (convolution._upsampling_as_product, transposed),
    (convolution._upsampling_as_convolution, transposed),
    (downsampling_convolution, strided),
    (convolution._downsampling_as_product, strided),
    (convolution._downsampling_as_convolution, strided),
]
every_form = pytest.mark.parametrize(("form", "reference"), FORMS, ids=lambda f: f.__name__)


def case(height, width, features_in=3, features_out=2):
    images = jax.random.normal(jax.random.key(0), (2, height, width, features_in))
    return images, jax.random.normal(jax.random.key(1), (4, 4, features_in, features_out))


@every_form
@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 4), (14, 14), (4, 6)])
def test_equals_the_compilers_convolution(form, reference, height, width):
    images, kernel = case(height, width)
    result, expected = form(images, kernel), reference(images, kernel)
    assert result.shape == expected.shape and result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 7), (3, 5)])
def test_upsampling_takes_odd_sides(height, width):
    images, kernel = case(height, width)
    np.testing.assert_allclose(upsampling_convolution(images, kernel), transposed(images, kernel), rtol=1e-5, atol=1e-5)


def test_one_pixel_paints_the_kernel():
    """Written by hand, with no convolution: pixel (i, j) adds its value times the kernel at rows 2i - 1 ... 2i + 2.

    `lax.conv_transpose` does not flip the kernel, so it lies turned by 180 degrees.
    """
    kernel = jnp.arange(16.0).reshape(4, 4, 1, 1)
    painted = upsampling_convolution(jnp.zeros((1, 3, 3, 1)).at[0, 1, 1, 0].set(2.0), kernel)[0, :, :, 0]
    expected = np.zeros((6, 6))
    expected[1:5, 1:5] = 2.0 * np.arange(16.0).reshape(4, 4)[::-1, ::-1]
    np.testing.assert_array_equal(painted, expected)


def test_downsampling_reads_four_by_four_pixels_around_each_output():
    images, kernel = (np.asarray(x, np.float64) for x in case(4, 6))
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((2, 2, 3, 2))
    for i in range(2):
        for j in range(3):
            expected[:, i, j] = np.einsum("nabc,abcd->nd", padded[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4], kernel)
    np.testing.assert_allclose(downsampling_convolution(*case(4, 6)), expected, rtol=1e-4, atol=1e-5)


@every_form
def test_gradients_of_first_and_second_order_are_equal_too(form, reference):
    images, kernel = case(4, 2)
    weight = jax.random.normal(jax.random.key(2), reference(images, kernel).shape)

    def first(convolve):
        return jax.grad(lambda x, k: jnp.sum(weight * jnp.sin(convolve(x, k))), (0, 1))

    def second(convolve):
        return jax.grad(lambda x, k: sum(jnp.sum(jnp.square(g)) for g in first(convolve)(x, k)), (0, 1))

    def both(convolve):
        derivatives = jax.jit(lambda x, k: (first(convolve)(x, k), second(convolve)(x, k)), compiler_options=FAST)
        return jax.tree.leaves(derivatives(images, kernel))

    for a, b in zip(both(form), both(reference), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(jnp.abs(b).max()))


@pytest.mark.parametrize(
    ("layer", "reference"), [(UpsamplingConvolution, transposed), (DownsamplingConvolution, strided)]
)
def test_the_layer_is_the_function_and_a_bias(layer, reference):
    images, kernel = case(4, 4, 3, 5)
    shapes = jax.eval_shape(layer(5, dtype=jnp.bfloat16).init, jax.random.key(0), images)["params"]
    assert {name: (p.shape, p.dtype.name) for name, p in shapes.items()} == {
        "kernel": ((4, 4, 3, 5), "float32"),
        "bias": ((5,), "float32"),
    }
    params = {"kernel": kernel, "bias": jnp.arange(5.0)}
    expected = reference(images, kernel) + np.arange(5.0, dtype=np.float32).reshape(1, 1, 1, 5)
    np.testing.assert_allclose(layer(5).apply({"params": params}, images), expected, rtol=1e-5, atol=1e-5)
    half = layer(5, dtype=jnp.bfloat16).apply({"params": params}, images)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(half, np.float32), expected, rtol=0.05, atol=0.2)
    assert "bias" not in jax.eval_shape(layer(5, use_bias=False).init, jax.random.key(0), images)["params"]
