"""Mode collapse: how many modes of a mixture each remedy finds, keeps and loses again.

    python experiments/mode_collapse.py --problems small              about an hour on two cores
    python experiments/mode_collapse.py --runs runs/collapse          all of protocol `cpu`: many hours
    python experiments/mode_collapse.py --protocol paper --runs runs/collapse --minutes 9     for an accelerator

Problems: `ring` (8 Gaussians) and `grid` (25) with the nets and numbers of Lin, Khetan, Fanti, Oh,
"PacGAN", NeurIPS 2018, arXiv 1712.04086, Table 1. `metz`: the ring with those of Metz, Poole, Pfau,
Sohl-Dickstein, "Unrolled Generative Adversarial Networks", ICLR 2017, arXiv 1611.02163, in their
released code, but with eight true modes where theirs draws one twice. `small`: the ring with nets of a
fifth of the size and step sizes ten times as large as PacGAN's, on which a plain GAN loses modes within
5,000 steps: the one problem that two cores can play with every method. Points are drawn anew at every
step; PacGAN's code has a fixed set of 100,000.

A row is a method, which differs from the problem's plain game in nothing but what its name says; its
seeds train as one population. A step is one batch: where D moves ten times for each move of G, G
moves in every tenth step. Numbers are those of the final checkpoint on 2,500 samples; "visited"
counts the modes that had a good sample at any of the 25 moments at which the run was looked at, so
visited above covered means that modes were found and lost again. The reverse KL is left out where some
seed has no sample on any mode; seeds whose weights stopped being finite are left out, and `n_seeds` says so.

Protocol `paper` has the published steps (400,000; `metz` 25,000). `cpu` has 20,000 (`metz` 10,000,
`small` 5,000), so no published number stands beside it: it compares methods. With --runs the run
folders stay: a row that is finished there is read, one that was begun goes on, and --minutes ends a
slice with a checkpoint. Rows that nobody has run yet are pending. How long a step takes is measured by
itself, with --timing.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from contract import RESULTS, Row, arguments, finish, over_seeds
from slices import SliceEnds, add_flags, checked, finished, folder

from jaxgan import run
from jaxgan.config import RequestError, changed
from jaxgan.evaluation.record import Record, read_record
from jaxgan.evaluation.rows import number
from jaxgan.evaluation.seeds import combinations
from jaxgan.training.program import Program

PACGAN = "Lin et al. 2018, arXiv 1712.04086, Table 1"
PAPER = f"{PACGAN}; Metz et al. 2017, arXiv 1611.02163"
MOMENTS = 25
METRICS = ("modes", "high_quality", "reverse_kl")
COVERED, VISITED, SECONDS = "modes covered at a moment, second half", "modes visited", "seconds a 1,000 steps"
# of each problem the preset of the recipe `ring`, and what differs from it
PROBLEMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "small": (
        "paper",
        {
            "generator_width": 128,
            "generator_depth": 3,
            "discriminator_width": 64,
            "weight_deviation": 0.0,
            "generator_learning_rate": 1e-3,
            "discriminator_learning_rate": 1e-3,
        },
    ),
    "metz": ("unrolled", {}),
    "ring": ("paper", {}),
    "grid": ("paper", {"data": "grid"}),
}
STEPS = {
    "cpu": {"small": 5_000, "metz": 10_000, "ring": 20_000, "grid": 20_000},
    "paper": {"metz": 25_000, "ring": 400_000, "grid": 400_000},
}
# two devices play six as fast as five
SEEDS = {"paper": 10, "cpu": 6}

# what each method changes in the plain game of the problem
METHODS: Mapping[str, Mapping[str, Any]] = {
    "GAN, non-saturating": {"loss": "non_saturating"},
    "PacGAN2": {"packing": 2},
    "unrolled 5": {"loss": "minimax", "unrolled_steps": 5},
    "minibatch discrimination": {"minibatch": "discrimination"},
    "R1": {"r1_weight": 0.05},
    "RpGAN, R1 and R2": {"loss": "relativistic", "r1_weight": 0.05, "r2_weight": 0.05},
    "GAN, saturating": {"loss": "minimax"},
    "minibatch deviation": {"minibatch": "deviation"},
    "PacGAN3": {"packing": 3},
    "PacGAN4": {"packing": 4},
    "unrolled 1": {"loss": "minimax", "unrolled_steps": 1},
    "ten D steps (min-max)": {"dynamics": "alternating", "discriminator_steps": 10},
    "ten G steps (max-min)": {"dynamics": "alternating", "generator_steps": 10},
    "replay": {"replay": 10_000},
    "dropout in D": {"discriminator_dropout": 0.3},
    "label flips": {"label_flips": 0.05},
    "label smoothing": {"real_label": 0.9},
    "instance noise": {"instance_noise": 0.1},
    "feature matching": {"feature_matching_weight": 1.0, "adversarial_weight": 0.0},
    "historical averaging": {"historical_averaging": 0.01},
    "consensus": {"dynamics": "consensus", "consensus_weight": 10.0},
    "extragradient": {"dynamics": "extragradient"},
    "WGAN, clipped": {
        "loss": "wasserstein",
        "dynamics": "alternating",
        "discriminator_steps": 5,
        "optimizer": "rmsprop",
        "weight_clip": 0.1,
    },
    "WGAN-GP": {
        "loss": "wasserstein",
        "dynamics": "alternating",
        "discriminator_steps": 5,
        "gradient_penalty_weight": 1.0,
    },
    "spectral norm": {"spectral_norm": "discriminator"},
    "unrolled 10": {"loss": "minimax", "unrolled_steps": 10},
}

# modes, share of high quality, reverse KL; mean and standard error of ten trials
PUBLISHED: Mapping[tuple[str, str, str], tuple[tuple[float, float], ...]] = {
    ("GAN, non-saturating", "ring", "paper"): ((6.3, 0.5), (0.982, 0.002), (0.45, 0.09)),
    ("PacGAN2", "ring", "paper"): ((7.9, 0.1), (0.956, 0.020), (0.07, 0.03)),
    ("PacGAN3", "ring", "paper"): ((7.8, 0.1), (0.977, 0.003), (0.10, 0.02)),
    ("PacGAN4", "ring", "paper"): ((7.8, 0.1), (0.959, 0.014), (0.07, 0.02)),
}


def main() -> None:
    parser = arguments(__doc__ or "", seeds=0)
    parser.set_defaults(seeds=None)
    parser.add_argument("--protocol", choices=STEPS, default="cpu")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, help="default: all of the protocol")
    names = ", ".join(f'"{name}"' for name in METHODS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, metavar="METHOD", default=list(METHODS), help=names)
    add_flags(parser)
    parser.add_argument(
        "--timing", action="store_true", help="measure how long a step takes instead; on a quiet machine"
    )
    flags = checked(parser)
    if flags.protocol == "paper" and "small" in (flags.problems or []):
        parser.error("--problems small was published by nobody: it is of --protocol cpu")
    reduced = flags.quick or flags.smoke
    if reduced:
        flags.protocol, flags.problems, flags.methods = "cpu", ["small"], ["GAN, non-saturating", "PacGAN2"]
    flags.problems = flags.problems or list(STEPS[flags.protocol])
    began = time.perf_counter()
    run.configure_backend()
    found, details = ({}, {}) if reduced else _earlier(flags.out or RESULTS / "mode_collapse.json")
    with folder(flags.runs) as runs:
        try:
            for name, rows, strip in _measured(flags, runs):
                found[name] = found.get(name, {}) | {row.metric: row for row in rows}
                details |= {name: strip} if strip else {}
                print(f"{name}: " + ", ".join(f"{row.metric} {row.measured:.4g}" for row in rows), flush=True)
        except (KeyboardInterrupt, SliceEnds):
            print("the slice ends here; the same command with --runs goes on", file=sys.stderr, flush=True)
    protocol = (
        "final checkpoint, 2,500 samples; the nets of the papers, and `small` ones; "
        f"cpu: 20,000 steps of ring and grid, 10,000 of metz, 5,000 of small, {SEEDS['cpu']} seeds; "
        f"paper: 400,000 of ring and grid, 25,000 of metz, {SEEDS['paper']} seeds"
    )
    rows = [row for own in found.values() for row in own.values()] if reduced else _in_order(found)
    if not reduced:
        # those of every population, also of those that were trained before
        began = time.perf_counter() - sum(strip["seconds"] for strip in details.values())
    finish("mode_collapse", PAPER, protocol, rows, began, flags, details)
    if not reduced and not flags.out:
        draw(details, RESULTS / "mode_collapse.png")


def _measured(flags: argparse.Namespace, runs: Path) -> Iterator[tuple[str, list[Row], dict[str, Any]]]:
    """(name, rows, strip) of every row that was asked for; SliceEnds where the time is up."""
    for problem in flags.problems:
        for method in flags.methods:
            name = _name(method, problem, flags.protocol)
            if flags.timing:
                yield name, [Row(name, SECONDS, _seconds(problem, method))], {}
                continue
            directory = runs / f"{flags.protocol}-{problem}-{method.replace(' ', '_')}"
            asked = _request_of_row(directory, problem, method, flags)
            record = read_record(finished(asked, directory, flags.deadline))
            yield name, *_rows(name, record, PUBLISHED.get((method, problem, flags.protocol)))
            if flags.runs is None:
                shutil.rmtree(directory)


def _seconds(problem: str, method: str, least: float = 5.0) -> float:
    """How long 1,000 steps of one seed take on one device, measured over at least so many seconds."""
    stage = request(problem, method).recipe.stages[0]
    program = Program(stage, 1)
    carry, step, count = program.advance(program.start([0]), 0, 10), 10, 10
    jax.block_until_ready(carry)
    while True:
        began = time.perf_counter()
        carry = jax.block_until_ready(program.advance(carry, step, count))
        took = time.perf_counter() - began
        if took >= least:
            return 1000 * took / count
        step, count = step + count, 2 * count


def _name(method: str, problem: str, protocol: str) -> str:
    return f"{method}, {problem} ({protocol})"


def settings(problem: str, method: str) -> dict[str, Any]:
    """Of the recipe `ring`: what differs from the problem's preset."""
    found = dict(METHODS[method])
    if "packing" in found:
        # as many packs as the plain game has points
        found["batch"] = found["packing"] * run.find_preset("ring", PROBLEMS[problem][0]).options.batch
    return found


