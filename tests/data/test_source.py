from functools import partial

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.data.source import HostSource, permuted, shuffled_indices

KEY = jax.random.key(3)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _read(key: jax.Array, first: jax.Array, num_batches: int, batch_size: int, n: int) -> jax.Array:
    steps = jnp.arange(num_batches, dtype=jnp.uint32) + first
    return jax.vmap(lambda s: shuffled_indices(key, s, batch_size, n))(steps).reshape(-1)


def read(key: jax.Array, first: int, num_batches: int, batch_size: int, n: int) -> np.ndarray:
    """Batches first ... first + num_batches - 1, one after another."""
    return np.asarray(_read(key, jnp.uint32(first), num_batches, batch_size, n))


@pytest.mark.parametrize(
    ("n", "batch_size"),
    [(1, 1), (1, 7), (2, 1), (2, 3), (3, 2), (10, 32), (64, 64), (97, 10), (1797, 64), (60000, 256)],
)
def test_every_epoch_is_a_permutation(n, batch_size):
    epochs = 3
    stream = read(KEY, 0, -(-epochs * n // batch_size), batch_size, n)[: epochs * n].reshape(epochs, n)
    assert stream.dtype == np.int32
    np.testing.assert_array_equal(np.sort(stream, axis=1), np.tile(np.arange(n), (epochs, 1)))


def test_epochs_and_keys_differ():
    first, second = read(KEY, 0, 20, 100, 1000).reshape(2, 1000)
    other = read(jax.random.key(4), 0, 10, 100, 1000)
    for a, b in [(first, second), (first, other), (first, np.arange(1000))]:
        # two random permutations agree in one place on average (Poisson)
        assert (a == b).sum() < 8
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(1000)


def test_indices_are_permuted_each_within_its_own_range():
    sizes = np.array([1, 5, 97, 97])
    n, index = np.repeat(sizes, sizes), np.concatenate([np.arange(size) for size in sizes])
    which = np.repeat(np.arange(4), sizes)
    keys = jax.vmap(lambda w: jax.random.fold_in(KEY, w))(jnp.asarray(which))
    found = np.asarray(jax.jit(permuted)(jnp.asarray(index), keys, jnp.asarray(n)))
    assert found.dtype == np.int32
    for w, size in enumerate(sizes):
        np.testing.assert_array_equal(np.sort(found[which == w]), np.arange(size))
    # another key, another permutation
    assert (found[which == 2] == found[which == 3]).sum() < 8


def test_neighbours_in_an_epoch_are_unrelated():
    stream = read(KEY, 0, 18, 100, 1797)[:1797]
    assert abs(np.corrcoef(stream[:-1], stream[1:])[0, 1]) < 5 / np.sqrt(1797)


@pytest.mark.parametrize("position", [0, 5, 12])
def test_every_index_is_equally_likely_at_every_position(position):
    n, epochs = 13, 5200
    stream = read(KEY, 0, epochs, n, n).reshape(epochs, n)
    counts = np.bincount(stream[:, position], minlength=n)
    chi_square = ((counts - epochs / n) ** 2 / (epochs / n)).sum()
    assert chi_square < 32.9  # the 0.999 quantile at 12 degrees of freedom


def test_pairs_of_positions_are_uniform():
    n, epochs = 5, 20000
    stream = read(KEY, 0, epochs, n, n).reshape(epochs, n)
    counts = np.bincount(stream[:, 0] * n + stream[:, 1], minlength=n * n).reshape(n, n)
    assert (np.diag(counts) == 0).all()
    off = counts[~np.eye(n, dtype=bool)]
    assert ((off - epochs / 20) ** 2 / (epochs / 20)).sum() < 43.8  # the 0.999 quantile at 19 degrees of freedom


def test_any_start_step_gives_the_rest_of_the_stream():
    whole = read(KEY, 0, 40, 9, 25)
    for start in (1, 7, 30):
        np.testing.assert_array_equal(read(KEY, start, 10, 9, 25), whole[start * 9 : (start + 10) * 9])


def test_jit_and_vmap_change_nothing():
    eager = shuffled_indices(KEY, jnp.asarray(5), 8, 21)
    np.testing.assert_array_equal(eager, jax.jit(lambda s: shuffled_indices(KEY, s, 8, 21))(5))
    keys = jax.random.split(KEY, 3)
    many = jax.vmap(lambda k: shuffled_indices(k, jnp.asarray(5), 8, 21))(keys)
    for key, row in zip(keys, many, strict=True):
        np.testing.assert_array_equal(row, shuffled_indices(key, jnp.asarray(5), 8, 21))


@pytest.mark.parametrize(("n", "batch_size"), [(1797, 64), (10, 32), (60000, 128)])
def test_huge_steps_stay_exact(n, batch_size):
    # epoch and position in Python's unbounded integers say which reads make up one epoch
    last = 2**31 - 1
    first = last - (2 * n) // batch_size - 2
    stream = read(KEY, first, last - first + 1, batch_size, n)
    skip = -(first * batch_size) % n
    epoch = stream[skip : skip + n]
    assert len(epoch) == n
    np.testing.assert_array_equal(np.sort(epoch), np.arange(n))


def test_sizes_that_would_overflow_are_refused():
    with pytest.raises(ValueError, match="32-bit"):
        shuffled_indices(KEY, jnp.asarray(0), 2**12, 2**20)
    with pytest.raises(ValueError, match="32-bit"):
        shuffled_indices(KEY, jnp.asarray(0), 4, 0)


@pytest.mark.parametrize("num_threads", [0, 2])
def test_host_source_starts_anywhere(num_threads):
    dataset = grain.MapDataset.range(11).seed(3).shuffle().repeat().map(lambda i: {"index": np.int32(i)}).batch(4)
    source = HostSource(dataset, lambda arrays, key, step: arrays, 4, num_threads=num_threads, prefetch=2)
    iterator = source.iterate(0)
    whole = [next(iterator)["index"].tolist() for _ in range(12)]
    epochs = np.concatenate(whole)[:44].reshape(4, 11)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(11), (4, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 4
    for start in (1, 5, 11):
        iterator = source.iterate(start)
        assert [next(iterator)["index"].tolist() for _ in range(12 - start)] == whole[start:]
