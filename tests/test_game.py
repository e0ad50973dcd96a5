import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.game import Game, LossOutput, Net, Player, Update, every, init_state, make_step
from jaxgan.games.two_player import two_player
from jaxgan.latent import normal_prior
from jaxgan.losses.adversarial import non_saturating
from jaxgan.nets import mlp
from jaxgan.nets.adapt import adapt


def number(start):
    """A net that is one number; its output plays no part."""
    return Net(
        lambda key: {"params": jnp.asarray(start, jnp.float32)}, lambda variables, key=None, train=True: (None, {})
    )


def bilinear(learning_rate=0.1, simultaneous=False, x_when=None, optimizer=optax.sgd):
    """x descends x y, y ascends it: the field circles the origin."""
    return Game(
        players={
            "x": Player(number(1.0), optimizer(learning_rate)),
            "y": Player(number(2.0), optimizer(learning_rate)),
        },
        updates=(
            Update("x", ("x",), lambda p, i: (p["x"] * p["y"], LossOutput()), x_when),
            Update("y", ("y",), lambda p, i: (-p["x"] * p["y"], LossOutput())),
        ),
        simultaneous=simultaneous,
    )


def play(game, steps, batch=None):
    state, rows = init_state(game, jax.random.key(0)), []
    step = jax.jit(make_step(game))
    for _ in range(steps):
        state, metrics = step(state, batch or {})
        rows.append({name: float(value) for name, value in metrics.items()})
    return state, rows


# -- order of play ---------------------------------------------------------------------------------


def test_alternating_play_sees_what_the_update_before_did():
    state, rows = play(bilinear(), 1)
    assert float(state.params["x"]) == pytest.approx(1.0 - 0.1 * 2.0)
    assert float(state.params["y"]) == pytest.approx(2.0 + 0.1 * 0.8)
    assert rows[0]["x/loss"] == pytest.approx(2.0) and rows[0]["y/loss"] == pytest.approx(-1.6)
    assert rows[0]["x/gradient_norm"] == pytest.approx(2.0) and rows[0]["y/gradient_norm"] == pytest.approx(0.8)


def test_simultaneous_play_sees_the_players_as_they_were():
    state, rows = play(bilinear(simultaneous=True), 1)
    assert float(state.params["x"]) == pytest.approx(1.0 - 0.1 * 2.0)
    assert float(state.params["y"]) == pytest.approx(2.0 + 0.1 * 1.0)
    assert rows[0]["y/loss"] == pytest.approx(-2.0)


def test_the_bilinear_game_spirals_out_simultaneously_and_circles_in_alternation():
    """One simultaneous step multiplies the distance by sqrt(1 + h^2); alternating ones have eigenvalues of size 1."""
    h, steps = 0.2, 200
    outward, _ = play(bilinear(h, simultaneous=True), steps)
    distance = np.hypot(float(outward.params["x"]), float(outward.params["y"]))
    np.testing.assert_allclose(distance, np.sqrt(5) * (1 + h**2) ** (steps / 2), rtol=1e-3)
    operator = np.array([[1, -h], [h, 1 - h**2]])
    around, _ = play(bilinear(h), steps)
    expected = np.linalg.matrix_power(operator, steps) @ [1.0, 2.0]
    np.testing.assert_allclose([float(around.params["x"]), float(around.params["y"])], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(operator)), 1, rtol=1e-12)


def test_memory_passes_from_update_to_update_in_either_kind_of_play():
    def remember(params, inputs):
        seen = inputs.memory["seen"]
        return params["x"] * 1.0, LossOutput(memory={"seen": seen + 1.0}, metrics={"seen": seen})

    def recall(params, inputs):
        return params["y"] * 1.0, LossOutput(metrics={"seen": inputs.memory["seen"]})

    for simultaneous in (False, True):
        game = Game(
            {"x": Player(number(1.0), optax.sgd(0.1)), "y": Player(number(1.0), optax.sgd(0.1))},
            (Update("first", ("x",), remember), Update("second", ("y",), recall)),
            memory=lambda key: {"seen": jnp.asarray(5.0), "untouched": jnp.asarray(7)},
            simultaneous=simultaneous,
        )
        state, rows = play(game, 2)
        assert [(row["first/seen"], row["second/seen"]) for row in rows] == [(5, 6), (6, 7)]
        assert state.memory["seen"] == 7 and state.memory["untouched"] == 7


# -- schedules -------------------------------------------------------------------------------------


def test_every_lets_the_others_move_first():
    due = every(5)
    assert [s for s in range(15) if due(s)] == [4, 9, 14]
    assert [s for s in range(9) if every(3, offset=0)(s)] == [0, 3, 6]
    assert [s for s in range(9) if every(3, offset=1)(s)] == [1, 4, 7]
    assert every(1) is None and every(1, offset=0) is None
    assert bool(jax.jit(due)(jnp.asarray(4))) and not bool(jax.jit(due)(jnp.asarray(5)))


@pytest.mark.parametrize(("interval", "offset"), [(0, None), (-2, None), (3, 3), (3, -1), (1, 1)])
def test_every_refuses_impossible_schedules(interval, offset):
    with pytest.raises(ValueError, match=r"interval|offset"):
        every(interval, offset)


