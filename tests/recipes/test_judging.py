"""Samples are asked for by class, and judged by whether they are of it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.data import images
from jaxgan.evaluation.features import FeatureNet
from jaxgan.game import Game, Player, Update, init_state
from jaxgan.latent import labelled, normal_prior
from jaxgan.nets import dcgan
from jaxgan.nets.adapt import adapt
from jaxgan.nets.layers import BatchNorm
from jaxgan.recipes.judging import generate_with, in_batches, standing_statistics
from jaxgan.recipes.protocol import evaluate, refer


def stripes(label: np.ndarray) -> np.ndarray:
    """Images 4x4 whose bright column says their class."""
    image = np.full((len(label), 4, 4, 1), -1.0, np.float32)
    image[np.arange(len(label)), :, label] = 1.0
    return image + np.random.default_rng(0).normal(0, 0.05, image.shape).astype(np.float32)


@pytest.fixture(scope="module")
def net() -> FeatureNet:
    """Features are the means of the columns; the class is the brightest."""
    return FeatureNet(
        "columns",
        lambda x: jnp.mean(x[..., 0], axis=1),
        lambda x: jax.nn.softmax(10 * jnp.mean(x[..., 0], axis=1)),
        "0123456789abcdef0123",
    )


def test_agreement_is_the_share_of_samples_of_the_asked_class(net):
    label = np.arange(40) % 4
    asked = label.copy()
    asked[:10] = (asked[:10] + 1) % 4
    data = images.from_arrays("stripes", np.zeros((8, 4, 4, 1), np.uint8), np.arange(8) % 4)
    reference = refer(data, net)
    row = evaluate(reference, [(stripes(label), asked)], ["classes"])
    assert row["agreement"] == 0.75 and row["recognised"] == 1.0 and row["classes"] == 4
    assert "agreement" not in evaluate(reference, [(stripes(label), None)], ["classes"])


@pytest.mark.parametrize("n", [7, 12, 25])
def test_batches_hold_the_labels_that_were_asked_for(n):
    prior = labelled(normal_prior(2), 5)

    def generate(state, inputs, truncation):
        latent, label = inputs
        return jnp.concatenate([latent, label[:, None].astype(jnp.float32), state["shift"] + 0 * latent[:, :1]], axis=1)

    outputs, label = in_batches(generate, prior, {"shift": jnp.asarray(3.0)}, jax.random.key(0), n, batch=10)
    assert outputs.shape == (n, 4) and label.shape == (n,)
    np.testing.assert_array_equal(outputs[:, 2], label)
    assert len(np.unique(outputs[:, 0])) == n
    # the compiled program is kept, the state is not
    again, _ = in_batches(generate, prior, {"shift": jnp.asarray(-1.0)}, jax.random.key(0), n, batch=10)
    np.testing.assert_array_equal(again[:, :3], outputs[:, :3])
    assert set(again[:, 3]) == {-1.0}


def test_an_unconditional_system_asks_for_nothing():
    outputs, label = in_batches(lambda state, z, t: z + state, normal_prior(2), jnp.asarray(1.0), jax.random.key(0), 5)
    assert outputs.shape == (5, 2) and label is None


def test_standing_statistics_are_the_mean_of_those_of_fresh_batches():
    """Of the averaged weights; each batch's statistics by the layer's own formula, in numpy."""
    net = adapt(dcgan.Generator((8, 8, 1), 4, normalization=BatchNorm), (3,), couples_batch=True)
    player = Player(net, optax.sgd(0.1), ema_decay=0.9)
    game = Game({"generator": player}, (Update("generator", ("generator",), lambda params, inputs: None),))
    state = init_state(game, jax.random.key(0))
    noise = lambda x: x + 0.2 * jax.random.normal(jax.random.key(x.size), x.shape)  # noqa: E731
    state = replace(state, ema=jax.tree.map(noise, state.ema))
    drawn = []

    def prior(key, n, condition=None):
        latent = jax.random.normal(key, (n, 3))
        jax.debug.callback(lambda x: drawn.append(np.asarray(x)), latent)
        return latent

    key, passes = jax.random.key(1), 3
    after = standing_statistics(net, prior, passes, 16)(state, key)
    jax.effects_barrier()
    assert len(drawn) == passes and not np.allclose(drawn[0], drawn[1])
    weights = {"params": state.ema["generator"], **state.variables["generator"]}
    kept = BatchNorm.momentum
    batches = []
    for latent in drawn:
        changed = net.apply(weights, jnp.asarray(latent), train=True)[1]["batch_stats"]
        # running <- kept * running + (1 - kept) * batch
        batches.append(jax.tree.map(lambda new, old: (new - kept * old) / (1 - kept), changed, weights["batch_stats"]))
    expected = jax.tree.map(lambda *b: np.mean(b, axis=0), *batches)
    found = after.variables["generator"]["batch_stats"]
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    # all else is as it was, and samples with the statistics of one batch are those of training
    jax.tree.map(np.testing.assert_array_equal, (after.params, after.ema), (state.params, state.ema))
    one = standing_statistics(net, lambda key, n, condition=None: jnp.asarray(drawn[0]), 1, 16)(state, key)
    made = generate_with(net)(one, jnp.asarray(drawn[0]), 1.0)
    np.testing.assert_allclose(made, net.apply(weights, jnp.asarray(drawn[0]), train=True)[0], rtol=1e-3, atol=1e-4)
