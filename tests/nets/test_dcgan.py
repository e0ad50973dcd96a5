import jax
import numpy as np
import pytest

from jaxgan.nets import dcgan
from jaxgan.nets.adapt import adapt
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
