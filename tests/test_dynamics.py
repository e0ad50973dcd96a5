import re
from dataclasses import fields, replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from jaxgan.dynamics import (
    accumulate,
    consensus,
    extragradient,
    field,
    jacobian,
    jacobian_product,
    spectrum,
    step_jacobian,
    unroll,
    unrolled,
    without_schedules,
)
from jaxgan.evaluation.eigenvalues import leading_spectrum, quotients
from jaxgan.game import Game, LossInput, LossOutput, Net, Player, Update, every, init_state, make_step
from jaxgan.games.two_player import gradient_penalty, two_player
from jaxgan.latent import normal_prior
from jaxgan.losses.adversarial import non_saturating
from jaxgan.losses.penalties import r1
from jaxgan.nets import dcgan, mlp
from jaxgan.nets.adapt import adapt
from jaxgan.optimizers import from_hyper

from .contracts.programs import jit

SLOPE = 0.5  # f'(0) of f(t) = -log(1 + exp(-t))


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def number(start):
    """A net that is its parameters; its output plays no part."""
    return Net(
        lambda key: {"params": jax.tree.map(jnp.asarray, start)}, lambda variables, key=None, train=True: (None, {})
    )


def f(t):
    return -jax.nn.softplus(-t)


def dirac(start=(0.0, 0.0), rate=0.2, gamma=0.0, saturating=True, optimizer=optax.sgd, when=None, simultaneous=True):
    """Mescheder et al. 2018: D(x) = psi x, a fakeness logit, between points at theta and at 0."""

    def loss(theta, psi):
        return f(psi * theta) + f(jnp.zeros_like(psi))

    def generator(p, inputs):
        return (loss(p["theta"], p["psi"]) if saturating else -f(-p["psi"] * p["theta"])), LossOutput()

    def discriminator(p, inputs):
        return -loss(p["theta"], p["psi"]) + 0.5 * gamma * p["psi"] ** 2, LossOutput()

    return Game(
        players={
            "theta": Player(number(start[0]), optimizer(rate)),
            "psi": Player(number(start[1]), optimizer(rate)),
        },
        updates=(
            Update("discriminator", ("psi",), discriminator),
            Update("generator", ("theta",), generator, when),
        ),
        simultaneous=simultaneous,
    )


def bilinear(rate=0.1, optimizer=optax.sgd, start=(1.0, 2.0), simultaneous=True):
    """x descends x y, y ascends it."""
    return Game(
        players={name: Player(number(value), optimizer(rate)) for name, value in zip("xy", start, strict=True)},
        updates=(
            Update("x", ("x",), lambda p, i: (p["x"] * p["y"], LossOutput())),
            Update("y", ("y",), lambda p, i: (-p["x"] * p["y"], LossOutput())),
        ),
        simultaneous=simultaneous,
    )


def initial(game, hyper=None):
    return init_state(game, jax.random.key(3), hyper)


def play(game, steps, names="xy", hyper=None):
    """The players' positions before each of `steps` steps and after the last, [steps + 1, players]."""
    state, step = initial(game, hyper), make_step(game)

    def advance(state, _):
        state, _ = step(state, {})
        return state, jnp.stack([state.params[name] for name in names])

    _, path = jit(lambda s: jax.lax.scan(advance, s, length=steps))(state)
    return np.concatenate([[[float(state.params[name]) for name in names]], np.asarray(path)])


def step(game, state, batch, active=None):
    return jit(make_step(game, active=active))(state, batch)


def pair(real, imaginary):
    return np.array([complex(real, -imaginary), complex(real, imaginary)])


def eigenvalues(matrix):
    return np.sort_complex(np.linalg.eigvals(np.asarray(matrix)))


# -- the field -------------------------------------------------------------------------------------


def test_the_field_is_where_simultaneous_gradient_descent_goes():
    theta, psi = 1.3, -0.7
    game = dirac((theta, psi), rate=0.2, gamma=0.3)
    v = np.asarray(field(game, initial(game), {}))
    pull = 1 / (1 + np.exp(psi * theta))  # f'(t) = sigmoid(-t)
    np.testing.assert_allclose(v, [theta * pull - 0.3 * psi, -psi * pull], rtol=1e-12)  # psi comes first by name
    moved, _ = step(game, initial(game), {})
    np.testing.assert_allclose([moved.params["psi"] - psi, moved.params["theta"] - theta], 0.2 * v, rtol=1e-12)


def test_the_jacobian_is_that_of_finite_differences():
    def x_loss(p, inputs):
        return jnp.sum(jnp.sin(p["x"][:2] * p["y"]["b"])) + p["x"][2] ** 3 * p["y"]["a"], LossOutput()

    def y_loss(p, inputs):
        first = inputs.hyper["weight"] * jnp.prod(p["x"]) * p["y"]["a"] ** 2
        return first + jnp.sum(p["y"]["b"] ** 3 * jnp.exp(p["x"][:2])), LossOutput()

    def params(a):  # leaves by path: y/a comes before y/b
        return {"x": jnp.asarray(a[:3]), "y": {"a": jnp.asarray(a[3]), "b": jnp.asarray(a[4:])}}

    at = np.array([0.3, -0.8, 1.1, 0.4, -1.2, 0.7])
    moving = {name: Player(number(value), optax.adam(0.1)) for name, value in params(at).items()}
    game = Game(
        {**moving, "still": Player(number(np.ones(7)))},
        (Update("x", ("x",), x_loss), Update("y", ("y",), y_loss, every(3))),
    )
    state = initial(game, {"weight": 1.7})
    exact = np.asarray(jit(lambda state: jacobian(game, state, {}))(state))
    assert exact.shape == (6, 6) and exact.dtype == np.float64

    velocity = jit(lambda moving: field(game, replace(state, params={**state.params, **moving}), {}))
    h = 1e-5
    for j, unit in enumerate(np.eye(6)):
        slope = (velocity(params(at + h * unit)) - velocity(params(at - h * unit))) / (2 * h)
        np.testing.assert_allclose(exact[:, j], slope, rtol=1e-7, atol=1e-8)
    assert not np.allclose(exact, exact.T)


