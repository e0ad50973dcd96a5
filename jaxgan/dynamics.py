"""The game as a vector field: transformations that change how it moves, and the field's own Jacobian and spectrum.

Each player moves down the gradient of its own loss, so the joint direction of simultaneous gradient
descent is v = -(gradient of each player's loss in its own parameters), the sign of Mescheder et al.
2018 (arXiv 1801.04406): a fixed point is stable in continuous time where all eigenvalues of the
Jacobian of v have negative real parts.

`unroll`, `consensus`, `extragradient` and `accumulate` change losses only, so that everything else that a game
does (schedules, averages, devices) stays `make_step`'s. Inside them a batch is what the loss is
given: whole under jit over a mesh, a device's own part under pmap and shard_map, where look-ahead
moves and the norm of the field are therefore each device's own, like its batch statistics.

Optimistic gradients (extrapolation from the past) are optimizers and need nothing from here: give
each player ``optax.optimistic_gradient_descent(rate)`` or ``optax.optimistic_adam_v2(rate)`` in a
simultaneous game (Daskalakis et al. 2018, arXiv 1711.00141).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jaxgan.arrays import Array, Batch, Params
from jaxgan.game import Game, LossFn, LossInput, LossOutput, Player, State, Update, make_step

Number = float | Callable[[LossInput], Array]
"""A number, or what a loss reads it from: ``lambda inputs: inputs.hyper["weight"]``."""

# -- transformations -------------------------------------------------------------------------------


def unroll(game: Game, mover: str, opponent: str, steps: int) -> Game:
    """The game in which update `mover` looks `steps` moves of update `opponent` ahead: see `unrolled`.

    mover, opponent: names of two updates that move different players.
    """
    updates = {update.name: update for update in game.updates}
    for name in (mover, opponent):
        if name not in updates:
            raise ValueError(f"no update {name!r} to unroll; updates are {list(updates)}")
    shared = set(updates[mover].players) & set(updates[opponent].players)
    if shared:
        raise ValueError(f"update {opponent!r} is no opponent of {mover!r}: both move {sorted(shared)}")
    ahead = replace(updates[mover], loss=unrolled(updates[mover].loss, updates[opponent], game.players, steps))
    return replace(game, updates=tuple(ahead if update.name == mover else update for update in game.updates))


def unrolled(loss: LossFn, opponent: Update, players: Mapping[str, Player], steps: int) -> LossFn:
    """`loss` as it will be after `opponent` has made `steps` more moves, differentiated through them.

    Metz, Poole, Pfau, Sohl-Dickstein, "Unrolled Generative Adversarial Networks", 2017, arXiv
    1611.02163, Eq. 7 to 9: the gradient has the term through the opponent's reaction, which playing
    the opponent several times (n_critic) has not. The opponent descends its own loss, not an
    unrolled one, with its optimizer from the state that this is in; its parameters, its optimizer's
    state and the game's memory are left as they are. All moves see the same batch and key, as in
    the authors' code. The paper's generator maximises D's loss (minimax, not non-saturating).

    The opponent's loss must depend on the mover differentiably: a stop_gradient on the fakes in it
    cuts the reaction off. steps 0 gives `loss`. Cost: `steps` second derivatives of the opponent's
    loss, written out one after the other.
    """
    if steps < 0:
        raise ValueError(f"unrolled steps are counted from 0, got {steps}")

    def compute(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
        for _ in range(steps):
            params, inputs = _moved(opponent, players, params, inputs)
        return loss(params, inputs)

    return compute


def consensus(game: Game, weight: Number) -> Game:
    """Adds ``weight * |v|^2 / 2`` to every player's loss, v the field of all updates; simultaneous play.

    Mescheder, Nowozin, Geiger, "The Numerics of GANs", 2017, arXiv 1705.10461, Algorithm 2. Each
    player differentiates the whole squared norm, in its own parameters. The exact gradient: the
    authors' later Dirac-GAN notebook halves it away from the equilibrium. On a batch the norm is
    that of the noisy gradient, an overestimate, as in the paper. The field counts every update,
    also one that its schedule skips. ``replace(consensus(...), simultaneous=False)`` plays in turns.

    Metric of each update: "consensus", ``|v|^2 / 2``.
    """

    def regularized(loss: LossFn) -> LossFn:
        def compute(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
            value, output = loss(params, inputs)
            half_square = 0.5 * optax.tree.norm(_velocity(game, params, inputs), squared=True)
            return (
                value + _number(weight, inputs) * half_square,
                replace(output, metrics={**output.metrics, "consensus": half_square}),
            )

        return compute

    updates = tuple(replace(update, loss=regularized(update.loss)) for update in game.updates)
    return replace(game, updates=updates, simultaneous=True)


def extragradient(game: Game, step_size: Number | None = None) -> Game:
    """Every player moves by its gradient at the point where all would be one move later; simultaneous play.

    Korpelevich 1976; Gidel et al., "A Variational Inequality Perspective on Generative Adversarial
    Networks", 2019, arXiv 1802.10551. The look-ahead is a plain gradient step of `step_size`, or,
    by default, a move of each player's own optimizer from its present state.

    With Adam this is a variant of the paper's ExtraAdam (Algorithm 4): there the moments take in
    both gradients of an iteration and each has a batch of its own; here the moments take in the
    second gradient alone, and both are of the same batch. With SGD on full batches there is no
    difference. Losses, metrics and running variables are those of the second evaluation.

    Raises ValueError for an update with a schedule: a look-ahead of players who do not move is not
    the method.
    """
    for update in game.updates:
        if update.when is not None:
            raise ValueError(f"extragradient moves every player at every step; update {update.name!r} has a schedule")

    def look_ahead(params: Mapping[str, Params], inputs: LossInput) -> Mapping[str, Params]:
        ahead = dict(params)
        for update in game.updates:
            if step_size is None:
                moved, _ = _moved(update, game.players, params, inputs)
                ahead.update({name: moved[name] for name in update.players})
            else:
                rate = _number(step_size, inputs)
                for name, gradient in _gradients(update, params, inputs)[0].items():
                    ahead[name] = optax.apply_updates(params[name], jax.tree.map(lambda g, r=rate: -r * g, gradient))
        return ahead

    def extrapolated(update: Update) -> LossFn:
        @jax.custom_vjp
        def compute(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
            return update.loss(look_ahead(params, inputs), inputs)

        def forward(params: Mapping[str, Params], inputs: LossInput) -> Any:
            ahead = look_ahead(params, inputs)
            movers = {name: ahead[name] for name in update.players}
            return jax.value_and_grad(lambda own: update.loss({**ahead, **own}, inputs), has_aux=True)(movers)

        # the slope of a move is the gradient at the other point; the slope of that gradient, which `jacobian`
        # and `step_jacobian` take, goes through the look-ahead, so that a stop_gradient there will not do
        def backward(gradient: Any, cotangent: Any) -> Any:
            own = jax.tree.map(lambda g: (cotangent[0] * g).astype(g.dtype), gradient)
            return dict.fromkeys(game.players) | own, None

        compute.defvjp(forward, backward)
        return compute

    updates = tuple(replace(update, loss=extrapolated(update)) for update in game.updates)
    return replace(game, updates=updates, simultaneous=True)


def accumulate(game: Game, parts: int) -> Game:
    """The game whose gradients are means over `parts` parts of each batch, taken one after another: less memory.

    For losses that are means over examples it is the same move up to rounding, and `parts` times less
    activation memory; batch statistics, packs and latents are each part's own. Running variables and
    memory go from part to part. Metrics are means over the parts.

    Example i is in part i modulo `parts`, so that a batch laid over devices stays where it is. Raises
    ValueError, when the game is played, for a batch that does not divide.
    """
    if parts < 1:
        raise ValueError(f"a batch has at least 1 part, got {parts}")

    def summed(update: Update) -> LossFn:
        def take(batch: Batch, i: Array) -> Batch:
            def one(x: Array) -> Array:
                if x.shape[0] % parts:
                    raise ValueError(f"{parts} parts do not divide a batch of {x.shape[0]}")
                return jax.lax.dynamic_index_in_dim(x.reshape(-1, parts, *x.shape[1:]), i, 1, keepdims=False)

            return jax.tree.map(one, batch)

        def over_parts(params: Mapping[str, Params], inputs: LossInput, slope: bool) -> Any:
            movers = {name: params[name] for name in update.players}
            others = {name: tree for name, tree in params.items() if name not in movers}

            def part(carry: tuple[Any, Any], i: Array) -> tuple[Any, Any]:
                variables, memory = carry
                given = replace(
                    inputs,
                    # the same for every update, so that they still see the same fakes
                    key=jax.random.fold_in(inputs.key, i),
                    batch=take(inputs.batch, i),
                    variables={**inputs.variables, **variables},
                    memory=memory,
                )

                def loss(own: Mapping[str, Params]) -> tuple[Array, LossOutput]:
                    return update.loss({**others, **own}, given)

                if slope:
                    (value, output), gradient = jax.value_and_grad(loss, has_aux=True)(movers)
                else:
                    (value, output), gradient = loss(movers), None
                changed = {name: {**variables[name], **output.variables.get(name, {})} for name in movers}
                return (changed, {**memory, **output.memory}), (value, gradient, output.metrics)

            start = ({name: dict(inputs.variables[name]) for name in movers}, dict(inputs.memory))
            # in a loop that adds up, so that no part's gradient is kept
            first = part(start, jnp.zeros((), jnp.int32))

            def further(i: Array, before: tuple[Any, Any]) -> tuple[Any, Any]:
                carry, added = part(before[0], i)
                return carry, jax.tree.map(jnp.add, before[1], added)

            (variables, memory), total = jax.lax.fori_loop(1, parts, further, first)
            value, gradient, metrics = jax.tree.map(lambda x: x / parts, total)
            return (value, LossOutput(variables, memory, metrics)), gradient

        @jax.custom_vjp
        def compute(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
            return over_parts(params, inputs, slope=False)[0]

        def forward(params: Mapping[str, Params], inputs: LossInput) -> Any:
            return over_parts(params, inputs, slope=True)

        def backward(gradient: Any, cotangent: Any) -> Any:
            own = jax.tree.map(lambda g: (cotangent[0] * g).astype(g.dtype), gradient)
            return dict.fromkeys(game.players) | own, None

        compute.defvjp(forward, backward)
        return compute

    return replace(game, updates=tuple(replace(update, loss=summed(update)) for update in game.updates))


def without_schedules(game: Game, step: int, horizon: int = 720) -> Game:
    """The game whose field is that of `game` on average over its schedules: every update runs at every step.

    Each loss is weighted with the share of the `horizon` steps from `step` on which its update runs:
    1/5 for the generator of n_critic 5, and 1/16 for a lazy penalty that counts 16-fold on every 16th step.
    720 is a multiple of most intervals. Steps of vanishing size follow this field.
    """

    def weighted(update: Update) -> Update:
        if update.when is None:
            return update
        share = sum(bool(update.when(s)) for s in range(step, step + horizon)) / horizon

        def compute(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
            value, output = update.loss(params, inputs)
            return share * value, output

        return replace(update, loss=compute, when=None)

    return replace(game, updates=tuple(weighted(update) for update in game.updates))


# -- the field and its derivatives -----------------------------------------------------------------


def field(game: Game, state: State, batch: Batch) -> Array:
    """v [n]: where simultaneous gradient descent goes from `state`, minus each player's own gradient.

    n counts the parameters of all players that some update moves, in the order of
    `jax.flatten_util.ravel_pytree`: players by name, then leaves by path. Schedules, optimizers and
    `Game.simultaneous` play no part; a player of two updates has the sum of both.
    """
    return ravel_pytree(_velocity(game, state.params, _inputs(state, batch)))[0]


def jacobian(game: Game, state: State, batch: Batch) -> Array:
    """The derivative of `field` in its parameters [n, n], exact: entry i, j is dv_i / dx_j. For small games.

    float64 where x64 is enabled and the parameters are. It may be jitted, with the game closed over.
    """
    flat, restore = ravel_pytree({name: state.params[name] for name in _moving(game)})

    def velocity(flat: Array) -> Array:
        return field(game, replace(state, params={**state.params, **restore(flat)}), batch)

    # in reverse over reverse: the convolutions written for the CPU have no forward mode
    return jax.jacrev(velocity)(flat)


def spectrum(game: Game, state: State, batch: Batch) -> np.ndarray:
    """Eigenvalues of `jacobian`, complex [n], sorted by real, then imaginary part; computed on the host.

    At a fixed point: stable in continuous time where all real parts are negative; a step h of
    simultaneous gradient descent has the eigenvalues 1 + h * spectrum.
    """
    return np.sort_complex(np.linalg.eigvals(np.asarray(jacobian(game, state, batch))))


def jacobian_product(game: Game, state: State, batch: Batch, direction: Array) -> Array:
    """`jacobian` times `direction` [n], without the matrix: [n]. It may be jitted, with the game closed over.

    Reverse over reverse, because the convolutions written for the CPU have no forward mode: the
    pullback u -> J^T u is linear in u, and its own pullback is v -> J v. As in `jacobian`,
    what a loss puts behind a stop_gradient counts as constant, such as the singular vectors of spectral
    normalization.
    """
    flat, restore = ravel_pytree({name: state.params[name] for name in _moving(game)})

    def velocity(flat: Array) -> Array:
        return field(game, replace(state, params={**state.params, **restore(flat)}), batch)

    with jax.default_matmul_precision("highest"):
        _, transposed = jax.vjp(velocity, flat)
        _, product = jax.vjp(lambda u: transposed(u)[0], jnp.zeros_like(flat))
        return product(direction)[0]


def step_jacobian(game: Game, state: State, batch: Batch, steps: int = 1) -> Array:
    """The derivative of the map that `steps` calls of `make_step` on one batch play, [n, n]. For small games.

    The map's variables are the parameters, in the order of `field`, and behind them the floating
    leaves of the movers' optimizer states: none for plain SGD, momenta and past gradients for
    others, so that the eigenvalues decide about local convergence for any optimizer. With schedules
    counted from `state.step` (resolved on the host), `steps` is their period: 5 from step 0 for
    n_critic 5 by ``every(5)``.
    Running variables, memory and averages are not among the variables.
    """
    if steps < 1:
        raise ValueError(f"step_jacobian takes at least one step, got {steps}")
    # resolved here, because a cond hands its branch zeros to propagate into metrics of infinite slope
    first, names = int(state.step), _moving(game)
    due = [tuple(u.when is None or bool(u.when(first + i)) for u in game.updates) for i in range(steps)]
    plays = [make_step(game, active=active) for active in due]
    leaves, structure = jax.tree.flatten({name: state.opt_state[name] for name in names})
    floating = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]

    def variables(state: State) -> Any:
        optimizers = jax.tree.leaves({name: state.opt_state[name] for name in names})
        return {name: state.params[name] for name in names}, [
            leaf for leaf, kept in zip(optimizers, floating, strict=True) if kept
        ]

    flat, restore = ravel_pytree(variables(state))

    def play(flat: Array) -> Array:
        params, momenta = restore(flat)
        given = iter(momenta)
        optimizers = jax.tree.unflatten(
            structure, [next(given) if kept else leaf for leaf, kept in zip(leaves, floating, strict=True)]
        )
        now = replace(state, params={**state.params, **params}, opt_state={**state.opt_state, **optimizers})
        for step in plays:
            now, _ = step(now, batch)
        return ravel_pytree(variables(now))[0]

    return jax.jacrev(play)(flat)


# -- what they share -------------------------------------------------------------------------------


def _number(number: Number, inputs: LossInput) -> Any:
    return number(inputs) if callable(number) else number


def _moving(game: Game) -> list[str]:
    return sorted({name for update in game.updates for name in update.players})


def _inputs(state: State, batch: Batch) -> LossInput:
    """What the losses of the step that begins at `state` are given on a single device."""
    return LossInput(
        step=state.step,
        key=jax.random.fold_in(state.key, state.step),
        batch=batch,
        variables=state.variables,
        opt_state=state.opt_state,
        ema=state.ema,
        memory=state.memory,
        hyper=state.hyper,
    )


def _gradients(update: Update, params: Mapping[str, Params], inputs: LossInput) -> tuple[Any, LossOutput]:
    """The gradient of an update's loss by mover, and what else the loss computed."""
    movers = {name: params[name] for name in update.players}
    return jax.grad(lambda moving: update.loss({**params, **moving}, inputs), has_aux=True)(movers)


