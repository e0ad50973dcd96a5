"""Which training methods converge on the Dirac-GAN: eigenvalues and orbits beside closed forms, in float64.

    python experiments/dirac_gan.py                                       all methods
    python experiments/dirac_gan.py --method r1,r2 --strength 0.1,0.3,1   some, at strengths of your own
    python experiments/dirac_gan.py --method r1 --step-size 0.05 --out r1.json --picture r1.png

Mescheder, Geiger, Nowozin, "Which Training Methods for GANs do actually Converge?", 2018, arXiv
1801.04406. The data are one point at 0, the generator is one point at theta, the discriminator is the
linear psi x. The one equilibrium is (0, 0). The claims: without regularisation the eigenvalues of the
field there are +-f'(0) i = +-0.5 i, and training circles; with R1 or R2 they are
-gamma/2 +- sqrt(gamma^2/4 - f'(0)^2), and training converges; WGAN and WGAN-GP do not converge.

Every game is made by `two_player` from the losses, penalties and transformations of the library. Checked
beside it, by formulas in NumPy and without the library: the eigenvalues of the field at the equilibrium
and of the operator of one step, and the distance from the equilibrium after 500 steps of size 0.2 from
(1, 1), the settings of the authors' notebook. Three ways of playing: "simultaneous"; "alternating 1",
the generator first, then D once; "alternating 5", D five times. The paper's f'(0) is that of
f(t) = -log(1 + exp(-t)), and its discriminator is a logit of being fake; ours is one of being real, so
that psi is minus our parameter, which leaves eigenvalues and distances as they are.

Strengths: gamma of a penalty is the paper's, whose weight is gamma/2 (of WGAN-GP and DRAGAN too); that of
consensus is its weight; sigma is the deviation of the noise; the bound is that of the weights. Penalties,
noise, consensus and extragradient are of the minimax game unless the name says otherwise. WGAN-GP and
DRAGAN want slopes of 1: their field jumps where psi = 0, so that there are no eigenvalues, and the orbit is
given instead. Expectations over instance noise are exact: a quadrature, no draws. Consensus is the exact
gradient; the authors' notebook halves a part of it, with the same eigenvalues and other orbits: from (1, 1)
with five moves of D theirs ends at 0 and the exact one at a distance of 11 (`details` has both).

Nothing here is random: one "seed" is all there is, and others are refused. Takes about a minute on two
cores; --quick has four of the methods. What to expect: eigenvalues within 1e-12 of their closed forms and
distances within 1e-8 of NumPy's, relative; R1 and R2 stop rotating at gamma = 1, and beyond it the slower
of two real eigenvalues gets slower still; alternating play without regularisation keeps the radius of the
start; the non-saturating and the relativistic game creep in, the nearer the slower; and DRAGAN at
gamma = 0.7, played in turns, stops at theta = -2 gamma, psi = 0, which is no equilibrium of the GAN.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contract import RESULTS, Row, arguments, finish
from matplotlib.figure import Figure

from jaxgan.arrays import Array
from jaxgan.dynamics import consensus, extragradient, field, spectrum, step_jacobian
from jaxgan.game import Game, Net, Player, State, every, init_state, make_step
from jaxgan.games.two_player import gradient_penalty, two_player
from jaxgan.losses.adversarial import AdversarialLoss, minimax, non_saturating, relativistic, wasserstein
from jaxgan.losses.penalties import Penalty, dragan, r1, r2, wgan_gp, zero_centered_gp
from jaxgan.optimizers import from_hyper, weight_clipping
from jaxgan.training.parallel import configure_backend

PAPER = "Mescheder, Geiger, Nowozin 2018, arXiv 1801.04406"
STEP_SIZE, STEPS, START = 0.2, 500, (1.0, 1.0)
ORBIT = 100
# D's moves in a step; 0: both players move at once
PLAYS = {"simultaneous": 0, "alternating 1": 1, "alternating 5": 5}
SLOPE, CURVATURE = 0.5, -0.25  # f'(0), f''(0)

Velocity = Callable[[Any, Any, float, float], tuple[Any, Any]]


@dataclass(frozen=True)
class Method:
    """One way of training: its parts in the library, and its formulas by hand.

    symbol, strengths: what its one number is called and which values are shown; None for methods without.
    velocity: (theta, psi, strength, step size) -> the field, by the paper's formulas.
    jacobian: (strength, step size) -> its derivative at (0, 0), rows and columns theta, psi; None: a kink.
    published: (strength) -> the eigenvalues in the paper.
    """

    title: str
    loss: AdversarialLoss
    velocity: Velocity
    jacobian: Callable[[float, float], list[list[float]]] | None
    symbol: str | None = None
    strengths: tuple[float, ...] = ()
    penalties: tuple[Penalty, ...] = ()
    change: Callable[[Game], Game] = lambda game: game
    noisy: bool = False
    clipped: bool = False
    published: Callable[[float], tuple[complex, complex]] | None = None

    def name(self, strength: float) -> str:
        return self.title if self.symbol is None else f"{self.title}, {self.symbol}={strength:g}"


# -- the library's side ----------------------------------------------------------------------------

# the trapezoidal rule, which for a Gaussian times a smooth function is exact to rounding
NODES = np.linspace(-9.0, 9.0, 145)
NODE_WEIGHTS = np.exp(-(NODES**2) / 2) / np.sum(np.exp(-(NODES**2) / 2))

# nets of numbers, because those of jaxgan.nets compute in float32
POINT = Net(
    lambda key: {"params": jnp.zeros(())},
    lambda variables, latent, key=None, train=True: (jnp.broadcast_to(variables["params"], latent.shape), {}),
)
LINEAR = Net(
    lambda key: {"params": jnp.zeros(())},
    lambda variables, example, key=None, train=True: (variables["params"] * example[:, 0], {}),
)


def make(method: Method, step_size: float) -> Game:
    """The method as a game of `generator` (theta) and `discriminator` (-psi) that reads its strength from hyper."""
    rate = optax.sgd(step_size)
    clipped = from_hyper(lambda h, step: optax.chain(rate, weight_clipping(h["strength"])), {"strength": 1.0})
    game = two_player(
        Player(POINT, rate),
        Player(LINEAR, clipped if method.clipped else rate),
        expected(method.loss) if method.noisy else method.loss,
        prior=lambda key, n: jnp.zeros((n, 1)),
        observation="point",
        discriminator_terms=[gradient_penalty(penalty, "half", LINEAR) for penalty in method.penalties],
        show=(lambda examples, key, inputs: examples + inputs.hyper["strength"] * NODES[:, None])
        if method.noisy
        else None,
    )
    return method.change(game)


def expected(loss: AdversarialLoss) -> AdversarialLoss:
    """The loss of examples at `NODES`, weighted so that its mean is the expectation over the noise."""
    weights = NODE_WEIGHTS * len(NODES)
    return AdversarialLoss(
        discriminator=lambda real, fake: weights * loss.discriminator(real, fake),
        generator=lambda real, fake: weights * loss.generator(real, fake),
    )


def arranged(game: Game, d_steps: int) -> Game:
    """The game played simultaneously (0), or the generator first and D `d_steps` times before it moves again.

    After `consensus` and `extragradient`, which see both players move at every step.
    """
    if not d_steps:
        return replace(game, simultaneous=True)
    update = {update.name: update for update in game.updates}
    first = replace(update["generator"], when=every(d_steps, offset=0))
    return replace(game, updates=(first, update["discriminator"]), simultaneous=False)


def batch(method: Method) -> dict[str, Array]:
    return {"point": jnp.zeros((len(NODES) if method.noisy else 1, 1))}


def placed(game: Game, strength: float, theta: float, psi: float) -> State:
    """The state at (theta, psi). The penalties of the library come without the paper's half: "half" is their weight."""
    state = init_state(game, jax.random.key(0), {"strength": jnp.asarray(strength), "half": jnp.asarray(strength / 2)})
    return replace(state, params={"generator": jnp.asarray(theta), "discriminator": jnp.asarray(-psi)})


