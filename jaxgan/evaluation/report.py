"""The page about a run: `write_report`. Several on one page are `comparison`'s.

A page is one file that needs no network: pictures are embedded, curves are inline SVG, and a content
security policy forbids the browser to load anything else. Everything that came from a run is escaped.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.evaluation.chart import (
    Series,
    format_number,
    line_chart,
)
from jaxgan.evaluation.page import as_text, definitions, escaped, note, picture, section, table, write_page
from jaxgan.evaluation.record import Record, best_row, evaluation_curves, last_evaluations, log_curves, read_record
from jaxgan.evaluation.rows import direction, label_of, measured, number, protocol
from jaxgan.evaluation.seeds import Combination, combinations, final_and_best, mean_and_error

NUM_GRIDS = 12
# Beside others a picture above this size is shrunk, so that a page of 256x256 grids stays a few megabytes.
EMBED_BYTES = 400_000
EMBED_BYTES_LARGE = 3_000_000


def write_report(run_directory: str | Path) -> Path:
    """Writes report.html into a run directory and returns its path; an older report is replaced.

    The page shows the command, events and warnings, the final and the best metrics, samples over time beside
    reals, curves, the configuration and the manifest. A run that is still going, was interrupted or lost files
    gets a page with what there is and a note on what is missing. Raises ValueError for a directory that is not a run.
    """
    record = read_record(run_directory)
    members = combinations(record)
    body = [
        _header(record),
        _warnings(record),
        _measurements(record, members),
        _metrics_of_members(members) if members else _metrics(record),
        _samples_of_members(members, record) if members else _samples(record),
        _evidence(record),
        _curves_of_members(members) if members else _curves(record),
        _configuration(record),
        _manifest(record),
    ]
    return write_page(record.directory / "report.html", record.name, body)


def _header(record: Record) -> str:
    options, manifest = record.options, record.manifest
    steps = options.get("steps")
    seconds = [number(row.get("seconds")) for row in record.log]
    facts = {
        "recipe": record.recipe,
        "data": options.get("data", mapping(manifest.get("data")).get("name")),
        "seed": options.get("seed") if not record.members else None,
        "members": f"{len(record.members)}" if record.members else None,
        "step": f"{record.step:,}" + ("" if steps is None else f" of {format_number(number(steps))}"),
        "trained for": _duration(seconds[-1]) if seconds and math.isfinite(seconds[-1]) else None,
        "device": _devices(manifest.get("devices")),
        "date": manifest.get("date"),
    }
    items = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
        for name, value in facts.items()
        if value is not None
    )
    command = manifest.get("command")
    line = f"<pre><code>{escaped(command)}</code></pre>" if command else note("the command was not recorded")
    return f'<header><h1>{escaped(record.name)}</h1><dl class="facts">{items}</dl>{line}</header>'


def notes(record: Record) -> list[str]:
    """What a reader must know before the numbers: unreadable files, losses that were not finite, an unfinished run."""
    notes = list(record.problems)
    # of a population, the events say which member broke
    for name, (steps, values) in ({} if record.members else log_curves(record)).items():
        bad = steps[~np.isfinite(values)]
        if is_loss(name) and len(bad):
            notes.append(f"{name} is not finite in {len(bad)} of {len(steps)} rows, first at step {bad[0]:,}")
    steps_asked = number(record.options.get("steps"))
    if record.step < steps_asked:
        notes.append(f"the run stands at step {record.step:,} of {format_number(steps_asked)}")
    return notes


def _warnings(record: Record) -> str:
    return warning_box([*events(record), *(("", text) for text in notes(record))])


def events(record: Record) -> list[tuple[str, str]]:
    def of(row: Mapping[str, Any]) -> str:
        return f"member {row['member']} · " if "member" in row else ""

    return [
        (f"step {int(row['step']):,} · {of(row)}{as_text(row['event'])}", as_text(row.get("message", "")))
        for row in record.events
    ]


def warning_box(notes: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<li>{f'<b>{escaped(head)}</b> ' if head else ''}{escaped(text)}</li>" for head, text in notes)
    return section("Events and warnings", f"<ul>{items}</ul>", "warnings") if notes else ""


def _measurements(record: Record, members: Sequence[Combination]) -> str:
    """The full protocol on the final and the best checkpoint; of a population the mean over its seeds."""
    parts = []
    for label, runs in [(one.label, one.whole) for one in members] or [("", (record,))]:
        rows = [row for run in runs for row in run.measurements]
        columns = {
            name: [row for row in rows if row.get("checkpoint") == name]
            for name in dict.fromkeys(str(row.get("checkpoint")) for row in rows)
        }
        if not rows:
            continue
        head = "".join(
            f"<th>{escaped(name)}, step {int(ones[0]['step']):,}</th>" if not members else f"<th>{escaped(name)}</th>"
            for name, ones in columns.items()
        )
        lines = []
        for metric in without_errors(measured(rows[0])):
            cells = []
            for ones in columns.values():
                shown = _mean(mean_and_error([number(one.get(metric)) for one in ones]))
                cells.append(f"<td>{escaped(shown if members else with_error(measured(ones[0]), metric))}</td>")
            lines.append(f"<tr><th>{metric_name(metric, label_of(metric, rows[0]))}</th>{''.join(cells)}</tr>")
        count = f"{label}, {len(next(iter(columns.values())))} seeds" if members else "images"
        parts.append(table(f"<tr><th>{escaped(count)}</th>{head}</tr>", lines) + note(protocol_line(rows[0])))
    if not parts:
        return ""
    spread = "mean ± standard error over training seeds" if members else "± is over subsets of these samples, not seeds"
    return section("Evaluation at the end", "".join(parts) + note(spread))


def _metrics(record: Record) -> str:
    parts = []
    for kind, last in last_evaluations(record).items():
        values = measured(last)
        rows = []
        for name in without_errors(values):
            best = best_row(record, kind, name)
            value, step = (format_number(number(best[name])), f"{int(best['step']):,}") if best else ("–", "–")
            rows.append(
                f"<tr><th>{metric_name(name)}</th><td><b>{escaped(with_error(values, name))}</b></td>"
                f"<td>{escaped(value)}</td><td>{step}</td></tr>"
            )
        head = (
            f"<tr><th>{escaped(kind)}</th><th>last, step {int(last['step']):,}</th><th>best</th><th>at step</th></tr>"
        )
        parts.append(table(head, rows) + note(protocol_line(last)))
    title = "Metrics during training" if record.measurements else "Metrics"
    return section(title, "".join(parts) or note("no evaluation was made"))


def _metrics_of_members(members: Sequence[Combination]) -> str:
    """A table for each kind of evaluation: a row for each combination of values, its final and its best values."""
    found = {one.label: final_and_best(one) for one in members}
    parts = []
    for kind in dict.fromkeys(name.partition("/")[0] for metrics in found.values() for name in metrics):
        names = [n for n in dict.fromkeys(n for m in found.values() for n in m) if n.startswith(f"{kind}/")]
        names = [name for name in without_errors(dict.fromkeys(names)) if _protocol_free(members, name)]
        for moment in ("final", "best"):
            shown = [n for n in names if moment == "final" or any(m.get(n, {}).get("best") for m in found.values())]
            rows = []
            for one in members:
                cells = "".join(
                    f"<td>{escaped(_mean(found[one.label].get(name, {}).get(moment)))}</td>" for name in shown
                )
                count = f"{len(one.whole)}" + (f" of {len(one.members)}" if one.broken else "")
                rows.append(f"<tr><th>{escaped(one.label)}</th><td>{count}</td>{cells}</tr>")
            head = "".join(f"<th>{metric_name(name.partition('/')[2])}</th>" for name in shown)
            title = {"final": f"{kind}, last", "best": f"{kind}, best of each member"}[moment]
            if shown:
                parts.append(table(f"<tr><th>{escaped(title)}</th><th>seeds</th>{head}</tr>", rows))
        row = next((last_evaluations(r)[kind] for c in members for r in c.whole if kind in last_evaluations(r)), None)
        parts.append(note("mean ± standard error over seeds" + (f" · {protocol_line(row)}" if row else "")))
    return section("Metrics", "".join(parts) or note("no evaluation was made"))


def _protocol_free(members: Sequence[Combination], name: str) -> bool:
    kind, _, metric = name.partition("/")
    return any(metric in measured(row) for one in members for row in one.mean.evaluations if row["evaluation"] == kind)


def _mean(value: Mapping[str, Any] | None) -> str:
    if not value or value["mean"] is None:
        return "–"
    error = value["error"]
    return format_number(value["mean"]) + ("" if error is None else f" ± {format_number(error)}")


def _samples_of_members(members: Sequence[Combination], record: Record) -> str:
    """The last sheet of every member, by combination."""
    if not record.samples:
        return section("Samples", note("no samples were saved"))
    parts = []
    if record.reals is not None:
        parts.append(f'<div class="strip">{picture(record.reals, "reals", EMBED_BYTES)}</div>')
    for one in members:
        sheets = "".join(
            picture(path, f"member {number}, step {step:,}", EMBED_BYTES)
            for number, record_of_one in zip(one.members, one.records, strict=True)
            for step, path in record_of_one.samples[-1:]
        )
        parts.append(f'<h3>{escaped(one.label)}</h3><div class="strip">{sheets}</div>')
    return section("Samples", "".join(parts))


def _curves_of_members(members: Sequence[Combination]) -> str:
    """Each metric in a chart of its own: a line for each combination, the mean over seeds within its standard error."""
    curves = {one.label: (log_curves(one.mean), evaluation_curves(one.mean)) for one in members}
    absent = (np.zeros(0), np.zeros(0))
    charts: list[tuple[bool, str]] = []
    for part, fewest in ((1, 2), (0, 1)):
        for name in without_errors(dict.fromkeys(n for both in curves.values() for n in both[part])):
            if name == "seconds":
                continue
            series = []
            for label, both in curves.items():
                errors = both[part].get(f"{name}_error")
                series.append(Series(label, *both[part].get(name, absent), None if errors is None else errors[1]))
            if max(len(one.steps) for one in series) >= fewest:
                charts.append((part == 0 and not is_loss(name), line_chart(series, name)))
    # losses and evaluations first
    content = "".join(chart for _, chart in sorted(charts, key=lambda one: one[0]))
    if not content:
        return section("Curves", note("nothing was logged"))
    bands = note("lines are means over seeds, bands their standard error")
    return section("Curves", f'<div class="charts">{content}</div>{bands}')


def _samples(record: Record) -> str:
    large = [picture(path, f"samples, step {step:,}", EMBED_BYTES_LARGE) for step, path in record.samples[-1:]]
    if record.reals is not None:
        large.append(picture(record.reals, "reals", EMBED_BYTES_LARGE))
    if not large:
        return section("Samples", note("no samples were saved"))
    strip = ""
    if len(record.samples) > 1:
        chosen = _evenly(record.samples, NUM_GRIDS)
        pictures = "".join(picture(path, f"step {step:,}", EMBED_BYTES) for step, path in chosen)
        strip = f'<h3>Over time</h3><div class="strip">{pictures}</div>'
    return section("Samples", f'<div class="pair">{"".join(large)}</div>{strip}')


def _evidence(record: Record) -> str:
    captions = {
        "neighbours.png": "samples (left) beside their nearest training images on the feature net",
        "classes.png": "samples by the class that the classifier sees; black where there are none",
    }
    found = "".join(
        picture(record.directory / name, caption, EMBED_BYTES)
        for name, caption in captions.items()
        if (record.directory / name).is_file()
    )
    return section("Nearest neighbours and classes", f'<div class="pair">{found}</div>') if found else ""


def _curves(record: Record) -> str:
    """All losses in one chart; every other metric in its own, for scales differ, sorted by the prefix of its name."""
    log, evaluations = log_curves(record), evaluation_curves(record)
    losses = [Series(name, *curve) for name, curve in log.items() if is_loss(name)]
    first = [line_chart(losses, "losses")] if losses else []
    # one evaluation is no curve: the table has it
    measured = {name: curve for name, curve in evaluations.items() if len(curve[0]) > 1}
    first += [line_chart([Series(name, *measured[name])], name) for name in without_errors(measured)]
    groups: dict[str, list[str]] = {}
    constants = []
    for name, (steps, values) in log.items():
        if is_loss(name) or name == "seconds":
            continue
        if len(values) > 1 and (values == values[0]).all():
            constants.append(f"{name} = {format_number(float(values[0]))}")
        else:
            groups.setdefault(name.rpartition("/")[0], []).append(line_chart([Series(name, steps, values)], name))
    second = [chart for charts in groups.values() for chart in charts]
    content = f'<div class="charts">{"".join(first + second)}</div>' if first or second else note("nothing was logged")
    if constants:
        content += note(f"constant throughout: {', '.join(constants)}")
    return section("Curves", content)


def _configuration(record: Record) -> str:
    tables = definitions("options", record.options) + definitions(f"recipe {record.recipe}", record.config)
    return section("Configuration", f'<div class="columns">{tables}</div>')


def _manifest(record: Record) -> str:
    flat, nested = {"jaxgan": record.version}, {}
    for name, value in record.manifest.items():
        if name == "parameters":
            nested[name] = {player: format_number(number(count)) for player, count in mapping(value).items()}
        elif isinstance(value, dict):
            nested[name] = value
        elif name != "command":
            flat[name] = value
    tables = definitions("run", flat) + "".join(definitions(name, value) for name, value in nested.items())
    return section("Manifest", f'<div class="columns">{tables}</div>')


def _evenly(samples: Sequence[tuple[int, Path]], count: int) -> list[tuple[int, Path]]:
    """At most `count` of the samples, evenly spaced in order, first and last included."""
    places = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    return [samples[place] for place in places]


def without_errors(values: Mapping[str, Any]) -> list[str]:
    """The metrics, less each standard error that is shown behind its metric."""
    suffix = "_error"
    return [name for name in values if not (name.endswith(suffix) and name.removesuffix(suffix) in values)]


def with_error(values: Mapping[str, float], name: str) -> str:
    if name not in values:
        return "–"
    error = values.get(f"{name}_error")
    return format_number(values[name]) + ("" if error is None else f" ± {format_number(error)}")


def protocol_line(row: Mapping[str, Any]) -> str:
    return " · ".join(f"{name}: {as_text(value)}" for name, value in protocol(row).items())


def metric_name(name: str, label: str = "") -> str:
    arrow, meaning = {1: ("↑", "higher is better"), -1: ("↓", "lower is better"), 0: ("", "")}[direction(name)]
    shown = escaped(label or name)
    return f'{shown} <span class="arrow" title="{meaning}">{arrow}</span>' if arrow else shown


def is_loss(name: str) -> bool:
    return name.rsplit("/", 1)[-1] == "loss"


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _devices(devices: Any) -> str | None:
    if not isinstance(devices, list):
        return None if devices is None else as_text(devices)
    names = [as_text(device) for device in devices]
    return ", ".join(
        f"{names.count(name)} × {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.3g} s"
