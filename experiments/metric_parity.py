"""Our metrics against torch-fidelity and prdc: the same arrays, the same numbers, and how long each takes.

    pip install torch-fidelity prdc
    python experiments/metric_parity.py           ten minutes on two cores that other work shares

Features are random, correlated, of unequal variances and far from mean 0, as those of a classifier are: 5,000 of 2,048
dimensions and 10,000 of 128, exact in float32 and handed over in float64, because torch-fidelity otherwise
takes their mean in float32. The networks that make features are not compared here.

- moments, and the Frechet distance of given moments: torch-fidelity's `metric_fid`;
- kernel distance over the subsets that it draws itself: `metric_kid`, seed 2020;
- Inception score of 1,008 logits with its shuffle: `metric_isc`; the softmax is part of both times;
- improved precision and recall, k = 3: `metric_prc`;
- precision, recall, density and coverage, all at k = 5: `prdc.compute_prdc`.

Both sides run in this process, in turns, ours first; the speed is the ratio of the medians. A difference
beyond 1e-6 (relative; kernel distance 1e-9, absolute) is an error. The committed speeds were taken beside other
work, so of them only large ratios say much. Without the two packages there is
nothing to compare with: the status is 2.
"""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from contract import Row, arguments, finish
from scipy.special import softmax

from jaxgan.evaluation.frechet import frechet_distance, moments
from jaxgan.evaluation.inception_score import inception_score
from jaxgan.evaluation.kernel import subset_mmd2
from jaxgan.evaluation.precision_recall import prdc, precision_recall

NEEDED = "torch-fidelity or prdc cannot be imported, so their rows are pending: pip install torch-fidelity prdc"
SEED = 2020
SPREAD = "half the interquartile range of the ratio of each round"
Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """ours, theirs: functions of nothing that return the same names. absolute: the tolerance is on the difference."""

    name: str
    ours: Callable[[], Numbers]
    theirs: Callable[[], Numbers]
    tolerance: float = 1e-6
    absolute: bool = False
    rounds: int = 5

    def difference(self, ours: Numbers, theirs: Numbers) -> float:
        """The largest over all numbers."""
        assert ours.keys() == theirs.keys()
        scales = {name: 1.0 if self.absolute else max(abs(theirs[name]), 1e-300) for name in ours}
        return max(abs(ours[name] - theirs[name]) / scales[name] for name in ours)


@dataclass(frozen=True)
class Size:
    n: int
    d: int
    num_subsets: int
    frechet_rounds: int

    @property
    def words(self) -> str:
        return f"d = {self.d:,}, n = {self.n:,}"


def correlated(n: int, d: int, seed: int, fake: bool) -> np.ndarray:
    """Features float64 [n, d], exact in float32; the fakes of another mean and covariance."""
    # the mixing is of the size alone, so that real and fake correlate alike but for a tenth
    mixing = np.random.default_rng(d).normal(size=(d, d)) / np.sqrt(d)
    rng = np.random.default_rng([seed, fake])
    if fake:
        mixing = mixing + 0.1 * rng.normal(size=(d, d)) / np.sqrt(d)
    spectrum = (1.0 + np.arange(d)) ** -0.4
    rows = rng.normal(size=(n, d)) * spectrum @ mixing + 0.4 + 0.05 * fake
    return rows.astype(np.float32).astype(np.float64)