@pytest.mark.parametrize("saturating", [True, False])
@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        (0.0, pair(0, SLOPE)),
        (0.3, pair(-0.15, np.sqrt(SLOPE**2 - 0.15**2))),
        (1.0, pair(-0.5, 0)),
        (2.0, np.array([-1 - np.sqrt(0.75), -1 + np.sqrt(0.75)])),
    ],
)
def test_dirac_gan_has_the_published_spectrum(gamma, expected, saturating):
    """Mescheder et al. 2018, arXiv 1801.04406: +-f'(0) i, and with R1 -gamma/2 +- sqrt(gamma^2/4 - f'(0)^2)."""
    game = dirac(gamma=gamma, saturating=saturating)
    found = spectrum(game, initial(game), {})
    assert found.dtype == np.complex128
    np.testing.assert_allclose(found, expected, atol=2e-8 if gamma == 1.0 else 1e-12)  # a double root halves digits
    if gamma == 0.3:
        np.testing.assert_allclose(found, pair(-0.15, 0.4770), atol=5e-5)


def test_a_player_of_two_updates_has_the_sum_of_both():
    def loss(weight):
        return lambda p, i: (weight * p["x"] ** 2, LossOutput())

    game = Game(
        {"x": Player(number(3.0), optax.sgd(0.1))}, (Update("a", ("x",), loss(1.0)), Update("b", ("x",), loss(0.25)))
    )
    np.testing.assert_allclose(field(game, initial(game), {}), [-7.5])
    np.testing.assert_allclose(spectrum(game, initial(game), {}), [-2.5])


# -- the leading part of the spectrum, without the matrix ------------------------------------------


def net_game(images, spectral=False):
    """A whole GAN with R1, small enough for its exact Jacobian, and a batch of it."""
    prior = normal_prior(3)
    if images:
        shape, kind = (8, 8, 1), "image"
        made = dcgan.Generator(shape, 1), dcgan.Discriminator(shape, 1, spectral=spectral)
    else:
        shape, kind = (2,), "point"
        made = mlp.Generator(shape, width=9, depth=2), mlp.Discriminator(width=9, depth=2, spectral=spectral)
    generator, discriminator = adapt(made[0], (3,)), adapt(made[1], shape)
    game = two_player(
        Player(generator, optax.sgd(0.1)),
        Player(discriminator, optax.sgd(0.1)),
        non_saturating,
        prior,
        observation=kind,
        discriminator_terms=[gradient_penalty(r1, 0.3, discriminator)],
    )
    return game, {kind: jnp.asarray(np.random.default_rng(5).normal(size=(8, *shape)).clip(-1, 1))}


def in_type(tree, dtype):
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


@cache
def linearized(images, spectral=False):
    """The exact Jacobian [n, n] of `net_game` in float32, and a function that multiplies by it without it."""
    game, batch = net_game(images, spectral)
    state, batch = in_type((initial(game), batch), np.float32)
    product = jit(partial(jacobian_product, game))
    return np.asarray(jit(partial(jacobian, game))(state, batch)), lambda u: np.asarray(product(state, batch, u))


@pytest.mark.parametrize(("images", "spectral"), [(False, False), (False, True), (True, False)])
def test_the_product_with_the_jacobian_is_that_of_the_matrix(images, spectral):
    exact, multiply = linearized(images, spectral)
    direction = np.random.default_rng(1).normal(size=len(exact)).astype(np.float32)
    found, expected = multiply(direction), exact @ direction
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    # J^T has the same eigenvalues, and must not pass for J
    assert np.abs(exact.T @ direction - expected).max() > 1e-2 * np.abs(expected).max()


def test_the_product_of_a_game_in_double_precision():
    game, batch = dirac((0.7, -1.3), gamma=0.3, saturating=False), {}
    exact, direction = np.asarray(jacobian(game, initial(game), batch)), np.array([0.3, 1.1])
    found = jit(partial(jacobian_product, game))(initial(game), batch, direction)
    np.testing.assert_allclose(found, exact @ direction, rtol=1e-12)
    assert abs(exact[0, 1] - exact[1, 0]) > 0.1


def leading_of(values, count):
    """Who leads by each of the three orders, of a whole spectrum, where a lead is more than the search resolves."""
    orders = (values.real, abs(values.imag), abs(values))
    picked = [
        values[i] for by in orders for i in np.argsort(-by, kind="stable")[:count] if by[i] > 0.01 * abs(values).max()
    ]
    return np.array([value.conjugate() if value.imag < 0 else value for value in picked])


