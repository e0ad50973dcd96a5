"""Several seeds of a small game trained together in memory: for studies that need no run folder."""

from collections.abc import Callable, Iterator
from typing import Any

import jax

from jaxgan.game import State
from jaxgan.training.population import axes, member_of
from jaxgan.training.program import Program
from jaxgan.training.recipe import Stage


def play(stage: Stage, seeds: int, pause: int | None = None) -> Iterator[tuple[int, State]]:
    """Plays the stage with seeds 0 ... seeds - 1 as one population.

    Yields (step, states) at step 0, at every `pause` steps and at the end; states are stacked over
    seeds (`State.step` is shared), see `of_each` and `jaxgan.training.population.member_of`.
    """
    program = Program(stage, None, [stage] * seeds)
    carry = program.start(range(seeds))
    step = 0
    yield step, program.gather(carry).state
    while step < stage.until:
        count = min(pause or stage.until, stage.until - step)
        carry = program.advance(carry, step, count)
        step += count
        yield step, program.gather(carry).state


def last(stage: Stage, seeds: int) -> State:
    """The states at the end of `play`, stacked over seeds."""
    for _, states in play(stage, seeds):
        final = states
    return final


def of_each(function: Callable[[State], Any], states: State) -> Any:
    """`function` of every seed's state, its results stacked over seeds; by vmap, so function is of arrays."""
    along = axes(states)
    return jax.vmap(function, in_axes=(along,))(states)


def one(states: State, seed: int) -> State:
    """The state of one seed."""
    return member_of(states, seed)
