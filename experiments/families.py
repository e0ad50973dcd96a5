"""Every image recipe at one small budget, by every metric: on Fashion-MNIST, and three of them on MNIST.

    python experiments/families.py --data-dir FOLDER            all rows, many hours on two cores
    python experiments/families.py --data npz:mnist.npz --recipes dcgan       some rows; the others stay as they are
    python experiments/families.py --quick                      8x8 digits

Each recipe with its preset `cpu`, class-conditional where it can be, for the same number of steps of batch 64; a step
of wgan_gp is one of D, its generator moves at every third; progan grows in the first half. Seeds train as one
population: five on MNIST, three on Fashion-MNIST. Protocol `paper` is the preset `paper` on CIFAR-10, one seed, for an
accelerator: its rows are pending until somebody runs them. Everything is measured by `jaxgan evaluate` on the final
checkpoint: 2,000 samples against all training images, features of the data set's own classifier, so nothing here is a
FID or an Inception Score. "best" is each seed's best Frechet distance among the four moments at which it was measured
in training, another draw of samples. No paper has numbers for this budget: it is a table to be reproduced, not a
ranking of families, for none of them has converged.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from contract import RESULTS, Row, arguments, finish, over_seeds

import jaxgan
from jaxgan.arrays import image_grid, to_uint8
from jaxgan.config import RequestError
from jaxgan.evaluate import evaluate
from jaxgan.evaluation.record import read_record
from jaxgan.evaluation.rows import measured, number
from jaxgan.evaluation.seeds import combinations, final_and_best
from jaxgan.recipes.folder import Run, read_description
from jaxgan.recipes.protocol import Protocol
from jaxgan.run import find_preset
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.log import write_picture

THREE = ("dcgan", "wgan_gp", "sngan")
RECIPES = (
    *THREE,
    *("gan", "lsgan", "wgan", "cgan", "acgan", "projection", "infogan", "sagan", "biggan"),
    *("progan", "stylegan2", "r3gan"),
)
ROWS = {
    "cpu": [
        (recipe, data) for data in ("mnist", "fashion_mnist") for recipe in (THREE if data == "mnist" else RECIPES)
    ],
    "paper": [(recipe, "cifar10") for recipe in RECIPES],
}
STEPS = 1000
METRICS = ("frechet", "kernel", "prdc", "inception_score", "classes", "memorisation", "sliced_wasserstein", "ms_ssim")
SAMPLES = 2000
SECONDS = "seconds, all seeds, training"


def main() -> None:
    parser = arguments(__doc__ or "", seeds=0)
    parser.set_defaults(seeds=None)
    parser.add_argument("--protocol", choices=ROWS, default="cpu")
    parser.add_argument("--data", nargs="+", help="as jaxgan train names them (default: those of the protocol)")
    parser.add_argument("--data-dir", default=None, help="where the data sets lie, or their official files")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, help="default: those of the protocol")
    parser.add_argument("--runs", type=Path, help="folder in which run folders stay")
    flags = parser.parse_args()
    if flags.seeds is not None and flags.seeds < 1:
        parser.error(f"--seeds is at least 1, got {flags.seeds}")
    began = time.perf_counter()
    small = flags.quick or flags.smoke
    steps = 2 if flags.smoke else 100 if flags.quick else STEPS
    rows: list[Row] = []
    notes: set[str] = set()
    with tempfile.TemporaryDirectory() as temporary:
        for recipe, data in wanted(flags):
            usual = 1 if flags.protocol == "paper" else 3 if data == "fashion_mnist" else 5
            seeds = 2 if small else flags.seeds or usual
            options: dict[str, Any] = {"data": data, "data_dir": flags.data_dir, "seeds": seeds}
            if flags.protocol == "cpu":
                options |= {"steps": steps, **(growth(steps) if recipe == "progan" else {})}
            if flags.smoke:
                options |= {"generator_width": 4, "discriminator_width": 4, "batch": 8, "features": "random-conv"}
            try:
                made, sheet, note = play(
                    recipe, flags.protocol, options, str(flags.runs or temporary), small, 50 if flags.smoke else SAMPLES
                )
            except RequestError as error:
                parser.error(str(error))
            rows += made
            notes |= {note} - {""}
            if not small:
                picture(made[0].method, sheet)
            print(
                f"{made[0].method}: "
                + ", ".join(f"{r.metric} {r.measured:.4g}" for r in made if r.measured is not None),
                flush=True,
            )
    if not small:
        rows = merged(rows)
        # of those that ran before, too
        began = time.perf_counter() - sum(row.measured or 0.0 for row in rows if row.metric == SECONDS)
    protocol = (
        f"preset cpu, {steps:,} steps of batch 64 (progan grows in the first half), 3 seeds (5 on MNIST); {SAMPLES:,} "
        "samples against all training images, final checkpoint, features of the data set's classifier; MNIST: "
        "training images approximate, pixels of value 1 are 0" + "".join(f"; {note}" for note in sorted(notes) if small)
    )
    finish("families", None, protocol, rows, began, flags)


def growth(steps: int) -> dict[str, int]:
    """ProGAN's schedule: the three resolutions of 28 pixels within the first half."""
    return {"fade_steps": max(1, steps // 8), "steady_steps": max(1, steps // 8)}


def wanted(flags: argparse.Namespace) -> list[tuple[str, str]]:
    """(recipe, data) of every row that is asked for."""
    if flags.quick or flags.smoke:
        recipes = flags.recipes or THREE
        return [(recipe, "digits") for recipe in (recipes[:1] if flags.smoke else recipes)]
    return [
        (recipe, data)
        for data in flags.data or dict.fromkeys(data for _, data in ROWS[flags.protocol])
        for recipe in flags.recipes or [r for r, d in ROWS[flags.protocol] if d == data] or RECIPES
    ]


def play(
    recipe: str, preset: str, options: dict[str, Any], outdir: str, small: bool, n: int
) -> tuple[list[Row], np.ndarray, str]:
    """The rows of one recipe on one data set, samples of its first seed, ten a class, and the data's note."""
    began = time.perf_counter()
    every = max(1, options.get("steps", find_preset(recipe, preset).options.steps) // 4)
    run = trained(recipe, options, Path(outdir)) or jaxgan.train(
        recipe,
        preset=preset,
        outdir=outdir,
        quiet=True,
        log_every=every,
        evaluate_every=every,
        sample_every=0,
        save_every=0,
        evaluate_samples=n,
        **options,
    )
    method = f"{recipe}, {run.data['name']}" + (" (paper)" if preset == "paper" else "")
    metrics = tuple(name for name in METRICS if not small or name in ("frechet", "prdc", "memorisation"))
    measurements = evaluate(run.directory, protocol=Protocol(metrics, n=n))
    found = measurements.get("members", [measurements])
    rows = [
        over_seeds(method, name, [number(one["images"][name]) for one in found])
        for name in measured(found[0]["images"])
        if not name.endswith("_error")
    ]
    record = read_record(run.directory)
    if groups := combinations(record):
        best = final_and_best(groups[0])["images/frechet_distance"]["best"]
        if best is not None:
            error = "standard error over seeds"
            rows.insert(1, Row(method, "frechet_distance, best", best["mean"], best["error"], error, best["n"]))
    rates = [number(row["examples_per_second"]) for row in record.log if "examples_per_second" in row]
    rows.append(Row(method, "examples a second, all seeds", float(np.median(rates)) if rates else None))
    rows.append(Row(method, SECONDS, last_seconds(run.directory)))
    print(f"{method}: {time.perf_counter() - began:.0f} s", flush=True)
    if classes := run.recipe.num_classes:
        sheet = np.concatenate([run.sample(10, seed=k, condition=k) for k in range(min(classes, 10))])
    else:
        sheet = run.sample(100)
    return rows, sheet, str(run.data["note"])


def trained(recipe: str, options: dict[str, Any], outdir: Path) -> Run | None:
    """The run of an earlier call that had the same request and came to its end."""
    for folder in sorted(outdir.glob(f"*-{recipe}-*")):
        description = read_description(folder)
        given = (description.options, description.config)
        asked = {name: next((getattr(one, name) for one in given if hasattr(one, name)), None) for name in options}
        if asked == options and Checkpoints(folder / "checkpoints").steps()[-1:] == [options["steps"]]:
            return jaxgan.load(folder)
    return None


def last_seconds(folder: Path) -> float:
    return max(number(row.get("seconds")) for row in read_record(folder).log)


def merged(rows: list[Row]) -> list[Row]:
    """These rows, those that were committed before for other methods, and those that nobody has run as pending."""
    path = RESULTS / "families.json"
    before = [Row(**row) for row in json.loads(path.read_text())["rows"]] if path.exists() else []
    new = {row.method for row in rows}
    found = [*(row for row in before if row.method not in new and row.measured is not None), *rows]
    there = {row.method for row in found}
    all_rows = [f"{recipe}, {data}" for recipe, data in ROWS["cpu"]]
    all_rows += [f"{recipe}, {data} (paper)" for recipe, data in ROWS["paper"]]
    found += [Row(method, "frechet_distance", None) for method in all_rows if method not in there]
    order = {method: i for i, method in enumerate(all_rows)}
    return sorted(found, key=lambda row: order.get(row.method, len(order)))


def picture(method: str, samples: np.ndarray) -> None:
    """Samples of seed 0 beside the result: a row a class where the recipe has any."""
    out = RESULTS / "families" / f"{method.replace(', ', '-').replace(' (paper)', '-paper')}.png"
    out.parent.mkdir(exist_ok=True)
    write_picture(out, image_grid(np.asarray(to_uint8(samples)), 10))


if __name__ == "__main__":
    main()
