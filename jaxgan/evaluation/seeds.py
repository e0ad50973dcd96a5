"""What the members of a population say together: means over seeds with their standard errors, final and best."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.evaluation.record import Record, best_row, last_evaluations, read_record
from jaxgan.evaluation.rows import is_number, is_protocol, mapping, measured, number, protocol


@dataclass(frozen=True)
class Combination:
    """The members of a population that differ in nothing but the seed.

    records: of each member, as if it had been a run of its own; `mean` is all of them as one: rows hold the mean
    over the members, and its standard error beside each metric as ``metric_error``.
    """

    label: str
    values: Mapping[str, Any]
    members: tuple[int, ...]
    records: tuple[Record, ...]
    mean: Record

    @property
    def broken(self) -> tuple[int, ...]:
        """The members that had to be left out."""
        pairs = zip(self.members, self.records, strict=True)
        return tuple(member for member, record in pairs if any(row["event"] == "nan" for row in record.events))

    @property
    def whole(self) -> tuple[Record, ...]:
        """The records of the members that were not left out."""
        return tuple(r for m, r in zip(self.members, self.records, strict=True) if m not in self.broken)


def combinations(record: Record) -> tuple[Combination, ...]:
    """The members of a population by their values, in order; none for a single run."""
    by_values: dict[str, list[Mapping[str, Any]]] = {}
    for member in record.members:
        by_values.setdefault(json.dumps(member.get("values", {}), sort_keys=True), []).append(member)
    found = []
    for members in by_values.values():
        values = mapping(members[0].get("values"))
        label = ", ".join(f"{name} {value}" for name, value in values.items()) or "all seeds"
        numbers = tuple(int(member["member"]) for member in members)
        records = tuple(_of_member(record, number) for number in numbers)
        combination = Combination(label, values, numbers, records, record)
        rows = [
            _averaged([one.log for one in combination.whole]),
            _averaged([one.evaluations for one in combination.whole]),
            _averaged([one.measurements for one in combination.whole]),
        ]
        mean = replace(
            records[0],
            log=rows[0],
            evaluations=rows[1],
            measurements=rows[2],
            events=tuple(row for one in records for row in one.events),
            members=(),
        )
        found.append(replace(combination, mean=mean))
    return tuple(found)


def mean_and_error(values: Sequence[float]) -> dict[str, Any]:
    """{"mean", "error", "n"}: the standard error of the mean over the seeds, None for a single value."""
    array = np.asarray(values, np.float64)
    with np.errstate(invalid="ignore"):
        error = float(array.std(ddof=1) / np.sqrt(len(array))) if len(array) > 1 else None
    return {"mean": _plain(float(array.mean())), "error": _plain(error), "n": len(array)}


def final_and_best(combination: Combination) -> dict[str, dict[str, Any]]:
    """{kind/metric: {"final", "best"}}: `mean_and_error` over the members of the last and of each member's best value.

    "best" is None when the metric has no known direction or a member has no finite value.
    """
    found: dict[str, dict[str, Any]] = {}
    lasts = [last_evaluations(record) for record in combination.whole]
    for kind, metrics in {kind: measured(row) for last in lasts for kind, row in last.items()}.items():
        for metric in metrics:
            final = [number(last[kind].get(metric)) for last in lasts if kind in last]
            rows = [best_row(record, kind, metric) for record in combination.whole]
            best = [number(row[metric]) for row in rows if row is not None]
            complete = len(best) == len(rows)
            found[f"{kind}/{metric}"] = {
                "final": mean_and_error(final),
                "best": mean_and_error(best) if complete else None,
            }
    return found


def combined_evaluations(members: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Members evaluated at one checkpoint, {"member", "seed", "values", kind: {metric: value}}, as in `summary`."""
    by_values: dict[str, list[Mapping[str, Any]]] = {}
    for member in members:
        by_values.setdefault(json.dumps(member["values"], sort_keys=True), []).append(member)
    found = []
    for ours in by_values.values():
        kinds = [name for name, value in ours[0].items() if isinstance(value, dict) and name != "values"]
        metrics = {
            f"{kind}/{name}": {"final": mean_and_error([number(one[kind].get(name)) for one in ours]), "best": None}
            for kind in kinds
            for name in measured(ours[0][kind])
        }
        label = ", ".join(f"{name} {value}" for name, value in ours[0]["values"].items()) or "all seeds"
        numbers = [one["member"] for one in ours]
        found.append(
            {"label": label, "values": ours[0]["values"], "members": numbers, "broken": [], "metrics": metrics}
        )
    return found


