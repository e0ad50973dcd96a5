"""Does a run that is killed again and again end as the run that was left alone? And is damage ever restored?

    python experiments/resume_torture.py      20 kills and 64 damaged files, about five minutes on two CPU cores

One run of dcgan on the digits, saving often, is trained without interruption. The same run is then
killed (SIGKILL: no goodbye) at random moments and resumed until it reaches its end: a quarter of the
kills while it starts, a quarter while a checkpoint is being written, the others at random steps.
Whatever a run leaves is compared bit for bit: all arrays of the last checkpoint (parameters, running
statistics, optimizers, averages, key, step, running means of the metrics), the rows of metrics
without their times, and the sample sheets. After that single bytes of the newest checkpoint are
overwritten, every kind of file in turn; the run must fall back to the checkpoint before, say so, and
still end the same.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import Row, arguments, finish

from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.log import TIME_FIELDS, read_rows

PROTOCOL = "dcgan on 8x8 digits, 3,000 steps of batch 16, a checkpoint every 50 steps; SIGKILL at 20 random moments"
DELAY_SECONDS = 0.4
START_SECONDS = 6.0


@dataclass(frozen=True)
class Size:
    steps: int
    save_every: int
    kills: int
    flips: int
    resumed_flips: int


def main() -> None:
    flags = arguments(__doc__ or "", seeds=1).parse_args()
    began = time.perf_counter()
    totals: dict[tuple[str, str], list[float]] = {}
    details = []
    for seed in range(flags.seeds):
        with tempfile.TemporaryDirectory() as outdir:
            counts, story = torture(Path(outdir), seed, _size(flags))
        details.append(story)
        for name, value in counts.items():
            totals.setdefault(name, []).append(value)
    rows = [
        Row(method, metric, sum(values), uncertainty_kind="a count, over all seeds", n_seeds=flags.seeds)
        for (method, metric), values in totals.items()
    ]
    finish("resume_torture", None, PROTOCOL, rows, began, flags, details=details)
    if any(sum(values) for (_, metric), values in totals.items() if metric.startswith(("different", "silently"))):
        sys.exit("resume_torture: something was not as it was left")


def torture(outdir: Path, seed: int, size: Size) -> tuple[dict[tuple[str, str], float], list[dict[str, Any]]]:
    """Counts of what was tried and what went wrong, and the story of the kills."""
    chance = random.Random(seed)
    whole, broken = outdir / "whole", outdir / "broken"
    _finish(_start(_request(outdir, "whole", seed, size)))
    kills = _kill_until_done(outdir, broken, seed, size, chance)
    counts: dict[tuple[str, str], float] = {
        ("killed and resumed", "kills"): len(kills),
        ("killed and resumed", "of them that left half a checkpoint"): sum(k["half_written"] for k in kills),
        ("killed and resumed", "of them while it started"): sum(k["moment"] == "starting" for k in kills),
        **{("killed and resumed", name): value for name, value in _differences(whole, broken).items()},
    }
    trials, silent, unsaid = _damage(broken, size.flips, chance)
    counts |= {
        ("one byte overwritten", "files damaged"): trials,
        ("one byte overwritten", "silently restored"): silent,
        ("one byte overwritten", "different from the checkpoint before"): unsaid,
    }
    for _ in range(size.resumed_flips):
        path = max((p for p in _files(_newest(broken))), key=lambda p: p.stat().st_size)
        _overwrite(path, chance)
        said = _finish(_start(["resume", str(broken)]))
        if "falling back" not in said:
            counts["one byte overwritten", "silently restored"] += 1
    if size.resumed_flips:
        after = _differences(whole, broken)
        counts |= {("damaged and resumed", "resumed"): size.resumed_flips}
        counts |= {("damaged and resumed", name): value for name, value in after.items()}
    return counts, kills


def _kill_until_done(outdir: Path, run: Path, seed: int, size: Size, chance: random.Random) -> list[dict[str, Any]]:
    """Trains with interruptions; one entry for each kill: its moment, the steps logged and saved, and the mess left."""
    targets = sorted(chance.uniform(0, 0.95 * size.steps) for _ in range(size.kills))
    moments = [("running", "starting", "running", "writing")[i % 4] for i in range(size.kills)]
    kills: list[dict[str, Any]] = []
    for target, moment in zip(targets, moments, strict=True):
        process = _start(
            ["resume", str(run)] if (run / "config.json").exists() else _request(outdir, run.name, seed, size)
        )
        if moment == "starting":
            _wait(process, lambda: False, chance.uniform(0, START_SECONDS))
        else:
            _wait(process, lambda target=target: _logged(run) >= target)  # type: ignore[misc]
            if moment == "writing":
                _wait(process, lambda: _half_written(run), 60)
            else:
                _wait(process, lambda: False, chance.uniform(0, DELAY_SECONDS))
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        saved = Checkpoints(run / "checkpoints").steps()
        kill = {"moment": moment, "logged": _logged(run), "saved": saved[-1] if saved else 0}
        # what lies there while a run starts, the kill before left
        kills.append(kill | {"half_written": moment != "starting" and _half_written(run)})
        print(f"killed: {kills[-1]}", file=sys.stderr, flush=True)
    _finish(_start(["resume", str(run)]))
    return kills


def _differences(one: Path, other: Path) -> dict[str, float]:
    """How many arrays, rows and pictures two runs do not share, and how many were compared."""
    (step, arrays), (other_step, others) = (Checkpoints(run / "checkpoints").restore_arrays() for run in (one, other))
    assert step == other_step, (step, other_step)
    names = arrays.keys() | others.keys()
    equal = [
        name
        for name in arrays.keys() & others.keys()
        if (arrays[name].dtype, arrays[name].shape) == (others[name].dtype, others[name].shape)
        and arrays[name].tobytes() == others[name].tobytes()
    ]
    rows = [
        [{k: v for k, v in row.items() if k not in TIME_FIELDS} for row in read_rows(run / "metrics.jsonl")]
        for run in (one, other)
    ]
    longest = max(len(r) for r in rows)
    equal_rows = sum(a == b for a, b in zip(*rows, strict=False))
    pictures = [{p.name: p.read_bytes() for p in (run / "samples").glob("*.png")} for run in (one, other)]
    sheets = pictures[0].keys() | pictures[1].keys()
    return {
        f"different arrays of {len(names)}": len(names) - len(equal),
        f"different rows of {longest}": longest - equal_rows,
        f"different pictures of {len(sheets)}": sum(pictures[0].get(n) != pictures[1].get(n) for n in sheets),
    }


def _damage(run: Path, flips: int, chance: random.Random) -> tuple[int, int, int]:
    """Overwrites bytes of the newest checkpoint, one at a time: trials, silent restores, wrong fallbacks."""
    warnings: list[str] = []
    checkpoints = Checkpoints(run / "checkpoints", warn=warnings.append)
    newest, before = checkpoints.steps()[-1], checkpoints.steps()[-2]
    expected = {name: array.tobytes() for name, array in checkpoints.restore_arrays(before)[1].items()}
    paths = [path for path in _files(_newest(run)) if path.stat().st_size]
    silent = wrong = 0
    for trial in range(flips):
        content = _overwrite(path := paths[trial % len(paths)], chance)
        step, arrays = checkpoints.restore_arrays()
        silent += step == newest or not warnings
        wrong += {name: array.tobytes() for name, array in arrays.items()} != expected
        warnings.clear()
        path.write_bytes(content)
    assert checkpoints.restore_arrays()[0] == newest, "the checkpoint is whole again"
    return flips, silent, wrong


def _overwrite(path: Path, chance: random.Random) -> bytes:
    """Changes one byte of a file and returns what was there."""
    content = path.read_bytes()
    place = chance.randrange(len(content))
    path.write_bytes(content[:place] + bytes([content[place] ^ chance.randrange(1, 256)]) + content[place + 1 :])
    return content


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _newest(run: Path) -> Path:
    checkpoints = Checkpoints(run / "checkpoints")
    return checkpoints.directory / f"{checkpoints.steps()[-1]:08d}"


def _half_written(run: Path) -> bool:
    """Whether there is a checkpoint without a seal."""
    folder = run / "checkpoints"
    sealed = {f"{step:08d}" for step in Checkpoints(folder).steps()}
    try:
        return any(path.name not in sealed for path in folder.iterdir())
    except FileNotFoundError:
        return False


def _logged(run: Path) -> int:
    rows = read_rows(run / "metrics.jsonl")
    return int(rows[-1]["step"]) if rows else 0


def _request(outdir: Path, name: str, seed: int, size: Size) -> list[str]:
    every = {"--save-every": size.save_every, "--log-every": 20, "--sample-every": 500, "--evaluate-every": 1000}
    nets = {"--generator-width": 8, "--discriminator-width": 8, "--batch": 16, "--latent": 16}
    judge = {"--features": "random-conv", "--evaluate-samples": 200}
    run = {"--steps": size.steps, "--seed": seed, "--keep": 3, "--name": name, "--outdir": outdir}
    return ["train", "dcgan", *(str(x) for pair in (every | nets | judge | run).items() for x in pair)]


def _start(command: list[str]) -> subprocess.Popen[str]:
    jaxgan = [sys.executable, "-m", "jaxgan", *command]
    return subprocess.Popen(jaxgan, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finish(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate()
    if process.returncode != 0:
        sys.exit(f"resume_torture: a run ended with status {process.returncode}: {said}")
    return said


def _wait(process: subprocess.Popen[str], happened: Callable[[], bool], seconds: float = 600.0) -> None:
    """Returns when something happened, the time is over, or the process has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None and not happened():
        time.sleep(0.002)


def _size(flags: argparse.Namespace) -> Size:
    if flags.smoke:
        return Size(steps=2, save_every=1, kills=1, flips=12, resumed_flips=0)
    if flags.quick:
        return Size(steps=600, save_every=50, kills=4, flips=24, resumed_flips=1)
    return Size(steps=3000, save_every=50, kills=20, flips=64, resumed_flips=2)


if __name__ == "__main__":
    main()
