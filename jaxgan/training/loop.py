"""`fit`: the only Python training loop. It handles states, steps and sources, and knows no system."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.game import State, init_state
from jaxgan.training.checkpoint import CheckpointError, Checkpoints
from jaxgan.training.log import Progress, RunLog, write_picture
from jaxgan.training.parallel import quick_compilation
from jaxgan.training.program import Carry, Program, abstract_state, averages
from jaxgan.training.recipe import Recipe

# Folds of the run's key beyond any step (the program takes the last one, for the data).
FIXED, EVALUATION, ROLLBACK = (0xFFFFFFFE - i for i in range(3))
CHUNK_SECONDS = 0.25
MAX_ROLLBACKS = 3


@dataclass(frozen=True)
class Plan:
    """When the loop does what, in steps; 0 means only at the end (log: never).

    keep: checkpoints kept besides the best. on_collapse: "warn", "stop" or "rollback".
    quiet: no display.
    """

    log_every: int = 50
    sample_every: int = 0
    save_every: int = 0
    evaluate_every: int = 0
    keep: int = 3
    on_collapse: str = "warn"
    devices: int | None = None
    quiet: bool = False


@dataclass(frozen=True)
class Outcome:
    """How training ended: at `step`, in `state`, `stopped` by "end", "nan", "collapse", "SIGINT" or "SIGTERM"."""

    step: int
    state: State
    stopped: str
    message: str = ""


class _Stop(Exception):
    """Ends the loop before its last step; the arguments are `stopped` and `message` of the outcome."""


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
    Raises CheckpointError if the folder cannot be written, or nothing intact is there to resume from.
    """
    session = _Session(recipe, directory, plan, seed)
    try:
        session.restore() if resume else session.begin(initial)
        with _interruptions() as interrupted:
            while session.step < session.end:
                session.play()
                if session.log():
                    continue
                session.draw()
                score = session.evaluate()
                session.save(score, at_once=bool(interrupted))
                if interrupted and session.step < session.end:
                    raise _Stop(interrupted[0], f"saved at step {session.step}")
        return Outcome(session.step, session.carry.state, "end")
    except _Stop as stop:
        return Outcome(session.step, session.carry.state, *stop.args)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"could not write to {directory}: {error.strerror or error}") from error
    finally:
        session.close()


