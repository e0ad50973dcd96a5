"""`fit`: the only Python training loop. It handles states, steps and sources, and knows no system."""

import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Key, Metrics
from jaxgan.data.source import HostSource
from jaxgan.game import Game, State, init_state, make_step
from jaxgan.training import parallel
from jaxgan.training.checkpoint import CheckpointError, Checkpoints
from jaxgan.training.log import Progress, RunLog, write_picture
from jaxgan.training.recipe import Recipe, Stage

# Folds of the run's key beyond any step: the data's order, the fixed latents, evaluations, rollbacks.
DATA, FIXED, EVALUATION, ROLLBACK = (0xFFFFFFFF - i for i in range(4))
CHUNK_SECONDS = 0.25
MAX_UNSYNCHRONISED_STEPS = 16
MAX_ROLLBACKS = 3


@dataclass(frozen=True)
class Plan:
    """When the loop does what, in steps; 0 means only at the end (log: never).

    keep: checkpoints kept besides the best. on_collapse: "warn", "stop" or "rollback".
    samples: pictures drawn from fixed latents. quiet: no display.
    """

    log_every: int = 50
    sample_every: int = 0
    save_every: int = 0
    evaluate_every: int = 0
    keep: int = 3
    on_collapse: str = "warn"
    devices: int | None = None
    samples: int = 64
    quiet: bool = False


@dataclass(frozen=True)
class Outcome:
    """How training ended: at `step`, in `state`, `stopped` by "end", "nan", "collapse", "SIGINT" or "SIGTERM"."""

    step: int
    state: State
    stopped: str
    message: str = ""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Totals:
    """What the compiled steps accumulate since the last log row; part of every checkpoint.

    sums: of each metric over the steps on which its update ran; ran: those steps by update;
    broken: the first step on which a metric was not finite, -1 if none was.
    """

    sums: Mapping[str, jax.Array]
    ran: Mapping[str, jax.Array]
    broken: Mapping[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Carry:
    """What training hands from step to step, and what a checkpoint holds."""

    state: State
    totals: Totals


def accumulate(totals: Totals, metrics: Metrics, step: jax.Array) -> Totals:
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
        traced = self._trace(stage)
        self.convolutional = parallel.contains_convolution(traced.jaxpr)
        chosen = parallel.choose_devices(devices, stage.source.batch_size, self.convolutional)
        self.mesh = parallel.data_mesh(chosen)
        self.whole = parallel.replicated(self.mesh)
        self.streamed = isinstance(stage.source, HostSource)
        self.stepwise = self.streamed or (platform == "cpu" and self.convolutional)
        self.options = parallel.compiler_options(platform, len(chosen)) if self.convolutional else None
        self.arrays = None if isinstance(stage.source, HostSource) else self.put(dict(stage.source.arrays))
        self._stream: tuple[int, Any] | None = None
        self._played: Callable[..., Carry] = self._loop()
        self._patterns: dict[tuple[bool, ...], Callable[..., Carry]] = {}
        metrics = jax.eval_shape(partial(self._step, active=None), *self._example(stage))[1]
        zero = np.zeros((), np.float32)
        self._empty = Totals(
            {name: zero for name in metrics},
            {update.name: zero for update in stage.game.updates},
            {name: np.full((), -1, np.int32) for name in metrics},
        )

    def put(self, tree: Any) -> Any:
        return jax.device_put(tree, self.whole)

    def empty_totals(self) -> Totals:
        return self.put(self._empty)

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
        state, arrays = self._example(self.stage)
        analysis = jax.jit(partial(self._step, active=None)).lower(state, arrays).compile().memory_analysis()
        return int(analysis.temp_size_in_bytes)

    def compilations(self) -> int:
        """How many programs were compiled so far (for the test that says it stays so)."""
        return sum(f._cache_size() for f in (self._played, *self._patterns.values()))  # type: ignore[attr-defined]

    def _raw(self, step: int) -> Any:
        assert isinstance(self.stage.source, HostSource)
        if self._stream is None or self._stream[0] != step:
            self._stream = (step, self.stage.source.iterate(step))
        raw = self.put(next(self._stream[1]))
        self._stream = (step + 1, self._stream[1])
        return raw

    def _step(self, state: State, arrays: Any, active: tuple[bool, ...] | None) -> tuple[State, Metrics]:
        batch = self.stage.source.batch(arrays, jax.random.fold_in(state.key, DATA), state.step)
        if hasattr(self, "mesh"):
            batch = parallel.shard_batch(batch, self.mesh)
        return make_step(self.stage.game, active=active)(state, batch)

    def _play(self, carry: Carry, arrays: Any, active: tuple[bool, ...] | None = None) -> Carry:
        state, metrics = self._step(carry.state, arrays, active)
        carry = Carry(state, accumulate(carry.totals, metrics, carry.state.step))
        return jax.lax.with_sharding_constraint(carry, self.whole)

    def _loop(self) -> Callable[..., Carry]:
        def play(carry: Carry, arrays: Any, count: jax.Array) -> Carry:
            return jax.lax.fori_loop(0, count, lambda _, c: self._play(c, arrays), carry)

        return jax.jit(play, donate_argnums=0, compiler_options=self.options)

    def _single(self, active: tuple[bool, ...]) -> Callable[..., Carry]:
        return jax.jit(partial(self._play, active=active), donate_argnums=0, compiler_options=self.options)

    def _example(self, stage: Stage) -> tuple[Any, Any]:
        state = abstract_state(stage.game)
        source = stage.source
        arrays = source.dataset[0] if isinstance(source, HostSource) else dict(source.arrays)
        return state, jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), arrays)

    def _trace(self, stage: Stage) -> Any:
        return jax.jit(partial(self._step, active=None)).trace(*self._example(stage))


