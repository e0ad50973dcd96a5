from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets.adapt import adapt
from jaxgan.nets.layers import BatchNorm, InstanceNorm
from jaxgan.nets.padding import zero_pad
from jaxgan.nets.translation import (
    PatchSampleMLP,
    ResNetTranslator,
    SuperResolver,
    UNet,
    pixel_shuffle,
    unet_depth,
)

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def images(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32))


def lively(net, seed=0):
    """Variables with kernels large enough for what goes in to be seen in what comes out."""
    draw = np.random.default_rng(seed)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    kernel = lambda leaf: draw.normal(size=leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))  # noqa: E731
    return jax.tree.map(
        lambda leaf: np.asarray(kernel(leaf) if leaf.ndim > 1 else leaf.shape and np.ones(leaf.shape), np.float32),
        shapes,
    )


@pytest.mark.parametrize(
    ("height", "width", "depth"),
    [
        (256, 256, 8),
        (512, 1024, 8),
        (64, 64, 6),
        (32, 48, 5),
        (28, 28, 4),
        (35, 51, 5),
        (8, 8, 3),
        (3, 9, 1),
        (1, 1, 1),
    ],
)
def test_unet_depth(height, width, depth):
    assert unet_depth(height, width) == depth
    padded = -(-min(height, width) // 2**depth) * 2**depth
    assert padded // 2**depth in ((1, 2) if max(height, width) < 512 else (2,))


NETS = {
    "unet": UNet(2, depth=4, width=4),
    "shallow": UNet(2, depth=1, width=4),
    "residual": ResNetTranslator(2, width=4, blocks=1),
    "three": ResNetTranslator(2, width=4, blocks=1, halvings=3, kernel=4, normalization=BatchNorm),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("size", [(35, 51), (28, 28), (5, 3)], ids=str)
def test_a_picture_of_any_size_keeps_it(name, size):
    """And with the variables made for pictures of one size: none of them depends on it."""
    net = adapt(NETS[name], (16, 16, 3))
    apply = lambda v, x: net.apply(v, x, train=False)[0]  # noqa: E731
    made = jax.eval_shape(apply, jax.eval_shape(net.init, jax.random.key(0)), images(2, *size, 3))
    assert made.shape == (2, *size, 2) and made.dtype == jnp.float32


def test_any_size_is_the_padded_picture_cut_out():
    for module in (UNet(2, depth=3, width=4), ResNetTranslator(2, width=4, blocks=1, halvings=3)):
        net = adapt(module, (16, 16, 3))
        variables, x = lively(net), images(2, 11, 14, 3)
        whole = np.pad(x, ((0, 0), (2, 3), (1, 1), (0, 0)), mode="reflect")
        apply = jit(lambda x, net=net, v=variables: net.apply(v, x, train=False)[0])
        np.testing.assert_allclose(apply(x), apply(whole)[:, 2:13, 1:15], atol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_super_resolution_enlarges_pictures_of_any_size(factor):
    net = adapt(SuperResolver(1, width=2, blocks=1, factor=factor), (6, 6, 3))
    apply = lambda v, x: net.apply(v, x, train=False)[0]  # noqa: E731
    made = jax.eval_shape(apply, jax.eval_shape(net.init, jax.random.key(0)), images(2, 7, 5, 3))
    assert made.shape == (2, 7 * factor, 5 * factor, 1)


def test_the_noise_of_a_unet_is_its_key_in_training_and_in_use():
    net = adapt(UNet(2, depth=3, width=4), (8, 8, 3))
    variables, x = lively(net), images(3, 8, 8, 3)
    apply = jit(lambda key, train: net.apply(variables, x, key=key, train=train)[0], static_argnums=1)
    first, second = jax.random.split(jax.random.key(0))
    for train in (True, False):
        assert np.abs(apply(first, train) - apply(second, train)).max() > 1e-2
        np.testing.assert_array_equal(apply(first, train), apply(first, train))
        # without a key there is none, which is the net without dropout
        plain = adapt(UNet(2, depth=3, width=4, dropout=0.0), (8, 8, 3))
        without = jit(lambda train=train: net.apply(variables, x, train=train)[0])()
        expected = jit(lambda key, train=train, plain=plain: plain.apply(variables, x, key=key, train=train)[0])(first)
        np.testing.assert_array_equal(without, expected)
    np.testing.assert_array_equal(apply(first, True), apply(first, False))


@pytest.mark.parametrize(("depth", "count"), [(1, 0), (2, 1), (3, 2), (6, 3)])
def test_dropout_is_in_the_first_three_doublings_and_never_in_the_last(depth, count):
    net = adapt(UNet(1, depth=depth, width=2), (2**depth, 2**depth, 1))
    x = images(1, 2**depth, 2**depth, 1)
    variables = jax.eval_shape(net.init, jax.random.key(0))
    program = jax.make_jaxpr(lambda v, key: net.apply(v, x, key=key)[0])(variables, jax.random.key(0))
    # each mask is drawn once from a key of its own
    assert str(program).count("random_bits[") == count


def test_translator_shows_the_maps_of_contrastive_translation():
    """Of nine blocks the first and the fifth, behind the picture and both halvings."""
    net = adapt(ResNetTranslator(2, width=4, blocks=9), (28, 28, 3))
    variables, x = lively(net), images(2, 28, 28, 3)
    (output, maps), changed = jit(net.features)(variables, x)
    assert [m.shape for m in maps] == [(2, 28, 28, 3), (2, 14, 14, 8), (2, 7, 7, 16), (2, 7, 7, 16), (2, 7, 7, 16)]
    assert not changed and all(m.dtype == jnp.float32 for m in maps)
    np.testing.assert_array_equal(maps[0], x)
    np.testing.assert_array_equal(output, jit(net.apply)(variables, x)[0])

    # what is behind a map does not move it, and what is in front of it does
    def moved(layer):
        params = {**variables["params"], layer: jax.tree.map(lambda leaf: 1.5 * leaf[::-1], variables["params"][layer])}
        other = jit(net.features)({"params": params}, x)[0][1]
        return [not np.array_equal(a, b) for a, b in zip(maps, other, strict=True)]

    assert moved("ValidConvolution_0") == [False, True, True, True, True]
    assert moved("DownsamplingConvolution_1") == [False, False, True, True, True]
    assert moved("ResidualBlock_0") == [False, False, False, True, True]
    assert moved("ResidualBlock_4") == [False, False, False, False, True]
    assert moved("ResidualBlock_5") == [False] * 5


@pytest.mark.parametrize(("blocks", "halvings", "count"), [(1, 2, 4), (2, 1, 4), (3, 0, 3)])
def test_maps_of_smaller_translators(blocks, halvings, count):
    net = adapt(ResNetTranslator(2, width=2, blocks=blocks, halvings=halvings), (8, 8, 3))
    maps = jax.eval_shape(lambda key: net.features(net.init(key), jnp.zeros((2, 8, 8, 3)))[0][1], jax.random.key(0))
    assert len(maps) == count


def test_a_program_of_maps_alone_computes_nothing_behind_them():
    # with more channels, lest the last doubling be a matrix product
    net = adapt(ResNetTranslator(2, width=8, blocks=4), (16, 16, 3))
    variables, x = lively(net), images(2, 16, 16, 3)

    def convolutions(function):
        return jax.jit(function).lower(variables, x).compile().as_text().count(" convolution(")

    output = convolutions(lambda v, x: net.apply(v, x)[0])
    maps = convolutions(lambda v, x: net.features(v, x)[0][1])
    assert output == 1 + 2 + 2 * 4 + 2 + 1
    assert maps == 1 + 2 + 2 * 3  # to the third of four blocks
    assert convolutions(lambda v, x: net.features(v, x)[0]) == output


def test_a_translator_of_reflections_sees_neither_brightness_nor_contrast():
    net = adapt(ResNetTranslator(2, width=4, blocks=1), (16, 16, 3))
    variables, x = lively(net), images(2, 16, 16, 3)
    apply = jit(lambda x: net.apply(variables, x)[0])
    np.testing.assert_allclose(apply(0.5 * x - jnp.array([0.3, -0.1, 0.2]).reshape(1, 1, 1, 3)), apply(x), atol=1e-3)


def test_the_label_may_be_attributes():
    net = adapt(ResNetTranslator(2, width=4, blocks=1, num_domains=3, first_normalized=False), (8, 8, 3), ())
    variables, x, label = lively(net), images(3, 8, 8, 3), jnp.array([2, 0, 1])
    apply = jit(lambda label: net.apply(variables, x, label)[0])
    np.testing.assert_array_equal(apply(jax.nn.one_hot(label, 3)), apply(label))
    np.testing.assert_array_equal(apply(jax.nn.one_hot(label, 3, dtype=jnp.int32)), apply(label))
    both = apply(jnp.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    assert np.abs(both - apply(label))[0].max() > 1e-3
    np.testing.assert_allclose(both[1:], apply(label)[1:], atol=1e-5)
    with pytest.raises(ValueError, match=r"attributes are \[batch, 3\], got \(3, 2\)"):
        apply(jnp.zeros((3, 2)))


@pytest.mark.parametrize(
    "options",
    [
        {"padding": zero_pad},
        {"padding": zero_pad, "first_normalized": False},
        {"first_normalized": False},
        {"normalization": BatchNorm},
    ],
    ids=["zero padding", "zero padding, first not normalized", "first not normalized", "batch"],
)
def test_a_label_acts_in_the_middle_of_the_picture_or_is_refused(options):
    net = adapt(ResNetTranslator(2, width=4, blocks=1, halvings=0, num_domains=2, **options), (32, 32, 3), ())
    variables, x = lively(net), images(2, 32, 32, 3)
    # the middle of the activations behind the first layer and a block
    behind = jit(lambda label: net.features(variables, x, label)[0][1][1][:, 14:18, 14:18])
    moved = np.abs(behind(jnp.array([0, 1])) - behind(jnp.array([0, 0]))).max(axis=(1, 2, 3))
    assert moved[1] > 0.1
    blind = ResNetTranslator(2, num_domains=2)
    for module in (blind, blind.copy(normalization=partial(InstanceNorm, affine=True))):
        with pytest.raises(ValueError, match="removes the label"):
            jax.eval_shape(adapt(module, (8, 8, 3), ()).init, jax.random.key(0))


def test_pixel_shuffle_lays_channels_out_row_by_row():
    x = np.arange(2 * 1 * 3 * 8.0).reshape(2, 1, 3, 8)
    expected = np.zeros((2, 2, 6, 2))
    for i in range(2):
        for j in range(2):
            expected[:, i::2, j::2] = x[..., 2 * (2 * i + j) : 2 * (2 * i + j) + 2]
    np.testing.assert_array_equal(pixel_shuffle(jnp.asarray(x)), expected)
    with pytest.raises(ValueError, match="four times the channels, got 6"):
        pixel_shuffle(jnp.zeros((1, 2, 2, 6)))


def test_samples_become_unit_vectors_with_finite_gradients_even_of_nothing():
    net = adapt(PatchSampleMLP(5), (4, 3), (2, 6))
    samples = images(2, 4, 3), images(2, 2, 6, seed=1)
    vectors = net.apply(lively(net), *samples)[0]
    for x, v in zip(samples, vectors, strict=True):
        assert v.shape == (*x.shape[:2], 5) and v.dtype == jnp.float32
        np.testing.assert_allclose(jnp.sum(v**2, axis=-1), 1.0, rtol=1e-5)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(net.init, jax.random.key(0)))
    gradients = jax.grad(lambda v: sum(jnp.sum(x) for x in net.apply(v, *samples)[0]))(zeros)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))


def test_published_sizes():
    """Counts of the authors' codes, but for biases: normalized layers have none here, and all others have one."""

    def count(module, *shapes):
        return sum(x.size for x in jax.tree.leaves(jax.eval_shape(adapt(module, *shapes).init, jax.random.key(0))))

    cyclegan = count(ResNetTranslator(3), (256, 256, 3))
    assert cyclegan == 11_378_179 - (64 + 128 + 256 + 18 * 256 + 128 + 64)
    pix2pix = count(UNet(3, depth=8, normalization=partial(InstanceNorm, affine=True)), (256, 256, 3))
    assert pix2pix == 54_413_955 + 64 + 512
    affine = partial(InstanceNorm, affine=True)
    stargan = ResNetTranslator(3, blocks=6, num_domains=5, padding=zero_pad, kernel=4, normalization=affine)
    assert count(stargan, (128, 128, 3), ()) == 8_430_528 + 3


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (UNet(3, depth=0), "at least once, got depth 0"),
        (ResNetTranslator(3, blocks=0), "a block or more .* got 0 and 2"),
        (ResNetTranslator(3, halvings=-1), "got 9 and -1"),
        (SuperResolver(3, factor=3), "doublings, got a factor of 3"),
        (ResNetTranslator(3, kernel=5), "4x4 or 3x3, got 5x5"),
    ],
)
def test_what_is_no_net_is_refused(module, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(adapt(module, (8, 8, 3)).init, jax.random.key(0))