@pytest.mark.parametrize("images", [False, True], ids=["mlp", "dcgan"])
def test_the_leading_spectrum_of_nets_is_that_of_the_matrix(images, monkeypatch):
    monkeypatch.setattr("jaxgan.evaluation.eigenvalues.EXACT_UP_TO", 0)
    matrix, multiply = linearized(images)
    exact = np.linalg.eigvals(matrix.astype(np.float64))
    found = leading_spectrum(multiply, len(exact), 3, seed=1)
    scale = np.abs(exact).max()
    nearest = np.abs(found.values[:, None] - exact[None, :]).min(axis=1)
    assert found.missing == 0 and nearest.max() < 5e-3 * scale
    # and none that leads was overlooked
    wanted = leading_of(exact, 3)
    assert len(wanted) >= 5
    assert np.abs(found.values[:, None] - wanted[None, :]).min(axis=0).max() < 5e-3 * scale
    assert np.all(found.values.imag >= 0) and np.all(np.diff(found.values.real) <= 0)
    assert np.allclose(np.linalg.norm(found.vectors, axis=0), 1)
    np.testing.assert_allclose(quotients(multiply, found.vectors), found.values, atol=5e-3 * scale)


@pytest.mark.parametrize(("gamma", "expected"), [(0.0, 0.5j), (0.3, -0.15 + 0.4769696j), (2.0, -1 + 0.75**0.5)])
def test_dirac_gan_leads_with_the_published_eigenvalues(gamma, expected):
    game = dirac(gamma=gamma)
    state, product = initial(game), jit(partial(jacobian_product, game))
    found = leading_spectrum(lambda u: product(state, {}, u), 2, 1, dtype=np.float64)
    np.testing.assert_allclose(found.values[0], expected, atol=1e-7)


def test_schedules_are_averaged():
    """n_critic 5, and a lazy penalty that weighs 4 on every fourth step."""
    lazy = Update("lazy", ("y",), lambda p, i: (4 * 0.5 * p["y"] ** 2, LossOutput()), every(4, offset=0))
    x, y = bilinear().updates
    game = replace(bilinear(simultaneous=False), updates=(replace(x, when=every(5)), y, lazy))
    at = initial(game)
    plain = without_schedules(game, 7)
    assert all(update.when is None for update in plain.updates)
    np.testing.assert_allclose(field(plain, at, {}), [-2.0 / 5, 1.0 - 2.0], rtol=1e-12)
    np.testing.assert_allclose(jacobian(plain, at, {}), [[0, -1 / 5], [1, -1]], atol=1e-12)


# -- the operator of a step ------------------------------------------------------------------------


def test_a_simultaneous_step_has_one_plus_h_times_the_spectrum():
    game = dirac(rate=0.2, gamma=0.3)
    operator = step_jacobian(game, initial(game), {})
    np.testing.assert_allclose(eigenvalues(operator), 1 + 0.2 * spectrum(game, initial(game), {}), atol=1e-12)
    np.testing.assert_allclose(operator, np.eye(2) + 0.2 * np.asarray(jacobian(game, initial(game), {})), atol=1e-14)


@pytest.mark.parametrize(
    ("rate", "num_critic", "published", "digits"),
    [
        (0.2, 1, pair(0.995, 0.0999), 5e-5),
        (0.2, 5, pair(0.975, 0.2222), 5e-5),
        (4.1, 1, np.array([-1.5625, -0.64]), 5e-5),
    ],
)
def test_alternating_steps_have_the_published_eigenvalues(rate, num_critic, published, digits):
    """On the unit circle while sqrt(n) h f'(0) is at most 2, outside it beyond."""
    game = dirac(rate=rate, when=every(num_critic), simultaneous=False)
    found = eigenvalues(step_jacobian(game, initial(game), {}, num_critic))
    half = 1 - num_critic * (rate * SLOPE) ** 2 / 2
    np.testing.assert_allclose(found, np.sort_complex(np.roots([1, -2 * half, 1])), atol=1e-9)
    np.testing.assert_allclose(found, published, atol=digits)


def test_a_step_operator_away_from_the_fixed_point_is_that_of_finite_differences():
    def after(theta, psi):
        return play(dirac((theta, psi), 0.4, 0.3, when=every(2), simultaneous=False), 2, ("psi", "theta"))[-1]

    game, h = dirac((0.9, -1.4), 0.4, 0.3, when=every(2), simultaneous=False), 1e-5
    expected = np.stack(
        [
            (after(0.9, -1.4 + h) - after(0.9, -1.4 - h)) / (2 * h),
            (after(0.9 + h, -1.4) - after(0.9 - h, -1.4)) / (2 * h),
        ],
        axis=1,
    )
    np.testing.assert_allclose(step_jacobian(game, initial(game), {}, 2), expected, rtol=1e-8)


def test_a_step_operator_includes_what_the_optimizer_remembers():
    """Optimistic steps w + 2 h v(w) - h v(w before) have z^2 - (1 + 2 h lambda) z + h lambda = 0 for each lambda."""
    game = bilinear(0.3, optax.optimistic_gradient_descent)
    state, _ = step(game, initial(game), {})  # the first step has no gradient before it
    found = eigenvalues(step_jacobian(game, state, {}))
    expected = np.concatenate([np.roots([1, -(1 + 0.6 * root), 0.3 * root]) for root in (1j, -1j)])
    np.testing.assert_allclose(found, np.sort_complex(expected), atol=1e-9)
    assert np.max(np.abs(found)) < 1

    # heavy-ball momentum: z^2 - (1 + b + h lambda) z + b = 0
    game = bilinear(0.3, lambda rate: optax.sgd(rate, momentum=-0.2))
    found = eigenvalues(step_jacobian(game, initial(game), {}))
    expected = np.concatenate([np.roots([1, -(0.8 + 0.3 * root), -0.2]) for root in (1j, -1j)])
    np.testing.assert_allclose(found, np.sort_complex(expected), atol=1e-9)


