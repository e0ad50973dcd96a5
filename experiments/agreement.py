"""Do conditional generators make the class that they are asked for? On MNIST, as an independent classifier sees it.

    python experiments/agreement.py --data-dir FOLDER       forty minutes on two quiet cores
    python experiments/agreement.py --quick                 8x8 digits

`cgan` (D judges the pair), `acgan` (D says the class) and `projection`, each with its preset `cpu` and nothing
changed but the data and, for projection, 2,000 steps of batch 64 instead of 2,500; the 4,000 of the other two are
their preset's. (With 2,000 steps they had 95.7 and 94.6 per cent.) One seed; --seeds makes it a population.

"agreement" is the share of 2,000 samples, classes drawn evenly, whose class by the data set's own classifier is the
one asked for; its uncertainty is that of a binomial. "real test images": the classifier's own accuracy, which is
what perfect samples would have. The papers state no such number. Final checkpoint; with --runs FOLDER runs that
ended are read.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from contract import Row, arguments, finish, over_seeds
from families import trained

import jaxgan
from jaxgan.config import Options, RequestError
from jaxgan.evaluation.features import probabilities
from jaxgan.evaluation.rows import number
from jaxgan.recipes.dataset import need_images, open_data
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.training.log import read_rows

RECIPES = ("cgan", "acgan", "projection")
STEPS = {"cgan": 4000, "acgan": 4000, "projection": 2000}
SAMPLES = 2000


def main() -> None:
    parser = arguments(__doc__ or "", seeds=1)
    parser.add_argument("--data", default="mnist", help="as jaxgan train names it: mnist, or npz:FILE")
    parser.add_argument("--data-dir", default=None, help="where the data set lies, or its official files")
    parser.add_argument("--runs", type=Path, help="folder in which run folders stay")
    flags = parser.parse_args()
    if flags.seeds < 1:
        parser.error(f"--seeds is at least 1, got {flags.seeds}")
    try:
        study(flags)
    except RequestError as error:
        parser.error(str(error))


def study(flags: argparse.Namespace) -> None:
    began = time.perf_counter()
    rows: list[Row] = []
    reduced = flags.quick or flags.smoke
    data = "digits" if reduced else flags.data
    small: dict[str, Any] = {"generator_width": 4, "discriminator_width": 4, "batch": 8} if flags.smoke else {}
    note = ""
    with tempfile.TemporaryDirectory() as temporary:
        outdir = flags.runs or Path(temporary)
        for recipe in RECIPES:
            steps = 2 if flags.smoke else 300 if flags.quick else STEPS[recipe]
            values: dict[str, Any] = {"data": data, "data_dir": flags.data_dir, "steps": steps}
            run = trained(recipe, values, outdir)
            if run is None:
                every = {"log_every": 100, "save_every": steps, "evaluate_every": max(1, steps // 4)}
                samples = {"evaluate_samples": 50 if flags.smoke else SAMPLES, "sample_every": 0}
                run = jaxgan.train(
                    recipe, outdir=str(outdir), seeds=flags.seeds, quiet=True, **values, **every, **samples, **small
                )
            found = [row for row in read_rows(run.directory / "evaluations.jsonl") if row["checkpoint"] == "final"]
            rows += measured(recipe, found)
            seconds = max(row.get("seconds", 0.0) for row in read_rows(run.directory / "metrics.jsonl"))
            rows.append(Row(recipe, "seconds, training", seconds))
            began -= seconds
            note = str(run.data["note"])
            print("; ".join(f"{r.method} {r.metric} {r.measured:.4g}" for r in rows[-5:] if r.measured), flush=True)
    images = need_images(open_data(Options(data=data, data_dir=flags.data_dir)))
    net = feature_net("classifier", images)
    assert images.test_image is not None and images.test_label is not None
    right = probabilities(net, np.asarray(images.test_image)).argmax(axis=-1) == images.test_label
    rows.append(binomial("real test images", float(right.mean()), len(right)))
    protocol = (
        f"preset cpu, batch 64 on {images.name}, "
        + ", ".join(f"{steps:,} steps of {recipe}" for recipe, steps in STEPS.items())
        + f", {SAMPLES:,} samples, final checkpoint"
    )
    finish("agreement", None, protocol + (f"; {note}" if note else ""), rows, began, flags)


def measured(recipe: str, found: list[dict[str, Any]]) -> list[Row]:
    """The rows of one recipe: of one seed with the uncertainty of a share, of several with theirs."""
    rows = []
    for metric in ("agreement", "recognised", "frechet_distance"):
        values = [number(row[metric]) for row in found]
        if len(values) == 1 and metric == "agreement":
            rows.append(binomial(recipe, values[0], int(found[0]["n_fake"])))
        else:
            rows.append(over_seeds(recipe, metric, values))
    return rows


def binomial(method: str, share: float, n: int) -> Row:
    return Row(method, "agreement", share, float(np.sqrt(share * (1 - share) / n)), f"binomial, {n} samples")


if __name__ == "__main__":
    main()
