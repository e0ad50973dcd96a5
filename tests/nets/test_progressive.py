from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets import progressive
from jaxgan.nets.adapt import adapt

from ..contracts.programs import jit

SHAPE = (8, 16, 2)
SIZES = [(4, 8), (8, 16)]


def nets(level, **options):
    """Generator and discriminator of that level with their parameters, biases not zero."""
    made = []
    for module, first in (
        (progressive.Generator(SHAPE, 3, level, **options), (5,)),
        (progressive.Discriminator(SHAPE, 3, level, group=2, **options), (*SIZES[level], 2)),
    ):
        net = adapt(module, first, *([()] if options.get("num_classes") else []))
        params = jit(net.init)(jax.random.key(level))["params"]
        leaves, structure = jax.tree.flatten(params)
        made += [net, jax.tree.unflatten(structure, [p + 0.1 * (i % 5 - 2) for i, p in enumerate(leaves)])]
    return made


def grown(old, new):
    return {**new, **{name: layer for name, layer in old.items() if name in new}}


def test_growing_changes_nothing_at_the_moment_it_happens():
    """At alpha 0 the net of the next level is the one before, and at alpha 1 its old ends have no part."""
    small_g, small_g_params, small_d, small_d_params = nets(0)
    large_g, large_g_params, large_d, large_d_params = nets(1)
    z, alpha = jax.random.normal(jax.random.key(0), (4, 5)), jnp.zeros(4)
    params = grown(small_g_params, large_g_params)
    before = small_g.apply({"params": small_g_params}, z)[0]
    apply = jit(lambda params, alpha: large_g.apply({"params": params}, z, None, alpha)[0])
    assert before.shape == (4, 4, 8, 2) and np.ptp(before, axis=0).max() > 0.1
    expected = np.repeat(np.repeat(before, 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(apply(params, alpha), expected, rtol=1e-5, atol=1e-5)
    new = apply(params, alpha + 1)
    assert np.abs(new - expected).max() > 0.1
    np.testing.assert_allclose(apply(params, alpha + 0.25), 0.25 * new + 0.75 * expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(large_g.apply({"params": params}, z)[0], new, rtol=1e-4, atol=1e-5)
    spoilt = {**params, "to_image_4": jax.tree.map(jnp.zeros_like, params["to_image_4"])}
    np.testing.assert_allclose(apply(spoilt, alpha + 1), new, rtol=1e-5, atol=1e-5)

    images = jax.random.normal(jax.random.key(1), (4, 8, 16, 2))
    params = grown(small_d_params, large_d_params)
    halves = np.asarray(images).reshape(4, 4, 2, 8, 2, 2).mean((2, 4))
    judge = jit(lambda params, alpha: large_d.apply({"params": params}, images, None, alpha)[0])
    before = small_d.apply({"params": small_d_params}, halves)[0]
    np.testing.assert_allclose(judge(params, alpha), before, rtol=1e-4, atol=1e-5)
    spoilt = {**params, "from_image_4": jax.tree.map(jnp.zeros_like, params["from_image_4"])}
    np.testing.assert_allclose(judge(spoilt, alpha + 1), judge(params, alpha + 1), rtol=1e-4, atol=1e-5)
    assert np.abs(judge(params, alpha + 1) - before).max() > 1e-3


def test_each_example_has_its_own_alpha():
    net, params, _, _ = nets(1)
    z = jax.random.normal(jax.random.key(0), (4, 5))
    apply = jit(lambda alpha: net.apply({"params": params}, z, None, alpha)[0])
    mixed, none, all_ = apply(jnp.array([0.0, 1.0, 0.0, 1.0])), apply(jnp.zeros(4)), apply(jnp.ones(4))
    np.testing.assert_array_equal(mixed[0::2], none[0::2])
    np.testing.assert_array_equal(mixed[1::2], all_[1::2])


def test_parameter_counts_of_the_paper():
    """Table 2 for 1024x1024: 23.1 million parameters in each net."""
    sizes = progressive.sizes_of((1024, 1024, 3))
    assert progressive.widths_of(sizes, 512, 32) == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    conv = lambda a, b, side=3: side * side * a * b + b  # noqa: E731
    widths = [512, 512, 512, 512, 256]
    for module, shape in ((progressive.Generator, (512,)), (progressive.Discriminator, (64, 64, 3))):
        made = jax.eval_shape(adapt(module((64, 64, 3)), shape).init, jax.random.key(0))["params"]
        pairs = list(pairwise(widths))
        if module is progressive.Generator:
            ends = 512 * 16 * 512 + 16 * 512 + conv(512, 512)
            blocks = sum(conv(a, b) + conv(b, b) for a, b in pairs)
        else:
            ends = conv(513, 512) + 16 * 512 * 512 + 512 + 512 + 1
            blocks = sum(conv(b, b) + conv(b, a) for a, b in pairs)
        images = [conv(c, 3, 1) if module is progressive.Generator else conv(3, c, 1) for c in (256, 512)]
        assert sum(leaf.size for leaf in jax.tree.leaves(made)) == ends + blocks + sum(images)


def test_the_level_stands_in_the_names_of_the_layers():
    for level in (0, 1):
        _, generator, _, _ = nets(level)
        assert progressive.level_of(generator, SHAPE) == level
    made = jax.eval_shape(adapt(progressive.Generator((28, 28, 1), 2), (5,)).init, jax.random.key(0))["params"]
    assert {name for name in made if "7" in name or "_14" in name} == {
        "dense_7", "convolution_7", "doubling_14", "convolution_14", "to_image_14",
    }  # fmt: skip
    beyond = adapt(progressive.Generator(SHAPE, 3, 2), (5,))
    with pytest.raises(ValueError, match="8x16 have the levels 0 to 1, got 2"):
        jax.eval_shape(beyond.init, jax.random.key(0))


def test_first_and_last_layers_by_hand():
    """Level 0 for one position: what the gains are, where pixels are normalized, and what D is told of the group."""
    generator, params, _, _ = nets(0, num_classes=3)
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
    z, label = np.random.default_rng(0).normal(size=(2, 5)), np.array([2, 0])

    def norm(x):
        return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-8)

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x)

    x = norm(np.concatenate([z, np.eye(3)[label] * np.sqrt(5)], 1)) @ params["dense_4"]["kernel"] * np.sqrt(2 / 8) / 4
    x = norm(leaky(x + params["dense_4"]["bias"]).reshape(2, 4, 8, 3))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    kernel = params["convolution_4"]["kernel"] * np.sqrt(2 / 27)
    x = norm(leaky(np.einsum("nhwcij,ijcd->nhwd", windows, kernel) + params["convolution_4"]["bias"]))
    expected = x @ params["to_image_4"]["kernel"][0, 0] / np.sqrt(3) + params["to_image_4"]["bias"]
    made = generator.apply({"params": jax.tree.map(jnp.float32, params)}, jnp.float32(z), jnp.asarray(label))[0]
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_groups_divide_the_batch():
    sizes = [progressive.group_size(batch, most) for batch, most in ((64, 4), (6, 4), (2, 4), (6, 16), (7, 4))]
    assert sizes == [4, 3, 2, 6, 1]
