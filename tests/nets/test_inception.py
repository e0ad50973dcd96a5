import hashlib
import http.server
import threading
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.features import FeatureNet, features, probabilities
from jaxgan.evaluation.resize import clean, tf1
from jaxgan.nets import inception
from jaxgan.nets.inception import BLOCKS, SIZE, Conv, apply_block, extractors, forward, from_torch, load_weights
from tests.nets.pictures import pictures


def random_state(shapes, seed=0):
    generator = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("conv.weight"):
            value = generator.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
            value -= value.mean(axis=(1, 2, 3), keepdims=True)
        elif name == "fc.weight":
            value = generator.normal(size=shape) / np.sqrt(shape[1])
        elif name.endswith(("bn.weight", "running_var")):
            value = generator.uniform(0.5, 1.5, shape)
        else:
            value = 0.3 * generator.normal(size=shape)
        state[name] = value.astype(np.float32)
    return state


@pytest.fixture(scope="module")
def state():
    return random_state(inception.state_shapes())


@pytest.fixture(scope="module")
def params(state):
    return from_torch(state)


def net(params, resize=tf1):
    return FeatureNet("inception", *extractors(params, resize), "00")


def test_the_number_of_weights_is_that_of_inception_v3():
    shapes = inception.state_shapes()
    trained = sum(np.prod(s) for name, s in shapes.items() if "running" not in name and not name.startswith("fc."))
    # Keras counts 21,768,352 without the last layer and without the 17,216 factors of batch norm
    assert trained == 21_768_352 + 17_216
    assert sum(name.endswith("conv.weight") for name in shapes) == 94
    assert shapes["Mixed_7c.branch3x3_2a.conv.weight"] == (384, 384, 1, 3)
    assert shapes["Mixed_6c.branch7x7dbl_2.conv.weight"] == (160, 160, 7, 1)
    assert shapes["fc.weight"] == (1008, 2048)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("MaxPool_2", (71, 71, 192), (35, 35, 192)),
        ("Mixed_5d", (35, 35, 288), (35, 35, 288)),
        ("Mixed_6a", (35, 35, 288), (17, 17, 768)),
        ("Mixed_6e", (17, 17, 768), (17, 17, 768)),
        ("Mixed_7a", (17, 17, 768), (8, 8, 1280)),
        ("Mixed_7b", (8, 8, 1280), (8, 8, 2048)),
    ],
)
def test_shapes_of_blocks(params, name, before, after):
    block = partial(apply_block, params, name, BLOCKS[name])
    assert jax.eval_shape(block, jnp.zeros((2, *before))).shape == (2, *after)


def test_pools_by_hand():
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32) - 3

    def windows(i, j):
        return x[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]

    mean = [[windows(i, j).mean() for j in range(4)] for i in range(5)]
    largest = [[windows(i, j).max() for j in range(4)] for i in range(5)]
    np.testing.assert_allclose(inception.average(x[None, :, :, None])[0, :, :, 0], mean, rtol=1e-6)
    np.testing.assert_array_equal(inception.maximum(x[None, :, :, None])[0, :, :, 0], largest)
    np.testing.assert_array_equal(inception.halved(x[None, :, :, None])[0, :, :, 0], np.array(largest)[1:4:2, 1:2])


def test_one_convolution_by_hand(state, params):
    # 3x3, stride 2, no padding, then batch norm unfolded, in float64
    x = np.random.default_rng(1).normal(size=(1, 9, 12, 3)).astype(np.float32)
    part = {name.split(".", 1)[1]: v.astype(np.float64) for name, v in state.items() if name.startswith("Conv2d_1a")}
    patches = np.lib.stride_tricks.sliding_window_view(x[0].astype(np.float64), (3, 3), (0, 1))[::2, ::2]
    hidden = np.einsum("hwcij,ocij->hwo", patches, part["conv.weight"])
    normal = (hidden - part["bn.running_mean"]) / np.sqrt(part["bn.running_var"] + 1e-3)
    expected = np.maximum(normal * part["bn.weight"] + part["bn.bias"], 0)
    found = apply_block(params, "Conv2d_1a_3x3", BLOCKS["Conv2d_1a_3x3"], jnp.asarray(x))
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_fc_is_after_the_mean_and_probabilities_are_without_bias(state, params, monkeypatch):
    # a net of the stem's first convolution alone: the ends are what is tested
    monkeypatch.setattr(inception, "BLOCKS", {"Conv2d_1a_3x3": ((Conv("", 32, (3, 3), 2, False),),)})
    few = dict(params) | {"fc": {"kernel": params["fc"]["kernel"][:32] * 40, "bias": params["fc"]["bias"]}}
    images = pictures(3, (40, 30))
    resized = (np.asarray(tf1(jnp.asarray(images), SIZE)) - 128.0) / 128.0
    made = forward(few, jnp.asarray(resized))
    pooled = np.asarray(made["Conv2d_1a_3x3"], np.float64).mean(axis=(1, 2))
    logits = pooled @ few["fc"]["kernel"].astype(np.float64)
    np.testing.assert_allclose(made["logits_unbiased"], logits, atol=1e-4)
    np.testing.assert_allclose(made["logits"], logits + state["fc.bias"], atol=1e-4)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert expected.max() > 0.01
    np.testing.assert_allclose(features(net(few), images), pooled, atol=1e-5)
    np.testing.assert_allclose(probabilities(net(few), images), expected, rtol=1e-3)
    # pictures not yet saved are rounded to the levels that saving gives them
    floats = images / 127.5 - 1.0 + 0.003
    np.testing.assert_allclose(features(net(few), floats), pooled, atol=1e-5)
    # grey is three equal channels, and the resizer that was asked for is the one that runs
    grey = images[..., :1]
    np.testing.assert_array_equal(features(net(few), grey), features(net(few), np.repeat(grey, 3, axis=-1)))
    assert np.abs(features(net(few, clean), images) - pooled).max() > 1e-3


