"""The compiled form of a stage: a program that plays many steps, and what it accumulates on the way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Metrics
from jaxgan.data.source import HostSource
from jaxgan.game import State, init_state, make_step
from jaxgan.training import parallel
from jaxgan.training.recipe import Stage

# The fold of the run's key that orders the data, beyond any step.
DATA = 0xFFFFFFFF
MAX_UNSYNCHRONISED_STEPS = 16


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Totals:
    """What the compiled steps accumulate since the last log row; part of every checkpoint.

    sums: of each metric over the steps on which its update ran; ran: those steps by update;
    broken: the first step on which a metric was not finite, -1 if none was.
    """

    sums: Mapping[str, Any]
    ran: Mapping[str, Any]
    broken: Mapping[str, Any]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Carry:
    """What training hands from step to step, and what a checkpoint holds."""

    state: State
    totals: Totals


def accumulate(totals: Totals, metrics: Metrics, step: Array) -> Totals:
    """Adds the metrics of one step."""
    sums, broken = {}, {}
    for name, value in metrics.items():
        ran = metrics[f"{name.split('/')[0]}/ran"] > 0
        sums[name] = totals.sums[name] + jnp.where(ran, value, 0.0)
        first = (totals.broken[name] < 0) & ran & ~jnp.isfinite(value)
        broken[name] = jnp.where(first, step, totals.broken[name])
    ran_steps = {name: totals.ran[name] + metrics[f"{name}/ran"] for name in totals.ran}
    return Totals(sums, ran_steps, broken)


def averages(totals: Totals) -> dict[str, float]:
    """The mean of each metric over the steps on which its update ran; updates that never ran are left out."""
    host = jax.device_get(totals)
    return {
        name: float(value / host.ran[update])
        for name, value in host.sums.items()
        if host.ran[update := name.split("/")[0]] > 0 and not name.endswith("/ran")
    }


class Program:
    """The compiled form of a stage: `advance(carry, step, count)` plays `count` steps.

    Accelerators and dense nets run a loop of steps inside one compiled program, whose length is an
    argument: chunks of any length are the same program and the same bits. On CPU a convolution's
    weight gradient is 20 to 30 times slower inside such a loop, so there each step is a call of its
    own, and `when` is resolved on the host.
    """

    def __init__(self, stage: Stage, devices: int | None) -> None:
        self.stage = stage
        platform = jax.default_backend()
        self.mesh: Any = None
        example = _example(stage)
        traced = jax.jit(partial(self._step, active=None)).trace(*example)
        self.convolutional = parallel.contains_convolution(traced.jaxpr)
        operations = float((traced.lower().cost_analysis() or {}).get("flops", 0.0))
        chosen = parallel.choose_devices(devices, stage.source.batch_size, operations)
        self.mesh = parallel.data_mesh(chosen)
        self.whole = parallel.replicated(self.mesh)
        self.streamed = isinstance(stage.source, HostSource)
        self.stepwise = self.streamed or (platform == "cpu" and self.convolutional)
        self.options = parallel.compiler_options(platform, len(chosen)) if self.convolutional else None
        self.arrays = None if isinstance(stage.source, HostSource) else self.put(dict(stage.source.arrays))
        self._stream: tuple[int, Any] | None = None
        self._played: Callable[..., Carry] = self._loop()
        self._patterns: dict[tuple[bool, ...], Callable[..., Carry]] = {}
        metrics = traced.out_info[1]
        zero = np.zeros((), np.float32)
        self.empty = Totals(
            dict.fromkeys(metrics, zero),
            {update.name: zero for update in stage.game.updates},
            {name: np.full((), -1, np.int32) for name in metrics},
        )

    def put(self, tree: Any) -> Any:
        return jax.device_put(tree, self.whole)

    def empty_totals(self) -> Totals:
        return self.put(self.empty)

    def advance(self, carry: Carry, step: int, count: int) -> Carry:
        if not self.stepwise:
            return self._played(carry, self.arrays, self.put(np.int32(count)))
        for s in range(step, step + count):
            active = tuple(bool(u.when(s)) if u.when else True for u in self.stage.game.updates)
            if active not in self._patterns:
                self._patterns[active] = self._single(active)
            carry = self._patterns[active](carry, self._raw(s) if self.streamed else self.arrays)
            # un-synchronised steps on several CPU devices deadlock in a collective after a while
            if (s + 1) % MAX_UNSYNCHRONISED_STEPS == 0:
                jax.block_until_ready(carry.totals)
        return carry

    def working_bytes(self) -> int:
        """Memory of one step's intermediate values, as compiled for this machine."""
        compiled = jax.jit(partial(self._step, active=None)).lower(*_example(self.stage)).compile()
        return int(getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0))

    def _raw(self, step: int) -> Any:
        assert isinstance(self.stage.source, HostSource)
        if self._stream is None or self._stream[0] != step:
            self._stream = (step, self.stage.source.iterate(step))
        raw = jax.device_put(next(self._stream[1]), parallel.split(self.mesh))
        self._stream = (step + 1, self._stream[1])
        return raw

    def _step(self, state: State, arrays: Any, active: tuple[bool, ...] | None) -> tuple[State, Metrics]:
        batch = self.stage.source.batch(arrays, jax.random.fold_in(state.key, DATA), state.step)
        if self.mesh is not None:
            batch = parallel.shard_batch(batch, self.mesh)
        return make_step(self.stage.game, active=active)(state, batch)

    def _play(self, carry: Carry, arrays: Any, active: tuple[bool, ...] | None = None) -> Carry:
        state, metrics = self._step(carry.state, arrays, active)
        carry = Carry(state, accumulate(carry.totals, metrics, carry.state.step))
        return jax.lax.with_sharding_constraint(carry, self.whole)

    def _loop(self) -> Callable[..., Carry]:
        def play(carry: Carry, arrays: Any, count: Array) -> Carry:
            return jax.lax.fori_loop(0, count, lambda _, c: self._play(c, arrays), carry)

        return jax.jit(play, donate_argnums=0, compiler_options=self.options)

    def _single(self, active: tuple[bool, ...]) -> Callable[..., Carry]:
        return jax.jit(partial(self._play, active=active), donate_argnums=0, compiler_options=self.options)


def _example(stage: Stage) -> tuple[Any, Any]:
    """Shapes and types of what one step of a stage is given."""
    source = stage.source
    arrays = source.dataset[0] if isinstance(source, HostSource) else dict(source.arrays)
    return abstract_state(stage), jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), arrays)


def abstract_state(stage: Stage) -> State:
    """Shapes and types of the state of a stage's game; nothing is computed."""
    return jax.eval_shape(partial(init_state, stage.game, hyper=stage.hyper), jax.eval_shape(jax.random.key, 0))