def abstract_state(game: Game) -> State:
    """Shapes and types of the game's state; nothing is computed."""
    return jax.eval_shape(partial(init_state, game), jax.eval_shape(jax.random.key, 0))


def fit(
    recipe: Recipe,
    directory: Path,
    plan: Plan,
    seed: int,
    resume: bool = False,
    initial: State | None = None,
) -> Outcome:
    """Trains `recipe` from its first step, or from the newest intact checkpoint in `directory`, to its end.

    Writes metrics.jsonl, tensorboard/, samples/, reals.png and checkpoints/ there. On CPU a run
    that was interrupted and resumed is the uninterrupted one, bit for bit.

    initial: a state whose parameters, running variables and averages replace the fresh ones.
    SIGINT and SIGTERM save a checkpoint and end the run; a second one ends it at once.
    """
    end = recipe.stages[-1].until
    progress_holder: list[Progress] = []

    def say(message: str) -> None:
        if progress_holder:
            progress_holder[0].say(message)

    checkpoints = Checkpoints(directory / "checkpoints", plan.keep, warn=say)
    key = jax.random.key(seed)
    step, restored = 0, None
    quiet = Progress(0, end, quiet=plan.quiet)
    progress_holder.append(quiet)
    programs: dict[int, Program] = {}

    def program(index: int) -> Program:
        if index not in programs:
            programs.clear()  # the stage before is over: its data need not stay on the device
            programs[index] = Program(recipe.stages[index], plan.devices)
        return programs[index]

    def abstract_carry(step: int) -> Carry:
        # a checkpoint written exactly at a boundary still belongs to the stage that ended there
        index = recipe.stage_at(max(step - 1, 0))
        return Carry(abstract_state(recipe.stages[index].game), program(index)._empty)

    def begin(index: int, before: State | None) -> Carry:
        stage = recipe.stages[index]
        fresh = jax.jit(partial(init_state, stage.game), out_shardings=program(index).whole)(key)
        if before is not None:
            if stage.carry is not None:
                fresh = stage.carry(before, fresh)
            fresh = replace(fresh, step=before.step, key=before.key)
        return Carry(program(index).put(fresh), program(index).empty_totals())

    try:
        if resume:
            step, restored = checkpoints.restore(abstract_carry)
            checkpoints.delete_after(step)
            for picture in (directory / "samples").glob("*.png"):
                if picture.stem.isdigit() and int(picture.stem) > step:
                    picture.unlink()
        log = RunLog(directory, step)
    finally:
        quiet.close()
    progress = Progress(step, end, plan.quiet)
    progress_holder[0] = progress

    index = recipe.stage_at(max(step - 1, 0))
    if restored is None:
        carry = begin(index, None)
        if initial is not None:
            fields = ("params", "variables", "ema")
            taken = {f: {**getattr(carry.state, f), **getattr(initial, f)} for f in fields}
            carry = Carry(program(index).put(replace(carry.state, **taken)), carry.totals)
    else:
        carry = program(index).put(restored)

    def outcome(stopped: str, message: str = "") -> Outcome:
        return Outcome(step, carry.state, stopped, message)

    def save(score: float | None = None) -> bool:
        return checkpoints.save(step, carry, score)

    def due(interval: int) -> bool:
        return (interval > 0 and step % interval == 0) or step == end

    draw = None
    if recipe.prior is not None and recipe.generate is not None and recipe.draw is not None:
        (directory / "samples").mkdir(exist_ok=True)
        generate = jax.jit(recipe.generate, static_argnums=2)
        fixed = _fixed_inputs(recipe, key, plan.samples)

        def draw_samples(carry: Carry) -> None:
            assert recipe.draw is not None
            outputs = np.asarray(generate(carry.state, fixed, 1.0))
            write_picture(directory / "samples" / f"{step:06d}.png", recipe.draw(outputs))

        draw = draw_samples
    if recipe.reals is not None and recipe.draw is not None:
        write_picture(directory / "reals.png", recipe.draw(recipe.reals))
    if draw is not None and step == 0:
        draw(carry)

    rollbacks, last_good = 0, step if resume else None
    intervals = [i for i in (plan.log_every, plan.sample_every, plan.save_every, plan.evaluate_every) if i > 0]
    rate, busy, played = 0.0, 0.0, 0
    first_step = True

    with _interruptions() as interrupted:
        try:
            while step < end:
                if step >= recipe.stages[index].until:
                    index += 1
                    carry = begin(index, carry.state)
                boundary = min([recipe.stages[index].until, *(step + i - step % i for i in intervals)])
                count = min(boundary - step, max(1, int(rate * CHUNK_SECONDS))) if not first_step else 1
                began = time.perf_counter()
                with jax.transfer_guard("allow" if first_step else "disallow"):
                    carry = jax.block_until_ready(program(index).advance(carry, step, count))
                seconds = time.perf_counter() - began
                step += count
                if not first_step:
                    rate = count / seconds
                    busy, played = busy + seconds, played + count
                first_step = False
                progress.advance(step)

                broken = {n: int(s) for n, s in jax.device_get(carry.totals.broken).items() if s >= 0}
                if broken:
                    name = min(broken, key=lambda n: (broken[n], n))
                    good = "no checkpoint was saved before" if last_good is None else f"last good checkpoint: {last_good}"
                    return outcome("nan", f"{name} was not finite at step {broken[name]}; {good}")

                if plan.log_every and due(plan.log_every):
                    values: dict[str, Any] = averages(carry.totals)
                    if played:
                        size = recipe.stages[index].source.batch_size
                        values["examples_per_second"] = round(played * size / busy, 1)
                    busy, played = 0.0, 0
                    progress.row(log.row(step, values))
                    carry = Carry(carry.state, program(index).empty_totals())
                    alarm = recipe.alarm(log.rows)
                    if alarm is not None and recipe.alarm(log.rows[:-1]) is None:
                        log.row(step, {"event": "collapse", "message": alarm})
                        progress.say(f"step {step}: {alarm}")
                        if plan.on_collapse == "stop":
                            save()
                            return outcome("collapse", alarm)
                        if plan.on_collapse == "rollback":
                            if rollbacks == MAX_ROLLBACKS or not checkpoints.steps():
                                why = "no checkpoint to roll back to" if rollbacks == 0 else f"{rollbacks} rollbacks"
                                return outcome("collapse", f"{alarm}; gave up after {why}")
                            rollbacks += 1
                            step, restored = checkpoints.restore(abstract_carry, _before_alarm(checkpoints, log.rows))
                            checkpoints.delete_after(step)
                            log.close()
                            log = RunLog(directory, step)
                            index = recipe.stage_at(max(step - 1, 0))
                            # another key, or the same collapse would repeat
                            state = replace(restored.state, key=jax.random.fold_in(restored.state.key, ROLLBACK))
                            carry = program(index).put(Carry(state, restored.totals))
                            progress.say(f"rolled back to step {step} with another key ({rollbacks} of {MAX_ROLLBACKS})")
                            continue

                if draw is not None and due(plan.sample_every):
                    draw(carry)
                score = None
                if recipe.evaluations and due(plan.evaluate_every):
                    for name, evaluate in recipe.evaluations.items():
                        values = dict(evaluate(carry.state, jax.random.fold_in(key, EVALUATION)))
                        log.row(step, {"evaluation": name, **values})
                        if recipe.best is not None and recipe.best[0] == name:
                            score = recipe.best[2] * float(values[recipe.best[1]])
                stop = interrupted.name
                if due(plan.save_every) or score is not None or stop:
                    if not save(score if score is not None and isfinite(score) else None):
                        good = "none" if last_good is None else str(last_good)
                        return outcome("nan", f"a parameter was not finite at step {step}; last good checkpoint: {good}")
                    last_good = step
                if stop and step < end:
                    return outcome(stop, f"saved at step {step}")
            return outcome("end")
        except OSError as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"could not write to {directory}: {error.strerror or error}") from error
        finally:
            progress.close()
            try:
                checkpoints.close()
            finally:
                log.close()


def _before_alarm(checkpoints: Checkpoints, rows: list[dict[str, Any]], patience: int = 5) -> int:
    """The newest checkpoint from before the rows that raised the alarm, or the oldest there is."""
    logged = [row["step"] for row in rows if "event" not in row and "evaluation" not in row]
    began = logged[-min(patience, len(logged))]
    earlier = [s for s in checkpoints.steps() if s < began]
    return earlier[-1] if earlier else checkpoints.steps()[0]


def _fixed_inputs(recipe: Recipe, key: Key, n: int) -> Any:
    assert recipe.prior is not None
    condition = jnp.arange(n, dtype=jnp.int32) % recipe.num_classes if recipe.num_classes else None
    return recipe.prior(jax.random.fold_in(key, FIXED), n, condition)


class _Interrupted:
    name: str = ""


@contextmanager
def _interruptions():  # type: ignore[no-untyped-def]
    """Turns the first SIGINT or SIGTERM into a flag; restores the handlers, so that a second one ends the program."""
    flag, before = _Interrupted(), {}
    if threading.current_thread() is threading.main_thread():

        def note(number: int, frame: Any) -> None:
            flag.name = signal.Signals(number).name
            for n, handler in before.items():
                signal.signal(n, handler)

        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