def test_a_generator_on_every_fifth_step_moves_first_on_step_four():
    _, rows = play(bilinear(x_when=every(5)), 10)
    assert [row["x/ran"] for row in rows] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert [row["x/loss"] for row in rows[:4]] == [0] * 4 and all(row["y/ran"] == 1 for row in rows)


def test_a_batched_step_would_run_both_branches():
    """Why populations keep `step` unbatched: under vmap a cond whose predicate varies is a select."""
    game = bilinear(x_when=every(2))
    states = jax.vmap(lambda key: init_state(game, key))(jax.random.split(jax.random.key(0), 3))
    assert "cond[" not in str(jax.make_jaxpr(jax.vmap(make_step(game), in_axes=(0, None)))(states, {}))
    assert "cond[" in str(jax.make_jaxpr(make_step(game))(init_state(game, jax.random.key(0)), {}))


# -- what a loss is told ---------------------------------------------------------------------------


def test_every_update_of_a_step_gets_the_same_key_and_every_step_another():
    def draw(name):
        def loss(params, inputs):
            assert inputs.step.dtype == jnp.int32
            return params[name] * 1.0, LossOutput(metrics={"draw": jax.random.normal(inputs.key), "step": inputs.step})

        return loss

    game = Game(
        {"x": Player(number(1.0), optax.sgd(0.1)), "y": Player(number(1.0), optax.sgd(0.1))},
        (Update("x", ("x",), draw("x")), Update("y", ("y",), draw("y"))),
    )
    _, rows = play(game, 3)
    assert all(row["x/draw"] == row["y/draw"] for row in rows)
    assert len({row["x/draw"] for row in rows}) == 3
    assert [row["y/step"] for row in rows] == [0, 1, 2]
    expected = jax.random.normal(jax.random.fold_in(jax.random.key(0), 2))
    assert rows[2]["x/draw"] == pytest.approx(float(expected), rel=1e-6)


def test_losses_read_the_opponents_optimizer_the_averages_and_hyper():
    seen = {}

    def loss(params, inputs):
        seen.update(opt_state=set(inputs.opt_state), ema=set(inputs.ema), hyper=dict(inputs.hyper))
        return params["x"] * inputs.hyper["weight"], LossOutput()

    game = Game(
        {"x": Player(number(1.0), optax.sgd(0.5), ema_decay=0.9), "still": Player(number(3.0))},
        (Update("x", ("x",), loss),),
    )
    for weight in (2.0, np.float32(2.0), jnp.asarray(2.0)):
        state = init_state(game, jax.random.key(0), {"weight": weight})
        assert state.hyper["weight"].dtype == jnp.float32 and not state.hyper["weight"].weak_type
        state, _ = make_step(game)(state, {})
        assert float(state.params["x"]) == pytest.approx(0.0) and float(state.params["still"]) == 3.0
        assert float(state.ema["x"]) == pytest.approx(0.9)
    assert seen["opt_state"] == {"x"} and seen["ema"] == {"x"} and set(seen["hyper"]) == {"weight"}


def test_the_state_is_nobody_elses():
    key, weight, pool = jax.random.key(0), jnp.asarray(2.0), jnp.zeros(3)
    start = jnp.asarray([1.0, 2.0])
    net = Net(lambda key: {"params": start}, lambda variables, key=None, train=True: (None, {}))
    game = Game(
        {"x": Player(net, optax.adam(0.1), ema_decay=0.9)},
        (Update("x", ("x",), lambda p, i: (jnp.sum(p["x"]) * i.hyper["weight"], LossOutput())),),
        memory=lambda key: {"pool": pool, "same": pool},
    )
    state = init_state(game, key, {"weight": weight})
    jax.jit(make_step(game), donate_argnums=0)(state, {})
    assert state.params["x"].is_deleted() and state.ema["x"].is_deleted() and state.memory["pool"].is_deleted()
    assert not any(array.is_deleted() for array in (key, weight, pool, start))


def test_players_start_from_keys_of_their_own():
    nets = {name: adapt(mlp.Discriminator(4, 1), (2,)) for name in ("a", "b")}
    update = Update("a", ("a",), lambda p, i: (jnp.zeros(()), LossOutput()))

    def state(seed):
        return init_state(
            Game({name: Player(net, optax.sgd(0.1)) for name, net in nets.items()}, (update,)), jax.random.key(seed)
        )

    kernels = [state(seed).params[name]["Dense_0"]["kernel"] for seed in (0, 1) for name in ("a", "b")]
    for i in range(4):
        for j in range(i):
            assert not np.allclose(kernels[i], kernels[j])


# -- what is not finite is seen --------------------------------------------------------------------


