import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets.adapt import adapt
from jaxgan.nets.weight_normalized import Classifier, Generator, WeightNormDense

RANDOM = np.random.default_rng(0)
# a skewed first batch, one column of it constant
FIRST = (RANDOM.gamma(1.5, 0.4, (40, 3, 2, 2)) * [1.0, -0.3]).astype(np.float32)
FIRST[:, 1, 1, 1] = 0.25


def normalized(layer, scale, x):
    kernel = np.asarray(layer["kernel"], np.float64)
    return x @ kernel / np.linalg.norm(kernel, axis=0) * np.asarray(scale, np.float64) + np.asarray(layer["bias"])


def layers(variables):
    """(parameters, scale) of each weight-normalized layer, in order."""
    fixed = variables.get("reference", {})
    names = sorted((n for n in variables["params"] if n.startswith("Weight")), key=lambda n: int(n.split("_")[1]))
    params = [variables["params"][name] for name in names]
    return [(p, p["scale"] if "scale" in p else fixed[name]["scale"]) for p, name in zip(params, names, strict=True)]


@pytest.mark.parametrize("train_scale", [True, False])
def test_a_layer_by_its_formula_and_its_first_batch(train_scale):
    module = WeightNormDense(5, data_dependent=True, train_scale=train_scale)
    x = FIRST.reshape(40, -1)
    variables = module.init(jax.random.key(0), x)
    assert ("scale" in variables["params"]) == train_scale
    layer = variables["params"]
    scale = layer["scale"] if train_scale else variables["reference"]["scale"]
    kernel = np.asarray(layer["kernel"], np.float64)
    linear = x @ kernel / np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(scale, 1 / linear.std(0), rtol=1e-4)
    np.testing.assert_allclose(layer["bias"], -linear.mean(0) / linear.std(0), rtol=1e-4)
    out = np.asarray(module.apply(variables, x), np.float64)
    np.testing.assert_allclose(out.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), 1.0, rtol=1e-4)
    # afterwards a function of its parameters alone, whatever the length of the kernel
    other = RANDOM.normal(size=(7, 12)).astype(np.float32)
    longer = {**variables, "params": {**layer, "kernel": 3.0 * layer["kernel"]}}
    for made in (variables, longer):
        np.testing.assert_allclose(module.apply(made, other), normalized(layer, scale, other), rtol=1e-4, atol=1e-4)


def test_without_data_a_layer_has_unit_scale():
    for module, x in (
        (WeightNormDense(4), FIRST.reshape(40, -1)),
        (WeightNormDense(4, data_dependent=True), np.zeros((2, 12), np.float32)),
    ):
        params = module.init(jax.random.key(0), x)["params"]
        np.testing.assert_array_equal(params["scale"], np.ones(4))
        np.testing.assert_array_equal(params["bias"], np.zeros(4))


def test_every_layer_of_the_classifier_has_zero_mean_and_unit_variance_on_the_first_images():
    net = adapt(Classifier(3, width=16, input_noise=0.0, noise=0.0), (3, 2, 2), first=(FIRST,))
    variables = net.init(jax.random.key(1))
    assert set(variables) == {"params", "reference"}
    found = layers(variables)
    assert [len(p["bias"]) for p, _ in found] == [16, 8, 4, 4, 4, 3]
    # the scale is trained at the output only
    assert ["scale" in p for p, _ in found] == [False] * 5 + [True]
    x = (FIRST.reshape(40, -1).astype(np.float64) + 1) / 2
    for i, (params, scale) in enumerate(found):
        before = normalized(params, scale, x)
        np.testing.assert_allclose(before.mean(0), 0.0, atol=1e-3, err_msg=str(i))
        np.testing.assert_allclose(before.std(0), 1.0, rtol=1e-3, err_msg=str(i))
        features, x = x, np.maximum(before, 0)
    (logits, shown), changed = net.features(variables, FIRST, train=False)
    assert not changed
    np.testing.assert_allclose(logits, before, atol=1e-3)
    np.testing.assert_allclose(shown, features, atol=1e-3)
    # another batch is judged by these scales, one image at a time
    other = RANDOM.normal(size=(5, 3, 2, 2)).astype(np.float32)
    whole, alone = net.apply(variables, other)[0], net.apply(variables, other[2:3])[0]
    np.testing.assert_allclose(whole[2:3], alone, rtol=1e-4, atol=1e-5)


def test_noise_of_its_deviation_is_added_in_training_and_the_features_are_those_before_theirs():
    module = Classifier(2, width=4, input_noise=0.3, noise=0.0)
    image = jnp.full((20_000, 1, 1, 1), 0.6)
    net = adapt(module, (1, 1, 1))
    variables = net.init(jax.random.key(0))
    first = {**variables["params"]["WeightNormDense_0"], "bias": jnp.full(4, 9.0)}
    unit = {"WeightNormDense_0": {"scale": jnp.ones(4)}}
    variables = {
        "params": {**variables["params"], "WeightNormDense_0": first},
        "reference": {**variables["reference"], **unit},
    }
    _, kept = module.apply(
        variables,
        image,
        rngs={"noise": jax.random.key(3)},
        capture_intermediates=lambda m, _: m.name == "WeightNormDense_0",
        mutable=["intermediates"],
    )
    hidden = np.asarray(kept["intermediates"]["WeightNormDense_0"]["__call__"][0]) - 9.0
    kernel = np.sign(np.asarray(first["kernel"]))
    # the pixel 0.6 is 0.8 in [0, 1]
    np.testing.assert_allclose((hidden * kernel).mean(0), 0.8, atol=0.01)
    np.testing.assert_allclose(hidden.std(0), 0.3, rtol=0.02)
    noisy = adapt(Classifier(2, width=4, input_noise=0.0, noise=0.5), (3, 2, 2), first=(FIRST,))
    variables = noisy.init(jax.random.key(0))
    (logits, shown), _ = noisy.features(variables, FIRST, key=jax.random.key(1))
    params, scale = layers(variables)[-1]
    assert not np.allclose(normalized(params, scale, np.asarray(shown)), logits, atol=0.05)
    assert np.all(np.asarray(shown) >= 0)


def test_the_generator_by_numpy():
    net = adapt(Generator((2, 3, 2), width=5), (4,), couples_batch=True)
    variables = net.init(jax.random.key(2))
    fill = lambda path, leaf: leaf + 0.3 * (path[-1].key == "bias") * jnp.arange(leaf.size).reshape(leaf.shape)  # noqa: E731
    variables = jax.tree_util.tree_map_with_path(fill, dict(variables))
    latent = RANDOM.uniform(size=(6, 4)).astype(np.float32)
    images, changed = net.apply(variables, latent)
    x = latent.astype(np.float64)
    for i in range(2):
        assert set(variables["params"][f"Dense_{i}"]) == {"kernel"}
        assert set(variables["params"][f"BatchNorm_{i}"]) == {"bias"}  # shift and no scale
        x = x @ np.asarray(variables["params"][f"Dense_{i}"]["kernel"], np.float64)
        np.testing.assert_allclose(
            changed["batch_stats"][f"BatchNorm_{i}"]["mean"], 0.1 * x.mean(0), rtol=1e-4, atol=1e-6
        )
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-6) + np.asarray(variables["params"][f"BatchNorm_{i}"]["bias"])
        x = np.log1p(np.exp(x))
    ((params, scale),) = layers(variables)
    expected = np.tanh(normalized(params, scale, x) / 2).reshape(6, 2, 3, 2)
    np.testing.assert_allclose(images, expected, rtol=1e-3, atol=1e-4)
