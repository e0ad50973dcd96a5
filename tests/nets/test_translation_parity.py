"""Nets from pictures to pictures against PyTorch, with copied parameters: outputs, and gradients of all parameters."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.losses.penalties import r1
from jaxgan.nets.adapt import adapt
from jaxgan.nets.layers import BatchNorm, InstanceNorm
from jaxgan.nets.padding import reflect_pad, zero_pad
from jaxgan.nets.patch import PatchDiscriminator
from jaxgan.nets.translation import PatchSampleMLP, ResNetTranslator, SuperResolver, UNet

torch = pytest.importorskip("torch")
F = torch.nn.functional

# these programs run once: what takes time is compiling them
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def drawn(net, seed=1):
    """Variables off their start, large enough for every layer to matter."""
    draw = np.random.default_rng(seed)

    def fill(path, leaf):
        value = draw.normal(size=leaf.shape)
        if path[-1].key == "negative_slope":
            value = 0.1 + 0.3 * draw.uniform(size=leaf.shape)
        elif leaf.ndim > 1:
            value = value * np.sqrt(2 / np.prod(leaf.shape[:-1]))
        else:
            value = (path[-1].key in ("scale", "var")) + 0.2 * value
        return np.asarray(value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, jax.eval_shape(net.init, jax.random.key(0)))


def to_torch(x):
    return torch.from_numpy(np.array(x, np.float32)).permute(0, 3, 1, 2)


class Peer:
    """Our parameters as PyTorch's functions take them: layers by name, in the order of their numbers."""

    def __init__(self, params):
        leaf = lambda x: torch.from_numpy(np.array(x)).requires_grad_(True)  # noqa: E731
        self.tree = jax.tree.map(leaf, jax.tree.map(np.asarray, dict(params)))
        self.count = {}

    def __call__(self, tree, kind):
        key = (id(tree), kind)
        self.count[key] = self.count.get(key, -1) + 1
        return tree[f"{kind}_{self.count[key]}"]

    def leaves(self):
        return jax.tree.leaves(self.tree)

    def convolution(self, tree, x, kind, stride=1, padding=0):
        layer = self(tree, kind)
        return F.conv2d(x, layer["kernel"].permute(3, 2, 0, 1), layer.get("bias"), stride, padding)

    def transposed(self, tree, x, output_padding=0):
        layer = self(tree, "UpsamplingConvolution")
        # ours paints the kernel turned
        weight = layer["kernel"].permute(2, 3, 0, 1).flip(2, 3)
        return F.conv_transpose2d(x, weight, layer.get("bias"), 2, 1, output_padding)

    def normalized(self, tree, x, norm):
        if norm is None:
            return x
        if norm is BatchNorm:
            layer = self(tree, "BatchNorm")["BatchNorm_0"]
            return F.batch_norm(x, None, None, layer["scale"], layer["bias"], training=True)
        affine = self(tree, "InstanceNorm")["InstanceNorm_0"] if "InstanceNorm_0" in tree else {}
        return F.instance_norm(x, weight=affine.get("scale"), bias=affine.get("bias"))

    def prelu(self, tree, x):
        return F.prelu(x, self(tree, "PReLU")["negative_slope"].reshape(1))


def assert_same(net, peer_of, *inputs):
    """Outputs in training mode, and the gradients of a weighted sum of them."""
    variables = drawn(net)
    output = jit(net.apply)(variables, *inputs)[0]
    weight = np.random.default_rng(7).normal(size=output.shape).astype(np.float32)
    peer = Peer(variables["params"])
    theirs = peer_of(peer, *(to_torch(x) if np.ndim(x) == 4 else torch.from_numpy(np.asarray(x)) for x in inputs))
    if theirs.ndim == 4:
        theirs = theirs.permute(0, 2, 3, 1)
    assert output.shape == tuple(theirs.shape)
    np.testing.assert_allclose(output, theirs.detach().numpy(), rtol=1e-3, atol=1e-4)

    def loss(params):
        return jnp.sum(weight * net.apply({**variables, "params": params}, *inputs)[0])

    ours = jax.tree.leaves(jit(jax.grad(loss))(variables["params"]))
    gradients = torch.autograd.grad((torch.from_numpy(weight) * theirs).sum(), peer.leaves())
    for a, b in zip(ours, gradients, strict=True):
        scale = float(b.abs().max())
        assert scale > 0
        np.testing.assert_allclose(a, b.numpy(), rtol=2e-3, atol=2e-3 * scale)


