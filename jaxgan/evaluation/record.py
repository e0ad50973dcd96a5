"""Reads back what a run left in its directory, finished or not."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

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

Curve = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Record:
    """What a run directory tells.

    Rows are as in metrics.jsonl, in order of step; `problems` says what could not be read;
    `samples` are (step, path) in order of step; `reals` is None where there is no such picture.
    `members` are those of config.json, each with "member", "seed" and "values"; none for a single run. Rows and
    samples of a population are those of all members: `combinations` sorts them out. `measurements` are the rows of
    evaluations.jsonl: the full protocol at the end, on the checkpoint that each names, final or best.
    """

    name: str
    directory: Path
    recipe: str
    config: Mapping[str, Any]
    options: Mapping[str, Any]
    version: str
    manifest: Mapping[str, Any]
    log: tuple[Mapping[str, Any], ...]
    evaluations: tuple[Mapping[str, Any], ...]
    events: tuple[Mapping[str, Any], ...]
    samples: tuple[tuple[int, Path], ...]
    reals: Path | None
    problems: tuple[str, ...]
    members: tuple[Mapping[str, Any], ...] = ()
    measurements: tuple[Mapping[str, Any], ...] = ()

    @property
    def step(self) -> int:
        """The last step that any row or sample speaks of; 0 for a run that left none."""
        rows = [*self.log, *self.evaluations, *self.events]
        return max([0, *(int(row["step"]) for row in rows), *(step for step, _ in self.samples)])


def read_record(run_directory: str | Path) -> Record:
    """Reads config.json, manifest.json, metrics.jsonl, samples/ and reals.png of a run, as far as they are there.

    A line that was cut off by an interruption, and NaN or Infinity, are tolerated. When a run was resumed from an
    earlier step, the log and evaluation rows that it took back are dropped, so a curve has one value a step.
    Raises ValueError for a directory with none of the three files.
    """
    directory = Path(run_directory)
    names = ("config.json", "manifest.json", "metrics.jsonl")
    if not any((directory / name).is_file() for name in names):
        raise ValueError(f"{directory} is not a run directory: it has none of {', '.join(names)}")
    problems: list[str] = []
    config = _read_object(directory / "config.json", problems)
    manifest = _read_object(directory / "manifest.json", problems)
    log, evaluations, events = _sorted_rows(_read_rows(directory / "metrics.jsonl", problems))
    samples = [
        (int(match.group()), path)
        for path in (directory / "samples").glob("*.png")
        if (match := re.search(r"\d+", path.stem))
    ]
    reals = directory / "reals.png"
    return Record(
        name=directory.resolve().name,
        directory=directory,
        recipe=str(config.get("recipe", "unknown")),
        config=_object(config.get("config")),
        options=_object(config.get("options")),
        version=str(config.get("version", "unknown")),
        manifest=manifest,
        log=log,
        evaluations=evaluations,
        events=events,
        samples=tuple(sorted(samples)),
        reals=reals if reals.is_file() else None,
        problems=tuple(problems),
        members=tuple(m for m in config.get("members", ()) if isinstance(m, dict) and "member" in m),
        measurements=tuple(_read_rows(directory / "evaluations.jsonl", problems))
        if (directory / "evaluations.jsonl").is_file()
        else (),
    )


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
        values = _object(members[0].get("values"))
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
            if len(rows) > 1 and _is_number(value) and not _is_protocol(name) and name not in ("step", "seed"):
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
        "data": _plain(record.options.get("data", _object(record.manifest.get("data")).get("name"))),
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


def measured(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of one evaluation row: its numbers, less step, time and `protocol`."""
    return {
        name: number(value)
        for name, value in row.items()
        if name not in BOOKKEEPING and not _is_protocol(name) and _is_number(value)
    }


