from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets import mlp
from jaxgan.nets.adapt import adapt
from jaxgan.nets.layers import BatchNorm, LayerNorm, MinibatchDiscrimination, VirtualBatchNorm

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
X = jax.random.normal(jax.random.key(0), (6, 3))


def drawn(module, *shapes, **changes):
    """Its variables, biases filled, so that they show."""
    variables = jit(adapt(module, *shapes).init)(jax.random.key(1))
    fill = lambda path, leaf: leaf + 0.3 * (path[-1].key == "bias")  # noqa: E731
    return {**jax.tree_util.tree_map_with_path(fill, dict(variables)), **changes}


def layers(variables):
    names = sorted(variables["params"], key=lambda name: int(name.rsplit("_", 1)[1]))
    return [{k: np.asarray(v, np.float64) for k, v in variables["params"][n].items()} for n in names]


def affine(layer, x):
    return x @ layer["kernel"] + layer.get("bias", 0.0)


def test_the_discriminator_of_2014_is_two_maxout_layers_and_a_line():
    module = mlp.Discriminator(4, 2, maxout=3)
    variables = drawn(module, (3,))
    assert set(variables["params"]) == {"Maxout_0", "Maxout_1", "Dense_0"}
    x = np.asarray(X, np.float64)
    for name in ("Maxout_0", "Maxout_1"):
        x = affine(jax.tree.map(np.asarray, variables["params"][name]), x).reshape(6, 4, 3).max(axis=2)
    expected = affine(jax.tree.map(np.asarray, variables["params"]["Dense_0"]), x)[:, 0]
    np.testing.assert_allclose(module.apply(variables, X), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="maxout"):
        adapt(mlp.Discriminator(4, 2, LayerNorm, maxout=3), (3,)).init(jax.random.key(0))


def test_the_class_is_appended_to_what_each_net_sees():
    label = jnp.array([1, 0, 3, 2, 1, 1])
    pair = np.concatenate([np.asarray(X, np.float64), np.eye(4)[np.asarray(label)]], axis=1)
    generator = mlp.Generator((2, 1), 5, 1, num_classes=4)
    variables = drawn(generator, (3,), ())
    first, last = layers(variables)
    expected = affine(last, np.maximum(affine(first, pair), 0.0)).reshape(6, 2, 1)
    np.testing.assert_allclose(generator.apply(variables, X, label), expected, rtol=1e-4, atol=1e-5)
    discriminator = mlp.Discriminator(5, 1, num_classes=4, projection=False)
    variables = drawn(discriminator, (3,), ())
    first, last = layers(variables)
    hidden = affine(first, pair)
    expected = affine(last, np.maximum(hidden, 0.2 * hidden))[:, 0]
    np.testing.assert_allclose(discriminator.apply(variables, X, label), expected, rtol=1e-4, atol=1e-5)


def test_the_projection_adds_an_inner_product_with_the_last_features():
    label = jnp.array([1, 0, 3, 2, 1, 1])
    module = mlp.Discriminator(5, 1, num_classes=4)
    variables = drawn(module, (3,), ())
    first, last, embedding = layers(variables)
    hidden = affine(first, np.asarray(X, np.float64))
    features = np.maximum(hidden, 0.2 * hidden)
    expected = affine(last, features)[:, 0] + (features * embedding["kernel"][np.asarray(label)]).sum(1)
    np.testing.assert_allclose(module.apply(variables, X, label), expected, rtol=1e-4, atol=1e-5)
    shown = adapt(module, (3,), ()).features(variables, X, label)[0][1]
    np.testing.assert_allclose(shown, features, rtol=1e-4, atol=1e-5)  # and these are what it shows


def test_the_minibatch_layer_reads_the_last_features():
    module = mlp.Discriminator(5, 1, minibatch=partial(MinibatchDiscrimination, 2, 3))
    variables = drawn(module, (3,))
    params = variables["params"]
    assert params["Dense_1"]["kernel"].shape == (7, 1)
    shown = adapt(module, (3,)).features(variables, X)[0][1]
    assert shown.shape == (6, 5)
    seen = MinibatchDiscrimination(2, 3).apply({"params": params["MinibatchDiscrimination_0"]}, shown)
    expected = affine(jax.tree.map(np.asarray, params["Dense_1"]), np.asarray(seen))[:, 0]
    np.testing.assert_allclose(module.apply(variables, X), expected, rtol=1e-4, atol=1e-5)