def test_every_layer_against_torch_fidelity(state, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchvision", exc_type=ImportError)
    peer = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", exc_type=ImportError)
    path = tmp_path / "weights.pth"
    torch.save({k: torch.from_numpy(v) for k, v in state.items()}, path, _use_new_zipfile_serialization=False)
    theirs = peer.FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased", "logits"], str(path))
    expected = {}
    for name, module in theirs.named_children():
        module.register_forward_hook(lambda _m, _i, out, name=name: expected.update({name: out}))
    images = pictures(2, (40, 57))
    outputs = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))

    found = jax.jit(lambda p, x: forward(p, (tf1(x, SIZE) - 128) / 128))(load_weights(path).params, images)
    for name in BLOCKS:
        layer = expected[name].numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(found[name], layer, atol=5e-4 * layer.std(), err_msg=name)
    for name, output in zip(("features", "logits_unbiased", "logits"), outputs, strict=True):
        output = output.numpy()
        # of how images differ, not of what they share
        np.testing.assert_allclose(found[name], output, atol=5e-3 * output.std(axis=0).mean(), err_msg=name)


@pytest.mark.parametrize("name", ["Mixed_5b", "Mixed_6a", "Mixed_6b", "Mixed_7a", "Mixed_7b", "Mixed_7c"])
def test_a_block_against_its_pieces_in_torch(state, params, name):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional

    def conv(part, x, stride=1, padding=(0, 0)):
        get = {key: torch.from_numpy(state[f"{name}.{part}.{key}"]) for key in ("conv.weight", "bn.weight", "bn.bias")}
        mean, variance = (torch.from_numpy(state[f"{name}.{part}.bn.running_{key}"]) for key in ("mean", "var"))
        x = functional.conv2d(x, get["conv.weight"], stride=stride, padding=padding)
        return functional.relu(functional.batch_norm(x, mean, variance, get["bn.weight"], get["bn.bias"], eps=1e-3))

    def chain(x, *parts):
        for part, padding in parts:
            x = conv(part, x, padding=padding)
        return x

    def pooled(x):
        return conv("branch_pool", functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False))

    def block_a(x):
        tower = chain(x, ("branch3x3dbl_1", 0), ("branch3x3dbl_2", 1), ("branch3x3dbl_3", 1))
        return conv("branch1x1", x), chain(x, ("branch5x5_1", 0), ("branch5x5_2", 2)), tower, pooled(x)

    def block_b(x):
        tower = conv("branch3x3dbl_3", chain(x, ("branch3x3dbl_1", 0), ("branch3x3dbl_2", 1)), 2)
        return conv("branch3x3", x, 2), tower, functional.max_pool2d(x, 3, 2)

    def block_c(x):
        across, down = (0, 3), (3, 0)
        single = chain(x, ("branch7x7_1", 0), ("branch7x7_2", across), ("branch7x7_3", down))
        double = [(f"branch7x7dbl_{i}", p) for i, p in enumerate((0, down, across, down, across), 1)]
        return conv("branch1x1", x), single, chain(x, *double), pooled(x)

    def block_d(x):
        tower = chain(x, ("branch7x7x3_1", 0), ("branch7x7x3_2", (0, 3)), ("branch7x7x3_3", (3, 0)))
        small = conv("branch3x3_2", conv("branch3x3_1", x), 2)
        return small, conv("branch7x7x3_4", tower, 2), functional.max_pool2d(x, 3, 2)

    def block_e(x):
        def forked(part, x):
            return conv(f"{part}a", x, padding=(0, 1)), conv(f"{part}b", x, padding=(1, 0))

        double = forked("branch3x3dbl_3", chain(x, ("branch3x3dbl_1", 0), ("branch3x3dbl_2", 1)))
        last = conv("branch_pool", functional.max_pool2d(x, 3, 1, 1)) if name == "Mixed_7c" else pooled(x)
        return conv("branch1x1", x), *forked("branch3x3_2", conv("branch3x3_1", x)), *double, last

    blocks = {"Mixed_5b": block_a, "Mixed_6a": block_b, "Mixed_6b": block_c, "Mixed_7a": block_d}
    channels = {"Mixed_5b": 192, "Mixed_6a": 288, "Mixed_6b": 768, "Mixed_7a": 768, "Mixed_7b": 1280, "Mixed_7c": 2048}
    # padded borders matter, and an average over negative and positive numbers tells the poolings apart
    x = np.random.default_rng(2).normal(size=(1, 7, 9, channels[name])).astype(np.float32) + 0.5
    expected = torch.cat(blocks.get(name, block_e)(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())), 1).numpy()
    found = apply_block(params, name, BLOCKS[name], jnp.asarray(x))
    np.testing.assert_allclose(found, expected.transpose(0, 2, 3, 1), atol=1e-5 * np.abs(expected).max())


