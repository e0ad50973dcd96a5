"""`fit`, and `fit_population`: the only Python training loop. It handles states, steps and sources, knows no system."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Key
from jaxgan.game import State
from jaxgan.training.checkpoint import CheckpointError, Checkpoints
from jaxgan.training.log import Progress, RunLog, write_picture
from jaxgan.training.population import Group, Member, copies, finite, member_of
from jaxgan.training.program import Carry, Program, Totals, averages
from jaxgan.training.recipe import Recipe

# Folds of the run's key beyond any step (the program takes the last one, for the data; `recipe` the next).
FIXED, EVALUATION, ROLLBACK = (0xFFFFFFFE - i for i in range(3))
CHUNK_SECONDS = 0.25
MAX_ROLLBACKS = 3


@dataclass(frozen=True)
class Plan:
    """When the loop does what, in steps; 0 means only at the end (log: never).

    keep: checkpoints kept besides the best. on_collapse: "warn", "stop" or "rollback".
    quiet: no display. minutes: stop then, saved, at the latest one chunk later; None for never.
    """

    log_every: int = 50
    sample_every: int = 0
    save_every: int = 0
    evaluate_every: int = 0
    keep: int = 3
    on_collapse: str = "warn"
    devices: int | None = None
    quiet: bool = False
    minutes: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How training ended: at `step`, in `state`, `stopped` by "end", "nan", "collapse", "time", "SIGINT" or "SIGTERM".

    state: for a population that of its first member.
    """

    step: int
    state: State
    stopped: str
    message: str = ""


class Interrupted(KeyboardInterrupt):
    """A signal that a training inside another task heard in its place; the argument is its name, SIGINT or SIGTERM."""


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
    alone = Group(recipe, (Member(0, seed, recipe),))
    return _train(_Session((alone,), directory, plan, alone=True), resume, initial)


def fit_whole(recipe: Recipe, directory: Path, plan: Plan, seed: int) -> Outcome:
    """`fit` of a net that another task needs, and that is of no use to it before its end.

    Raises Interrupted for a signal, CheckpointError if values were not finite or the folder cannot be written.
    """
    outcome = fit(recipe, directory, plan, seed)
    if outcome.stopped in ("SIGINT", "SIGTERM"):
        raise Interrupted(outcome.stopped)
    if outcome.stopped != "end":
        raise CheckpointError(f"the training of a net that was needed broke at step {outcome.step}: {outcome.message}")
    return outcome


def fit_population(
    groups: Sequence[Group], directory: Path, plan: Plan, resume: bool = False, initial: State | None = None
) -> Outcome:
    """`fit` of many members at once, into one folder: a row, a sheet and an evaluation for each.

    The groups play in step, each by one program, and end at the same step. A member with a value that
    is not finite is noted and left out from there on; the run goes on with the others. The best
    checkpoint is that of the smallest mean score.
    """
    if plan.on_collapse != "warn":
        raise ValueError(f"a population goes on when a member collapses: on_collapse is warn, got {plan.on_collapse!r}")
    return _train(_Session(groups, directory, plan, alone=False), resume, initial)


def _train(session: "_Session", resume: bool, initial: State | None) -> Outcome:
    try:
        session.restore() if resume else session.begin(initial)
        with _interruptions() as interrupted:
            while session.step < session.end:
                session.play()
                if session.log():
                    continue
                session.draw()
                try:
                    score = session.evaluate()
                except Interrupted as heard:
                    # by the classifier that an evaluation trains, in our place
                    session.save(at_once=True)
                    raise _Stop(*heard.args, f"saved at step {session.step}, which was not evaluated") from None
                except CheckpointError:
                    # of that classifier, not of this run, which loses nothing by it
                    session.save(at_once=True)
                    raise
                stopped = interrupted[0] if interrupted else "time" if session.out_of_time() else None
                session.save(score, at_once=stopped is not None)
                if stopped is not None and session.step < session.end:
                    raise _Stop(stopped, f"saved at step {session.step}")
        return Outcome(session.step, session.first_state(), "end")
    except _Stop as stop:
        return Outcome(session.step, session.first_state(), *stop.args)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"could not write to {session.directory}: {error.strerror or error}") from error
    finally:
        session.close()


