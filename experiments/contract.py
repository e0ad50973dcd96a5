"""What all experiments share: their flags, the table they print, and the JSON they write."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.config import finite

RESULTS = Path(__file__).parent / "results"
VERSIONED = ("jaxgan", "jax", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclass(frozen=True)
class Row:
    """One measured number. `uncertainty_kind` says what the uncertainty is, such as "standard error over seeds"."""

    method: str
    metric: str
    measured: float | None
    uncertainty: float | None = None
    uncertainty_kind: str | None = None
    n_seeds: int = 1
    published: float | None = None
    published_uncertainty: float | None = None
    source: str | None = None


def arguments(description: str, seeds: int) -> argparse.ArgumentParser:
    """The flags of every experiment; `seeds` is how many the full protocol uses."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under two minutes; not the protocol")
    parser.add_argument("--smoke", action="store_true", help="two steps of tiny nets, for the tests")
    parser.add_argument("--seeds", type=int, default=seeds, help=f"how many seeds (default {seeds})")
    parser.add_argument("--out", type=Path, help="where the JSON goes (default: results/ for the full protocol only)")
    return parser


def finish(
    name: str,
    paper: str | None,
    protocol: str,
    rows: Sequence[Row],
    began: float,
    flags: argparse.Namespace,
    details: Any = None,
) -> None:
    """Prints the table and writes the JSON; `began` is time.perf_counter() at the start."""
    import jax

    reduced = flags.quick or flags.smoke
    content = {
        "experiment": name,
        "paper": paper,
        "protocol": f"reduced, not the protocol: {protocol}" if reduced else protocol,
        "rows": [asdict(row) for row in rows],
        "seconds": round(time.perf_counter() - began, 1),
        "device": f"{len(jax.devices())} x {jax.devices()[0].device_kind} ({platform.machine()})",
        "versions": {
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in VERSIONED},
        },
        "date": datetime.now(UTC).date().isoformat(),
    }
    if details is not None:
        content["details"] = details
    print(f"{name}: {content['protocol']}")
    print(table(rows))
    out = flags.out or (None if reduced else RESULTS / f"{name}.json")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(finite(content), indent=1) + "\n")
        print(f"written to {out}", file=sys.stderr)


def over_seeds(method: str, metric: str, values: ArrayLike, **published: Any) -> Row:
    """The mean over seeds and its standard error; `values` has one number a seed. published: further fields of Row."""
    found = np.asarray(values, np.float64)
    # the mean of equal numbers is not that number in floating point, and would make an uncertainty of nothing
    found, n = found[:1] if np.ptp(found) == 0 else found, len(found)
    error = None if n < 2 else float(found.std(ddof=1) / np.sqrt(n)) if len(found) > 1 else 0.0
    kind = "standard error over seeds" if error is not None else None
    return Row(method, metric, float(found.mean()), error, kind, n, **published)


def committed(name: str, protocol: str) -> list[Row]:
    """The rows of one protocol of several, "method (protocol)", in the committed result of an experiment."""
    path = RESULTS / f"{name}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return [Row(**row) for row in rows if row["method"].endswith(f" ({protocol})")]


def table(rows: Sequence[Row | dict[str, Any]]) -> str:
    """Rows as a Markdown table, ours beside the published numbers."""
    dicts = [row if isinstance(row, dict) else asdict(row) for row in rows]
    cells = [["method", "metric", "measured", "seeds", "published"]]
    for row in dicts:
        measured = number(row["measured"], row["uncertainty"])
        published = number(row["published"], row["published_uncertainty"]) if row["published"] is not None else ""
        cells.append([row["method"], row["metric"], measured, str(row["n_seeds"]), published])
    if all(not row[-1] for row in cells[1:]):
        cells = [row[:-1] for row in cells]
    return aligned(cells)


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first of them the header, as a Markdown table."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def number(value: float | None, uncertainty: float | None) -> str:
    if value is None:
        return "pending"
    return f"{value:.4g}" if uncertainty is None else f"{value:.4g} ± {uncertainty:.2g}"
