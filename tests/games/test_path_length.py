"""Path length regularisation of generators that are linear in their styles, in closed form."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.game import LossInput, Net, Player, init_state, make_step
from jaxgan.games.path_length import with_path_length
from jaxgan.games.two_player import two_player
from jaxgan.latent import normal_prior
from jaxgan.losses.adversarial import non_saturating
from jaxgan.nets import mlp
from jaxgan.nets.adapt import adapt

LAYERS, DIMENSION, SHAPE, BATCH = 2, 3, (2, 5, 3), 8
PIXELS, NUMBERS = 10, 30
# unequal layers, so that a sum in place of their mean shows
MATRICES = np.random.default_rng(0).normal(size=(LAYERS, DIMENSION, NUMBERS)) * np.array([1.0, 3.0])[:, None, None]


def mapping() -> Net:
    """The latent times a number, in every layer."""

    def apply(variables: Mapping[str, Any], latent: jax.Array, key: Any = None, train: bool = True) -> Any:
        w = variables["params"]["scale"] * latent
        return jnp.broadcast_to(w[:, None], (len(w), LAYERS, DIMENSION)), {}

    return Net(lambda key: {"params": {"scale": jnp.float32(1.0)}}, apply)


def synthesis(number: float = 1.0) -> Net:
    """Images as one number times the sum of matrices of all styles."""

    def apply(variables: Mapping[str, Any], styles: jax.Array, key: Any = None, train: bool = True) -> Any:
        images = jnp.einsum("nld,ldp->np", styles, jnp.float32(MATRICES))
        return (variables["params"]["number"] * images).reshape(-1, *SHAPE), {}

    return Net(lambda key: {"params": {"number": jnp.float32(number)}}, apply)


def game(weight: Any = 1.0, number: float = 1.0, optimizer: Any = None, **keywords: Any) -> Any:
    w, images = mapping(), synthesis(number)

    def init(key: jax.Array) -> Mapping[str, Any]:
        return {"params": {"mapping": w.init(key)["params"], "synthesis": images.init(key)["params"]}}

    def apply(variables: Mapping[str, Any], latent: jax.Array, **others: Any) -> Any:
        parts = [{"params": variables["params"][name]} for name in ("mapping", "synthesis")]
        return images.apply(parts[1], w.apply(parts[0], latent)[0])

    chosen = optax.sgd(0.01) if optimizer is None else optimizer
    two = two_player(
        Player(Net(init, apply), chosen, 0.5),
        Player(adapt(mlp.Discriminator(width=4, depth=1), SHAPE), chosen),
        non_saturating,
        normal_prior(DIMENSION),
    )
    return with_path_length(two, w, images, normal_prior(DIMENSION), weight, **keywords)


def measured(
    number: float, before: float = 0.0, n: int = BATCH, made: Any = None, seed: int = 7, **keywords: Any
) -> tuple[Any, Any, Any]:
    """The loss of the further move, its gradient, and what it leaves in memory."""
    made = game(number=number, **keywords) if made is None else made
    update = made.updates[-1]
    state = init_state(made, jax.random.key(0), {"path": 0.5})
    inputs = LossInput(
        step=state.step,
        key=jax.random.key(seed),
        batch={"image": jnp.zeros((n, *SHAPE)), "label": jnp.arange(n)},
        variables=state.variables,
        opt_state=state.opt_state,
        ema=state.ema,
        memory={**state.memory, "path_length": jnp.float32(before)},
        hyper=state.hyper,
    )

    def value(generator: Any) -> Any:
        return update.loss({**state.params, "generator": generator}, inputs)

    (loss, output), gradient = jax.value_and_grad(value, has_aux=True)(state.params["generator"])
    return loss, gradient, output


def test_lengths_of_a_linear_generator_are_those_of_its_matrices():
    """E |J^T y|^2 = c^2 mean over layers of |A_l|_F^2 / pixels, for an image y of N(0, 1 / pixels)."""
    _, _, output = measured(1.0, n=8000)
    expected = np.mean((MATRICES**2).sum((1, 2))) / PIXELS
    # lengths themselves: a Gaussian sample of y by NumPy
    y = np.random.default_rng(1).normal(size=(40_000, NUMBERS)) / np.sqrt(PIXELS)
    lengths = np.sqrt(np.mean(np.square(np.einsum("ldp,np->nld", MATRICES, y)).sum(2), axis=1))
    np.testing.assert_allclose(np.mean(lengths**2), expected, rtol=0.02)
    np.testing.assert_allclose(output.metrics["length"], lengths.mean(), rtol=0.02)
    np.testing.assert_allclose(output.memory["path_length"], 0.01 * output.metrics["length"], rtol=1e-5)


@pytest.mark.parametrize("number", [0.5, 2.0])
def test_loss_and_gradient_in_closed_form(number):
    """Lengths are c times those of c = 1, so with a held mean a the loss is interval w mean (c l - a)^2."""
    before, weight = 3.0, 0.7
    # one example: its length is the metric
    _, _, unit = measured(1.0, before, n=1)
    length = float(unit.metrics["length"])
    mean = before + 0.01 * (number * length - before)
    loss, gradient, output = measured(number, before, n=1, weight=weight)
    np.testing.assert_allclose(output.memory["path_length"], mean, rtol=1e-5)
    np.testing.assert_allclose(loss, 4 * weight * (number * length - mean) ** 2, rtol=1e-4)
    slope = 4 * weight * 2 * (number * length - mean) * length
    np.testing.assert_allclose(gradient["synthesis"]["number"], slope, rtol=1e-4)
    # the Jacobian with respect to styles does not know how they were made
    assert gradient["mapping"]["scale"] == 0.0
    halved, _, _ = measured(number, before, n=1, weight="path", interval=2)
    np.testing.assert_allclose(halved, loss * (2 * 0.5) / (4 * weight), rtol=1e-5)


def test_it_moves_the_generator_alone_every_few_steps_on_a_part_of_the_batch():
    made = game("path", interval=3)
    state = init_state(made, jax.random.key(0), {"path": 0.5})
    step, batch = jax.jit(make_step(made)), {"image": jnp.ones((BATCH, *SHAPE))}
    before, ran, means = state, [], []
    for _ in range(5):
        state, metrics = step(state, batch)
        ran.append(float(metrics["path_length/ran"]))
        means.append(float(state.memory["path_length"]))
    assert ran == [1, 0, 0, 1, 0]
    assert means[0] == means[2] > 0 and means[3] == means[4] != means[0]
    only = jax.jit(make_step(made, active=(False, False, True)))(before, batch)[0]
    assert only.params["generator"]["synthesis"]["number"] != before.params["generator"]["synthesis"]["number"]
    for a, b in zip(*(jax.tree.leaves(s.params["discriminator"]) for s in (only, before)), strict=True):
        np.testing.assert_array_equal(a, b)
    # half of the batch: eight examples give the length that four give
    halves = [measured(1.0, n=n, shrink=s)[2].metrics["length"] for n, s in ((8, 2), (4, 1))]
    np.testing.assert_allclose(*halves, rtol=1e-6)


def test_each_step_measures_other_directions_of_other_examples():
    """The mapping trains: it hears the first conditions of the batch, and mixes styles by a key."""
    heard: list[Any] = []

    def apply(variables: Any, latent: jax.Array, *told: jax.Array, key: Any = None, train: bool = True) -> Any:
        heard.append((latent, told, key, train))
        return jnp.ones((len(latent), LAYERS, DIMENSION)), {}

    two = replace(game(), updates=game().updates[:-1])
    told = with_path_length(two, Net(mapping().init, apply), synthesis(), normal_prior(3), 1.0, condition="label")
    lengths = [float(measured(1.0, made=told, seed=seed)[2].metrics["length"]) for seed in (7, 8)]
    assert abs(lengths[0] - lengths[1]) > 0.01
    (first, (label,), key, train), (second, *_) = heard
    np.testing.assert_array_equal(label, [0, 1, 2, 3])
    assert key is not None and train and np.abs(first - second).min() > 1e-4


def test_a_generator_that_does_not_move_has_a_finite_gradient():
    made = replace(game(number=0.0))
    assert made.updates[-1].name == "path_length"
    loss, gradient, _ = measured(0.0)
    assert np.isfinite(loss) and all(np.isfinite(leaf) for leaf in jax.tree.leaves(gradient))