class _Playing:
    """A group at play: its program, and where it stands. A single run is a group of one without an axis of members."""

    def __init__(self, group: Group, devices: int | None, alone: bool) -> None:
        self.recipe, self.members, self.devices, self.alone = group.recipe, group.members, devices, alone
        self.stage = 0
        self.carry: Any = None
        self._programs: dict[int, Program] = {}
        self.generate = None if group.recipe.generate is None else jax.jit(group.recipe.generate, static_argnums=2)

    def program(self, stage: int) -> Program:
        if stage not in self._programs:
            self._programs.clear()  # the stage before is over: its data need not stay on the device
            members = None if self.alone else [member.recipe.stages[stage] for member in self.members]
            self._programs[stage] = Program(self.recipe.stages[stage], self.devices, members)
        return self._programs[stage]

    def enter(self, index: int) -> None:
        """Starts a stage, from nothing or from what the one before left."""
        before = None if index == 0 else self.program(index - 1).gather(self.carry).state
        self.carry = self.program(index).start([member.seed for member in self.members], before)
        self.stage = index

    def replace(self, initial: State) -> None:
        """Goes on from the parameters, running variables and averages of another run."""
        program = self.program(self.stage)
        carry: Carry = program.gather(self.carry)
        theirs = initial if self.alone else copies(initial, len(self.members))
        state = replace(
            carry.state,
            params={**carry.state.params, **theirs.params},
            variables={**carry.state.variables, **theirs.variables},
            ema={**carry.state.ema, **{name: tree for name, tree in theirs.ema.items() if name in carry.state.ema}},
        )
        self.carry = program.scatter(Carry(state, carry.totals))

    def stage_that_made(self, step: int) -> int:
        # a checkpoint written exactly at a boundary belongs to the stage that ended there
        return self.recipe.stage_at(max(step - 1, 0))

    def abstract(self, step: int) -> Carry:
        return self.program(self.stage_that_made(step)).abstract()

    def restore(self, step: int, carry: Carry) -> None:
        self.stage = self.stage_that_made(step)
        self.carry = self.program(self.stage).scatter(carry)

    def until(self) -> int:
        return self.recipe.stages[self.stage].until

    def advance(self, step: int, count: int) -> None:
        self.carry = self.program(self.stage).advance(self.carry, step, count)

    def totals(self) -> list[tuple[Member, Totals]]:
        return list(zip(self.members, self.program(self.stage).totals(self.carry), strict=True))

    def clear(self) -> None:
        self.carry = self.program(self.stage).without_totals(self.carry)

    def tree(self) -> Carry:
        return self.program(self.stage).gather(self.carry)

    def states(self) -> list[tuple[Member, State]]:
        stacked = self.tree().state
        if self.alone:
            return [(self.members[0], stacked)]
        return [(member, member_of(stacked, place)) for place, member in enumerate(self.members)]


