import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgan import augment

KEY = jax.random.key(5)


def test_instance_noise_is_gaussian_of_the_deviation_and_independent():
    examples = jnp.full((400, 3, 2), 0.7)
    noise = np.asarray(augment.instance_noise(examples, KEY, 0.3)) - 0.7
    assert stats.kstest(noise.ravel() / 0.3, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise[:, 0, 0], noise[:, 1, 0])[0, 1]) < 0.15
    assert not np.array_equal(noise, np.asarray(augment.instance_noise(examples, jax.random.key(6), 0.3)) - 0.7)
    np.testing.assert_array_equal(augment.instance_noise(examples, KEY, 0.0), examples)


@pytest.mark.parametrize(
    ("step", "until", "expected"), [(0, 10, 0.4), (4, 10, 0.24), (10, 10, 0.0), (25, 10, 0.0), (99, 0, 0.4)]
)
def test_decaying_falls_linearly_to_nothing(step, until, expected):
    np.testing.assert_allclose(augment.decaying(0.4, jnp.asarray(step), until), expected, rtol=1e-6)


def test_shift_and_flip_moves_whole_pictures():
    """Every augmented image is one of the 2 * 3 * 3 images that the edge-reflected original contains."""
    images = np.random.default_rng(0).normal(size=(60, 8, 11, 2)).astype(np.float32)
    moved = np.asarray(jax.jit(augment.shift_and_flip)(images, KEY))
    seen = set()
    for image, result in zip(images, moved, strict=True):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
        candidates = {
            (row, column, flip): padded[row : row + 8, column : column + 11][:, :: -1 if flip else 1]
            for row in range(3)
            for column in range(3)
            for flip in (False, True)
        }
        found = [name for name, candidate in candidates.items() if np.array_equal(candidate, result)]
        assert found, "not a shifted or mirrored copy"
        seen.add(found[0])
    assert len(seen) > 12


def test_shifts_reach_four_pixels_at_32():
    ramp = jnp.broadcast_to(jnp.arange(32.0)[None, :, None, None], (200, 32, 32, 1))
    moved = np.asarray(augment.shift_and_flip(ramp, KEY))
    assert set(np.unique(moved[:, 16, 0, 0])) == set(np.arange(12.0, 21.0))