class _Session:
    """One call of `fit`: where it stands, and the files it writes."""

    def __init__(self, recipe: Recipe, directory: Path, plan: Plan, seed: int) -> None:
        self.recipe, self.directory, self.plan = recipe, directory, plan
        self.key = jax.random.key(seed)
        self.end = recipe.stages[-1].until
        self.step = 0
        self.progress = Progress(self.end, recipe.stages[0].source.batch_size, plan.quiet)
        self.checkpoints = Checkpoints(directory / "checkpoints", plan.keep, warn=self.progress.say)
        self.rows: RunLog | None = None
        self.last_saved: int | None = None
        self.rollbacks = 0
        self.rate, self.busy, self.played = 0.0, 0.0, 0
        self.stage = 0
        self.carry: Carry = None  # type: ignore[assignment]
        self._programs: dict[int, Program] = {}
        self._generate: Any = None

    def program(self, stage: int) -> Program:
        if stage not in self._programs:
            self._programs.clear()  # the stage before is over: its data need not stay on the device
            self._programs[stage] = Program(self.recipe.stages[stage], self.plan.devices)
        return self._programs[stage]

    # -- beginnings ----------------------------------------------------------------------------------

    def begin(self, initial: State | None) -> None:
        self._enter(0)
        if initial is not None:
            state, program = self.carry.state, self.program(0)
            state = replace(
                state,
                params={**state.params, **initial.params},
                variables={**state.variables, **initial.variables},
                ema={**state.ema, **{name: tree for name, tree in initial.ema.items() if name in state.ema}},
            )
            self.carry = Carry(program.put(state), self.carry.totals)
        self.rows = RunLog(self.directory, 0)
        if self.recipe.reals is not None and self.recipe.draw is not None:
            write_picture(self.directory / "reals.png", self.recipe.draw(self.recipe.reals))
        self.draw(at_once=True)

    def restore(self, step: int | None = None) -> None:
        """Goes to the newest intact checkpoint, or that of `step`, and cuts off all that came after it."""
        self.step, carry = self.checkpoints.restore(self._abstract, step)
        self.stage = self._stage_that_made(self.step)
        self.carry = self.program(self.stage).put(carry)
        self.last_saved = self.step
        self.checkpoints.delete_after(self.step)
        for picture in (self.directory / "samples").glob("*.png"):
            if picture.stem.isdigit() and int(picture.stem) > self.step:
                picture.unlink()
        if self.rows is not None:
            self.rows.close()
        self.rows = RunLog(self.directory, self.step)

    def _stage_that_made(self, step: int) -> int:
        # a checkpoint written exactly at a boundary belongs to the stage that ended there
        return self.recipe.stage_at(max(step - 1, 0))

    def _abstract(self, step: int) -> Carry:
        stage = self._stage_that_made(step)
        return Carry(abstract_state(self.recipe.stages[stage]), self.program(stage).empty)

    def _enter(self, index: int) -> None:
        """Starts a stage, from nothing or from what the one before left."""
        stage, program = self.recipe.stages[index], self.program(index)
        options = quick_compilation(jax.default_backend())
        made = jax.jit(
            partial(init_state, stage.game, hyper=stage.hyper), out_shardings=program.whole, compiler_options=options
        )
        state = made(self.key)
        if index > 0:
            before = self.carry.state
            carried = state if stage.carry is None else stage.carry(before, state)
            state = program.put(replace(carried, step=before.step, key=before.key))
        self.stage, self.carry = index, Carry(state, program.empty_totals())

    # -- one turn of the loop ------------------------------------------------------------------------

    def play(self) -> None:
        """Plays steps up to the next one at which something is due, or for a quarter of a second."""
        if self.step >= self.recipe.stages[self.stage].until:
            self._enter(self.stage + 1)
            self.rate = 0.0
        program = self.program(self.stage)
        intervals = (self.plan.log_every, self.plan.sample_every, self.plan.save_every, self.plan.evaluate_every)
        due = [self.step + i - self.step % i for i in intervals if i > 0]
        boundary = min([self.recipe.stages[self.stage].until, *due])
        # the first call compiles: it is one step long, and not timed
        compiling = self.rate == 0.0
        count = 1 if compiling else min(boundary - self.step, max(1, int(self.rate * CHUNK_SECONDS)))
        began = time.perf_counter()
        with jax.transfer_guard("allow" if compiling else "disallow"):
            self.carry = jax.block_until_ready(program.advance(self.carry, self.step, count))
        seconds = time.perf_counter() - began
        self.step += count
        self.rate = count / seconds
        if not compiling:
            self.busy, self.played = self.busy + seconds, self.played + count
        self.progress.advance(self.step)
        broken = {name: int(s) for name, s in jax.device_get(self.carry.totals.broken).items() if s >= 0}
        if broken:
            name = min(broken, key=lambda n: (broken[n], n))
            raise _Stop("nan", f"{name} was not finite at step {broken[name]}; {self._last_good()}")

    def log(self) -> bool:
        """Writes a row of metrics, and looks at the rows for a collapse; whether that led back to a checkpoint."""
        if not self.plan.log_every or not self._due(self.plan.log_every):
            return False
        assert self.rows is not None
        values: dict[str, Any] = averages(self.carry.totals)
        if self.played:
            size = self.recipe.stages[self.stage].source.batch_size
            values["examples_per_second"] = round(self.played * size / self.busy, 1)
        self.busy, self.played = 0.0, 0
        self.progress.row(self.rows.row(self.step, values))
        self.carry = Carry(self.carry.state, self.program(self.stage).empty_totals())
        alarm = self.recipe.alarm(self.rows.rows)
        if alarm is not None and self.recipe.alarm(self.rows.rows[:-1]) is None:
            self.rows.row(self.step, {"event": "collapse", "message": alarm})
            self.progress.say(f"step {self.step}: {alarm}")
            if self.plan.on_collapse == "stop":
                self.save(at_once=True)
                raise _Stop("collapse", alarm)
            if self.plan.on_collapse == "rollback":
                self._roll_back(alarm)
                return True
        return False

    def draw(self, at_once: bool = False) -> None:
        """Draws the samples of the fixed latents."""
        recipe = self.recipe
        if recipe.prior is None or recipe.generate is None or recipe.draw is None:
            return
        if not (at_once or self._due(self.plan.sample_every)):
            return
        if self._generate is None:
            (self.directory / "samples").mkdir(exist_ok=True)
            self._generate = jax.jit(recipe.generate, static_argnums=2)
        n = recipe.sheet
        condition = jnp.arange(n, dtype=jnp.int32) % recipe.num_classes if recipe.num_classes else None
        inputs = recipe.prior(jax.random.fold_in(self.key, FIXED), n, condition)
        outputs = np.asarray(self._generate(self.carry.state, inputs, 1.0))
        write_picture(self.directory / "samples" / f"{self.step:06d}.png", recipe.draw(outputs))

    def evaluate(self) -> float | None:
        """Runs the evaluations that are due; the score of this step (smaller is better), if it has one."""
        if not self._due(self.plan.evaluate_every):
            return None
        assert self.rows is not None
        score = None
        for name, evaluation in self.recipe.evaluations.items():
            values = evaluation(self.carry.state, jax.random.fold_in(self.key, EVALUATION))
            self.rows.row(self.step, {"evaluation": name, **values})
            if self.recipe.best is not None and self.recipe.best[0] == name:
                score = self.recipe.best[2] * float(values[self.recipe.best[1]])
        return score if score is not None and isfinite(score) else None

    def save(self, score: float | None = None, at_once: bool = False) -> None:
        if not (at_once or score is not None or self._due(self.plan.save_every)):
            return
        if not self.checkpoints.save(self.step, self.carry, score):
            raise _Stop("nan", f"a parameter was not finite at step {self.step}; {self._last_good()}")
        self.last_saved = self.step

    def close(self) -> None:
        self.progress.close()
        try:
            self.checkpoints.close()
        finally:
            if self.rows is not None:
                self.rows.close()

    def _due(self, interval: int) -> bool:
        return (interval > 0 and self.step % interval == 0) or self.step == self.end

    def _last_good(self) -> str:
        if self.last_saved is None:
            return "no checkpoint was saved before"
        return f"last good checkpoint: {self.last_saved}"

    def _roll_back(self, alarm: str) -> None:
        self.checkpoints.wait()
        sealed = self.checkpoints.steps()
        if self.rollbacks == MAX_ROLLBACKS or not sealed:
            why = f"after {self.rollbacks} rollbacks" if sealed else "for want of a checkpoint"
            raise _Stop("collapse", f"{alarm}; gave up {why}")
        self.rollbacks += 1
        assert self.rows is not None
        self.restore(_before_alarm(sealed, self.rows.rows))
        # another key, or the same collapse would repeat
        state = replace(self.carry.state, key=jax.random.fold_in(self.carry.state.key, ROLLBACK))
        self.carry = self.program(self.stage).put(Carry(state, self.carry.totals))
        message = f"rolled back to step {self.step} with another key ({self.rollbacks} of {MAX_ROLLBACKS}): {alarm}"
        # the row that said so was of the steps that are now undone
        self.rows.row(self.step, {"event": "rollback", "message": message})
        self.progress.say(message)


def _before_alarm(sealed: Sequence[int], rows: Sequence[Mapping[str, Any]], patience: int = 5) -> int:
    """The newest checkpoint from before the rows that raised the alarm, or the oldest there is."""
    logged = [row["step"] for row in rows if "event" not in row and "evaluation" not in row]
    earlier = [step for step in sealed if step < logged[-min(patience, len(logged))]]
    return earlier[-1] if earlier else sealed[0]


@contextmanager
def _interruptions() -> Iterator[list[str]]:
    """Notes the first SIGINT or SIGTERM in a list and restores the handlers: a second one ends the program."""
    noted: list[str] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():

        def note(number: int, frame: Any) -> None:
            noted.append(signal.Signals(number).name)
            for n, handler in before.items():
                signal.signal(n, handler)

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