def trajectory(game: Game, d_steps: int, steps: int, seen: Any) -> Callable[[State], Array]:
    """state -> (theta, psi) at the start and after each of `steps` steps, [steps + 1, 2]; compiled."""
    step = make_step(arranged(game, d_steps))

    def position(state: State) -> Array:
        return jnp.stack([state.params["generator"], -state.params["discriminator"]])

    def outer(state: State, _: None) -> tuple[State, Array]:
        state = jax.lax.fori_loop(0, max(d_steps, 1), lambda _, s: step(s, seen)[0], state)
        return state, position(state)

    def play(state: State) -> Array:
        return jnp.concatenate([position(state)[None], jax.lax.scan(outer, state, length=steps)[1]])

    return jax.jit(play)


def operator(game: Game, d_steps: int, seen: Any) -> Callable[[State], Array]:
    """state -> the derivative of one step, D's moves included, [2, 2]; compiled."""
    ordered, steps = arranged(game, d_steps), max(d_steps, 1)
    first = jnp.zeros((), jnp.int32)

    def derivative(state: State) -> Array:
        # the schedule is resolved on the host, from step 0
        return step_jacobian(ordered, replace(state, step=first), seen, steps)

    return jax.jit(derivative)


def velocities(game: Game, state: State, seen: Any, theta: np.ndarray, psi: np.ndarray) -> tuple[np.ndarray, ...]:
    """The field (theta, psi) at points of any one shape."""

    def at(theta: Array, psi: Array) -> Array:
        return field(game, replace(state, params={"generator": theta, "discriminator": -psi}), seen)

    found = np.asarray(jax.jit(jax.vmap(at))(theta.ravel(), psi.ravel()))
    return found[:, 1].reshape(theta.shape), -found[:, 0].reshape(theta.shape)


