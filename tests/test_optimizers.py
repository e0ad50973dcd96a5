import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.game import Game, LossOutput, Net, Player, Update, every, init_state, make_step
from jaxgan.optimizers import from_hyper, historical_averaging, orthogonal_regularization, weight_clipping

START = {"a": np.array([0.5, -2.0, 1.0], np.float32), "b": np.array([[0.3], [-0.1]], np.float32)}
TARGET = {"a": np.array([1.5, -2.5, 0.2], np.float32), "b": np.array([[-0.4], [0.9]], np.float32)}


def gradient(params):
    """Of the loss sum (p - target)^2 / 2 + sum p^3 / 9."""
    return {name: params[name] - TARGET[name] + params[name] ** 2 / 3 for name in params}


def run(optimizer, steps, start=START):
    params = jax.tree.map(jnp.asarray, start)
    state, path = optimizer.init(params), []
    for _ in range(steps):
        change, state = optimizer.update(gradient(params), state, params)
        params = optax.apply_updates(params, change)
        path.append(jax.tree.map(np.asarray, params))
    return path, state


def game(optimizer, when=None):
    """Two numbers that do not feel each other: x on a slope of 3 with `optimizer`, y on one of -2 with SGD."""
    net = Net(lambda key: {"params": jnp.asarray(1.0)}, lambda variables, key=None, train=True: (None, {}))
    return Game(
        {"x": Player(net, optimizer), "y": Player(net, optax.sgd(0.5))},
        (
            Update("x", ("x",), lambda p, i: (3.0 * p["x"], LossOutput()), when),
            Update("y", ("y",), lambda p, i: (-2.0 * p["y"], LossOutput())),
        ),
    )


# -- step sizes that a study varies ----------------------------------------------------------------


def test_an_optimizer_reads_the_runs_numbers_without_being_compiled_again():
    optimizer = from_hyper(lambda hyper, step: optax.sgd(hyper["rate"]), {"rate": 0.0})
    step = jax.jit(make_step(game(optimizer)))
    for rate in (0.1, 0.02):
        state, _ = step(init_state(game(optimizer), jax.random.key(0), {"rate": rate}), {})
        assert float(state.params["x"]) == pytest.approx(1 - 3 * rate) and float(state.params["y"]) == 2.0
    assert step._cache_size() == 1


def test_an_optimizer_reads_the_games_step_and_not_its_players_own():
    """x moves on steps 2 and 5; a schedule of optax would count these 0 and 1."""
    steps = 6
    by_game = from_hyper(lambda hyper, step: optax.sgd(hyper["rate"] * 0.5**step), {"rate": 0.0})
    by_moves = optax.sgd(lambda count: 0.1 * 0.5**count)
    expected = {"game": 1 - 0.3 * (0.5**2 + 0.5**5), "moves": 1 - 0.3 * (0.5**0 + 0.5**1)}
    for name, optimizer in (("game", by_game), ("moves", by_moves)):
        played = game(optimizer, every(3))
        state, step = init_state(played, jax.random.key(0), {"rate": 0.1}), jax.jit(make_step(played))
        for _ in range(steps):
            state, _ = step(state, {})
        assert float(state.params["x"]) == pytest.approx(expected[name]), name


def test_moments_survive_a_change_of_the_numbers():
    """Adam made anew in each step equals Adam, also where b1 and the rate are the run's."""
    optimizer = from_hyper(lambda hyper, step: optax.adam(hyper["rate"], b1=hyper["b1"]), {"rate": 0.0, "b1": 0.0})
    params = jax.tree.map(jnp.asarray, START)
    state, hyper, step = optimizer.init(params), {"rate": jnp.float32(0.05), "b1": jnp.float32(0.5)}, jnp.int32(7)
    update = jax.jit(lambda g, s, p, h: optimizer.update(g, s, p, hyper=h, step=step))
    expected, _ = run(optax.adam(0.05, b1=0.5), 4)
    for wanted in expected:
        change, state = update(gradient(params), state, params, hyper)
        params = optax.apply_updates(params, change)
        for name in START:
            np.testing.assert_allclose(params[name], wanted[name], rtol=1e-5)
    slow, _ = update(gradient(params), state, params, {**hyper, "rate": jnp.float32(0.005)})
    fast, _ = update(gradient(params), state, params, hyper)
    np.testing.assert_allclose(slow["a"], 0.1 * fast["a"], rtol=1e-5)


def test_a_population_has_a_rate_each():
    optimizer = from_hyper(lambda hyper, step: optax.adam(hyper["rate"]), {"rate": 0.0})
    rates = np.array([0.1, 0.01, 0.3], np.float32)
    states = jax.vmap(lambda rate: init_state(game(optimizer), jax.random.key(0), {"rate": rate}))(rates)
    moved, _ = jax.jit(jax.vmap(make_step(game(optimizer)), in_axes=(0, None)))(states, {})
    np.testing.assert_allclose(moved.params["x"], 1 - rates, rtol=1e-5)


# -- weight clipping -------------------------------------------------------------------------------


