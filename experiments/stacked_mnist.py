"""PacGAN's thousand modes: three digits stacked as colours, and how many of the 1,000 triples a GAN makes.

    python experiments/stacked_mnist.py                       protocol `cpu`, a quarter of an hour on two quiet cores
    python experiments/stacked_mnist.py --protocol paper --seeds 10 --runs runs/stacked --minutes 25

Lin, Khetan, Fanti, Oh, "PacGAN: The power of two samples in generative adversarial networks", NeurIPS 2018,
arXiv 1712.04086, Tables 2 and 3; Table 3 has the nets of Metz et al., "Unrolled Generative Adversarial
Networks", 2017, arXiv 1611.02163, section 3.3, with D a quarter of G's size. Modes are triples that a
classifier of single digits sees at least once among 25,600 samples (26,000 in Table 2), the reverse KL
that of their histogram to the uniform one, in nats. "Real stacks" are the ceiling: as many of the data.

`paper` has the authors' nets, steps and batches, on MNIST, and is for an accelerator: 500,000 steps a row of
Table 3, 200,000 moves of G a row of Table 2. How it differs says recipes/stacked_mnist.py. `cpu` has Table 3's
generator, a discriminator as wide, step sizes of 1e-3 and 4,000 steps, on the 8x8 digits that come with
scikit-learn: it claims no number but that packs of two find more modes than single examples do, and no
published number stands beside it. Modes come and go while these nets train, and a seed is one moment.

Each row is one population: its seeds train together. With --runs a row that was begun goes on and a
finished one is read; --minutes ends the slice with a checkpoint, and so does Ctrl-C. What is not finished
stands as pending.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from contract import RESULTS, Row, arguments, committed, finish, over_seeds
from slices import SliceEnds, add_flags, checked, finished, folder, spent

import jaxgan
from jaxgan.arrays import to_uint8
from jaxgan.config import RequestError, changed
from jaxgan.data.images import DataError, Images
from jaxgan.evaluation.record import Record, read_record
from jaxgan.evaluation.rows import number
from jaxgan.evaluation.seeds import combinations
from jaxgan.recipes.dataset import need_images, open_data
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.stacked_mnist import draw_stacks, judge_stacks
from jaxgan.run import Request, find_preset, prepare
from jaxgan.training.parallel import configure_backend

PAPER = "Lin et al. 2018, arXiv 1712.04086, Tables 2 and 3"
TABLE_2 = "Lin et al. 2018, arXiv 1712.04086, Table 2"
TABLE_3 = "Lin et al. 2018, arXiv 1712.04086, Table 3"
METRICS = ("modes", "reverse_kl")


@dataclass(frozen=True)
class Trial:
    """A row: a preset of the recipe, packs of so many, and unrolled steps; (modes, error, KL, error) as published."""

    method: str
    preset: str = "tiny"
    packing: int = 1
    unrolled_steps: int = 0
    published: tuple[float, float, float, float] | None = None
    source: str | None = None
    trials: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)


PAPER_TRIALS = (
    Trial("DCGAN, tiny (paper)", "tiny", 1, 0, (78.5, 17.56, 5.21, 0.19), TABLE_3, 50),
    Trial("PacDCGAN2, tiny (paper)", "tiny", 2, 0, (484.5, 32.99, 2.61, 0.22), TABLE_3, 50),
    Trial("PacDCGAN3, tiny (paper)", "tiny", 3, 0, (601.3, 32.18, 2.00, 0.17), TABLE_3, 50),
    Trial("PacDCGAN4, tiny (paper)", "tiny", 4, 0, (667.4, 29.00, 1.81, 0.15), TABLE_3, 50),
    Trial("unrolled GAN, 1 step, tiny (paper)", "tiny", 1, 1, (65.4, 34.75, 5.91, 0.14), TABLE_3),
    Trial("unrolled GAN, 5 steps, tiny (paper)", "tiny", 1, 5, (236.4, 63.30, 4.67, 0.43), TABLE_3),
    Trial("unrolled GAN, 10 steps, tiny (paper)", "tiny", 1, 10, (327.2, 74.67, 4.66, 0.46), TABLE_3),
    Trial("DCGAN (paper)", "paper", 1, 0, (78.9, 6.46, 4.50, 0.127), TABLE_2, 10),
    Trial("PacDCGAN2 (paper)", "paper", 2, 0, (1000.0, 0.0, 0.06, 0.003), TABLE_2, 10),
    Trial("PacDCGAN3 (paper)", "paper", 3, 0, (1000.0, 0.0, 0.06, 0.003), TABLE_2, 10),
    Trial("PacDCGAN4 (paper)", "paper", 4, 0, (1000.0, 0.0, 0.07, 0.005), TABLE_2, 10),
)
CPU: dict[str, Any] = {
    "steps": 4000,
    "discriminator_width": 8,
    "generator_learning_rate": 1e-3,
    "discriminator_learning_rate": 1e-3,
    "log_every": 500,
    "sample_every": 0,
    "save_every": 500,
    "evaluate_every": 1000,
}
CPU_TRIALS = (
    Trial("DCGAN, tiny (cpu)", settings=CPU),
    Trial("PacDCGAN2, tiny (cpu)", packing=2, settings=CPU),
    Trial("PacDCGAN3, tiny (cpu)", packing=3, settings=CPU),
    Trial("PacDCGAN4, tiny (cpu)", packing=4, settings=CPU),
    Trial("unrolled GAN, 1 step, tiny (cpu)", unrolled_steps=1, settings=CPU),
    Trial("unrolled GAN, 5 steps, tiny (cpu)", unrolled_steps=5, settings=CPU),
)
TRIALS = {"cpu": CPU_TRIALS, "paper": PAPER_TRIALS}
DATA = {"cpu": "digits", "paper": "mnist"}
CLASSIFIER: dict[str, dict[str, Any]] = {"cpu": {"steps": 1500}, "paper": {"steps": 10_000}}


def main() -> None:
    parser = arguments(__doc__ or "", seeds=4)
    parser.add_argument("--protocol", choices=TRIALS, default="cpu")
    parser.add_argument(
        "--data", help="digits, mnist, or npz:FILE with grey images and labels (default: the protocol's)"
    )
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
    data = flags.data or DATA["cpu" if flags.smoke else flags.protocol]
    rows: list[Row] = []
    details: dict[str, Any] = {"curves": {}}
    done: dict[str, Path] = {}
    with folder(flags.runs) as runs:
        try:
            began -= spent(runs)
            judge = finished(_classifier(flags, data, runs), runs / "classifier", flags.deadline)
            options = replace(find_preset("stacked_mnist", "tiny").options, data=data, data_dir=flags.data_dir)
            options = replace(options, features=str(judge))
            images = need_images(open_data(options))
            rows += _given(flags, options, images)
            for trial in TRIALS[flags.protocol][: 1 if flags.smoke else 2 if flags.quick else None]:
                name = trial.method.replace(",", "").replace(" ", "-").replace("(", "").replace(")", "")
                place = finished(_request(trial, flags, data, runs, judge, name), runs / name, flags.deadline)
                members = _members(read_record(place))
                done[trial.method] = place
                rows += _rows(trial, members)
                details["curves"][trial.method] = _curve(members)
                print(f"{trial.method}: " + ", ".join(f"{r.metric} {r.measured:.4g}" for r in rows[-2:]), flush=True)
        except (KeyboardInterrupt, SliceEnds):
            print("the slice ends here; the same command with --runs goes on", flush=True)
        rows += _unfinished(flags.protocol, {row.method for row in rows})
        other = "cpu" if flags.protocol == "paper" else "paper"
        rows += committed("stacked_mnist", other) or _unfinished(other, set())
        finish("stacked_mnist", PAPER, _protocol(flags, data), rows, began, flags, details)
        if not (flags.quick or flags.smoke) and flags.out is None and flags.protocol == "cpu" and done:
            picture(details["curves"], done, draw_stacks(images, 20))


def _classifier(flags: argparse.Namespace, data: str, runs: Path) -> Request:
    preset = find_preset("classifier", "cpu")
    values = CLASSIFIER[flags.protocol] | ({"steps": 2} if flags.smoke else {})
    options = replace(preset.options, data=data, data_dir=flags.data_dir, outdir=str(runs), name="classifier", **values)
    return prepare("classifier", replace(preset.config, width=4) if flags.smoke else preset.config, options)


def _request(trial: Trial, flags: argparse.Namespace, data: str, runs: Path, judge: Path, name: str) -> Request:
    preset = find_preset("stacked_mnist", trial.preset)
    values = {"packing": trial.packing, "unrolled_steps": trial.unrolled_steps, **trial.settings, **_reductions(flags)}
    # as in the authors' code a batch is as many packs, whatever is in them
    batch = (2 if flags.smoke else preset.options.batch) * trial.packing
    values |= {"batch": batch, "data": data, "data_dir": flags.data_dir, "features": str(judge)}
    values |= {"seeds": flags.seeds, "outdir": str(runs), "name": name}
    known = set(preset.options.__dataclass_fields__)
    options = replace(preset.options, **{n: v for n, v in values.items() if n in known})
    return prepare(
        "stacked_mnist", changed(preset.config, {n: v for n, v in values.items() if n not in known}), options
    )


def _reductions(flags: argparse.Namespace) -> dict[str, Any]:
    if flags.smoke:
        small = {"latent": 4, "generator_width": 2, "discriminator_width": 1, "evaluate_samples": 40}
        return {"steps": 2, "evaluate_every": 0, **small}
    if flags.quick:
        return {"steps": 200, "evaluate_every": 0, "evaluate_samples": 2560}
    return {}


def _given(flags: argparse.Namespace, options: Any, images: Images) -> list[Row]:
    """What was measured with: the classifier, and the data under it."""
    net = feature_net(options.features, images)
    n = 40 if flags.smoke else options.evaluate_samples
    real = judge_stacks(net, images, draw_stacks(images, n))
    accuracy = read_record(Path(options.features)).evaluations[-1]["accuracy"]
    kind = f"({flags.protocol})"
    return [
        Row(f"classifier {kind}", "accuracy", float(accuracy)),
        *(Row(f"real stacks {kind}", metric, float(real[metric])) for metric in METRICS),
    ]


def _members(record: Record) -> list[Record]:
    """The runs of a population, or the one that a single run is."""
    return [member for group in combinations(record) for member in group.whole] or [record]


def _rows(trial: Trial, members: list[Record]) -> list[Row]:
    return [
        over_seeds(
            trial.method,
            metric,
            [number(member.evaluations[-1][metric]) for member in members],
            **_beside(trial, metric),
        )
        for metric in METRICS
    ]


def _beside(trial: Trial, metric: str) -> dict[str, Any]:
    if trial.published is None:
        return {}
    place = 2 * METRICS.index(metric)
    value, error = trial.published[place : place + 2]
    return {"published": value, "published_uncertainty": error, "source": trial.source}


def _unfinished(protocol: str, found: set[str]) -> list[Row]:
    """Rows that this run has not: as they are committed, or pending."""
    kept = {(row.method, row.metric): row for row in committed("stacked_mnist", protocol)}
    rows = []
    for trial in TRIALS[protocol]:
        for metric in METRICS:
            pending = Row(trial.method, metric, None, n_seeds=trial.trials, **_beside(trial, metric))
            if trial.method not in found:
                rows.append(kept.get((trial.method, metric), pending))
    return rows


def _curve(members: list[Record]) -> dict[str, list[Any]]:
    """Modes over training: steps, and for each of them the seeds' numbers."""
    steps = [row["step"] for row in members[0].evaluations]
    modes = [
        [row["modes"] for row in member.evaluations if row["step"] == step] for step in steps for member in members
    ]
    return {"steps": steps, "modes": np.reshape(modes, (len(steps), -1)).tolist()}


