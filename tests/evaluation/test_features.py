import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxgan.evaluation import features as module
from jaxgan.evaluation.features import FeatureNet, features, probabilities, random_conv
from jaxgan.evaluation.frechet import frechet_distance, moments


def images(n, size=(8, 8, 2), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *size)).astype(np.uint8)


def test_batches_and_padding_do_not_show():
    net = random_conv((8, 8, 2))
    seven = images(7)
    whole = features(net, seven)
    assert whole.shape == (7, 192) and whole.dtype == np.float32
    alone = np.concatenate([features(net, seven[i : i + 1]) for i in range(7)])
    np.testing.assert_allclose(features(net, seven, batch_size=3), alone, atol=1e-5)
    np.testing.assert_allclose(whole, alone, atol=1e-5)
    assert np.abs(whole[0] - whole[1]).max() > 0.01


def test_one_compilation_for_all_batches_and_calls():
    traces = []

    def extract(batch):
        traces.append(batch.shape)
        return batch.mean(axis=(1, 2))

    net = FeatureNet("mean", extract, None, "00")
    for _ in range(2):
        features(net, images(10), batch_size=4)
    assert traces == [(4, 8, 8, 2)]


def test_uint8_is_read_as_minus_one_to_one():
    net = FeatureNet("mean", lambda batch: batch.mean(axis=(1, 2)), None, "00")
    pixels = images(5)
    expected = (pixels.astype(np.float64) / 127.5 - 1.0).mean(axis=(1, 2))
    np.testing.assert_allclose(features(net, pixels), expected, atol=1e-6)
    np.testing.assert_allclose(features(net, (pixels / 127.5 - 1.0).astype(np.float32)), expected, atol=1e-6)


def test_runs_at_highest_precision():
    seen = []

    def extract(batch):
        seen.append(jax.config.jax_default_matmul_precision)
        return batch.reshape(len(batch), -1)

    features(FeatureNet("flat", extract, None, "00"), images(2))
    assert seen == ["highest"]


def test_probabilities_need_a_classifier():
    net = FeatureNet("c", lambda batch: batch, lambda batch: jax.nn.softmax(batch.mean(axis=(1, 2))), "00")
    rows = probabilities(net, images(5), batch_size=2)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-6)
    assert rows.shape == (5, 2)
    with pytest.raises(ValueError, match="random-conv-0' has no classifier"):
        probabilities(random_conv((8, 8, 2)), images(2))


@pytest.mark.parametrize("bad", [np.zeros((0, 8, 8, 2), np.uint8), np.zeros((8, 8, 2)), np.zeros((2, 8, 8, 2), int)])
def test_wrong_images_are_refused(bad):
    with pytest.raises(ValueError, match="images must be"):
        features(random_conv((8, 8, 2)), bad)


@pytest.mark.parametrize("size", [(8, 8, 1), (28, 20, 1), (32, 32, 3), (100, 64, 4), (256, 256, 3)])
def test_random_conv_takes_any_size(size):
    rows = features(random_conv(size), images(3, size))
    assert rows.shape == (3, 192)
    assert np.isfinite(rows).all()
    assert (rows.std(axis=0) > 0).all()


def test_random_conv_against_a_numpy_convolution(monkeypatch):
    monkeypatch.setattr(module, "NUM_LEVELS", 1)
    monkeypatch.setattr(module, "LEVEL_WIDTH", 3)
    image = np.random.default_rng(3).uniform(-1, 1, (9, 8, 2)).astype(np.float32)
    (key,) = jax.random.split(jax.random.key(5, impl="threefry2x32"), 1)
    limit = np.sqrt(6 / (1.04 * 3 * 3 * 2))
    weight = np.asarray(jax.random.uniform(key, (3, 3, 2, 3)), np.float64) * 2 * limit - limit
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    hidden = np.array([[np.tensordot(padded[i : i + 3, j : j + 3], weight, 3) for j in range(8)] for i in range(9)])
    expected = np.where(hidden > 0, hidden, 0.2 * hidden).mean(axis=(0, 1))
    np.testing.assert_allclose(features(random_conv((9, 8, 2), seed=5), image[None])[0], expected, atol=1e-6)


def test_random_conv_keeps_the_scale_of_its_input():
    noise = np.random.default_rng(0).normal(size=(64, 32, 32, 3)).astype(np.float32)
    net = random_conv((32, 32, 3))
    # He: unit variance in gives deviation sqrt(2 / 1.04) before the ReLU, whose mean is (1 - 0.2) / sqrt(2 pi) of it.
    first = features(net, noise).mean(axis=0)[:48].mean()
    np.testing.assert_allclose(first, 0.8 / np.sqrt(2 * np.pi) * np.sqrt(2 / 1.04), rtol=0.05)
    levels = features(net, noise).mean(axis=0).reshape(4, 48).mean(axis=1)
    assert ((levels > 0.25) & (levels < 0.6)).all()
    np.testing.assert_allclose(features(net, 2 * noise), 2 * features(net, noise), rtol=1e-4, atol=1e-5)


def test_identity_follows_the_weights():
    assert random_conv((8, 8, 1)).identity == random_conv((8, 8, 1)).identity
    identities = {random_conv(size, seed).identity for size in ((8, 8, 1), (8, 8, 3), (256, 256, 1)) for seed in (0, 1)}
    assert len(identities) == 6
    assert random_conv((8, 8, 1), seed=7).name == "random-conv-7"
    # Pinned: two machines must agree on what they measured with.
    assert random_conv((28, 28, 1)).identity.startswith("d080b818496a8300")


def test_random_conv_refuses_tiny_and_other_sizes():
    with pytest.raises(ValueError, match="at least 8x8"):
        random_conv((7, 8, 1))
    with pytest.raises(ValueError, match="built for images of"):
        features(random_conv((8, 8, 1)), images(2, (16, 16, 1)))


@pytest.mark.parametrize("kind", ["blur", "noise", "collapse"])
def test_frechet_distance_under_random_features_grows_with_damage(kind):
    rng = np.random.default_rng(1)

    def draw(n):
        return np.stack([gaussian_filter(rng.normal(size=(16, 16, 1)), (1, 1, 0)) * 2 for _ in range(n)])

    net = random_conv((16, 16, 1))
    real = moments(features(net, draw(300)))
    values = []
    for amount in (0.0, 0.5, 1.0, 2.0):
        fake = draw(300)
        if kind == "blur":
            fake = gaussian_filter(fake, (0, amount, amount, 0))
        elif kind == "noise":
            fake = fake + amount * rng.normal(size=fake.shape)
        else:
            fake[: int(amount / 2 * 300)] = fake[0]
        values.append(frechet_distance(real, moments(features(net, jnp.asarray(fake)))))
    assert values == sorted(values)
    assert values[-1] > 3 * values[0]