# -- consensus -------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_consensus_pulls_the_eigenvalues_of_dirac_gan_to_the_left(weight):
    """At the fixed point v' becomes v' - weight v'^T v', here -weight f'(0)^2 +- f'(0) i."""
    game = consensus(dirac(), weight)
    np.testing.assert_allclose(spectrum(game, initial(game), {}), pair(-weight * SLOPE**2, SLOPE), atol=1e-12)


def test_consensus_of_a_game_that_is_not_zero_sum():
    """Linear fields are regularised to M - weight M^T M everywhere; M is neither symmetric nor antisymmetric."""
    m = np.array([[0.3, -1.2], [0.7, -0.4]])
    start = np.array([1.5, -0.6])

    def loss(i):  # minus its derivative in its own variable is row i of M times (x, y)
        def compute(p, inputs):
            own, other = ("x", "y") if i == 0 else ("y", "x")
            return -0.5 * m[i, i] * p[own] ** 2 - m[i, 1 - i] * p[own] * p[other], LossOutput()

        return compute

    plain = Game(
        {name: Player(number(value), optax.sgd(0.1)) for name, value in zip("xy", start, strict=True)},
        (Update("x", ("x",), loss(0)), Update("y", ("y",), loss(1))),
    )
    np.testing.assert_allclose(field(plain, initial(plain), {}), m @ start, rtol=1e-12)
    game = consensus(plain, lambda inputs: inputs.hyper["weight"])
    assert game.simultaneous and not plain.simultaneous
    state = initial(game, {"weight": 0.35})
    regularized = m - 0.35 * m.T @ m
    np.testing.assert_allclose(field(game, state, {}), regularized @ start, rtol=1e-12)
    np.testing.assert_allclose(jacobian(game, state, {}), regularized, rtol=1e-12)
    moved, metrics = step(game, state, {})
    np.testing.assert_allclose(metrics["x/consensus"], 0.5 * np.sum((m @ start) ** 2), rtol=1e-6)
    np.testing.assert_allclose([moved.params["x"], moved.params["y"]], start + 0.1 * regularized @ start, rtol=1e-12)


def test_consensus_of_weight_zero_is_the_plain_game():
    game, names = dirac((1.0, 0.5)), ("theta", "psi")
    np.testing.assert_array_equal(play(consensus(game, 0.0), 5, names), play(game, 5, names))


# -- extragradient and optimistic gradients --------------------------------------------------------


@pytest.mark.parametrize("step_size", [None, 0.15, lambda inputs: inputs.hyper["ahead"]])
def test_extragradient_turns_the_bilinear_spiral_inward(step_size):
    """On v = A w, with A a quarter turn, one step is 1 + h A + h a A^2: 1 - h a on the diagonal, h off it."""
    h, steps = 0.1, 300
    ahead = h if step_size is None else 0.15
    path = play(extragradient(bilinear(h, simultaneous=False), step_size), steps, hyper={"ahead": 0.15})
    operator = np.array([[1 - h * ahead, -h], [h, 1 - h * ahead]])
    expected = np.stack([np.linalg.matrix_power(operator, k) @ [1.0, 2.0] for k in range(steps + 1)])
    np.testing.assert_allclose(path, expected, atol=1e-12)
    assert np.hypot(*path[-1]) < 0.6 < np.hypot(*path[0]) < np.hypot(*play(bilinear(h), steps)[-1])


def test_an_optimistic_game_turns_inward_too():
    h, steps = 0.1, 300
    path = play(bilinear(h, optax.optimistic_gradient_descent), steps)
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    points = [np.array([1.0, 2.0])] * 2  # the gradient before the first is taken to be the first
    for _ in range(steps):
        points.append(points[-1] + h * quarter @ (2 * points[-1] - points[-2]))
    np.testing.assert_allclose(path, points[1:], atol=1e-12)
    assert np.hypot(*path[-1]) < 0.6


def test_optimistic_adam_converges_where_adam_circles():
    """Daskalakis et al. 2018, arXiv 1711.00141; also in an optimizer that reads the run's numbers."""

    def optimistic(rate):
        return from_hyper(
            lambda hyper, step: optax.optimistic_adam_v2(hyper["rate"], alpha=1.0, beta=hyper["optimism"]),
            {"rate": 0.0, "optimism": 0.0},
        )

    inward = play(bilinear(0.0, optimistic), 1500, hyper={"rate": 1e-2, "optimism": 100.0})
    circling = play(bilinear(1e-2, optax.adam), 1500)
    assert np.hypot(*inward[-1]) < 0.1 and np.hypot(*circling[-1]) > 1


