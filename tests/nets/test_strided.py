from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets import strided
from jaxgan.nets.adapt import adapt
from jaxgan.nets.layers import BatchNorm
from jaxgan.nets.strided import strided_convolution, strided_transposed_convolution

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
same = partial(
    jax.lax.conv_general_dilated, window_strides=(2, 2), padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
)


def draws(*shapes):
    return [np.random.default_rng(i).normal(size=shape).astype(np.float32) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize(("height", "width"), [(8, 6), (7, 4), (1, 3)])
def test_stride_2_and_its_adjoint_are_those_of_same_padding(k, height, width):
    """Against the compiler's strided convolution, and its transpose by differentiation, gradients included."""
    halved = (-(-height // 2), -(-width // 2))
    images, made, kernel = draws((4, height, width, 2), (4, *halved, 3), (k, k, 2, 3))

    def transposed(outputs, kernel):
        return jax.linear_transpose(lambda x: same(x, kernel.swapaxes(2, 3)), images)(outputs)[0]

    def checked(ours, theirs, x, kernel):
        def both(function):
            # of a sum of sines, whose gradients depend on the values
            return lambda *args: (function(*args), jax.grad(lambda *a: jnp.sum(jnp.sin(function(*a))), (0, 1))(*args))

        found, expected = (jax.tree.leaves(jit(both(f))(x, kernel)) for f in (ours, theirs))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
        return found[0].shape

    assert checked(strided_convolution, same, images, kernel) == made.shape
    ours = lambda x, kernel: strided_transposed_convolution(x, kernel, (height, width))  # noqa: E731
    assert checked(ours, transposed, made, kernel.swapaxes(2, 3)) == images.shape


def test_sizes_that_do_not_fit_are_refused():
    (kernel, even, images) = draws((3, 3, 2, 3), (4, 4, 2, 3), (1, 4, 4, 2))
    with pytest.raises(ValueError, match="3x3 or 5x5, got 4x4"):
        strided_convolution(images, even)
    with pytest.raises(ValueError, match="6x8 is not twice 4x4"):
        strided_transposed_convolution(images, kernel, (6, 8))


def kernels(module, shape):
    params = jax.eval_shape(adapt(module, shape).init, jax.random.key(0))["params"]
    return [(layer["kernel"].shape, "bias" in layer) for name, layer in sorted(params.items()) if "kernel" in layer]


def test_the_nets_of_table_3():
    assert kernels(strided.Generator((28, 28, 3), normalization=BatchNorm), (256,)) == [
        ((3, 3, 8, 3), True),
        ((256, 4 * 4 * 64), False),
        ((3, 3, 64, 32), False),
        ((3, 3, 32, 16), False),
        ((3, 3, 16, 8), False),
    ]
    assert kernels(strided.Discriminator((28, 28, 6), normalization=BatchNorm), (28, 28, 6)) == [
        ((4 * 4 * 8, 1), True),
        ((3, 3, 6, 2), False),
        ((3, 3, 2, 4), False),
        ((3, 3, 4, 8), False),
    ]


def test_the_nets_of_table_2():
    options = {"width": 64, "depth": 4, "kernel": 5, "normalization": BatchNorm}
    assert kernels(strided.Generator((28, 28, 3), full_resolution=False, **options), (100,)) == [
        ((100, 2 * 2 * 512), False),
        ((5, 5, 512, 256), False),
        ((5, 5, 256, 128), False),
        ((5, 5, 128, 64), False),
        ((5, 5, 64, 3), True),
    ]
    assert kernels(strided.Discriminator((28, 28, 3), first_normalized=False, **options), (28, 28, 3)) == [
        ((2 * 2 * 512, 1), True),
        ((5, 5, 3, 64), True),
        ((5, 5, 64, 128), False),
        ((5, 5, 128, 256), False),
        ((5, 5, 256, 512), False),
    ]


def test_the_slope_is_that_of_the_negative_side():
    """One linear layer behind one leaky ReLU: of an all-negative activation the logit is `slope` times as steep."""
    images = -np.abs(draws((3, 4, 4, 1))[0])
    steep = []
    for slope in (0.3, 0.1):
        net = adapt(strided.Discriminator((4, 4, 1), width=1, depth=1, slope=slope), (4, 4, 1))
        shapes = jax.eval_shape(net.init, jax.random.key(0))
        variables = jax.tree.map(lambda x: np.full(x.shape, float(x.ndim > 1), np.float32), shapes)
        steep.append(np.asarray(jit(net.apply)(variables, images)[0]))
    np.testing.assert_allclose(steep[0], 3 * steep[1], rtol=1e-5)
    assert (steep[0] < -1).all()
