"""Training steps on one accelerator: examples a second, share of the machine's measured peak, and peak memory.

    python experiments/benchmark_accelerator.py              on a GPU or TPU; elsewhere it refuses
    python experiments/benchmark_accelerator.py --only stylegan2-256x256 --only dcgan-64x64-1024
    python experiments/benchmark_accelerator.py --only r3gan-64x64-64 --profile trace
    python experiments/benchmark_accelerator.py --pending    the rows without numbers, anywhere
    python experiments/benchmark_accelerator.py --smoke --only stylegan2-256x256      tiny, on both sides, anywhere

The workloads of benchmark_cpu.py at an accelerator's sizes and those of image_workloads.py (StyleGAN2, BigGAN and
R3GAN at 64x64 and 256x256), in float32 and in bfloat16 (inside the nets: parameters, logits and losses are float32),
against pytorch_peers.py and pytorch_image_peers.py where PyTorch is installed and sees the same device: channels
last, autocast for bfloat16, eager and compiled (gradients of gradients do not compile: nets whose loss has one at every
step are compiled for G's update only, and those of benchmark_cpu.py not at all). float32 is what both
frameworks make of it by default or by their flag, TF32 where the device has it.

Each side has the device to itself, in a process of its own, one after another. Examples a second are of rounds of
about two seconds; a round holds whole periods of a lazy penalty. The peak is that of a square product of 8192 in the
same precision, measured in the same run; operations are XLA's count for our step. Peak memory is what was allocated at
most, data included: on our side since the process began, the compiler's trials of algorithms included
(`memory_stats`), on theirs from the second round on (`max_memory_allocated`), when those of cuDNN are over.
A side that fails, say for want of memory, is left out, and its rows are pending.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import image_workloads
import numpy as np
from benchmark_cpu import NEEDED, SPREAD, WORKLOADS, Workload, tiny
from benchmark_cpu import our_stage as small_stage
from contract import Row, arguments, finish
from image_workloads import IMAGE_WORKLOADS, ImageWorkload, tiny_images

PROTOCOL = "one accelerator, data in memory, each side alone in a process of its own, median of rounds"
METRICS = ("examples a second", "share of the measured peak", "peak memory, GiB")
AGAINST = ("ratio to PyTorch", "PyTorch's peak memory, GiB")
GIB = 2.0**30


def workloads() -> dict[str, Workload | ImageWorkload]:
    dcgan, resnet = WORKLOADS["dcgan-64"], WORKLOADS["resnet-64"]
    large = {
        "dcgan-64x64": replace(dcgan, size=(64, 64, 3), depth=4),
        "resnet-32x32": replace(resnet, width=256),
        "resnet-64x64": replace(resnet, size=(64, 64, 3), depth=4, width=128),
    }
    sized = {f"{n}-{b}": replace(w, batch=b) for n, w in large.items() for b in (256, 1024, 4096)}
    r1 = {**vars(WORKLOADS["resnet-r1"]), "width": 128, "batch": 256}
    return {**sized, "resnet-r1-256": Workload(**r1), **IMAGE_WORKLOADS}


def our_stage(workload: Workload | ImageWorkload, dtype: Any) -> Any:
    if isinstance(workload, ImageWorkload):
        return image_workloads.our_stage(workload, dtype)
    return small_stage(workload, dtype)


def smaller(workload: Workload | ImageWorkload) -> Workload | ImageWorkload:
    return tiny_images(workload) if isinstance(workload, ImageWorkload) else tiny(workload)


def period(workload: Workload | ImageWorkload) -> int:
    """After how many steps the same updates come again."""
    return workload.interval if isinstance(workload, ImageWorkload) else 1


def our_player(stage: Any) -> Callable[[int], None]:
    """A function that plays so many steps and waits for the last."""
    import jax

    from jaxgan.training.program import Program

    program = Program(stage, 1)
    carried, step = program.start([0]), 0

    def play(count: int) -> None:
        nonlocal carried, step
        carried = program.advance(carried, step, count)
        step += count
        jax.block_until_ready(carried)

    return play


def their_player(workload: Workload | ImageWorkload, compiled: bool, half: bool, smoke: bool) -> Callable[[int], None]:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    device = "cpu" if smoke and not torch.cuda.is_available() else "cuda"
    if isinstance(workload, ImageWorkload):
        import pytorch_image_peers

        return pytorch_image_peers.player(workload, compiled, device, half)
    import pytorch_peers

    return pytorch_peers.player(workload, pytorch_peers.Variant("fused", True, compiled), device, half)


@dataclass(frozen=True)
class Measured:
    """rates: examples a second by round. memory: bytes at most, None where the device does not say.

    operations: of one step. peak: operations a second of a matrix product. Ours only.
    """

    rates: list[float]
    memory: float | None
    operations: float = float("nan")
    peak: float = float("nan")


def _serve(connection: Any, workload: Any, side: str, half: bool, rounds: int, seconds: float, smoke: bool) -> None:
    """Answers what it measured of one side."""
    if side == "ours":
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")
        import jax
        import jax.numpy as jnp

        from jaxgan.training.parallel import configure_backend

        configure_backend()
        dtype = jnp.bfloat16 if half else jnp.float32
        stage = our_stage(workload, dtype)
        rates = _rates(our_player(stage), workload, rounds, seconds, smoke)
        stats = jax.local_devices()[0].memory_stats() or {}
        memory = stats.get("peak_bytes_in_use")
        operations, peak = _operations(stage, period(workload)), _peak(dtype, 64 if smoke else 8192)
        connection.send(Measured(rates, memory, operations, peak))
        return
    play = their_player(workload, side == "compiled", half, smoke)
    import torch

    on_gpu = torch.cuda.is_available()
    # the first of all steps compile and try algorithms
    rates = _rates(play, workload, rounds, seconds, smoke, torch.cuda.reset_peak_memory_stats if on_gpu else None)
    connection.send(Measured(rates, torch.cuda.max_memory_allocated() if on_gpu else None))


def _rates(
    play: Callable[[int], None],
    workload: Any,
    rounds: int,
    seconds: float,
    smoke: bool,
    warmed: Callable[[], None] | None = None,
) -> list[float]:
    whole = period(workload)
    play(whole)
    # the next ones say how many make a round, in whole periods
    count, taken = whole, 0.0
    while taken < seconds / 4 and not smoke:
        count *= 2
        began = time.perf_counter()
        play(count)
        taken = time.perf_counter() - began
    if not smoke:
        count = whole * max(1, round(count * seconds / taken / whole))
    if warmed is not None:
        warmed()
    rates = []
    for _ in range(rounds):
        began = time.perf_counter()
        play(count)
        rates.append(count * workload.batch / (time.perf_counter() - began))
    return rates


def _operations(stage: Any, steps: int) -> float:
    """Floating-point operations of a step, as compiled: what both updates share is counted once.

    The mean over as many steps as it takes for all updates to come. Counted on the CPU, whose compiler leaves
    convolutions as they are; an accelerator's hides them in library calls.
    """
    import jax

    from jaxgan.game import make_step
    from jaxgan.training.program import abstract_state

    state = abstract_state(stage)
    arrays = {name: jax.ShapeDtypeStruct(np.shape(x), x.dtype) for name, x in stage.source.arrays.items()}
    updates = stage.game.updates
    patterns = [tuple(bool(u.when(s)) if u.when else True for u in updates) for s in range(steps)]
    counted = {}
    for active in set(patterns):

        def step(state: Any, arrays: Any, active: tuple[bool, ...] = active) -> Any:
            return make_step(stage.game, active=active)(state, stage.source.batch(arrays, state.key, state.step))

        with jax.default_device(jax.devices("cpu")[0]):
            compiled = jax.jit(step).lower(state, arrays).compile()
        counted[active] = float((compiled.cost_analysis() or {}).get("flops", 0.0))
    return sum(counted[active] for active in patterns) / steps


def _peak(dtype: Any, side: int, rounds: int = 10) -> float:
    import jax
    import jax.numpy as jnp

    a = jnp.ones((side, side), dtype)
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready(product(a))
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(product(a))
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def _alone(workload: Any, side: str, half: bool, flags: argparse.Namespace) -> Measured | None:
    """What one side measured; None if it failed."""
    rounds, seconds = (1, 0.0) if flags.smoke else (3, 0.5) if flags.quick else (flags.rounds, 2.0)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(
        target=_serve, args=(there, workload, side, half, rounds, seconds, flags.smoke), daemon=True
    )
    process.start()
    there.close()
    try:
        measured = here.recv()
    except EOFError:
        if flags.smoke:
            raise RuntimeError(f"{side} failed, see above") from None
        print(f"  {side}: failed", file=sys.stderr, flush=True)
        measured = None
    process.join()
    return measured


def profile(name: str, workload: Any, half: bool, folder: Path) -> None:
    """Writes a trace of our steps, two periods of them after the first; to be run in a process of its own."""
    import jax
    import jax.numpy as jnp

    from jaxgan.training.parallel import configure_backend

    configure_backend()
    play, steps = our_player(our_stage(workload, jnp.bfloat16 if half else jnp.float32)), 2 * period(workload)
    play(period(workload))
    out = folder / f"{name}-{'bfloat16' if half else 'float32'}"
    with jax.profiler.trace(str(out)):
        play(steps)
    print(f"{steps} steps traced to {out}", file=sys.stderr)


def _row(method: str, metric: str, values: np.ndarray | None) -> Row:
    if values is None:
        return Row(method, metric, None)
    low, middle, high = np.percentile(values, (25, 50, 75))
    return Row(method, metric, float(middle), float(high - low) / 2, SPREAD)


def measure(name: str, workload: Any, half: bool, flags: argparse.Namespace, sides: list[str]) -> list[Row]:
    found = {side: _alone(workload, side, half, flags) for side in sides}
    ours = found.pop("ours")
    theirs = [measured for measured in found.values() if measured is not None]
    fastest = max(theirs, key=lambda measured: float(np.median(measured.rates))) if theirs else None
    rates = None if ours is None else np.array(ours.rates)
    share = None if ours is None or rates is None else rates / workload.batch * ours.operations / ours.peak
    ratio = None if rates is None or fastest is None else rates / np.median(fastest.rates)
    method = _method(name, half)
    rows = [_row(method, METRICS[0], rates), _row(method, METRICS[1], share), _memory(method, METRICS[2], ours)]
    rows += [_row(method, AGAINST[0], ratio), _memory(method, AGAINST[1], fastest)]
    for side, measured in found.items():
        values = None if measured is None else np.array(measured.rates)
        rows += [_row(f"{method}, PyTorch {side}", METRICS[0], values)]
    return rows


def pending(name: str, half: bool) -> list[Row]:
    return [Row(_method(name, half), metric, None) for metric in (*METRICS, *AGAINST)]


def _method(name: str, half: bool) -> str:
    return f"{name}, {'bfloat16' if half else 'float32'}"


def _memory(method: str, metric: str, measured: Measured | None) -> Row:
    memory = None if measured is None else measured.memory
    return Row(method, metric, None if memory is None else memory / GIB)


def _sides(workload: Workload | ImageWorkload) -> list[str]:
    twice = isinstance(workload, Workload) and workload.penalty is not None
    return ["ours", "eager"] if twice else ["ours", "eager", "compiled"]


def main() -> None:
    # what torch.compile leaves behind goes with the benchmark
    with tempfile.TemporaryDirectory() as caches:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = caches
        _main()


def _main() -> None:
    parser = arguments(__doc__ or "", seeds=1)
    parser.add_argument("--only", action="append", help=f"how some begin: {', '.join(workloads())}")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of two seconds each (default 9)")
    parser.add_argument("--precision", choices=("both", "float32", "bfloat16"), default="both", help="(default both)")
    parser.add_argument("--profile", type=Path, metavar="DIR", help="instead write traces of our steps there")
    parser.add_argument("--pending", action="store_true", help="write the rows without numbers: nothing is run")
    flags = parser.parse_args()
    began = time.perf_counter()
    chosen = {n: w for n, w in workloads().items() if flags.only is None or n.startswith(tuple(flags.only))}
    if not chosen:
        parser.error(f"--only: choose from {', '.join(workloads())}")
    halves = {"both": (False, True), "float32": (False,), "bfloat16": (True,)}[flags.precision]
    runs = [(name, workload, half) for name, workload in chosen.items() for half in halves]
    if flags.pending:
        rows = [row for name, _, half in runs for row in pending(name, half)]
        finish("benchmark_accelerator", None, PROTOCOL, rows, began, flags)
        return
    context = multiprocessing.get_context("spawn")
    if flags.smoke:
        # tiny, wherever this is, one batch of each, in one precision each
        names = flags.only or ["dcgan", *(f"{net}-64x64" for net in ("stylegan2", "biggan", "r3gan"))]
        first = {n.rpartition("-")[0]: n for n in reversed(chosen) if n.startswith(tuple(names))}
        runs = [(n, smaller(chosen[n]), i % 2 == 0) for i, n in enumerate(reversed(first.values()))]
    else:
        # asked in a process of its own, so that this one takes none of the memory
        with context.Pool(1) as pool:
            found = pool.apply(_platform)
        if found == "cpu":
            print("no accelerator here: nothing was run (--pending writes the rows without numbers)", file=sys.stderr)
            sys.exit(2)
    if flags.profile is not None:
        for run in runs:
            process = context.Process(target=profile, args=(*run, flags.profile.resolve()))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(1)
        return
    with_torch = find_spec("torch") is not None
    if not with_torch:
        print(NEEDED, file=sys.stderr)
    elif not flags.smoke:
        with context.Pool(1) as pool:
            with_torch = pool.apply(_torch_sees_it)
        if not with_torch:
            print("PyTorch sees no GPU here, so its rows are pending", file=sys.stderr)
    rows = []
    for name, workload, half in runs:
        print(_method(name, half), file=sys.stderr, flush=True)
        sides = _sides(workload) if with_torch else ["ours"]
        # what torch.compile needs beside PyTorch is not everywhere
        rows += measure(name, workload, half, flags, sides[:2] if flags.smoke else sides)
    finish("benchmark_accelerator", None, PROTOCOL, rows, began, flags)


def _platform() -> str:
    import jax

    return jax.default_backend()


def _torch_sees_it() -> bool:
    import torch

    return bool(torch.cuda.is_available())


if __name__ == "__main__":
    main()
