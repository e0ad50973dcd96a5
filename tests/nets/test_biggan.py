import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets import biggan
from jaxgan.nets.adapt import adapt
from tests.nets.test_resnet import double, halve, jit, relu, same, shapes, size


def test_parameter_counts_are_those_that_the_authors_code_prints():
    """The nets for 128 pixels and ImageNet's classes."""
    generator = biggan.Generator((128, 128, 3), num_classes=1000, attention=64)
    assert size(shapes(generator, (120,), ())) == 70_433_988
    discriminator = biggan.discriminator((128, 128, 3), num_classes=1000, attention=64)
    assert size(shapes(discriminator, (128, 128, 3), ())) == 87_982_370


@pytest.mark.parametrize(
    ("side", "up", "down", "halvings"),
    [
        (8, (4, 4), (4, 4, 4), 1),
        (28, (4, 4, 4), (4, 4, 4, 4), 2),
        (32, (4, 4, 4, 4), (4, 4, 4, 4), 2),
        (64, (16, 16, 8, 4, 2), (1, 2, 4, 8, 16), 4),
        (256, (16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16), 6),
    ],
)
def test_channels_follow_from_the_size(side, up, down, halvings):
    """The authors' tables, for ch = 3."""
    made = shapes(biggan.Generator((side, side, 3), 3), (21,))
    blocks = [made[f"UpBlock_{i}"]["Convolution_1"]["kernel"].shape for i in range(len(up) - 1)]
    assert [shape[-1] for shape in blocks] == [3 * u for u in up[1:]]
    assert made["Dense_0"]["kernel"].shape[-1] == 3 * up[0] * (side // 2 ** (len(up) - 1)) ** 2
    made = shapes(biggan.discriminator((side, side, 3), 3), (side, side, 3))
    last = [made[f"DownBlock_{i}"] for i in range(len(down) - 1)]
    assert [b.get("PooledConvolution_0", b["Convolution_0"])["kernel"].shape[-1] for b in last] == [
        3 * d for d in down[1:]
    ]
    assert sum("PooledConvolution_0" in block for block in made.values()) == halvings


@pytest.mark.parametrize(("latent", "side", "expected"), [(120, 128, (20,) * 6), (7, 28, (3, 2, 2)), (2, 8, (1, 1))])
def test_the_latent_is_shared_out_to_the_start_and_the_blocks(latent, side, expected):
    assert biggan.chunk_sizes(latent, (side, side, 3)) == expected


# -- the nets once more, in numpy ------------------------------------------------------------------


def filled(module, *inputs):
    """Variables in which everything says something: gamma of attention, running statistics, directions."""
    draws = np.random.default_rng(0)

    def fill(path, leaf):
        value = draws.normal(scale=0.4, size=leaf.shape)
        if path[-1].key in ("var", "scale"):
            value = 1 + 0.3 * np.tanh(value)
        return np.float32(value)

    variables = jax.eval_shape(adapt(module, *inputs).init, jax.random.key(0))
    return jax.tree_util.tree_map_with_path(fill, variables)


def divided(layer, held):
    """A layer with its kernel over the singular value that one iteration from the held u finds."""
    kernel, u = (np.asarray(x, np.float64) for x in (layer["kernel"], held["u"]))
    matrix = kernel.reshape(-1, kernel.shape[-1]).T
    v = matrix.T @ u / np.linalg.norm(matrix.T @ u)
    u = matrix @ v / np.linalg.norm(matrix @ v)
    return {**layer, "kernel": kernel / (u @ matrix @ v)}


def attended(params, spectral, x):
    names = ("query", "key", "value", "output")
    kernels = {name: divided(params[name], spectral[f"SpectralNorm_{i}"])["kernel"] for i, name in enumerate(names)}
    n, h, w, _ = x.shape
    query = (x @ kernels["query"]).reshape(n, h * w, -1)
    key, value = (
        (x @ kernels[name]).reshape(n, h // 2, 2, w // 2, 2, -1).max((2, 4)).reshape(n, h * w // 4, -1)
        for name in ("key", "value")
    )
    weights = np.exp(query @ key.transpose(0, 2, 1))
    mean = weights / weights.sum(-1, keepdims=True) @ value
    return x + np.asarray(params["gamma"], np.float64) * (mean.reshape(n, h, w, -1) @ kernels["output"])


@pytest.mark.parametrize("train", [True, False])
def test_the_generator_is_the_papers(train):
    """A chunk for the start, a chunk joined to the shared embedding for the block, attention at the end."""
    module = biggan.Generator((8, 12, 2), 1, num_classes=3, embedding=4, attention=8)
    variables = filled(module, (5,), ())
    latent, label = jax.random.normal(jax.random.key(1), (6, 5)), jnp.array([2, 0, 1, 1, 0, 2])
    params, spectral, stats = (variables[name] for name in ("params", "spectral", "batch_stats"))
    embedded = np.asarray(params["embedding"], np.float64)[np.asarray(label)]
    condition = np.concatenate([embedded, np.asarray(latent)[:, 3:]], axis=1)

    def standard(x, held):
        mean, var = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if train else (held["mean"], held["var"])
        return (x - mean) / np.sqrt(np.asarray(var, np.float64) + 1e-5)

    def norm(name, x):
        part, u = block[name], spectral["UpBlock_0"][name]
        scale, shift = (condition @ divided(part[f"Dense_{i}"], u[f"SpectralNorm_{i}"])["kernel"] for i in range(2))
        held = stats["UpBlock_0"][name]["BatchNorm_0"]
        return (1 + scale)[:, None, None] * standard(x, held) + shift[:, None, None]

    def conv(name, place, x):
        return same(divided(block[name], spectral["UpBlock_0"][f"SpectralNorm_{place}"]), x)

    block = params["UpBlock_0"]
    dense = divided(params["Dense_0"], spectral["SpectralNorm_0"])
    x = (np.asarray(latent, np.float64)[:, :3] @ dense["kernel"] + dense["bias"]).reshape(6, 4, 6, 4)
    shortcut = conv("Convolution_0", 0, double(x))
    x = conv("UpsampledConvolution_0", 1, double(relu(norm("ConditionalBatchNorm_0", x))))
    x = conv("Convolution_1", 2, relu(norm("ConditionalBatchNorm_1", x))) + shortcut
    x = attended(params["SelfAttention_0"], spectral["SelfAttention_0"], x)
    last = params["BatchNorm_0"]["BatchNorm_0"]
    x = standard(x, stats["BatchNorm_0"]["BatchNorm_0"]) * last["scale"] + last["bias"]
    x = np.tanh(same(divided(params["Convolution_0"], spectral["SpectralNorm_1"]), relu(x)))
    apply = adapt(module, (5,), ()).apply
    np.testing.assert_allclose(
        jit(lambda v: apply(v, latent, label, train=train)[0])(variables), x, rtol=2e-3, atol=5e-4
    )


def test_chunks_go_to_the_blocks_in_their_order():
    """Two blocks: what another part of the latent changes first."""
    module = biggan.Generator((16, 16, 1), 1)
    variables, latent = filled(module, (6,)), jax.random.normal(jax.random.key(1), (2, 6))

    @jit
    def blocks(latent):
        found = module.apply(variables, latent, train=False, capture_intermediates=True, mutable=["intermediates"])[1]
        return [found["intermediates"][f"UpBlock_{i}"]["__call__"][0] for i in range(2)]

    before = blocks(latent)
    for part, changed in ((0, [True, True]), (1, [True, True]), (2, [False, True])):
        after = blocks(latent.at[:, 2 * part].add(1.0))
        assert [bool(np.abs(a - b).max() > 1e-3) for a, b in zip(after, before, strict=True)] == changed, part


def test_the_discriminator_is_the_papers():
    """Blocks that widen in their first convolution; here without spectral normalization and attention."""
    module = biggan.discriminator((8, 8, 2), 1, num_classes=3, spectral=False)
    params, label = filled(module, (8, 8, 2), ())["params"], jnp.array([2, 0])
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 2))
    x = np.asarray(images, np.float64)
    first = params["FirstBlock_0"]
    x = halve(same(first["PooledConvolution_0"], relu(same(first["Convolution_1"], x)))) + same(
        first["Convolution_0"], halve(x)
    )
    for i in range(2):
        block = params[f"DownBlock_{i}"]
        x = x + same(block["Convolution_1"], relu(same(block["Convolution_0"], relu(x))))
    features = relu(x).sum((1, 2))
    logit = (features @ params["Dense_0"]["kernel"])[:, 0] + params["Dense_0"]["bias"]
    logit = logit + (features * params["Dense_1"]["kernel"][np.asarray(label)]).sum(1)
    found = jit(lambda p: module.apply({"params": p}, images, label))(params)
    np.testing.assert_allclose(found, logit, rtol=1e-3, atol=1e-3)