# -- by hand ---------------------------------------------------------------------------------------

GAUSS_HERMITE = np.polynomial.hermite_e.hermegauss(100)


def slope(t: Any) -> Any:
    """f'(t) = sigmoid(-t)."""
    return 0.5 * (1.0 - np.tanh(t / 2))


def unregularised(theta: Any, psi: Any, *_: float) -> tuple[Any, Any]:
    return -psi * slope(psi * theta), theta * slope(psi * theta)


def without_saturation(theta: Any, psi: Any, *_: float) -> tuple[Any, Any]:
    return -psi * slope(-psi * theta), theta * slope(psi * theta)


def bilinear(theta: Any, psi: Any, *_: float) -> tuple[Any, Any]:
    return -psi, theta


def damped(field: Velocity, times: float = 1.0) -> Velocity:
    """A zero-centred penalty, or several."""

    def velocity(theta: Any, psi: Any, gamma: float, h: float) -> tuple[Any, Any]:
        v1, v2 = field(theta, psi, gamma, h)
        return v1, v2 - times * gamma * psi

    return velocity


def one_centred(field: Velocity) -> Velocity:
    def velocity(theta: Any, psi: Any, gamma: float, h: float) -> tuple[Any, Any]:
        v1, v2 = field(theta, psi, gamma, h)
        return v1, v2 - gamma * (np.abs(psi) - 1.0) * np.sign(psi)

    return velocity


def with_noise(theta: Any, psi: Any, sigma: float, h: float) -> tuple[Any, Any]:
    """E[-psi f'(psi x)] and E[x f'(psi x) - e f'(-psi e)], x = theta + e, e ~ N(0, sigma^2), by Gauss and Hermite."""
    nodes, weights = GAUSS_HERMITE
    noise, weights = sigma * nodes, weights / np.sum(weights)
    x = theta + noise
    return -psi * weights @ slope(psi * x), weights @ (x * slope(psi * x) - noise * slope(-psi * noise))


