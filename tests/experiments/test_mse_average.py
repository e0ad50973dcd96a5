import json
from functools import partial

import jax
import jax.numpy as jnp
import mse_average
import numpy as np
from contract import RESULTS
from mse_average import ADVERSARIAL, MIXED_ABSOLUTE, SQUARED, TASKS, WAYS, Sizes
from play import last, of_each

from jaxgan.game import Net
from jaxgan.training.recipe import Stage

TURN, CURVE = TASKS


def test_branches_turn_by_sixty_degrees_and_are_roots():
    path = np.asarray(mse_average.two_positions(jax.random.key(0), 50), np.float64)
    before, now = path[:, 0] + 1j * path[:, 1], path[:, 2] + 1j * path[:, 3]
    np.testing.assert_allclose(abs(now - before), 1.0, atol=1e-6)
    branches = np.asarray(TURN.branches(jnp.asarray(path, jnp.float32)))
    for side, branch in zip((1, -1), np.moveaxis(branches, 1, 0), strict=True):
        expected = now + (now - before) * np.exp(1j * side * np.pi / 3)
        np.testing.assert_allclose(branch[:, 0] + 1j * branch[:, 1], expected, atol=1e-5)
    np.testing.assert_allclose(CURVE.branches(jnp.array([[0.25], [0.49]]))[..., 0], [[0.5, -0.5], [0.7, -0.7]])


def test_least_error_is_the_variance_of_what_is_drawn():
    for task in TASKS:
        inputs = np.asarray(task.inputs(jax.random.key(0), 40))
        draw = jax.jit(partial(mse_average.answers, task, jax.random.key(1)))
        drawn = draw(np.repeat(inputs, 4000, axis=0))
        drawn = np.asarray(drawn, np.float64).reshape(40, 4000, -1)
        variance = drawn.var(axis=1).sum(axis=1).mean()
        np.testing.assert_allclose(mse_average.least_error(task, inputs), variance, rtol=0.01)
    # sin^2 of the turn, and the noise of two coordinates
    np.testing.assert_allclose(
        mse_average.least_error(TURN, np.asarray(TURN.inputs(jax.random.key(0), 5))), 0.77, rtol=1e-6
    )


def test_answers_are_counted_by_hand():
    inputs, real = jnp.array([[0.25], [0.81]]), jnp.array([[0.5], [-0.9]])
    # per draw: both on a branch; one off, one on the other branch
    made = jnp.array([[[0.55], [0.9]], [[0.0], [-0.85]]])
    found = mse_average.judge(CURVE, inputs, real, made)
    np.testing.assert_allclose(found["answers on the data"], 3 / 4)
    np.testing.assert_allclose(found["mean squared error"], (0.05**2 + 1.8**2 + 0.5**2 + 0.05**2) / 4, rtol=1e-5)
    np.testing.assert_allclose(found["branches reached"], 1.5)
    np.testing.assert_allclose(found["share of the rarer branch"], 0.25)


def test_a_told_net_sees_the_condition_behind_its_input():
    net = mse_average.told(Net(lambda key: {}, lambda variables, x, key=None, train=True: (x, {})))
    np.testing.assert_array_equal(net.apply({}, jnp.ones((2, 1)), jnp.zeros((2, 2)))[0], [[1, 0, 0]] * 2)


def test_squared_error_learns_the_average_and_only_it_ignores_the_latent():
    sizes = Sizes(32, 64, 300, 200)
    way = WAYS[SQUARED]
    game = mse_average.way_game(way, TURN, sizes)
    states = last(Stage(game, sizes.steps, mse_average.batches(TURN, sizes.batch)), 2)
    inputs, real = mse_average.held_out(TURN, sizes.held_out)
    net = game.players["generator"].net
    made = jax.jit(lambda states: of_each(partial(mse_average.drawn, way, net, inputs), states))(states)
    assert (made[:, 0] == made[:, 1]).all()
    for seed in range(2):
        average = np.asarray(TURN.branches(inputs)).mean(axis=1)
        assert np.abs(np.asarray(made[seed, 0]) - average).max() < 0.6
        found = mse_average.judge(TURN, inputs, real, made[seed])
        np.testing.assert_allclose(found["mean squared error"], 0.77, rtol=0.1)
        assert found["answers on the data"] < 0.02


def test_committed_results_say_what_the_study_claims():
    content = json.loads((RESULTS / "mse_average.json").read_text())
    measured = {(row["method"], row["metric"]): row["measured"] for row in content["rows"]}
    for task in TASKS:
        of = lambda way, metric, task=task: measured[way, f"{task.name}: {metric}"]  # noqa: E731
        least = of("exact: variance of the answers", "mean squared error")
        assert of(SQUARED, "answers on the data") < 0.02
        np.testing.assert_allclose(of(SQUARED, "mean squared error"), least, rtol=0.1)
        for way in (ADVERSARIAL, MIXED_ABSOLUTE):
            assert of(way, "answers on the data") > 0.9
            # any choice of a real answer costs twice the least error
            np.testing.assert_allclose(of(way, "mean squared error"), 2 * least, rtol=0.1)
