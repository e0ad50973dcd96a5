"""Line charts as inline SVG: no script, no external file, colours from the page's own style sheet."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 26
NUM_COLOURS = 8
MAX_POINTS = 600


@dataclass(frozen=True, eq=False)
class Series:
    """One line: `steps` [n] in rising order and `values` [n], where NaN and infinity leave a gap.

    errors: half the width [n] of a band around the line, None for a bare line.
    """

    label: str
    steps: np.ndarray
    values: np.ndarray
    errors: np.ndarray | None = None

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """The lower and the upper edge of the band; the line itself where there is none."""
        width = np.zeros(len(self.values)) if self.errors is None else np.nan_to_num(self.errors, posinf=0.0)
        return self.values - width, self.values + width


def line_chart(series: Sequence[Series], title: str) -> str:
    """An HTML figure with the lines over the step, a legend with last values, and a note on what the axis hides.

    The vertical axis is logarithmic when the values are positive and span more than two decades. A few values
    far outside the rest (the spike before a collapse) are cut off, and the note says how far they went.
    Lines take the CSS variables ``--line-0`` ... ``--line-7`` in turn.
    """
    finite = [_drawable(one.values) for one in series]
    all_values = np.concatenate([one.values[keep] for one, keep in zip(series, finite, strict=True)] or [np.zeros(0)])
    banded = [(one, keep) for one, keep in zip(series, finite, strict=True) if one.errors is not None]
    edges = np.concatenate([edge[keep] for one, keep in banded for edge in one.edges()] or [np.zeros(0)])
    heading = f"<h3>{html.escape(title)}</h3>"
    if not len(all_values):
        return f'<figure class="chart">{heading}<p class="note">no finite value</p></figure>'
    # an edge at or below zero must not take a logarithmic axis away from lines that need it
    shown = edges[edges > 0] if all_values.min() > 0 else edges
    low, high, logarithmic = _vertical_range(np.concatenate([all_values, shown]))
    all_steps = np.concatenate([one.steps for one in series])
    first, last = float(all_steps.min()), float(all_steps.max())
    if first == last:
        first, last = first - 1.0, last + 1.0

    def across(step: float) -> float:
        return LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        bottom, top, position = (math.log10(v) for v in (low, high, value)) if logarithmic else (low, high, value)
        share = (position - bottom) / (top - bottom)
        # A cut-off line leaves the frame, where the clip path hides it; the bound keeps coordinates small.
        return TOP + (1.0 - min(max(share, -1.0), 2.0)) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title, quote=True)}">']
    for tick in _log_ticks(low, high) if logarithmic else _ticks(low, high, 5):
        y = up(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{_tick_label(tick)}</text>')
    for tick in _ticks(first, last, 5):
        parts.append(f'<text x="{across(tick):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{_tick_label(tick)}</text>')
    # A nested viewport clips without an id, which would have to be unique in the page.
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts.append(
        f'<svg x="{LEFT}" y="{TOP}" width="{inner_width}" height="{inner_height}" '
        f'viewBox="{LEFT} {TOP} {inner_width} {inner_height}" overflow="hidden">'
    )
    legend = []
    for place, one in enumerate(series):
        colour = f"var(--line-{place % NUM_COLOURS})"
        tooltip = f"<title>{html.escape(one.label)}</title>"
        kept = _thinned(one.values)
        if one.errors is not None:
            lower, upper = (np.maximum(edge, low) if logarithmic else edge for edge in one.edges())
            for run in _segments(one.values[kept], logarithmic):
                at = kept[run]
                there = [f"{across(one.steps[i]):.1f},{up(upper[i]):.1f}" for i in at]
                back = [f"{across(one.steps[i]):.1f},{up(lower[i]):.1f}" for i in at[::-1]]
                parts.append(f'<polygon class="band" points="{" ".join(there + back)}" style="fill:{colour}"/>')
        for run in _segments(one.values[kept], logarithmic):
            steps, values = one.steps[kept][run], one.values[kept][run]
            points = " ".join(f"{across(s):.1f},{up(v):.1f}" for s, v in zip(steps, values, strict=True))
            if len(steps) == 1:
                x, y = across(steps[0]), up(values[0])
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:{colour}">{tooltip}</circle>')
            else:
                parts.append(f'<polyline class="line" points="{points}" style="stroke:{colour}">{tooltip}</polyline>')
        last_value = format_number(float(one.values[-1])) if len(one.values) else "–"
        name = html.escape(one.label) if len(series) > 1 else "last"
        legend.append(f'<li><i style="background:{colour}"></i>{name} <b>{last_value}</b></li>')
    parts.append("</svg></svg>")
    note = _note(all_values, low, high, logarithmic, sum(int((~keep).sum()) for keep in finite))
    return f'<figure class="chart">{heading}{"".join(parts)}<ul class="legend">{"".join(legend)}</ul>{note}</figure>'


@dataclass(frozen=True)
class Point:
    """One mark of a scatter chart, both coordinates shares in [0, 1]."""

    label: str
    x: float
    y: float


def scatter_chart(points: Sequence[Point], x_name: str, y_name: str) -> str:
    """An HTML figure of shares against shares: both axes from 0 to 1, colours as `line_chart` has them."""

    def across(x: float) -> float:
        return LEFT + x * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return TOP + (1.0 - y) * (HEIGHT - TOP - BOTTOM)

    title = f"{y_name} against {x_name}"
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title, quote=True)}">']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y, x = up(tick), across(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{_tick_label(tick)}</text>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{_tick_label(tick)}</text>')
    legend = []
    for place, point in enumerate(points):
        colour = f"var(--line-{place % NUM_COLOURS})"
        name = html.escape(point.label)
        if math.isfinite(point.x) and math.isfinite(point.y):
            parts.append(
                f'<circle cx="{across(point.x):.1f}" cy="{up(point.y):.1f}" r="5" style="fill:{colour}">'
                f"<title>{name}</title></circle>"
            )
        where = f"{format_number(point.x)}, {format_number(point.y)}"
        legend.append(f'<li><i style="background:{colour}"></i>{name} <b>{where}</b></li>')
    heading = f"<h3>{html.escape(title)}</h3>"
    return f'<figure class="chart">{heading}{"".join(parts)}</svg><ul class="legend">{"".join(legend)}</ul></figure>'


def format_number(value: float) -> str:
    """A number for a table: integers whole with thousands separated, others to four significant digits."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}".replace("-", "−")
    return (f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}").replace("-", "−")