def test_counters_are_passed_over_and_other_states_refused(state, params):
    counted = state | {"Conv2d_1a_3x3.bn.num_batches_tracked": np.int64(3)}
    np.testing.assert_array_equal(from_torch(counted)["fc"]["kernel"], params["fc"]["kernel"])
    missing = {name: value for name, value in state.items() if not name.startswith("fc.")}
    with pytest.raises(ValueError, match=r"fc\.weight is missing, fc\.bias is missing$"):
        from_torch(missing)
    with pytest.raises(ValueError, match=r"AuxLogits\.fc\.weight is unexpected$"):
        from_torch(state | {"AuxLogits.fc.weight": np.zeros(3)})
    with pytest.raises(ValueError, match=r"fc\.weight is \(1000, 2048\), not \(1008, 2048\)"):
        from_torch(state | {"fc.weight": np.zeros((1000, 2048))})
    with pytest.raises(ValueError, match="and 469 more"):
        from_torch({"a": np.zeros(3), "b": np.zeros(3)})
    for bad in (np.nan, -1.0):
        with pytest.raises(ValueError, match=r"Mixed_7a\.branch3x3_1\.bn\.running_var"):
            from_torch(state | {"Mixed_7a.branch3x3_1.bn.running_var": np.full(192, bad)})


def test_wrong_images_are_refused(params):
    with pytest.raises(ValueError, match="1 or 3"):
        features(net(params), np.zeros((2, 8, 8, 4), np.uint8))
    with pytest.raises(ValueError, match="299, 299, 3"):
        forward(params, jnp.zeros((1, 224, 224, 3)))


# The door: where weights come from. Reading them is tested above and in test_torch_weights.

CONTENT = b"as if 95 MB of weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def door(monkeypatch, tmp_path):
    """A cache folder of this test, and a source with CONTENT for the published file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(inception, "PUBLISHED_SHA256", DIGEST[:8])
    monkeypatch.setattr(inception, "read_state", lambda path: {"read": Path(path).read_bytes()})
    monkeypatch.setattr(inception, "from_torch", lambda state: state)
    source = tmp_path / "source.pth"
    source.write_bytes(CONTENT)
    return source


def cached(tmp_path):
    folder = tmp_path / "cache" / "jaxgan"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_published_file_is_fetched_once(door, tmp_path):
    weights = load_weights(url=door.as_uri())
    assert (weights.params["read"], weights.identity, weights.is_published) == (CONTENT, DIGEST, True)
    assert weights.name == "inception-v3-fid"
    assert cached(tmp_path) == [inception.FILE]
    door.unlink()
    assert load_weights(url=door.as_uri()).identity == DIGEST


def test_a_file_of_ones_own_is_not_called_fid(door, tmp_path):
    own = tmp_path / "own.pth"
    own.write_bytes(b"other weights")
    weights = load_weights(own)
    digest = hashlib.sha256(b"other weights").hexdigest()
    assert (weights.identity, weights.is_published, weights.name) == (digest, False, f"inception-v3-{digest[:8]}")
    assert load_weights(door).is_published
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "none.pth")
    assert cached(tmp_path) == []


def test_a_source_that_cannot_be_had(door, tmp_path):
    with pytest.raises(OSError, match=rf"could not download.*get {inception.FILE} from https.*pass its path") as error:
        load_weights(url=(tmp_path / "none.pth").as_uri())
    assert "\n" not in str(error.value) and cached(tmp_path) == []


def test_another_file_is_not_kept(door, tmp_path, monkeypatch):
    door.write_bytes(b"<html>sign in</html>")
    with pytest.raises(OSError, match=rf"SHA-256 \w{{8}}\.\.\., not {DIGEST[:8]}"):
        load_weights(url=door.as_uri())
    monkeypatch.setattr(inception, "MAX_BYTES", 10)
    with pytest.raises(OSError, match="more than 10 bytes"):
        load_weights(url=door.as_uri())
    assert cached(tmp_path) == []


def test_a_damaged_cache_is_named(door, tmp_path):
    load_weights(url=door.as_uri())
    (tmp_path / "cache" / "jaxgan" / inception.FILE).write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=rf"{inception.FILE} is damaged.*delete it"):
        load_weights(url=door.as_uri())


def test_a_cut_download_is_not_kept(door, tmp_path):
    class Cut(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000])

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Cut) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(OSError, match=f"cut off after 1000 of {len(CONTENT)}"):
            load_weights(url=f"http://127.0.0.1:{server.server_port}/weights.pth")
        thread.join()
    assert cached(tmp_path) == []


def test_a_cache_that_cannot_be_written(door, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match="could not download"):
        load_weights(url=door.as_uri())
