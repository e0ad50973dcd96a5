"""Examples a second of a training step on CPU, against the same nets and updates in PyTorch.

    python experiments/benchmark_cpu.py                      all workloads, half an hour on two quiet cores
    python experiments/benchmark_cpu.py --only ring-64       one of them (or several, by a shared beginning)

Ours is what `jaxgan train` runs: a `two_player` game compiled by `jaxgan.training.program`, with data in memory
drawn inside the step, metrics and all. Theirs is pytorch_peers.py: eager with several implementations of Adam,
channels last and not, and torch.compile where it can; two threads, data in memory as the nets read them. Every
variant lives in a process of its own; the processes take turns, so that a noisy machine disturbs all alike. All
variants run once to find PyTorch's fastest; then ours and the two fastest of theirs run again in fresh processes,
and only this second run is reported: the ratio of examples a second to the faster of the two, of each round.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from contract import Row, arguments, finish

NEEDED = "PyTorch is not installed, so its rows are pending: pip install torch==2.13.0"
PROTOCOL = "float32, data in memory, processes taking turns, median ratio of rounds, fresh processes"
SPREAD = "half the interquartile range over rounds"


@dataclass(frozen=True)
class Workload:
    """One step to be timed.

    normalization: of the discriminator; the generator of images has batch normalization.
    generator_moves: False for discriminator steps alone. members: a population of so many runs,
    against one PyTorch run after another. target: what we want the ratio to reach.
    """

    net: str
    batch: int
    width: int
    size: tuple[int, int, int] = (0, 0, 0)
    depth: int = 0
    latent: int = 128
    normalization: str = "none"
    loss: str = "non_saturating"
    penalty: str | None = None
    penalty_weight: float = 10.0
    generator_moves: bool = True
    members: int = 1
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    target: float = 1.0


def _workloads() -> dict[str, Workload]:
    ring = Workload("ring", 64, 128, latent=2, learning_rate=1e-3, target=2.5)
    dcgan = Workload("dcgan", 64, 64, (28, 28, 1), 2, 100, "batch")
    resnet = Workload("resnet", 64, 64, (32, 32, 3), 3, 128, "spectral", "hinge", target=1.4)
    critic: dict[str, Any] = {"generator_moves": False, "target": 1.1}
    gp: dict[str, Any] = {**critic, "loss": "wasserstein", "penalty": "wgan_gp"}
    r1: dict[str, Any] = {**critic, "loss": "non_saturating", "penalty": "r1", "penalty_weight": 5.0}
    return {
        "ring-64": ring,
        "ring-512": replace(ring, batch=512, target=1.5),
        "ring-population-16": replace(ring, members=16, target=3.0),
        "dcgan-64": dcgan,
        "dcgan-128": replace(dcgan, batch=128),
        "dcgan-wgan-gp": replace(dcgan, normalization="layer", **gp),
        "dcgan-r1": replace(dcgan, normalization="none", **r1),
        "resnet-64": resnet,
        "resnet-wgan-gp": replace(resnet, normalization="none", **gp),
        "resnet-r1": replace(resnet, normalization="none", **r1),
    }


WORKLOADS = _workloads()


def tiny(workload: Workload) -> Workload:
    size = (8, 8, workload.size[2]) if workload.size[0] else workload.size
    return replace(
        workload, batch=4, width=4, size=size, depth=min(workload.depth, 2), members=min(workload.members, 2)
    )


@dataclass(frozen=True)
class Ours:
    """devices: host devices that the batch is split over. merged: doublings and poolings inside the convolutions."""

    devices: int
    merged: bool = True

    @property
    def name(self) -> str:
        return f"{self.devices} device{'s' * (self.devices > 1)}{'' if self.merged else ', same algebra'}"


# -- our side, in a process of its own -------------------------------------------------------------


def our_stage(workload: Workload, dtype: Any = None, seed: int = 0) -> Any:
    """The workload as a stage of training, from the library's public parts."""
    import jax.numpy as jnp
    import optax

    from jaxgan.data import batches, images, toy
    from jaxgan.game import Player
    from jaxgan.games.two_player import gradient_penalty, two_player
    from jaxgan.latent import normal_prior
    from jaxgan.losses import adversarial, penalties
    from jaxgan.nets import dcgan, layers, mlp, resnet
    from jaxgan.nets.adapt import adapt
    from jaxgan.training.recipe import Stage

    w, dtype = workload, jnp.float32 if dtype is None else dtype
    normalizations = {"batch": layers.BatchNorm, "layer": layers.LayerNorm}
    normalization = normalizations.get(w.normalization)
    nets: tuple[Any, Any]
    source: Any
    shape: tuple[int, ...]
    if w.net == "ring":
        nets = mlp.Generator((2,), w.width, 3, dtype=dtype), mlp.Discriminator(w.width, 3, dtype=dtype)
        source, shape = toy.batches(toy.ring(), w.batch), (2,)
    else:
        pixels = np.random.default_rng(0).integers(0, 256, (max(2048, 2 * w.batch), *w.size), np.uint8)
        source, shape = (
            batches.image_batches(images.Images("noise", pixels, None, None, None, (), ""), w.batch, seed=0),
            w.size,
        )
        if w.net == "dcgan":
            nets = (
                dcgan.Generator(w.size, w.width, w.depth, normalization=layers.BatchNorm, dtype=dtype),
                dcgan.Discriminator(w.size, w.width, w.depth, normalization=normalization, dtype=dtype),
            )
        else:
            nets = (
                resnet.Generator(w.size, w.width, w.depth, normalization=layers.BatchNorm, dtype=dtype),
                resnet.Discriminator(
                    w.size,
                    w.width,
                    max(1, w.depth - 1),
                    normalization=normalization,
                    spectral=w.normalization == "spectral",
                    dtype=dtype,
                ),
            )
    generator = adapt(nets[0], (w.latent,), couples_batch=w.net != "ring")
    discriminator = adapt(nets[1], shape, couples_batch=w.normalization == "batch")
    adam = optax.adam(w.learning_rate, b1=w.betas[0], b2=w.betas[1])
    terms = []
    if w.penalty is not None:
        terms = [gradient_penalty(getattr(penalties, w.penalty), w.penalty_weight, discriminator)]
    game = two_player(
        Player(generator, adam),
        Player(discriminator, adam),
        getattr(adversarial, w.loss),
        normal_prior(w.latent),
        observation="point" if w.net == "ring" else "image",
        discriminator_terms=terms,
    )
    if not w.generator_moves:
        game = replace(game, updates=tuple(update for update in game.updates if update.name == "discriminator"))
    return Stage(game, 10**9, source)


