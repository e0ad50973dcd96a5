import hashlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.special import erf

from jaxgan.evaluation.features import FeatureNet, features
from jaxgan.evaluation.resize import bicubic_matrix, clean
from jaxgan.nets import dinov2
from jaxgan.nets.dinov2 import (
    Architecture,
    apply_block,
    architecture_of,
    extractors,
    forward,
    from_torch,
    load_weights,
    position_matrix,
    state_shapes,
)
from tests.nets.pictures import pictures

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SMALL = Architecture(width=64, depth=2, hidden=96, grid=37)
TINY = {
    "mlp": SMALL,
    "swiglu": Architecture(width=128, depth=2, hidden=88, grid=37, is_gated=True),
    "registers": Architecture(width=128, depth=2, hidden=160, grid=37, num_registers=4),
    "grid of 224": Architecture(width=64, depth=1, hidden=64, grid=16),
}


def random_state(architecture, seed=0):
    """Weights under which attention is far from uniform, and nothing is symmetric."""
    generator = np.random.default_rng(seed)
    state = {}
    for name, shape in state_shapes(architecture).items():
        if name.endswith(("gamma", "norm.weight", "norm1.weight", "norm2.weight")):
            value = generator.uniform(0.5, 1.5, shape)
        elif name in ("cls_token", "register_tokens", "pos_embed"):
            value = generator.normal(size=shape)
        elif name.endswith("weight"):
            value = 1.5 * generator.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        else:
            value = 0.3 * generator.normal(size=shape)
        state[name] = value.astype(np.float32)
    return state


@pytest.fixture(scope="module")
def state():
    return random_state(SMALL)


@pytest.fixture(scope="module")
def params(state):
    return from_torch(state)


def shapes_only(architecture):
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in state_shapes(architecture).items()}


@pytest.mark.parametrize(
    ("architecture", "name", "millions"),
    [
        # millions of parameters as the model cards count them
        (Architecture(384, 12, 1536, 37), "vits14", 22.1),
        (Architecture(768, 12, 3072, 37), "vitb14", 86.6),
        (Architecture(1024, 24, 4096, 37, num_registers=4), "vitl14-reg4", 304.4),
        (Architecture(1536, 40, 4096, 37, is_gated=True), "vitg14", 1136.5),
        (SMALL, "vit-64x2", 0.2),
    ],
)
def test_sizes_are_read_off_the_shapes(architecture, name, millions):
    assert architecture_of(shapes_only(architecture)) == architecture
    assert architecture.name == name
    assert sum(np.prod(s) for s in state_shapes(architecture).values()) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize("gated", [False, True])
