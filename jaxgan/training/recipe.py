"""What the training loop is given: stages of a game, and how to draw from what was trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxgan.arrays import Array, Key
from jaxgan.data.source import DeviceSource, HostSource
from jaxgan.game import Game, State

# The fold of the run's key that `Recipe.readied` takes, beyond any step.
READY = 0xFFFFFFFB

# (state, key) -> named numbers and strings; runs on the host, at evaluation steps
Evaluation = Callable[[State, Key], Mapping[str, Any]]
# (state, pictures float32 [n, height, width, channel] in [-1, 1], key) -> pictures [n, ...], pure
Translate = Callable[[State, Array, Key], Array]


@dataclass(frozen=True)
class Translation:
    """How a system brings pictures into a domain: `translate`, of pictures with so many `channels`."""

    translate: Translate
    channels: int


@dataclass(frozen=True)
class Stage:
    """One game played on one source up to (not including) step `until`.

    hyper: the numbers of the run, by name, that the game reads from its state.
    carry: (state at the end of the stage before, fresh state of this game) -> the state to start
        from; None takes over step and key and everything else fresh. Not called for the first stage.
    """

    game: Game
    until: int
    source: DeviceSource | HostSource
    carry: Callable[[State, State], State] | None = None
    hyper: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A ready system.

    stages: played in order, `until` strictly increasing.
    prior: (key, n, condition) -> inputs of `generate`; None for systems that generate nothing.
    generate: (state, inputs, truncation) -> outputs [n, ...], pure, with averaged weights where kept.
    style, synthesize: where the generator goes through a second latent space (StyleGAN's W): (state,
        inputs) -> styles [n, ...], and (state, styles) -> outputs; `generate` without truncation is the two.
    ready: (state, key, truncation) -> state, what a trained state goes through before it generates at a truncation,
        such as standing statistics of batch normalization; None for nothing. Called by `readied`.
    translations: of systems that translate pictures, by the name of the domain into which; the first is the default.
    draw: outputs [n, ...] as numpy -> one uint8 picture [height, width, channel].
    picture: (state, key) -> one uint8 picture [height, width, channel]: the sheets of a training, for systems that
        generate nothing from a prior. It may show examples, which a run that is loaded does not have.
    reals: some real examples in the form of outputs, for reals.png.
    evaluations: by name.
    best: (evaluation, metric, sign): the checkpoint with the smallest sign * metric is kept as the best.
    alarm: log rows so far -> a warning, or None.
    data: what the manifest says of the data (name, fingerprint, sizes, notes).
    num_classes: of the condition, 0 for unconditional systems.
    sheet: how many samples a sheet shows.
    codes: how many of the latent's last dimensions are codes, which paths and truncation take as they are.
    refusal: why no run of it should begin, in one line; one that was begun goes on.
    """

    stages: tuple[Stage, ...]
    prior: Callable[[Key, int, Array | None], Any] | None = None
    generate: Callable[[State, Any, float], Array] | None = None
    style: Callable[[State, Any], Array] | None = None
    synthesize: Callable[[State, Array], Array] | None = None
    ready: Callable[[State, Key, float], State] | None = None
    translations: Mapping[str, Translation] = field(default_factory=dict)
    draw: Callable[[np.ndarray], np.ndarray] | None = None
    picture: Callable[[State, Key], np.ndarray] | None = None
    reals: np.ndarray | None = None
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    best: tuple[str, str, int] | None = None
    alarm: Callable[[Sequence[Mapping[str, Any]]], str | None] = lambda rows: None
    data: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int = 0
    sheet: int = 64
    codes: int = 0
    refusal: str | None = None

    def __post_init__(self) -> None:
        ends = [stage.until for stage in self.stages]
        if not ends or ends[0] < 1 or ends != sorted(set(ends)):
            raise ValueError(f"stages end at strictly increasing steps of at least 1, got {ends}")

    def stage_at(self, step: int) -> int:
        """The index of the stage that plays the step after `step` steps were played (the last one at the end)."""
        return next((i for i, stage in enumerate(self.stages) if step < stage.until), len(self.stages) - 1)

    def readied(self, state: State, seed: int, truncation: float = 1.0) -> State:
        """A trained state as samples and evaluations see it; training goes on from the one that was given."""
        key = jax.random.fold_in(jax.random.key(seed), READY)
        return state if self.ready is None else self.ready(state, key, truncation)
