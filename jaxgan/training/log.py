"""What a run says while it trains: rows of metrics.jsonl, TensorBoard, pictures, and the progress display."""

import json
import logging
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.training.checkpoint import write_atomically

# fields of a row that differ between two runs of the same computation
TIME_FIELDS = ("seconds", "examples_per_second")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line cut off by a crash is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def cut_rows(path: Path, step: int) -> list[dict[str, Any]]:
    """Removes the rows after `step` and returns the others."""
    rows = [row for row in read_rows(path) if row["step"] <= step]
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


class RunLog:
    """Appends rows to metrics.jsonl and TensorBoard.

    rows: those already there; `row` adds to them.
    """

    def __init__(self, directory: Path, start: int, tensorboard: bool = True) -> None:
        path = directory / "metrics.jsonl"
        self.rows = cut_rows(path, start) if start > 0 else []
        self._of_member: dict[int, list[dict[str, Any]]] = {}
        for row in self.rows:
            self._of_member.setdefault(row.get("member", -1), []).append(row)
        self._file = path.open("a" if start > 0 else "w")
        self._tensorboard: Any = None
        self._tensorboard_options = {"logdir": str(directory / "tensorboard"), "purge_step": start or None}
        self._wants_tensorboard = tensorboard
        self._before = max((row.get("seconds", 0.0) for row in self.rows), default=0.0)
        self._began = time.perf_counter()

    def row(self, step: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """Adds one row, with `seconds` since the run began; numbers become floats (None if not finite), lists stay."""
        row: dict[str, Any] = {"step": step, "seconds": round(self._before + time.perf_counter() - self._began, 3)}
        for name, value in values.items():
            if not isinstance(value, (str, int, list)) and value is not None:
                value = float(value) if math.isfinite(value) else None
            row[name] = value
        self.rows.append(row)
        self._of_member.setdefault(row.get("member", -1), []).append(row)
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._wants_tensorboard:
            if self._tensorboard is None:
                logging.getLogger("tensorboardX").setLevel(logging.ERROR)
                import tensorboardX

                self._tensorboard = tensorboardX.SummaryWriter(**self._tensorboard_options)
            prefix = f"member{row['member']:02d}/" if "member" in row else ""
            prefix += f"{row['evaluation']}/" if "evaluation" in row else ""
            for name, value in row.items():
                if name not in ("step", "member") and isinstance(value, (int, float)):
                    self._tensorboard.add_scalar(prefix + name, value, step)
        return row

    def of_member(self, member: int) -> list[dict[str, Any]]:
        """The rows of one member of a population."""
        return self._of_member.get(member, [])

    def close(self) -> None:
        self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()


def write_picture(path: Path, picture: np.ndarray) -> None:
    """A uint8 picture [height, width, 1 or 3] as PNG, replacing `path` whole."""
    from PIL import Image

    partial = path.with_suffix(".partial")
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(partial, format="PNG")
    partial.replace(path)


class Progress:
    """The display on standard error: a live bar on a terminal, plain lines elsewhere, nothing if quiet."""

    LINE_SECONDS = 2.0

    def __init__(self, total: int, quiet: bool = False) -> None:
        self._quiet, self._total, self._last = quiet, total, -math.inf
        self._bar: Any = None
        self._task: Any = None
        self._status = ""
        if quiet or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            console=Console(stderr=True),
        )
        self._bar.start()
        self._task = self._bar.add_task("training", total=total, status="compiling")

    def advance(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def row(self, rows: Sequence[Mapping[str, Any]], seconds_left: float | None = None) -> None:
        """Shows rows of metrics, of a population their mean; off a terminal at most every two seconds, and the last."""
        if self._quiet or not rows:
            return
        step, left = rows[0]["step"], ""
        if seconds_left is not None:
            left = f"  {seconds_left:.0f} s left"
            names = [name for name in rows[0] if name.endswith(("/loss", "/accuracy"))]
            means = {n: [row[n] for row in rows if row.get(n) is not None] for n in names}
            shown = [f"{name} {sum(values) / len(values):.3f}" for name, values in means.items() if values]
            of = [] if len(rows) == 1 else [f"mean of {len(rows)} members:"]
            self._status = "  ".join([f"{rows[0]['examples_per_second']:,.0f} examples/s", *of, *shown])
        if self._bar is not None:
            self._bar.update(self._task, completed=step, status=self._status)
        elif time.perf_counter() - self._last >= self.LINE_SECONDS or step == self._total:
            self._last = time.perf_counter()
            print(f"step {step}/{self._total}  {self._status}{left}", file=sys.stderr, flush=True)

    def say(self, message: str) -> None:
        """One line that stays."""
        if self._bar is not None:
            self._bar.console.print(message, highlight=False, markup=False)
        elif not self._quiet:
            print(message, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
