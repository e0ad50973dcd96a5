from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxgan.config import RequestError
from jaxgan.data import images
from jaxgan.data.pixels import Lazy
from jaxgan.game import init_state, make_step
from jaxgan.recipes import semi_supervised
from jaxgan.recipes.semi_supervised import Config
from tests.contracts.programs import jit

RANDOM = np.random.default_rng(0)
OPTIONS = replace(semi_supervised.PRESETS["cpu"].options, steps=150, batch=16)
SMALL = Config(labels=8, latent=5, generator_width=16, discriminator_width=16, learning_rate=0.01, ema_decay=0.9)


def striped(n, seed):
    """Two kinds of noisy 4x4 images, of which one is bright at the left and one at the right; half of each."""
    random = np.random.default_rng(seed)
    label = np.arange(n) % 2
    image = (
        random.normal(90, 40, (n, 4, 4, 1)) + 70 * np.where(label[:, None] == np.arange(4) // 2, 1, 0)[:, None, :, None]
    )
    return image.clip(0, 255).astype(np.uint8), label


DATA = images.from_arrays("striped", *striped(200, 1), *striped(100, 2))


def test_labels_are_as_many_of_each_class():
    message = r"--labels is as many of each of the 2 classes, 8 or 10 say, got 9"
    with pytest.raises(RequestError, match=message):
        semi_supervised.make(replace(SMALL, labels=9), OPTIONS, DATA)
    few = images.from_arrays("few", DATA.image[:7], DATA.label[:7])
    with pytest.raises(RequestError, match=r"--labels is at most 6: a class of few has 3 images"):
        semi_supervised.make(SMALL, OPTIONS, few)
    with pytest.raises(RequestError, match="at least 2 classes, and plain has 0"):
        semi_supervised.make(SMALL, OPTIONS, images.from_arrays("plain", DATA.image))
    lazy = replace(DATA, image=Lazy(lambda i: DATA.image[i], DATA.image.shape))
    with pytest.raises(RequestError, match="in memory"):
        semi_supervised.make(SMALL, OPTIONS, lazy)


def test_the_average_is_that_from_zero_divided_by_its_weights():
    d, values = 0.97, RANDOM.normal(size=60)
    decay, average, from_zero = semi_supervised._unbiased(d), 123.0, 0.0
    for t, value in enumerate(values):
        w = float(decay(np.int32(t)))
        average = w * average + (1 - w) * value
        from_zero = d * from_zero + (1 - d) * value
        np.testing.assert_allclose(average, from_zero / (1 - d ** (t + 1)), rtol=1e-3, atol=1e-5)
    # and the plain one in the end
    np.testing.assert_allclose(semi_supervised._unbiased(0.9999)(np.int32(180_000)), 0.9999, rtol=1e-6)


def evaluated(recipe, state):
    return recipe.evaluations["test"](state, jax.random.key(0))


@pytest.mark.parametrize("unlabelled", [True, False])
def test_it_learns_to_classify(unlabelled):
    recipe = semi_supervised.make(replace(SMALL, unlabelled=unlabelled), OPTIONS, DATA)
    assert (recipe.generate is not None) == unlabelled
    stage = recipe.stages[0]
    source, step = stage.source, make_step(stage.game)

    def play(state, _):
        return step(state, source.batch(source.arrays, jax.random.key(3), state.step))[0], None

    start = init_state(stage.game, jax.random.key(0), stage.hyper)
    state = jit(lambda state: jax.lax.scan(play, state, length=120)[0])(start)
    found = evaluated(recipe, state)
    assert found["n_test"] == 100 and found["n_labels"] == 8 and found["weights"] == "ema"
    assert found["errors"] == round(100 * found["error_rate"]) < min(25, evaluated(recipe, start)["errors"])


def test_errors_of_averaged_weights_are_counted():
    recipe = semi_supervised.make(SMALL, OPTIONS, DATA)
    stage = recipe.stages[0]
    state = jit(lambda key: init_state(stage.game, key, stage.hyper))(jax.random.key(0))
    other = jit(stage.game.players["discriminator"].net.init)(jax.random.key(1))
    state = replace(state, ema={"discriminator": other["params"]})
    variables = {"params": other["params"], **state.variables["discriminator"]}
    shown = DATA.test_image.astype(np.float32) / 127.5 - 1
    net = stage.game.players["discriminator"].net
    guessed = np.asarray(net.apply(variables, shown, train=False)[0]).argmax(1)
    assert evaluated(recipe, state)["errors"] == int((guessed != DATA.test_label).sum())
    np.testing.assert_allclose(evaluated(recipe, state)["accuracy"], np.mean(guessed == DATA.test_label))


def test_members_of_a_population_start_as_single_runs_do():
    """They share a program, and in it the images that D is initialised from, whatever the seed it was made with."""
    starts = []
    for seed in (5, 6):
        recipe = semi_supervised.make(SMALL, replace(OPTIONS, seed=seed), DATA)
        starts.append(recipe.stages[0].game.players["discriminator"].net.init(jax.random.key(7)))
    jax.tree.map(np.testing.assert_array_equal, *starts)
