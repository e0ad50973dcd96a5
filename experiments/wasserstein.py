"""What a discriminator and a critic say of two distributions that part: stuck at log 2, or the distance itself.

    python experiments/wasserstein.py            six minutes of processor time, on two cores

Arjovsky, Chintala, Bottou, "Wasserstein GAN", 2017, arXiv 1701.07875. Its Example 1, "lines": data on the
vertical segment from (0, 0) to (0, 1), fakes on the same segment moved to the right by theta. The earth
mover's distance is |theta|, the Jensen-Shannon divergence log 2 for every theta but 0. "Gaussians": N(0, I)
and N((m, 0), I), whose distance is |m| and whose divergence rises to log 2. "both sides": half of the fake
segment moved to the left, half to the right, so that the best critic is a tent instead of a slope; the
distance is |theta| again.

First part: the fakes stand still at one distance and D alone is trained, by several methods on the same
points. What it says on fresh points (reals and fakes that differ by the move alone) is beside the exact
value, and so is the mean of |gradient of the generator's loss in x| at the fakes, which is what a generator
would be taught by. A weight-clipped critic estimates K times the distance, K unknown: its estimates are
also given divided by one K for each pair and seed, the least-squares slope over the distances. Expected:

- the discriminator's estimate (log 2 minus half its loss) stays below log 2, and the gradient of the
  saturating generator vanishes where the two are apart;
- a gradient penalty of weight 10 overshoots: by d^2 / 20 where the critic is linear in x, 0.05 at
  distance 1 but 3.2 at distance 8;
- spectral normalization approaches the distance from below, and comes close where the best critic is
  linear. On "both sides" it cannot with leaky ReLU: the slope of such nets is 1 everywhere only if they are
  linear (Anil, Lucas, Grosse, "Sorting out Lipschitz function approximation", 2019, arXiv 1811.05381,
  Theorem 1), and it stays at half the distance, however wide the net. `max_min`, their GroupSort of pairs,
  permutes its units and has no such bound;
- clipped weights bound the biases too: K falls with the distance, and no one K fits all.

At distance 0 reals and fakes are one set of points, of which any critic says 0.

Second part: the loss curve against the quality of samples (section 4.2 and figures 3 and 4 of the paper).
A generator learns eight Gaussians on a ring, with the non-saturating GAN and with WGAN-GP. At many
moments of the training: what D, as it then stands, says on fresh points, against the exact earth mover's
distance of samples to the data; Spearman's rank correlation over the moments, for each seed. WGAN-GP's
critic plays alone for 500 steps before the generator first moves (the authors' code of WGAN trains it
longer at first, too); moments before a generator's first move are not counted.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contract import RESULTS, Row, arguments, finish, over_seeds
from play import of_each, play
from scipy.integrate import quad
from scipy.stats import norm, spearmanr

from jaxgan.arrays import Array, Batch, Key, Params
from jaxgan.data import toy
from jaxgan.data.source import DeviceSource
from jaxgan.evaluation.modes import wasserstein as earth_movers_distance
from jaxgan.game import Game, LossFn, LossInput, LossOutput, Net, Player, State, Update
from jaxgan.games.two_player import gradient_penalty, two_player
from jaxgan.latent import normal_prior
from jaxgan.losses import adversarial
from jaxgan.losses.adversarial import AdversarialLoss
from jaxgan.losses.penalties import wgan_gp
from jaxgan.nets import mlp
from jaxgan.nets.adapt import adapt
from jaxgan.optimizers import weight_clipping
from jaxgan.training.parallel import configure_backend
from jaxgan.training.program import Program
from jaxgan.training.recipe import Stage

LOG_2 = float(np.log(2.0))


@dataclass(frozen=True)
class Sizes:
    """How much is computed.

    assigned: points of an exact distance. moments: looks at the training of a generator. alone: steps that
    WGAN-GP's critic plays before its generator moves.
    """

    width: int
    batch: int
    steps: int
    points: int
    assigned: int
    ring_width: int
    ring_batch: int
    ring_steps: int
    moments: int
    alone: int


FULL = Sizes(32, 128, 1500, 4096, 1000, 64, 128, 3000, 30, 500)
QUICK = Sizes(16, 64, 300, 1024, 300, 32, 64, 800, 16, 200)
SMOKE = Sizes(4, 4, 2, 16, 8, 4, 4, 10, 2, 0)


# -- two distributions that part -------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """Data, and fakes that are data moved along the first axis.

    points: (key, n) -> float32 [n, 3]: a point of the data, and the side (1 or -1) to which a fake is moved.
    divergence: distance -> exact Jensen-Shannon divergence in nats.
    """

    name: str
    points: Callable[[Key, int], Array]
    distances: tuple[float, ...]
    divergence: Callable[[float], float]


def segment(key: Key, n: int) -> Array:
    return jnp.stack([jnp.zeros(n), jax.random.uniform(key, (n,)), jnp.ones(n)], axis=1)


def two_sided_segment(key: Key, n: int) -> Array:
    points = segment(key, n)
    return points.at[:, 2].set(jax.random.rademacher(jax.random.fold_in(key, 1), (n,), jnp.float32))


def gaussian(key: Key, n: int) -> Array:
    return jnp.concatenate([jax.random.normal(key, (n, 2)), jnp.ones((n, 1))], axis=1)


def gaussian_divergence(m: float) -> float:
    """JSD(N(0, 1), N(m, 1)) in nats by quadrature; further dimensions, equal on both sides, add nothing."""

    def integrand(x: float) -> float:
        # KL(p, mixture) alone, since the two are mirror images
        return float(norm.pdf(x) * (LOG_2 - np.logaddexp(0.0, m * x - m * m / 2)))

    return float(quad(integrand, -12.0, 12.0, limit=200)[0])


def segment_divergence(theta: float) -> float:
    return LOG_2 if theta else 0.0


PAIRS = (
    Pair("lines", segment, (0.0, 0.125, 0.25, 0.5, 1.0, 2.0), segment_divergence),
    Pair("Gaussians", gaussian, (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), gaussian_divergence),
    Pair("both sides", two_sided_segment, (0.0, 0.125, 0.25, 0.5, 1.0, 2.0), segment_divergence),
)


def moved(points: Array, distance: Array | float) -> Array:
    """Fakes [n, 2] at a distance, from `Pair.points` [n, 3]."""
    return points[:, :2] + points[:, 2:] * jnp.stack([jnp.asarray(distance, jnp.float32), jnp.zeros(())])[None]


# -- D alone is trained ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A way to train D, and the generators that would listen to it, by name."""

    name: str
    loss: AdversarialLoss
    net: Net
    optimizer: optax.GradientTransformation
    generators: Mapping[str, AdversarialLoss]
    penalty_weight: float = 0.0


