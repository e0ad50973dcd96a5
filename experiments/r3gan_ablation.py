"""What R3GAN's loss is made of: relativistic pairs or not, R1 with or without R2, on a thousand modes.

    python experiments/r3gan_ablation.py                      protocol `cpu`, on the 8x8 digits
    python experiments/r3gan_ablation.py --protocol paper --data-dir FOLDER --runs runs/ablation --minutes 25

Huang, Gokaslan, Kuleshov, Tompkin, "The GAN is dead; long live the GAN! A Modern GAN Baseline", NeurIPS 2024, arXiv
2501.05441, Table 1: three digits stacked as colours, modes among 1,000 and the reverse KL of their histogram, a small
residual net without normalization. There RpGAN with R1 and R2 finds all modes, the plain GAN with both 693, and
neither trains with R1 alone, for any gamma from 0.1 to 100. Modes are triples that a classifier of single digits
sees at least once among 25,600 samples; "real stacks" are the ceiling.

The authors' small net is not in their repository: these are the blocks of the recipe `r3gan`, narrow and not
told the class. Penalties are taken at every step (the paper reports that lazy ones diverge here). `cpu` is the question
asked small, so no published number stands beside it: {cpu_steps} steps of batch {cpu_batch}, width {cpu_width}, gamma
{cpu_gamma}. `paper` takes MNIST, wider nets and more steps, and is for an accelerator; its nets and steps are
ours, too. A seed whose weights stop being finite counts as one without modes, and is left out of the KL.
Numbers are those of the final checkpoint; "best" is each seed's best of four moments in the training.

Each row is one population: its seeds train together. With --runs a row that was begun goes on and a finished one is
read; --minutes ends the slice with a checkpoint. What is not finished stands as pending.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
from contract import Row, arguments, committed, finish, over_seeds
from slices import add_flags, checked, minutes_left

from jaxgan.config import Options, RequestError
from jaxgan.data.images import DataError, Images
from jaxgan.data.stacked import STACKED, stacks
from jaxgan.game import State
from jaxgan.latent import normal_prior
from jaxgan.recipes import r3gan
from jaxgan.recipes.classic import classic_game
from jaxgan.recipes.dataset import need_images, open_data
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.judging import draw_images, generate_with, in_batches
from jaxgan.recipes.rules import Loss, numbers
from jaxgan.recipes.stacked_mnist import draw_stacks, judge_stacks
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.log import read_rows
from jaxgan.training.loop import Plan, fit_population
from jaxgan.training.parallel import configure_backend
from jaxgan.training.population import Group, Member
from jaxgan.training.recipe import Recipe, Stage

PAPER = "Huang et al. 2024, arXiv 2501.05441, Table 1"
METRICS = ("modes", "reverse_kl")
# of the four moments at which a seed was measured
BEST = "modes, best"


@dataclass(frozen=True)
class Trial:
    """A row: the loss, which penalties it has, and (modes, KL) as published."""

    method: str
    loss: Loss
    r2: bool
    published: tuple[float, float] | None = None


TRIALS = (
    Trial("RpGAN, R1 and R2", "relativistic", True, (1000.0, 0.0781)),
    Trial("GAN, R1 and R2", "non_saturating", True, (693.0, 0.9270)),
    Trial("RpGAN, R1", "relativistic", False),
    Trial("GAN, R1", "non_saturating", False),
)


@dataclass(frozen=True)
class Protocol:
    """The same for all rows: width of both nets, blocks at each size, channels a group, gamma, step size."""

    data: str
    steps: int
    batch: int
    width: int
    blocks: int
    group_width: int
    latent: int
    gamma: float
    learning_rate: float
    samples: int = 25_600


PROTOCOLS = {
    "cpu": Protocol("digits", 1200, 64, 16, 1, 8, 64, 1.0, 1e-3),
    "paper": Protocol("mnist", 50_000, 64, 128, 1, 16, 64, 1.0, 2e-4),
}
QUICK: dict[str, Any] = {"steps": 100, "samples": 2560}
SMOKE: dict[str, Any] = {"steps": 2, "samples": 40, "batch": 2, "width": 2, "group_width": 2, "latent": 4}


def main() -> None:
    cpu = PROTOCOLS["cpu"]
    text = (__doc__ or "").format(
        cpu_steps=cpu.steps, cpu_batch=cpu.batch, cpu_width=cpu.width, cpu_gamma=f"{cpu.gamma:g}"
    )
    parser = arguments(text, seeds=3)
    parser.add_argument("--protocol", choices=PROTOCOLS, default="cpu")
    parser.add_argument("--data", help="digits, mnist, or npz:FILE with grey images and labels")
    parser.add_argument("--data-dir", help="where the data set lies, or its official files")
    add_flags(parser)
    flags = checked(parser)
    try:
        study(flags)
    except (RequestError, DataError) as error:
        parser.error(str(error))


def study(flags: argparse.Namespace) -> None:
    began = time.perf_counter()
    configure_backend()
    protocol = replace(PROTOCOLS[flags.protocol], **(SMOKE if flags.smoke else QUICK if flags.quick else {}))
    data = flags.data or ("digits" if flags.smoke else protocol.data)
    features = "random-conv" if flags.smoke else "auto"
    options = Options(steps=protocol.steps, batch=protocol.batch, data=data, data_dir=flags.data_dir, features=features)
    images = need_images(open_data(options))
    rows: list[Row] = []
    details: dict[str, Any] = {"curves": {}}
    if not flags.smoke:
        real = judge_stacks(feature_net(features, images), images, draw_stacks(images, protocol.samples))
        rows += [Row(f"real stacks ({flags.protocol})", metric, float(real[metric])) for metric in METRICS]
    with tempfile.TemporaryDirectory() if flags.runs is None else nullcontext(str(flags.runs)) as folder:
        began -= spent(Path(folder), flags.protocol)
        for trial in TRIALS[:1] if flags.smoke else TRIALS:
            minutes = minutes_left(flags.deadline)
            if minutes is not None and minutes <= 0:
                break
            place = Path(folder) / f"{flags.protocol}-{trial.method.replace(', ', '-').replace(' ', '-')}"
            found = played(trial, protocol, options, images, flags.seeds, place, minutes)
            if found is None:
                break
            rows += rows_of(trial, flags.protocol, found, protocol.steps)
            details["curves"][trial.method] = {str(member): curve for member, curve in found.items()}
            print(f"{trial.method}: " + ", ".join(f"{r.metric} {r.measured}" for r in rows[-3:]), flush=True)
    there = {row.method for row in rows}
    for name in PROTOCOLS:
        kept = {(row.method, row.metric): row for row in committed("r3gan_ablation", name)}
        rows += [
            kept.get((row.method, row.metric), row)
            for trial in TRIALS
            for row in pending(trial, name)
            if row.method not in there
        ]
    finish("r3gan_ablation", PAPER, described(flags.seeds, data), rows, began, flags, details)


def played(
    trial: Trial,
    protocol: Protocol,
    options: Options,
    images: Images,
    seeds: int,
    directory: Path,
    minutes: float | None,
) -> Mapping[int, list[dict[str, Any]]] | None:
    """What was measured of each seed while it trained; None where the time was up before the end."""
    directory.mkdir(parents=True, exist_ok=True)
    recipe = recipe_of(trial, protocol, options, images)
    members = tuple(Member(i, seed, recipe) for i, seed in enumerate(range(seeds)))
    every = max(1, protocol.steps // 4)
    plan = Plan(log_every=every, save_every=every, evaluate_every=every, keep=1, quiet=True, minutes=minutes)
    steps = Checkpoints(directory / "checkpoints").steps()
    if steps[-1:] != [protocol.steps]:
        outcome = fit_population((Group(recipe, members),), directory, plan, resume=bool(steps))
        if outcome.stopped in ("time", "SIGINT", "SIGTERM"):
            return None
    log = read_rows(directory / "metrics.jsonl")
    return {i: [row for row in log if "evaluation" in row and row["member"] == i] for i in range(seeds)}


def spent(runs: Path, name: str) -> float:
    """Seconds that went into the runs in a folder before."""
    logs = [read_rows(path) for path in runs.glob(f"{name}-*/metrics.jsonl")]
    return sum(max((row.get("seconds", 0.0) for row in log), default=0.0) for log in logs)


def recipe_of(trial: Trial, protocol: Protocol, options: Options, images: Images) -> Recipe:
    """The game of a row on stacks of these images, with nets that are not told the class."""
    rules = replace(
        r3gan.RULES,
        loss=trial.loss,
        r1_weight=protocol.gamma / 2,
        r2_weight=protocol.gamma / 2 if trial.r2 else 0.0,
        generator_learning_rate=protocol.learning_rate,
        discriminator_learning_rate=protocol.learning_rate,
    )
    config = r3gan.Config(
        latent=protocol.latent,
        generator_width=protocol.width,
        discriminator_width=protocol.width,
        blocks=protocol.blocks,
        group_width=protocol.group_width,
        rules=rules,
    )
    shape = (*images.size[:2], STACKED)
    prior = normal_prior(protocol.latent)
    generator, discriminator = r3gan.make_nets(config, shape, 0)
    game = classic_game(rules, generator, discriminator, prior, options, shape)
    generate = generate_with(generator)
    net = cache(lambda: feature_net(options.features, images))

    def evaluate(state: State, key: jax.Array) -> Mapping[str, Any]:
        made, _ = in_batches(generate, prior, state, key, protocol.samples, min(1024, protocol.samples))
        return judge_stacks(net(), images, made)

    return Recipe(
        stages=(Stage(game, protocol.steps, stacks(images, protocol.batch), hyper=numbers(rules)),),
        prior=prior,
        generate=generate,
        draw=draw_images,
        evaluations={"stacks": evaluate},
    )


def rows_of(trial: Trial, name: str, found: Mapping[int, Sequence[Mapping[str, Any]]], end: int) -> list[Row]:
    """The numbers at step `end` over seeds; a seed that broke before has no modes and no divergence."""
    last = [curve[-1] if curve and curve[-1]["step"] == end else None for curve in found.values()]
    method = f"{trial.method} ({name})"
    beside = {row.metric: row for row in pending(trial, name)}
    whole = [row for row in last if row is not None]
    if any("modes" not in row for row in whole):
        # features without classes, in a smoke test
        return [over_seeds(method, "frechet_distance", [row["frechet_distance"] for row in whole])]
    rows = [_with(beside["modes"], over_seeds(method, "modes", [0 if row is None else row["modes"] for row in last]))]
    best = [max((row["modes"] for row in curve), default=0) for curve in found.values()]
    rows.append(over_seeds(method, BEST, best))
    if whole:
        rows.append(_with(beside["reverse_kl"], over_seeds(method, "reverse_kl", [row["reverse_kl"] for row in whole])))
    return [*rows, Row(method, "seeds that stayed finite", float(len(whole)), n_seeds=len(found))]


def _with(published: Row, measured: Row) -> Row:
    return replace(measured, published=published.published, source=published.source)


def pending(trial: Trial, name: str) -> list[Row]:
    """The rows of a trial as nobody has run it, with what was published under protocol `paper`."""
    rows = []
    for i, metric in enumerate(METRICS):
        known = name == "paper" and trial.published is not None
        value, source = (trial.published[i], PAPER) if known and trial.published else (None, None)
        rows.append(Row(f"{trial.method} ({name})", metric, None, published=value, source=source))
    return rows


def described(seeds: int, data: str) -> str:
    parts = [
        f"{name}: {p.data}, {p.steps:,} steps of batch {p.batch}, width {p.width}, gamma {p.gamma:g}, "
        f"step size {p.learning_rate:g} falling along a cosine"
        for name, p in PROTOCOLS.items()
    ]
    return f"{'; '.join(parts)}; 25,600 samples, averaged weights, final checkpoint, {seeds} seeds; data: {data}"


if __name__ == "__main__":
    main()
