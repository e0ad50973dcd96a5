from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.explore.interpolation import interpolate
from tests.explore.strokes import KERNEL, explorer, strokes


def test_a_straight_path_is_that_of_the_latents_and_keeps_its_class():
    run = explorer(conditional=True).run
    made = interpolate(run, rows=3, frames=5, path="linear", seed=2)
    latents, label = run.prior(jax.random.key(2), 6, jnp.array([0, 1, 0, 0, 1, 0]))
    assert made.shape == (3, 5, 16, 16, 1)
    for row in range(3):
        for frame, t in enumerate(np.linspace(0, 1, 5)):
            place = (1 - t) * latents[row] + t * latents[3 + row]
            expected = strokes((place @ KERNEL)[None], label[row : row + 1])[0]
            np.testing.assert_allclose(made[row, frame], expected, atol=1e-4)
    around = interpolate(run, rows=3, frames=5, seed=2)
    np.testing.assert_allclose(around[:, [0, 4]], made[:, [0, 4]], atol=1e-4)
    assert np.abs(around[:, 2] - made[:, 2]).max() > 0.01
    ones = interpolate(run, rows=2, frames=2, seed=2, class_=1)
    latents, _ = run.prior(jax.random.key(2), 4, jnp.ones(4, int))
    np.testing.assert_allclose(ones[:, 0], strokes(latents[:2] @ KERNEL, jnp.ones(2)), atol=1e-4)


def test_codes_go_straight_beside_noise_on_its_sphere():
    run = explorer().run
    coded = replace(run, recipe=replace(run.recipe, codes=2))
    made = interpolate(coded, rows=2, frames=3, seed=4)
    latents = np.asarray(run.prior(jax.random.key(4), 4, None))
    start, end = latents[:2, :2], latents[2:, :2]
    norms = [np.linalg.norm(part, axis=1, keepdims=True) for part in (start, end)]
    middle = start / norms[0] + end / norms[1]
    middle *= (norms[0] + norms[1]) / 2 / np.linalg.norm(middle, axis=1, keepdims=True)
    place = np.concatenate([middle, (latents[:2, 2:] + latents[2:, 2:]) / 2], axis=1)
    np.testing.assert_allclose(made[:, 1], strokes(place @ KERNEL), atol=1e-4)


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_between_styles_a_path_is_straight(path):
    run = explorer(second_space=True).run
    made = interpolate(run, rows=2, frames=3, path=path, seed=1, space="w")
    styles = run.recipe.style(run.state, run.prior(jax.random.key(1), 4, None))
    middle = 0.5 * (styles[:2] + styles[2:])
    np.testing.assert_allclose(made[:, 1], run.recipe.synthesize(run.state, middle), atol=1e-4)
    np.testing.assert_allclose(made[:, 2], run.recipe.synthesize(run.state, styles[2:]), atol=1e-4)