def test_one_block_by_hand(gated):
    # in float64, head by head, layer scale not folded; and the gate is the first half
    architecture = Architecture(128, 1, 40, 16, is_gated=gated)
    state = random_state(architecture, seed=3)
    part = {name.removeprefix("blocks.0."): v.astype(np.float64) for name, v in state.items()}
    x = np.random.default_rng(4).normal(size=(2, 5, 128))

    def norm(name, x):
        normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return normal * part[f"{name}.weight"] + part[f"{name}.bias"]

    def linear(name, x):
        return x @ part[f"{name}.weight"].T + part[f"{name}.bias"]

    query, key, value = np.split(linear("attn.qkv", norm("norm1", x)), 3, axis=-1)
    heads = []
    for head in (slice(0, 64), slice(64, 128)):
        scores = np.exp(query[..., head] @ key[..., head].swapaxes(1, 2) / 8)
        heads.append(scores / scores.sum(-1, keepdims=True) @ value[..., head])
    expected = x + linear("attn.proj", np.concatenate(heads, axis=-1)) * part["ls1.gamma"]
    normal = norm("norm2", expected)
    if gated:
        gate, hidden = np.split(linear("mlp.w12", normal), 2, axis=-1)
        output = linear("mlp.w3", gate / (1 + np.exp(-gate)) * hidden)
    else:
        hidden = linear("mlp.fc1", normal)
        output = linear("mlp.fc2", hidden * (1 + erf(hidden / np.sqrt(2))) / 2)
    expected = expected + output * part["ls2.gamma"]

    block = jax.tree.map(lambda value: value[0], from_torch(state)["blocks"])
    found = apply_block(block, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_patches_and_tokens_by_hand(state, params):
    # a network without blocks: what goes in and the last norm
    images = np.random.default_rng(1).normal(size=(2, 224, 224, 3)).astype(np.float32)
    few = dict(params) | {"blocks": jax.tree.map(lambda value: value[:0], params["blocks"])}
    found = forward(few, jnp.asarray(images))
    assert found.shape == (2, 257, 64)
    side = position_matrix(37, 16, antialias=False)
    learned = state["pos_embed"][0, 1:].reshape(37, 37, 64).astype(np.float64)
    cls = state["cls_token"][0, 0] + state["pos_embed"][0, 0]
    tokens = {0: np.stack([cls, cls])}
    for row, column in [(0, 0), (3, 11), (15, 2)]:
        patch = images[:, 14 * row : 14 * row + 14, 14 * column : 14 * column + 14].astype(np.float64)
        embedded = np.einsum("nhwi,oihw->no", patch, state["patch_embed.proj.weight"]) + state["patch_embed.proj.bias"]
        position = np.einsum("i,j,ijw->w", side[row], side[column], learned)
        tokens[1 + 16 * row + column] = embedded + position
    for i, token in tokens.items():
        normal = (token - token.mean(-1, keepdims=True)) / np.sqrt(token.var(-1, keepdims=True) + 1e-6)
        expected = normal * state["norm.weight"] + state["norm.bias"]
        np.testing.assert_allclose(found[:, i], expected, atol=2e-5, err_msg=str(i))


def test_positions_by_hand():
    # with t the fraction between two positions, Keys' weights at a = -0.75 are, left to right, these
    before, after = 7, 4
    centre = 1.5 * 7 / 4.1 - 0.5
    t = centre - 2
    assert 0 < t < 1
    a = -0.75
    weights = [
        a * t * (1 - t) ** 2,
        1 - (a + 3) * t**2 + (a + 2) * t**3,
        1 - (a + 3) * (1 - t) ** 2 + (a + 2) * (1 - t) ** 3,
        a * t**2 * (1 - t),
    ]
    found = position_matrix(before, after, antialias=False)
    np.testing.assert_allclose(found[1], [0, *weights, 0, 0], atol=1e-12)
    # beyond the border the last position is read again
    assert found[3, 6] > 0 and found[3, :4].tolist() == [0, 0, 0, 0]
    for antialias in (False, True):
        np.testing.assert_allclose(position_matrix(37, 16, antialias).sum(axis=1), 1, atol=1e-12)
        np.testing.assert_array_equal(position_matrix(16, 16, antialias), np.eye(16))
    # antialiased it is the resizing of pictures
    np.testing.assert_allclose(position_matrix(37, 16, True), bicubic_matrix(37, 16), atol=1e-12)
    np.testing.assert_allclose(position_matrix(9, 16, True), bicubic_matrix(9, 16), atol=1e-12)


@pytest.mark.parametrize("before", [5, 12, 16, 17, 37])
@pytest.mark.parametrize("antialias", [False, True])
def test_positions_against_torch(before, antialias):
    torch = pytest.importorskip("torch")
    learned = np.random.default_rng(before).normal(size=(before, before, 3)).astype(np.float32)
    grid = torch.from_numpy(learned.transpose(2, 0, 1)[None].copy())
    # what the released code asks for, with and without registers
    how = {"size": (16, 16)} if antialias else {"scale_factor": (float(16 + 0.1) / before,) * 2}
    if before != 16:
        grid = torch.nn.functional.interpolate(grid, mode="bicubic", antialias=antialias, **how)
    side = position_matrix(before, 16, antialias)
    found = np.einsum("ri,cj,ijw->rcw", side, side, learned)
    np.testing.assert_allclose(found, grid[0].numpy().transpose(1, 2, 0), atol=2e-5)


def in_torch(torch, architecture, state, images):
    """The whole network with torch's own layers: normalised images [n, 3, 224, 224] to tokens [n, tokens, width]."""
    functional = torch.nn.functional
    get = {name: torch.from_numpy(value) for name, value in state.items()}
    width, registers = architecture.width, architecture.num_registers

    def norm(name, x):
        return functional.layer_norm(x, (width,), get[f"{name}.weight"], get[f"{name}.bias"], 1e-6)

    def linear(name, x):
        return functional.linear(x, get[f"{name}.weight"], get[f"{name}.bias"])

    x = functional.conv2d(images, get["patch_embed.proj.weight"], get["patch_embed.proj.bias"], stride=14)
    n, rows = len(x), x.shape[2]
    positions = get["pos_embed"][0, 1:].T.reshape(1, width, architecture.grid, architecture.grid)
    if architecture.grid != rows:
        how = {"size": (rows, rows)} if registers else {"scale_factor": ((rows + 0.1) / architecture.grid,) * 2}
        positions = functional.interpolate(positions, mode="bicubic", antialias=bool(registers), **how)
    x = (x + positions).flatten(2).transpose(1, 2)
    first = [(get["cls_token"] + get["pos_embed"][:, :1]).expand(n, -1, -1)]
    if registers:
        first.append(get["register_tokens"].expand(n, -1, -1))
    x = torch.cat([*first, x], 1)
    for i in range(architecture.depth):
        name = f"blocks.{i}"
        qkv = linear(f"{name}.attn.qkv", norm(f"{name}.norm1", x))
        heads = [part.unflatten(-1, (-1, 64)).transpose(1, 2) for part in qkv.chunk(3, dim=-1)]
        attended = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        x = x + get[f"{name}.ls1.gamma"] * linear(f"{name}.attn.proj", attended)
        hidden = norm(f"{name}.norm2", x)
        if architecture.is_gated:
            gate, hidden = linear(f"{name}.mlp.w12", hidden).chunk(2, dim=-1)
            output = linear(f"{name}.mlp.w3", functional.silu(gate) * hidden)
        else:
            output = linear(f"{name}.mlp.fc2", functional.gelu(linear(f"{name}.mlp.fc1", hidden)))
        x = x + get[f"{name}.ls2.gamma"] * output
    return norm("norm", x).numpy()


@pytest.mark.parametrize("kind", TINY)
def test_every_token_against_torch(kind):
    torch = pytest.importorskip("torch")
    architecture = TINY[kind]
    state = random_state(architecture, seed=5)
    images = np.random.default_rng(6).normal(size=(2, 224, 224, 3)).astype(np.float32)
    expected = in_torch(torch, architecture, state, torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    found = jax.jit(partial(forward, from_torch(state)))(images)
    assert found.shape == expected.shape == (2, 257 + architecture.num_registers, architecture.width)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # the two pictures differ by far more than that, in the class token too
    assert np.abs(expected[0, 0] - expected[1, 0]).max() > 0.01


def test_from_a_saved_file_to_features_against_torch_and_pillow(tmp_path):
    torch = pytest.importorskip("torch")
    architecture = TINY["registers"]
    state = random_state(architecture, seed=7)
    path = tmp_path / "mine.pth"
    saved = state | {"mask_token": np.zeros((1, architecture.width), np.float32)}
    torch.save({name: torch.from_numpy(value) for name, value in saved.items()}, path)
    images = pictures(3, (40, 57))
    resized = [
        [
            Image.fromarray(image[..., c].astype(np.float32)).resize((224, 224), Image.Resampling.BICUBIC)
            for c in (0, 1, 2)
        ]
        for image in images
    ]
    channels = np.clip(np.array([[np.asarray(channel) for channel in image] for image in resized]), 0, 255)
    normal = (channels / 255 - MEAN.reshape(3, 1, 1)) / STD.reshape(3, 1, 1)
    expected = in_torch(torch, architecture, state, torch.from_numpy(normal.astype(np.float32)))[:, 0]

    weights = load_weights(path)
    extract, classify = extractors(weights.params, clean)
    assert classify is None
    net = FeatureNet(weights.name, extract, classify, weights.identity, "clean")
    found = features(net, images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # one by one, with a batch that is padded, nothing changes
    np.testing.assert_allclose(features(net, images, batch_size=2), found, atol=1e-5)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (weights.identity, weights.name) == (digest, f"dinov2-{architecture.name}-{digest[:8]}")


def test_pixels_become_levels_and_the_input_of_imagenet(params, monkeypatch):
    seen = []
    monkeypatch.setattr(dinov2, "forward", lambda params, images: seen.append(images) or jnp.zeros((2, 3, 4)))
    extract, _ = extractors(params, clean)
    images = pictures(2, (224, 224))
    # a float picture that is not yet saved is rounded to the levels that saving gives it
    assert extract(jnp.asarray(images / 127.5 - 1.0 + 0.003, jnp.float32)).shape == (2, 4)
    np.testing.assert_allclose(seen[0], (images / 255.0 - MEAN) / STD, atol=1e-5)
    # grey is three equal channels, not yet normalised; and proportions are given up, not the borders
    grey = pictures(2, (30, 20), channels=1)
    extract(jnp.asarray(grey / 127.5 - 1.0, jnp.float32))
    expected = np.asarray(clean(jnp.asarray(np.repeat(grey, 3, axis=-1)), (224, 224)))
    np.testing.assert_allclose(seen[1], (expected / 255.0 - MEAN) / STD, atol=1e-5)


def test_products_are_at_the_highest_precision(params):
    text = jax.jit(partial(forward, params)).lower(jnp.zeros((1, 224, 224, 3))).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) == 7 and all("HIGHEST" in line for line in products)


def test_other_states_are_refused(state):
    refusal = "not the weights of a DINOv2 vision transformer: "
    without = {name: value for name, value in state.items() if not name.endswith("ls1.gamma")}
    with pytest.raises(
        ValueError, match=rf"^{refusal}blocks\.0\.ls1\.gamma is missing, blocks\.1\.ls1\.gamma is missing$"
    ):
        from_torch(without)
    with pytest.raises(ValueError, match=rf"{refusal}head\.weight is unexpected$"):
        from_torch(state | {"head.weight": np.zeros(3)})
    # a vision transformer of DINO or of timm has other patches
    other = state | {"patch_embed.proj.weight": np.zeros((64, 3, 16, 16))}
    with pytest.raises(ValueError, match=r"patch_embed\.proj\.weight is \(64, 3, 16, 16\), not \(64, 3, 14, 14\)$"):
        from_torch(other)
    # training saves blocks in chunks
    chunked = {name.replace("blocks.1.", "blocks.0.1."): value for name, value in state.items()}
    with pytest.raises(ValueError, match=r"blocks\.0\.1\.norm1\.weight is unexpected.* and 9 more$"):
        from_torch(chunked)
    with pytest.raises(ValueError, match=rf"{refusal}pos_embed is missing$"):
        from_torch({"fc.weight": np.zeros((1008, 2048))})
    with pytest.raises(ValueError, match=r"blocks\.0\.mlp\.fc2\.weight is missing$"):
        from_torch({name: value for name, value in state.items() if not name.startswith("blocks")})
    with pytest.raises(ValueError, match=r"pos_embed is \(1370, 64\), not \(1, 1 \+ patches, width\)"):
        from_torch(state | {"pos_embed": state["pos_embed"][0]})
    with pytest.raises(ValueError, match=r"register_tokens is \(1, 0, 64\)"):
        from_torch(state | {"register_tokens": np.zeros((1, 0, 64))})
    with pytest.raises(ValueError, match="1369 positions, not 1 and those of a square"):
        from_torch(state | {"pos_embed": state["pos_embed"][:, 1:]})
    with pytest.raises(ValueError, match="width 63 is not a multiple of 64"):
        from_torch(state | {"pos_embed": state["pos_embed"][..., 1:]})
    with pytest.raises(ValueError, match=r"blocks\.1\.attn\.qkv\.bias is not finite"):
        from_torch(state | {"blocks.1.attn.qkv.bias": np.full(192, np.nan)})


def test_a_file_of_something_else_is_named(tmp_path, monkeypatch):
    path = tmp_path / "inception.pth"
    with pytest.raises(FileNotFoundError):
        load_weights(path)
    path.write_bytes(b"other weights")
    with pytest.raises(ValueError, match=r"inception\.pth"):
        load_weights(path)
    monkeypatch.setattr(dinov2, "read_state", lambda path: {"fc.weight": np.zeros((1008, 2048))})
    with pytest.raises(ValueError, match=r"inception\.pth: not the weights of a DINOv2"):
        load_weights(path)


def test_wrong_images_are_refused(params):
    extract, _ = extractors(params, clean)
    with pytest.raises(ValueError, match="1 or 3"):
        extract(jnp.zeros((2, 8, 8, 4)))
    with pytest.raises(ValueError, match="224, 224, 3"):
        forward(params, jnp.zeros((1, 299, 299, 3)))
