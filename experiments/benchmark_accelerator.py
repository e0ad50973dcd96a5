"""Training steps on one accelerator: examples a second, and the share of the machine's measured matrix-product peak.

    python experiments/benchmark_accelerator.py              on a GPU or TPU; rows are pending until one has run it
    python experiments/benchmark_accelerator.py --only dcgan-64x64-1024

The workloads of benchmark_cpu.py at an accelerator's sizes, in float32 and in bfloat16 (inside the nets: parameters,
logits and losses are float32), against pytorch_peers.py where PyTorch is installed and sees the same device (autocast
for bfloat16). Both sides take turns in processes of their own, each allowed 45 per cent of the memory. The peak is that
of a square product of 8192 in the same precision, measured in the same run; operations are XLA's count for our step.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from benchmark_cpu import NEEDED, SPREAD, WORKLOADS, Workload, our_player, our_stage, tiny
from contract import Row, arguments, finish

PROTOCOL = "one accelerator, data in memory, processes taking turns, median of rounds"


def workloads() -> dict[str, Workload]:
    dcgan, resnet = WORKLOADS["dcgan-64"], WORKLOADS["resnet-64"]
    large = {
        "dcgan-64x64": replace(dcgan, size=(64, 64, 3), depth=4),
        "resnet-32x32": replace(resnet, width=256),
        "resnet-64x64": replace(resnet, size=(64, 64, 3), depth=4, width=128),
    }
    sized = {f"{n}-{b}": replace(w, batch=b) for n, w in large.items() for b in (256, 1024, 4096)}
    r1 = {**vars(WORKLOADS["resnet-r1"]), "width": 128, "batch": 256}
    return {**sized, "resnet-r1-256": Workload(**r1)}


def _serve(connection: Any, workload: Workload, side: str, half: bool, seconds: float, smoke: bool) -> None:
    """Answers (steps a round, operations of a step, peak), then examples a second of each round asked for."""
    if side == "ours":
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
        import jax.numpy as jnp

        from jaxgan.training.parallel import configure_backend

        configure_backend()
        dtype = jnp.bfloat16 if half else jnp.float32
        play = our_player(workload, 1, dtype)
        operations, peak = _operations(workload, dtype), _peak(dtype, 64 if smoke else 8192)
    else:
        import pytorch_peers
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        variant = pytorch_peers.Variant("fused", channels_last=True, compiled=side == "compiled")
        play, operations, peak = pytorch_peers.player(workload, variant, device, half), 0.0, 0.0
    play(1)
    count, taken = 1, 0.0
    while taken < seconds / 4 and not smoke:
        count *= 2
        began = time.perf_counter()
        play(count)
        taken = time.perf_counter() - began
    count = 2 if smoke else max(1, round(count * seconds / taken))
    connection.send((count, operations, peak))
    while connection.recv():
        began = time.perf_counter()
        play(count)
        connection.send(count * workload.batch / (time.perf_counter() - began))


def _operations(workload: Workload, dtype: Any) -> float:
    """Floating-point operations of a step, as compiled: what both updates share is counted once.

    Counted on the CPU, whose compiler leaves convolutions as they are; an accelerator's hides them in library calls.
    """
    import jax

    from jaxgan.game import init_state, make_step

    stage = our_stage(workload, dtype)

    def step(key: Any, arrays: Any) -> Any:
        state = init_state(stage.game, key, stage.hyper)
        return make_step(stage.game)(state, stage.source.batch(arrays, key, state.step))

    with jax.default_device(jax.devices("cpu")[0]):
        compiled = jax.jit(step).lower(jax.random.key(0), dict(stage.source.arrays)).compile()
    return float((compiled.cost_analysis() or {}).get("flops", 0.0))


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


def _race(
    workload: Workload, sides: list[str], half: bool, rounds: int, seconds: float, smoke: bool
) -> tuple[dict[str, np.ndarray], float, float]:
    """Rates by side for those that ran (a side out of memory is left out), our operations a step, and the peak."""
    context = multiprocessing.get_context("spawn")
    runners: dict[str, tuple[Any, Any]] = {}
    rates: dict[str, list[float]] = {}
    operations = peak = float("nan")
    try:
        for side in sides:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, workload, side, half, seconds, smoke), daemon=True)
            process.start()
            there.close()
            try:
                _, counted, measured = here.recv()
            except EOFError:
                if smoke and side == "ours":
                    raise RuntimeError("our side failed, see above") from None
                print(f"  {side}: failed", file=sys.stderr, flush=True)
                continue
            runners[side] = (process, here)
            if side == "ours":
                operations, peak = counted, measured
        for _ in range(rounds):
            for side, (_, here) in runners.items():
                here.send(True)
                rates.setdefault(side, []).append(here.recv())
    finally:
        for process, here in runners.values():
            here.send(False)
            process.join(timeout=20)
            if process.is_alive():
                process.terminate()
    return {side: np.array(values) for side, values in rates.items()}, operations, peak


def _row(method: str, metric: str, values: np.ndarray | None) -> Row:
    if values is None:
        return Row(method, metric, None)
    low, middle, high = np.percentile(values, (25, 50, 75))
    return Row(method, metric, float(middle), float(high - low) / 2, SPREAD)


def measure(name: str, workload: Workload, half: bool, flags: argparse.Namespace, sides: list[str]) -> list[Row]:
    rounds, seconds = (1, 0.0) if flags.smoke else (3, 0.5) if flags.quick else (flags.rounds, 2.0)
    rates, operations, peak = _race(workload, sides, half, rounds, seconds, flags.smoke)
    method = f"{name}, {'bfloat16' if half else 'float32'}"
    ours = rates.get("ours")
    theirs = [values for side, values in rates.items() if side != "ours"]
    fastest = max(theirs, key=np.median) if theirs else None
    share = None if ours is None else ours / workload.batch * operations / peak
    return [
        _row(method, "examples a second", ours),
        _row(method, "share of the measured peak", share),
        _row(method, "ratio to PyTorch", None if ours is None or fastest is None else ours / fastest),
    ]


def pending(name: str, half: bool) -> list[Row]:
    metrics = ("examples a second", "share of the measured peak", "ratio to PyTorch")
    return [Row(f"{name}, {'bfloat16' if half else 'float32'}", metric, None) for metric in metrics]


def main() -> None:
    # what torch.compile leaves behind goes with the benchmark
    with tempfile.TemporaryDirectory() as caches:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = caches
        _main()


def _main() -> None:
    parser = arguments(__doc__ or "", seeds=1)
    parser.add_argument("--only", action="append", help=f"how some begin: {', '.join(workloads())}")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of two seconds each (default 9)")
    flags = parser.parse_args()
    began = time.perf_counter()
    chosen = {n: w for n, w in workloads().items() if flags.only is None or n.startswith(tuple(flags.only))}
    if not chosen:
        parser.error(f"--only: choose from {', '.join(workloads())}")
    with_torch = find_spec("torch") is not None
    if not with_torch:
        print(NEEDED, file=sys.stderr)
    sides = ["ours", *(["eager", "compiled"] if with_torch else [])]
    rows: list[Row] = []
    if flags.smoke:
        # one of each net, tiny, wherever this is
        for name in ("dcgan-64x64-256", "resnet-r1-256"):
            rows += measure(name, tiny(workloads()[name]), name.startswith("dcgan"), flags, sides[:2])
    else:
        # asked in a process of its own, so that this one takes none of the memory
        found = multiprocessing.get_context("spawn").Pool(1).apply(_platform)
        if found == "cpu":
            print("no accelerator here: every row is pending", file=sys.stderr)
        for name, workload in chosen.items():
            for half in (False, True):
                if found == "cpu":
                    rows += pending(name, half)
                    continue
                print(name, file=sys.stderr, flush=True)
                tried = sides[:2] if workload.penalty is not None else sides
                rows += measure(name, workload, half, flags, tried)
    finish("benchmark_accelerator", None, PROTOCOL, rows, began, flags)


def _platform() -> str:
    import jax

    return jax.default_backend()


if __name__ == "__main__":
    main()
