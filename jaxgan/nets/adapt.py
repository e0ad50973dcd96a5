"""The one bridge from a Flax linen module to a `Net`, and a `Net` that keeps no activations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Key
from jaxgan.game import Net


def rematerialized(net: Net) -> Net:
    """The same net, whose activations are computed again in the backward pass instead of being kept: less memory.

    A step then holds the activations of one net's pass at a time, not those of all its passes, for one
    more forward pass each. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, arXiv 1604.06174.
    """

    def again(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(variables: Any, *inputs: Array, key: Key | None = None, train: bool = True) -> Any:
            recomputed = jax.checkpoint(lambda v, xs, k: function(v, *xs, key=k, train=train))
            return recomputed(variables, inputs, key)

        return run

    return replace(net, apply=again(net.apply), features=None if net.features is None else again(net.features))


def num_features(net: Net, *shapes: Sequence[int]) -> int:
    """How many features `Net.features` shows of examples of these shapes, without computing them."""
    inputs = [jnp.zeros((2, *shape), jnp.float32) for shape in shapes]
    function = net.features
    if function is None:
        raise ValueError("this net shows no features")

    def shown(key: Key) -> Array | None:
        return function(net.init(key), *inputs, key=key)[0][1]

    features = jax.eval_shape(shown, jax.random.key(0))
    if features is None:
        raise ValueError("this net shows no features")
    return int(features.shape[-1])


def adapt(module: nn.Module, *shapes: Sequence[int], couples_batch: bool = False, first: Sequence[Array] = ()) -> Net:
    """A linen module as a `Net` of pure functions.

    module: its __call__ takes the inputs and a keyword ``train: bool``. What it keeps in the
        collection "reference" is fixed at initialisation; all collections but that and "params"
        change in training. A discriminator shows its last hidden activations to `Net.features` by
        ``self.sow("intermediates", "features", x)``, which costs nothing in `Net.apply`. A net from images
        to images shows its maps [batch, h, w, c], one or several, by sowing "maps": `Net.features` gives
        a tuple of them, as they are but in float32.
    shapes: one shape per input, without the batch axis; float32 inputs of batch 2 initialise it.
    first: inputs [n, ...] that initialise it instead, one per shape, for modules whose first parameters
        depend on data; in training mode, with noise.
    couples_batch: see `Net`; the module's fields decide it, the caller says it.

    `Net.features` of a module that sows none gives None for them.
    """

    def init(key: Key) -> Mapping[str, Any]:
        params_key, noise_key = jax.random.split(key)
        inputs = list(first) or [jnp.zeros((2, *shape), jnp.float32) for shape in shapes]
        return module.init({"params": params_key, "noise": noise_key}, *inputs, train=True)

    def run(
        variables: Mapping[str, Any], inputs: Sequence[Array], key: Key | None, train: bool, shown: Sequence[str] = ()
    ) -> tuple[Any, Mapping[str, Any]]:
        running = [name for name in variables if name not in ("params", "reference")] if train else []
        # "noise" is the one random stream of our modules: dropout and injected noise draw from it
        rngs = {} if key is None else {"noise": key}
        if not running and not shown:
            return module.apply(variables, *inputs, train=train, rngs=rngs), {}
        return module.apply(variables, *inputs, train=train, rngs=rngs, mutable=[*running, *shown])

    def apply(
        variables: Mapping[str, Any], *inputs: Array, key: Key | None = None, train: bool = True
    ) -> tuple[Any, Mapping[str, Any]]:
        return run(variables, inputs, key, train)

    def features(
        variables: Mapping[str, Any], *inputs: Array, key: Key | None = None, train: bool = True
    ) -> tuple[tuple[Any, Any], Mapping[str, Any]]:
        output, changed = run(variables, inputs, key, train, ("intermediates",))
        running = {name: value for name, value in changed.items() if name != "intermediates"}
        shown = changed.get("intermediates", {})
        if "maps" in shown:
            return (output, tuple(x.astype(jnp.float32) for x in shown["maps"])), running
        if "features" not in shown:
            return (output, None), running
        (activations,) = shown["features"]
        return (output, activations.reshape(activations.shape[0], -1).astype(jnp.float32)), running

    return Net(init, apply, couples_batch, features)


def in_parts(nets: Mapping[str, Net]) -> Net:
    """Nets side by side as one: each sees its own part of a batch, in order, and all parts are of one size.

    Its variables are {collection: {name: those of the net}}. So two translators between two domains, and the two
    discriminators of these, are one player each: CycleGAN is a game of two players on batches of two halves.
    """

    def init(key: Key) -> Mapping[str, Any]:
        keys = jax.random.split(key, len(nets))
        return _by_collection({name: net.init(k) for k, (name, net) in zip(keys, nets.items(), strict=True)})

    def each(function: str, variables: Any, inputs: Sequence[Array], key: Key | None, train: bool) -> Any:
        n = len(nets)
        if inputs[0].shape[0] % n:
            raise ValueError(f"{n} nets do not divide a batch of {inputs[0].shape[0]}")
        parts = zip(*[jnp.split(x, n) for x in inputs], strict=True)
        outputs, changed = [], {}
        for i, ((name, net), part) in enumerate(zip(nets.items(), parts, strict=True)):
            own = {collection: values[name] for collection, values in variables.items() if name in values}
            own_key = None if key is None else jax.random.fold_in(key, i)
            output, changed[name] = getattr(net, function)(own, *part, key=own_key, train=train)
            outputs.append(output)
        running = {k: {**variables[k], **v} for k, v in _by_collection(changed).items()}
        return jax.tree.map(lambda *xs: jnp.concatenate(xs), *outputs), running

    def apply(variables: Any, *inputs: Array, key: Key | None = None, train: bool = True) -> Any:
        return each("apply", variables, inputs, key, train)

    def features(variables: Any, *inputs: Array, key: Key | None = None, train: bool = True) -> Any:
        return each("features", variables, inputs, key, train)

    shown = all(net.features is not None for net in nets.values())
    return Net(init, apply, any(net.couples_batch for net in nets.values()), features if shown else None)


def _by_collection(variables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """{net: {collection: values}} the other way round."""
    collections = dict.fromkeys(c for one in variables.values() for c in one)
    return {c: {name: one[c] for name, one in variables.items() if c in one} for c in collections}
