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
        ``self.sow("intermediates", "features", x)``, which costs nothing in `Net.apply`.
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
    ) -> tuple[tuple[Any, Array | None], Mapping[str, Any]]:
        output, changed = run(variables, inputs, key, train, ("intermediates",))
        running = {name: value for name, value in changed.items() if name != "intermediates"}
        shown = changed.get("intermediates", {})
        if "features" not in shown:
            return (output, None), running
        (activations,) = shown["features"]
        return (output, activations.reshape(activations.shape[0], -1).astype(jnp.float32)), running

    return Net(init, apply, couples_batch, features)