def test_extragradient_looks_ahead_with_each_players_own_optimizer():
    """Against NumPy: Adam's look-ahead from the present moments, which then take in the second gradient alone."""
    rates, b1, b2, eps, steps = np.array([0.1, 0.03]), 0.5, 0.9, 1e-8, 7
    game = bilinear()
    game = extragradient(
        replace(
            game,
            players={
                name: Player(game.players[name].net, optax.adam(rate, b1, b2, eps))
                for name, rate in zip("xy", rates, strict=True)
            },
        )
    )
    w, m, s, expected = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2), []

    def gradient(w):
        return np.array([w[1], -w[0]])

    def adam(w, g, m, s, count):
        m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g**2
        return w - rates * (m / (1 - b1**count)) / (np.sqrt(s / (1 - b2**count)) + eps), m, s

    for count in range(1, steps + 1):
        ahead, _, _ = adam(w, gradient(w), m, s, count)
        w, m, s = adam(w, gradient(ahead), m, s, count)
        expected.append(w)
    np.testing.assert_allclose(play(game, steps)[1:], expected, rtol=1e-9)


def test_the_field_of_extragradient_is_differentiated_through_its_look_ahead():
    """A linear field M becomes M + a M^2; M is neither symmetric nor antisymmetric."""
    m, h, ahead = np.array([[0.3, -1.2], [0.7, -0.4]]), 0.2, 0.15

    def loss(i):
        own, other = ("x", "y") if i == 0 else ("y", "x")
        return lambda p, inputs: (-0.5 * m[i, i] * p[own] ** 2 - m[i, 1 - i] * p[own] * p[other], LossOutput())

    plain = Game(
        {name: Player(number(value), optax.sgd(h)) for name, value in (("x", 1.5), ("y", -0.6))},
        (Update("x", ("x",), loss(0)), Update("y", ("y",), loss(1))),
    )
    for step_size, a in ((ahead, ahead), (None, h)):
        game = extragradient(plain, step_size)
        state, expected = initial(game), m + a * m @ m
        np.testing.assert_allclose(field(game, state, {}), expected @ [1.5, -0.6], rtol=1e-12)
        np.testing.assert_allclose(jacobian(game, state, {}), expected, rtol=1e-12)
        np.testing.assert_allclose(step_jacobian(game, state, {}), np.eye(2) + h * expected, rtol=1e-12)


def test_the_operator_of_an_extragradient_step_is_that_of_finite_differences():
    """With Adam, away from the fixed point, through the parameters and the moments."""
    game = extragradient(small_gan(optax.adam(0.05)))
    state = started(game)
    exact = np.asarray(jit(lambda params: step_jacobian(game, replace(state, params=params), BATCH))(state.params))
    moving = {"params": state.params, "opt_state": state.opt_state}
    kept, structure = jax.tree.flatten(moving)
    floating = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in kept]
    flat, restore = ravel_pytree([leaf for leaf, of in zip(kept, floating, strict=True) if of])

    def play(flat):
        given = iter(restore(flat))
        leaves = [next(given) if of else leaf for leaf, of in zip(kept, floating, strict=True)]
        now, _ = make_step(game)(replace(state, **jax.tree.unflatten(structure, leaves)), BATCH)
        leaves = jax.tree.leaves({"params": now.params, "opt_state": now.opt_state})
        return ravel_pytree([leaf for leaf, of in zip(leaves, floating, strict=True) if of])[0]

    # moments first by name; step_jacobian has the parameters first
    moments = len(flat) - len(ravel_pytree(state.params)[0])
    order = np.r_[moments : len(flat), :moments]
    run = jit(play)
    # second moments are small, and positive
    around = np.diag(1e-4 * np.abs(flat))
    slopes = np.stack([(run(flat + h) - run(flat - h)) / (2 * np.sum(h)) for h in around], axis=1)
    np.testing.assert_allclose(exact, slopes[np.ix_(order, order)], rtol=1e-5, atol=1e-6)


def test_extragradient_reports_and_keeps_what_the_second_evaluation_found():
    def loss(p, inputs):
        return p["x"] ** 2, LossOutput(variables={"x": {"seen": {"x": p["x"]}}}, metrics={"x": p["x"]})

    net = Net(
        lambda key: {"params": jnp.asarray(1.0), "seen": {"x": jnp.asarray(0.0)}},
        lambda variables, key=None, train=True: (None, {}),
    )
    game = extragradient(Game({"x": Player(net, optax.sgd(0.1))}, (Update("x", ("x",), loss),)))
    state, metrics = step(game, initial(game), {})
    assert float(state.params["x"]) == pytest.approx(1 - 0.1 * 2 * 0.8)
    assert float(state.variables["x"]["seen"]["x"]) == pytest.approx(0.8)
    assert float(metrics["x/x"]) == pytest.approx(0.8) and float(metrics["x/loss"]) == pytest.approx(0.64)


# -- unrolling -------------------------------------------------------------------------------------

START = {
    "generator": {"w": np.array([[0.6, -0.3], [0.2, 1.2]]), "b": np.array([0.1, -0.4])},
    "discriminator": {"w": np.array([0.8, -0.5]), "b": np.array(0.3)},
}
BATCH = {"point": np.array([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.1]])}
LATENT = np.array([[1.0, 0.2], [-0.4, 0.9], [0.3, -1.5]])


