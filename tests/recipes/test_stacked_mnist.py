from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import Options, RequestError, changed
from jaxgan.data import images
from jaxgan.evaluation.features import FeatureNet
from jaxgan.game import init_state, make_step
from jaxgan.recipes import stacked_mnist

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SMALL = {"latent": 4, "generator_width": 2, "discriminator_width": 2}


def levels(num_classes=4, side=8):
    """Images of one grey level, that of their class."""
    label = np.arange(24) % num_classes
    pixels = np.broadcast_to((label * 255 // (num_classes - 1))[:, None, None, None], (24, side, side, 1))
    return images.from_arrays("levels", pixels.astype(np.uint8), label)


def by_level(num_classes=4):
    """The classifier that these images need."""

    def classify(pictures):
        label = jnp.round((pictures.mean((1, 2, 3)) + 1) / 2 * (num_classes - 1)).astype(int)
        return jax.nn.one_hot(label, num_classes)

    return FeatureNet("by-level", lambda x: x.reshape(len(x), -1), classify, "0" * 64)


def recipe(preset="tiny", options=None, **values):
    config = changed(stacked_mnist.PRESETS[preset].config, SMALL | values)
    return stacked_mnist.make(config, replace(Options(batch=4, evaluate_samples=8), **(options or {})), levels())


def state(made):
    return jit(lambda key: init_state(made.stages[0].game, key, made.stages[0].hyper))(jax.random.key(0))


def test_each_channel_is_labelled_on_its_own():
    triples = [(0, 1, 2), (0, 1, 2), (2, 1, 0), (3, 3, 3)]
    pictures = np.array(triples, np.float32)[:, None, None, :] / 1.5 - 1 + np.zeros((4, 8, 8, 3), np.float32)
    row = stacked_mnist.judge_stacks(by_level(), levels(), pictures)
    assert (row["modes"], row["num_modes"], row["n_fake"], row["features"]) == (3, 64, 4, "by-level")
    np.testing.assert_allclose(row["reverse_kl"], np.log(64) - 1.5 * np.log(2), rtol=1e-6)


def test_real_stacks_are_the_ceiling():
    row = stacked_mnist.judge_stacks(by_level(), levels(), stacked_mnist.draw_stacks(levels(), 4000))
    assert row["modes"] == 64
    np.testing.assert_allclose(row["reverse_kl"], 63 / 8000, rtol=0.5)


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_evaluations_see_the_statistics_asked_for(statistics, monkeypatch):
    """Against the generator applied by hand, batch by batch."""
    made = recipe(statistics=statistics)
    seen = []
    monkeypatch.setattr(stacked_mnist, "feature_net", lambda options, data: by_level())
    monkeypatch.setattr(stacked_mnist, "judge_stacks", lambda net, data, stacked: seen.append(stacked) or {})
    now, key = state(made), jax.random.key(3)
    made.evaluations["stacks"](now, key)
    net = made.stages[0].game.players["generator"].net
    variables = {"params": now.params["generator"], **now.variables["generator"]}
    apply = jit(lambda v, z: net.apply(v, z, train=statistics == "batch")[0])
    for i, part in enumerate(seen[0].reshape(2, 4, 8, 8, 3)):
        latent = made.prior(jax.random.fold_in(key, i), 4, None)
        np.testing.assert_allclose(part, apply(variables, latent), atol=1e-5)
    # elsewhere samples are made one by one, whatever evaluations do
    use = jit(lambda v, z: net.apply(v, z, train=False)[0])
    generate = jit(lambda state, z: made.generate(state, z, 1.0))
    np.testing.assert_allclose(generate(now, latent), use(variables, latent), atol=1e-5)


def test_the_pixels_of_table_2_lie_in_0_to_1_and_its_samples_are_shown_as_images():
    made = recipe("paper")
    source = made.stages[0].source
    real = source.batch(source.arrays, jax.random.key(0), jnp.int32(0))["image"]
    assert set(np.unique(np.round(3 * np.asarray(real), 4))) == {0, 1, 2, 3}
    now, latent = state(made), made.prior(jax.random.key(1), 500, None)
    assert -1 <= float(latent.min()) < -0.9 and 0.9 < float(latent.max()) <= 1
    net = made.stages[0].game.players["generator"].net
    variables = {"params": now.params["generator"], **now.variables["generator"]}
    raw = np.asarray(jit(lambda z: net.apply(variables, z, train=False)[0])(latent[:4]))
    shown = jit(lambda z: made.generate(now, z, 1.0))(latent[:4])
    assert raw.min() < 0 < raw.max()
    np.testing.assert_allclose(shown, np.clip(2 * raw - 1, -1, 1), atol=1e-5)


def test_a_net_without_classes_gives_distances():
    made = recipe(options={"features": "random-conv"})
    assert made.best == ("stacks", "frechet_distance", 1) and recipe().best == ("stacks", "reverse_kl", 1)


def test_packs_see_as_many_channels_and_unrolling_plays():
    made = recipe(packing=2, unrolled_steps=1)
    stage = made.stages[0]
    now = jax.eval_shape(lambda key: init_state(stage.game, key, stage.hyper), jax.random.key(0))
    assert now.params["discriminator"]["StridedConvolution_0"]["kernel"].shape == (3, 3, 6, 2)
    batch = jax.eval_shape(stage.source.batch, dict(stage.source.arrays), jax.random.key(0), np.int32(0))
    after, metrics = jax.eval_shape(make_step(stage.game), now, batch)
    assert after.params["generator"].keys() == now.params["generator"].keys() and "generator/loss" in metrics


def test_mistakes_are_named():
    with pytest.raises(RequestError, match="--kernel is 3 or 5, got 4"):
        stacked_mnist.Config(kernel=4)