class _Session:
    """One call of `fit`: where it stands, and the files it writes."""

    def __init__(self, groups: Sequence[Group], directory: Path, plan: Plan, alone: bool) -> None:
        self.directory, self.plan, self.alone = directory, plan, alone
        self.groups = [_Playing(group, plan.devices, alone) for group in groups]
        self.recipe = groups[0].recipe
        self.members = sorted((m for group in groups for m in group.members), key=lambda m: m.number)
        self.end = self.recipe.stages[-1].until
        if any(group.recipe.stages[-1].until != self.end for group in groups):
            raise ValueError("all members of a population end at the same step")
        self.step = 0
        self.progress = Progress(self.end, plan.quiet)
        self.checkpoints = Checkpoints(directory / "checkpoints", plan.keep, warn=self.progress.say)
        self.rows: RunLog | None = None
        self.last_saved: int | None = None
        self.rollbacks = 0
        self.rate, self.busy, self.played = 0.0, 0.0, 0
        self.broken: set[int] = set()
        self.alarm: str | None = None
        self.deadline = None if plan.minutes is None else time.monotonic() + 60 * plan.minutes

    # -- beginnings ----------------------------------------------------------------------------------

    def begin(self, initial: State | None) -> None:
        for group in self.groups:
            group.enter(0)
            if initial is not None:
                group.replace(initial)
        self.rows = RunLog(self.directory, 0)
        if self.recipe.reals is not None and self.recipe.draw is not None:
            write_picture(self.directory / "reals.png", self.recipe.draw(self.recipe.reals))
        self.draw(at_once=True)

    def restore(self, step: int | None = None) -> None:
        """Goes to the newest intact checkpoint, or that of `step`, and cuts off all that came after it."""
        self.step, tree = self.checkpoints.restore(self._abstract, step)
        for group, carry in zip(self.groups, (tree,) if self.alone else tree["programs"], strict=True):
            group.restore(self.step, carry)
        self.last_saved = self.step
        self.checkpoints.delete_after(self.step)
        for picture in (self.directory / "samples").glob("*.png"):
            number = picture.stem.partition("-member")[0]
            if number.isdigit() and int(number) > self.step:
                picture.unlink()
        if self.rows is not None:
            self.rows.close()
        self.rows = RunLog(self.directory, self.step)
        if not self.alone:
            self.broken = {row["member"] for row in self.rows.rows if row.get("event") == "nan"}

    def _abstract(self, step: int) -> Any:
        trees = [group.abstract(step) for group in self.groups]
        return trees[0] if self.alone else {"programs": trees}

    def first_state(self) -> State:
        if self.alone:
            return self.groups[0].carry.state
        return next(state for group in self.groups for m, state in group.states() if m is self.members[0])

    # -- one turn of the loop ------------------------------------------------------------------------

    def play(self) -> None:
        """Plays steps up to the next one at which something is due, or for a quarter of a second."""
        for group in self.groups:
            if self.step >= group.until():
                group.enter(group.stage + 1)
                self.rate = 0.0
        intervals = (self.plan.log_every, self.plan.sample_every, self.plan.save_every, self.plan.evaluate_every)
        due = [self.step + i - self.step % i for i in intervals if i > 0]
        boundary = min([*(group.until() for group in self.groups), *due])
        # the first call compiles: it is one step long, and not timed
        compiling = self.rate == 0.0
        count = 1 if compiling else min(boundary - self.step, max(1, int(self.rate * CHUNK_SECONDS)))
        began = time.perf_counter()
        with jax.transfer_guard("allow" if compiling else "disallow"):
            for group in self.groups:
                group.advance(self.step, count)
            jax.block_until_ready([group.carry for group in self.groups])
        seconds = time.perf_counter() - began
        self.step += count
        self.rate = count / seconds
        if not compiling:
            self.busy, self.played = self.busy + seconds, self.played + count
        self.progress.advance(self.step)
        found = []
        for group in self.groups:
            for member, totals in group.totals():
                broken = {name: int(s) for name, s in totals.broken.items() if s >= 0}
                if broken and member.number not in self.broken:
                    name = min(broken, key=lambda n: (broken[n], n))
                    found.append((broken[name], member.number, f"{name} was not finite at step {broken[name]}"))
        for step, number, what in sorted(found):
            self._break(number, what, step + 1)

    def _break(self, number: int, what: str, step: int) -> None:
        """Leaves a member out from `step` on; the run ends if it was the last one."""
        if self.alone:
            raise _Stop("nan", f"{what}; {self._last_good()}")
        assert self.rows is not None
        self.broken.add(number)
        # the step at which it broke, not the one at which that was seen, which depends on the machine's speed
        self.rows.row(step, {"event": "nan", "member": number, "message": what})
        self.progress.say(f"member {number}: {what}; it is left out from here on")
        if len(self.broken) == len(self.members):
            raise _Stop("nan", f"no member is left: {what}; {self._last_good()}")

    def log(self) -> bool:
        """Writes rows of metrics, and looks at the rows for a collapse; whether that led back to a checkpoint."""
        if not self.plan.log_every or not self._due(self.plan.log_every):
            return False
        assert self.rows is not None
        rate: dict[str, Any] = {}
        if self.played:
            size = sum(g.recipe.stages[g.stage].source.batch_size * len(g.members) for g in self.groups)
            rate["examples_per_second"] = round(self.played * size / self.busy, 1)
        seconds_left = (self.end - self.step) * self.busy / self.played if self.played else None
        self.busy, self.played = 0.0, 0
        logged = []
        for recipe, member, totals in self._in_order([(g, m, t) for g in self.groups for m, t in g.totals()]):
            logged.append(self.rows.row(self.step, {**self._named(member), **averages(totals), **rate}))
            self._look_for_collapse(recipe, member)
        for group in self.groups:
            group.clear()
        self.progress.row(logged, seconds_left)
        return self._act_on_collapse()

    def _look_for_collapse(self, recipe: Recipe, member: Member) -> None:
        assert self.rows is not None
        rows = self.rows.rows if self.alone else self.rows.of_member(member.number)
        self.alarm = recipe.alarm(rows)
        if self.alarm is not None and recipe.alarm(rows[:-1]) is not None:
            self.alarm = None
        if self.alarm is not None:
            self.rows.row(self.step, {"event": "collapse", **self._named(member), "message": self.alarm})
            who = "" if self.alone else f", member {member.number}"
            self.progress.say(f"step {self.step}{who}: {self.alarm}")

    def _act_on_collapse(self) -> bool:
        if self.alarm is not None and self.plan.on_collapse == "stop":
            self.save(at_once=True)
            raise _Stop("collapse", self.alarm)
        if self.alarm is not None and self.plan.on_collapse == "rollback":
            self._roll_back(self.alarm)
            return True
        return False

    def draw(self, at_once: bool = False) -> None:
        """Draws the samples of the fixed latents."""
        if not (at_once or self._due(self.plan.sample_every)):
            return
        for group in self.groups:
            recipe, generate = group.recipe, group.generate
            if recipe.picture is None and (recipe.prior is None or generate is None or recipe.draw is None):
                continue
            (self.directory / "samples").mkdir(exist_ok=True)
            for member, state in group.states():
                if member.number in self.broken:
                    continue
                key, readied = (
                    jax.random.fold_in(jax.random.key(member.seed), FIXED),
                    recipe.readied(state, member.seed),
                )
                picture = recipe.picture(readied, key) if recipe.picture else _sheet(recipe, generate, readied, key)
                name = f"{self.step:06d}" + ("" if self.alone else f"-member{member.number:02d}")
                write_picture(self.directory / "samples" / f"{name}.png", picture)

    def evaluate(self) -> float | None:
        """Runs the evaluations that are due; the mean score of this step (smaller is better), if it has one."""
        if not self._due(self.plan.evaluate_every):
            return None
        assert self.rows is not None
        scores = []
        for recipe, member, state in self._in_order([(g, m, s) for g in self.groups for m, s in g.states()]):
            key = jax.random.fold_in(jax.random.key(member.seed), EVALUATION)
            state = recipe.readied(state, member.seed)
            for name, evaluation in recipe.evaluations.items():
                values = evaluation(state, key)
                self.rows.row(self.step, {"evaluation": name, **self._named(member), **values})
                if recipe.best is not None and recipe.best[0] == name:
                    scores.append(recipe.best[2] * float(values[recipe.best[1]]))
        scores = [score for score in scores if isfinite(score)]
        return sum(scores) / len(scores) if scores else None

    def save(self, score: float | None = None, at_once: bool = False) -> None:
        if not (at_once or score is not None or self._due(self.plan.save_every)):
            return
        trees = [group.tree() for group in self.groups]
        for group, stacked in zip(self.groups, trees, strict=True):
            good_members = () if self.alone else np.asarray(finite(stacked.state))
            for member, good in zip(group.members, good_members, strict=not self.alone):
                if not good and member.number not in self.broken:
                    # finite metrics and a parameter that is not: found here or never
                    self._break(member.number, f"a parameter was not finite at step {self.step}", self.step)
        tree: Any = trees[0] if self.alone else {"programs": trees}
        if not self.checkpoints.save(self.step, tree, score, check=not self.broken):
            raise _Stop("nan", f"a parameter was not finite at step {self.step}; {self._last_good()}")
        self.last_saved = self.step

    def _in_order(self, found: list[tuple[_Playing, Member, Any]]) -> list[tuple[Recipe, Member, Any]]:
        """(recipe, member, value) of the members that are not broken, by their number."""
        found = sorted(found, key=lambda one: one[1].number)
        return [(group.recipe, m, value) for group, m, value in found if m.number not in self.broken]

    def _named(self, member: Member) -> dict[str, Any]:
        return {} if self.alone else {"member": member.number}

    def out_of_time(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

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
        # another key, or the same collapse would repeat; a population never comes here
        group = self.groups[0]
        state = replace(group.carry.state, key=jax.random.fold_in(group.carry.state.key, ROLLBACK))
        group.carry = group.program(group.stage).put(Carry(state, group.carry.totals))
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


def _sheet(recipe: Recipe, generate: Any, state: State, key: Key) -> np.ndarray:
    """The samples of fixed latents, of each class in turn."""
    assert recipe.prior is not None and recipe.draw is not None
    n = recipe.sheet
    condition = jnp.arange(n, dtype=jnp.int32) % recipe.num_classes if recipe.num_classes else None
    return recipe.draw(np.asarray(generate(state, recipe.prior(key, n, condition), 1.0)))
