"""The compiled form of a stage: a program that plays many steps, and what it accumulates on the way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Metrics
from jaxgan.data.source import HostSource
from jaxgan.game import State, init_state, make_step
from jaxgan.training import parallel, population
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

    members: the stage as each member of a population plays it, of which the numbers and, where data
        are streamed, the sources are used. What is carried is then a tuple of carries, one a call of
        the layout, each stacked over its lanes. None for a single run, which carries a `Carry`.
    """

    def __init__(self, stage: Stage, devices: int | None, members: Sequence[Stage] | None = None) -> None:
        self.stage, self.members = stage, members
        platform = jax.default_backend()
        self.mesh: Any = None
        self.layout: population.Layout | None = None
        example = _example(stage)
        traced = jax.jit(partial(self._step, active=None)).trace(*example)
        self.convolutional = parallel.contains_convolution(traced.jaxpr)
        operations = float((traced.lower().cost_analysis() or {}).get("flops", 0.0))
        if members is None:
            chosen = parallel.choose_devices(devices, stage.source.batch_size)
            self.mesh = parallel.data_mesh(chosen)
        else:
            self.layout = population.choose_layout(len(members), devices, platform, operations, self.convolutional)
            chosen = jax.local_devices()[: self.layout.devices]
            self.mesh = population.member_mesh(chosen)
        self.whole = parallel.replicated(self.mesh)
        self.streamed = isinstance(stage.source, HostSource)
        self.stepwise = self.streamed or (platform == "cpu" and self.convolutional)
        self.options = parallel.compiler_options(platform, len(chosen))
        self.arrays = None if isinstance(stage.source, HostSource) else self.put(dict(stage.source.arrays))
        self._streams: dict[int, tuple[int, Any]] = {}
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

    # -- what is carried -----------------------------------------------------------------------------

    def start(self, seeds: Sequence[int], before: State | None = None) -> Any:
        """What is carried at the beginning: fresh states, or what the stage before left (as in `gather`) carried over.

        seeds: one, or those of the members.
        """
        init, quick = partial(init_state, self.stage.game), parallel.quick_compilation(jax.default_backend())
        if self.layout is None:
            fresh = partial(init, hyper=self.stage.hyper)
            made = jax.jit(fresh, out_shardings=self.whole, compiler_options=quick)(jax.random.key(seeds[0]))
            carried = self._carried_over(before, made)
            return Carry(made if carried is made else self.put(carried), self.empty_totals())
        assert self.members is not None
        hypers = [{**self.stage.hyper, **member.hyper} for member in self.members]
        hyper = {name: np.array([h[name] for h in hypers], np.float32) for name in self.stage.hyper}
        keys = jnp.stack([jax.random.key(seed) for seed in seeds])

        def one_by_one(keys: Array, hyper: Any) -> Any:
            # under vmap the QR decompositions of orthogonal initialisation wait for each other in XLA's CPU threads,
            # forever
            stacked = jax.lax.map(lambda own: init(own[0], own[1]), (keys, hyper))
            return population.each(lambda x: x, stacked, lambda shared: shared[0])

        made = jax.jit(one_by_one, compiler_options=quick)(keys, hyper)
        if before is None:
            carried = made
        else:
            along = population.axes(abstract_state(self.stage))
            carried = jax.vmap(self._carried_over, (population.axes(before), along), along)(before, made)
        return self.scatter(Carry(carried, self._stacked_totals(len(seeds))))

    def _carried_over(self, before: State | None, fresh: State) -> State:
        if before is None:
            return fresh
        carried = fresh if self.stage.carry is None else self.stage.carry(before, fresh)
        return replace(carried, step=before.step, key=before.key)

    def gather(self, carry: Any) -> Carry:
        """What is carried as one tree: for a population stacked over the members."""
        return carry if self.layout is None else population.collect(carry, self.layout)

    def scatter(self, carry: Carry) -> Any:
        """The inverse of `gather`; arrays of the host are welcome."""
        return self.put(carry) if self.layout is None else population.spread(carry, self.layout, self.mesh)

    def without_totals(self, carry: Any) -> Any:
        """The same states with nothing accumulated."""
        if self.layout is None:
            return Carry(carry.state, self.empty_totals())
        lanes = parallel.NamedSharding(self.mesh, parallel.PartitionSpec(population.AXIS))
        return tuple(Carry(one.state, jax.device_put(self._stacked_totals(self.layout.lanes), lanes)) for one in carry)

    def totals(self, carry: Any) -> list[Totals]:
        """What each member accumulated, on the host."""
        if self.layout is None:
            return [jax.device_get(carry.totals)]
        calls = jax.device_get([one.totals for one in carry])
        places = [self.layout.place(member) for member in range(self.layout.members)]
        return [jax.tree.map(lambda x, lane=lane: x[lane], calls[call]) for call, lane in places]

    def empty_totals(self) -> Totals:
        return self.put(self.empty)

    def _stacked_totals(self, members: int) -> Totals:
        return jax.tree.map(lambda x: np.full((members,), x, x.dtype), self.empty)

    def abstract(self) -> Carry:
        """Shapes and types of what `gather` returns."""
        alone = Carry(abstract_state(self.stage), self.empty)
        return (
            alone
            if self.layout is None
            else jax.eval_shape(partial(population.copies, members=self.layout.members), alone)
        )

    # -- steps ---------------------------------------------------------------------------------------

    def advance(self, carry: Any, step: int, count: int) -> Any:
        if self.layout is None:
            return self._advance(carry, step, count, None)
        return tuple(self._advance(one, step, count, call) for call, one in enumerate(carry))

    def _advance(self, carry: Carry, step: int, count: int, call: int | None) -> Carry:
        if not self.stepwise:
            return self._played(carry, self.arrays, self.put(np.int32(count)))
        for s in range(step, step + count):
            active = tuple(bool(u.when(s)) if u.when else True for u in self.stage.game.updates)
            if active not in self._patterns:
                self._patterns[active] = self._compiled(partial(self._play, active=active))
            carry = self._patterns[active](carry, self._raw(s, call) if self.streamed else self.arrays)
            # un-synchronised steps on several CPU devices deadlock in a collective after a while
            if (s + 1) % MAX_UNSYNCHRONISED_STEPS == 0:
                jax.block_until_ready(carry.totals)
        return carry

    def working_bytes(self) -> int:
        """Memory of one step's intermediate values, as compiled for this machine."""
        compiled = jax.jit(partial(self._step, active=None)).lower(*_example(self.stage)).compile()
        return int(getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0))

    def _raw(self, step: int, call: int | None) -> Any:
        if call is None:
            return jax.device_put(self._next(0, self.stage, step), parallel.split(self.mesh))
        assert self.layout is not None and self.members is not None
        ours = [int(member) for member in self.layout.indices(call)]
        raw = {member: self._next(member, self.members[member], step) for member in sorted(set(ours))}
        stacked = jax.tree.map(lambda *xs: np.stack(xs), *[raw[member] for member in ours])
        return jax.device_put(stacked, parallel.NamedSharding(self.mesh, parallel.PartitionSpec(population.AXIS)))

    def _next(self, member: int, stage: Stage, step: int) -> Any:
        assert isinstance(stage.source, HostSource)
        at, stream = self._streams.get(member, (-1, None))
        if at != step:
            stream = stage.source.iterate(step)
        raw = next(stream)
        self._streams[member] = (step + 1, stream)
        return raw

    def _step(self, state: State, arrays: Any, active: tuple[bool, ...] | None) -> tuple[State, Metrics]:
        batch = self.stage.source.batch(arrays, jax.random.fold_in(state.key, DATA), state.step)
        if self.mesh is not None and self.layout is None:
            batch = parallel.shard_batch(batch, self.mesh)
        return make_step(self.stage.game, active=active)(state, batch)

    def _play(self, carry: Carry, arrays: Any, active: tuple[bool, ...] | None = None) -> Carry:
        state, metrics = self._step(carry.state, arrays, active)
        carry = Carry(state, accumulate(carry.totals, metrics, carry.state.step))
        return carry if self.layout is not None else jax.lax.with_sharding_constraint(carry, self.whole)

    def _loop(self) -> Callable[..., Carry]:
        def play(carry: Carry, arrays: Any, count: Array) -> Carry:
            return jax.lax.fori_loop(0, count, lambda _, c: self._play(c, arrays), carry)

        return self._compiled(play)

    def _compiled(self, play: Callable[..., Carry]) -> Callable[..., Carry]:
        if self.layout is not None:
            play = population.over_lanes(play, self.layout, self.mesh, own_arrays=self.streamed)
        return jax.jit(play, donate_argnums=0, compiler_options=self.options)


def _example(stage: Stage) -> tuple[Any, Any]:
    """Shapes and types of what one step of a stage is given."""
    source = stage.source
    arrays = source.dataset[0] if isinstance(source, HostSource) else dict(source.arrays)
    return abstract_state(stage), jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), arrays)


def abstract_state(stage: Stage) -> State:
    """Shapes and types of the state of a stage's game; nothing is computed."""
    return jax.eval_shape(partial(init_state, stage.game, hyper=stage.hyper), jax.eval_shape(jax.random.key, 0))


def lowered(stage: Stage) -> str:
    """What the compiler is given for one step of a stage, as text: the same for stages that one program can play."""

    def step(state: State, arrays: Any) -> tuple[State, Metrics]:
        return make_step(stage.game)(state, stage.source.batch(arrays, jax.random.fold_in(state.key, DATA), state.step))

    return jax.jit(step).lower(*_example(stage)).as_text()
