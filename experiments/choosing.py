"""Which loss with which penalty: all pairs on one small problem, so that a newcomer need not guess.

    python experiments/choosing.py            every loss with every remedy, about ten minutes on two cores

The recipe `ring` with its default nets, a batch of 64 and 5,000 steps: eight Gaussians of deviation
0.01, which a discriminator can tell from any fake as long as the two do not touch. Each cell is five
seeds; what is shown is the final checkpoint: modes found of 8, the share of samples within three
deviations of a mode, and the earth mover's distance to the data. Weights and step sizes are the same
for all losses: none was tuned, and a loss that does badly here may do better with numbers of its own.
"""

import argparse
import tempfile
import time
from typing import Any

import numpy as np
from contract import RESULTS, Row, arguments, finish

import jaxgan
from jaxgan.evaluation.record import read_record
from jaxgan.evaluation.rows import number
from jaxgan.evaluation.seeds import combinations
from jaxgan.training.parallel import configure_backend

LOSSES = (
    "non_saturating",
    "minimax",
    "maximum_likelihood",
    "least_squares",
    "hinge",
    "wasserstein",
    "relativistic",
    "relativistic_average",
)
REMEDIES: dict[str, dict[str, Any]] = {
    "none": {"r1_weight": 0.0},
    "R1": {"r1_weight": 0.05},
    "gradient penalty": {"r1_weight": 0.0, "gradient_penalty_weight": 1.0},
    "spectral norm": {"r1_weight": 0.0, "spectral_norm": "discriminator"},
}
METRICS = ("modes", "high_quality", "wasserstein")
SETTINGS = {"steps": 5000, "batch": 64, "log_every": 1000, "sample_every": 0, "save_every": 0}


def main() -> None:
    flags = arguments(__doc__ or "", seeds=5).parse_args()
    began = time.perf_counter()
    configure_backend()
    losses = LOSSES[:2] if flags.smoke else LOSSES
    remedies = dict(list(REMEDIES.items())[:2]) if flags.smoke else REMEDIES
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as outdir:
        for remedy, values in remedies.items():
            run = jaxgan.train(
                "ring",
                seeds=flags.seeds,
                vary=("loss=" + ",".join(losses),),
                outdir=outdir,
                quiet=True,
                **SETTINGS | values | _reductions(flags),
            )
            for group in combinations(read_record(run.directory)):
                rows += _rows(f"{group.values['loss']}, {remedy}", [record.evaluations[-1] for record in group.whole])
                print(f"{rows[-3].method}: " + ", ".join(f"{r.metric} {r.measured:.4g}" for r in rows[-3:]), flush=True)
    protocol = "recipe ring, batch 64, 5,000 steps, final checkpoint, 2,000 samples; one setting for all, none tuned"
    finish("choosing", None, protocol, rows, began, flags)
    if not (flags.quick or flags.smoke):
        picture(rows)


def picture(rows: list[Row]) -> None:
    """Draws results/choosing.png: a cell for each pair, coloured by the distance to the data."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    measured = {(row.method, row.metric): row.measured for row in rows}
    distance = np.array(
        [[measured[f"{loss}, {remedy}", "wasserstein"] for remedy in REMEDIES] for loss in LOSSES], float
    )
    figure, axes = plt.subplots(figsize=(7.2, 5.2), layout="constrained")
    shown = axes.imshow(np.log10(distance), cmap="viridis_r", aspect="auto")
    for i, loss in enumerate(LOSSES):
        for j, remedy in enumerate(REMEDIES):
            modes, quality = (measured[f"{loss}, {remedy}", metric] for metric in METRICS[:2])
            dark = np.log10(distance[i, j]) > np.log10(distance).mean()
            text = f"{modes:.3g} modes\n{100 * (quality or 0):.0f} % on them"
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(REMEDIES)), REMEDIES)
    axes.set_yticks(range(len(LOSSES)), [loss.replace("_", " ") for loss in LOSSES])
    axes.set_title("Ring of eight Gaussians, mean over seeds", fontsize=10)
    figure.colorbar(shown, label="earth mover's distance to the data, log10")
    figure.savefig(RESULTS / "choosing.png", dpi=110)


def _rows(method: str, finals: list[Any]) -> list[Row]:
    rows = []
    for metric in METRICS:
        values = np.array([number(final[metric]) for final in finals])
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
        mean = float(values.mean()) if len(values) else None
        rows.append(Row(method, metric, mean, error, "standard error over seeds", len(values)))
    return rows


def _reductions(flags: argparse.Namespace) -> dict[str, Any]:
    if flags.smoke:
        return {"steps": 2, "generator_width": 4, "discriminator_width": 4, "evaluate_samples": 50}
    if flags.quick:
        return {"steps": 100}
    return {}


if __name__ == "__main__":
    main()
