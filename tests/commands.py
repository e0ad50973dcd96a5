"""What tests of the command line share: calls in this process or in one of their own, and runs compared bit for bit."""

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan import cli
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.log import TIME_FIELDS, read_rows

REPOSITORY = Path(__file__).resolve().parent.parent

TINY = {
    "ring": shlex.split(
        "--generator-width 8 --discriminator-width 8 --generator-depth 2 --discriminator-depth 2 --batch 8 "
        "--evaluate-samples 50"
    ),
    "dcgan": shlex.split(
        "--generator-width 4 --discriminator-width 4 --latent 8 --batch 8 --features random-conv --evaluate-samples 50"
    ),
    "classifier": shlex.split("--width 4 --num-features 8 --batch 8"),
}


class Called(NamedTuple):
    status: int
    out: str
    err: str


def call(*arguments: Any) -> Called:
    """``jaxgan ARGUMENTS`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main([str(a) for a in arguments])
        except SystemExit as stop:
            return Called(int(stop.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("the command line always exits with a status")


def environment(**more: str) -> dict[str, str]:
    # the devices of this process are the suite's; a process of its own has two, as a small machine would
    return {**os.environ, "JAX_NUM_CPU_DEVICES": "2", **more}


def start(*arguments: Any, cwd: Path | None = None, **more: str) -> subprocess.Popen[str]:
    """``jaxgan ARGUMENTS`` in a process of its own, begun."""
    return subprocess.Popen(
        [sys.executable, "-m", "jaxgan", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment(**more),
    )


def finish(process: subprocess.Popen[str], timeout: float = 180) -> Called:
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still running after {timeout} s; it had said:\n{out}\n{err}") from None
    return Called(process.returncode, out, err)


def interrupt(process: subprocess.Popen[str], run: Path, number: signal.Signals, after: int) -> Called:
    """Sends a signal as soon as `run` has a sealed checkpoint of step `after` or later."""
    checkpoints, began = Checkpoints(run / "checkpoints"), time.monotonic()
    while process.poll() is None and not any(step >= after for step in checkpoints.steps()):
        assert time.monotonic() - began < 180, "no checkpoint in three minutes"
        time.sleep(0.01)
    process.send_signal(number)
    return finish(process)


def timeless(run: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl without the fields that no two runs share."""
    rows = read_rows(run / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name not in TIME_FIELDS} for row in rows]


def assert_same_arrays(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    different = [
        name
        for name, array in one.items()
        if array.dtype != other[name].dtype
        or array.shape != other[name].shape
        or array.tobytes() != other[name].tobytes()
    ]
    assert not different


def assert_same_run(one: Path, other: Path) -> None:
    """The same final checkpoint, rows, and pictures, bit for bit."""
    (step, arrays), (other_step, other_arrays) = (Checkpoints(r / "checkpoints").restore_arrays() for r in (one, other))
    assert step == other_step
    assert_same_arrays(arrays, other_arrays)
    assert timeless(one) == timeless(other)
    pictures = [{p.name: p.read_bytes() for p in (run / "samples").glob("*.png")} for run in (one, other)]
    assert pictures[0] == pictures[1] and pictures[0]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def strict_json(text: str) -> Any:
    """JSON as the standard has it: without NaN and Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)
