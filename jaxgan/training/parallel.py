"""Devices: how many, how a batch is laid over them, and the two wrappers for per-device programs."""

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgan.arrays import Batch, Metrics
from jaxgan.game import Game, State, make_step

AXIS = "data"


def configure_backend() -> None:
    """To be called before JAX is first used: as many CPU devices as cores, and a compilation cache on disk.

    The variables JAX_NUM_CPU_DEVICES and JAX_COMPILATION_CACHE_DIR, where set, win.
    """
    if "JAX_NUM_CPU_DEVICES" not in os.environ and "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        # not Linux, or JAX is already in use: one device it is
        with contextlib.suppress(AttributeError, RuntimeError):
            jax.config.update("jax_num_cpu_devices", min(len(os.sched_getaffinity(0)), 8))
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jaxgan" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def choose_devices(requested: int | None, batch_size: int) -> list[jax.Device]:
    """The devices to train on: `requested` of them, or as many as help.

    On accelerators all devices that divide the batch. On CPU one, which uses all cores by itself:
    splitting a batch over more was slower, or no faster, for every net of experiments/benchmark_cpu.py.
    """
    devices = jax.local_devices()
    if requested is not None:
        if not 1 <= requested <= len(devices):
            raise ValueError(f"--devices {requested}: this machine offers 1 to {len(devices)} ({devices[0].platform})")
        if batch_size % requested:
            raise ValueError(f"--devices {requested} does not divide the batch of {batch_size}")
        return devices[:requested]
    if devices[0].platform == "cpu":
        return devices[:1]
    return devices[: max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)]


def data_mesh(devices: Sequence[jax.Device]) -> Mesh:
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The first axis over the devices of the mesh."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def shard_batch(batch: Batch, mesh: Mesh) -> Batch:
    """Inside jit: lays the first axis of every array of the batch over the mesh."""
    return jax.lax.with_sharding_constraint(batch, split(mesh))


def compiler_options(platform: str, num_devices: int) -> dict[str, str | bool] | None:
    """Compiler options that help here, and None where there are none.

    On one CPU device, XLA's convolutions through YNNPACK run on a single core, and its products of large
    batches are slower: it is kept for reductions alone, which are many times slower without it. On
    several devices the option ends in collectives that wait for each other for ever. Compilers that do
    not know it are left alone.
    """
    if platform != "cpu" or num_devices > 1:
        return None
    options: dict[str, str | bool] = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
    try:
        jax.jit(lambda x: x).lower(jax.ShapeDtypeStruct((), "int32")).compile(options)
    except Exception:
        return None
    return options


def quick_compilation(platform: str) -> dict[str, str | bool | int] | None:
    """Compiler options for a program that runs once, where compiling takes longer than running."""
    return {"xla_backend_optimization_level": 0} if platform == "cpu" else None


def contains_convolution(jaxpr: Any) -> bool:
    """Whether a (closed) jaxpr convolves anywhere, inner jaxprs included."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive.name == "conv_general_dilated":
            return True
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if (hasattr(inner, "eqns") or hasattr(inner, "jaxpr")) and contains_convolution(inner):
                    return True
    return False


def pmap_step(
    game: Game, devices: Sequence[jax.Device] | None = None
) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """`make_step` under ``jax.pmap``: state and batch with a leading axis of devices (see `replicate`).

    Each device draws its own latents and has its own batch statistics, so a loss differs from
    that of a one-device run on the same batch. Prefer jit over a mesh; this is for code built on pmap.
    """
    return jax.pmap(make_step(game, axis_name=AXIS), axis_name=AXIS, devices=devices, donate_argnums=0)


def shard_map_step(game: Game, mesh: Mesh) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """`make_step` under ``jax.shard_map``: a replicated state, a batch split along its first axis.

    check_vma is off because under the check JAX sums the gradients of replicated parameters by
    itself, and averaging them again would be wrong. Like `pmap_step`, each device draws its own latents.
    """
    whole, parts = PartitionSpec(), PartitionSpec(AXIS)
    step = make_step(game, axis_name=AXIS)
    return jax.jit(
        jax.shard_map(step, mesh=mesh, in_specs=(whole, parts), out_specs=(whole, whole), check_vma=False),
        donate_argnums=0,
    )


def replicate(state: State, num_devices: int) -> State:
    """A state with a leading axis of `num_devices` equal copies, for `pmap_step`."""
    return jax.tree.map(lambda x: jax.numpy.stack([x] * num_devices), state)