def _drawable(values: np.ndarray) -> np.ndarray:
    # float32 ends at 3e38; the bound keeps differences and their logarithms finite for any JSON number.
    return np.abs(values) < 1e100


def _vertical_range(values: np.ndarray) -> tuple[float, float, bool]:
    """(low, high, logarithmic): a padded range of the values, without the few that lie far outside."""
    logarithmic = bool(values.min() > 0 and np.percentile(values, 98) > 100.0 * np.percentile(values, 2))
    positions = np.log10(values) if logarithmic else values
    low, high = np.percentile(positions, [2, 98])
    reach = 2.0 * (high - low)
    inside = positions[(positions >= low - reach) & (positions <= high + reach)] if high > low else positions
    low, high = float(inside.min()), float(inside.max())
    padding = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    low, high = low - padding, high + padding
    return (10.0**low, 10.0**high, True) if logarithmic else (low, high, False)


def _thinned(values: np.ndarray) -> np.ndarray:
    """Places of at most about MAX_POINTS points, each bucket's lowest and highest among them, so that spikes show."""
    if len(values) <= MAX_POINTS:
        return np.arange(len(values))
    kept: list[int] = []
    for bucket in np.array_split(np.arange(len(values)), MAX_POINTS // 2):
        drawn = _drawable(values[bucket])
        kept.extend(bucket[~drawn][:1])
        inside = bucket[drawn]
        if len(inside):
            kept.extend((inside[values[inside].argmin()], inside[values[inside].argmax()]))
    return np.unique(kept)


def _segments(values: np.ndarray, logarithmic: bool) -> list[np.ndarray]:
    """The places of each unbroken piece of the line."""
    places = np.flatnonzero(_drawable(values) & (values > 0 if logarithmic else True))
    return np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(places) else []


def _note(values: np.ndarray, low: float, high: float, logarithmic: bool, num_gaps: int) -> str:
    notes = ["log scale"] if logarithmic else []
    if values.max() > high:
        notes.append(f"cut off above; highest {format_number(float(values.max()))}")
    if values.min() < low:
        notes.append(f"cut off below; lowest {format_number(float(values.min()))}")
    if num_gaps:
        notes.append(f"{num_gaps} {'value' if num_gaps == 1 else 'values'} not finite")
    return f'<p class="note">{html.escape(" · ".join(notes))}</p>' if notes else ""


def _ticks(low: float, high: float, num_ticks: int) -> list[float]:
    rough = (high - low) / num_ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(multiple * power for multiple in (1.0, 2.0, 5.0, 10.0) if multiple * power >= rough)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    return [10.0**power for power in powers][:: 1 + len(powers) // 7]


def _tick_label(value: float) -> str:
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.6g}{suffix}".replace("-", "−")
    return f"{value:.6g}".replace("-", "−")