def of_features(size: Size, seed: int, subset_size: int) -> list[Comparison]:
    real, fake = (correlated(size.n, size.d, seed, side) for side in (False, True))
    ours_real, ours_fake = moments(real), moments(fake)
    statistics = [{"mu": m.mean, "sigma": m.covariance} for m in (ours_real, ours_fake)]

    def summarised(mean: np.ndarray, covariance: np.ndarray) -> Numbers:
        # two sums that every entry moves, of which none cancels
        return {"mean": float(np.linalg.norm(mean)), "covariance": float(np.linalg.norm(covariance))}

    def our_moments() -> Numbers:
        found = moments(fake)
        return summarised(found.mean, found.covariance)

    def their_moments() -> Numbers:
        import torch
        from torch_fidelity.metric_fid import fid_features_to_statistics

        found = fid_features_to_statistics(torch.from_numpy(fake))
        return summarised(found["mu"], found["sigma"])

    def their_frechet() -> Numbers:
        from torch_fidelity.metric_fid import fid_statistics_to_metric

        return {"distance": fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]}

    def our_kernel() -> Numbers:
        rng = np.random.RandomState(SEED)
        # the rows of the first argument are drawn first
        drawn = [rng.choice(size.n, subset_size, replace=False) for _ in range(2 * size.num_subsets)]
        found = subset_mmd2(real, fake, zip(drawn[::2], drawn[1::2], strict=True))
        return {"mean": float(found.mean()), "deviation": float(found.std())}

    def their_kernel() -> Numbers:
        import torch
        from torch_fidelity.metric_kid import kid_features_to_metric

        found = kid_features_to_metric(
            torch.from_numpy(real),
            torch.from_numpy(fake),
            kid_subsets=size.num_subsets,
            kid_subset_size=subset_size,
            rng_seed=SEED,
            verbose=False,
        )
        return dict(zip(("mean", "deviation"), found.values(), strict=True))

    def their_precision() -> Numbers:
        import torch
        from torch_fidelity.metric_prc import prc_features_to_metric

        # generated first
        found = prc_features_to_metric(torch.from_numpy(fake), torch.from_numpy(real), verbose=False)
        return {"precision": found["precision"], "recall": found["recall"]}

    def their_prdc() -> Numbers:
        from prdc import compute_prdc

        with contextlib.redirect_stdout(io.StringIO()):
            return compute_prdc(real, fake, nearest_k=5)

    frechet = Comparison(
        f"Frechet distance of moments, d = {size.d:,}",
        lambda: {"distance": frechet_distance(ours_real, ours_fake)},
        their_frechet,
        rounds=size.frechet_rounds,
    )
    return [
        Comparison(f"moments, {size.words}", our_moments, their_moments),
        frechet,
        Comparison(
            f"kernel distance, {size.words}, {size.num_subsets} subsets of {subset_size:,}",
            our_kernel, their_kernel, 1e-9, absolute=True, rounds=3,
        ),
        Comparison(
            f"precision and recall, {size.words}", lambda: precision_recall(real, fake, 3), their_precision, rounds=3
        ),
        Comparison(
            f"precision, recall, density, coverage, {size.words}",
            lambda: prdc(real, fake, 5, 5), their_prdc, rounds=3,
        ),
    ]  # fmt: skip


def of_probabilities(n: int, num_classes: int, seed: int) -> Comparison:
    rng = np.random.default_rng(seed)
    # unequal classes, and images of which the classifier is more and less sure
    logits = rng.normal(size=(n, num_classes)) * rng.uniform(0.5, 5.0, (n, 1)) + np.linspace(0, 2, num_classes)

    def ours() -> Numbers:
        return dict(zip(("mean", "deviation"), inception_score(softmax(logits, axis=1), seed=SEED), strict=True))

    def theirs() -> Numbers:
        import torch
        from torch_fidelity.metric_isc import isc_features_to_metric

        found = isc_features_to_metric(torch.from_numpy(logits), rng_seed=SEED)
        return dict(zip(("mean", "deviation"), found.values(), strict=True))

    return Comparison(f"Inception score, {num_classes:,} classes, n = {n:,}", ours, theirs)