def small_gan(optimizer, simultaneous=False):
    """A linear generator against a discriminator that is tanh of a linear map."""

    def value(p, inputs):
        g, d = p["generator"], p["discriminator"]
        fake = LATENT @ g["w"] + g["b"][None, :]
        real_score, fake_score = (jnp.tanh(x @ d["w"] + d["b"]) for x in (inputs.batch["point"], fake))
        return jnp.mean(f(real_score) + f(-2.0 * fake_score))

    def generator(p, inputs):
        return value(p, inputs), LossOutput(metrics={"seen": p["discriminator"]["b"]})

    def discriminator(p, inputs):
        return -value(p, inputs) * inputs.hyper["scale"], LossOutput()

    return Game(
        {name: Player(number(0.0), optimizer) for name in START},
        (Update("discriminator", ("discriminator",), discriminator), Update("generator", ("generator",), generator)),
        simultaneous=simultaneous,
    )


def started(game):
    """Its state with `START` for parameters, after a step of the plain game, so that moments are not fresh."""
    params = jax.tree.map(jnp.asarray, START)
    state = replace(
        initial(game, {"scale": 1.3}),
        params=params,
        opt_state={name: game.players[name].optimizer.init(params[name]) for name in params},
    )
    return step(game, state, BATCH)[0]


def inputs_of(state, batch):
    key = jax.random.fold_in(state.key, state.step)
    same = {entry.name: getattr(state, entry.name) for entry in fields(LossInput) if entry.name not in ("key", "batch")}
    return LossInput(**same, key=key, batch=batch)


def gradients(game, state, name="generator"):
    """A generator's loss and its gradient, flat, as a step of the game sees them."""
    loss = {update.name: update.loss for update in game.updates}[name]
    flat, restore = ravel_pytree(state.params["generator"])
    inputs = inputs_of(state, BATCH)

    def value(flat):
        return loss({**state.params, "generator": restore(flat)}, inputs)[0]

    return jit(value), flat, np.asarray(jit(jax.grad(value))(flat))


def test_unrolled_by_nothing_is_the_plain_game():
    plain = small_gan(optax.adam(0.1))
    state = started(plain)
    once, _ = step(plain, state, BATCH)
    again, _ = step(unroll(plain, mover="generator", opponent="discriminator", steps=0), state, BATCH)
    jax.tree.map(np.testing.assert_array_equal, once.params, again.params)


def test_one_unrolled_step_of_gradient_descent_by_hand():
    """x on x^2 y^3, against y on c x y^2: y becomes y (1 - 2 h c x), and d/dx has the reaction 3 x^2 y^2 dy/dx."""
    x, y, h, c = 0.7, -1.3, 0.2, 1.7
    game = Game(
        {"x": Player(number(x), optax.sgd(0.1)), "y": Player(number(y), optax.sgd(h))},
        (
            Update("x", ("x",), lambda p, i: (p["x"] ** 2 * p["y"] ** 3, LossOutput())),
            Update("y", ("y",), lambda p, i: (i.hyper["c"] * p["x"] * p["y"] ** 2, LossOutput())),
        ),
        simultaneous=True,
    )
    for steps in (1, 2):
        state, metrics = step(unroll(game, mover="x", opponent="y", steps=steps), initial(game, {"c": c}), {})
        shrink = 1 - 2 * h * c * x
        ahead, reaction = y * shrink**steps, -2 * h * c * y * steps * shrink ** (steps - 1)
        gradient = 2 * x * ahead**3 + 3 * x**2 * ahead**2 * reaction
        np.testing.assert_allclose(float(state.params["x"]), x - 0.1 * gradient, rtol=1e-12)
        np.testing.assert_allclose(float(metrics["x/loss"]), x**2 * ahead**3, rtol=1e-6)
        np.testing.assert_allclose(float(state.params["y"]), y * shrink, rtol=1e-12)  # its own loss, and once