def test_clipped_weights_are_those_of_the_step_cut_to_the_box():
    """WGAN's Algorithm 1, line 7: w <- clip(w + rate * step, -c, c); on both sides, and only after a step."""
    bound, rate = 0.6, 0.2
    path, _ = run(optax.chain(optax.sgd(rate), weight_clipping(bound)), 5)
    params = START
    for found in path:
        slopes = gradient(params)
        params = {name: np.clip(params[name] - rate * slopes[name], -bound, bound) for name in params}
        for name in params:
            np.testing.assert_allclose(found[name], params[name], rtol=1e-5, atol=1e-7)
    assert np.any(path[-1]["a"] == np.float32(bound)) and np.any(path[-1]["a"] == -np.float32(bound))
    inside = np.abs(path[-1]["b"]) < bound
    assert inside.any() and np.abs(START["a"]).max() > bound


def test_the_bound_may_be_a_number_of_the_run():
    optimizer = from_hyper(lambda hyper, step: optax.chain(optax.sgd(1.0), weight_clipping(hyper["c"])), {"c": 0.0})
    state, _ = make_step(game(optimizer))(init_state(game(optimizer), jax.random.key(0), {"c": 0.25}), {})
    assert float(state.params["x"]) == pytest.approx(-0.25)


# -- historical averaging --------------------------------------------------------------------------


def test_historical_averaging_pulls_towards_the_mean_of_all_parameters_so_far():
    """Salimans et al. 2016, section 3.3: |w - (w_1 + ... + w_t) / t|^2, whose gradient holds the mean still."""
    rate, weight = 0.1, 0.7
    path, state = run(optax.chain(historical_averaging(weight), optax.sgd(rate)), 6)
    params, history = START, []
    for found in path:
        history.append(params)
        slopes = gradient(params)
        mean = {name: np.mean([past[name] for past in history], axis=0) for name in params}
        params = {
            name: params[name] - rate * (slopes[name] + 2 * weight * (params[name] - mean[name])) for name in params
        }
        for name in params:
            np.testing.assert_allclose(found[name], params[name], rtol=1e-5, atol=1e-6)
    assert int(state[0].steps) == 6
    for name in params:
        np.testing.assert_allclose(
            state[0].mean[name], np.mean([past[name] for past in history], axis=0), rtol=1e-5, atol=1e-6
        )


# -- orthogonal regularization ---------------------------------------------------------------------


def test_orthogonal_regularization_adds_the_gradient_of_equation_3():
    """Of beta |W^T W * (1 - I)|^2, by finite differences in numpy, for a matrix and a convolution."""
    draws, weight = np.random.default_rng(0), 0.3
    kernels = {"dense": draws.normal(size=(4, 3)), "conv": draws.normal(size=(3, 3, 2, 5))}

    def penalty(kernel: np.ndarray) -> float:
        matrix = kernel.reshape(-1, kernel.shape[-1])
        return weight * np.sum(np.square((matrix.T @ matrix) * (1 - np.eye(matrix.shape[1]))))

    params = {name: {"kernel": jnp.float32(kernel), "bias": jnp.ones(3)} for name, kernel in kernels.items()}
    params["table"] = {"embedding": jnp.float32(draws.normal(size=(4, 3))), "gamma": jnp.float32(2.0)}
    given = jax.tree.map(lambda p: 0.1 * jnp.ones_like(p), params)
    optimizer = orthogonal_regularization(weight)
    change, state = optimizer.update(given, optimizer.init(params), params)
    assert state == optax.EmptyState() and jax.tree.structure(change) == jax.tree.structure(params)
    for name, kernel in kernels.items():
        expected = np.empty_like(kernel)
        for place in np.ndindex(*kernel.shape):
            step = np.zeros_like(kernel)
            step[place] = 1e-5
            expected[place] = (penalty(kernel + step) - penalty(kernel - step)) / 2e-5
        np.testing.assert_allclose(change[name]["kernel"], 0.1 + expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(change[name]["bias"], given[name]["bias"])
    jax.tree.map(np.testing.assert_array_equal, change["table"], given["table"])


def test_orthogonal_regularization_leaves_orthogonal_columns_of_any_length_alone():
    matrix = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 3)))[0] * [1.0, 2.0, 0.5]
    params = {"kernel": jnp.float32(matrix)}
    optimizer = orthogonal_regularization(10.0)
    change, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    np.testing.assert_allclose(change["kernel"], 0.0, atol=1e-4)


REGULARIZERS = {"clip": weight_clipping(0.1), "history": historical_averaging(0.1)}
REGULARIZERS["orthogonal"] = orthogonal_regularization(0.1)
every_regularizer = pytest.mark.parametrize("optimizer", REGULARIZERS.values(), ids=REGULARIZERS)


@every_regularizer
def test_parameters_are_needed(optimizer):
    with pytest.raises(ValueError, match="needs the parameters"):
        optimizer.update(START, optimizer.init(START))


@every_regularizer
def test_types_are_kept(optimizer):
    for dtype in (jnp.float32, jnp.bfloat16):
        params = jax.tree.map(lambda leaf, dtype=dtype: jnp.asarray(leaf, dtype), {**START, "kernel": START["b"]})
        before = optimizer.init(params)
        change, after = optimizer.update(params, before, params)
        types = [[leaf.dtype for leaf in jax.tree.leaves(tree)] for tree in ((params, before), (change, after))]
        assert types[0] == types[1]
