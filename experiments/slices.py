"""Long studies in slices: runs that are begun, gone on with and read, in a folder that outlives the call."""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from jaxgan.config import RequestError
from jaxgan.evaluation.record import read_record
from jaxgan.recipes.folder import read_description
from jaxgan.run import Request, resume, start
from jaxgan.training.checkpoint import Checkpoints


def add_flags(parser: argparse.ArgumentParser) -> None:
    """--runs and --minutes, by which a study is cut into slices."""
    parser.add_argument("--runs", type=Path, help="keep the runs here, go on with those that are there, read the ended")
    parser.add_argument("--minutes", type=float, help="end the slice after so long, with a checkpoint; needs --runs")


def checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The flags as given, or one line and status 2; `deadline` is the time.monotonic() of --minutes, or None."""
    flags = parser.parse_args()
    if flags.seeds is not None and flags.seeds < 1:
        parser.error(f"--seeds is at least 1, got {flags.seeds}")
    if flags.minutes is not None and not (flags.minutes > 0 and flags.runs):
        parser.error("--minutes is above 0, and needs --runs FOLDER to keep what a slice leaves")
    flags.deadline = None if flags.minutes is None else time.monotonic() + 60 * flags.minutes
    return flags


class SliceEnds(Exception):
    """Raised where a run was ended by a signal or by the clock before its last step."""


@contextmanager
def folder(runs: Path | None) -> Iterator[Path]:
    """The folder in which run folders stay, or one that is gone afterwards."""
    if runs is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
    else:
        yield runs


def minutes_left(deadline: float | None) -> float | None:
    """How long a run may still train."""
    return None if deadline is None else (deadline - time.monotonic()) / 60


def finished(request: Request, directory: Path, deadline: float | None) -> Path:
    """The folder of a run, begun, gone on with or left as it is, until it is at its end; SliceEnds at the deadline."""
    minutes = minutes_left(deadline)
    if directory.exists():
        found = read_description(directory)
        asked, was = (replace(o, outdir="", keep=1) for o in (request.options, found.options))
        if (found.config, was) != (request.config, asked):
            raise RequestError(f"{directory} was begun with other settings: choose another folder for --runs")
        steps = Checkpoints(directory / "checkpoints").steps()
        if steps and steps[-1] == request.options.steps:
            return directory
    if minutes is not None and minutes <= 0:
        raise SliceEnds
    if directory.exists():
        outcome = resume(directory, quiet=True, minutes=minutes)
    else:
        directory, outcome = start(request, quiet=True, minutes=minutes)
    if outcome.stopped in ("time", "SIGINT", "SIGTERM"):
        raise SliceEnds
    if outcome.stopped != "end":
        raise RuntimeError(f"training of {directory} stopped at step {outcome.step}: {outcome.message}")
    return directory


def spent(runs: Path) -> float:
    """Seconds that went into the runs in a folder before."""
    records = [read_record(place.parent) for place in sorted(runs.glob("*/config.json"))]
    return sum(max((row["seconds"] for row in (*r.log, *r.evaluations)), default=0.0) for r in records)