DISCRIMINATOR, CLIPPED, PENALIZED = "discriminator", "critic, clipped weights", "critic, gradient penalty"
SPECTRAL, SPECTRAL_MAX_MIN = "critic, spectral norm", "critic, spectral norm, MaxMin"
RESCALED = "critic, clipped weights, divided by K"
MINIMAX, NON_SATURATING = "minimax generator", "non-saturating generator"


def max_min(x: Array) -> Array:
    """[batch, 2 n] -> [batch, 2 n]: each pair of units sorted, the larger first; its Jacobian is a permutation."""
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    return jnp.stack([pairs.max(-1), pairs.min(-1)], axis=-1).reshape(x.shape)


def methods(sizes: Sizes) -> tuple[Method, ...]:
    """All with one net of two hidden layers and the same points; Adam, its step size going down to 0."""

    def net(**options: Any) -> Net:
        return adapt(mlp.Discriminator(sizes.width, 2, **options), (2,))

    def adam(rate: float) -> optax.GradientTransformation:
        return optax.adam(optax.cosine_decay_schedule(rate, sizes.steps), b1=0.5)

    def critic(name: str, net: Net, optimizer: optax.GradientTransformation, weight: float = 0.0) -> Method:
        return Method(name, adversarial.wasserstein, net, optimizer, {name: adversarial.wasserstein}, weight)

    standard = {MINIMAX: adversarial.minimax, NON_SATURATING: adversarial.non_saturating}
    return (
        Method(DISCRIMINATOR, adversarial.minimax, net(), adam(5e-3), standard),
        critic(CLIPPED, net(), optax.chain(adam(5e-3), weight_clipping(0.1))),
        critic(PENALIZED, net(), adam(5e-3), 10.0),
        critic(SPECTRAL, net(spectral=True), adam(5e-3)),
        critic(SPECTRAL_MAX_MIN, net(spectral=True, activation=max_min), adam(5e-3)),
    )


