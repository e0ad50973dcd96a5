"""What a newcomer's first commands give, over seeds: `jaxgan train dcgan` and `jaxgan train ring` with their defaults.

    python experiments/first_run.py               five seeds of each, about 15 minutes on two CPU cores

Two judges that no generator ever saw look at 2,000 samples of each dcgan run: the cached classifier
of the data set, and scikit-learn's support vector machine with probabilities by Platt's method on
the raw pixels. A sample is recognised when a class has a probability above 0.9. The promise of the
README: at least 90 per cent recognised by the classifier, and all ten digits among them, on five
seeds of five. Final checkpoints are judged, not the best.
"""

import argparse
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from contract import RESULTS, Row, arguments, finish
from PIL import Image

import jaxgan
from jaxgan.training.parallel import configure_backend

SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "train dcgan": ("dcgan", {}),
    "train dcgan --conditional no": ("dcgan", {"conditional": "no"}),
    "train ring": ("ring", {}),
}
# what is promised for every seed, not on average
PROMISED = ("recognised", "classes", "agreement", "modes", "high_quality")
PROTOCOL = (
    "defaults of the command line, final checkpoint, 2,000 samples a seed, Frechet distance to all training images"
)


def main() -> None:
    flags = arguments(__doc__ or "", seeds=5).parse_args()
    began = time.perf_counter()
    configure_backend()
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SYSTEMS}
    with tempfile.TemporaryDirectory() as outdir:
        for seed in range(flags.seeds):
            for name, results in runs.items():
                recipe, values = SYSTEMS[name]
                started = time.perf_counter()
                run = jaxgan.train(recipe, seed=seed, outdir=outdir, quiet=True, **values, **_reductions(flags))
                seconds = time.perf_counter() - started
                results.append(judge(run, recipe) | {"seconds": seconds})
                print(f"{name}, seed {seed}: " + "  ".join(f"{k} {v:.4g}" for k, v in results[-1].items()), flush=True)
                if name == "train dcgan" and seed == 0 and not (flags.quick or flags.smoke):
                    picture(run.directory).save(RESULTS / "first_run.png")
    rows = [
        row
        for name, results in runs.items()
        for metric in results[0]
        for row in _rows(name, metric, np.array([result[metric] for result in results], float))
    ]
    _, real = _support_vectors()
    rows.append(Row("real test images", "recognised_by_svm", real))
    finish("first_run", None, PROTOCOL, rows, began, flags, details=runs)


def judge(run: Any, recipe: str) -> dict[str, float]:
    """Numbers on the final checkpoint of one run."""
    from jaxgan.evaluation.record import read_record
    from jaxgan.evaluation.rows import number

    last = read_record(run.directory).evaluations[-1]
    if recipe == "ring":
        return {name: number(last[name]) for name in ("modes", "high_quality", "reverse_kl", "wasserstein")}
    samples = run.sample(int(last["n_fake"]), seed=1)
    probabilities = _support_vectors()[0].predict_proba(_pixels(samples))
    recognised = probabilities.max(1) > 0.9
    return {
        **{
            name: float(last[name])
            for name in ("recognised", "classes", "agreement", "frechet_distance")
            if name in last
        },
        "recognised_by_svm": float(recognised.mean()),
        "classes_by_svm": float(len(set(probabilities.argmax(1)[recognised]))),
    }


def picture(directory: Path) -> Image.Image:
    """The README's picture: real digits, and the last samples of a run beside them."""
    sheets = [
        Image.open(path).convert("L")
        for path in (directory / "reals.png", sorted((directory / "samples").glob("*.png"))[-1])
    ]
    height = min(sheet.height for sheet in sheets)
    sheets = [
        sheet.resize((round(sheet.width * height / sheet.height), height), Image.Resampling.NEAREST) for sheet in sheets
    ]
    gap = 24
    joined = Image.new("L", (sum(sheet.width for sheet in sheets) + gap, height), 255)
    joined.paste(sheets[0], (0, 0))
    joined.paste(sheets[1], (sheets[0].width + gap, 0))
    return joined


def _rows(system: str, metric: str, values: np.ndarray) -> list[Row]:
    n = len(values)
    error = float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    rows = [Row(system, metric, float(values.mean()), error, "standard error over seeds" if n > 1 else None, n)]
    if metric in PROMISED:
        rows.append(Row(system, f"{metric}, worst seed", float(values.min()), n_seeds=n))
    return rows


@cache
def _support_vectors() -> tuple[Any, float]:
    """The second judge, and the share of the real test images that it recognises."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    from jaxgan.data import catalogue

    images = catalogue.load_images("digits")
    # Platt's method by cross-validation
    judge = CalibratedClassifierCV(SVC(gamma=2.0, C=10.0), method="sigmoid", ensemble=False)
    train, test = (_pixels(np.asarray(part) / 127.5 - 1) for part in (images.image, images.test_image))
    judge.fit(train, images.label)
    confident = float((judge.predict_proba(test).max(1) > 0.9).mean())
    return judge, confident


def _pixels(images: Any) -> np.ndarray:
    images = np.asarray(images)
    return images.reshape(len(images), -1) / np.sqrt(images[0].size)


def _reductions(flags: argparse.Namespace) -> dict[str, Any]:
    if flags.smoke:
        widths = {"generator_width": 4, "discriminator_width": 4}
        return {"steps": 2, "batch": 8, "evaluate_samples": 50, "features": "random-conv", **widths}
    if flags.quick:
        return {"steps": 500, "evaluate_samples": 500}
    return {}


if __name__ == "__main__":
    main()
