"""What optax does not have: step sizes that a study varies, weight clipping, historical averaging."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgan.arrays import Array

Hyper = Mapping[str, Any]


def from_hyper(
    make: Callable[[Hyper, Array], optax.GradientTransformation], like: Hyper
) -> optax.GradientTransformationExtraArgs:
    """An optimizer whose numbers are those of the run: ``make(hyper, step)``, made anew in each step.

    make: given the state's `hyper` and the game's step, both traced; the structure of the
        optimizer's state may not depend on them.
    like: numbers of the same names, to make the first state.
    """

    def update(updates: Any, state: Any, params: Any = None, *, hyper: Hyper, step: Array, **_: Any) -> Any:
        return make(hyper, step).update(updates, state, params)

    return optax.GradientTransformationExtraArgs(make(like, jnp.zeros((), jnp.int32)).init, update)


def weight_clipping(bound: Array | float) -> optax.GradientTransformation:
    """Keeps every parameter in [-bound, bound]; last in a chain, after the step size.

    Arjovsky, Chintala, Bottou, "Wasserstein GAN", 2017, arXiv 1701.07875, Algorithm 1, line 7
    (bound 0.01). Parameters are clipped after each step, not before the first one.
    """

    def update(updates: Any, state: optax.EmptyState, params: Any = None) -> Any:
        if params is None:
            raise ValueError("weight_clipping needs the parameters: optimizer.update(gradients, state, params)")
        return jax.tree.map(lambda u, p: jnp.clip(p + u, -bound, bound) - p, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


class HistoricalAveragingState(NamedTuple):
    """mean: of the parameters before each step so far; steps: how many those are."""

    mean: Any
    steps: Array


def historical_averaging(weight: Array | float) -> optax.GradientTransformation:
    """Adds the gradient of ``weight * |params - mean|^2``; first in a chain, before the optimizer proper.

    Salimans et al., "Improved Techniques for Training GANs", 2016, arXiv 1606.03498, section 3.3:
    the mean is over all parameters so far, these included, and is a constant to the gradient.
    """

    def init(params: Any) -> HistoricalAveragingState:
        return HistoricalAveragingState(jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.int32))

    def update(updates: Any, state: HistoricalAveragingState, params: Any = None) -> Any:
        if params is None:
            raise ValueError("historical_averaging needs the parameters: optimizer.update(gradients, state, params)")
        steps = optax.safe_increment(state.steps)
        mean = jax.tree.map(lambda m, p: m + (p - m) / steps.astype(m.dtype), state.mean, params)
        pulled = jax.tree.map(lambda u, p, m: u + 2.0 * weight * (p - m), updates, params, mean)
        return pulled, HistoricalAveragingState(mean, steps)

    return optax.GradientTransformation(init, update)