def test_biases_and_initialisation_are_fields():
    uniform = lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -0.05, 0.05)  # noqa: E731
    for module in (
        mlp.Generator((3,), 40, 2, use_bias=False, kernel_init=uniform),
        mlp.Discriminator(40, 2, use_bias=False, kernel_init=uniform),
        mlp.Discriminator(40, 2, maxout=2, use_bias=False, kernel_init=uniform),
        mlp.Generator((3,), 40, 2, BatchNorm, use_bias=False, kernel_init=uniform),
    ):
        params = jit(adapt(module, (3,)).init)(jax.random.key(0))["params"]
        kernels = [layer["kernel"] for layer in params.values() if "kernel" in layer]
        assert len(kernels) == 3 and not any("bias" in layer for layer in params.values() if "kernel" in layer)
        for kernel in kernels:
            assert 0.03 < np.abs(kernel).max() <= 0.05


def test_dropout_of_the_input_and_of_the_hidden_layers_are_separate():
    """With the key unknown: which columns of the input reach a linear discriminator, and which hidden units count."""
    module = mlp.Discriminator(1, 1, activation=lambda x: x, input_dropout=0.5, use_bias=False)
    ones = {
        "params": {"Dense_0": {"kernel": jnp.array([[1.0], [10.0], [100.0]])}, "Dense_1": {"kernel": jnp.ones((1, 1))}}
    }
    run = lambda module, variables, x: module.apply(variables, x, rngs={"noise": jax.random.key(0)})  # noqa: E731
    reached = set(np.asarray(run(module, ones, jnp.ones((200, 3)))).round(3).tolist())
    assert reached == {2.0 * (a + 10 * b + 100 * c) for a in (0, 1) for b in (0, 1) for c in (0, 1)}
    np.testing.assert_allclose(module.apply(ones, jnp.ones((5, 3)), train=False), 111.0, rtol=1e-6)
    module = mlp.Discriminator(1, 1, activation=lambda x: x, dropout=0.75, use_bias=False)
    reached = np.asarray(run(module, ones, jnp.ones((400, 3)))).round(3)
    assert set(reached.tolist()) == {0.0, 444.0}
    np.testing.assert_allclose(np.mean(reached == 0), 0.75, atol=0.07)


def test_the_reference_batch_travels_in_front_and_is_cut_off():
    reference = lambda key: 2.0 + jax.random.normal(key, (8, 3))  # noqa: E731
    module = mlp.Generator((2,), 5, 2, VirtualBatchNorm, reference=reference)
    net = adapt(module, (3,))
    variables = jit(net.init)(jax.random.key(0))
    held = np.asarray(variables["reference"]["latent"], np.float64)
    assert held.shape == (8, 3) and abs(held.mean() - 2.0) < 0.7
    output, changed = jit(net.apply)(variables, X)
    assert output.shape == (6, 2) and not changed
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    for i in range(6):
        # each example with the reference, by weights of 1 / 9
        rows = {"held": held, "one": np.asarray(X, np.float64)[i : i + 1]}
        for j in range(2):
            rows = {k: affine(params[f"Dense_{j}"], x) for k, x in rows.items()}
            both = np.concatenate(list(rows.values()))
            seen = {"held": rows["held"], "one": both}
            rows = {k: np.maximum((x - seen[k].mean(0)) / np.sqrt(seen[k].var(0) + 1e-5), 0) for k, x in rows.items()}
        np.testing.assert_allclose(output[i], affine(params["Dense_2"], rows["one"])[0], rtol=1e-3, atol=1e-3)


def test_the_reference_has_labels_of_its_own_where_there_are_classes():
    reference = lambda key: jax.random.normal(key, (300, 3))  # noqa: E731
    net = adapt(mlp.Generator((2,), 5, 1, VirtualBatchNorm, num_classes=4, reference=reference), (3,), ())
    held = jit(net.init)(jax.random.key(0))["reference"]["label"]
    np.testing.assert_allclose(np.bincount(held, minlength=4) / 300, 0.25, atol=0.1)
    assert held.shape == (300,)


def test_a_reference_without_virtual_batch_normalization_is_refused():
    reference = lambda key: jax.random.normal(key, (8, 3))  # noqa: E731
    with pytest.raises(ValueError, match="no normalization"):
        adapt(mlp.Generator((2,), 5, 1, reference=reference), (3,)).init(jax.random.key(0))
    with pytest.raises(TypeError, match="reference"):
        adapt(mlp.Generator((2,), 5, 1, BatchNorm, reference=reference), (3,)).init(jax.random.key(0))
    with pytest.raises(ValueError, match="give the generator a `reference`"):
        adapt(mlp.Generator((2,), 5, 1, VirtualBatchNorm), (3,)).init(jax.random.key(0))