def affine(dtype=jnp.float32):
    return InstanceNorm(affine=True, dtype=dtype)


def unet(peer, x, depth, norm):
    """As nested blocks, the way pix2pix's code has it."""
    tree = peer.tree

    def block(x, level):
        y = x if level == 0 else F.leaky_relu(x, 0.2)
        y = peer.convolution(tree, y, "DownsamplingConvolution", 2, 1)
        if 0 < level < depth - 1:
            y = peer.normalized(tree, y, norm)
        if level < depth - 1:
            y = block(y, level + 1)
        y = peer.transposed(tree, F.relu(y))
        if level == 0:
            return torch.tanh(y)
        return torch.cat([x, peer.normalized(tree, y, norm)], 1)

    return block(x, 0)


@pytest.mark.parametrize("norm", [None, BatchNorm, InstanceNorm, affine])
def test_unet(norm):
    net = adapt(UNet(2, depth=4, width=3, normalization=norm), (16, 32, 3))
    assert_same(net, lambda peer, x: unet(peer, x, 4, norm), images(3, 16, 32, 3))


def test_the_deepest_unet_is_that_of_the_paper():
    """8 halvings, with at most 8 times the width and no normalization where one position is left."""
    params = jax.eval_shape(adapt(UNet(3, depth=8, width=64), (256, 256, 3)).init, jax.random.key(0))["params"]
    sides = [[params[f"{way}samplingConvolution_{i}"]["kernel"].shape[2:] for i in range(8)] for way in ("Down", "Up")]
    assert [out for _, out in sides[0]] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert sides[1] == [(512, 512), *[(1024, 512)] * 3, (1024, 256), (512, 128), (256, 64), (128, 3)]
    biased = [name for name, layer in params.items() if "bias" in layer]
    assert sorted(biased) == ["DownsamplingConvolution_0", "DownsamplingConvolution_7", "UpsamplingConvolution_7"]


def padded(x, pixels, padding):
    # as PyTorch cannot reflect a picture that is too small, numpy says which pixels these are
    rows, columns = (np.pad(np.arange(n), pixels, mode="reflect") for n in x.shape[2:])
    return x[:, :, rows][:, :, :, columns] if padding is reflect_pad else F.pad(x, (pixels,) * 4)


def residual(peer, x, norm, rectify, pad):
    tree = peer(peer.tree, "ResidualBlock")
    y = peer.normalized(tree, peer.convolution(tree, pad(x, 1), "ValidConvolution"), norm)
    y = peer.convolution(tree, pad(rectify(tree, y), 1), "ValidConvolution")
    return x + peer.normalized(tree, y, norm)


def translator(peer, x, blocks, halvings, norm, padding, kernel, first=True):
    tree, pad = peer.tree, lambda x, pixels: padded(x, pixels, padding)
    x = F.relu(peer.normalized(tree, peer.convolution(tree, pad(x, 3), "ValidConvolution"), norm if first else None))
    for _ in range(halvings):
        x = F.relu(peer.normalized(tree, peer.convolution(tree, x, "DownsamplingConvolution", 2, 1), norm))
    for _ in range(blocks):
        x = residual(peer, x, norm, lambda _, y: F.relu(y), pad)
    for _ in range(halvings):
        x = F.relu(peer.normalized(tree, peer.transposed(tree, x, 4 - kernel), norm))
    return torch.tanh(peer.convolution(tree, pad(x, 3), "ValidConvolution"))


@pytest.mark.parametrize(
    ("norm", "padding", "kernel", "halvings"),
    [
        (InstanceNorm, reflect_pad, 3, 2),
        (affine, zero_pad, 4, 2),
        (None, zero_pad, 3, 1),
        (BatchNorm, reflect_pad, 4, 1),
    ],
)
def test_residual_translator(norm, padding, kernel, halvings):
    module = ResNetTranslator(
        2, width=4, blocks=2, halvings=halvings, normalization=norm, padding=padding, kernel=kernel
    )
    assert_same(
        adapt(module, (12, 16, 3)),
        lambda peer, x: translator(peer, x, 2, halvings, norm, padding, kernel),
        images(3, 12, 16, 3),
    )


def halved_by_filter(x):
    taps = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=x.shape[1])