def keep_algebra() -> None:
    """From now on doublings and poolings are computed apart from their convolutions, as PyTorch does."""
    import jax.numpy as jnp

    from jaxgan.nets import convolution

    def doubled(images: Any, kernel: Any) -> Any:
        batch, height, width, channels = images.shape
        repeated = jnp.broadcast_to(images[:, :, None, :, None], (batch, height, 2, width, 2, channels))
        return convolution.convolution(repeated.reshape(batch, 2 * height, 2 * width, channels), kernel)

    def pooled(images: Any, kernel: Any) -> Any:
        outputs = convolution.convolution(images, kernel)
        batch, height, width, channels = outputs.shape
        return outputs.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))

    convolution.upsampled_convolution, convolution.pooled_convolution = doubled, pooled


def our_player(workload: Workload, devices: int, dtype: Any = None) -> Callable[[int], None]:
    """A function that plays so many steps and waits for the last."""
    import jax

    from jaxgan.training.program import Program

    stage = our_stage(workload, dtype)
    if workload.members == 1:
        program, seeds = Program(stage, devices), [0]
    else:
        program, seeds = Program(stage, devices, [stage] * workload.members), list(range(workload.members))
    carried, step = program.start(seeds), 0

    def play(count: int) -> None:
        nonlocal carried, step
        carried = program.advance(carried, step, count)
        step += count
        jax.block_until_ready(carried)

    return play


# -- processes that take turns ---------------------------------------------------------------------


def _serve(connection: Any, workload: Workload, variant: Any, seconds: float, smoke: bool) -> None:
    """Plays a round of about `seconds` whenever asked; answers examples a second."""
    threads = len(os.sched_getaffinity(0))
    if isinstance(variant, Ours):
        os.environ["JAX_NUM_CPU_DEVICES"] = str(variant.devices)
        from jaxgan.training.parallel import configure_backend

        configure_backend()
        if not variant.merged:
            keep_algebra()
        play = our_player(workload, variant.devices)
        members = workload.members
    else:
        import pytorch_peers
        import torch

        torch.set_num_threads(threads)
        play, members = pytorch_peers.player(workload, variant), 1
    # the first steps compile; the next ones say how many make a round
    play(1)
    count, taken = 1, 0.0
    while taken < seconds / 4 and not smoke:
        count *= 2
        began = time.perf_counter()
        play(count)
        taken = time.perf_counter() - began
    count = 2 if smoke else max(1, round(count * seconds / taken))
    connection.send(count)
    while connection.recv():
        began = time.perf_counter()
        play(count)
        connection.send(count * workload.batch * members / (time.perf_counter() - began))


def race(workload: Workload, variants: list[Any], rounds: int, seconds: float, smoke: bool = False) -> np.ndarray:
    """Examples a second [variant, round]; nan for a variant that failed. One round before them warms up."""
    context = multiprocessing.get_context("spawn")
    runners: list[Any] = []
    rates = np.full((len(variants), rounds), np.nan)
    try:
        for variant in variants:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, workload, variant, seconds, smoke), daemon=True)
            process.start()
            there.close()
            runners.append((process, here))
            # one at a time, so that none measures its pace while another compiles
            if not _answer(here):
                if isinstance(variant, Ours):
                    raise RuntimeError(f"{variant.name}: our side failed, see above")
                print(f"  {variant.name}: failed", file=sys.stderr, flush=True)
        for i in range(-1 if not smoke else 0, rounds):
            for k, (_, here) in enumerate(runners):
                if here.closed:
                    continue
                here.send(True)
                rate = _answer(here)
                if i >= 0 and rate:
                    rates[k, i] = rate
    finally:
        for process, here in runners:
            if not here.closed:
                here.send(False)
            process.join(timeout=10)
            if process.is_alive():
                process.terminate()
    return rates


