"""Few labels and many images without: how many test images a classifier gets wrong, with and without a generator.

    python experiments/semi_supervised.py                     protocol `cpu`, six minutes on one core
    python experiments/semi_supervised.py --protocol mnist --data-dir FOLDER    a ninetieth of the paper's steps
    python experiments/semi_supervised.py --protocol paper --seeds 10 --runs runs/semi --minutes 25    an accelerator

Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, "Improved Techniques for Training GANs", NIPS 2016,
arXiv 1606.03498, Table 1: wrong ones of 10,000 test images after 300 epochs, with 100 labels 93 +- 6.5 over
10 seeds (what the +- is, the paper does not say). Each seed has labels of its own, as many of each class.
"Supervised only" is the same net, noise, step size and average on the same labelled batches for as many steps.

`paper` is recipe `semi_supervised` with its preset `paper`: the authors' nets, batches and 180,000 steps on MNIST.
`cpu` is its preset `cpu`, half its steps, on the 8x8 digits that come with scikit-learn, 1,497 for training
and 300 of other writers for the test. It claims an ordering, by a margin that three seeds can tell with 20 and 50
labels and hardly with 100 and 200, and no published number stands beside it. `mnist` is the nets of `cpu`, a
quarter as wide as the authors', on MNIST for a ninetieth of their steps: its errors are of 10,000, but not the paper's.
Errors are those of the last step, of averaged weights: nothing is selected on test images.

All seeds, with and without the generator, train together for each number of labels. With --runs a population
that was begun goes on and a finished one is read; --minutes ends the slice with a checkpoint, and so does Ctrl-C.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from contract import Row, arguments, committed, finish, over_seeds
from slices import SliceEnds, add_flags, checked, finished, folder, spent

from jaxgan.config import RequestError, changed
from jaxgan.data.images import DataError
from jaxgan.evaluation.record import read_record
from jaxgan.evaluation.rows import number
from jaxgan.evaluation.seeds import combinations
from jaxgan.run import Request, find_preset, prepare
from jaxgan.training.parallel import configure_backend

PAPER = "Salimans et al. 2016, arXiv 1606.03498, Table 1"
LABELS = (20, 50, 100, 200)
# by number of labels: errors of 10,000, and the paper's uncertainty of an unsaid kind (that of 50 was not at hand)
PUBLISHED = {20: (1677.0, 452.0), 100: (93.0, 6.5), 200: (90.0, 4.2)}
METHODS = {True: "semi-supervised", False: "supervised only"}
METRICS = ("errors", "error_rate")
# of each seed, whose two nets have the same labels
FEWER = "errors fewer than supervised only"
DATA = {"cpu": "digits", "mnist": "mnist", "paper": "mnist"}
PRESET = {"cpu": "cpu", "mnist": "cpu", "paper": "paper"}
STEPS = {"cpu": 3000, "mnist": 2000, "paper": 180_000}


def main() -> None:
    parser = arguments(__doc__ or "", seeds=3)
    parser.add_argument("--protocol", choices=DATA, default="cpu")
    parser.add_argument("--data", help="digits, mnist, or npz:FILE (default: the protocol's)")
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
    rows: list[Row] = []
    with folder(flags.runs) as runs:
        began -= spent(runs)
        try:
            for labels in LABELS[:1] if flags.smoke else LABELS:
                name = f"labels-{labels}-{flags.protocol}"
                record = read_record(finished(_request(flags, labels, runs, name), runs / name, flags.deadline))
                errors: dict[bool, list[float]] = {}
                for group in combinations(record):
                    last = [member.evaluations[-1] for member in group.whole]
                    unlabelled = bool(group.values["unlabelled"])
                    method = _method(labels, unlabelled, flags.protocol)
                    errors[unlabelled] = [number(row["errors"]) for row in last]
                    rows += [
                        over_seeds(method, metric, [number(row[metric]) for row in last], **_beside(method, metric))
                        for metric in METRICS
                    ]
                fewer = np.subtract(errors[False], errors[True])
                rows.append(over_seeds(_method(labels, True, flags.protocol), FEWER, fewer))
                print("; ".join(f"{r.method} {r.measured:.4g}" for r in rows[-5:] if r.metric == "errors"), flush=True)
        except (KeyboardInterrupt, SliceEnds):
            print("the slice ends here; the same command with --runs goes on", flush=True)
    rows += _unfinished(flags.protocol, {row.method for row in rows})
    for other in DATA:
        if other != flags.protocol:
            rows += committed("semi_supervised", other) or _unfinished(other, set())
    rows.sort(key=lambda row: [f"({name})" in row.method for name in DATA].index(True))
    finish("semi_supervised", PAPER, _protocol(flags), rows, began, flags)


def _request(flags: argparse.Namespace, labels: int, runs: Path, name: str) -> Request:
    preset = find_preset("semi_supervised", PRESET[flags.protocol])
    steps = 2 if flags.smoke else 300 if flags.quick else STEPS[flags.protocol]
    values: dict[str, Any] = {"steps": steps, "seeds": flags.seeds, "vary": ("unlabelled=true,false",)}
    values |= {"data": flags.data or DATA["cpu" if flags.smoke else flags.protocol], "data_dir": flags.data_dir}
    values |= {"outdir": str(runs), "name": name, "log_every": max(1, steps // 10), "save_every": max(1, steps // 20)}
    # the generator's samples are not measured: no classifier need be trained for them
    values |= {"sample_every": 0, "evaluate_every": 0, "features": "random-conv"}
    small = {"generator_width": 4, "discriminator_width": 8} if flags.smoke else {}
    config = changed(preset.config, {"labels": labels, **small})
    return prepare("semi_supervised", config, replace(preset.options, **values))


def _method(labels: int, unlabelled: bool, protocol: str) -> str:
    return f"{labels} labels, {METHODS[unlabelled]} ({protocol})"


def _beside(method: str, metric: str) -> dict[str, Any]:
    for labels, (errors, uncertainty) in PUBLISHED.items():
        if method == _method(labels, True, "paper") and metric == "errors":
            return {"published": errors, "published_uncertainty": uncertainty, "source": PAPER}
    return {}


def _unfinished(protocol: str, found: set[str]) -> list[Row]:
    """Rows that this run has not: as they are committed, or pending."""
    kept = {(row.method, row.metric): row for row in committed("semi_supervised", protocol)}
    methods = [_method(labels, unlabelled, protocol) for labels in LABELS for unlabelled in METHODS]
    return [
        kept.get((method, metric), Row(method, metric, None, n_seeds=10, **_beside(method, metric)))
        for method in methods
        if method not in found
        for metric in METRICS
    ]


def _protocol(flags: argparse.Namespace) -> str:
    steps = {name: f"{count:,}" for name, count in STEPS.items()}
    return (
        f"cpu: preset cpu on 8x8 digits, {steps['cpu']} steps; mnist: the same nets on MNIST, {steps['mnist']} steps; "
        f"paper: the authors' nets on MNIST, {steps['paper']} steps; batches of 100 labelled and 100 other images, "
        f"labels of its own for each of {flags.seeds} seeds, averaged weights of the last step; errors of 300 test "
        f"images (cpu), 10,000 (mnist, paper)"
    )


if __name__ == "__main__":
    main()