def antialiased(peer, x, blocks, halvings, norm):
    """CUT's generator: Park et al. 2020, the authors' code."""
    tree, pad = peer.tree, lambda x, pixels: padded(x, pixels, reflect_pad)
    x = F.relu(peer.normalized(tree, peer.convolution(tree, pad(x, 3), "ValidConvolution"), norm))
    for _ in range(halvings):
        x = halved_by_filter(F.relu(peer.normalized(tree, peer.convolution(tree, x, "Convolution", 1, 1), norm)))
    for _ in range(blocks):
        x = residual(peer, x, norm, lambda _, y: F.relu(y), pad)
    for _ in range(halvings):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = F.relu(peer.normalized(tree, peer.convolution(tree, x, "Convolution", 1, 1), norm))
    return torch.tanh(peer.convolution(tree, pad(x, 3), "ValidConvolution"))


@pytest.mark.parametrize(("norm", "halvings"), [(InstanceNorm, 2), (None, 1)])
def test_residual_translator_with_low_pass_filters(norm, halvings):
    module = ResNetTranslator(2, width=4, blocks=2, halvings=halvings, normalization=norm, antialias=True)
    net = adapt(module, (12, 16, 3))
    assert_same(net, lambda peer, x: antialiased(peer, x, 2, halvings, norm), images(3, 12, 16, 3))
    # the contrast of CUT is between what the halvings see before they are normalized, at the side that they have then
    (_, maps), _ = net.features(net.init(jax.random.key(0)), images(3, 12, 16, 3))
    assert [m.shape[1:] for m in maps[:3]] == [(12, 16, 3), (12, 16, 8), (6, 8, 16 if halvings == 2 else 8)]


@pytest.mark.parametrize(
    ("label", "padding", "first"),
    [(np.array([2, 0, 1]), zero_pad, True), (images(3, 3), reflect_pad, False)],
    ids=["classes", "attributes"],
)
def test_translator_told_a_label(label, padding, first):
    """Beside the picture at every pixel, the picture first: Choi et al. 2018, section 3.3 and the authors' code."""
    vectors = np.eye(3, dtype=np.float32)[label] if label.ndim == 1 else label
    maps = np.broadcast_to(vectors[:, None, None], (3, 8, 8, 3))
    module = ResNetTranslator(2, width=4, blocks=1, num_domains=3, padding=padding, first_normalized=first)
    net = adapt(module, (8, 8, 2), ())
    assert_same(
        net,
        lambda peer, x, _: translator(peer, torch.cat([x, to_torch(maps)], 1), 1, 2, InstanceNorm, padding, 3, first),
        images(3, 8, 8, 2),
        label,
    )


