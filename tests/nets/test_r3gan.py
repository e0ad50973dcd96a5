import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from jaxgan.nets import r3gan
from jaxgan.nets.adapt import adapt

from ..contracts.programs import jit


def shapes(module, *inputs):
    return jax.eval_shape(adapt(module, *inputs).init, jax.random.key(0))["params"]


def size(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_parameter_counts_of_the_authors_presets():
    """CIFAR-10 (conditional) and FFHQ-64: cardinality 96 where a block has 1,536 channels inside, 48 where 768."""

    def blocks(channels, cardinality, count):
        inner = 2 * channels
        one = channels * inner + inner + 9 * (inner // cardinality) * inner + inner + inner * channels
        return count * one

    w, z = 768, 64
    made = shapes(r3gan.Generator((32, 32, 3), num_classes=10), (z,), ())
    assert size(made) == 10 * z + 2 * z * w + 16 * w + blocks(w, 96, 4 * 2) + 3 * w
    made = shapes(r3gan.Discriminator((32, 32, 3), num_classes=10), (32, 32, 3), ())
    assert size(made) == 3 * w + blocks(w, 96, 4 * 2) + 16 * w + w * w + 10 * w
    made = shapes(r3gan.Generator((64, 64, 3)), (z,))
    narrow = w // 2
    assert size(made) == z * w + 16 * w + blocks(w, 96, 8) + w * narrow + blocks(narrow, 48, 2) + 3 * narrow
    made = shapes(r3gan.Discriminator((64, 64, 3)), (64, 64, 3))
    assert size(made) == 3 * narrow + blocks(narrow, 48, 2) + narrow * w + blocks(w, 96, 8) + 16 * w + w


def test_sizes_and_widths():
    assert r3gan.sizes_of((28, 28, 1)) == [(7, 7), (14, 14), (28, 28)]
    assert r3gan.sizes_of((8, 12, 3)) == [(4, 6), (8, 12)]
    sizes = r3gan.sizes_of((256, 256, 3))
    assert r3gan.widths_of(sizes, 768, 32) == [768, 768, 768, 768, 384, 192, 96]
    for side in (7, 6):
        with pytest.raises(ValueError, match=f"at least 8 and even, got {side}x{side}"):
            r3gan.sizes_of((side, side, 1))
    with pytest.raises(ValueError, match="groups of 16 do not divide the 24 channels inside a block of 12"):
        shapes(r3gan.Generator((8, 8, 1), 12), (5,))


def test_weights_begin_at_the_scales_of_the_code():
    """sqrt(2 / 1.04) 8^(-1/4) over the root of the fan in, in a net of eight blocks; the last of each block zero."""
    net = adapt(r3gan.Discriminator((32, 32, 3), 32, group_width=16, num_classes=9), (32, 32, 3), ())
    params = jit(net.init)(jax.random.key(0))["params"]
    gain = np.sqrt(2 / 1.04) * 8**-0.25
    blocks = [value for name, value in params.items() if name.startswith("Block")]
    assert len(blocks) == 8
    for block in blocks:
        assert not np.any(block["Convolution_1"]["kernel"])
        assert not any(np.any(value["bias"]) for name, value in block.items() if name.startswith("Biased"))
        np.testing.assert_allclose(np.std(block["Convolution_0"]["kernel"]), gain / np.sqrt(32), rtol=0.1)
        np.testing.assert_allclose(np.std(block["GroupedConvolution_0"]["kernel"]), gain / np.sqrt(9 * 16), rtol=0.1)
    np.testing.assert_allclose(np.std(params["DiscriminativeBasis_0"]["basis"]), 1 / 4, rtol=0.15)
    np.testing.assert_allclose(np.std(params["Dense_1"]["kernel"]), 1 / np.sqrt(32 * 9), rtol=0.15)
    # so at the start a net is its skeleton: linear in the images
    x = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    label = jnp.array([1, 4])
    logit = jit(lambda x: net.apply({"params": params}, x, label)[0])
    np.testing.assert_allclose(logit(3.0 * x), 3.0 * logit(x), rtol=1e-4, atol=1e-5)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def block_by_hand(params, x, groups):
    """x [height, width, c]; one output channel after the other, by SciPy's correlation."""
    y = leaky(x @ params["Convolution_0"]["kernel"][0, 0] + params["BiasedActivation_0"]["bias"])
    kernel = params["GroupedConvolution_0"]["kernel"]
    inputs, outputs = kernel.shape[2], kernel.shape[3] // groups
    channels = []
    for k in range(kernel.shape[3]):
        first = (k // outputs) * inputs
        planes = [correlate2d(y[..., first + i], kernel[..., i, k], "same") for i in range(inputs)]
        channels.append(np.sum(planes, axis=0))
    y = leaky(np.stack(channels, -1) + params["BiasedActivation_1"]["bias"])
    return x + y @ params["Convolution_1"]["kernel"][0, 0]


def test_a_block_by_hand():
    module = r3gan.Block(expansion=2, group_width=3, blocks=1)
    x = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)
    params = module.init(jax.random.key(0), x)["params"]
    params = jax.tree.map(lambda p: 0.3 * jax.random.normal(jax.random.key(p.size), p.shape), params)
    host = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
    made = module.apply({"params": params}, x)
    np.testing.assert_allclose(made[0], block_by_hand(host, np.float64(x[0]), groups=4), rtol=1e-4, atol=1e-5)


def test_both_bases():
    z = jax.random.normal(jax.random.key(0), (3, 4))
    module = r3gan.GenerativeBasis(2, 3, 5)
    params = module.init(jax.random.key(1), z)["params"]
    expected = np.einsum("hwc,nz,zc->nhwc", params["basis"], z, params["Dense_0"]["kernel"])
    np.testing.assert_allclose(module.apply({"params": params}, z), expected, rtol=1e-5, atol=1e-5)
    x = jax.random.normal(jax.random.key(2), (3, 2, 3, 5))
    basis = jax.random.normal(jax.random.key(3), (2, 3, 5))
    made = r3gan.DiscriminativeBasis().apply({"params": {"basis": basis}}, x)
    np.testing.assert_allclose(made, np.einsum("nhwc,hwc->nc", x, basis), rtol=1e-5, atol=1e-5)


def test_a_class_is_an_inner_product():
    net = adapt(r3gan.Discriminator((8, 8, 1), 4, 1, group_width=4, num_classes=3), (8, 8, 1), ())
    variables = jit(net.init)(jax.random.key(0))
    x, label = jax.random.normal(jax.random.key(1), (3, 8, 8, 1)), jnp.array([2, 0, 2])
    (logit, features), _ = net.features(variables, x, label)
    params = variables["params"]
    expected = np.sum(features @ params["Dense_0"]["kernel"] * params["Dense_1"]["kernel"][label], axis=1)
    np.testing.assert_allclose(logit, expected, rtol=1e-4, atol=1e-5)


def test_images_are_clipped_in_use_only():
    net = adapt(r3gan.Generator((8, 8, 1), 4, 1, group_width=4), (5,))
    variables = jit(net.init)(jax.random.key(0))
    z = 100.0 * jax.random.normal(jax.random.key(1), (3, 5))
    raw, used = (net.apply(variables, z, train=train)[0] for train in (True, False))
    assert np.abs(raw).max() > 2
    np.testing.assert_array_equal(used, np.clip(raw, -1, 1))
