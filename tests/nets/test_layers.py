from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from jaxgan.nets.convolution import Convolution, DownsamplingConvolution, UpsamplingConvolution
from jaxgan.nets.layers import (
    BatchNorm,
    ConditionalBatchNorm,
    Equalized,
    InstanceNorm,
    LayerNorm,
    Maxout,
    MinibatchDeviation,
    MinibatchDiscrimination,
    SelfAttention,
    SpectralNorm,
    VirtualBatchNorm,
    dropout,
    leaky_relu,
    minibatch_deviation,
    weigh,
)

# these programs run once or twice: what takes time is compiling them
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

X = 3.0 + 2.0 * jax.random.normal(jax.random.key(0), (6, 4, 5, 3))


def test_batch_norm_standardises_each_channel_over_the_batch():
    layer = BatchNorm()
    variables = layer.init(jax.random.key(1), X, True)
    (params,) = variables["params"].values()
    assert abs(float(jnp.mean(params["scale"])) - 1) < 0.1 and not np.any(params["bias"])
    y, changed = layer.apply(variables, X, True, mutable=["batch_stats"])
    x = np.asarray(X, np.float64)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-5) * np.asarray(params["scale"]), atol=1e-4)
    (running,) = changed["batch_stats"].values()
    np.testing.assert_allclose(running["mean"], 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(running["var"], 0.9 + 0.1 * variance, rtol=1e-4)
    used = layer.apply({**variables, **changed}, X, False)
    expected = (x - np.asarray(running["mean"])) / np.sqrt(np.asarray(running["var"]) + 1e-5)
    np.testing.assert_allclose(used, expected * np.asarray(params["scale"]), rtol=1e-3, atol=1e-3)


def test_layer_norm_standardises_each_example_over_all_its_pixels():
    layer = LayerNorm()
    variables = layer.init(jax.random.key(1), X, True)
    (params,) = variables["params"].values()
    assert params["scale"].shape == params["bias"].shape == (3,)
    x = np.asarray(X, np.float64)
    expected = (x - x.mean((1, 2, 3), keepdims=True)) / np.sqrt(x.var((1, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(layer.apply(variables, X, True), expected, atol=1e-4)


@pytest.mark.parametrize("norm", [BatchNorm, LayerNorm, InstanceNorm, partial(VirtualBatchNorm, reference=3)])
def test_statistics_are_float32_whatever_the_precision_of_the_output(norm):
    layer = norm(dtype=jnp.bfloat16)
    x = 1000.0 + X  # in bfloat16 the spread would drown
    variables = layer.init(jax.random.key(1), x, True)
    y = layer.apply(variables, x, True, mutable=["batch_stats"])[0]
    assert y.dtype == jnp.bfloat16
    assert 0.8 < float(jnp.std(y.astype(jnp.float32))) < 1.2


def test_leaky_relu_has_the_slope_of_dcgan():
    np.testing.assert_allclose(leaky_relu(jnp.array([-2.0, 3.0])), [-0.4, 3.0], rtol=1e-6)


# -- instance and virtual batch normalization ------------------------------------------------------


def test_instance_norm_standardises_each_channel_of_each_example():
    x = np.asarray(X, np.float64)
    expected = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    for affine in (True, False):
        layer = InstanceNorm(affine=affine)
        variables = layer.init(jax.random.key(1), X, True)
        assert bool(variables) == affine
        np.testing.assert_allclose(layer.apply(variables, X, True), expected, atol=1e-4)
    with pytest.raises(ValueError, match="positions"):
        InstanceNorm().init(jax.random.key(0), jnp.ones((4, 3)), True)


@pytest.mark.parametrize("x", [X, X[:, 0, 0]], ids=["images", "vectors"])
def test_virtual_batch_norm_standardises_each_example_by_the_reference_and_itself(x):
    layer, n = VirtualBatchNorm(reference=4), 4
    params = {"scale": jnp.array([1.0, 2.0, -1.5]), "bias": jnp.array([0.5, 0.0, 3.0])}
    assert jax.tree.map(jnp.shape, layer.init(jax.random.key(0), x, True)["params"]) == {"scale": (3,), "bias": (3,)}
    x64, axes = np.asarray(x, np.float64), tuple(range(x.ndim - 1))
    expected = []
    for i in range(6):
        # a weighted mean of n + 1 examples: the whole reference once more for its own rows
        seen = x64[:n] if i < n else np.concatenate([x64[:n], x64[i : i + 1]])
        row = (x64[i] - seen.mean(axes)) / np.sqrt(seen.var(axes) + 1e-5)
        expected.append(row * np.asarray(params["scale"]) + np.asarray(params["bias"]))
    for train in (True, False):
        np.testing.assert_allclose(layer.apply({"params": params}, x, train), np.stack(expected), rtol=1e-4, atol=1e-4)


def test_virtual_batch_norm_couples_no_examples_but_to_the_reference():
    layer = VirtualBatchNorm(reference=2)
    params = {"params": {"scale": jnp.ones(3), "bias": jnp.zeros(3)}}
    before = layer.apply(params, X, True)
    moved = np.abs(layer.apply(params, X.at[4].add(1.7 * X[5]), True) - before).max((1, 2, 3)) > 0
    np.testing.assert_array_equal(moved, [False, False, False, False, True, False])
    assert np.all(np.abs(layer.apply(params, X.at[1].add(1.7 * X[5]), True) - before).max((1, 2, 3)) > 0)


@pytest.mark.parametrize("n", [0, 7])
def test_virtual_batch_norm_needs_its_reference(n):
    with pytest.raises(ValueError, match=f"{n} reference rows of 6"):
        VirtualBatchNorm(reference=n).init(jax.random.key(0), X, True)


# -- spectral normalization ------------------------------------------------------------------------

WRAPPED = (nn.Dense(5), UpsamplingConvolution(5), DownsamplingConvolution(5), Maxout(2, 3))
every_wrapped = pytest.mark.parametrize("layer", WRAPPED, ids=lambda layer: type(layer).__name__)


def wrapped(layer):
    x = jax.random.normal(jax.random.key(3), (2, 4, 4, 3))
    x = x.reshape(2, -1) if isinstance(layer, nn.Dense | Maxout) else x
    module = SpectralNorm(layer)
    return module, jit(lambda key: module.init(key, x, True))(jax.random.key(0)), x


@every_wrapped
def test_the_largest_singular_value_is_divided_out(layer):
    """Against numpy's SVD, of the kernel as a matrix of outputs by all else."""
    module, variables, x = wrapped(layer)
    kernel = np.asarray(variables["params"]["layer"]["kernel"], np.float64)
    assert variables["spectral"]["u"].shape == kernel.shape[-1:]
    step = jit(lambda spectral: module.apply({**variables, "spectral": spectral}, x, True, mutable=["spectral"]))
    spectral = variables["spectral"]
    for _ in range(60):
        y, changed = step(spectral)
        spectral = changed["spectral"]
    matrix = kernel.reshape(-1, kernel.shape[-1]).T
    left, values, _ = np.linalg.svd(matrix)
    np.testing.assert_allclose(abs(left[:, 0] @ np.asarray(spectral["u"])), 1.0, atol=1e-3)
    params = {**variables["params"]["layer"], "kernel": jnp.asarray(kernel / values[0], jnp.float32)}
    np.testing.assert_allclose(y, layer.apply({"params": params}, x), rtol=2e-3, atol=1e-3)


def test_one_iteration_a_training_pass_and_none_kept_otherwise():
    """Algorithm 1 by hand, far from convergence; the bias is not divided."""
    module, variables, x = wrapped(nn.Dense(5))
    variables["params"]["layer"]["bias"] = jnp.arange(5.0)
    w = np.asarray(variables["params"]["layer"]["kernel"], np.float64).T
    u = np.asarray(variables["spectral"]["u"], np.float64)
    np.testing.assert_allclose(np.linalg.norm(u), 1.0, rtol=1e-6)
    for _ in range(2):
        v = w.T @ u / np.linalg.norm(w.T @ u)
        after = w @ v / np.linalg.norm(w @ v)
        y, changed = module.apply(variables, x, True, mutable=["spectral"])
        still, kept = module.apply(variables, x, False, mutable=["spectral"])
        np.testing.assert_allclose(y, np.asarray(x) @ w.T / (after @ w @ v) + np.arange(5.0), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(still, y)
        np.testing.assert_array_equal(kept["spectral"]["u"], variables["spectral"]["u"])
        np.testing.assert_allclose(changed["spectral"]["u"], after, rtol=1e-4, atol=1e-5)
        variables, u = {**variables, **changed}, after
    values = np.linalg.svd(w)[1]
    assert (after @ w @ v) < 0.999 * values[0]  # else this was no test of the iteration


def test_the_gradient_is_that_of_equation_12():
    """dV/dW = (E[delta h^T] - lambda u v^T) / sigma, lambda = E[delta^T W h / sigma], for V = mean of delta . (W h)."""
    module, variables, h = wrapped(nn.Dense(5, use_bias=False))
    delta = jax.random.normal(jax.random.key(4), (2, 5))
    value = lambda p: jnp.mean(jnp.sum(delta * module.apply({**variables, "params": p}, h, False), axis=1))  # noqa: E731
    gradient = jax.grad(value)(variables["params"])["layer"]["kernel"]
    w = np.asarray(variables["params"]["layer"]["kernel"], np.float64).T
    v = w.T @ np.asarray(variables["spectral"]["u"])
    v = v / np.linalg.norm(v)
    u = w @ v / np.linalg.norm(w @ v)
    sigma = u @ w @ v
    pairs = np.asarray(delta, np.float64), np.asarray(h, np.float64)
    outer = np.einsum("ni,nj->ij", *pairs) / 2
    strength = np.mean([d @ w @ x / sigma for d, x in zip(*pairs, strict=True)])
    np.testing.assert_allclose(gradient.T, (outer - strength * np.outer(u, v)) / sigma, rtol=1e-3, atol=1e-5)


def test_a_penalty_on_the_gradient_differentiates_through_the_division():
    """R1 of a spectrally normalized linear critic, |w / sigma|^2: with one output sigma = |w|, whatever w."""
    module, variables, x = wrapped(nn.Dense(1))

    def penalty(params):
        critic = lambda x: jnp.sum(module.apply({**variables, "params": params}, x, False))  # noqa: E731
        return jnp.mean(jnp.sum(jnp.square(jax.grad(critic)(x)), axis=1))

    value, gradient = jit(jax.value_and_grad(penalty))(variables["params"])
    np.testing.assert_allclose(value, 1.0, rtol=1e-5)
    assert np.abs(gradient["layer"]["kernel"]).max() < 1e-5  # without the division it is 2 w


class Pair(nn.Module):
    spectral: bool

    @nn.compact
    def __call__(self, x, train):
        x = weigh(nn.Dense(4, bias_init=nn.initializers.ones_init()), x, train, self.spectral)
        return weigh(nn.Dense(3), x, train, self.spectral)


def test_a_net_has_the_same_parameters_with_and_without():
    x = jnp.ones((2, 5))
    with_norm, without = (Pair(spectral).init(jax.random.key(0), x, True) for spectral in (True, False))
    shapes = lambda variables: jax.tree.map(jnp.shape, variables["params"])  # noqa: E731
    assert shapes(with_norm) == shapes(without) and set(with_norm["spectral"]) == {"SpectralNorm_0", "SpectralNorm_1"}
    jax.tree.map(np.testing.assert_array_equal, with_norm["params"], without["params"])  # as drawn, not divided


def test_a_kernel_of_zeros_stays_finite():
    module, variables, x = wrapped(nn.Dense(5))
    params = jax.tree.map(jnp.zeros_like, variables["params"])
    value = lambda p: jnp.sum(module.apply({**variables, "params": p}, x, True, mutable=["spectral"])[0])  # noqa: E731
    result, gradient = jax.value_and_grad(value)(params)
    assert result == 0 and all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


# -- conditional batch normalization, self-attention -----------------------------------------------


@pytest.mark.parametrize("x", [X, X[:, 0, 0]], ids=["images", "vectors"])
def test_conditional_batch_norm_scales_and_shifts_each_example_by_its_condition(x):
    layer, condition = ConditionalBatchNorm(), jax.random.normal(jax.random.key(2), (6, 4))
    variables = layer.init(jax.random.key(1), x, condition, True)
    x64, axes = np.asarray(x, np.float64), tuple(range(x.ndim - 1))
    standard = (x64 - x64.mean(axes)) / np.sqrt(x64.var(axes) + 1e-5)
    fresh, changed = layer.apply(variables, x, condition, True, mutable=["batch_stats"])
    np.testing.assert_allclose(fresh, standard, atol=1e-4)  # scales begin at one, shifts at zero
    a, b = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    assert jax.tree.map(jnp.shape, variables["params"]) == {f"Dense_{i}": {"kernel": (4, 3)} for i in (0, 1)}
    params = {"Dense_0": {"kernel": a}, "Dense_1": {"kernel": b}}
    each = lambda told: np.asarray(told, np.float64).reshape(6, *(1,) * (x.ndim - 2), 3)  # noqa: E731
    expected = (1 + each(condition @ a)) * standard + each(condition @ b)
    y = layer.apply({"params": params, **changed}, x, condition, True, mutable=["batch_stats"])[0]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    (running,) = changed["batch_stats"].values()
    np.testing.assert_allclose(running["mean"], 0.1 * x64.mean(axes), rtol=1e-4)
    used = layer.apply({"params": params, **changed}, x, condition, False)
    standard = (x64 - np.asarray(running["mean"])) / np.sqrt(np.asarray(running["var"]) + 1e-5)
    np.testing.assert_allclose(used, (1 + each(condition @ a)) * standard + each(condition @ b), rtol=1e-3, atol=1e-3)


def test_spectral_conditional_batch_norm_divides_both_kernels():
    layer = ConditionalBatchNorm(spectral=True, kernel_init=nn.initializers.orthogonal())
    condition = jax.random.normal(jax.random.key(2), (6, 4))
    variables = layer.init(jax.random.key(1), X, condition, True)
    apply = lambda factor: layer.apply(  # noqa: E731
        {**variables, "params": jax.tree.map(lambda k: factor * k, variables["params"])}, X, condition, False
    )
    assert len(variables["spectral"]) == 2
    np.testing.assert_allclose(apply(7.0), apply(1.0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("height", "width", "channels"), [(4, 6, 16), (5, 2, 3), (1, 1, 8)])
def test_self_attention_is_the_papers_with_pooled_keys_and_values(height, width, channels):
    """Position by position, in numpy."""
    layer, x = SelfAttention(), jax.random.normal(jax.random.key(0), (2, height, width, channels))
    params = layer.init(jax.random.key(1), x, True)["params"]
    narrow, half = max(1, channels // 8), channels // 2
    shapes = {"query": (channels, narrow), "key": (channels, narrow), "value": (channels, half)}
    shapes["output"] = (half, channels)
    assert {name: params[name]["kernel"].shape for name in shapes} == shapes and params["gamma"] == 0
    np.testing.assert_array_equal(layer.apply({"params": params}, x, True), x)
    f, g, h, v = (np.asarray(params[name]["kernel"], np.float64) for name in ("key", "query", "value", "output"))
    x64 = np.asarray(x, np.float64)

    def pooled(y):
        if min(height, width) < 2:
            return y.reshape(-1, y.shape[-1])
        blocks = [(i, j) for i in range(0, height - 1, 2) for j in range(0, width - 1, 2)]
        return np.stack([y[i : i + 2, j : j + 2].max((0, 1)) for i, j in blocks])

    expected = np.empty_like(x64)
    for n, image in enumerate(x64):
        keys, values = pooled(image @ f), pooled(image @ h)
        for i in range(height):
            for j in range(width):
                weights = softmax(keys @ (image[i, j] @ g))
                expected[n, i, j] = image[i, j] + 0.7 * (weights @ values) @ v
    found = layer.apply({"params": {**params, "gamma": jnp.float32(0.7)}}, x, True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_spectral_self_attention_divides_its_four_kernels():
    layer, x = SelfAttention(spectral=True), jax.random.normal(jax.random.key(0), (2, 4, 4, 16))
    variables = layer.init(jax.random.key(1), x, True)
    assert len(variables["spectral"]) == 4
    params = {**variables["params"], "gamma": jnp.float32(0.7)}
    larger = {name: {"kernel": 5.0 * params[name]["kernel"]} for name in params if name != "gamma"}
    found = [layer.apply({**variables, "params": {**params, **changed}}, x, False) for changed in ({}, larger)]
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
    assert not np.allclose(found[0], x)


# -- maxout, minibatch layers, dropout -------------------------------------------------------------


def test_maxout_takes_the_largest_of_the_pieces_of_each_unit():
    x, kernel = jax.random.normal(jax.random.key(0), (7, 4)), jax.random.normal(jax.random.key(1), (4, 6))
    layer, bias = Maxout(2, 3), jnp.arange(6.0)
    assert jax.tree.map(jnp.shape, layer.init(jax.random.key(0), x)["params"]) == {"kernel": (4, 6), "bias": (6,)}
    linear = np.asarray(x) @ np.asarray(kernel) + np.arange(6.0)
    expected = np.stack([linear[:, :3].max(1), linear[:, 3:].max(1)], axis=1)
    y = layer.apply({"params": {"kernel": kernel, "bias": bias}}, x)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    bare = Maxout(2, 3, use_bias=False).apply({"params": {"kernel": kernel}}, x)
    assert not np.allclose(bare, y)


def test_minibatch_discrimination_is_the_papers_sum_over_the_others():
    x = jax.random.normal(jax.random.key(0), (5, 4))
    layer = MinibatchDiscrimination(kernels=3, dimension=2)
    variables = layer.init(jax.random.key(1), x)
    np.testing.assert_allclose(
        MinibatchDiscrimination().init(jax.random.key(1), x)["params"]["kernel"].std(), 0.05, rtol=0.1
    )
    tensor = jax.random.normal(jax.random.key(2), (4, 3, 2))
    assert variables["params"]["kernel"].shape == (4, 6)
    m = np.einsum("na,abc->nbc", np.asarray(x, np.float64), np.asarray(tensor))
    expected = np.zeros((5, 3))
    for i in range(5):
        for j in range(5):
            if j != i:
                expected[i] += np.exp(-np.abs(m[i] - m[j]).sum(-1))
    y = layer.apply({"params": {"kernel": tensor.reshape(4, 6)}}, x)
    np.testing.assert_array_equal(y[:, :4], x)
    np.testing.assert_allclose(y[:, 4:], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 2, 3, 4), (6, 5)], ids=["images", "vectors"])
def test_minibatch_deviation_is_the_mean_of_the_deviations(shape):
    spread = jnp.broadcast_to(jnp.linspace(0.5, 3.0, shape[-1]), shape)
    x = spread * jax.random.normal(jax.random.key(0), shape)
    y = np.asarray(minibatch_deviation(x))
    assert y.shape == (*shape[:-1], shape[-1] + 1)
    np.testing.assert_array_equal(y[..., :-1], x)
    np.testing.assert_allclose(y[..., -1], np.std(np.asarray(x), axis=0).mean(), rtol=1e-5)
    np.testing.assert_array_equal(y, MinibatchDeviation().apply({}, x))

    per_pixel = np.asarray(minibatch_deviation(x, per_pixel=True))
    assert per_pixel.shape == (*shape[:-1], 2 * shape[-1])
    np.testing.assert_array_equal(per_pixel[..., : shape[-1]], x)
    for row in per_pixel:
        np.testing.assert_allclose(row[..., shape[-1] :], np.std(np.asarray(x), axis=0), rtol=1e-5)


def test_minibatch_deviation_of_groups():
    """Three groups of two: rows 0 and 3, 1 and 4, 2 and 5."""
    x = jax.random.normal(jax.random.key(0), (6, 2, 3, 4))
    y = np.asarray(minibatch_deviation(x, group=2))[..., -1]
    for i in range(6):
        pair = np.asarray(x)[[i % 3, i % 3 + 3]]
        np.testing.assert_allclose(y[i], np.std(pair, axis=0).mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="6 does not divide into groups of 4"):
        minibatch_deviation(x, group=4)


@pytest.mark.parametrize("per_pixel", [False, True])
def test_gradients_are_finite_where_all_examples_are_equal(per_pixel):
    x = jnp.full((4, 2, 2, 3), 0.3)
    first = jax.grad(lambda x: jnp.sum(jnp.sin(minibatch_deviation(x, per_pixel=per_pixel))))
    np.testing.assert_allclose(first(x), np.cos(0.3), rtol=1e-5)
    assert np.all(np.isfinite(jit(jax.grad(lambda x: jnp.sum(jnp.square(first(x)))))(x)))


class Dropped(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return dropout(x, 0.25, train)


def test_dropout_drops_its_share_in_training_only():
    x = jnp.full((200, 100), 3.0)
    np.testing.assert_array_equal(Dropped().apply({}, x, False), x)
    y = np.asarray(Dropped().apply({}, x, True, rngs={"noise": jax.random.key(0)}))
    np.testing.assert_allclose(np.unique(y), [0.0, 4.0])
    np.testing.assert_allclose(np.mean(y == 0), 0.25, atol=0.02)


def test_equalised_kernels_start_alike_and_are_scaled_in_use():
    """By hand: a convolution with 9 * 3 inputs, gain 2, multiplier 0.01."""
    module = Equalized(Convolution(5, kernel_init=nn.initializers.normal(100.0)), gain=2.0, multiplier=0.01)
    x = jax.random.normal(jax.random.key(1), (2, 6, 6, 3))
    params = module.init(jax.random.key(0), x)["params"]["layer"]
    assert 80 < np.std(params["kernel"]) < 120 and params["kernel"].shape == (3, 3, 3, 5)
    params = {**params, "bias": jnp.arange(5.0)}
    shown = module.apply({"params": {"layer": params}}, x)
    kernel = params["kernel"] * 2.0 * 0.01 / np.sqrt(27)
    by_hand = Convolution(5).apply({"params": {"kernel": kernel, "bias": 0.01 * jnp.arange(5.0)}}, x)
    np.testing.assert_allclose(shown, by_hand, rtol=1e-5, atol=1e-6)
    # unit variance in, variance gain^2 out
    assert 1.0 < np.std(module.apply(module.init(jax.random.key(0), x), x)) < 4.0
