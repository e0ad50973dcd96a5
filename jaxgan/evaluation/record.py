"""Reads back what a run left in its directory, finished or not."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.evaluation.rows import direction, is_number, mapping, measured, number, protocol

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
        config=mapping(config.get("config")),
        options=mapping(config.get("options")),
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


def log_curves(record: Record) -> dict[str, Curve]:
    """Each metric of the log rows as (steps [n], values [n]), in the order of first appearance; null reads as NaN."""
    return _curves((row, row) for row in record.log)


def evaluation_curves(record: Record) -> dict[str, Curve]:
    """Each metric of the evaluation rows as (steps [n], values [n]), named kind/metric."""
    return _curves(
        (row, {f"{row['evaluation']}/{name}": value for name, value in measured(row).items()})
        for row in record.evaluations
    )


def _curves(rows: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Curve]:
    points: dict[str, list[tuple[int, float]]] = {}
    for row, values in rows:
        for name, value in values.items():
            if name not in ("step", "member") and is_number(value):
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