def _answer(connection: Any) -> Any:
    try:
        return connection.recv()
    except EOFError:
        connection.close()
        return None


def measure(
    name: str, workload: Workload, flags: argparse.Namespace, details: dict[str, Any], with_torch: bool
) -> list[Row]:
    cores = min(len(os.sched_getaffinity(0)), 2)
    ours = [Ours(devices) for devices in range(1, cores + 1)]
    if workload.net == "resnet":
        ours += [Ours(devices, merged=False) for devices in range(1, cores + 1)]
    if flags.devices:
        ours = [variant for variant in ours if variant.devices == flags.devices]
    theirs: list[Any] = []
    if with_torch:
        import pytorch_peers

        theirs = pytorch_peers.variants(workload, flags.compile)
    rounds, seconds = (3, 0.3) if flags.quick else (flags.rounds, 1.0)
    if flags.smoke:
        workload, rounds, seconds, ours, theirs = tiny(workload), 1, 0.0, ours[:1], theirs[:1]
    elif theirs:
        heats = race(workload, theirs, 3, seconds / 2)
        details[f"{name}, heats"] = dict(zip([v.name for v in theirs], heats.tolist(), strict=True))
        order = np.argsort(-np.nan_to_num(np.nanmedian(heats, axis=1)))
        theirs = [theirs[i] for i in order[:2]]
    rows = []
    for seed in range(flags.seeds):
        rates = race(workload, ours + theirs, rounds, seconds, flags.smoke)
        label = name if flags.seeds == 1 else f"{name}, run {seed}"
        details[label] = dict(zip([v.name for v in ours + theirs], rates.tolist(), strict=True))
        fastest = None
        if theirs:
            medians = np.nanmedian(rates[len(ours) :], axis=1)
            fastest = len(ours) + int(np.nanargmax(medians))
            rows.append(
                _row(f"{label}, PyTorch {theirs[fastest - len(ours)].name}", "examples a second", rates[fastest])
            )
        for k, variant in enumerate(ours):
            rows.append(_row(f"{label}, {variant.name}", "examples a second", rates[k]))
            ratio = None if fastest is None else rates[k] / rates[fastest]
            rows.append(_row(f"{label}, {variant.name}", "ratio to PyTorch", ratio))
        for row in rows[-2 * len(ours) - (fastest is not None) :]:
            print(f"  {row.method}: {row.measured if row.measured is None else round(row.measured, 3)} "
                  f"({row.uncertainty}) {row.metric}", file=sys.stderr, flush=True)  # fmt: skip
    return rows


def _row(method: str, metric: str, values: np.ndarray | None) -> Row:
    values = np.array([]) if values is None else values[np.isfinite(values)]
    if not len(values):
        return Row(method, metric, None)
    low, middle, high = np.percentile(values, (25, 50, 75))
    return Row(method, metric, float(middle), float(high - low) / 2, SPREAD)


def main() -> None:
    # what torch.compile leaves behind goes with the benchmark
    with tempfile.TemporaryDirectory() as caches:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = caches
        _main()


def _main() -> None:
    parser = arguments(__doc__ or "", seeds=1)
    parser.add_argument("--only", action="append", help=f"a workload or how several begin: {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of a second each (default 9)")
    parser.add_argument("--devices", type=int, help="only this number of host devices on our side")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="without torch.compile")
    flags = parser.parse_args()
    began = time.perf_counter()
    flags.compile = flags.compile and not (flags.quick or flags.smoke)
    if flags.only is None and flags.smoke:
        flags.only = ["ring-64", "resnet-wgan-gp"]
    chosen = {n: w for n, w in WORKLOADS.items() if flags.only is None or n.startswith(tuple(flags.only))}
    if not chosen:
        parser.error(f"--only: choose from {', '.join(WORKLOADS)}")
    with_torch = find_spec("torch") is not None
    if not with_torch:
        print(NEEDED, file=sys.stderr)
    rows: list[Row] = []
    details: dict[str, Any] = {"targets": {name: workload.target for name, workload in chosen.items()}}
    for name, workload in chosen.items():
        print(name, file=sys.stderr, flush=True)
        rows += measure(name, workload, flags, details, with_torch)
    peers = "PyTorch eager and compiled" if flags.compile else "PyTorch eager (torch.compile left out)"
    protocol = f"{PROTOCOL}; {flags.rounds} rounds against the fastest {peers}"
    finish("benchmark_cpu", None, protocol, rows, began, flags, details)


if __name__ == "__main__":
    main()