def consensual(halved: float = 1.0) -> Velocity:
    """v - gamma grad(|v|^2 / 2), |v|^2 = (theta^2 + psi^2) f'(psi theta)^2; halved 1/2: as in the authors' notebook."""

    def velocity(theta: Any, psi: Any, gamma: float, h: float) -> tuple[Any, Any]:
        f1 = slope(psi * theta)
        f2 = -f1 * slope(-psi * theta)
        shared = halved * (theta**2 + psi**2) * f1 * f2
        v1, v2 = unregularised(theta, psi)
        return v1 - gamma * (theta * f1**2 + psi * shared), v2 - gamma * (psi * f1**2 + theta * shared)

    return velocity


def looking_ahead(theta: Any, psi: Any, strength: float, h: float) -> tuple[Any, Any]:
    v1, v2 = unregularised(theta, psi)
    return unregularised(theta + h * v1, psi + h * v2)


def iterate(
    velocity: Velocity, strength: float, h: float, d_steps: int, steps: int, bound: float = math.inf
) -> np.ndarray:
    """(theta, psi) at the start and after each step, [steps + 1, 2], in NumPy; psi is kept in [-bound, bound]."""
    theta, psi = START[0], float(np.clip(START[1], -bound, bound))
    path = [(theta, psi)]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            v1, v2 = velocity(theta, psi, strength, h)
            theta = theta + h * v1
            if d_steps:
                for _ in range(d_steps):
                    psi = np.clip(psi + h * velocity(theta, psi, strength, h)[1], -bound, bound)
            else:
                psi = np.clip(psi + h * v2, -bound, bound)
            path.append((float(theta), float(psi)))
    return np.array(path)


def roots(trace: float, determinant: float) -> np.ndarray:
    """The eigenvalues of a matrix of two rows."""
    root = np.sqrt(complex(trace**2 / 4 - determinant))
    return np.array([trace / 2 - root, trace / 2 + root])


def field_eigenvalues(jacobian: list[list[float]]) -> np.ndarray:
    (a, b), (c, d) = jacobian
    return roots(a + d, a * d - b * c)


def step_eigenvalues(jacobian: list[list[float]], h: float, d_steps: int) -> np.ndarray:
    """Those of one step: 1 + h lambda in simultaneous play; else of the product of the half steps.

    With q = 1 + h d and s = 1 + q + ... + q^(n - 1) that product is, for n moves of D,
    ((1, 0), (s h c, q^n)) ((1 + h a, h b), (0, 1)).
    """
    if not d_steps:
        return 1 + h * field_eigenvalues(jacobian)
    (a, b), (c, d) = jacobian
    q = 1 + h * d
    s = sum(q**k for k in range(d_steps))
    return roots(1 + h * a + q**d_steps + s * h**2 * b * c, (1 + h * a) * q**d_steps)


