import json
from dataclasses import replace

import jax.numpy as jnp
import latent_space
import numpy as np
import pytest
from contract import RESULTS

from jaxgan.evaluation.features import pixels
from tests.explore.strokes import explorer

RESULT = RESULTS / "latent_space.json"


def test_paths_of_a_generator_that_is_linear():
    run = explorer()
    # what it makes is twice its latent: lengths are those of the latents' own paths
    linear = replace(run.space, outputs=lambda state, latents, label: 2.0 * latents.reshape(-1, 2, 2, 1))
    run = replace(run, space=linear, kept={"net": pixels((2, 2, 1))})
    found = latent_space.smoothness(run, pairs=40, steps=33)
    latents, _ = run.draw(0, 8, 80)
    chords = 2 * np.linalg.norm(latents[40:] - latents[:40], axis=1)
    np.testing.assert_allclose(found["path length in pixels, lerp"], chords.mean(), rtol=1e-4)
    assert found["path length in pixels, slerp over lerp"] > 1.05
    np.testing.assert_allclose(
        found["path length in features, slerp"], found["path length in pixels, slerp"], rtol=1e-5
    )


def test_own_samples_are_inverted_and_named_by_what_they_are():
    run = explorer(conditional=True)
    images = np.asarray(jnp.zeros((2, 16, 16, 1)) + 40, np.uint8)
    run.kept["data"] = type("Data", (), {"test_image": images, "test_label": np.array([1, 0], np.int32)})()
    found = latent_space.inversions(run, 2, steps=200)
    assert found["own samples"].errors.max() < 0.1 * found["test images"].errors.min()
    np.testing.assert_allclose(found["test images"].images, 40 / 127.5 - 1, atol=1e-6)


@pytest.mark.skipif(not RESULT.exists(), reason="not measured yet")
@pytest.mark.parametrize("system", latent_space.SYSTEMS)
def test_the_latent_space_is_not_random(system):
    """The claims of the committed result, by more than two standard errors of the difference."""
    rows = {(row["method"], row["metric"]): row for row in json.loads(RESULT.read_text())["rows"]}

    def exceeds(more: str, less: str) -> bool:
        a, b = rows[system, more], rows[system, less]
        return a["measured"] - b["measured"] > 2 * np.hypot(a["uncertainty"], b["uncertainty"])

    for asked in latent_space.ENDS:
        assert exceeds(f"share {asked}, 1 times", f"share {asked}, 1 times, random directions")
    for score in latent_space.SCORES:
        assert exceeds(f"rise of {score}, supervised", f"rise of {score}, random directions")
    assert exceeds("error of inversion, test images", "error of inversion, own samples")
    assert exceeds("error before, test images", "error of inversion, test images")
