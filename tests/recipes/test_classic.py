"""What the classic game is put together from: augmentation that follows D."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import augment
from jaxgan.config import Options
from jaxgan.latent import normal_prior
from jaxgan.memory import Controller
from jaxgan.nets import mlp
from jaxgan.nets.adapt import adapt
from jaxgan.recipes import classic
from jaxgan.recipes.rules import Rules

SHAPE = (6, 8, 1)


def test_augmentation_follows_what_d_thinks_of_the_reals():
    """Twenty of 100 images at a step; fakes that D is as sure of say nothing."""
    carried = classic._controlled(20)
    hyper = {"ada_target": 0.5, "ada_images": 100.0}
    seen = SimpleNamespace(
        real_output=jnp.array([2.0, 0.3, 4.0]), fake_output=jnp.array([-1.0, -3.0, -2.0]), hyper=hyper
    )
    memory = carried.after({"probability": jnp.float32(0.1), "sign": jnp.float32(0.7)}, seen)
    np.testing.assert_allclose((memory["probability"], memory["sign"]), (0.3, 0.7 + 0.3 / 4), rtol=1e-5)
    assert carried.shown(memory) == {"augmentation": memory["probability"]}


@pytest.mark.parametrize("parts", [1, 2])
def test_a_part_of_a_batch_moves_the_augmentation_by_its_share(monkeypatch, parts):
    sizes = []
    monkeypatch.setattr(classic, "Controller", lambda batch: sizes.append(batch) or Controller(batch))
    nets = adapt(mlp.Generator(SHAPE, width=4, depth=1), (3,)), adapt(mlp.Discriminator(width=4, depth=1), SHAPE)
    rules = Rules(augmentation="ada", accumulation=parts)
    classic.classic_game(rules, *nets, normal_prior(3), Options(batch=8), SHAPE)
    assert sizes == [8 // parts]


def test_d_sees_what_the_memorys_probability_makes_of_either_with_a_key_of_its_own(monkeypatch):
    def adaptive(images, key, probability):
        return images + probability + 10.0 * jax.random.uniform(key)

    monkeypatch.setattr(augment, "adaptive", adaptive)

    def shown(key, probability):
        inputs = SimpleNamespace(memory={"augmentation": {"probability": probability}})
        return float(classic._shown(Rules(augmentation="ada"), jnp.zeros(()), jax.random.key(key), inputs))

    np.testing.assert_allclose(shown(1, 0.4) - shown(1, 0.1), 0.3, rtol=1e-5)
    assert abs(shown(1, 0.1) - shown(2, 0.1)) > 0.1
