"""What a row of a run's files says: which numbers are metrics, how they were measured, which way is better."""

import math
from collections.abc import Mapping
from typing import Any

# The last component of a metric's name, and which way is better. A metric in neither set has no best row.
LOWER_IS_BETTER = frozenset(
    {
        "frechet_distance",
        "frechet_infinity",
        "fid",
        "fid_infinity",
        "kernel_distance",
        "kid",
        "mmd2",
        "wasserstein",
        "sliced_wasserstein",
        "reverse_kl",
        "class_kl",
        "nll",
        "path_length",
        "code_error",
        "l1",
        "cycle_l1",
    }
)
HIGHER_IS_BETTER = frozenset(
    {
        "recognised",
        "classes",
        "modes",
        "high_quality",
        "inception_score",
        "classifier_score",
        "precision",
        "recall",
        "coverage",
        "accuracy",
        "others_kept",
        "class_kept",
        "agreement",
        "classification_accuracy",
        "psnr",
        "ssim",
    }
)
# Spread and bookkeeping around the numbers: how they were measured, not what came out.
PROTOCOL_FIELDS = frozenset({"features", "reference_hash", "resizer", "split", "identity", "threshold", "subset_size"})

# which row it is, not what it says
BOOKKEEPING = ("step", "seconds", "member", "seed", "checkpoint", "images")


def measured(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of one evaluation row: its numbers, less step, time and `protocol`."""
    return {
        name: number(value)
        for name, value in row.items()
        if name not in BOOKKEEPING and not is_protocol(name) and is_number(value)
    }


def protocol(row: Mapping[str, Any]) -> dict[str, Any]:
    """How one evaluation row was measured: feature net, reference, counts. Rows that differ here are not comparable."""
    return {
        name: value
        for name, value in row.items()
        if name not in (*BOOKKEEPING, "evaluation")
        and (is_protocol(name) or not isinstance(value, (int, float, list, type(None))))
    }


def label_of(metric: str, row: Mapping[str, Any]) -> str:
    """How a metric of a row is shown: a distance carries the net it was measured on, FD(classifier-mnist)."""
    short = {"frechet_distance": "FD", "frechet_infinity": "FD-infinity", "kernel_distance": "KD"}
    return f"{short[metric]}({row['features']})" if metric in short and "features" in row else metric


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """In what two evaluation rows were measured differently, or None: such rows are no comparison.

    "features: classifier-mnist and random-conv-0". What only one of them says belongs to a metric that only it has.
    """
    one, other = protocol(a), protocol(b)
    for name in one:
        if name in other and one[name] != other[name]:
            return f"{name}: {one[name]} and {other[name]}"
    return None


def direction(metric: str) -> int:
    """1 when a higher value of `metric` is better, -1 when a lower one is, 0 when unknown."""
    name = metric.rsplit("/", 1)[-1]
    return (name in HIGHER_IS_BETTER) - (name in LOWER_IS_BETTER)


def number(value: Any) -> float:
    """A JSON value as a float; NaN for null and for whatever is not a number."""
    return float(value) if is_number(value) and value is not None else math.nan


def is_number(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))


def is_protocol(name: str) -> bool:
    return name in PROTOCOL_FIELDS or name.startswith(("n_", "num_"))


def mapping(value: Any) -> dict[str, Any]:
    """A JSON value as an object; empty for whatever is none."""
    return value if isinstance(value, dict) else {}
