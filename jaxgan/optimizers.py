"""What optax does not have: step sizes that a study varies, weight clipping, two regularizers of the weights."""

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


def orthogonal_regularization(weight: Array | float) -> optax.GradientTransformation:
    """Adds the gradient of ``weight * |W^T W * (1 - I)|^2`` of each kernel; first in a chain, before the optimizer.

    W is a kernel [..., out] as a matrix of `out` columns, so that what is pulled to zero are the inner products
    of different outputs' weights; their norms are free. Kernels are the leaves called "kernel": neither biases
    nor tables called "embedding". The gradient is ``4 weight W (W^T W * (1 - I))``.

    Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019, arXiv 1809.11096,
    Eq. 3 (weight 1e-4, generator alone). The authors' PyTorch code adds this by hand too, with the factor 2
    for 4: its 1e-4 is a weight of 5e-5 here. Not Eq. 2, which pulls the norms to 1 as well.
    """

    def update(updates: Any, state: optax.EmptyState, params: Any = None) -> Any:
        if params is None:
            needed = "orthogonal_regularization needs the parameters: optimizer.update(gradients, state, params)"
            raise ValueError(needed)

        def pulled(path: Any, change: Array, param: Array) -> Array:
            if jax.tree_util.keystr(path[-1:], simple=True) != "kernel":
                return change
            matrix = param.reshape(-1, param.shape[-1])
            others = 1.0 - jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
            return change + 4.0 * weight * (matrix @ (matrix.T @ matrix * others)).reshape(param.shape)

        return jax.tree_util.tree_map_with_path(pulled, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
