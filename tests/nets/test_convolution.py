from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets import convolution
from jaxgan.nets.convolution import (
    Convolution,
    DownsamplingConvolution,
    PooledConvolution,
    UpsampledConvolution,
    UpsamplingConvolution,
    ValidConvolution,
    downsampling_convolution,
    pooled_convolution,
    upsampled_convolution,
    upsampling_convolution,
    valid_convolution,
)

FAST = {"xla_backend_optimization_level": 0}
LAYOUT = ("NHWC", "HWIO", "NHWC")


def transposed(images, kernel):
    return jax.lax.conv_transpose(images, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT)


def strided(images, kernel):
    return jax.lax.conv_general_dilated(images, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)


def same(images, kernel):
    return jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT)


def transposed_3x3(images, kernel):
    return transposed(images, jnp.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0))))


def strided_3x3(images, kernel):
    return strided(images, jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0))))


def valid(images, kernel):
    return jax.lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=LAYOUT)


def doubled_first(images, kernel):
    return same(jnp.repeat(jnp.repeat(images, 2, axis=1), 2, axis=2), kernel)


def pooled_last(images, kernel):
    outputs = same(images, kernel)
    batch, height, width, features = outputs.shape
    return outputs.reshape(batch, height // 2, 2, width // 2, 2, features).mean((2, 4))


# the public functions, and whichever of their forms this machine does not choose
FORMS = [
    (convolution.convolution, same),
    (convolution._same_on_cpu, same),
    (convolution._same_as_convolution, same),
    (upsampled_convolution, doubled_first),
    (pooled_convolution, pooled_last),
    (upsampling_convolution, transposed),
    (convolution._upsampling_on_cpu, transposed),
    (convolution._upsampling_as_convolution, transposed),
    (downsampling_convolution, strided),
    (convolution._downsampling_on_cpu, strided),
    (convolution._downsampling_as_convolution, strided),
    (upsampling_convolution, transposed_3x3),
    (convolution._upsampling_on_cpu, transposed_3x3),
    (convolution._upsampling_as_convolution, transposed_3x3),
    (downsampling_convolution, strided_3x3),
    (convolution._downsampling_on_cpu, strided_3x3),
    (convolution._downsampling_as_convolution, strided_3x3),
    (valid_convolution, valid),
    (convolution._valid_on_cpu, valid),
]
every_form = pytest.mark.parametrize(("form", "reference"), FORMS, ids=lambda f: f.__name__)


SIZES = {
    transposed: (4, 4),
    strided: (4, 4),
    valid: (1, 2),
    **dict.fromkeys((same, transposed_3x3, strided_3x3, doubled_first, pooled_last), (3, 3)),
}


def case(height, width, features_in=3, features_out=2, size=(4, 4)):
    # a batch that divides into parts; test_kernels_of_other_odd_sizes has one that does not
    images = jax.random.normal(jax.random.key(0), (convolution.PARTS, height, width, features_in))
    return images, jax.random.normal(jax.random.key(1), (*size, features_in, features_out))


def derivatives(convolve, weight):
    """Of first order, and of the squared norm of the first: a gradient penalty on images and on kernels."""

    def first(x, k):
        return jax.grad(lambda x, k: jnp.sum(weight * jnp.sin(convolve(x, k))), (0, 1))(x, k)

    def second(x, k):
        return jax.grad(lambda x, k: sum(jnp.sum(jnp.square(g)) for g in first(x, k)), (0, 1))(x, k)

    return lambda x, k: jax.tree.leaves((first(x, k), second(x, k)))


def assert_close(results, expected):
    for a, b in zip(results, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(jnp.abs(b).max()))


@every_form
@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 4), (14, 14), (4, 6)])
def test_equals_the_compilers_convolution(form, reference, height, width):
    images, kernel = case(height, width, size=SIZES[reference])
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
    expected = np.zeros((len(images), 2, 3, 2))
    for i in range(2):
        for j in range(3):
            expected[:, i, j] = np.einsum("nabc,abcd->nd", padded[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4], kernel)
    np.testing.assert_allclose(downsampling_convolution(*case(4, 6)), expected, rtol=1e-4, atol=1e-5)