def comparisons(scale: str, seed: int) -> list[Comparison]:
    sizes, subset, images = {
        "smoke": ([Size(60, 24, 2, 1), Size(80, 8, 2, 1)], 20, (50, 12)),
        "quick": ([Size(1500, 512, 10, 3), Size(3000, 64, 10, 3)], 500, (5000, 1008)),
        "full": ([Size(5000, 2048, 10, 3), Size(10_000, 128, 100, 5)], 1000, (10_000, 1008)),
    }[scale]
    return [*(one for size in sizes for one in of_features(size, seed, subset)), of_probabilities(*images, seed)]


def timed(function: Callable[[], Numbers]) -> tuple[Numbers, float]:
    began = time.perf_counter()
    return function(), time.perf_counter() - began


def compare(one: Comparison, rounds: int, with_peers: bool) -> tuple[float, list[tuple[float, float]], Numbers]:
    """The largest difference, the seconds (ours, theirs) of each round, and our numbers; alone without peers."""
    difference, seconds = 0.0, []
    ours: Numbers = {}
    for _ in range(rounds):
        ours, our_time = timed(one.ours)
        theirs, their_time = timed(one.theirs) if with_peers else (ours, float("nan"))
        difference = max(difference, one.difference(ours, theirs))
        seconds.append((our_time, their_time))
    return difference, seconds, ours


def importable() -> bool:
    # builds of torch and torchvision that do not fit each other end in a RuntimeError
    try:
        import prdc  # noqa: F401
        import torch_fidelity  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


def main() -> None:
    parser = arguments(__doc__ or "", seeds=1)
    flags = parser.parse_args()
    began = time.perf_counter()
    with_peers = importable()
    if not with_peers:
        print(NEEDED, file=sys.stderr)
        if not flags.smoke:
            sys.exit(2)
    differences: dict[str, list[float]] = {}
    seconds: dict[str, list[tuple[float, float]]] = {}
    failed, kinds, measured = [], {}, {}
    scale = "smoke" if flags.smoke else "quick" if flags.quick else "full"
    for one in comparisons("smoke", 0):
        # what is imported and started at the first call is no part of any round
        compare(one, 1, with_peers)
    for seed in range(flags.seeds):
        for one in comparisons(scale, seed):
            difference, times, numbers = compare(one, 1 if flags.smoke else one.rounds, with_peers)
            differences.setdefault(one.name, []).append(difference)
            seconds.setdefault(one.name, []).extend(times)
            kinds[one.name] = "absolute" if one.absolute else "relative"
            measured[one.name] = dict(numbers)
            print(f"{one.name}: difference {difference:.1e}, seconds {np.median(times, axis=0).round(3)}", flush=True)
            # written so that NaN fails too
            if not difference <= one.tolerance:
                failed.append(f"{one.name} differ by {difference:.1e}, more than {one.tolerance}")
    rows = []
    for name, found in differences.items():
        ours, theirs = np.array(seconds[name]).T
        rows.append(Row(name, f"{kinds[name]} difference", max(found) if with_peers else None, n_seeds=flags.seeds))
        rows.append(Row(name, "seconds", float(np.median(ours)), n_seeds=flags.seeds))
        speed: tuple[Any, ...] = (None, None, None)
        if with_peers:
            low, high = np.percentile(theirs / ours, [25, 75])
            speed = float(np.median(theirs) / np.median(ours)), float(high - low) / 2, SPREAD
        measured_speed, uncertainty, kind = speed
        rows.append(Row(name, "times as fast", measured_speed, uncertainty, kind, flags.seeds))
    details: dict[str, Any] = {"numbers": measured, "seconds": seconds}
    if with_peers:
        details["peers"] = {package: metadata.version(package) for package in ("torch-fidelity", "prdc", "torch")}
    protocol = (
        "the same arrays to both, in turns in one process; differences are the largest of all numbers and rounds, "
        "speeds the ratio of the medians of 3 to 5 rounds"
    )
    finish("metric_parity", None, protocol, rows, began, flags, details)
    if failed:
        sys.exit("metric_parity: " + "; ".join(failed))


if __name__ == "__main__":
    main()
