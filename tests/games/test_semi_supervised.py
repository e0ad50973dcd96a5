from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit, logsumexp

from jaxgan.game import LossInput, Net, Player, init_state, make_step
from jaxgan.games.semi_supervised import semi_supervised

K, PIXELS = 3, 5
KEY = jax.random.key(4)


def linear_classifier() -> Net:
    """Logits and features linear in the pixels."""

    def init(key):
        a, b = jax.random.split(key)
        return {"params": {"hidden": jax.random.normal(a, (PIXELS, 4)), "last": jax.random.normal(b, (4, K))}}

    def features(variables, images, key=None, train=True):
        shown = images @ variables["params"]["hidden"]
        return (shown @ variables["params"]["last"], shown), {}

    return Net(init, lambda v, x, **keywords: (features(v, x)[0][0], {}), features=features)


def linear_generator() -> Net:
    def init(key):
        return {"params": {"weight": jax.random.normal(key, (2, PIXELS))}, "count": {"calls": jnp.zeros(())}}

    def apply(variables, latent, key=None, train=True):
        return latent @ variables["params"]["weight"], {"count": {"calls": variables["count"]["calls"] + 1.0}}

    return Net(init, apply)


def prior(key, n):
    return jax.random.uniform(key, (n, 2))


def game(**options):
    players = Player(linear_generator(), optax.sgd(0.1)), Player(linear_classifier(), optax.sgd(0.1), 0.9)
    return semi_supervised(*players, prior, **options)


def batch():
    random = np.random.default_rng(1)
    names = {"labelled_image": 6, "image": 8, "matched_image": 8}
    made = {name: random.normal(n / 9, 1.0, (n, PIXELS)).astype(np.float32) for name, n in names.items()}
    return {**made, "labelled_label": np.array([0, 2, 1, 1, 2, 2], np.int32)}


def inputs(state):
    fields = ("step", "key", "variables", "opt_state", "ema", "memory", "hyper")
    return LossInput(**{name: getattr(state, name) for name in fields}, batch=batch())


def by_numpy(state):
    """The three terms of D and what G minimises, in float64 from the definitions of the paper."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), dict(state.params))
    latent = np.asarray(prior(jax.random.fold_in(state.key, 0), 8), np.float64)
    fake, given = latent @ params["generator"]["weight"], batch()
    hidden = lambda x: x @ params["discriminator"]["hidden"]  # noqa: E731
    logits = lambda x: hidden(x) @ params["discriminator"]["last"]  # noqa: E731
    labelled = logits(given["labelled_image"])
    supervised = np.mean(-labelled[np.arange(6), given["labelled_label"]] + logsumexp(labelled, axis=1))
    z_real, z_fake = (logsumexp(logits(x), axis=1) for x in (given["image"], fake))
    real = 0.5 * np.mean(-z_real + np.log1p(np.exp(z_real)))
    faked = 0.5 * np.mean(np.log1p(np.exp(z_fake)))
    matched = np.mean((hidden(given["matched_image"]).mean(0) - hidden(fake).mean(0)) ** 2)
    return supervised, real, faked, matched


def test_both_losses_are_the_authors_formulas():
    state = init_state(game(), KEY)
    supervised, real, fake, matched = by_numpy(state)
    judging, making = game().updates
    value, output = judging.loss(state.params, inputs(state))
    np.testing.assert_allclose(value, supervised + real + fake, rtol=1e-5)
    np.testing.assert_allclose(output.metrics["labelled"], supervised, rtol=1e-5)
    np.testing.assert_allclose(output.metrics["adversarial"], real + fake, rtol=1e-5)
    assert not output.variables
    value, output = making.loss(state.params, inputs(state))
    np.testing.assert_allclose(value, matched, rtol=1e-5)
    # each of the three is a part of it that counts
    assert min(abs(supervised), abs(real), abs(fake), abs(real - fake)) > 0.01
    assert (judging.players, making.players) == (("discriminator",), ("generator",))


def test_the_logits_are_those_of_k_plus_one_classes_of_which_the_last_is_generated():
    """-log p(generated) of a softmax over K + 1 logits, the last of which is 0, is the loss of a fake."""
    state = init_state(game(), KEY)
    logits = np.random.default_rng(0).normal(size=(8, K)) * 2
    with_fake = np.concatenate([logits, np.zeros((8, 1))], axis=1)
    probability = np.exp(with_fake - logsumexp(with_fake, axis=1, keepdims=True))[:, -1]
    np.testing.assert_allclose(np.log1p(np.exp(logsumexp(logits, axis=1))), -np.log(probability), rtol=1e-6)
    np.testing.assert_allclose(1 - expit(logsumexp(logits, axis=1)), probability, rtol=1e-6)
    assert state.step == 0


def test_the_baseline_is_the_labelled_term_alone():
    alone = game(unlabelled=False)
    assert list(alone.players) == ["discriminator"] and len(alone.updates) == 1
    state = init_state(game(), KEY)
    value, output = alone.updates[0].loss(state.params, inputs(state))
    np.testing.assert_allclose(value, by_numpy(state)[0], rtol=1e-5)
    # and knows nothing of the other images
    others = replace(inputs(state), batch={**batch(), "image": None, "matched_image": None})
    np.testing.assert_allclose(alone.updates[0].loss(state.params, others)[0], value)
    assert set(output.metrics) == {"labelled", "accuracy"}


def test_a_step_moves_d_and_then_g():
    state = init_state(game(), KEY)
    moved, metrics = jax.jit(make_step(game()))(state, batch())
    weights = np.asarray(state.params["discriminator"]["last"]), np.asarray(state.params["generator"]["weight"])
    assert not np.allclose(moved.params["discriminator"]["last"], weights[0])
    assert not np.allclose(moved.params["generator"]["weight"], weights[1])
    assert moved.variables["generator"]["count"]["calls"] == 1
    # G's loss is that of the D that has moved already
    key = jax.random.fold_in(state.key, 0)
    after = replace(state, params={**state.params, "discriminator": moved.params["discriminator"]}, key=key)
    np.testing.assert_allclose(metrics["generator/loss"], by_numpy(after)[3], rtol=1e-4)
    np.testing.assert_allclose(metrics["discriminator/loss"], sum(by_numpy(replace(state, key=key))[:3]), rtol=1e-4)


def test_a_classifier_that_couples_the_batch_is_refused():
    for wrong in (replace(linear_classifier(), couples_batch=True), replace(linear_classifier(), features=None)):
        with pytest.raises(ValueError, match="one by one and shows features"):
            semi_supervised(Player(linear_generator(), optax.sgd(0.1)), Player(wrong, optax.sgd(0.1)), prior)
