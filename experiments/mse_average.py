"""Several right answers: squared error gives their average, which is none of them; an adversarial loss picks one.

    python experiments/mse_average.py            six minutes of processor time, on two cores

Goodfellow, "NIPS 2016 Tutorial: Generative Adversarial Networks", arXiv 1701.00160, section 1: many tasks
have several correct answers to one input, and a model trained by mean squared error must average them, as
the blurred video frames of Lotter, Kreiman, Cox (2015, arXiv 1511.06380) that it shows; Mathieu, Couprie,
LeCun, "Deep multi-scale video prediction beyond mean square error", 2016, arXiv 1511.05440, add an
adversarial loss for that reason. Two tasks small enough for the answers to be counted:

"turn": the last two positions of a point are given, and it goes on by its step of length 1, turned left or
right by 60 degrees, each as likely, with noise of deviation 0.1 on both coordinates.
"curve": x is given, y is +sqrt(x) or -sqrt(x), each as likely, with noise of deviation 0.03; x in [0.25, 1].

One generator (input and latent -> answer) is trained in several ways: by squared error and by absolute error
with its latent at 0; by the adversarial loss (non-saturating, R1), D judging input and answer together
(conditional GAN: Mirza, Osindero 2014, arXiv 1411.1784); and by the sum of the adversarial loss and an error:
the absolute one is the sum of pix2pix (Isola et al. 2017, arXiv 1611.07004, Eq. 4, with a weight of 100 and
the mean over the pixels of an image), the squared one is in the sums of Mathieu et al. On held-out inputs,
over seeds:

- share of answers on the data: within three deviations of a branch (fresh data: 0.989 of points in the plane,
  0.997 on a line);
- mean squared error. What no answer can beat is the variance of the data given the input, which squared error
  reaches; a draw from the data itself has twice that;
- branches: of the two, how many a seed's answers to one input reach with 32 latents; and the share of the
  rarer one, 0.5 at best.

Expected: squared error has the smallest error and hardly an answer on the data; the adversarial loss over nine
in ten of its answers on the data, on both branches, at about twice the error. Between two equally likely
answers the absolute error is flat: alone its answers lie anywhere between, and in the sum it does no harm.
The squared error in the sum pulls answers to the average and off the data, the more the greater its weight.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contract import RESULTS, Row, arguments, finish, over_seeds
from play import last, of_each

from jaxgan.arrays import Array, Batch, Key, Params
from jaxgan.data.source import DeviceSource
from jaxgan.game import Game, LossInput, LossOutput, Net, Player, State, Update
from jaxgan.games.two_player import Round, Term, gradient_penalty, two_player
from jaxgan.latent import normal_prior
from jaxgan.losses.adversarial import non_saturating
from jaxgan.losses.penalties import r1
from jaxgan.nets import mlp
from jaxgan.nets.adapt import adapt
from jaxgan.training.parallel import configure_backend
from jaxgan.training.recipe import Stage

LATENT = 4
DRAWS = 32
R1_WEIGHT = 0.05


@dataclass(frozen=True)
class Sizes:
    width: int
    batch: int
    steps: int
    held_out: int


FULL, QUICK, SMOKE = Sizes(64, 128, 4000, 1000), Sizes(64, 64, 1000, 500), Sizes(4, 4, 2, 8)


# -- the tasks -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """Inputs with several right answers.

    inputs: (key, n) -> [n, input]. branches: inputs [n, input] -> the answers without noise, [n, branch, answer],
    equally likely. deviation: of the noise, on each coordinate.
    """

    name: str
    inputs: Callable[[Key, int], Array]
    branches: Callable[[Array], Array]
    deviation: float
    shapes: tuple[int, int]


TURN = np.pi / 3


def two_positions(key: Key, n: int) -> Array:
    """The last two positions (x, y, x', y') of a point that moves by steps of length 1, [n, 4]."""
    place, heading = jax.random.split(key)
    before = jax.random.uniform(place, (n, 2), minval=-1.0, maxval=1.0)
    angle = jax.random.uniform(heading, (n,), maxval=2 * np.pi)
    return jnp.concatenate([before, before + jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)], axis=1)


def left_or_right(path: Array) -> Array:
    step = path[:, 2:] - path[:, :2]
    across = jnp.stack([-step[:, 1], step[:, 0]], axis=1)
    turned = [np.cos(TURN) * step + side * np.sin(TURN) * across for side in (1, -1)]
    return jnp.stack([path[:, 2:] + step for step in turned], axis=1)


def two_roots(x: Array) -> Array:
    return jnp.stack([jnp.sqrt(x), -jnp.sqrt(x)], axis=1)


TASKS = (
    Task("turn", two_positions, left_or_right, 0.1, (4, 2)),
    Task("curve", lambda key, n: jax.random.uniform(key, (n, 1), minval=0.25), two_roots, 0.03, (1, 1)),
)


def answers(task: Task, key: Key, inputs: Array) -> Array:
    """One answer of the data to each input, [n, answer]."""
    branch_key, noise_key = jax.random.split(key)
    branches = task.branches(inputs)
    which = jax.random.randint(branch_key, (len(inputs),), 0, branches.shape[1])
    noise = jax.random.normal(noise_key, (len(inputs), branches.shape[2]))
    return branches[jnp.arange(len(inputs)), which] + task.deviation * noise


def batches(task: Task, batch_size: int) -> DeviceSource:
    def batch(arrays: Mapping[str, Array], key: Key, step: Array) -> Batch:
        input_key, answer_key = jax.random.split(jax.random.fold_in(key, step))
        inputs = task.inputs(input_key, batch_size)
        return {"input": inputs, "answer": answers(task, answer_key, inputs)}

    return DeviceSource({}, batch, batch_size)


# -- the five ways ---------------------------------------------------------------------------------


def told(net: Net) -> Net:
    """A net of vectors [n, a + b] as a net of two inputs, x [n, a] and a condition [n, b]."""

    def apply(variables: Any, x: Array, condition: Array, key: Key | None = None, train: bool = True) -> Any:
        return net.apply(variables, jnp.concatenate([x, condition], axis=1), key=key, train=train)

    return Net(net.init, apply)


Error = Callable[[Array, Array], Array]


def squared(made: Array, real: Array) -> Array:
    """|made - real|^2, summed over coordinates: [n, answer] -> [n]."""
    return jnp.sum(jnp.square(made - real), axis=1)


def absolute(made: Array, real: Array) -> Array:
    """|made - real|_1: [n, answer] -> [n]."""
    return jnp.sum(jnp.abs(made - real), axis=1)


@dataclass(frozen=True)
class Way:
    """error: to the answer of the data, or None; adversarial: whether there is a discriminator."""

    error: Error | None
    adversarial: bool
    weight: float = 1.0  # of the error in the sum


SQUARED, ABSOLUTE, ADVERSARIAL = "squared error", "absolute error", "adversarial"
MIXED_ABSOLUTE, MIXED_SQUARED = "adversarial + 0.1 absolute error", "adversarial + 0.1 squared error"
EQUAL_SQUARED = "adversarial + squared error"
WAYS = {
    SQUARED: Way(squared, False),
    ABSOLUTE: Way(absolute, False),
    ADVERSARIAL: Way(None, True),
    MIXED_ABSOLUTE: Way(absolute, True, 0.1),
    MIXED_SQUARED: Way(squared, True, 0.1),
    EQUAL_SQUARED: Way(squared, True, 1.0),
}


def way_game(way: Way, task: Task, sizes: Sizes) -> Game:
    inputs, outputs = task.shapes
    generator = told(adapt(mlp.Generator((outputs,), sizes.width, 3), (LATENT + inputs,)))
    discriminator = told(adapt(mlp.Discriminator(sizes.width, 3), (outputs + inputs,)))
    # down to 0, so that the last point is not one of a walk around the equilibrium
    rate = optax.cosine_decay_schedule(1e-3, sizes.steps)
    learner = Player(generator, optax.adam(rate, b1=0.5))
    error = way.error
    if not way.adversarial:
        assert error is not None

        def regression(params: Mapping[str, Params], given: LossInput) -> tuple[Array, LossOutput]:
            made = answer(generator, params["generator"], given.batch["input"], None)
            return jnp.mean(error(made, given.batch["answer"])), LossOutput()

        return Game({"generator": learner}, (Update("generator", ("generator",), regression),))

    def to_the_data(r: Round) -> Array:
        assert error is not None
        return way.weight * jnp.mean(error(r.fake, r.real))

    terms: tuple[Term, ...] = () if error is None else (to_the_data,)
    return two_player(
        learner,
        Player(discriminator, optax.adam(rate, b1=0.5)),
        non_saturating,
        normal_prior(LATENT),
        observation="answer",
        condition="input",
        discriminator_terms=(gradient_penalty(r1, R1_WEIGHT, discriminator),),
        generator_terms=terms,
    )


def answer(net: Net, params: Params, inputs: Array, key: Key | None) -> Array:
    """What the generator answers to inputs [n, input], with latents drawn by `key` or, without one, at 0."""
    latent = jnp.zeros((len(inputs), LATENT)) if key is None else normal_prior(LATENT)(key, len(inputs))
    return net.apply({"params": params}, latent, inputs, train=False)[0]


# -- what is measured ------------------------------------------------------------------------------


def judge(task: Task, inputs: Array, real: Array, made: Array) -> dict[str, Array]:
    """Measures of answers [draw, n, answer] to inputs [n, input], whose answers in the data are [n, answer]."""
    distance = jnp.linalg.norm(made[:, :, None] - task.branches(inputs)[None], axis=-1)
    near = distance < 3 * task.deviation
    counts = near.sum(axis=0)
    return {
        "answers on the data": jnp.mean(near.any(axis=-1)),
        "mean squared error": jnp.mean(jax.vmap(squared, (0, None))(made, real)),
        "branches reached": jnp.mean((counts > 0).sum(axis=-1)),
        "share of the rarer branch": jnp.mean(counts.min(axis=-1) / jnp.maximum(counts.sum(axis=-1), 1)),
    }


def held_out(task: Task, n: int) -> tuple[Array, Array]:
    """Inputs [n, input] that no seed trains on, and answers of the data."""
    input_key, answer_key = jax.random.split(jax.random.key(2**20))
    inputs = task.inputs(input_key, n)
    return inputs, answers(task, answer_key, inputs)


def least_error(task: Task, inputs: np.ndarray) -> float:
    """The variance of the data given the input, summed over coordinates: the least mean squared error there is."""
    branches = np.asarray(task.branches(jnp.asarray(inputs)), np.float64)
    noise = branches.shape[2] * task.deviation**2
    return float(branches.var(axis=1).sum(axis=1).mean() + noise)


def drawn(way: Way, net: Net, inputs: Array, state: State) -> Array:
    """DRAWS answers to each input, [draw, n, answer]."""
    keys = jax.random.split(jax.random.key(7), DRAWS)
    one = lambda key: answer(net, state.params["generator"], inputs, key if way.adversarial else None)  # noqa: E731
    return jax.vmap(one)(keys)


def study(task: Task, ways: Mapping[str, Way], sizes: Sizes, seeds: int) -> tuple[list[Row], dict[str, np.ndarray]]:
    """The rows of one task, and the first seed's answers [draw, n, answer] by way."""
    inputs, real = held_out(task, sizes.held_out)
    rows, shown = [], {}
    for name, way in ways.items():
        game = way_game(way, task, sizes)
        states = last(Stage(game, sizes.steps, batches(task, sizes.batch)), seeds)
        net = game.players["generator"].net
        made = jax.jit(lambda states, way=way, net=net: of_each(partial(drawn, way, net, inputs), states))(states)
        measured = jax.jit(jax.vmap(partial(judge, task, inputs, real)))(made)
        rows += [over_seeds(name, f"{task.name}: {metric}", values) for metric, values in measured.items()]
        shown[name] = np.asarray(made[0])
    keys = jax.random.split(jax.random.key(8), DRAWS)
    fresh = jax.jit(jax.vmap(lambda key: answers(task, key, inputs)))(keys)
    measured = jax.jit(partial(judge, task, inputs, real))(fresh)
    rows += [Row("fresh data", f"{task.name}: {metric}", float(value)) for metric, value in measured.items()]
    least = least_error(task, np.asarray(inputs))
    rows.append(Row("exact: variance of the answers", f"{task.name}: mean squared error", least))
    return rows, shown


