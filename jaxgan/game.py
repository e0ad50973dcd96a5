"""The engine: a game is a set of players and an ordered list of updates; `make_step` plays it.

This is the only code of the library that plays: takes gradients, calls optimizers, averages over
devices and moves exponential moving averages. (`dynamics` looks at a game from outside.) It knows
nothing of generators and discriminators.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgan.arrays import Array, Batch, Key, Metrics, Params, Variables

# -- descriptions: frozen, never traced ------------------------------------------------------------


@dataclass(frozen=True)
class Net:
    """A network as two pure functions.

    init: key -> variables, a mapping with "params" (trained) and any running collections.
    apply: (variables, *inputs, key=None, train=True) -> (output, changed), where `changed` holds
        the running collections after this pass: nothing when there are none or train is False.
    couples_batch: whether one example's output depends on the others (batch normalization in
        training mode, minibatch statistics). Per-example gradients mean nothing for such a net.
    features: as `apply`, but returning ((output, features), changed): of a discriminator the last
        hidden activations [batch, n] of the same pass, for feature matching and for heads on them; of a
        translator a tuple of maps [batch, h, w, c]; None where the net has none to show.
    """

    init: Callable[[Key], Variables]
    apply: Callable[..., tuple[Any, Variables]]
    couples_batch: bool = False
    features: Callable[..., tuple[tuple[Any, Any], Variables]] | None = None


@dataclass(frozen=True)
class Player:
    """One network of a game. Without an optimizer it is frozen: no update may move it.

    optimizer: an optax transformation; one that takes extra arguments is given `hyper`, the numbers
        of the run, and `step`, the game's, which is not the player's where players move at different
        rates (see `jaxgan.optimizers.from_hyper`).
    ema_decay: keep an exponential moving average of the parameters,
        ``ema <- decay * ema + (1 - decay) * params`` each time the player moves; a float in
        [0, 1) or a function of the step. Running variables are not averaged: the average is used
        with the current ones.
    """

    net: Net
    optimizer: optax.GradientTransformation | None = None
    ema_decay: float | Callable[[Array], Array] | None = None


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


# -- values: pytrees -------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """All that survives a step. Mappings go by player name, `memory` and `hyper` by their own names.

    hyper holds the numbers a study varies without recompiling; losses read them.
    """

    step: Array
    key: Key
    params: Mapping[str, Params]
    variables: Mapping[str, Variables]
    opt_state: Mapping[str, Any]
    ema: Mapping[str, Params]
    memory: Mapping[str, Any]
    hyper: Mapping[str, Any]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LossInput:
    """What a loss may read besides the parameters of all players.

    key is the same for every update of a step, so that two updates that draw latents with the
    same fold see the same fakes, and the compiler runs the generator once. What must differ
    between updates folds something of its own in.
    """

    step: Array
    key: Key
    batch: Batch
    variables: Mapping[str, Variables]
    opt_state: Mapping[str, Any]
    ema: Mapping[str, Params]
    memory: Mapping[str, Any]
    hyper: Mapping[str, Any]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LossOutput:
    """What a loss computed besides its value.

    variables: changed running variables by player; only the movers' are kept.
    memory: changed entries of the game's memory.
    metrics: scalars to log, without the update's name.
    """

    variables: Mapping[str, Variables] = field(default_factory=dict)
    memory: Mapping[str, Any] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=dict)


LossFn = Callable[[Mapping[str, Params], LossInput], tuple[Array, LossOutput]]


@dataclass(frozen=True)
class Update:
    """Who moves, on what loss, on which steps.

    players: the movers; `loss` is differentiated with respect to their parameters alone.
    when: a function of the step alone (a Python int or a traced int32), None for every step.
    """

    name: str
    players: tuple[str, ...]
    loss: LossFn
    when: Callable[[Any], Any] | None = None


def every(interval: int, offset: int | None = None) -> Callable[[Any], Any] | None:
    """`Update.when` for every `interval`-th step; None (always) for an interval of 1.

    The default offset, interval - 1, lets the other players move `interval` times first: with
    ``every(5)`` on the generator, five discriminator steps precede each generator step.
    """
    if interval < 1:
        raise ValueError(f"an interval counts steps and is at least 1, got {interval}")
    phase = interval - 1 if offset is None else offset
    if not 0 <= phase < interval:
        raise ValueError(f"the offset of every({interval}) lies in 0..{interval - 1}, got {offset}")
    return None if interval == 1 else lambda step: step % interval == phase


@dataclass(frozen=True)
class Game:
    """Players, and the updates of one step in order.

    memory: key -> named state that the losses carry besides parameters (floating entries are
        averaged over devices, integer ones, such as uint8 replay pools, stay per device).
    simultaneous: all updates of a step see the players as they were when it began; otherwise
        each sees what the ones before it did (alternating play). Memory passes from update to
        update either way.
    """

    players: Mapping[str, Player]
    updates: tuple[Update, ...]
    memory: Callable[[Key], Mapping[str, Any]] = lambda key: {}
    simultaneous: bool = False

    def __post_init__(self) -> None:
        names = [update.name for update in self.updates]
        if not names:
            raise ValueError("a game needs at least one update")
        if len(set(names)) < len(names):
            raise ValueError(f"updates need different names, got {names}")
        moved: list[str] = []
        for update in self.updates:
            if "/" in update.name or not update.name:
                raise ValueError(f"an update's name is not empty and has no '/', got {update.name!r}")
            if not update.players:
                raise ValueError(f"update {update.name!r} moves no player")
            if len(set(update.players)) < len(update.players):
                raise ValueError(f"update {update.name!r} moves a player twice: {update.players}")
            for name in update.players:
                if name not in self.players:
                    raise ValueError(
                        f"update {update.name!r} moves unknown player {name!r}; players are {sorted(self.players)}"
                    )
                if self.players[name].optimizer is None:
                    raise ValueError(f"update {update.name!r} moves player {name!r}, which has no optimizer (frozen)")
            moved += update.players
        if self.simultaneous and len(set(moved)) < len(moved):
            raise ValueError(f"in simultaneous play each player moves in one update only, got {moved}")


def init_state(game: Game, key: Key, hyper: Mapping[str, Any] | None = None) -> State:
    """The state before the first step. `key` is a typed key, ``jax.random.key(seed)``.

    Every array is the state's own, none the caller's or held twice, because the loop donates it.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise TypeError(f"init_state takes a typed key such as jax.random.key(0), got {key.dtype}")
    params, variables, opt_state, ema = {}, {}, {}, {}
    for i, name in enumerate(sorted(game.players)):
        player = game.players[name]
        collections = dict(player.net.init(jax.random.fold_in(key, i)))
        params[name] = collections.pop("params")
        variables[name] = collections
        if player.optimizer is not None:
            opt_state[name] = player.optimizer.init(params[name])
        if player.ema_decay is not None:
            ema[name] = params[name]
    state = State(
        step=jnp.zeros((), jnp.int32),
        key=key,
        params=params,
        variables=variables,
        opt_state=opt_state,
        ema=ema,
        memory=dict(game.memory(jax.random.fold_in(key, len(game.players)))),
        hyper=dict(hyper or {}),
    )
    return jax.tree.map(_own, state)


