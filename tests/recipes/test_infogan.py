from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.data import images
from jaxgan.evaluation.matching import matched_error
from jaxgan.game import LossInput, init_state, make_step
from jaxgan.latent import normal_prior
from jaxgan.recipes import infogan
from jaxgan.recipes.rules import Rules

PLAIN = {"prior": "normal", "code_normalization": "layer", "dense_width": 0, "slope": 0.2, "rules": Rules()}
SMALL = {"noise": 3, "categories": 3, "generator_width": 4, "discriminator_width": 4, "code_width": 5}


def small(**changes):
    random = np.random.default_rng(0)
    picture, test = (random.integers(0, 256, (n, 8, 8, 1), np.uint8) for n in (24, 30))
    data = images.from_arrays("noise", picture, np.arange(24) % 3, test, np.arange(30) % 3)
    config = replace(infogan.PRESETS["cpu"].config, **PLAIN | SMALL | changes)
    options = replace(infogan.PRESETS["cpu"].options, batch=6, steps=2)
    return infogan.make(config, options, data), data


def test_the_error_is_that_of_q_on_the_test_images():
    recipe, data = small()
    game = recipe.stages[0].game
    state = jax.jit(lambda key: init_state(game, key, dict(recipe.stages[0].hyper)))(jax.random.key(0))
    row = recipe.evaluations["codes"](state, jax.random.key(1))
    pictures = jnp.asarray(data.test_image, jnp.float32) / 127.5 - 1.0
    variables = {n: {"params": state.params[n], **state.variables[n]} for n in ("discriminator", "codes")}
    players = game.players
    shown = players["discriminator"].net.features(variables["discriminator"], pictures, train=False)[0][1]
    logits = players["codes"].net.apply(variables["codes"], shown, train=False)[0][0]
    error, _ = matched_error(np.asarray(logits).argmax(-1), data.test_label)
    assert row["code_error"] == error and row["n_test"] == 30
    # untrained, Q knows nothing of the codes
    assert abs(row["categorical_information"]) < 0.05 and abs(row["continuous_explained"]) < 0.1
    unlabelled = replace(data, test_image=None, test_label=None)
    bare = infogan._evaluation(infogan.Codes(3, 2), unlabelled, recipe, 6)(state, jax.random.key(1))
    assert "code_error" not in bare and bare["n_generated"] == infogan.GENERATED


def test_batch_statistics_are_those_of_what_is_read():
    """Running ones are of reals and fakes together: whatever they are, a picture is read as in training."""
    recipe, data = small(
        code_normalization="batch", rules=Rules(generator_normalization="batch", discriminator_normalization="batch")
    )
    # one batch is the training set, and the test set too
    six = replace(
        data, image=data.image[:6], label=data.label[:6], test_image=data.image[:6], test_label=data.label[:6]
    )
    evaluation = infogan._evaluation(infogan.Codes(3, 2), six, recipe, 6)
    game = recipe.stages[0].game
    state = jax.jit(lambda key: init_state(game, key, dict(recipe.stages[0].hyper)))(jax.random.key(0))
    pictures = jnp.asarray(six.image, jnp.float32) / 127.5 - 1.0
    (_, shown), _ = game.players["discriminator"].net.features(
        {"params": state.params["discriminator"], **state.variables["discriminator"]}, pictures, train=True
    )
    q = {"params": state.params["codes"], **state.variables["codes"]}
    logits = np.asarray(game.players["codes"].net.apply(q, shown, train=True)[0][0])
    found = logits.argmax(-1)
    assert len(np.unique(found)) > 1
    rows = []
    for by in (0.0, 40.0):
        moved = {
            name: jax.tree.map(lambda x, by=by: x + by * jnp.arange(x.shape[-1]), state.variables[name])
            for name in ("discriminator", "codes")
        }
        rows.append(evaluation(replace(state, variables={**state.variables, **moved}), jax.random.key(1)))
        assert rows[-1]["code_error"] == pytest.approx(matched_error(found, six.label)[0])
        assert rows[-1]["codes_used"] == len(np.unique(found))
    assert rows[0] == rows[1]
    assert all(np.isfinite(value) for value in rows[0].values())


@pytest.mark.parametrize("weight", ["categorical_weight", "continuous_weight"])
def test_each_weight_is_a_number_of_the_run_that_both_players_feel(weight):
    recipe, data = small(rules=Rules(dynamics="simultaneous", optimizer="sgd"))
    stage = recipe.stages[0]
    start = jax.jit(lambda key, hyper: init_state(stage.game, key, hyper))
    step = jax.jit(make_step(stage.game))
    batch = {"image": jnp.asarray(data.image[:6], jnp.float32) / 127.5 - 1.0}
    moved = []
    for factor in (1.0, 30.0):
        hyper = {**stage.hyper, weight: factor * stage.hyper[weight]}
        moved.append(step(start(jax.random.key(0), hyper), batch)[0].params)
    for name in ("generator", "discriminator", "codes"):
        pairs = zip(*(jax.tree.leaves(params[name]) for params in moved), strict=True)
        assert any(np.abs(a - b).max() > 1e-8 for a, b in pairs), name