@every_form
# few channels and many take different forms
@pytest.mark.parametrize("features", [(3, 2), (6, 5)])
def test_gradients_of_first_and_second_order_are_equal_too(form, reference, features):
    images, kernel = case(4, 2, *features, size=SIZES[reference])
    weight = jax.random.normal(jax.random.key(2), reference(images, kernel).shape)
    results, expected = (
        jax.jit(derivatives(f, weight), compiler_options=FAST)(images, kernel) for f in (form, reference)
    )
    assert_close(results, expected)


@every_form
def test_a_population_of_kernels_is_one_kernel_after_another(form, reference):
    images, kernel = case(4, 2, size=SIZES[reference])
    kernels = jnp.stack([kernel, 2.0 * kernel[::-1], kernel - 1.0])
    batches = jnp.stack([images, images + 0.5, -images])
    weight = jax.random.normal(jax.random.key(2), reference(images, kernel).shape)
    population = jax.jit(jax.vmap(derivatives(form, weight)), compiler_options=FAST)(batches, kernels)
    single = jax.jit(derivatives(reference, weight), compiler_options=FAST)
    for i in range(3):
        assert_close([leaf[i] for leaf in population], single(batches[i], kernels[i]))
    shared = jax.jit(jax.vmap(form, (None, 0)), compiler_options=FAST)(images, kernels)
    assert_close(shared, [reference(images, k) for k in kernels])


@every_form
def test_gradients_inside_a_compiled_loop(form, reference):
    images, kernel = case(4, 4, size=SIZES[reference])

    def descend(convolve):
        def body(_, k):
            return k - 0.01 * jax.grad(lambda k: jnp.sum(jnp.square(convolve(images, k))))(k)

        return jax.jit(lambda k: jax.lax.fori_loop(0, 3, body, k), compiler_options=FAST)(kernel)

    np.testing.assert_allclose(descend(form), descend(reference), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (5, 3)])
def test_kernels_of_other_odd_sizes(size):
    images, kernel = case(5, 4, size=size)
    images = jnp.concatenate([images, images[:1] - 1.0])
    weight = jax.random.normal(jax.random.key(2), (len(images), 5, 4, 2))
    results, expected = (
        jax.jit(derivatives(f, weight), compiler_options=FAST)(images, kernel) for f in (convolution.convolution, same)
    )
    assert_close(results, expected)


@pytest.mark.parametrize("size", [(7, 7), (4, 4), (5, 2), (1, 1)])
def test_kernels_of_any_sides_inside_of_a_picture(size):
    images, kernel = case(8, 7, size=size)
    weight = jax.random.normal(jax.random.key(2), valid(images, kernel).shape)
    results, expected = (
        jax.jit(derivatives(f, weight), compiler_options=FAST)(images, kernel) for f in (valid_convolution, valid)
    )
    assert_close(results, expected)
    with pytest.raises(ValueError, match="7x9 does not fit into 8x7"):
        valid_convolution(images, jnp.ones((7, 9, 3, 2)))


def test_doubling_is_the_adjoint_of_halving():
    for side in (3, 4):
        images, kernel = case(6, 4, size=(side, side))
        outputs = jax.random.normal(jax.random.key(3), (len(images), 3, 2, 2))
        up = upsampling_convolution(outputs, kernel[::-1, ::-1].swapaxes(2, 3))
        np.testing.assert_allclose(
            jnp.vdot(downsampling_convolution(images, kernel), outputs), jnp.vdot(images, up), rtol=1e-4
        )


def test_what_has_no_middle_or_no_half_is_refused():
    images, kernel = case(4, 4)
    with pytest.raises(ValueError, match="odd sides, got 4x4"):
        convolution.convolution(images, kernel)
    for merged in (upsampled_convolution, pooled_convolution):
        with pytest.raises(ValueError, match="3x3 kernels"):
            merged(images, kernel)
    with pytest.raises(ValueError, match="even sides are halved, got 4x3"):
        downsampling_convolution(images[:, :, :3], kernel)
    for strides in (downsampling_convolution, upsampling_convolution):
        with pytest.raises(ValueError, match="4x4 or 3x3, got 5x4"):
            strides(images, jnp.ones((5, 4, 3, 2)))