def test_a_loss_or_gradient_that_is_not_finite_shows_in_the_metrics():
    def loss(params, inputs):
        return jnp.sqrt(params["x"] - inputs.batch["edge"]), LossOutput()

    game = Game({"x": Player(number(1.0), optax.sgd(0.1))}, (Update("x", ("x",), loss),))
    for edge, finite_loss, finite_gradient in ((0.0, True, True), (1.0, True, False), (2.0, False, False)):
        _, (row,) = play(game, 1, {"edge": jnp.asarray(edge)})
        assert np.isfinite(row["x/loss"]) == finite_loss and np.isfinite(row["x/gradient_norm"]) == finite_gradient


def test_a_skipped_update_does_not_run_what_is_broken():
    def broken(params, inputs):
        return params["x"] * jnp.nan, LossOutput(metrics={"nan": jnp.full((), jnp.nan)})

    game = Game({"x": Player(number(1.0), optax.sgd(0.1))}, (Update("x", ("x",), broken, lambda step: step > 0),))
    state, (row,) = play(game, 1)
    assert row == {"x/loss": 0, "x/gradient_norm": 0, "x/nan": 0, "x/ran": 0} and float(state.params["x"]) == 1.0
    assert np.isnan(float(play(game, 2)[0].params["x"]))


# -- the compiler shares what two updates have in common -------------------------------------------


def flops(game, active=None, batch=64):
    state = jax.eval_shape(lambda key: init_state(game, key), jax.random.key(0))
    points = {"point": jax.ShapeDtypeStruct((batch, 2), jnp.float32)}
    step = jax.jit(make_step(game, active=active), compiler_options={"xla_backend_optimization_level": 0})
    return step.lower(state, points).compile().cost_analysis()["flops"]


def test_both_updates_of_a_step_run_the_generator_once():
    """A matrix product of m x k by k x n counts 2 m k n: the generator's forward pass is most of what is saved."""
    batch, width, depth = 64, 64, 4

    def game(prior):
        return two_player(
            Player(adapt(mlp.Generator((2,), width, depth), (width,)), optax.sgd(0.1)),
            Player(adapt(mlp.Discriminator(8, 1), (2,)), optax.sgd(0.1)),
            non_saturating,
            prior,
            observation="point",
        )

    forward = 2 * batch * depth * width * width
    shared = game(normal_prior(width))
    apart = flops(shared, (True, False), batch) + flops(shared, (False, True), batch)
    saved = apart - flops(shared, batch=batch)
    assert 0.9 * forward < saved < 1.5 * forward

    # and not where the two updates draw latents of their own
    draws = []

    def another_each_time(key, n):
        draws.append(key)
        return jax.random.normal(jax.random.fold_in(key, len(draws)), (n, width))

    unshared = game(another_each_time)
    apart = flops(unshared, (True, False), batch) + flops(unshared, (False, True), batch)
    assert apart - flops(unshared, batch=batch) < 0.2 * forward


# -- mistakes --------------------------------------------------------------------------------------


def nothing(params, inputs):
    return jnp.zeros(()), LossOutput()


PLAYERS = {
    "x": Player(number(1.0), optax.sgd(0.1)),
    "y": Player(number(1.0), optax.sgd(0.1)),
    "still": Player(number(1.0)),
}


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ((), "at least one update"),
        ((Update("u", ("x",), nothing), Update("u", ("y",), nothing)), "different names, got ['u', 'u']"),
        ((Update("a/b", ("x",), nothing),), "no '/', got 'a/b'"),
        ((Update("", ("x",), nothing),), "not empty"),
        ((Update("u", (), nothing),), "update 'u' moves no player"),
        ((Update("u", ("x", "x"), nothing),), "update 'u' moves a player twice: ('x', 'x')"),
        ((Update("u", ("z",), nothing),), "update 'u' moves unknown player 'z'; players are ['still', 'x', 'y']"),
        ((Update("u", ("still",), nothing),), "update 'u' moves player 'still', which has no optimizer (frozen)"),
    ],
)
def test_games_that_cannot_be_played_are_refused(updates, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Game(PLAYERS, updates)


def test_in_simultaneous_play_nobody_moves_twice():
    twice = (Update("u", ("x",), nothing), Update("v", ("y", "x"), nothing))
    assert Game(PLAYERS, twice).updates == twice
    with pytest.raises(ValueError, match=re.escape("moves in one update only, got ['x', 'y', 'x']")):
        Game(PLAYERS, twice, simultaneous=True)


@pytest.mark.parametrize(
    ("value", "described"),
    [(jnp.zeros((3,)), "float32[3]"), (jnp.zeros((), jnp.bfloat16), "bfloat16[]"), (jnp.zeros((1,)), "float32[1]")],
)
def test_a_loss_is_a_float32_scalar(value, described):
    game = Game(PLAYERS, (Update("u", ("x",), lambda p, i: (value, LossOutput())),))
    with pytest.raises(TypeError, match=re.escape(f"the loss of update 'u' is a float32 scalar, got {described}")):
        make_step(game)(init_state(game, jax.random.key(0)), {})


def test_active_has_one_entry_for_each_update():
    with pytest.raises(ValueError, match="active has 1 entries for 2 updates"):
        make_step(bilinear(), active=(True,))


def test_the_key_is_typed():
    with pytest.raises(TypeError, match="takes a typed key"):
        init_state(bilinear(), jax.random.PRNGKey(0))