def test_a_category_is_asked_for_as_a_class_and_truncation_leaves_codes_alone():
    recipe, _ = small()
    state = jax.jit(lambda key: init_state(recipe.stages[0].game, key, {}))(jax.random.key(0))
    latents = recipe.prior(jax.random.key(2), 3, jnp.array([2, 0, 1]))
    np.testing.assert_array_equal(latents[:, 3:6], np.eye(3)[[2, 0, 1]])
    without_noise = latents.at[:, :3].set(0.0)
    np.testing.assert_array_equal(recipe.generate(state, latents, 0.0), recipe.generate(state, without_noise, 1.0))
    assert recipe.num_classes == 3 and recipe.sheet == 30


def test_what_is_read_off_samples_is_the_code_that_they_were_made_with():
    """A generator that paints its latent, and a Q that reads it: half of the noise beside each code, odds of e^2."""
    codes = infogan.Codes(3, 2)
    prior = codes.prior(normal_prior(1))

    def generate(state, latents, truncation):
        painted = jnp.concatenate([truncation * latents[:, :1], latents[:, 1:]], axis=1)
        return painted.reshape(-1, 2, 3, 1)

    def read(variables, shown, train):
        return (2.0 * shown[:, 1:4], shown[:, 4:] + 0.5 * shown[:, :1]), {}

    shows = SimpleNamespace(features=lambda variables, x, train: ((None, x.reshape(len(x), -1)), {}))
    shows.couples_batch = False
    q = SimpleNamespace(apply=read, couples_batch=False)
    players = {"discriminator": SimpleNamespace(net=shows), "codes": SimpleNamespace(net=q)}
    stage = SimpleNamespace(game=SimpleNamespace(players=players))
    recipe = SimpleNamespace(stages=[stage], prior=prior, generate=generate)
    nothing = {"discriminator": {}, "codes": {}}
    state, key = SimpleNamespace(params=nothing, variables=nothing), jax.random.key(4)
    data = SimpleNamespace(test_image=None, test_label=None)
    with jax.disable_jit():
        row = infogan._evaluation(codes, data, recipe, 6)(state, key)
    latents = np.asarray(prior(key, infogan.GENERATED), np.float64)
    np.testing.assert_allclose(row["categorical_information"], np.log(3) + 2 - np.log(np.exp(2) + 2), rtol=1e-4)
    unexplained = 0.25 * np.mean(latents[:, 0] ** 2) / np.mean(latents[:, 4:] ** 2)
    np.testing.assert_allclose(row["continuous_explained"], 1 - unexplained, rtol=1e-3)


def test_qs_deviation_is_that_of_the_bound_in_both_losses():
    """Of log 2 - log(d sqrt(2 pi)) - square / (2 d^2) a code, the square is the same for any d."""
    squares = []
    for deviation in (1.0, 0.4):
        recipe, data = small(rules=Rules(), deviation=deviation)
        (stage,) = recipe.stages
        hyper = {**stage.hyper, "categorical_weight": 0.0, "continuous_weight": 0.5}
        state = jax.jit(lambda key, game=stage.game, hyper=hyper: init_state(game, key, hyper))(jax.random.key(0))
        inputs = LossInput(
            step=state.step,
            key=state.key,
            batch={"image": jnp.asarray(data.image[:6], jnp.float32) / 127.5 - 1.0},
            variables=state.variables,
            opt_state=state.opt_state,
            ema=state.ema,
            memory=state.memory,
            hyper=state.hyper,
        )

        @jax.jit
        def beside_the_adversarial(params, inputs=inputs, updates=stage.game.updates):
            paid = [update.loss(params, inputs) for update in updates]
            return [loss - output.metrics["adversarial"] for loss, output in paid]

        paid = beside_the_adversarial(state.params)
        np.testing.assert_allclose(*paid, rtol=1e-4)
        at_best = 2 * (np.log(2) - np.log(deviation * np.sqrt(2 * np.pi)))
        squares.append(2 * deviation**2 * (at_best + paid[0] / 0.5))
    # two codes uniform in (-1, 1), of which nothing is known yet
    assert 0.3 < squares[0] < 1.2
    np.testing.assert_allclose(squares[1], squares[0], rtol=1e-3)


def test_the_noise_of_the_authors_code_is_uniform_in_one():
    recipe, _ = small(prior="uniform")
    noise = np.abs(recipe.prior(jax.random.key(0), 500)[:, :3])
    assert 0.99 < noise.max() <= 1.0