def judging(method: Method) -> LossFn:
    """The loss of D against the fakes of the run's own `pair` and `distance`."""

    def compute(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
        running = inputs.variables[method.name]
        real, fake = (inputs.batch[which][_pair(inputs.hyper)] for which in ("real", "fake"))
        real, fake = real[:, :2], moved(fake, inputs.hyper["distance"])

        def critic(points: Array) -> Array:
            return method.net.apply({"params": params[method.name], **running}, points)[0]

        real_logits, changed = method.net.apply({"params": params[method.name], **running}, real)
        fake_logits, changed = method.net.apply({"params": params[method.name], **running, **changed}, fake)
        loss = jnp.mean(method.loss.discriminator(real_logits, fake_logits))
        if method.penalty_weight:
            loss = loss + method.penalty_weight * jnp.mean(wgan_gp(critic, real, fake, inputs.key))
        return loss, LossOutput(variables={method.name: changed})

    return compute


def _pair(hyper: Mapping[str, Any]) -> Array:
    return jnp.round(hyper["pair"]).astype(jnp.int32)


def _points(key: Key, n: int) -> Array:
    """[pair, n, 3]."""
    return jnp.stack([pair.points(key, n) for pair in PAIRS])


def stage(trained: Sequence[Method], sizes: Sizes) -> Stage:
    """All methods side by side, each a player of its own; `pair` and `distance` are numbers of the run."""

    def batch(arrays: Mapping[str, Array], key: Key, step: Array) -> Batch:
        real, fake = jax.random.split(jax.random.fold_in(key, step))
        return {"real": _points(real, sizes.batch), "fake": _points(fake, sizes.batch)}

    game = Game(
        players={method.name: Player(method.net, method.optimizer) for method in trained},
        updates=tuple(Update(method.name, (method.name,), judging(method)) for method in trained),
    )
    return Stage(game, sizes.steps, DeviceSource({}, batch, sizes.batch), hyper={"pair": 0.0, "distance": 0.0})


def trained_states(stage: Stage, runs: Sequence[tuple[int, float, int]]) -> State:
    """The states at the end, stacked over runs, each a (number of the pair, distance, seed): one population."""
    members = [replace(stage, hyper={"pair": float(pair), "distance": distance}) for pair, distance, _ in runs]
    program = Program(stage, None, members)
    carry = program.advance(program.start([seed for *_, seed in runs]), 0, stage.until)
    return program.gather(carry).state


def estimate(loss: AdversarialLoss, real_logits: Array, fake_logits: Array) -> Array:
    """What D says the two differ by: nats of Jensen-Shannon divergence, or units of length for a critic.

    The loss of an optimal discriminator is log 4 - 2 JSD (Goodfellow et al. 2014, arXiv 1406.2661, Eq. 6).
    """
    value = jnp.mean(loss.discriminator(real_logits, fake_logits))
    return -value if loss is adversarial.wasserstein else LOG_2 - value / 2


def judge(trained: Sequence[Method], points: int, state: State) -> tuple[dict[str, Array], dict[str, Array]]:
    """Each method's estimate on fresh points, and each generator's mean |gradient in x| at the fakes."""
    drawn = _points(jax.random.key(2**20), points)[_pair(state.hyper)]
    real, fake = drawn[:, :2], moved(drawn, state.hyper["distance"])
    estimates, gradients = {}, {}
    for method in trained:
        variables = {"params": state.params[method.name], **state.variables[method.name]}

        def critic(x: Array, net: Net = method.net, variables: Any = variables) -> Array:
            return net.apply(variables, x, train=False)[0]

        real_logits = critic(real)
        estimates[method.name] = estimate(method.loss, real_logits, critic(fake))
        for name, loss in method.generators.items():

            def total(x: Array, loss: AdversarialLoss = loss, critic: Any = critic, real: Array = real_logits) -> Array:
                return jnp.sum(loss.generator(real, critic(x)))

            gradients[name] = jnp.mean(jnp.linalg.norm(jax.grad(total)(fake), axis=1))
    return estimates, gradients


def parting(
    pairs: Sequence[Pair], trained: Sequence[Method], sizes: Sizes, seeds: int
) -> tuple[list[Row], dict[str, Any]]:
    """Rows and details of the first pairs, or all."""
    runs = [(i, d, seed) for i, pair in enumerate(pairs) for d in pair.distances for seed in range(seeds)]
    states = trained_states(stage(trained, sizes), runs)
    found = jax.jit(lambda states: of_each(partial(judge, trained, sizes.points), states))(states)
    estimates, gradients = (
        {name: np.asarray(values, float).reshape(len(pairs), -1, seeds) for name, values in part.items()}
        for part in found
    )
    rows, details = [], {}
    for i, pair in enumerate(pairs):
        own = {name: values[i] for name, values in estimates.items()}
        distances = np.array(pair.distances)[:, None]
        slope = (distances * own[CLIPPED]).sum(0) / np.square(distances).sum()
        own[RESCALED] = own[CLIPPED] / slope
        rows.append(over_seeds(CLIPPED, f"{pair.name}: K", slope))
        rows += pair_rows(pair, own, {name: values[i] for name, values in gradients.items()}, sizes)
        details[pair.name] = {
            "distances": pair.distances,
            "estimates": own,
            "gradients": {name: values[i] for name, values in gradients.items()},
        }
    return rows, details


def pair_rows(
    pair: Pair, estimates: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray], sizes: Sizes
) -> list[Row]:
    """Errors, estimates and gradients [distance, seed] by name, beside the exact values."""
    distances = np.array(pair.distances)[:, None]
    divergences = np.array([pair.divergence(d) for d in pair.distances])[:, None]
    rows = []
    for name, values in estimates.items():
        error = np.abs(values - (divergences if name == DISCRIMINATOR else distances)).mean(0)
        rows.append(over_seeds(name, f"{pair.name}: mean error", error))
    for i, distance in enumerate(pair.distances):
        at = f"{pair.name}: estimate at {distance:g}"
        rows.append(Row("exact Jensen-Shannon divergence", at, float(divergences[i, 0])))
        rows.append(Row("exact earth mover's distance", at, distance))
        rows.append(over_seeds(f"assignment of {sizes.assigned} points", at, _assigned(pair, distance, sizes)))
        rows += [over_seeds(name, at, values[i]) for name, values in estimates.items()]
        at = f"{pair.name}: gradient at {distance:g}"
        rows += [over_seeds(name, at, values[i]) for name, values in gradients.items()]
    return rows


