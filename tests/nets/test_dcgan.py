from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets import dcgan
from jaxgan.nets.adapt import adapt, num_features
from jaxgan.nets.layers import BatchNorm


@pytest.mark.parametrize(
    ("height", "width", "depth"),
    [(64, 64, 4), (32, 32, 3), (28, 28, 2), (8, 8, 2), (4, 4, 1), (8, 12, 2), (6, 6, 1), (128, 64, 4)],
)
def test_default_depth(height, width, depth):
    assert dcgan.default_depth(height, width) == depth


@pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 7), (2, 2), (0, 0)])
def test_pictures_that_cannot_be_halved_are_refused(height, width):
    with pytest.raises(ValueError, match=f"{height}x{width}"):
        dcgan.default_depth(height, width)


def kernels(module, shape):
    params = jax.eval_shape(adapt(module, shape).init, jax.random.key(0))["params"]
    layers = [layer for layer in params.values() if "kernel" in layer]
    return sorted(((layer["kernel"].shape, "bias" in layer) for layer in layers), key=lambda made: len(made[0]))


def test_channels_double_towards_the_latent_up_to_the_limit():
    made = [shape for shape, _ in kernels(dcgan.Generator((32, 32, 3), 8, max_width=16), (5,)) if len(shape) == 4]
    assert made == [(4, 4, 16, 16), (4, 4, 16, 8), (4, 4, 8, 3)]
    seen = [s for s, _ in kernels(dcgan.Discriminator((32, 32, 3), 8, max_width=16), (32, 32, 3)) if len(s) == 4]
    assert seen == [(4, 4, 3, 8), (4, 4, 8, 16), (4, 4, 16, 16)]


def test_normalized_layers_have_no_bias_of_their_own_and_the_first_and_last_are_not_normalized():
    generator = kernels(dcgan.Generator((8, 8, 1), 4, normalization=BatchNorm), (5,))
    assert generator == [((5, 32), False), ((4, 4, 8, 4), False), ((4, 4, 4, 1), True)]
    discriminator = kernels(dcgan.Discriminator((8, 8, 1), 4, normalization=BatchNorm), (8, 8, 1))
    assert discriminator == [((32, 1), True), ((4, 4, 1, 4), True), ((4, 4, 4, 8), False)]


def test_weights_begin_as_the_paper_says():
    net = adapt(dcgan.Discriminator((8, 8, 3), 32), (8, 8, 3))
    init = jax.jit(net.init, compiler_options={"xla_backend_optimization_level": 0})
    leaves = jax.tree.leaves(init(jax.random.key(0))["params"])
    assert len(leaves) == 6
    for leaf in leaves:
        if leaf.ndim > 1:
            assert abs(float(leaf.mean())) < 2e-3
            np.testing.assert_allclose(leaf.std(), 0.02, rtol=0.1)
        else:
            assert not np.any(leaf)


def test_images_and_the_class_beside_them_as_constant_channels():
    """D of the pair on 4 classes equals an unconditional D on images with 4 more channels."""
    images = jax.random.uniform(jax.random.key(0), (3, 8, 8, 2), minval=-1.0)
    label = jnp.array([2, 0, 3])
    pair, plain = dcgan.Discriminator((8, 8, 2), 4, num_classes=4, projection=False), dcgan.Discriminator((8, 8, 6), 4)
    maps = np.broadcast_to(np.eye(4, dtype=np.float32)[np.asarray(label)][:, None, None], (3, 8, 8, 4))
    seen = jnp.concatenate([images, maps], axis=-1)
    jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    variables = jit(plain.init)(jax.random.key(1), seen)
    judged = jit(pair.apply)(variables, images, label)
    np.testing.assert_allclose(judged, jit(plain.apply)(variables, seen), rtol=1e-5)
    assert not np.allclose(jit(pair.apply)(variables, images, label[::-1]), judged)


def test_spectral_normalization_and_options_keep_the_names_of_the_parameters():
    """A run of before loads: the names and shapes are those of the plain nets."""
    shapes = lambda module, *inputs: jax.eval_shape(adapt(module, *inputs).init, jax.random.key(0))["params"]  # noqa: E731
    for net, inputs in ((dcgan.Generator, (5,)), (dcgan.Discriminator, (8, 8, 1))):
        plain = shapes(net((8, 8, 1), 4, num_classes=3), inputs, ())
        assert shapes(net((8, 8, 1), 4, num_classes=3, spectral=True, dropout=0.2), inputs, ()) == plain
    expected = {
        "Dense_0": {"kernel": (16, 1), "bias": (1,)},
        "Dense_1": {"kernel": (3, 16)},
        "DownsamplingConvolution_0": {"kernel": (4, 4, 1, 2), "bias": (2,)},
        "DownsamplingConvolution_1": {"kernel": (4, 4, 2, 4), "bias": (4,)},
    }
    made = shapes(dcgan.Discriminator((8, 8, 1), 2, num_classes=3), (8, 8, 1), ())
    assert jax.tree.map(lambda leaf: leaf.shape, made) == expected


def test_a_dense_layer_at_the_small_end_as_in_infogan():
    """The nets of Chen et al. 2016, arXiv 1606.03657, appendix C.1, by their sizes."""
    generator = dcgan.Generator((28, 28, 1), 64, normalization=BatchNorm, dense=1024)
    made = kernels(generator, (74,))
    assert made[:2] == [((74, 1024), False), ((1024, 7 * 7 * 128), False)]
    discriminator = dcgan.Discriminator((28, 28, 1), 64, normalization=BatchNorm, dense=1024)
    seen = kernels(discriminator, (28, 28, 1))
    assert [shape for shape, _ in seen] == [(7 * 7 * 128, 1024), (1024, 1), (4, 4, 1, 64), (4, 4, 64, 128)]
    assert [bias for _, bias in seen] == [False, True, True, False]
    assert num_features(adapt(discriminator, (28, 28, 1)), (28, 28, 1)) == 1024


@pytest.mark.parametrize("slope", [0.2, 0.01])
def test_the_slope_is_that_of_every_rectifier(slope):
    """Biased so that all activations are negative, each of three layers multiplies them by the slope."""
    size = (8, 8, 1)
    net = adapt(dcgan.Discriminator(size, 2, slope=slope, dense=3), size)
    variables = jax.eval_shape(net.init, jax.random.key(0))
    filled = {
        name: {kind: jnp.full(leaf.shape, -1.0 if kind == "bias" else 0.0) for kind, leaf in layer.items()}
        for name, layer in variables["params"].items()
    }
    features = net.features({"params": filled}, jnp.zeros((2, *size)))[0][1]
    np.testing.assert_allclose(features, -slope, rtol=1e-6)
    # kernels of one sum the inputs of a layer, and its bias is none
    passed = {
        name: {kind: jnp.full(leaf.shape, 0.0 if kind == "bias" else 1.0) for kind, leaf in layer.items()}
        for name, layer in variables["params"].items()
    }
    plus, minus = (net.features({"params": passed}, jnp.full((2, *size), x))[0][1] for x in (1.0, -1.0))
    np.testing.assert_allclose(minus, -(slope**3) * plus, rtol=1e-4)