def resolver(peer, x, blocks, doublings, norm):
    tree, pad = peer.tree, lambda x, pixels: F.pad(x, (pixels,) * 4)
    convolved = lambda x, side: peer.convolution(tree, pad(x, side // 2), "ValidConvolution")  # noqa: E731
    x = first = peer.prelu(tree, convolved(x, 9))
    for _ in range(blocks):
        x = residual(peer, x, norm, peer.prelu, pad)
    x = first + peer.normalized(tree, convolved(x, 3), norm)
    for _ in range(doublings):
        x = convolved(x, 3)
        # PyTorch has the 2x2 pixels last among a map's channels, we have them first
        x = F.pixel_shuffle(x.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2), 2)
        x = peer.prelu(tree, x)
    return torch.tanh(convolved(x, 9))


@pytest.mark.parametrize(("norm", "factor"), [(BatchNorm, 4), (None, 2), (InstanceNorm, 1)])
def test_super_resolver(norm, factor):
    net = adapt(SuperResolver(2, width=4, blocks=2, factor=factor, normalization=norm), (6, 5, 3))
    assert_same(net, lambda peer, x: resolver(peer, x, 2, factor.bit_length() - 1, norm), images(3, 6, 5, 3))


def patches(peer, x, layers, norm, source=None, antialias=False):
    tree = peer.tree
    if source is not None:
        x = torch.cat([F.interpolate(source, x.shape[2:], mode="nearest"), x], 1)
    for i in range(layers):
        if antialias:
            x = peer.convolution(tree, F.pad(x, (1, 2, 1, 2)), "ValidConvolution")
        else:
            x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
            x = peer.convolution(tree, x, "DownsamplingConvolution", 2, 1)
        x = F.leaky_relu(x if i == 0 else peer.normalized(tree, x, norm), 0.2)
        x = halved_by_filter(x) if antialias else x
    x = peer.convolution(tree, F.pad(x, (1, 2, 1, 2)), "ValidConvolution")
    x = F.leaky_relu(peer.normalized(tree, x, norm), 0.2)
    return peer.convolution(tree, F.pad(x, (1, 2, 1, 2)), "ValidConvolution")[:, 0]


@pytest.mark.parametrize("norm", [None, BatchNorm, InstanceNorm])
def test_patch_discriminator(norm):
    # 13 is odd, and so is its half
    net = adapt(PatchDiscriminator(4, 2, normalization=norm), (13, 16, 3))
    assert_same(net, lambda peer, x: patches(peer, x, 2, norm), images(3, 13, 16, 3))


@pytest.mark.parametrize("norm", [None, InstanceNorm])
def test_patch_discriminator_with_low_pass_filters(norm):
    net = adapt(PatchDiscriminator(4, 2, normalization=norm, antialias=True), (13, 16, 3))
    assert_same(net, lambda peer, x: patches(peer, x, 2, norm, antialias=True), images(3, 13, 16, 3))


@pytest.mark.parametrize("size", [(8, 12), (4, 4)], ids=["of one size", "enlarged"])
def test_patch_discriminator_beside_a_source(size):
    net = adapt(PatchDiscriminator(4, 1), (8, 12, 3), (*size, 2))
    assert_same(
        net,
        lambda peer, x, source: patches(peer, x, 1, None, source),
        images(3, 8, 12, 3),
        images(3, *size, 2, seed=3),
    )


@pytest.mark.parametrize("norm", [None, InstanceNorm])
def test_r1_of_patch_logits(norm):
    """The squared gradient of the sum over a picture's logits, and its gradient for the parameters."""
    net = adapt(PatchDiscriminator(4, 1, normalization=norm), (8, 8, 3))
    variables, x = drawn(net), images(3, 8, 8, 3)

    def penalty(params):
        return r1(lambda x: net.apply({**variables, "params": params}, x)[0], x, x, jax.random.key(0))

    peer, y = Peer(variables["params"]), to_torch(x).requires_grad_(True)
    (slope,) = torch.autograd.grad(patches(peer, y, 1, norm).sum(), y, create_graph=True)
    expected = slope.square().sum((1, 2, 3))
    np.testing.assert_allclose(jit(penalty)(variables["params"]), expected.detach().numpy(), rtol=1e-3)
    ours = jit(jax.grad(lambda params: jnp.sum(jnp.arange(1.0, 4.0) * penalty(params))))(variables["params"])
    gradients = torch.autograd.grad((torch.arange(1.0, 4.0) * expected).sum(), peer.leaves(), allow_unused=True)
    for a, b in zip(jax.tree.leaves(ours), gradients, strict=True):
        theirs = np.zeros(a.shape, np.float32) if b is None else b.numpy()
        np.testing.assert_allclose(a, theirs, rtol=2e-3, atol=2e-3 * max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize("scaled", [False, True])
def test_instance_norm(scaled):
    x = 3.0 + 2.0 * images(4, 5, 6, 3)
    variables = drawn(adapt(InstanceNorm(affine=scaled), (5, 6, 3)))
    params = {"InstanceNorm_0": variables["params"]} if scaled else {}
    assert bool(variables.get("params")) == scaled
    peer = Peer(params)
    theirs = peer.normalized(peer.tree, to_torch(x), InstanceNorm).permute(0, 2, 3, 1)
    layer = torch.nn.InstanceNorm2d(3)(to_torch(x)).permute(0, 2, 3, 1)
    output = InstanceNorm(affine=scaled).apply(variables, x, True)
    np.testing.assert_allclose(output, theirs.detach().numpy(), atol=1e-4)
    assert np.allclose(layer.numpy(), output, atol=1e-4) == (not scaled)


def test_patch_sample_mlp():
    samples = images(3, 5, 4), images(3, 7, 2, seed=3)
    net = adapt(PatchSampleMLP(6), *(x.shape[1:] for x in samples))
    variables = drawn(net)
    found = net.apply(variables, *samples)[0]
    params = jax.tree.map(lambda x: torch.from_numpy(np.array(x)), dict(variables["params"]))
    for i, (x, ours) in enumerate(zip(samples, found, strict=True)):
        first, second = params[f"Dense_{i}"], params[f"Dense_{i + 2}"]
        hidden = F.relu(torch.from_numpy(x) @ first["kernel"] + first["bias"])
        expected = F.normalize(hidden @ second["kernel"] + second["bias"], dim=-1)
        np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-4, atol=1e-5)