def _assigned(pair: Pair, distance: float, sizes: Sizes) -> list[float]:
    found = []
    for seed in range(3):
        real, fake = (pair.points(key, sizes.assigned) for key in jax.random.split(jax.random.key(seed)))
        found.append(earth_movers_distance(real[:, :2], moved(fake, distance)))
    return found


# -- the loss curve against the quality of samples -------------------------------------------------

GAN, WGAN_GP = "non-saturating GAN", "WGAN-GP"
# 10, as the paper has it for images, outweighs distances of a tenth: the critic then points the wrong way for long
RING_PENALTY = 1.0


def _after(steps: int, interval: int) -> Callable[[Any], Any]:
    """`Update.when` for every `interval`-th step, but none of the first `steps`."""
    return lambda step: (step >= steps) & (step % interval == interval - 1)


def ring_stage(name: str, sizes: Sizes) -> Stage:
    latent = 2
    generator = adapt(mlp.Generator((2,), sizes.ring_width, 2), (latent,))
    discriminator = adapt(mlp.Discriminator(sizes.ring_width, 2), (2,))
    loss, terms, when, alone = {
        GAN: (adversarial.non_saturating, (), None, 0),
        WGAN_GP: (
            adversarial.wasserstein,
            (gradient_penalty(wgan_gp, RING_PENALTY, discriminator),),
            _after(sizes.alone, 5),
            sizes.alone,
        ),
    }[name]
    game = two_player(
        Player(generator, optax.adam(5e-4, b1=0.5)),
        Player(discriminator, optax.adam(1e-3, b1=0.5)),
        loss,
        normal_prior(latent),
        observation="point",
        discriminator_terms=terms,
        generator_when=when,
    )
    return Stage(game, alone + sizes.ring_steps, toy.batches(toy.ring(), sizes.ring_batch))