@pytest.mark.parametrize("steps", [1, 3])
def test_unrolling_differentiates_through_adam(steps):
    game = unroll(small_gan(optax.adam(0.1, 0.5, 0.9)), mover="generator", opponent="discriminator", steps=steps)
    state = started(game)
    assert all(np.all(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(state.opt_state["discriminator"]))
    value, at, exact = gradients(game, state)
    h = 1e-5
    differences = [(value(at + h * unit) - value(at - h * unit)) / (2 * h) for unit in np.eye(at.size)]
    np.testing.assert_allclose(exact, differences, rtol=1e-6, atol=1e-9)
    _, _, plain = gradients(small_gan(optax.adam(0.1)), state)
    assert np.linalg.norm(exact - plain) > 0.1 * np.linalg.norm(plain)


@pytest.mark.parametrize("optimizer", [optax.adam(0.1, 0.5, 0.9), optax.rmsprop(0.1), optax.lion(0.05)])
def test_the_opponent_seen_ahead_is_the_one_that_would_come(optimizer):
    """Its K moves with the generator held still, played by make_step, are those of the look-ahead."""
    plain = small_gan(optimizer)
    state = started(plain)
    later, alone = state, jit(make_step(plain, active=(True, False)))
    for _ in range(4):
        later, _ = alone(later, BATCH)
    ahead = unroll(plain, mover="generator", opponent="discriminator", steps=4)
    moved, metrics = step(ahead, state, BATCH, active=(False, True))
    np.testing.assert_allclose(metrics["generator/seen"], later.params["discriminator"]["b"], rtol=1e-6)
    # the real one has neither moved nor learned
    jax.tree.map(np.testing.assert_array_equal, moved.params["discriminator"], state.params["discriminator"])
    jax.tree.map(np.testing.assert_array_equal, moved.opt_state["discriminator"], state.opt_state["discriminator"])


def test_a_step_leaves_the_opponent_as_the_plain_game_does():
    for simultaneous in (False, True):
        plain = small_gan(optax.adam(0.1), simultaneous)
        state = started(plain)
        ahead = unroll(plain, mover="generator", opponent="discriminator", steps=3)
        assert ahead.simultaneous == simultaneous
        expected, _ = step(plain, state, BATCH)
        found, _ = step(ahead, state, BATCH)
        for part in ("params", "opt_state"):
            jax.tree.map(
                np.testing.assert_array_equal,
                getattr(found, part)["discriminator"],
                getattr(expected, part)["discriminator"],
            )
        assert not np.allclose(found.params["generator"]["b"], expected.params["generator"]["b"])


def test_the_look_ahead_carries_running_variables_and_tells_the_optimizer_numbers_and_step():
    def make(hyper, step):
        return optax.sgd(hyper["rate"] * (step + 1.0))

    counted = Net(
        lambda key: {"params": jnp.asarray(2.0), "count": {"n": jnp.asarray(0.0)}},
        lambda variables, key=None, train=True: (None, {}),
    )

    def y_loss(p, inputs):
        n = inputs.variables["y"]["count"]["n"]
        changed = {"y": {"count": {"n": n + 1}}, "x": {"count": {"n": jnp.asarray(99.0)}}}
        return p["y"] * (1 + n) * p["x"], LossOutput(variables=changed, memory={"m": inputs.memory["m"] + 1})

    def x_loss(p, inputs):
        counts = {name: inputs.variables[name]["count"]["n"] for name in "xy"}
        return p["x"] * p["y"], LossOutput(metrics={**counts, "m": inputs.memory["m"], "ahead": p["y"]})

    game = Game(
        {"x": Player(counted, optax.sgd(0.1)), "y": Player(counted, from_hyper(make, {"rate": 0.0}))},
        (Update("x", ("x",), x_loss), Update("y", ("y",), y_loss)),
        memory=lambda key: {"m": jnp.asarray(5.0)},
    )
    state = replace(initial(game, {"rate": 0.25}), step=jnp.asarray(1, jnp.int32))
    ahead = unroll(game, mover="x", opponent="y", steps=3)
    moved, metrics = step(ahead, state, {}, active=(True, False))
    # rate 0.25 (step + 1) = 0.5 with gradients 1 x, 2 x and 3 x at x = 2
    assert float(metrics["x/ahead"]) == pytest.approx(2 - 0.5 * (1 + 2 + 3) * 2)
    assert (float(metrics["x/x"]), float(metrics["x/y"]), float(metrics["x/m"])) == (0, 3, 5)
    assert float(moved.variables["y"]["count"]["n"]) == 0 and float(moved.memory["m"]) == 5


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(0.1),
        optax.adam(0.1, b2=0.0),
        optax.rmsprop(0.1, eps_in_sqrt=False),
        optax.lion(0.1, weight_decay=0.0),
    ],
    ids=["adam", "adam-without-memory", "rmsprop", "lion"],
)
def test_a_first_step_is_differentiable_where_the_opponents_gradient_is_zero(optimizer, dtype):
    """y[1] is in no loss and y[2] stands where its gradient is zero; neither moves, not by a rounding's worth."""
    x, y, weights = (np.array(a, dtype) for a in ([0.7, 0.4, 0.0], [-1.3, 0.2, 0.5], [1.0, 0.0, 1.0]))

    def inner(p):
        return jnp.sum(weights * p["x"] * p["y"])

    game = Game(
        {"x": Player(number(x), optax.sgd(1.0)), "y": Player(number(y), optimizer)},
        (
            Update("x", ("x",), lambda p, i: (inner(p), LossOutput(metrics={"ahead": p["y"]}))),
            Update("y", ("y",), lambda p, i: (-inner(p), LossOutput())),
        ),
    )
    state = initial(game)
    inputs = inputs_of(state, {})
    for steps in (1, 3):
        loss = unrolled(game.updates[0].loss, game.updates[1], game.players, steps)
        (value, output), gradient = jit(
            jax.value_and_grad(lambda x, loss=loss: loss({**state.params, "x": x}, inputs), has_aux=True)
        )(state.params["x"])
        assert np.all(np.isfinite(gradient)) and gradient.dtype == dtype and gradient[1] == 0
        np.testing.assert_array_equal(output.metrics["ahead"][1:], y[1:])
        assert output.metrics["ahead"][0] > y[0] + 0.05 * steps
        np.testing.assert_allclose(value, np.sum(weights * x * np.asarray(output.metrics["ahead"])), rtol=1e-6)


def test_adams_slope_at_a_gradient_of_zero_is_that_beside_it():
    """Its first step -rate g / (abs g + epsilon) has slope -rate / epsilon at 0: exact, and large."""
    rate, epsilon = 0.1, 1e-3
    game = Game(
        {"x": Player(number(0.0), optax.sgd(1.0)), "y": Player(number(2.0), optax.adam(rate, eps=epsilon))},
        (
            Update("x", ("x",), lambda p, i: (p["y"], LossOutput())),
            Update("y", ("y",), lambda p, i: (-p["x"] * p["y"], LossOutput())),
        ),
        simultaneous=True,
    )
    state, _ = step(unroll(game, mover="x", opponent="y", steps=1), initial(game), {})
    np.testing.assert_allclose(float(state.params["x"]), -rate / epsilon, rtol=1e-6)