def _own(value: Any) -> Array:
    """A copy with a type of its own: numbers from Python are weakly typed, and those from a checkpoint are not."""
    copy = jnp.copy(value)
    if jnp.issubdtype(copy.dtype, jax.dtypes.prng_key):
        return copy
    return jax.lax.convert_element_type(copy, copy.dtype)


def make_step(
    game: Game, axis_name: str | None = None, active: tuple[bool, ...] | None = None
) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """The pure function ``step(state, batch) -> (state, metrics)`` that plays `game` once.

    It works unchanged under jit (also with sharded batches), scan, vmap over seeds (map over the
    state with `step` unbatched, or every `when` becomes a select that runs both branches), and,
    with `axis_name`, under pmap and ``shard_map(check_vma=False)``, where gradients, running
    variables, floating memory and metrics are averaged over that axis.

    active: which updates run, one bool each, when the caller has resolved every `when` on the
        host; None decides inside the compiled step.
    metrics: float32 scalars named "update/metric". Each update reports "ran", 1 or 0; the metrics
        of an update that did not run are 0 and carry no weight.
    """
    if active is not None and len(active) != len(game.updates):
        raise ValueError(f"active has {len(active)} entries for {len(game.updates)} updates")

    def move(update: Update, start: State, state: State, batch: Batch, key: Key) -> tuple[State, Metrics]:
        seen = start if game.simultaneous else state
        movers = {name: seen.params[name] for name in update.players}
        inputs = LossInput(
            step=seen.step,
            key=key,
            batch=batch,
            variables=seen.variables,
            opt_state=seen.opt_state,
            ema=seen.ema,
            memory=state.memory,
            hyper=seen.hyper,
        )

        def objective(moving: Mapping[str, Params]) -> tuple[Array, LossOutput]:
            value, output = update.loss({**seen.params, **moving}, inputs)
            if value.shape != () or value.dtype not in (jnp.float32, jnp.float64):
                raise TypeError(
                    f"the loss of update {update.name!r} is a float32 scalar, got {value.dtype}{list(value.shape)}"
                )
            return value, output

        (value, output), grads = jax.value_and_grad(objective, has_aux=True)(movers)
        if axis_name is not None:
            value, output, grads = _average((value, output, grads), axis_name)

        params, variables = dict(state.params), dict(state.variables)
        opt_state, ema = dict(state.opt_state), dict(state.ema)
        for name in update.players:
            player = game.players[name]
            assert player.optimizer is not None
            change, opt_state[name] = optax.with_extra_args_support(player.optimizer).update(
                grads[name], seen.opt_state[name], movers[name], hyper=seen.hyper, step=seen.step
            )
            params[name] = optax.apply_updates(movers[name], change)
            variables[name] = {**state.variables[name], **output.variables.get(name, {})}
            if player.ema_decay is not None:
                decay = player.ema_decay(seen.step) if callable(player.ema_decay) else player.ema_decay
                ema[name] = optax.incremental_update(params[name], ema[name], 1.0 - decay)
        metrics = {
            "loss": value,
            "gradient_norm": optax.tree.norm(grads),
            **output.metrics,
            "ran": jnp.ones(()),
        }
        moved = replace(
            state,
            params=params,
            variables=variables,
            opt_state=opt_state,
            ema=ema,
            memory={**state.memory, **output.memory},
        )
        return moved, {f"{update.name}/{name}": jnp.float32(value) for name, value in metrics.items()}

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        if axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        start = state
        metrics: dict[str, Array] = {}
        for i, update in enumerate(game.updates):

            def run(state: State, update: Update = update) -> tuple[State, Metrics]:
                return move(update, start, state, batch, key)

            def skip(state: State, run: Callable = run) -> tuple[State, Metrics]:
                _, reported = jax.eval_shape(run, state)
                return state, jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), reported)

            if active is not None:
                state, reported = (run if active[i] else skip)(state)
            elif update.when is None:
                state, reported = run(state)
            else:
                state, reported = jax.lax.cond(update.when(start.step), run, skip, state)
            metrics.update(reported)
        return replace(state, step=state.step + 1), metrics

    return step


def _average(tree: Any, axis_name: str) -> Any:
    """The mean over devices of all floating leaves; integer leaves stay each device's own."""
    return jax.tree.map(lambda x: jax.lax.pmean(x, axis_name) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
