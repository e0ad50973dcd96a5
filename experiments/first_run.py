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
from typing import Any

import numpy as np
from contract import Row, arguments, finish

import jaxgan
from jaxgan.training.parallel import configure_backend

PROTOCOL = "defaults of the command line, final checkpoint, 2,000 samples a seed, Frechet distance to all training images"


def main() -> None:
    flags = arguments(__doc__ or "", seeds=5).parse_args()
    began = time.perf_counter()
    configure_backend()
    runs: dict[str, list[dict[str, Any]]] = {"dcgan": [], "ring": []}
    with tempfile.TemporaryDirectory() as outdir:
        for seed in range(flags.seeds):
            for recipe, results in runs.items():
                started = time.perf_counter()
                run = jaxgan.train(recipe, seed=seed, outdir=outdir, quiet=True, **_reductions(flags, recipe))
                seconds = time.perf_counter() - started
                values = judge(run, recipe) | {"seconds": seconds}
                results.append(values)
                print(f"{recipe} seed {seed}: " + "  ".join(f"{k} {v:.4g}" for k, v in values.items()), flush=True)
    rows = [
        Row(f"{recipe}: {name}", statistic, float(value), n_seeds=len(results))
        if statistic == "worst seed"
        else Row(f"{recipe}: {name}", statistic, float(value), error, "standard error over seeds", len(results))
        for recipe, results in runs.items()
        for name in results[0]
        for statistic, value, error in _statistics(name, np.array([result[name] for result in results], float))
    ]
    finish("first_run", None, PROTOCOL, rows, began, flags, details=runs)


def judge(run: Any, recipe: str) -> dict[str, float]:
    """Numbers on the final checkpoint of one run."""
    from jaxgan.evaluation.record import read_record

    last = read_record(run.directory).evaluations[-1]
    if recipe == "ring":
        return {name: float(last[name]) for name in ("modes", "high_quality", "reverse_kl", "wasserstein")}
    samples = run.sample(int(last["n_fake"]), seed=1)
    probabilities = _support_vectors().predict_proba(_pixels(samples))
    recognised = probabilities.max(1) > 0.9
    return {
        "recognised": float(last["recognised"]),
        "classes": float(last["classes"]),
        "frechet_distance": float(last["frechet_distance"]),
        "recognised_by_svm": float(recognised.mean()),
        "classes_by_svm": float(len(set(probabilities.argmax(1)[recognised]))),
    }


def _statistics(name: str, values: np.ndarray) -> list[tuple[str, float, float]]:
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    low_is_bad = name in ("recognised", "classes", "recognised_by_svm", "classes_by_svm", "modes", "high_quality")
    worst = values.min() if low_is_bad else values.max()
    return [("mean", float(values.mean()), error), ("worst seed", float(worst), 0.0)]


_judges: list[Any] = []


def _support_vectors() -> Any:
    if not _judges:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.svm import SVC

        from jaxgan.data import catalogue

        images = catalogue.load("digits")
        # Platt's method by cross-validation
        judge = CalibratedClassifierCV(SVC(gamma=2.0, C=10.0), method="sigmoid", ensemble=False)
        judge.fit(_pixels(images.image / 127.5 - 1), images.label)
        accuracy = float(judge.score(_pixels(images.test_image / 127.5 - 1), images.test_label))
        confident = float((judge.predict_proba(_pixels(images.test_image / 127.5 - 1)).max(1) > 0.9).mean())
        print(f"support vector machine: {accuracy:.3f} of the test images right, {confident:.3f} recognised", flush=True)
        _judges.append(judge)
    return _judges[0]


def _pixels(images: Any) -> np.ndarray:
    images = np.asarray(images)
    return images.reshape(len(images), -1) / np.sqrt(images[0].size)


def _reductions(flags: argparse.Namespace, recipe: str) -> dict[str, Any]:
    if flags.smoke:
        widths = {"width": 8} if recipe == "ring" else {"generator_width": 4, "discriminator_width": 4}
        return {"steps": 2, "batch": 8, "evaluate_samples": 50, **widths}
    if flags.quick:
        return {"steps": 500, "evaluate_samples": 500}
    return {}


if __name__ == "__main__":
    main()