# -- the whole -------------------------------------------------------------------------------------


def main() -> None:
    parser = arguments(__doc__ or "", seeds=5)
    parser.add_argument("--steps", type=int, help="of training, instead of the protocol's; writes nothing by itself")
    flags = parser.parse_args()
    if flags.seeds < 1:
        parser.error(f"--seeds {flags.seeds}: at least one is needed")
    if flags.steps is not None and flags.steps < 1:
        parser.error(f"--steps {flags.steps}: at least one is needed")
    began = time.perf_counter()
    configure_backend()
    sizes = SMOKE if flags.smoke else QUICK if flags.quick else FULL
    # the compiler takes most of a short run: a part of the ways
    part = (SQUARED, MIXED_ABSOLUTE) if flags.smoke else (SQUARED, ADVERSARIAL) if flags.quick else tuple(WAYS)
    ways = {name: WAYS[name] for name in part}
    if flags.steps is not None:
        # another number of steps is another protocol
        sizes, flags.quick = replace(sizes, steps=flags.steps), True
    rows: list[Row] = []
    shown = {}
    for task in TASKS[:1] if flags.smoke else TASKS:
        found, shown[task.name] = study(task, ways, sizes, flags.seeds)
        rows += found
        print(f"{task.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    protocol = (
        f"both nets of 3 x {sizes.width} units, {sizes.steps} steps of batch {sizes.batch}, R1 weight "
        f"{R1_WEIGHT}, {sizes.held_out} held-out inputs, {DRAWS} latents each"
    )
    paper = "Goodfellow 2016, arXiv 1701.00160, section 1; Mathieu, Couprie, LeCun 2016, arXiv 1511.05440"
    finish("mse_average", paper, protocol, rows, began, flags)
    if not (flags.quick or flags.smoke):
        picture(sizes, shown)


