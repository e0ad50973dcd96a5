from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from jaxgan.nets import resnet
from jaxgan.nets.adapt import adapt
from jaxgan.nets.layers import BatchNorm, LayerNorm

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def shapes(module, *inputs):
    return jax.eval_shape(adapt(module, *inputs).init, jax.random.key(0))["params"]


def size(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def conv(features_in, features_out, side=3):
    return side * side * features_in * features_out + features_out


def test_parameter_counts_of_the_cifar_nets():
    """Table 4 of the paper, layer by layer, with the biases of the authors' code."""
    w = 256
    block = 2 * conv(w, w) + conv(w, w, 1) + 2 * 2 * w
    expected = 128 * 16 * w + 16 * w + 3 * block + 2 * w + conv(w, 3)
    assert size(shapes(resnet.Generator((32, 32, 3), normalization=BatchNorm), (128,))) == expected == 4_276_739
    w = 128
    first, halving = conv(3, w) + conv(w, w) + conv(3, w, 1), 2 * conv(w, w) + conv(w, w, 1)
    expected = first + halving + 2 * 2 * conv(w, w) + w + 1
    made = shapes(resnet.Discriminator((32, 32, 3), spectral=True), (32, 32, 3))
    assert size(made) == expected == 1_053_825


def test_parameter_counts_of_the_imagenet_nets():
    """Widths that change from block to block: G widens in a block's first convolution, D in its second."""
    widths = (1024, 1024, 512, 256, 128, 64)
    block = lambda a, b: conv(a, b) + conv(b, b) + conv(a, b, 1) + 2 * a + 2 * b  # noqa: E731
    expected = 129 * 16 * 1024 + sum(map(block, widths[:-1], widths[1:])) + 2 * 64 + conv(64, 3)
    generator = resnet.Generator((128, 128, 3), features=widths, normalization=BatchNorm)
    assert size(shapes(generator, (128,))) == expected
    widths = (64, 128, 256, 512, 1024, 1024)
    block = lambda a, b: conv(a, a) + conv(a, b) + conv(a, b, 1)  # noqa: E731
    first = conv(3, 64) + conv(64, 64) + conv(3, 64, 1)
    last = 2 * conv(1024, 1024) + 1024 + 1  # keeps sides and channels: no convolution in the shortcut
    expected = first + sum(map(block, widths[:-2], widths[1:-1])) + last
    assert size(shapes(resnet.Discriminator((128, 128, 3), features=widths, depth=5), (128, 128, 3))) == expected


@pytest.mark.parametrize(
    ("side", "start", "doublings", "halvings"),
    [(28, 7, 2, 2), (32, 4, 3, 2), (48, 6, 3, 2), (64, 4, 4, 3), (128, 4, 5, 4), (8, 4, 1, 1)],
)
def test_the_number_of_blocks_follows_from_the_size(side, start, doublings, halvings):
    made = shapes(resnet.Generator((side, side, 1), 3), (5,))
    assert made["Dense_0"]["kernel"].shape == (5, start * start * 3)
    assert sum(name.startswith("UpBlock") for name in made) == doublings
    made = shapes(resnet.Discriminator((side, side, 1), 3), (side, side, 1))
    assert sum("PooledConvolution_0" in block for block in made.values()) == halvings
    assert sum(name.startswith(("DownBlock", "FirstBlock")) for name in made) == halvings + 2


def test_weights_begin_with_the_gains_of_the_code():
    """Uniform in +-gain sqrt(6 / (in + out)): gain sqrt(2) in residual branches, 1 in shortcuts and at both ends."""
    for module, inputs, number in (
        (resnet.Generator((8, 8, 3), 16), (5,), 5),
        (resnet.Discriminator((8, 8, 3), 16, num_classes=9), (8, 8, 3), 9),
    ):
        init = adapt(module, inputs, *([()] if module.num_classes else [])).init
        leaves = jax.tree_util.tree_leaves_with_path(jit(init)(jax.random.key(0))["params"])
        kernels = [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves if path[-1].key == "kernel"]
        assert len(kernels) == number and all(not np.any(leaf) for path, leaf in leaves if path[-1].key == "bias")
        for name, kernel in kernels:
            residual = "Block" in name and kernel.shape[:2] == (3, 3)
            area = np.prod(kernel.shape[:-2])
            bound = np.sqrt((2 if residual else 1) * 6 / (area * (kernel.shape[-2] + kernel.shape[-1])))
            assert np.abs(kernel).max() <= bound * 1.0001
            if kernel.size > 40:
                assert np.abs(kernel).max() > 0.85 * bound, name


# -- the nets once more, in numpy ------------------------------------------------------------------


def same(params, x):
    kernel = np.asarray(params["kernel"], np.float64)
    planes = [
        [
            sum(correlate2d(image[..., i], kernel[..., i, o], "same") for i in range(x.shape[-1]))
            for o in range(kernel.shape[-1])
        ]
        for image in x
    ]
    return np.transpose(planes, (0, 2, 3, 1)) + np.asarray(params["bias"])


def double(x):
    return np.kron(x, np.ones((1, 2, 2, 1)))


def halve(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


def relu(x):
    return np.maximum(x, 0)


def standard(x, axes):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def filled(module, *inputs):
    draws = np.random.default_rng(0)
    fill = lambda leaf: draws.normal(scale=0.4, size=leaf.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(fill, shapes(module, *inputs))


@pytest.mark.parametrize("normalized", [False, True])
def test_the_generator_is_the_papers(normalized):
    """Pre-activation blocks, the 1x1 shortcut on the doubled picture, as the paper draws them."""
    module = resnet.Generator((8, 12, 2), features=(3, 4), normalization=LayerNorm if normalized else None)
    params, latent = filled(module, (5,)), jax.random.normal(jax.random.key(1), (2, 5))

    def norm(layer, x):
        return (
            standard(x, (1, 2, 3)) * layer["LayerNorm_0"]["scale"] + layer["LayerNorm_0"]["bias"] if normalized else x
        )

    block = params["UpBlock_0"]
    x = np.asarray(latent, np.float64) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    x = x.reshape(2, 4, 6, 3)
    shortcut = same(block["Convolution_0"], double(x))
    x = same(block["UpsampledConvolution_0"], double(relu(norm(block.get("LayerNorm_0"), x))))
    x = same(block["Convolution_1"], relu(norm(block.get("LayerNorm_1"), x))) + shortcut
    x = np.tanh(same(params["Convolution_0"], relu(norm(params.get("LayerNorm_0"), x))))
    result = jit(lambda p: module.apply({"params": p}, latent))(params)
    np.testing.assert_allclose(result, x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mean_pooling", [False, True])
def test_the_discriminator_is_the_papers(mean_pooling):
    """A first block that does not rectify its input; then one that halves, one that keeps all, one that widens."""
    module = resnet.Discriminator((8, 8, 2), features=(3, 3, 3, 4), depth=2, num_classes=3, mean_pooling=mean_pooling)
    params, label = filled(module, (8, 8, 2), ()), jnp.array([2, 0])
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 2))
    x = np.asarray(images, np.float64)
    first, second, third, fourth = (params[name] for name in ("FirstBlock_0", *(f"DownBlock_{i}" for i in range(3))))
    residual = same(first["PooledConvolution_0"], relu(same(first["Convolution_1"], x)))
    x = halve(residual) + halve(same(first["Convolution_0"], x))
    residual = same(second["PooledConvolution_0"], relu(same(second["Convolution_1"], relu(x))))
    x = halve(residual) + halve(same(second["Convolution_0"], x))
    assert set(third) == {"Convolution_0", "Convolution_1"}
    x = x + same(third["Convolution_1"], relu(same(third["Convolution_0"], relu(x))))
    x = same(fourth["Convolution_0"], x) + same(fourth["Convolution_2"], relu(same(fourth["Convolution_1"], relu(x))))
    features = relu(x).mean((1, 2)) if mean_pooling else relu(x).sum((1, 2))
    logit = (features @ params["Dense_0"]["kernel"])[:, 0] + params["Dense_0"]["bias"]
    logit = logit + (features * params["Dense_1"]["kernel"][np.asarray(label)]).sum(1)
    result = jit(lambda p: module.apply({"params": p}, images, label))(params)
    np.testing.assert_allclose(result, logit, rtol=1e-3, atol=1e-3)
    shown = jit(lambda p: adapt(module, (8, 8, 2), ()).features({"params": p}, images, label)[0][1])(params)
    np.testing.assert_allclose(shown, features, rtol=1e-3, atol=1e-3)


def test_the_critic_is_normalized_in_all_blocks_but_the_first():
    made = shapes(resnet.Discriminator((16, 16, 3), 4, normalization=LayerNorm), (16, 16, 3))
    norms = {name: sum(part.startswith("LayerNorm") for part in block) for name, block in made.items()}
    assert norms == {"FirstBlock_0": 0, "DownBlock_0": 2, "DownBlock_1": 2, "Dense_0": 0}


def test_class_norm_tells_the_blocks_the_class_and_not_the_latent():
    """One scale and one shift a class for each of a block's two normalizations; the last one is told nothing."""
    options = {"shape": (8, 8, 3), "features": (3, 4), "normalization": BatchNorm, "num_classes": 6}
    module = resnet.Generator(class_norm=True, **options)
    made = shapes(module, (5,), ())
    assert made["Dense_0"]["kernel"].shape == (5, 4 * 4 * 3) and "BatchNorm_0" in made
    norms = {name: part for name, part in made["UpBlock_0"].items() if "Norm" in name}
    assert jax.tree.map(jnp.shape, norms) == {
        f"ConditionalBatchNorm_{i}": {f"Dense_{j}": {"kernel": (6, width)} for j in range(2)}
        for i, width in enumerate((3, 4))
    }
    variables = jit(adapt(module, (5,), ()).init)(jax.random.key(0))
    latent, apply = jax.random.normal(jax.random.key(1), (2, 5)), jit(partial(module.apply, train=False))
    fresh = apply(variables, latent, jnp.array([5, 5]))
    np.testing.assert_array_equal(fresh, apply(variables, latent, jnp.array([0, 3])))  # all begin alike
    table = variables["params"]["UpBlock_0"]["ConditionalBatchNorm_1"]["Dense_1"]
    table["kernel"] = table["kernel"].at[3].set(2.0)
    moved = np.abs(apply(variables, latent, jnp.array([0, 3])) - fresh).max((1, 2, 3))
    assert moved[0] == 0 and moved[1] > 1e-3
    for wrong in ({"normalization": None}, {"num_classes": 0}, {"reference": lambda key: jnp.zeros((2, 5))}):
        with pytest.raises(ValueError, match="class_norm is batch normalization told the class"):
            shapes(resnet.Generator(class_norm=True, **{**options, **wrong}), (5,), ())


def test_attention_follows_where_the_sides_are_first_so_long():
    """Its channels are those of the block in front of it."""
    channels = lambda made: made["SelfAttention_0"]["output"]["kernel"].shape[-1]  # noqa: E731
    for height, expected in ((4, 10), (8, 12), (16, 14)):
        made = shapes(resnet.Generator((16, 24, 3), features=(10, 12, 14), attention=height), (5,))
        assert channels(made) == expected and "SelfAttention_1" not in made
    for height, expected in ((8, 10), (4, 12)):
        net = resnet.Discriminator((16, 24, 3), features=(10, 12, 14), depth=2, attention=height)
        made = shapes(net, (16, 24, 3))
        assert channels(made) == expected and "SelfAttention_1" not in made


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (resnet.Generator((7, 7, 1)), (5,), "7x7"),
        (resnet.Generator((28, 28, 1), depth=3), (5,), "divisible by 8, got 28x28"),
        (resnet.Generator((32, 32, 1), features=(3, 2)), (5,), "4 numbers here, got"),
        (resnet.Generator((32, 32, 1), attention=5), (5,), r"one of \[4, 8, 16, 32\] pixels, got 5"),
        (resnet.Discriminator((32, 32, 1), attention=32), (32, 32, 1), r"one of \[8, 16\] pixels, got 32"),
        (resnet.Discriminator((9, 8, 3)), (9, 8, 3), "9x8"),
        (resnet.Discriminator((32, 32, 3), features=(3,)), (32, 32, 3), "2 or more here"),
        (resnet.Discriminator((8, 8, 3)), (8, 8, 1), r"\(8, 8, 3\), got \(8, 8, 1\)"),
    ],
)
def test_what_does_not_fit_is_named(module, shape, message):
    with pytest.raises(ValueError, match=message):
        shapes(module, shape)