def test_kernels_begin_orthogonal_and_the_embedding_is_never_divided():
    module = biggan.Generator((8, 8, 2), 2, num_classes=5, embedding=7, attention=4)
    variables = jit(adapt(module, (6,), ()).init)(jax.random.key(0))
    checked = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        if leaf.ndim > 1:
            matrix = np.asarray(leaf).reshape(-1, leaf.shape[-1])
            products = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
            np.testing.assert_allclose(products, np.eye(len(products)), atol=1e-5, err_msg=str(path))
            checked += 1
    # the start, 4 of attention, 3 of the block, 2 of each of its normalizations, the last: and one table
    assert checked == 14 and len(jax.tree.leaves(variables["spectral"])) == 13


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (biggan.Generator((7, 7, 1)), (9,), "7x7"),
        (biggan.Generator((32, 32, 1)), (3,), "4 or more, got 3"),
        (biggan.Generator((32, 32, 1), attention=5), (9,), r"one of \[4, 8, 16, 32\] pixels, got 5"),
        (biggan.discriminator((32, 32, 1), attention=4), (32, 32, 1), r"one of \[8, 16\] pixels, got 4"),
    ],
)
def test_what_does_not_fit_is_named(module, shape, message):
    with pytest.raises(ValueError, match=message):
        shapes(module, shape)
