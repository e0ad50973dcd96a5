"""Three families at one small budget, by every metric: dcgan, wgan_gp and sngan on MNIST and Fashion-MNIST.

    python experiments/families.py --data-dir FOLDER            all six rows, an hour on two cores
    python experiments/families.py --data npz:mnist.npz --recipes dcgan       some rows; the others stay as they are
    python experiments/families.py --quick                      8x8 digits

Each recipe with its preset `cpu`, class-conditional, for the same number of steps of batch 64; a step of wgan_gp is one
of D, its generator moves at every third. Five seeds train as one population. Everything is measured by
`jaxgan evaluate` on the final checkpoint: 2,000 samples against all training images, features of the data set's
own classifier, so nothing here is a FID or an Inception Score. "best" is each seed's best Frechet distance among
the four moments at which it was measured in training, another draw of samples. No paper has numbers for this
budget: it is a table to be reproduced, not a ranking of families, for none of them has converged.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from contract import RESULTS, Row, arguments, finish, over_seeds

import jaxgan
from jaxgan.config import RequestError
from jaxgan.evaluate import evaluate
from jaxgan.evaluation.record import combinations, final_and_best, measured, number, read_record
from jaxgan.recipes.folder import Run, read_description
from jaxgan.recipes.protocol import Protocol
from jaxgan.training.checkpoint import Checkpoints

RECIPES = ("dcgan", "wgan_gp", "sngan")
STEPS = 1000
METRICS = ("frechet", "kernel", "prdc", "inception_score", "classes", "memorisation", "sliced_wasserstein", "ms_ssim")
SAMPLES = 2000


def main() -> None:
    parser = arguments(__doc__ or "", seeds=5)
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion_mnist"], help="as jaxgan train names them")
    parser.add_argument("--data-dir", default=None, help="where the data sets lie, or their official files")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--runs", type=Path, help="folder in which run folders stay")
    flags = parser.parse_args()
    began = time.perf_counter()
    small = flags.quick or flags.smoke
    steps = 2 if flags.smoke else 100 if flags.quick else STEPS
    seeds = 2 if small else flags.seeds
    rows: list[Row] = []
    sheets: dict[str, np.ndarray] = {}
    notes: set[str] = set()
    with tempfile.TemporaryDirectory() as temporary:
        for data in ["digits"] if small else flags.data:
            for recipe in flags.recipes[:1] if flags.smoke else flags.recipes:
                options: dict[str, Any] = {"data": data, "data_dir": flags.data_dir, "steps": steps, "seeds": seeds}
                if flags.smoke:
                    options |= {"generator_width": 4, "discriminator_width": 4, "batch": 8, "features": "random-conv"}
                try:
                    made, sheet, note = play(
                        recipe, options, str(flags.runs or temporary), small, 50 if flags.smoke else SAMPLES
                    )
                except RequestError as error:
                    parser.error(str(error))
                rows += made
                notes |= {note} - {""}
                sheets[made[0].method] = sheet
                print(f"{made[0].method}: " + ", ".join(f"{row.metric} {row.measured:.4g}" for row in made), flush=True)
    if not small:
        rows = merged(rows)
    protocol = (
        f"preset cpu, {steps:,} steps of batch 64, {SAMPLES:,} samples against all training images, final checkpoint, "
        "features of the data set's classifier" + "".join(f"; {note}" for note in sorted(notes))
    )
    finish("families", None, protocol, rows, began, flags)
    if not small:
        if flags.runs is not None:
            sheets = kept(flags.runs / "sheets.npz") | sheets
            named: dict[str, Any] = dict(sheets)
            np.savez_compressed(flags.runs / "sheets.npz", **named)
        picture(sheets)


def play(recipe: str, options: dict[str, Any], outdir: str, small: bool, n: int) -> tuple[list[Row], np.ndarray, str]:
    """The rows of one recipe on one data set, samples of its first seed, ten a class, and the data's note."""
    began = time.perf_counter()
    every = max(1, options["steps"] // 4)
    run = trained(recipe, options, Path(outdir)) or jaxgan.train(
        recipe,
        outdir=outdir,
        quiet=True,
        log_every=every,
        evaluate_every=every,
        sample_every=0,
        save_every=0,
        evaluate_samples=n,
        **options,
    )
    method = f"{recipe}, {run.data['name']}"
    metrics = tuple(name for name in METRICS if not small or name in ("frechet", "prdc", "memorisation"))
    found = evaluate(run.directory, protocol=Protocol(metrics, n=n))["members"]
    rows = [
        over_seeds(method, name, [number(one["images"][name]) for one in found])
        for name in measured(found[0]["images"])
        if not name.endswith("_error")
    ]
    best = final_and_best(combinations(read_record(run.directory))[0])["images/frechet_distance"]["best"]
    if best is not None:
        error = "standard error over seeds"
        rows.insert(1, Row(method, "frechet_distance, best", best["mean"], best["error"], error, best["n"]))
    rows.append(Row(method, "seconds, all seeds, training", last_seconds(run.directory)))
    print(f"{method}: {time.perf_counter() - began:.0f} s", flush=True)
    classes = run.recipe.num_classes
    sheet = np.concatenate([run.sample(10, seed=k, condition=k) for k in range(min(classes, 10))])
    return rows, sheet, str(run.data["note"])


def trained(recipe: str, options: dict[str, Any], outdir: Path) -> Run | None:
    """The run of an earlier call that had the same request and came to its end."""
    for folder in sorted(outdir.glob(f"*-{recipe}-*")):
        description = read_description(folder)
        asked = {name: getattr(description.options, name, None) for name in options}
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
    wanted = [f"{recipe}, {data}" for data in ("mnist", "fashion_mnist") for recipe in RECIPES]
    return found + [Row(method, "frechet_distance", None) for method in wanted if method not in there]


def kept(path: Path) -> dict[str, np.ndarray]:
    """The samples of rows that ran before into the same folder."""
    if not path.exists():
        return {}
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def picture(sheets: dict[str, np.ndarray]) -> None:
    """Samples of seed 0: a column a sample, a row a class."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from jaxgan.arrays import image_grid, to_uint8

    figure, axes = plt.subplots(-(-len(sheets) // 3), min(len(sheets), 3), figsize=(12, 4.3 * -(-len(sheets) // 3)))
    for axis, (method, images) in zip(np.atleast_1d(axes).flat, sheets.items(), strict=False):
        grid = image_grid(np.asarray(to_uint8(images)), 10)
        axis.imshow(grid[..., 0] if grid.shape[-1] == 1 else grid, cmap="gray")
        axis.set_title(method)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(RESULTS / "families.png", dpi=90)


if __name__ == "__main__":
    main()
