"""What BigGAN's samples go through: standing statistics, and latents redrawn within a threshold."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm, truncnorm

from jaxgan.config import Options, RequestError
from jaxgan.data import images
from jaxgan.game import init_state
from jaxgan.recipes import biggan
from jaxgan.recipes.folder import Run
from jaxgan.recipes.sngan import attended_height

DIGITS = images.from_arrays("digits", np.zeros((8, 8, 8, 1), np.uint8), np.arange(8) % 3)
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
OPTIONS = Options(steps=2, batch=6)
SMALL = biggan.Config(latent=6, generator_width=1, discriminator_width=1, embedding=3)


def test_a_truncated_latent_makes_the_picture_of_its_quantiles() -> None:
    """Truncation 0.25: the threshold is half a deviation."""
    recipe = biggan.make(SMALL, OPTIONS, DIGITS)
    assert recipe.prior is not None and recipe.generate is not None
    start = partial(init_state, recipe.stages[0].game, hyper=recipe.stages[0].hyper)
    state = jit(start)(jax.random.key(0))
    latent, label = recipe.prior(jax.random.key(3), 5, jnp.arange(5) % 3)
    below = jnp.float32(truncnorm(-0.5, 0.5).ppf(norm.cdf(np.asarray(latent, np.float64))))
    made = jit(recipe.generate, static_argnums=2)
    found = made(state, (latent, label), 0.25)
    np.testing.assert_allclose(found, made(state, (below, label), 1.0), atol=1e-4)
    assert not np.allclose(found, made(state, (latent, label), 1.0), atol=1e-2)


def test_standing_statistics_are_of_latents_as_they_are_truncated() -> None:
    """The first maps are linear in the latent: their variance is that of a normal truncated at half a deviation."""
    recipe = biggan.make(replace(SMALL, standing_statistics=64), OPTIONS, DIGITS)
    start = partial(init_state, recipe.stages[0].game, hyper=recipe.stages[0].hyper)
    state = jit(start)(jax.random.key(0))
    variance = {}
    for truncation in (1.0, 0.25):
        stats = recipe.readied(state, 0, truncation).variables["generator"]["batch_stats"]
        variance[truncation] = np.asarray(stats["UpBlock_0"]["ConditionalBatchNorm_0"]["BatchNorm_0"]["var"])
    np.testing.assert_allclose(variance[0.25] / variance[1.0], truncnorm(-0.5, 0.5).var(), rtol=0.25)
    # and samples of a run are made with them
    run = Run(Path("run"), "biggan", SMALL, OPTIONS, {}, recipe, recipe.readied(state, 0), 1)
    assert recipe.prior is not None and recipe.generate is not None
    inputs = recipe.prior(jax.random.fold_in(jax.random.key(3), 0), 4, None)
    expected = recipe.generate(recipe.readied(state, 0, 0.25), inputs, 0.25)
    np.testing.assert_allclose(run.sample(4, seed=3, truncation=0.25, batch=4), expected, atol=1e-4)


def test_running_averages_are_kept_if_asked_for() -> None:
    assert biggan.make(SMALL, OPTIONS, DIGITS).ready is not None
    assert biggan.make(replace(SMALL, standing_statistics=0), OPTIONS, DIGITS).ready is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RequestError, match="--latent: a latent is shared out to the start and 1 blocks"):
        biggan.make(replace(SMALL, latent=1), OPTIONS, DIGITS)
    with pytest.raises(RequestError, match="--attention-depth is at most 1 for images of 8x8"):
        biggan.make(replace(SMALL, attention_depth=2), OPTIONS, DIGITS)
    for rules in ({"generator_normalization": "layer"}, {"discriminator_normalization": "layer"}):
        with pytest.raises(RequestError, match="leave --"):
            replace(SMALL, rules=replace(SMALL.rules, **rules))


@pytest.mark.parametrize(
    ("side", "depth", "height"), [(8, 0, 0), (8, 1, 4), (28, 2, 7), (32, 1, 16), (32, 2, 8), (128, 2, 32)]
)
def test_attention_is_put_by_halvings_of_the_image(side: int, depth: int, height: int) -> None:
    assert attended_height((side, side, 3), depth) == height