def paired(ours: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Two exact eigenvalues in the order of ours."""
    straight, crossed = (float(np.max(np.abs(ours - other))) for other in (exact, exact[::-1]))
    return exact if straight <= crossed else exact[::-1]


def difference(ours: np.ndarray, exact: np.ndarray) -> float:
    """The largest distance of an eigenvalue from its partner."""
    return float(np.max(np.abs(ours - paired(ours, exact))))


# -- the methods -----------------------------------------------------------------------------------


def rotating(generator: float = 0.0, discriminator: float = 0.0, turn: float = SLOPE) -> list[list[float]]:
    return [[generator, -turn], [turn, discriminator]]


def published_penalty(gamma: float) -> tuple[complex, complex]:
    root = np.sqrt(complex(gamma**2 / 4 - SLOPE**2))
    return -gamma / 2 - root, -gamma / 2 + root


ZERO_CENTRED: dict[str, Any] = {
    "symbol": "gamma",
    "jacobian": lambda gamma, h: rotating(discriminator=-gamma),
    "published": published_penalty,
}
METHODS = {
    "minimax": Method(
        "minimax GAN",
        minimax,
        unregularised,
        lambda _, h: rotating(),
        published=lambda _: (-SLOPE * 1j, SLOPE * 1j),
    ),
    "non-saturating": Method("non-saturating GAN", non_saturating, without_saturation, lambda _, h: rotating()),
    "wgan": Method("WGAN", wasserstein, bilinear, lambda _, h: rotating(turn=1.0)),
    "wgan-clipping": Method(
        "WGAN with clipping",
        wasserstein,
        bilinear,
        lambda _, h: rotating(turn=1.0),
        symbol="bound",
        strengths=(1.0,),
        clipped=True,
    ),
    "wgan-gp": Method("WGAN-GP", wasserstein, one_centred(bilinear), None, "gamma", (0.7,), penalties=(wgan_gp,)),
    "dragan": Method("DRAGAN", minimax, one_centred(unregularised), None, "gamma", (0.7,), penalties=(dragan,)),
    "instance-noise": Method(
        "instance noise",
        minimax,
        with_noise,
        lambda sigma, h: rotating(discriminator=2 * sigma**2 * CURVATURE),
        symbol="sigma",
        strengths=(0.7,),
        noisy=True,
    ),
    "r1": Method("R1", minimax, damped(unregularised), strengths=(0.3, 1.0, 2.0), penalties=(r1,), **ZERO_CENTRED),
    "r2": Method("R2", minimax, damped(unregularised), strengths=(0.3,), penalties=(r2,), **ZERO_CENTRED),
    "non-saturating-gp": Method(
        "non-saturating GAN + zero-centred GP",
        non_saturating,
        damped(without_saturation),
        strengths=(0.3,),
        penalties=(zero_centered_gp,),
        **{**ZERO_CENTRED, "published": None},
    ),
    "consensus": Method(
        "consensus optimization",
        minimax,
        consensual(),
        lambda gamma, h: rotating(-gamma * SLOPE**2, -gamma * SLOPE**2),
        symbol="gamma",
        strengths=(1.0,),
        change=lambda game: consensus(game, lambda inputs: inputs.hyper["strength"]),
    ),
    "extragradient": Method(
        "extragradient",
        minimax,
        looking_ahead,
        lambda _, h: rotating(-h * SLOPE**2, -h * SLOPE**2),
        change=extragradient,
    ),
    "relativistic": Method("relativistic GAN", relativistic, without_saturation, lambda _, h: rotating()),
    "r3gan": Method(
        "relativistic GAN + R1 and R2",
        relativistic,
        damped(without_saturation, times=2.0),
        lambda gamma, h: rotating(discriminator=-2 * gamma),
        symbol="gamma",
        strengths=(0.3,),
        penalties=(r1, r2),
    ),
}


# -- the study -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What was found for one method at one strength; by play, and for eigenvalues "field" too.

    eigenvalues: (ours, closed form), each complex [2]; none at a kink. paths: (ours, NumPy's), each [steps + 1, 2].
    arrows: theta, psi and the field there, for the picture.
    """

    method: Method
    strength: float
    eigenvalues: dict[str, tuple[np.ndarray, np.ndarray]]
    paths: dict[str, tuple[np.ndarray, np.ndarray]]
    arrows: tuple[np.ndarray, ...]

    @property
    def name(self) -> str:
        return self.method.name(self.strength)

    def distances(self, play: str) -> tuple[np.ndarray, np.ndarray]:
        """From the equilibrium, ours and NumPy's, each [steps + 1]."""
        ours, checked = (np.hypot(*path.T) for path in self.paths[play])
        return ours, checked

    def verdict(self) -> str:
        """By the eigenvalues of the field; where they have no real part, or are none, by the orbit of alternating play.

        "creeps in" is to have come nearer than half of the first distance, without a linear rate.
        """
        distances = self.distances("alternating 1")[0]
        if self.eigenvalues and np.max(self.eigenvalues["field"][0].real) < -1e-9:
            return "converges"
        return "creeps in" if distances[-1] < distances[0] / 2 else "does not converge"


def study(method: Method, strengths: tuple[float, ...], h: float, steps: int) -> list[Found]:
    """One game and one compilation for all strengths."""
    game, seen = make(method, h), batch(method)
    played = {play: trajectory(game, d_steps, steps, seen) for play, d_steps in PLAYS.items()}
    operators = {play: operator(game, d_steps, seen) for play, d_steps in PLAYS.items()} if method.jacobian else {}
    grid = np.meshgrid(np.linspace(-1.8, 1.8, 11), np.linspace(-1.8, 1.8, 11))
    found = []
    for strength in strengths:
        bound = strength if method.clipped else math.inf
        origin = placed(game, strength, 0.0, 0.0)
        start = placed(game, strength, START[0], min(START[1], bound))
        eigenvalues = {}
        if method.jacobian is not None:
            exact = method.jacobian(strength, h)
            eigenvalues["field"] = spectrum(game, origin, seen), field_eigenvalues(exact)
            for play, derivative in operators.items():
                ours = np.linalg.eigvals(np.asarray(derivative(origin)))
                eigenvalues[play] = ours, step_eigenvalues(exact, h, PLAYS[play])
        paths = {
            play: (np.asarray(run(start)), iterate(method.velocity, strength, h, PLAYS[play], steps, bound))
            for play, run in played.items()
        }
        arrows = (*grid, *velocities(game, origin, seen, *grid))
        found.append(Found(method, strength, eigenvalues, paths, arrows))
    return found


def rows_of(found: Found) -> list[Row]:
    rows, name = [], found.name
    for where, (ours, _) in found.eigenvalues.items():
        if where != "field":
            rows.append(Row(name, f"step, {where}, spectral radius", float(np.max(np.abs(ours)))))
            continue
        published: dict[str, Any] = {}
        if found.method.published is not None:
            printed = np.array(found.method.published(found.strength))
            published = {"real": float(np.max(printed.real)), "imaginary": float(np.max(printed.imag))}
        source = f"{PAPER}: its formula for the eigenvalues, evaluated" if published else None
        values = {"real": float(np.max(ours.real)), "imaginary": float(np.max(ours.imag))}
        for metric, part in (("field, largest real part", "real"), ("field, imaginary part", "imaginary")):
            rows.append(Row(name, metric, values[part], published=published.get(part), source=source))
    for play in PLAYS:
        distances = found.distances(play)[0]
        rows.append(Row(name, f"distance after {len(distances) - 1} steps, {play}", float(distances[-1])))
        if not found.eigenvalues:
            last = distances[-ORBIT:]
            rows.append(Row(name, f"orbit, {play}, smallest distance of the last {len(last)}", float(np.min(last))))
            rows.append(Row(name, f"orbit, {play}, largest distance of the last {len(last)}", float(np.max(last))))
    return rows


def details_of(everything: list[Found], h: float) -> dict[str, Any]:
    """All eigenvalues and distances beside their checks."""
    eigenvalues: list[dict[str, Any]] = []
    distances: list[dict[str, Any]] = []
    for found in everything:
        which = {"method": found.name, "strength": found.strength if found.method.symbol else None}
        for where, (ours, exact) in found.eigenvalues.items():
            eigenvalues.append(
                {
                    **which,
                    "play": where,
                    "ours": [[float(x.real), float(x.imag)] for x in ours],
                    "closed form": [[float(x.real), float(x.imag)] for x in paired(ours, exact)],
                    "difference": difference(ours, exact),
                }
            )
        if not found.eigenvalues:
            why = "the field jumps at psi = 0, where the penalty has a kink: it has no eigenvalues there"
            eigenvalues.append({**which, "play": "field", "ours": None, "closed form": None, "why": why})
        for play in PLAYS:
            last, checked = (float(path[-1]) for path in found.distances(play))
            entry = {
                **which,
                "play": play,
                "ours": last,
                "NumPy": checked,
                "relative difference": relative(found, play),
            }
            if found.method is METHODS["consensus"]:
                path = iterate(consensual(0.5), found.strength, h, PLAYS[play], len(found.paths[play][0]) - 1)
                entry["NumPy, the notebook's field"] = float(np.hypot(*path[-1]))
            distances.append(entry)
    verdicts = {found.name: found.verdict() for found in everything}
    return {"step size": h, "verdicts": verdicts, "eigenvalues": eigenvalues, "distances": distances}


def relative(found: Found, play: str) -> float:
    """How far the last distance is from NumPy's, relative to it; 0 where both have overflown.

    Sums over the nodes of the noise round at 1e-17, so that smaller distances are theirs: there relative to 1e-9.
    """
    ours, checked = (float(distances[-1]) for distances in found.distances(play))
    if not (math.isfinite(ours) or math.isfinite(checked)) or ours == checked:
        return 0.0
    return abs(ours - checked) / max(checked, 1e-9 if found.method.noisy else 0.0)


def shown(values: np.ndarray) -> str:
    """A pair of eigenvalues as text: conjugates with +-, reals one by one."""
    real, imaginary = values.real, np.max(np.abs(values.imag))
    if imaginary < 1e-6:
        return ", ".join(f"{x:.4g}" if abs(x) > 1e-12 else "0" for x in sorted(real))
    start = f"{real[0]:.4g} ± " if abs(real[0]) > 1e-12 else "±"
    return f"{start}{imaginary:.4g}i"


def comparison(everything: list[Found]) -> str:
    """Eigenvalues beside their closed forms, as a Markdown table."""
    lines = ["| method | of | ours | closed form | difference |", "|---|---|---|---|---|"]
    for found in everything:
        for where, (ours, exact) in found.eigenvalues.items():
            what = where if where == "field" else f"step, {where}"
            cells = (found.name, what, shown(ours), shown(exact), f"{difference(ours, exact):.1g}")
            lines.append("| " + " | ".join(cells) + " |")
        if not found.eigenvalues:
            lines.append(f"| {found.name} | field | none: it jumps where psi = 0 | | |")
    return "\n".join(lines)


# -- picture and command line ----------------------------------------------------------------------

COLOURS = {"simultaneous": "#D55E00", "alternating 1": "#0072B2"}


def picture(everything: list[Found], h: float, path: Path) -> None:
    """Phase portraits: the field, and 500 steps of simultaneous and of alternating play on it."""
    columns = min(4, len(everything))
    lines = -(-len(everything) // columns)
    figure = Figure(figsize=(2.9 * columns + 0.3, 3.15 * lines + 0.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(lines, columns, sharex=True, sharey=True)).ravel()
    for panel in panels[len(everything) :]:
        panel.axis("off")
    for panel, found in zip(panels, everything, strict=False):
        theta, psi, v1, v2 = found.arrows
        length = np.maximum(np.hypot(v1, v2), 1e-12)
        # arrows grow with the square root of speed, or the slow middle of the portrait would be empty
        panel.quiver(theta, psi, v1 / np.sqrt(length), v2 / np.sqrt(length), color="0.72", width=0.006, scale=22)
        for play, colour in COLOURS.items():
            ours = found.paths[play][0]
            panel.plot(*ours.T, color=colour, lw=0.9, alpha=0.9, label=play)
        panel.plot(0, 0, "+", color="black", ms=9, mew=1.6)
        panel.plot(*found.paths["simultaneous"][0][0], "o", color="black", ms=4)
        values = f"λ = {shown(found.eigenvalues['field'][0])}" if found.eigenvalues else "no λ, a kink at ψ = 0"
        panel.set_title(f"{title(found)}\n{values.replace('-', '−')}: {found.verdict()}", fontsize=8)
        panel.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        panel.tick_params(labelsize=8)
    for i, panel in enumerate(panels[: len(everything)]):
        panel.set_ylabel("ψ (discriminator)" if i % columns == 0 else "", fontsize=8.5)
        below = i + columns >= len(everything)
        panel.set_xlabel("θ (generator)" if below else "", fontsize=8.5)
        panel.tick_params(labelbottom=below)
    handles, labels = panels[0].get_legend_handles_labels()
    steps = len(everything[0].paths["simultaneous"][0]) - 1
    figure.legend(
        handles,
        [f"{label.replace(' 1', '')}, {steps} steps of {h:g}" for label in labels],
        loc="outside lower center",
        ncols=2,
        fontsize=9,
        frameon=False,
    )
    figure.savefig(path, dpi=110)


def title(found: Found) -> str:
    greek = {"gamma": "γ", "sigma": "σ"}
    symbol = found.method.symbol
    return (
        found.method.title
        if symbol is None
        else f"{found.method.title}, {greek.get(symbol, symbol)} = {found.strength:g}"
    )


def options() -> argparse.ArgumentParser:
    parser = arguments(__doc__ or "", seeds=1)
    parser.add_argument("--method", default=None, help=f"some of {', '.join(METHODS)}, with commas (default: all)")
    parser.add_argument(
        "--strength", default=None, help="gamma, sigma or bound of the methods that have one, with commas"
    )
    parser.add_argument("--step-size", default=None, help=f"of both players (default {STEP_SIZE:g})")
    parser.add_argument(
        "--picture", type=Path, help="where phase portraits go (default: results/ for the full study only)"
    )
    return parser


def chosen(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> tuple[dict[str, tuple[float, ...]], float]:
    """The strengths of each method, 0 for those without, and the step size; a mistake ends the program."""

    def numbers(name: str, text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            parser.error(f"{name} takes numbers, got {text!r}")
        for value in values:
            if not (math.isfinite(value) and value >= 0):
                parser.error(f"{name} is finite and not negative, got {value:g}")
        return values

    names = flags.method.split(",") if flags.method is not None else list(METHODS)
    if flags.method is None and (flags.quick or flags.smoke):
        names = ["minimax", "non-saturating", "wgan-gp", "r1"] if flags.quick else ["wgan-gp", "r1"]
    for name in names:
        if name not in METHODS:
            parser.error(f"there is no method {name!r}; methods are {', '.join(METHODS)}")
    given = None if flags.strength is None else numbers("--strength", flags.strength)
    with_strength = [name for name in names if METHODS[name].symbol is not None]
    if given is not None and not with_strength:
        parser.error(f"--strength: {', '.join(names)}: none has one")
    if given is not None and 0.0 in given and "wgan-clipping" in names:
        parser.error("--strength: a bound of the weights is positive, got 0")
    steps = (STEP_SIZE,) if flags.step_size is None else numbers("--step-size", flags.step_size)
    if len(steps) != 1 or steps[0] == 0.0:
        parser.error(f"--step-size is one positive number, got {flags.step_size!r}")
    if flags.seeds != 1:
        parser.error(f"--seeds: nothing here is random, one is all there is, got {flags.seeds}")
    return {name: (given or METHODS[name].strengths) if name in with_strength else (0.0,) for name in names}, steps[0]


def whole(flags: argparse.Namespace) -> bool:
    """Whether this is the study, and no part or variation of it."""
    given = (flags.method, flags.strength, flags.step_size)
    return not (flags.quick or flags.smoke) and all(value is None for value in given)


def main() -> None:
    parser = options()
    flags = parser.parse_args()
    strengths, h = chosen(parser, flags)
    began = time.perf_counter()
    jax.config.update("jax_enable_x64", True)
    configure_backend()
    steps = 2 if flags.smoke else STEPS
    everything: list[Found] = []
    for name, values in strengths.items():
        everything += study(METHODS[name], values, h, steps)
    apart = [difference(*pair) for found in everything for pair in found.eigenvalues.values()]
    rows = [Row("all methods", "eigenvalues, largest difference from the closed form", max(apart))] if apart else []
    astray = max(relative(found, play) for found in everything for play in PLAYS)
    rows.append(Row("all methods", "distances, largest relative difference from NumPy", astray))
    rows += [row for found in everything for row in rows_of(found)]
    print(comparison(everything) + "\n")
    full = whole(flags)
    # a choice of methods is not the study, and must not replace what is committed of it
    flags.quick = not full
    protocol = f"the authors' notebook: float64, step size {h:g} for both players, {steps} steps from (1, 1)"
    finish("dirac_gan", PAPER, protocol, rows, began, flags, details_of(everything, h))
    out = flags.picture or (RESULTS / "dirac_gan.png" if full else None)
    if out is not None:
        picture(everything, h, out)


if __name__ == "__main__":
    main()