def loss_curve(name: str, sizes: Sizes, seeds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps of the generator's play [moment], what D says [moment, seed], and the exact distance of samples, likewise.

    Steps are counted from where the generator begins: D's play alone is at negative ones.
    """
    played = ring_stage(name, sizes)
    loss = adversarial.wasserstein if name == WGAN_GP else adversarial.non_saturating
    nets = {player: played.game.players[player].net for player in ("generator", "discriminator")}

    @jax.jit
    def look(states: State, key: Key) -> tuple[Array, Array, Array]:
        latent_key, real_key = jax.random.split(key)
        latent = jax.random.normal(latent_key, (sizes.points, 2))
        real = toy.sample(toy.ring(), real_key, sizes.points)

        def seen(state: State) -> tuple[Array, Array]:
            use = lambda player, x: nets[player].apply({"params": state.params[player]}, x, train=False)[0]  # noqa: E731
            fake = use("generator", latent)
            return estimate(loss, use("discriminator", real), use("discriminator", fake)), fake[: sizes.assigned]

        return *of_each(seen, states), real[: sizes.assigned]

    steps, said, exact = [], [], []
    for step, states in play(played, seeds, pause=sizes.ring_steps // sizes.moments):
        value, fakes, real = look(states, jax.random.key(step))
        steps.append(step - played.until + sizes.ring_steps)
        said.append(np.asarray(value, float))
        exact.append([earth_movers_distance(fake, real) for fake in np.asarray(fakes)])
    return np.array(steps), np.array(said), np.array(exact)


def correlations(steps: np.ndarray, said: np.ndarray, exact: np.ndarray) -> list[float]:
    """Spearman's, of each seed, over the moments after the generator's first move."""
    moments = steps > 0
    return [float(spearmanr(said[moments, seed], exact[moments, seed]).statistic) for seed in range(said.shape[1])]


def curve_rows(name: str, steps: np.ndarray, said: np.ndarray, exact: np.ndarray) -> list[Row]:
    return [
        over_seeds(name, "ring: rank correlation of estimate and distance", correlations(steps, said, exact)),
        over_seeds(name, "ring: distance to the data at the end", exact[-1]),
        over_seeds(name, "ring: estimate at the end", said[-1]),
    ]


# -- the study -------------------------------------------------------------------------------------


def main() -> None:
    parser = arguments(__doc__ or "", seeds=5)
    flags = parser.parse_args()
    if flags.seeds < 1:
        parser.error(f"--seeds {flags.seeds}: at least one is needed")
    began = time.perf_counter()
    configure_backend()
    sizes = SMOKE if flags.smoke else QUICK if flags.quick else FULL
    # the compiler takes most of a short run: a part of the methods shows that they work
    trained, pairs = methods(sizes)[: 3 if flags.smoke else None], PAIRS[: 1 if flags.smoke else None]
    rows, details = parting(pairs, trained, sizes, flags.seeds)
    print(f"fakes that stand still: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    for name in (WGAN_GP,) if flags.smoke else (GAN, WGAN_GP):
        steps, said, exact = loss_curve(name, sizes, flags.seeds)
        rows += curve_rows(name, steps, said, exact)
        details[name] = {"steps": steps, "said": said, "exact": exact}
    real = [toy.sample(toy.ring(), key, sizes.assigned) for key in jax.random.split(jax.random.key(1), 2)]
    rows.append(Row("fresh data", "ring: distance to the data at the end", earth_movers_distance(*real)))
    protocol = (
        f"net of 2 x {sizes.width} units, batch {sizes.batch}, {sizes.steps} steps of D alone, {sizes.points} fresh "
        f"points; ring: {sizes.ring_steps} steps, {sizes.moments} moments, distances of {sizes.assigned} points. "
        "Estimates of the discriminator in nats, of critics in units of length, where the exact value is the "
        "distance itself"
    )
    listed = jax.tree.map(lambda x: x.tolist() if isinstance(x, np.ndarray) else x, details)
    finish("wasserstein", "Arjovsky, Chintala, Bottou 2017, arXiv 1701.07875", protocol, rows, began, flags, listed)
    if not (flags.quick or flags.smoke):
        picture(details)


COLOURS = {
    DISCRIMINATOR: "#000000",
    RESCALED: "#E69F00",
    PENALIZED: "#56B4E9",
    SPECTRAL: "#CC79A7",
    SPECTRAL_MAX_MIN: "#009E73",
    CLIPPED: "#E69F00",
    MINIMAX: "#000000",
    NON_SATURATING: "#D55E00",
}
MARKS = dict(zip(COLOURS, "os^vDs<>", strict=True))


def picture(details: Mapping[str, Any]) -> None:
    """Draws results/wasserstein.png: estimates, gradients, and the two loss curves."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(14, 11), layout="constrained")
    grid = figure.add_gridspec(3, 6)

    def curves(axes: Any, distances: Any, values: Mapping[str, np.ndarray], names: Sequence[str]) -> None:
        for name in names:
            mean, seeds = values[name].mean(1), values[name].shape[1]
            error = values[name].std(1, ddof=1) / np.sqrt(seeds) if seeds > 1 else None
            label = name.replace("critic, ", "critic: ")
            axes.errorbar(distances, mean, error, color=COLOURS[name], marker=MARKS[name], ms=4, lw=1.2, label=label)

    titles = ("two parallel lines (Example 1)", "two Gaussians", "lines, fakes on both sides")
    for i, (pair, title) in enumerate(zip(PAIRS, titles, strict=True)):
        found = details[pair.name]
        axes = figure.add_subplot(grid[0, 2 * i : 2 * i + 2])
        axes.plot(pair.distances, pair.distances, color="0.6", lw=5, alpha=0.5, label="earth mover's distance, exact")
        axes.axhline(LOG_2, color="black", lw=0.8, ls=":", label="log 2")
        shown = (DISCRIMINATOR, RESCALED, PENALIZED, SPECTRAL, SPECTRAL_MAX_MIN)
        curves(axes, pair.distances, found["estimates"], shown)
        axes.set(title=title, xlabel="distance moved", ylabel="estimate (nats or units of length)" if i == 0 else None)
        if i == 0:
            figure.legend(*axes.get_legend_handles_labels(), fontsize=9, loc="outside right upper")
        axes = figure.add_subplot(grid[1, 2 * i : 2 * i + 2])
        axes.axhline(1.0, color="0.6", lw=5, alpha=0.5)
        heard = (MINIMAX, NON_SATURATING, CLIPPED, PENALIZED, SPECTRAL, SPECTRAL_MAX_MIN)
        curves(axes, pair.distances, found["gradients"], heard)
        axes.set(
            yscale="log", xlabel="distance moved", ylabel="|gradient| that a generator receives" if i == 0 else None
        )
        if i == 0:
            figure.legend(*axes.get_legend_handles_labels(), fontsize=9, loc="outside right center")
    for i, name in enumerate((GAN, WGAN_GP)):
        found = details[name]
        axes = figure.add_subplot(grid[2, 3 * i : 3 * i + 3])
        says = "discriminator: divergence in nats" if name == GAN else "critic: distance"
        for seed in range(found["said"].shape[1]):
            for values, colour, label in (("said", "#D55E00", says), ("exact", "0.35", "exact distance to the data")):
                bold = seed == 0
                axes.plot(
                    found["steps"],
                    found[values][:, seed],
                    color=colour,
                    lw=1.8 if bold else 0.6,
                    alpha=1.0 if bold else 0.5,
                    label=label if bold else None,
                )
        correlation = np.mean(correlations(found["steps"], found["said"], found["exact"]))
        axes.axhline(0.0, color="black", lw=0.5)
        axes.set(xlabel="step of training since the generator began", ylim=(-0.25, 1.65))
        axes.set_title(f"{name} on a ring: rank correlation {correlation:.2f}")
        axes.legend(fontsize=8)
    figure.savefig(RESULTS / "wasserstein.png", dpi=110)


if __name__ == "__main__":
    main()
