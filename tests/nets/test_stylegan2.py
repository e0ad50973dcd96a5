"""StyleGAN2's layers against one kernel an example in NumPy, and what its nets keep and mix."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from jaxgan.nets import stylegan2
from jaxgan.nets.convolution import convolution, pooled_convolution
from jaxgan.nets.resample import downsample, smooth, upsample
from jaxgan.nets.stylegan2 import Discriminator, Generator, Mapping, ModulatedConvolution, Synthesis, num_styles

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SHAPE = (8, 12, 3)


def by_example(x: np.ndarray, style: np.ndarray, kernel: np.ndarray, demodulate: bool) -> np.ndarray:
    """Equations 1 and 3: a kernel for each example, and each output as a sum of correlations with zero padding."""
    made = np.zeros((*x.shape[:3], kernel.shape[3]))
    for n in range(len(x)):
        own = kernel * style[n][None, None, :, None]
        if demodulate:
            own = own / np.sqrt((own**2).sum((0, 1, 2)) + 1e-8)
        for i in range(kernel.shape[2]):
            for j in range(kernel.shape[3]):
                made[n, :, :, j] += signal.correlate2d(x[n, :, :, i], own[:, :, i, j], "same")
    return made


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_modulated_convolution_equals_a_kernel_for_each_example(demodulate, size):
    module = ModulatedConvolution(4, (size, size), demodulate=demodulate)
    x, w = jax.random.normal(jax.random.key(0), (3, 5, 7, 2)), jax.random.normal(jax.random.key(1), (3, 6))
    variables = jit(module.init)(jax.random.key(2), x, w)
    affine = variables["params"]["Dense_0"]
    assert affine["kernel"].shape == (6, 2) and np.all(affine["bias"] == 1)
    style = np.asarray(w, np.float64) @ np.asarray(affine["kernel"]) / np.sqrt(6) + 1
    kernel = np.asarray(variables["params"]["kernel"], np.float64) / np.sqrt(size * size * 2)
    expected = by_example(np.asarray(x, np.float64), style, kernel, demodulate)
    np.testing.assert_allclose(module.apply(variables, x, w), expected, rtol=1e-4, atol=1e-5)


def test_doubled_modulated_convolution_equals_one_of_the_doubled_image_inside():
    up, plain = (ModulatedConvolution(4, up=up) for up in (True, False))
    x, w = jax.random.normal(jax.random.key(0), (3, 5, 7, 2)), jax.random.normal(jax.random.key(1), (3, 6))
    variables = plain.init(jax.random.key(2), x, w)
    made, expected = up.apply(variables, x, w), plain.apply(variables, upsample(x), w)
    assert made.shape == (3, 10, 14, 4)
    np.testing.assert_allclose(made[:, 3:-3, 3:-3], expected[:, 3:-3, 3:-3], rtol=1e-4, atol=1e-5)


def test_demodulated_outputs_have_unit_variance_whatever_the_style():
    module = ModulatedConvolution(64)
    x = jax.random.normal(jax.random.key(0), (2, 16, 16, 32))
    w = jax.random.normal(jax.random.key(1), (2, 6))
    variables = module.init(jax.random.key(2), x, w)
    for scale in (1.0, 50.0):
        assert abs(np.std(module.apply(variables, x, scale * w)[:, 1:-1, 1:-1]) - 1) < 0.05


@pytest.mark.parametrize(("shape", "number"), [((8, 8, 1), 4), ((28, 28, 1), 6), ((32, 32, 3), 8), ((256, 256, 3), 14)])
def test_two_styles_a_resolution(shape, number):
    assert num_styles(shape) == number


def test_mapping_by_hand():
    """Two layers at a hundredth of the speed, from a latent and a class of unit mean square each."""
    module = Mapping(4, features=3, depth=2, num_classes=2)
    z, label = jax.random.normal(jax.random.key(0), (5, 6)), jnp.array([0, 1, 1, 0, 1])
    variables = jit(module.init)(jax.random.key(1), z, label)
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), variables["params"])
    assert 50 < params["layers_1"]["layer"]["kernel"].std() < 150

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-8)

    embedded = params["embedding"]["layer"]["kernel"][np.asarray(label)] / np.sqrt(2)
    x = np.concatenate([unit(np.asarray(z, np.float64)), unit(embedded)], axis=1)
    for i in range(2):
        x = 0.01 * x @ params[f"layers_{i}"]["layer"]["kernel"] / np.sqrt(x.shape[1])
        x = np.where(x > 0, x, 0.2 * x) * np.sqrt(2)
    styles = module.apply(variables, z, label, train=False)
    assert styles.shape == (5, 4, 3)
    for i in range(4):
        np.testing.assert_allclose(styles[:, i], x, rtol=1e-4, atol=1e-5)
    _, changed = module.apply(variables, z, label, train=True, mutable=["average"])
    np.testing.assert_allclose(changed["average"]["w"], 0.005 * x.mean(0), rtol=1e-3, atol=1e-6)


def test_styles_are_mixed_from_a_random_layer_on_in_training_only():
    module = Mapping(5, features=3, depth=1, mixing=0.75)
    z = jax.random.normal(jax.random.key(0), (400, 6))
    variables = module.init(jax.random.key(1), z)
    first = np.asarray(module.apply(variables, z, train=False))
    apply = partial(module.apply, variables, z, mutable=["average"])
    mixed = np.asarray(apply(rngs={"noise": jax.random.key(2)})[0])
    other = np.any(mixed != first, axis=2)
    # once swapped, swapped to the end; the first style never is
    assert not other[:, 0].any() and np.all(np.diff(other.astype(int), axis=1) >= 0)
    shares = [np.mean(other.sum(1) == n) for n in range(5)]
    np.testing.assert_allclose(shares, [0.25, *[0.75 / 4] * 4], atol=0.07)
    swapped = mixed[other[:, -2]]
    np.testing.assert_array_equal(swapped[:, -1], swapped[:, -2])  # of one latent
    np.testing.assert_array_equal(apply()[0], first)
    plain = Mapping(5, features=3, depth=1, mixing=0.0)
    np.testing.assert_array_equal(
        plain.apply(variables, z, rngs={"noise": jax.random.key(2)}, mutable=["average"])[0], first
    )


def test_the_further_latent_of_a_mixture_has_the_class_of_its_example():
    """A mapping that reads the class alone: mixed styles are what they were."""
    module = Mapping(5, features=3, depth=1, num_classes=4, mixing=1.0)
    z, label = jax.random.normal(jax.random.key(0), (6, 2)), jnp.array([0, 3, 1, 2, 2, 0])
    params = module.init(jax.random.key(1), z, label)["params"]
    layer = params["layers_0"]["layer"]
    deaf = {**params, "layers_0": {"layer": {**layer, "kernel": layer["kernel"].at[:2].set(0.0)}}}
    variables = {"params": deaf, "average": {"w": jnp.zeros(3)}}
    expected = module.apply(variables, z, label, train=False)
    mixed, _ = module.apply(variables, z, label, rngs={"noise": jax.random.key(2)}, mutable=["average"])
    np.testing.assert_allclose(mixed, expected, rtol=1e-5)
    assert np.abs(expected[0] - expected[1]).min() > 1e-3


@pytest.fixture(scope="module")
def synthesis():
    module = Synthesis(SHAPE, width=3)
    styles = jax.random.normal(jax.random.key(0), (3, num_styles(SHAPE), 5))
    return module, jit(module.init)(jax.random.key(1), styles), styles


def test_one_style_for_all_layers_is_that_style_in_each(synthesis):
    module, variables, styles = synthesis
    apply = jit(partial(module.apply, train=False))
    same = jnp.broadcast_to(styles[:, :1], styles.shape)
    np.testing.assert_array_equal(apply(variables, styles[:, 0]), apply(variables, same))
    for i in range(num_styles(SHAPE)):
        moved = apply(variables, styles.at[:, i].add(1.0))
        assert np.abs(moved - apply(variables, styles)).max() > 1e-3, i
    with pytest.raises(ValueError, match="take 4 styles, got 3"):
        module.apply(variables, styles[:, :3])


def drawn(variables, deviation=0.5):
    """Variables of this structure in which everything says something."""
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: np.float32(random.normal(scale=deviation, size=leaf.shape)), variables)


def rectified(x):
    return (np.where(x > 0, x, 0.2 * x) * np.sqrt(2)).astype(np.float32)


def test_synthesis_layer_by_layer(synthesis):
    """Which style goes where, and that colours of all resolutions are added."""
    module, variables, styles = synthesis
    variables = drawn(variables)
    params, noise = variables["params"], variables["reference"]

    def modulated(name, x, i, **options):
        part = params[name]["ModulatedConvolution_0"]
        layer = ModulatedConvolution(part["kernel"].shape[3], part["kernel"].shape[:2], **options)
        return np.asarray(layer.apply({"params": part}, jnp.asarray(x), styles[:, i]))

    def styled(name, x, i, up=False):
        x = modulated(name, x, i, up=up) + params[name]["strength"] * noise[name]["noise"]
        return rectified(x + params[name]["bias"])

    def colours(name, x, i):
        return modulated(name, x, i, demodulate=False) + params[name]["bias"]

    x = styled("_StyledLayer_0", np.tile(params["start"], (3, 1, 1, 1)), 0)
    image = np.asarray(upsample(jnp.asarray(colours("_Colours_0", x, 1))))
    x = styled("_StyledLayer_2", styled("_StyledLayer_1", x, 1, up=True), 2)
    found = jit(lambda v: module.apply(v, styles, train=True))(variables)
    np.testing.assert_allclose(found, image + colours("_Colours_1", x, 3), rtol=1e-3, atol=1e-3)


def test_each_example_has_noise_of_its_own_in_training(synthesis):
    module, variables, styles = synthesis
    same = jnp.broadcast_to(styles[:1], styles.shape)
    made = jit(lambda v, key: module.apply(v, same, train=True, rngs={"noise": key}))(
        drawn(variables), jax.random.key(0)
    )
    assert np.abs(made[0] - made[1]).max() > 1e-2
    # and noise of its own at each pixel: no two differ by a constant
    assert np.std(np.asarray(made[0] - made[1])[..., 0]) > 1e-2


def test_noise_is_new_in_training_held_in_use_and_as_strong_as_learnt(synthesis):
    module, variables, styles = synthesis
    apply = jit(lambda v, key: module.apply(v, styles, train=True, rngs={"noise": key}))
    quiet = [apply(variables, jax.random.key(k)) for k in (0, 1)]
    np.testing.assert_array_equal(*quiet)  # strengths begin at 0

    def strong(path: tuple, leaf: jax.Array) -> jax.Array:
        return leaf + 0.5 if path[-1].key == "strength" else leaf

    loud = {**variables, "params": jax.tree_util.tree_map_with_path(strong, variables["params"])}
    one, other = (apply(loud, jax.random.key(k)) for k in (0, 1))
    assert np.abs(one - other).max() > 1e-2
    held = module.apply(loud, styles, train=True)
    assert np.abs(held - quiet[0]).max() > 1e-2
    in_use = module.apply(loud, styles, train=False, rngs={"noise": jax.random.key(0)})
    np.testing.assert_allclose(in_use, jnp.clip(held, -1, 1), atol=1e-5)


def test_generator_is_mapping_and_synthesis_by_their_names():
    mapping, synthesis = Mapping(num_styles(SHAPE), 5, 2, mixing=0.0), Synthesis(SHAPE, 3)
    z = jax.random.normal(jax.random.key(0), (3, 6))
    whole = jit(Generator(mapping, synthesis).init)(jax.random.key(1), z)
    assert {*whole["params"]} == {"mapping", "synthesis"}
    parts = [{kind: tree[n] for kind, tree in whole.items() if n in tree} for n in ("mapping", "synthesis")]
    styles = mapping.apply(parts[0], z, train=False)
    expected = synthesis.apply(parts[1], styles, train=False)
    np.testing.assert_array_equal(Generator(mapping, synthesis).apply(whole, z, train=False), expected)


def test_discriminator_begins_with_unit_features_and_compares_groups_that_divide():
    x = jax.random.normal(jax.random.key(0), (6, *SHAPE))
    module = Discriminator(SHAPE, 8, group=4)
    variables = jit(module.init)(jax.random.key(1), x)
    (features,) = module.apply(variables, x, mutable=["intermediates"])[1]["intermediates"]["features"]
    assert 0.3 < np.sqrt(np.mean(np.square(features))) < 3.0
    # six examples in groups of three: 0, 2 and 4 together
    moved = np.abs(module.apply(variables, x.at[0].add(0.5)) - module.apply(variables, x))
    assert np.all(moved[::2] > 1e-6) and np.all(moved[1::2] == 0)


@pytest.mark.parametrize("classes", [0, 2])
def test_the_discriminator_layer_by_layer(classes):
    """Residual blocks of unit variance, without minibatch deviation; the class by a slow mapping, or none."""
    module = Discriminator(SHAPE, 3, num_classes=classes, mapping_depth=1, group=0)
    x, label = jax.random.normal(jax.random.key(0), (3, *SHAPE)), jnp.array([0, 1, 1])
    told = (label,) if classes else ()
    # biases as large as they would be used: the mapping's are multiplied by a hundredth
    params = drawn(jax.eval_shape(module.init, jax.random.key(1), x, *told)["params"], 1.0)

    def weights(name):
        kernel = params[name]["kernel"]
        return kernel / np.float32(np.sqrt(np.prod(kernel.shape[:-1])))

    def convolved(name, x, function=convolution):
        return np.asarray(function(jnp.asarray(x), weights(name))) + params[name].get("bias", np.float32(0.0))

    def dense(i, x, rate=1.0):
        return rate * (x @ weights(f"Dense_{i}") + params[f"Dense_{i}"]["bias"])

    y = rectified(convolved("Convolution_0", x))
    shortcut = convolved("Convolution_1", downsample(jnp.asarray(y)))
    y = smooth(jnp.asarray(rectified(convolved("Convolution_2", y))))
    y = (rectified(convolved("PooledConvolution_0", y, pooled_convolution)) + shortcut) / np.float32(np.sqrt(2))
    y = rectified(convolved("Convolution_3", y))
    y = rectified(dense(0, y.reshape(3, -1)))
    if classes:
        embedded = dense(1, np.eye(2)[label])
        embedded = embedded / np.sqrt((embedded**2).mean(1, keepdims=True))
        expected = (dense(3, y) * rectified(dense(2, embedded, 0.01))).sum(1) / np.sqrt(6)
    else:
        expected = dense(1, y)[:, 0]
    found = jit(lambda p: module.apply({"params": p}, x, *told))(params)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_impossible_sizes_are_named():
    for module in (Synthesis((9, 8, 1)), Synthesis((4, 4, 1))):
        with pytest.raises(ValueError, match=r"8 or more, got \dx\d"):
            stylegan2.depth_of(module.shape)
    with pytest.raises(ValueError, match=r"\(8, 8, 1\), got \(16, 16, 1\)"):
        jax.eval_shape(Discriminator((8, 8, 1), 4).init, jax.random.key(0), jnp.zeros((2, 16, 16, 1)))
