from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.game import Player, init_state, make_step
from jaxgan.games.two_player import gradient_penalty, two_player
from jaxgan.losses.adversarial import least_squares
from jaxgan.losses.penalties import r1
from jaxgan.nets import mlp
from jaxgan.nets.adapt import adapt, num_features
from jaxgan.nets.heads import Linear
from jaxgan.nets.layers import BatchNorm, InstanceNorm
from jaxgan.nets.patch import PatchDiscriminator, patch_layers

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def images(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32))


def lively(net, seed=0):
    draw = np.random.default_rng(seed)
    fill = lambda leaf: np.float32(draw.normal(size=leaf.shape) * (np.sqrt(2 / max(1, np.prod(leaf.shape[:-1])))))  # noqa: E731
    return jax.tree.map(fill, jax.eval_shape(net.init, jax.random.key(0)))


@pytest.mark.parametrize(
    ("height", "width", "layers", "logits"),
    [
        (256, 256, 3, (32, 32)),
        (32, 40, 3, (4, 5)),
        (28, 28, 2, (7, 7)),
        (16, 64, 2, (4, 16)),
        (8, 8, 1, (4, 4)),
        (3, 5, 1, (2, 3)),
        (1, 1, 1, (1, 1)),
    ],
)
def test_pictures_of_any_size_have_logits(height, width, layers, logits):
    assert patch_layers(height, width) == layers
    net = adapt(PatchDiscriminator(2, layers, InstanceNorm), (height, width, 3))
    judge = lambda key: net.apply(net.init(key), jnp.zeros((5, height, width, 3)))[0]  # noqa: E731
    output = jax.eval_shape(judge, jax.random.key(0))
    assert output.shape == (5, *logits) and output.dtype == jnp.float32


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_a_patch_of_so_many_pixels(layers, field):
    """70x70 for three layers, as the paper says."""
    side = 16 * 2**layers
    net = adapt(PatchDiscriminator(1, layers), (side, side, 1))
    variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), jax.eval_shape(net.init, jax.random.key(0)))
    middle = jit(jax.grad(lambda x: net.apply(variables, x)[0][0, 8, 8]))(jnp.ones((1, side, side, 1)))[0, :, :, 0]
    rows, columns = (np.flatnonzero(np.any(np.asarray(middle) != 0, axis=axis)) for axis in (1, 0))
    assert len(rows) == len(columns) == field and np.ptp(rows) == field - 1


def test_the_layers_of_the_paper():
    """C64-C128-C256-C512, no normalization in the first; channels stay at eight times the width."""
    shapes = jax.eval_shape(adapt(PatchDiscriminator(normalization=BatchNorm), (256, 256, 6)).init, jax.random.key(0))
    kernels = {name: layer["kernel"].shape for name, layer in shapes["params"].items() if "kernel" in layer}
    assert kernels == {
        "DownsamplingConvolution_0": (4, 4, 6, 64),
        "DownsamplingConvolution_1": (4, 4, 64, 128),
        "DownsamplingConvolution_2": (4, 4, 128, 256),
        "ValidConvolution_0": (4, 4, 256, 512),
        "ValidConvolution_1": (4, 4, 512, 1),
    }
    biased = [name for name, layer in shapes["params"].items() if "kernel" in layer and "bias" in layer]
    assert sorted(biased) == ["DownsamplingConvolution_0", "ValidConvolution_1"]
    deep = jax.eval_shape(adapt(PatchDiscriminator(2, 6), (64, 64, 3)).init, jax.random.key(0))["params"]
    assert deep["DownsamplingConvolution_5"]["kernel"].shape == (4, 4, 16, 16)


def test_a_source_is_seen_pixel_by_pixel_and_must_fit():
    net = adapt(PatchDiscriminator(3, 1), (8, 12, 3), (4, 4, 2))
    variables, x, source = lively(net), images(2, 8, 12, 3), images(2, 4, 4, 2, seed=1)
    repeated = np.repeat(np.repeat(source, 2, axis=1), 3, axis=2)
    alone = adapt(PatchDiscriminator(3, 1), (8, 12, 5))
    expected = alone.apply(variables, jnp.concatenate([repeated, x], axis=-1))[0]
    np.testing.assert_allclose(net.apply(variables, x, source)[0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.apply(variables, x, jnp.asarray(repeated))[0], expected, rtol=1e-5, atol=1e-6)
    for wrong in ((3, 4), (4, 5), (16, 24)):
        with pytest.raises(ValueError, match=f"8x12 is no whole multiple of its source, {wrong[0]}x{wrong[1]}"):
            net.apply(variables, x, images(2, *wrong, 2))


def test_features_are_all_that_the_logits_are_made_of():
    net = adapt(PatchDiscriminator(3, 2), (10, 16, 3))
    assert num_features(net, (10, 16, 3)) == 3 * 4 * 12
    variables, x = lively(net), images(2, 10, 16, 3)
    (logits, features), _ = net.features(variables, x)
    maps = np.pad(np.asarray(features).reshape(2, 3, 4, 12), ((0, 0), (1, 2), (1, 2), (0, 0)))
    last = variables["params"]["ValidConvolution_1"]
    expected = [
        [np.sum(maps[:, i : i + 4, j : j + 4] * last["kernel"][..., 0], axis=(1, 2, 3)) for j in range(4)]
        for i in range(3)
    ]
    np.testing.assert_allclose(logits, np.moveaxis(expected, -1, 0) + last["bias"], rtol=1e-4, atol=1e-4)


def test_no_layer_is_refused():
    with pytest.raises(ValueError, match="at least once, got 0"):
        jax.eval_shape(adapt(PatchDiscriminator(layers=0), (8, 8, 3)).init, jax.random.key(0))


def test_a_game_takes_patch_logits_with_a_penalty_and_a_head_on_features():
    size = (8, 8, 3)
    net = adapt(PatchDiscriminator(4, 1, InstanceNorm), size)
    discriminator = Player(net, optax.sgd(0.1))
    game = two_player(
        Player(adapt(mlp.Generator(size, 8, 2, output=jnp.tanh), (5,)), optax.sgd(0.1)),
        discriminator,
        least_squares,
        lambda key, n: jax.random.normal(key, (n, 5)),
        heads={"class": Player(adapt(Linear(2), (num_features(net, size),)), optax.sgd(0.1))},
        discriminator_terms=[
            gradient_penalty(r1, 1.0, net),
            lambda played: jnp.mean(jnp.square(played.heads["class"](played.real_features))),
        ],
    )
    state = init_state(game, jax.random.key(0))
    after, metrics = jit(make_step(game))(state, {"image": images(6, *size)})
    assert all(np.isfinite(x) for x in metrics.values())
    for name in state.params:
        pairs = zip(jax.tree.leaves(state.params[name]), jax.tree.leaves(after.params[name]), strict=True)
        assert any(not np.array_equal(a, b) for a, b in pairs), name