def _velocity(game: Game, params: Mapping[str, Params], inputs: LossInput) -> dict[str, Params]:
    velocity = {name: jax.tree.map(jnp.zeros_like, params[name]) for name in _moving(game)}
    for update in game.updates:
        for name, gradient in _gradients(update, params, inputs)[0].items():
            velocity[name] = jax.tree.map(jnp.subtract, velocity[name], gradient)
    return velocity


def _moved(
    update: Update, players: Mapping[str, Player], params: Mapping[str, Params], inputs: LossInput
) -> tuple[Mapping[str, Params], LossInput]:
    """Parameters and inputs as they are once `update` has run, differentiable; the memory stays as it was."""
    gradients, output = _gradients(update, params, inputs)
    after, opt_state, variables = dict(params), dict(inputs.opt_state), dict(inputs.variables)
    for name in update.players:
        optimizer = players[name].optimizer
        assert optimizer is not None
        change, opt_state[name] = _differentiable_update(
            optimizer, gradients[name], inputs.opt_state[name], params[name], inputs
        )
        after[name] = optax.apply_updates(params[name], change)
        variables[name] = {**inputs.variables[name], **output.variables.get(name, {})}
    return after, replace(inputs, opt_state=opt_state, variables=variables)


def _differentiable_update(
    optimizer: optax.GradientTransformation, gradient: Any, opt_state: Any, params: Params, inputs: LossInput
) -> Any:
    """The optimizer's update, with the derivative it has a little beside gradients of exactly zero.

    Adam takes the square root of a second moment that is 0 on the first step wherever the gradient
    is; the slope there is infinite, times a derivative of 0, NaN. The derivative of the whole is
    finite and continuous. Values are those of the gradient as it is, which sign methods need.
    """

    def update(gradient: Any) -> Any:
        return optax.with_extra_args_support(optimizer).update(
            gradient, opt_state, params, hyper=inputs.hyper, step=inputs.step
        )

    return _value_and_slope(update(gradient), update(jax.tree.map(_beside_zero, gradient)))


def _beside_zero(gradient: Array) -> Array:
    # far enough from 0 that (1 - b2) times its square is a normal number, and far below Adam's epsilon
    nearest = 1e3 * float(jnp.finfo(gradient.dtype).tiny) ** 0.5
    shift = jnp.where(gradient < 0, -nearest, nearest) - gradient
    return gradient + jax.lax.stop_gradient(jnp.where(jnp.abs(gradient) < nearest, shift, jnp.zeros_like(shift)))


def _value_and_slope(value: Any, slope: Any) -> Any:
    """A tree with the values of one tree, to the bit, and the derivatives of the other."""

    def combine(value: Any, slope: Any) -> Any:
        if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            return value
        return jax.lax.stop_gradient(value) + (slope - jax.lax.stop_gradient(slope))

    return jax.tree.map(combine, value, slope)