@pytest.mark.parametrize(
    ("layer", "reference"),
    [
        (UpsamplingConvolution, transposed),
        (DownsamplingConvolution, strided),
        (Convolution, same),
        (partial(UpsamplingConvolution, kernel_size=(3, 3)), transposed_3x3),
        (partial(DownsamplingConvolution, kernel_size=(3, 3)), strided_3x3),
        (partial(ValidConvolution, kernel_size=(4, 2)), valid),
        (partial(Convolution, kernel_size=(1, 1)), same),
        (UpsampledConvolution, doubled_first),
        (PooledConvolution, pooled_last),
    ],
)
def test_the_layer_is_the_function_and_a_bias(layer, reference):
    size = layer.keywords["kernel_size"] if isinstance(layer, partial) else SIZES[reference]
    images, kernel = case(4, 4, 3, 5, size)
    shapes = jax.eval_shape(layer(5, dtype=jnp.bfloat16).init, jax.random.key(0), images)["params"]
    assert {name: (p.shape, p.dtype.name) for name, p in shapes.items()} == {
        "kernel": ((*size, 3, 5), "float32"),
        "bias": ((5,), "float32"),
    }
    params = {"kernel": kernel, "bias": jnp.arange(5.0)}
    expected = reference(images, kernel) + np.arange(5.0, dtype=np.float32).reshape(1, 1, 1, 5)
    np.testing.assert_allclose(layer(5).apply({"params": params}, images), expected, rtol=1e-5, atol=1e-5)
    half = layer(5, dtype=jnp.bfloat16).apply({"params": params}, images)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(half, np.float32), expected, rtol=0.05, atol=0.2)
    assert "bias" not in jax.eval_shape(layer(5, use_bias=False).init, jax.random.key(0), images)["params"]


def block_diagonal(kernel, groups):
    channels, features = kernel.shape[2], kernel.shape[3] // groups
    blocks = []
    for g in range(groups):
        around = (channels * g, channels * (groups - 1 - g))
        blocks.append(jnp.pad(kernel[..., g * features : (g + 1) * features], ((0, 0), (0, 0), around, (0, 0))))
    return jnp.concatenate(blocks, axis=-1)


GROUPED = [convolution.grouped_convolution, convolution._grouped_on_cpu, convolution._grouped_as_convolution]


@pytest.mark.parametrize("form", GROUPED, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("groups", "size"), [(2, (3, 3)), (3, (3, 3)), (2, (1, 1)), (1, (5, 3))])
def test_groups_are_blocks_on_the_diagonal(form, groups, size):
    """At second order too, which R1 needs: the block-diagonal kernel as a function of its blocks."""
    images, _ = case(4, 5, 2 * groups)
    kernel = jax.random.normal(jax.random.key(1), (*size, 2, 3 * groups))
    weight = jax.random.normal(jax.random.key(2), (len(images), 4, 5, 3 * groups))
    own, dense = (lambda x, k: form(x, k, groups)), (lambda x, k: same(x, block_diagonal(k, groups)))
    np.testing.assert_allclose(own(images, kernel), dense(images, kernel), rtol=1e-5, atol=1e-5)
    results, expected = (jax.jit(derivatives(f, weight), compiler_options=FAST)(images, kernel) for f in (own, dense))
    assert_close(results, expected)


def test_groups_that_do_not_divide_are_refused():
    images, kernel = case(4, 4, 6)
    with pytest.raises(ValueError, match=r"2 groups of a kernel for 6 channels see 12 .* got 6 channels"):
        convolution.grouped_convolution(images, kernel, 2)
    with pytest.raises(ValueError, match="6 channels do not divide into 4 groups"):
        jax.eval_shape(convolution.GroupedConvolution(8, groups=4).init, jax.random.key(0), images)
    params = jax.eval_shape(convolution.GroupedConvolution(9, groups=3).init, jax.random.key(0), images)["params"]
    assert params["kernel"].shape == (3, 3, 2, 9) and params["bias"].shape == (9,)