# -- mistakes --------------------------------------------------------------------------------------


def ahead(mover="generator", opponent="discriminator", steps=1):
    return unroll(dirac(), mover=mover, opponent=opponent, steps=steps)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ahead("generatr"), "no update 'generatr' to unroll; updates are ['discriminator', 'generator']"),
        (lambda: ahead(opponent="psi"), "no update 'psi' to unroll"),
        (lambda: ahead(opponent="generator"), "'generator' is no opponent of 'generator': both move ['theta']"),
        (lambda: ahead(steps=-1), "from 0, got -1"),
        (lambda: extragradient(dirac(when=every(2))), "update 'generator' has a schedule"),
        (lambda: step_jacobian(dirac(), initial(dirac()), {}, 0), "at least one step, got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


@pytest.mark.parametrize("transform", [lambda game: consensus(game, 0.1), extragradient])
def test_nobody_moves_twice_where_all_move_at_once(transform):
    game = dirac(simultaneous=False)
    again = replace(game, updates=(*game.updates, replace(game.updates[0], name="again")))
    with pytest.raises(ValueError, match="simultaneous play"):
        transform(again)


# -- gradients of a batch in parts -----------------------------------------------------------------


def counting_game(simultaneous=False):
    """Two players whose losses are means over the batch; passes are counted, and a mean of the data is carried."""

    def loss(sign):
        def compute(params, inputs):
            scores = jnp.tanh(inputs.batch["point"] @ params["left"]["w"]) * params["right"]["w"]
            mover = "left" if sign > 0 else "right"
            running = {mover: {"count": {"n": inputs.variables[mover]["count"]["n"] * 2.0 + 1.0}}}
            memory = {"mean": 0.5 * inputs.memory["mean"] + jnp.mean(inputs.batch["point"])}
            return sign * jnp.mean(scores**2 + scores), LossOutput(running, memory, {"score": jnp.mean(scores)})

        return compute

    def net(start):
        return Net(
            lambda key: {"params": {"w": jnp.asarray(start)}, "count": {"n": jnp.zeros(())}},
            lambda variables, key=None, train=True: (None, {}),
        )

    players = {"left": Player(net([0.3, -0.8]), optax.sgd(0.1)), "right": Player(net(0.7), optax.sgd(0.1))}
    updates = (Update("left", ("left",), loss(1.0)), Update("right", ("right",), loss(-1.0)))
    return Game(players, updates, memory=lambda key: {"mean": jnp.zeros(())}, simultaneous=simultaneous)


POINTS = {"point": np.random.default_rng(4).normal(0.4, 1.0, (6, 2))}


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_parts_of_a_batch_move_as_the_whole_does(parts):
    whole, in_parts = counting_game(), accumulate(counting_game(), parts)
    (state, metrics), (ours, our_metrics) = (
        jax.jit(make_step(g))(init_state(g, jax.random.key(0)), POINTS) for g in (whole, in_parts)
    )
    for wanted, found in zip(jax.tree.leaves(state.params), jax.tree.leaves(ours.params), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    for name in metrics:
        np.testing.assert_allclose(our_metrics[name], metrics[name], rtol=1e-6)
    # what is carried goes through the parts in order: 1, 3, 7, ...
    assert float(ours.variables["left"]["count"]["n"]) == 2.0**parts - 1.0
    mean = 0.0
    for _ in range(2):
        for i in range(parts):
            mean = 0.5 * mean + POINTS["point"].reshape(-1, parts, 2)[:, i].mean()
    np.testing.assert_allclose(ours.memory["mean"], mean, rtol=1e-12)


def test_parts_have_keys_of_their_own_that_all_updates_share():
    def noisy(params, inputs):
        return jnp.sum(params["w"]["w"]) * jax.random.normal(inputs.key), LossOutput()

    net = Net(lambda key: {"params": {"w": jnp.ones(1)}}, lambda variables, key=None, train=True: (None, {}))
    players = {"w": Player(net, optax.sgd(1.0))}
    game = accumulate(Game(players, (Update("w", ("w",), noisy),)), 3)
    state = init_state(game, jax.random.key(0))
    moved, _ = make_step(game)(state, POINTS)
    key = jax.random.fold_in(jax.random.key(0), 0)
    draws = [float(jax.random.normal(jax.random.fold_in(key, i))) for i in range(3)]
    np.testing.assert_allclose(moved.params["w"]["w"], 1.0 - np.mean(draws), rtol=1e-6)


def test_the_field_of_parts_has_the_jacobian_of_the_whole():
    """Second derivatives go through the sum, so that looking ahead and penalties of the field are right too."""
    whole, in_parts = counting_game(True), accumulate(counting_game(True), 2)
    state = init_state(whole, jax.random.key(0))
    np.testing.assert_allclose(jacobian(in_parts, state, POINTS), jacobian(whole, state, POINTS), rtol=1e-10)


def test_batches_that_do_not_divide_are_refused():
    game = accumulate(counting_game(), 4)
    with pytest.raises(ValueError, match="4 parts do not divide a batch of 6"):
        make_step(game)(init_state(game, jax.random.key(0)), POINTS)
    with pytest.raises(ValueError, match="at least 1 part, got 0"):
        accumulate(counting_game(), 0)
