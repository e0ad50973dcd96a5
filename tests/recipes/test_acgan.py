"""What AC-GAN adds to either player's loss."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax

from jaxgan.config import Options
from jaxgan.data import images
from jaxgan.game import init_state, make_step
from jaxgan.recipes import acgan
from jaxgan.recipes.rules import Rules

WEIGHT = 0.7


def test_d_pays_for_the_classes_of_reals_and_fakes_and_the_generator_for_those_of_its_fakes():
    """The difference of what both pay, on the same latents, is the cross entropy of the reals."""
    random = np.random.default_rng(0)
    data = images.from_arrays("noise", random.integers(0, 256, (12, 8, 8, 1), np.uint8), np.arange(12) % 3)
    rules = Rules(dynamics="simultaneous", optimizer="sgd")
    config = acgan.Config(latent=3, generator_width=4, discriminator_width=4, auxiliary_weight=WEIGHT, rules=rules)
    (stage,) = acgan.make(config, Options(steps=2, batch=6), data).stages
    state = jax.jit(lambda key: init_state(stage.game, key, dict(stage.hyper)))(jax.random.key(0))
    # large, so that classes differ
    head = jax.tree.map(lambda leaf: 0.0 * leaf + 3.0 * random.normal(size=leaf.shape), state.params["classifier"])
    state = replace(state, params={**state.params, "classifier": head})
    picture, label = jnp.asarray(data.image[:6], jnp.float32) / 127.5 - 1.0, np.array([0, 2, 1, 1, 0, 2], np.int32)
    step, batch = jax.jit(make_step(stage.game)), {"image": picture, "label": jnp.asarray(label)}
    metrics = step(state, batch)[1]
    paid = {n: float(metrics[f"{n}/loss"] - metrics[f"{n}/adversarial"]) for n in ("discriminator", "generator")}
    variables = {"params": state.params["discriminator"], **state.variables["discriminator"]}
    # neither net nor classifier hears the label
    (_, features), _ = stage.game.players["discriminator"].net.features(variables, picture)
    logits = np.asarray(features) @ np.asarray(head["Dense_0"]["kernel"]) + np.asarray(head["Dense_0"]["bias"])
    of_reals = -log_softmax(logits.astype(np.float64), -1)[np.arange(6), label].mean()
    np.testing.assert_allclose(paid["discriminator"] - paid["generator"], WEIGHT * of_reals, rtol=1e-4)
    assert min(paid["generator"], WEIGHT * of_reals) > 0.1
    stronger = replace(state, hyper={**state.hyper, "auxiliary_weight": 2 * WEIGHT})
    metrics = step(stronger, batch)[1]
    for name, before in paid.items():
        np.testing.assert_allclose(metrics[f"{name}/loss"] - metrics[f"{name}/adversarial"], 2 * before, rtol=1e-4)