def along(path: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [n, 2] as seen from the end of each path [n, 4], the last step pointing up."""
    step, relative = path[:, 2:] - path[:, :2], points - path[:, 2:]
    right = np.stack([step[:, 1], -step[:, 0]], axis=1)
    return np.stack([(relative * right).sum(1), (relative * step).sum(1)], axis=1)


def picture(sizes: Sizes, shown: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Draws results/mse_average.png: what each way answers, over the data; the first seed, one latent an input."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    colours = ("#D55E00", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9")
    figure, axes = plt.subplots(2, len(WAYS), figsize=(15, 5.4), layout="constrained", sharex="row", sharey="row")
    for row, task in zip(axes, TASKS, strict=True):
        inputs, real = (np.asarray(x) for x in held_out(task, sizes.held_out))
        for panel, name, colour in zip(row, WAYS, colours, strict=True):
            made = shown[task.name][name][0]
            for points, look in ((real, {"color": "0.72", "s": 7}), (made, {"color": colour, "s": 5})):
                places = along(inputs, points) if task.name == "turn" else np.concatenate([inputs, points], axis=1)
                panel.scatter(*places[:500].T, linewidths=0, label="data" if points is real else "answers", **look)
            if task.name == "turn":
                panel.plot([0, 0], [-1, 0], color="black", lw=1.5, marker="o", ms=4)
                panel.annotate("path so far", (0.08, -0.6), fontsize=8)
                panel.set(title=name.replace("+", "\n+"), xlabel="to the right", aspect="equal", ylim=(-1.15, 0.95))
            else:
                panel.set(xlabel="x")
    axes[0, 0].set_ylabel("ahead")
    axes[1, 0].set_ylabel("y")
    axes[0, 0].legend(fontsize=8, loc="lower left", markerscale=2)
    figure.savefig(RESULTS / "mse_average.png", dpi=110)


if __name__ == "__main__":
    main()