def request(problem: str, method: str, **values: Any) -> run.Request:
    """The population of one row; values: further options and settings."""
    preset, differences = PROBLEMS[problem]
    chosen = run.find_preset("ring", preset)
    values = {"log_every": 500, "sample_every": 0, **differences, **settings(problem, method), **values}
    return run.prepare("ring", changed(chosen.config, values), changed(chosen.options, values))


def _request_of_row(directory: Path, problem: str, method: str, flags: argparse.Namespace) -> run.Request:
    steps = STEPS[flags.protocol][problem]
    if flags.quick or flags.smoke:
        steps = 2 if flags.smoke else 500
    small = {"generator_width": 4, "discriminator_width": 4, "evaluate_samples": 50} if flags.smoke else {}
    return request(
        problem,
        method,
        seeds=flags.seeds or SEEDS[flags.protocol],
        steps=steps,
        evaluate_every=max(1, steps // MOMENTS),
        save_every=steps // 10 if flags.runs else 0,
        keep=1,
        outdir=str(directory.parent),
        name=directory.name,
        **small,
    )


def _rows(
    name: str, record: Record, published: tuple[tuple[float, float], ...] | None
) -> tuple[list[Row], dict[str, Any]]:
    """The rows of one population, and what its strip is drawn from."""
    # one seed is a run, several are a population
    members = [one for group in combinations(record) for one in group.whole] or [record]
    finals = [member.evaluations[-1] for member in members]
    rows = []
    for i, metric in enumerate(METRICS):
        values = [number(final[metric]) for final in finals]
        beside: dict[str, Any] = {}
        if published:
            beside = {"published": published[i][0], "published_uncertainty": published[i][1], "source": PACGAN}
        if np.isfinite(values).all():
            rows.append(over_seeds(name, metric, values, **beside))
    # member x moment x mode
    seen = np.array([[row["per_mode"] for row in member.evaluations] for member in members])
    covered, visited = (seen > 0).sum(-1), (seen > 0).any(1).sum(-1)
    late = covered[:, covered.shape[1] // 2 :]
    rows.append(over_seeds(name, COVERED, late.mean(1)))
    rows.append(over_seeds(name, VISITED, visited))
    moments = [int(row["step"]) for row in members[0].evaluations]
    seconds = max(number(row["seconds"]) for row in record.evaluations)
    strip = {"steps": moments, "samples": int(finals[0]["n_fake"]), "per_mode_of_seed_0": seen[0].tolist()}
    return rows, {**strip, "seconds": seconds}


def _earlier(path: Path) -> tuple[dict[str, dict[str, Row]], dict[str, Any]]:
    """What was measured before: rows by name and metric, and strips."""
    if not path.exists():
        return {}, {}
    content = json.loads(path.read_text())
    found: dict[str, dict[str, Row]] = {}
    for row in content["rows"]:
        if row["measured"] is not None:
            found.setdefault(row["method"], {})[row["metric"]] = Row(**row)
    return found, content.get("details", {})


def _in_order(found: Mapping[str, Mapping[str, Row]]) -> list[Row]:
    """The rows of every method, pending where there are none."""
    rows: list[Row] = []
    for protocol in STEPS:
        for problem in STEPS[protocol]:
            for method in METHODS:
                name = _name(method, problem, protocol)
                own = found.get(name, {})
                if METRICS[0] not in own:
                    own = {**_pending(name, protocol, PUBLISHED.get((method, problem, protocol))), **own}
                rows += own.values()
    return rows


def _pending(name: str, protocol: str, published: tuple[tuple[float, float], ...] | None) -> dict[str, Row]:
    if published is None:
        return {METRICS[0]: Row(name, METRICS[0], None, n_seeds=SEEDS[protocol])}
    return {
        metric: Row(name, metric, None, None, None, SEEDS[protocol], value, error, PACGAN)
        for metric, (value, error) in zip(METRICS, published, strict=True)
    }


def draw(details: Mapping[str, Any], path: Path, problem: str = "small", protocol: str = "cpu") -> None:
    """One strip a method: on which modes the good samples of seed 0 lie, over its training (Metz et al., figure 2)."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    strips = {m: details[n] for m in METHODS if (n := _name(m, problem, protocol)) in details}
    if not strips:
        return
    columns = 3
    lines = -(-len(strips) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(10, 0.9 + 1.1 * lines), layout="constrained", squeeze=False)
    for axis in axes.flat[len(strips) :]:
        axis.axis("off")
    for i, (axis, (method, strip)) in enumerate(zip(axes.flat, strips.items(), strict=False)):
        # mode x moment
        counts = np.array(strip["per_mode_of_seed_0"]).T
        good = counts.sum(0)
        share = np.ma.masked_where(np.broadcast_to(good == 0, counts.shape), counts / np.maximum(good, 1))
        first, last = strip["steps"][0], strip["steps"][-1]
        extent = (first / 2, last + first / 2, len(counts) + 0.5, 0.5)
        colours: dict[str, Any] = {"cmap": "Blues", "vmin": 0, "vmax": 0.4, "interpolation": "nearest"}
        shown = axis.imshow(share, aspect="auto", extent=extent, **colours)
        axis.set_facecolor("0.85")
        covered, visited = (counts > 0).sum(0)[-1], (counts > 0).any(1).sum()
        axis.set_title(f"{method}: {covered} modes at the end, {visited} visited", fontsize=7.5)
        axis.tick_params(labelsize=6)
        axis.set_yticks([1, 4, 8])
        axis.set_xticks([0, last] if i + columns >= len(strips) else [])
        axis.set_xlim(0, last + first / 2)
    figure.supylabel("mode", fontsize=8)
    figure.supxlabel("step", fontsize=8)
    bar = figure.colorbar(shown, ax=axes, shrink=0.9, extend="max", ticks=[0, 1 / 8, 0.4])
    bar.ax.set_yticklabels(["0", "1/8", "0.4"], fontsize=7)
    bar.set_label("share of the good samples on the mode", fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    try:
        main()
    except RequestError as error:
        sys.exit(f"mode_collapse.py: {error}")
