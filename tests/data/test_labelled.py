from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.arrays import to_float
from jaxgan.data.images import from_arrays
from jaxgan.data.labelled import balanced, by_class, few_labels

RANDOM = np.random.default_rng(0)
# classes of 30, 9, 50 and 21 images, in no order
LABEL = RANDOM.permutation(np.repeat([0, 1, 2, 3], [30, 9, 50, 21])).astype(np.int32)
IMAGES = from_arrays("few", RANDOM.integers(0, 256, (110, 4, 4, 1), np.uint8), LABEL)
EACH = 6


@cache
def subsets(n):
    """(index, label) [n, classes * each] of the seeds 0 ... n - 1."""
    groups = by_class(LABEL, 4)
    arrays = {"order": groups.order, "start": groups.start, "count": groups.count}
    place = jnp.arange(4 * EACH, dtype=jnp.int32)
    draw = jax.jit(jax.vmap(lambda seed: balanced(arrays, jax.random.key(seed), place, EACH)))
    return jax.device_get(draw(jnp.arange(n)))


def test_examples_are_sorted_out_by_class():
    groups = by_class(LABEL, 4)
    np.testing.assert_array_equal(groups.count, [30, 9, 50, 21])
    for k in range(4):
        np.testing.assert_array_equal(groups.order[groups.start[k] :][: groups.count[k]], np.flatnonzero(k == LABEL))


def test_a_subset_has_as_many_of_each_class_and_no_example_twice():
    for index, label in zip(*subsets(200), strict=True):
        assert len(set(index.tolist())) == 4 * EACH
        np.testing.assert_array_equal(label, np.repeat(np.arange(4), EACH))
        np.testing.assert_array_equal(LABEL[index], label)


def test_a_subset_is_a_function_of_the_seed():
    index, _ = subsets(200)
    assert len({frozenset(one.tolist()) for one in index}) == 200
    # each example of a class is as likely as another: 6 of 9 in 200 draws
    times = np.bincount(index.ravel(), minlength=110)[LABEL == 1]
    assert times.sum() == 1200 and np.all(np.abs(times - 133.3) < 4 * np.sqrt(200 * 2 / 9))


@pytest.fixture(scope="module")
def epochs():
    """Twelve batches of 10 of two seeds, with 24 labels."""
    source = few_labels(IMAGES, 4 * EACH, 10)
    assert source.batch_size == 10

    def read(seed):
        made = jax.jit(lambda s: source.batch(source.arrays, jax.random.key(seed), s))
        batches = [made(jnp.int32(s)) for s in range(12)]
        return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}

    return read(3), read(4)


def test_batches_are_what_they_say(epochs):
    for made in epochs:
        for name in ("labelled_", "", "matched_"):
            image, index = made[f"{name}image"], made[f"{name}index"]
            assert image.shape == (12, 10, 4, 4, 1) and image.dtype == np.float32
            np.testing.assert_allclose(image, np.asarray(to_float(IMAGES.image[index])), atol=1e-6)
        np.testing.assert_array_equal(made["labelled_label"], LABEL[made["labelled_index"]])


def test_labelled_images_come_in_permutations_of_one_subset(epochs):
    subsets = []
    for made in epochs:
        passes = made["labelled_index"].reshape(-1)[:120].reshape(5, 24)
        np.testing.assert_array_equal(np.sort(passes, axis=1), np.sort(passes[:1], axis=1).repeat(5, axis=0))
        assert len({tuple(one) for one in passes.tolist()}) == 5
        np.testing.assert_array_equal(np.bincount(LABEL[passes[0]]), [EACH] * 4)
        subsets.append(set(passes[0].tolist()))
    assert subsets[0] != subsets[1]


def test_all_images_come_without_labels_in_two_orders(epochs):
    for made in epochs:
        orders = [made[name].reshape(-1)[:110] for name in ("index", "matched_index")]
        for order in orders:
            np.testing.assert_array_equal(np.sort(order), np.arange(110))
        assert (orders[0] == orders[1]).sum() < 8