def _protocol(flags: argparse.Namespace, data: str) -> str:
    return (
        f"cpu: Table 3's generator and a discriminator as wide on 8x8 digits, {CPU['steps']:,} steps, step sizes "
        f"{CPU['generator_learning_rate']}, {flags.seeds} seeds; paper: 500,000 steps (tiny) and 200,000 moves of G on "
        f"MNIST; batch of 128 packs (64 in Table 2), final checkpoint, 25,600 samples (26,000); data: {data}"
    )


def picture(curves: Mapping[str, Mapping[str, Any]], done: Mapping[str, Path], real: np.ndarray) -> None:
    """Draws results/stacked_mnist.png: modes over training, and stacks of the data and of two GANs, taken apart.

    real: stacks [n, height, width, 3] in [-1, 1]. Of each GAN the seed with the median number of modes.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    stacked = {"real": real}
    for method in ("DCGAN, tiny (cpu)", "PacDCGAN2, tiny (cpu)"):
        if method in done:
            last = curves[method]["modes"][-1]
            member = int(np.argsort(last)[len(last) // 2])
            title = f"{method.removesuffix(', tiny (cpu)')}\nseed with {last[member]} modes"
            stacked[title] = _samples(done[method], member if len(last) > 1 else None)
    figure, (left, *others) = plt.subplots(
        1,
        1 + len(stacked),
        figsize=(4.6 + 1.8 * len(stacked), 4.2),
        layout="constrained",
        width_ratios=[2.6, *[1] * len(stacked)],
    )
    styles = ("o-", "s-", "^-", "D-", "v--", "P--")
    colours = ("#000000", "#0072b2", "#009e73", "#e69f00", "#cc79a7", "#d55e00")
    for (method, curve), style, colour in zip(curves.items(), styles, colours, strict=False):
        modes, label = np.array(curve["modes"], float), method.removesuffix(", tiny (cpu)")
        error = modes.std(1, ddof=1) / np.sqrt(modes.shape[1]) if modes.shape[1] > 1 else None
        left.errorbar(curve["steps"], modes.mean(1), error, fmt=style, color=colour, label=label, ms=5, capsize=3)
    left.set_xlabel("steps")
    left.set_ylabel("modes of 1,000 (mean, standard error)")
    left.set_xlim(0, None)
    left.set_ylim(0, None)
    left.legend(fontsize=9, loc="upper left")
    for axes, (title, images) in zip(others, stacked.items(), strict=True):
        axes.imshow(_apart(images[:20]), cmap="gray", interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.axis("off")
    figure.savefig(RESULTS / "stacked_mnist.png", dpi=120)


def _samples(directory: Path, member: int | None) -> np.ndarray:
    """A batch of samples as evaluations see them, normalized with its own statistics."""
    run = jaxgan.load(directory, member=member)
    net = run.recipe.stages[0].game.players["generator"].net
    variables = {"params": run.state.params["generator"], **run.state.variables["generator"]}
    return np.asarray(net.apply(variables, run.prior(jax.random.key(0), 128, None), train=True)[0])


def _apart(images: np.ndarray, columns: int = 2) -> np.ndarray:
    """Stacks [n, height, width, 3] as rows of `columns` triples of grey images, uint8 [height, width]."""
    grey = np.asarray(to_uint8(np.moveaxis(images, -1, 1)))
    framed = np.pad(grey, ((0, 0), (0, 0), (1, 0), (1, 0)), constant_values=255)
    n, _, height, _ = framed.shape
    triples = np.pad(framed.transpose(0, 2, 1, 3).reshape(n, height, -1), ((0, 0), (0, 2), (0, 3)), constant_values=255)
    rows = triples.reshape(n // columns, columns, height + 2, -1).transpose(0, 2, 1, 3)
    return rows.reshape(n // columns * (height + 2), -1)


if __name__ == "__main__":
    main()
