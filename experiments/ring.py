"""PacGAN's ring: eight Gaussians, and how many of them a GAN finds when D judges one example or packs of them.

    python experiments/ring.py                       protocol `cpu`, about ten minutes on two cores
    python experiments/ring.py --protocol paper      protocol `paper`, for an accelerator

Lin, Khetan, Fanti, Oh, "PacGAN: The power of two samples in generative adversarial networks", NeurIPS
2018, arXiv 1712.04086, Table 1, ring columns. Each row is one population: its seeds train in one
program. Numbers are those of the final checkpoint, on 2,500 samples.

`paper` has the nets, initialisation, optimizer, batch (100 packs) and 400,000 simultaneous steps of the
authors' code; here points are drawn anew at every step, there from a fixed set of 100,000. `cpu` has
smaller nets, step sizes ten times as large and 5,000 steps: enough to see a GAN lose modes and packs of two
find them, too few for packs of four, and no published number stands beside it. The reverse KL is left
out where some seed has no sample on any mode.
"""

import argparse
import tempfile
import time
from typing import Any

import numpy as np
from contract import Row, arguments, committed, finish

import jaxgan
from jaxgan.evaluation.record import combinations, number, read_record
from jaxgan.training.parallel import configure_backend

PAPER = "Lin et al. 2018, arXiv 1712.04086, Table 1"
PACKS = 100
METRICS = ("modes", "high_quality", "reverse_kl")
# modes, share of high quality, reverse KL; mean and standard error of ten trials
PUBLISHED: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((6.3, 0.5), (0.982, 0.002), (0.45, 0.09)),
    2: ((7.9, 0.1), (0.956, 0.020), (0.07, 0.03)),
    3: ((7.8, 0.1), (0.977, 0.003), (0.10, 0.02)),
    4: ((7.8, 0.1), (0.959, 0.014), (0.07, 0.02)),
}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "paper": {},
    "cpu": {
        "steps": 5_000,
        "generator_width": 128,
        "generator_depth": 3,
        "discriminator_width": 64,
        "weight_deviation": 0.0,
        "generator_learning_rate": 1e-3,
        "discriminator_learning_rate": 1e-3,
        "log_every": 500,
        "sample_every": 0,
        "save_every": 0,
    },
}


def main() -> None:
    parser = arguments(__doc__ or "", seeds=10)
    parser.add_argument("--protocol", choices=PROTOCOLS, default="cpu")
    flags = parser.parse_args()
    began = time.perf_counter()
    configure_backend()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as outdir:
        for packing, published in PUBLISHED.items():
            settings = PROTOCOLS[flags.protocol] | _reductions(flags)
            run = jaxgan.train(
                "ring",
                preset="paper",
                packing=packing,
                batch=PACKS * packing,
                seeds=flags.seeds,
                outdir=outdir,
                quiet=True,
                **settings,
            )
            method = f"{_name(packing)} ({flags.protocol})"
            found = _rows(method, run.directory, published if flags.protocol == "paper" else None)
            rows += found
            print(f"{method}: " + ", ".join(f"{r.metric} {r.measured:.4g}" for r in found), flush=True)
    other = "cpu" if flags.protocol == "paper" else "paper"
    rows += committed("ring", other) or (_pending() if other == "paper" else [])
    protocol = (
        f"cpu: {PROTOCOLS['cpu']['steps']:,} steps of small nets, {flags.seeds} seeds; paper: 400,000 steps of the "
        f"authors' nets; batch of {PACKS} packs, final checkpoint, 2,500 samples"
    )
    finish("ring", PAPER, protocol, rows, began, flags)


def _name(packing: int) -> str:
    return "GAN" if packing == 1 else f"PacGAN{packing}"


def _pending() -> list[Row]:
    """The rows of protocol `paper`, before an accelerator has run it."""
    return [
        Row(f"{_name(packing)} (paper)", metric, None, None, None, 10, value, error, PAPER)
        for packing, published in PUBLISHED.items()
        for metric, (value, error) in zip(METRICS, published, strict=True)
    ]


def _rows(method: str, directory: Any, published: tuple[tuple[float, float], ...] | None) -> list[Row]:
    run = read_record(directory)
    # one seed is a run, several are a population
    members = [record for group in combinations(run) for record in group.whole] or [run]
    finals = [member.evaluations[-1] for member in members]
    rows = []
    for i, metric in enumerate(METRICS):
        values = np.array([number(final[metric]) for final in finals])
        if not np.isfinite(values).all():
            # where no sample of some seed lies on a mode, their distribution over modes is undefined
            continue
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
        beside: dict[str, Any] = {}
        if published:
            beside = {"published": published[i][0], "published_uncertainty": published[i][1], "source": PAPER}
        kind = "standard error over seeds"
        rows.append(Row(method, metric, float(values.mean()), error, kind, len(values), **beside))
    return rows


def _reductions(flags: argparse.Namespace) -> dict[str, Any]:
    if flags.smoke:
        return {"steps": 2, "generator_width": 4, "discriminator_width": 4, "evaluate_samples": 50}
    if flags.quick:
        return {"steps": 500}
    return {}


if __name__ == "__main__":
    main()
