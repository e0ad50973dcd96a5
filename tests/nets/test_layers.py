import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets.layers import BatchNorm, LayerNorm, leaky_relu

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


@pytest.mark.parametrize("norm", [BatchNorm, LayerNorm])
def test_statistics_are_float32_whatever_the_precision_of_the_output(norm):
    layer = norm(dtype=jnp.bfloat16)
    x = 1000.0 + X  # in bfloat16 the spread would drown
    variables = layer.init(jax.random.key(1), x, True)
    y = layer.apply(variables, x, True, mutable=["batch_stats"])[0]
    assert y.dtype == jnp.bfloat16
    assert 0.8 < float(jnp.std(y.astype(jnp.float32))) < 1.2


def test_leaky_relu_has_the_slope_of_dcgan():
    np.testing.assert_allclose(leaky_relu(jnp.array([-2.0, 3.0])), [-0.4, 3.0], rtol=1e-6)
