import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.data import images
from jaxgan.data.images import DataError
from jaxgan.data.pixels import Lazy
from jaxgan.data.stacked import stacks
from jaxgan.evaluation.modes import stack_statistics


def grey(n=7, side=4):
    pixels = np.random.default_rng(0).integers(0, 256, (n, side, side, 1), np.uint8)
    return images.from_arrays("grey", pixels, np.arange(n) % 10)


def made(source, step, seed=0):
    batch = source.batch(source.arrays, jax.random.key(seed), jnp.int32(step))
    return {name: np.asarray(array) for name, array in batch.items()}


def test_channels_are_the_images_of_the_indices():
    data = grey()
    batch = made(stacks(data, 5), 3)
    assert batch["image"].shape == (5, 4, 4, 3) and batch["image"].dtype == np.float32
    for image, index in zip(batch["image"], batch["index"], strict=True):
        for channel in range(3):
            expected = data.image[index[channel], :, :, 0] / np.float32(127.5) - 1
            np.testing.assert_allclose(image[..., channel], expected, atol=1e-6)


def test_a_batch_is_a_function_of_seed_and_step():
    source = stacks(grey(), 64)
    assert np.array_equal(made(source, 2)["index"], made(source, 2)["index"])
    assert not np.array_equal(made(source, 2)["index"], made(source, 3)["index"])
    assert not np.array_equal(made(source, 2)["index"], made(source, 2, seed=1)["index"])


def test_all_triples_are_as_likely():
    """The KL of a sample of n to the uniform distribution is its bias alone, (modes - 1) / 2n."""
    n = 200_000
    statistics = stack_statistics(made(stacks(grey(10), n), 0)["index"], 10)
    assert statistics["modes"] == 1000
    np.testing.assert_allclose(statistics["reverse_kl"], 999 / (2 * n), rtol=0.25)


def test_a_fixed_set_holds_so_many_stacks_and_no_more():
    source = stacks(grey(100), 40, fixed=6)
    seen = [made(source, step)["index"] for step in range(5)]
    distinct = {tuple(row) for batch in seen for row in batch.tolist()}
    assert len(distinct) == 6
    assert all({tuple(row) for row in batch.tolist()} <= distinct for batch in seen)
    assert not np.array_equal(seen[0], seen[1])
    # the three images of a stack are drawn one by one
    assert any(len(set(row)) > 1 for row in distinct)


def test_what_cannot_be_stacked_is_refused():
    colours = images.from_arrays("colours", np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="colours has 3 channels"):
        stacks(colours, 2)
    lazy = images.Images("far", Lazy(lambda i: np.zeros((4, 4, 1), np.uint8), (2, 4, 4, 1)), None, None, None, (), "")
    with pytest.raises(DataError, match="far is too large"):
        stacks(lazy, 2)