def protocol(row: Mapping[str, Any]) -> dict[str, Any]:
    """How one evaluation row was measured: feature net, reference, counts. Rows that differ here are not comparable."""
    return {
        name: value
        for name, value in row.items()
        if name not in (*BOOKKEEPING, "evaluation")
        and (_is_protocol(name) or not isinstance(value, (int, float, list, type(None))))
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


def last_evaluations(record: Record) -> dict[str, Mapping[str, Any]]:
    """The latest row of each kind of evaluation, by kind."""
    return {str(row["evaluation"]): row for row in record.evaluations}


def best_row(record: Record, kind: str, metric: str) -> Mapping[str, Any] | None:
    """The row of evaluation `kind` with the best finite `metric`, the earliest of equals.

    Only rows measured as the last one was are compared. None when the metric has no known direction or no finite value.
    """
    sign = direction(metric)
    rows = [row for row in record.evaluations if row["evaluation"] == kind]
    rows = [row for row in rows if protocol(row) == protocol(rows[-1]) and math.isfinite(number(row.get(metric)))]
    return max(rows, key=lambda row: (sign * number(row[metric]), -int(row["step"]))) if sign and rows else None


def direction(metric: str) -> int:
    """1 when a higher value of `metric` is better, -1 when a lower one is, 0 when unknown."""
    name = metric.rsplit("/", 1)[-1]
    return (name in HIGHER_IS_BETTER) - (name in LOWER_IS_BETTER)


def log_curves(record: Record) -> dict[str, Curve]:
    """Each metric of the log rows as (steps [n], values [n]), in the order of first appearance; null reads as NaN."""
    return _curves((row, row) for row in record.log)


def evaluation_curves(record: Record) -> dict[str, Curve]:
    """Each metric of the evaluation rows as (steps [n], values [n]), named kind/metric."""
    return _curves(
        (row, {f"{row['evaluation']}/{name}": value for name, value in measured(row).items()})
        for row in record.evaluations
    )


def number(value: Any) -> float:
    """A JSON value as a float; NaN for null and for whatever is not a number."""
    return float(value) if _is_number(value) and value is not None else math.nan


def _curves(rows: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Curve]:
    points: dict[str, list[tuple[int, float]]] = {}
    for row, values in rows:
        for name, value in values.items():
            if name not in ("step", "member") and _is_number(value):
                points.setdefault(name, []).append((int(row["step"]), number(value)))
    return {
        name: (np.array([step for step, _ in pairs]), np.array([value for _, value in pairs]))
        for name, pairs in points.items()
    }


def _read_object(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(f"{path.name} is missing")
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} cannot be read: {error}")
        return {}
    if not isinstance(content, dict):
        problems.append(f"{path.name} does not hold an object")
        return {}
    return content


def _read_rows(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        problems.append(f"{path.name} is missing")
        return []
    rows, unreadable = [], []
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            unreadable.append(place)
            continue
        if isinstance(row, dict) and math.isfinite(number(row.get("step"))):
            rows.append(row)
        else:
            unreadable.append(place)
    if unreadable == [len(lines)]:
        problems.append(f"the last line of {path.name} is cut off, as an interruption leaves it")
    elif unreadable:
        problems.append(f"{len(unreadable)} lines of {path.name} cannot be read, first line {unreadable[0]}")
    return rows


def _sorted_rows(rows: list[dict[str, Any]]) -> tuple[tuple[dict[str, Any], ...], ...]:
    """Log, evaluation and event rows in order of step; each member of a population has rows of its own."""
    members: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        members.setdefault(row.get("member"), []).append(row)
    parts = [_sorted_rows_of_one(ours) for ours in members.values()]
    together: list[list[dict[str, Any]]] = [[row for one in parts for row in one[i]] for i in range(3)]
    if len(parts) > 1:
        together = [sorted(part, key=lambda row: int(row["step"])) for part in together]
    return tuple(tuple(part) for part in together)


def _sorted_rows_of_one(rows: list[dict[str, Any]]) -> tuple[tuple[dict[str, Any], ...], ...]:
    log: list[dict[str, Any]] = []
    evaluations: dict[tuple[str, int], dict[str, Any]] = {}
    events: list[dict[str, Any]] = []
    for row in rows:
        step = int(row["step"])
        if "event" in row:
            events.append(row)
        elif "evaluation" in row:
            evaluations[str(row["evaluation"]), step] = row
        else:
            if log and step <= int(log[-1]["step"]):
                # Only a resumed run logs a step again. What its first life did beyond that is not its past.
                log = [old for old in log if int(old["step"]) < step]
                evaluations = {key: old for key, old in evaluations.items() if key[1] <= step}
            log.append(row)
    return tuple(log), tuple(sorted(evaluations.values(), key=lambda row: int(row["step"]))), tuple(events)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))


def _is_protocol(name: str) -> bool:
    return name in PROTOCOL_FIELDS or name.startswith(("n_", "num_"))


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