def _of_member(record: Record, member: int) -> Record:
    def mine(rows: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
        return tuple(row for row in rows if row.get("member") == member)

    named = re.compile(rf"-member0*{member}$")
    return replace(
        record,
        log=mine(record.log),
        evaluations=mine(record.evaluations),
        events=mine(record.events),
        measurements=mine(record.measurements),
        samples=tuple((step, path) for step, path in record.samples if named.search(path.stem)),
        members=(),
    )


def _averaged(members: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[Mapping[str, Any], ...]:
    """Rows with the mean over the members of every number, and its standard error, at the steps that all have."""
    tables = [
        {(int(row["step"]), row.get("evaluation"), row.get("checkpoint")): row for row in rows} for rows in members
    ]
    shared = [key for key in (tables[0] if tables else ()) if all(key in table for table in tables)]
    averaged = []
    for key in shared:
        rows = [table[key] for table in tables]
        mean: dict[str, Any] = {}
        for name, value in rows[0].items():
            if name == "member" or (name.endswith("_error") and name.removesuffix("_error") in rows[0]):
                continue  # over subsets of samples, where that over seeds is to stand
            mean[name] = value
            if len(rows) > 1 and is_number(value) and not is_protocol(name) and name not in ("step", "seed"):
                over = mean_and_error([number(row.get(name)) for row in rows])
                mean[name] = over["mean"]
                if name != "seconds":
                    mean[f"{name}_error"] = over["error"]
        averaged.append(mean)
    return tuple(averaged)


def summary(run_directory: str | Path) -> dict[str, Any]:
    """One run in a few fields, ready for `json.dumps` (numbers that are not finite become None).

    ``name``, ``recipe``, ``data``, ``seed``; ``step`` reached and ``steps`` asked for; ``metrics``, the last evaluation
    of each kind as ``{"images/frechet_distance": ...}``; ``protocol``, how each kind was measured:
    ``{"images": {"step", "n_real", "n_fake", "features", "reference_hash", ...}}``. Unknown fields are None.
    A population has no `metrics` of its own, and ``population`` besides, a list of its combinations of values:
    ``{"label", "values", "members", "broken", "metrics": {"modes/modes": {"final", "best"}}}`` with
    ``{"mean", "error", "n"}`` over the seeds each. Raises ValueError for a directory that is not a run.
    """
    record = read_record(run_directory)
    found = combinations(record)
    last = last_evaluations(record)
    population = [
        {
            "label": one.label,
            "values": dict(one.values),
            "members": list(one.members),
            "broken": list(one.broken),
            "metrics": final_and_best(one),
        }
        for one in found
    ]
    return {
        "name": record.name,
        "recipe": record.recipe,
        "data": _plain(record.options.get("data", mapping(record.manifest.get("data")).get("name"))),
        "seed": _plain(record.options.get("seed")),
        "step": record.step,
        "steps": _plain(record.options.get("steps")),
        "metrics": {
            f"{kind}/{name}": _plain(value)
            for kind, row in last.items()
            for name, value in measured(row).items()
            if not found
        },
        "protocol": {
            kind: {"step": int(row["step"])} | {name: _plain(value) for name, value in protocol(row).items()}
            for kind, row in last.items()
        },
        **({"population": population} if found else {}),
        **({"measurements": [_finite(row) for row in record.measurements]} if record.measurements else {}),
    }


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
