"""A page that compares runs: `write_comparison`. What one run says of itself is drawn as in `report`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.evaluation.chart import NUM_COLOURS, Point, Series, line_chart, scatter_chart
from jaxgan.evaluation.page import escaped, flattened, note, picture, section, table, write_page
from jaxgan.evaluation.record import Record, evaluation_curves, last_evaluations, log_curves, read_record
from jaxgan.evaluation.report import (
    EMBED_BYTES,
    events,
    is_loss,
    mapping,
    metric_name,
    notes,
    protocol_line,
    warning_box,
    with_error,
    without_errors,
)
from jaxgan.evaluation.rows import difference, direction, label_of, measured, number, protocol
from jaxgan.evaluation.seeds import combinations


def write_comparison(run_directories: Sequence[str | Path], out_path: str | Path) -> Path:
    """Writes one page about several runs to `out_path` and returns it: metrics, differing settings, samples, curves.

    The best value of a metric is marked only when all runs were measured alike (same feature net,
    reference and counts); otherwise the page says in what they differ. Raises ValueError for no run at all, and
    for a directory that is not a run.
    """
    if not run_directories:
        raise ValueError("write_comparison needs at least one run directory")
    runs = _labelled([one for directory in run_directories for one in _comparable(read_record(directory))])
    title = f"{len(runs)} runs compared"
    names = "".join(
        f'<li><i style="background:var(--line-{place % NUM_COLOURS})"></i>{escaped(label)}</li>'
        for place, label in enumerate(runs)
    )
    body = [
        f'<header><h1>{escaped(title)}</h1><ul class="legend">{names}</ul></header>',
        warning_box(
            [
                (label, text)
                for label, record in runs.items()
                for text in (*(f"{head} {message}" for head, message in events(record)), *notes(record))
            ]
        ),
        _compared_metrics(runs),
        _compared_measurements(runs),
        _compared_settings(runs),
        _compared_samples(runs),
        _compared_curves(runs),
    ]
    return write_page(Path(out_path), title, body)


def _compared_metrics(runs: Mapping[str, Record]) -> str:
    lasts = {label: last_evaluations(record) for label, record in runs.items()}
    parts = []
    for kind in dict.fromkeys(kind for last in lasts.values() for kind in last):
        rows = {label: last.get(kind, {}) for label, last in lasts.items()}
        values = {label: measured(row) for label, row in rows.items()}
        names = list(dict.fromkeys(name for one in values.values() for name in without_errors(one)))
        differing = _differing([protocol(row) for row in rows.values() if row])
        best = {name: _best([one.get(name, math.nan) for one in values.values()], name) for name in names}
        table_rows = []
        for label, row in rows.items():
            cells = []
            for name in names:
                marked = not differing and values[label].get(name) == best[name] is not None
                cells.append(f"<td{' class=best' if marked else ''}>{escaped(with_error(values[label], name))}</td>")
            step = f"{int(row['step']):,}" if row else "–"
            table_rows.append(f"<tr><th>{escaped(label)}</th><td>{step}</td>{''.join(cells)}</tr>")
        head = "".join(f"<th>{metric_name(name)}</th>" for name in names)
        parts.append(table(f"<tr><th>{escaped(kind)}</th><th>step</th>{head}</tr>", table_rows))
        if differing:
            parts.append(
                note(f"not comparable: the runs were measured with different {', '.join(differing)}", "caution")
            )
        else:
            parts.append(note(protocol_line(next(row for row in rows.values() if row))))
    return section("Final metrics", "".join(parts) or note("no run was evaluated"))


def _compared_measurements(runs: Mapping[str, Record]) -> str:
    """Final and best checkpoint by the full protocol; no best is marked between rows measured differently."""
    parts = []
    for checkpoint in ("final", "best"):
        rows = {
            label: next((row for row in record.measurements if row.get("checkpoint") == checkpoint), None)
            for label, record in runs.items()
        }
        there = {label: row for label, row in rows.items() if row is not None}
        if not there:
            continue
        first_label, first = next(iter(there.items()))
        unlike = [
            f"{first_label} and {label} differ in {how}"
            for label, row in there.items()
            if (how := difference(first, row)) is not None
        ]
        lines = []
        for name in without_errors(dict.fromkeys(name for row in there.values() for name in measured(row))):
            signed = [direction(name) * number(row.get(name)) for row in there.values()]
            finite = [value for value in signed if math.isfinite(value)]
            cells = []
            for row in there.values():
                ours = direction(name) * number(row.get(name))
                best = not unlike and direction(name) and finite and min(finite) < ours == max(finite)
                cell = escaped(with_error(measured(row), name))
                cells.append(f'<td class="best">{cell}</td>' if best else f"<td>{cell}</td>")
            shown = name if unlike else label_of(name, first)
            lines.append(f"<tr><th>{metric_name(name, shown)}</th>{''.join(cells)}</tr>")
        head = "".join(f"<th>{escaped(label)}</th>" for label in there)
        parts.append(table(f"<tr><th>{checkpoint} checkpoint</th>{head}</tr>", lines))
        if unlike:
            parts.append(note(f"not comparable: {'; '.join(unlike)}", "caution"))
        pairs = [
            Point(label, number(row.get("precision")), number(row.get("recall")))
            for label, row in there.items()
            if "precision" in row
        ]
        parts.append(
            note("± is over the training seeds of a population, and over subsets of the samples of a single run")
        )
        if checkpoint == "final" and len(pairs) > 1 and not unlike:
            parts.append(f'<div class="charts">{scatter_chart(pairs, "precision", "recall")}</div>')
    return section("Evaluation at the end", "".join(parts)) if parts else ""


def _compared_settings(runs: Mapping[str, Record]) -> str:
    settings = [
        {"recipe": record.recipe, "jaxgan": record.version}
        | flattened(record.options, "options.")
        | flattened(record.config, "config.")
        | flattened(mapping(record.manifest.get("data")), "data.")
        for record in runs.values()
    ]
    rows = []
    for name in _differing(settings):
        cells = "".join(f"<td>{escaped(one[name]) if name in one else '–'}</td>" for one in settings)
        rows.append(f"<tr><th>{escaped(name)}</th>{cells}</tr>")
    head = f"<tr><th></th>{''.join(f'<th>{escaped(label)}</th>' for label in runs)}</tr>"
    return section("Settings that differ", table(head, rows) if rows else note("the runs have the same settings"))


def _compared_samples(runs: Mapping[str, Record]) -> str:
    pictures = [
        picture(path, f"{label}, step {step:,}", EMBED_BYTES)
        for label, record in runs.items()
        for step, path in record.samples[-1:]
    ]
    reals = [record.reals for record in runs.values() if record.reals is not None]
    pictures += [picture(path, "reals", EMBED_BYTES) for path in reals[:1]]
    content = f'<div class="pair">{"".join(pictures)}</div>' if pictures else note("no samples were saved")
    return section("Final samples", content)


def _compared_curves(runs: Mapping[str, Record]) -> str:
    curves, errors = {}, {}
    names = {record.directory.resolve().name for record in runs.values()}
    for label, record in runs.items():
        evaluations, log = evaluation_curves(record), log_curves(record)
        curves[label] = {name: evaluations[name] for name in without_errors(evaluations)}
        curves[label] |= {name: curve for name, curve in log.items() if is_loss(name)}
        # bands are of populations alone: the error of one evaluation is not that of a mean over seeds
        both = {**evaluations, **log} if record.name not in names else {}
        errors[label] = {name: both[f"{name}_error"][1] for name in curves[label] if f"{name}_error" in both}
    absent = (np.zeros(0), np.zeros(0))
    charts = [
        # A run without this metric keeps its place, so that a run has one colour in all charts.
        line_chart([Series(n, *one.get(name, absent), errors[n].get(name)) for n, one in curves.items()], name)
        for name in dict.fromkeys(name for one in curves.values() for name in one)
    ]
    return section("Curves", f'<div class="charts">{"".join(charts)}</div>' if charts else note("nothing was logged"))


def _labelled(records: Sequence[Record]) -> dict[str, Record]:
    """Records by directory name, with the path where names repeat. One directory given twice is one run."""
    names = [record.name for record in records]

    def full(record: Record) -> str:
        path = record.directory.resolve()
        return f"{path}{record.name.removeprefix(path.name)}"

    return {record.name if names.count(record.name) == 1 else full(record): record for record in records}


def _differing(descriptions: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names whose values are not the same, or not there, in all descriptions."""
    absent = object()
    names = dict.fromkeys(name for one in descriptions for name in one)
    return [
        name
        for name in names
        if any(one.get(name, absent) != descriptions[0].get(name, absent) for one in descriptions)
    ]


def _best(values: Iterable[float], metric: str) -> float | None:
    """The best finite value; None when the metric has no known direction or all values are the same."""
    finite = {value for value in values if math.isfinite(value)}
    sign = direction(metric)
    return max(finite, key=lambda value: sign * value) if sign and len(finite) > 1 else None


def _comparable(record: Record) -> list[Record]:
    """A single run as it is, a population as the mean of each of its combinations of values."""
    return [replace(one.mean, name=f"{record.name}: {one.label}") for one in combinations(record)] or [record]
