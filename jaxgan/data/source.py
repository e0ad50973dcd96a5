"""Where a step's batch comes from: arrays that live on the device, or a stream from the host.

Either way batch number ``step`` is a pure function of (seed, step): resuming is a counter.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Batch, Key

# (arrays, key, step) -> Batch, run inside the compiled step. The key is the run's data key,
# the same at every step: what must differ from step to step folds the step in.
BatchFn = Callable[[Mapping[str, Array], Key, Array], Batch]

SHUFFLE_ROUNDS = 48


@dataclass(frozen=True)
class DeviceSource:
    """Data that fits on the device.

    arrays: what lies there (images as uint8), passed to the compiled step as an argument.
    batch: makes batch number ``step`` from *all* arrays.
    """

    arrays: Mapping[str, Any]
    batch: BatchFn
    batch_size: int


@dataclass(frozen=True)
class HostSource:
    """Data that streams from the host through grain.

    dataset: a ``grain.MapDataset`` whose element ``step`` is the raw batch number ``step``
        (a dict of numpy arrays, images as uint8), already shuffled, repeated and batched.
    batch: makes the batch from that step's raw arrays, inside the compiled step.
    """

    dataset: Any
    batch: BatchFn
    batch_size: int
    num_threads: int = 8
    prefetch: int = 16

    def iterate(self, step: int) -> Iterator[Mapping[str, Any]]:
        """Raw batches from number `step` on, read ahead by `num_threads` threads."""
        import grain

        options = grain.ReadOptions(num_threads=self.num_threads, prefetch_buffer_size=self.prefetch)
        iterator = iter(self.dataset.to_iter_dataset(options))
        iterator.set_state({"next_index": step})
        return iterator


def shuffled_indices(key: Key, step: Array, batch_size: int, n: int) -> Array:
    """Indices int32 [batch_size] of batch number `step`: every epoch a new permutation of range(n).

    Reading batches one after another visits each example exactly once per epoch; a batch may
    straddle two epochs. Nothing is stored and no permutation is ever materialised: each index is
    permuted on its own by a swap-or-not shuffle (Hoang, Morris, Rogaway, "An Enciphering Scheme
    Based on a Card Shuffle", 2012, arXiv 1208.1176, Fig. 1), a bijection on range(n) for any n.
    """
    if not 0 < n * (batch_size + 1) < 2**32:
        raise ValueError(f"{n} examples in batches of {batch_size} do not fit a 32-bit counter")
    step = jnp.asarray(step).astype(jnp.uint32)
    # (step * batch_size + i) divided by n, without overflowing 32 bits
    position = (step % n) * jnp.uint32(batch_size) + jnp.arange(batch_size, dtype=jnp.uint32)
    epoch = (step // n) * jnp.uint32(batch_size) + position // jnp.uint32(n)
    words = jax.vmap(lambda e: jax.random.bits(jax.random.fold_in(key, e), (2,), jnp.uint32))(epoch)
    return _swap_or_not(position % jnp.uint32(n), words, n).astype(jnp.int32)


def permuted(index: Array, keys: Key, n: Array) -> Array:
    """Where permutations put indices: index int32 [m] in range(n[i]), typed keys [m], n int32 [m] -> int32 [m].

    Element i goes where the permutation of range(n[i]) that keys[i] draws puts it; none is materialised, as in
    `shuffled_indices`.
    """
    words = jax.vmap(lambda key: jax.random.bits(key, (2,), jnp.uint32))(keys)
    return _swap_or_not(index.astype(jnp.uint32), words, n.astype(jnp.uint32)).astype(jnp.int32)


def _swap_or_not(index: Array, words: Array, n: int | Array) -> Array:
    def one_round(r: Array, index: Array) -> Array:
        salt = _mix(words[:, 0] + r * jnp.uint32(0x9E3779B9))
        partner = (salt % jnp.uint32(n) + jnp.uint32(n) - index) % jnp.uint32(n)
        decision = _mix(jnp.maximum(index, partner) ^ _mix(words[:, 1] + r * jnp.uint32(0x85EBCA6B)))
        return jnp.where(decision >> 31 == 1, partner, index)

    return jax.lax.fori_loop(0, SHUFFLE_ROUNDS, lambda r, x: one_round(jnp.uint32(r), x), index)


def _mix(x: Array) -> Array:
    # the 32-bit finalizer of MurmurHash3 (Appleby, public domain): every input bit reaches every output bit
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
