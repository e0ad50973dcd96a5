"""What a game carries from step to step besides parameters: old fakes, and how much D's examples are augmented."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Key

# steps over which the controller averages
WINDOW = 4


@dataclass(frozen=True)
class Replay:
    """A repository of old fakes: D sees half new fakes and half old ones.

    Of each batch of n fakes the first n // 2 are shown as they are. In place of the others, as many
    old ones are drawn from the repository, without repetition, and the others take their places
    there. A place that was never filled shows the new fake. Old fakes keep a discriminator from
    forgetting what the generator did before (Shrivastava et al., "Learning from Simulated and
    Unsupervised Images through Adversarial Training", 2017, arXiv 1612.07828, section 2.3; there
    places are filled at random). CycleGAN's pool, which tosses a coin for each, is `ImagePool`.

    capacity: examples kept, at least half a batch.
    """

    capacity: int

    def empty(self, fakes: Any) -> Mapping[str, Array]:
        """Memory for fakes of these shapes and types, a tree of arrays [n, ...]: labels may travel along."""
        half = jax.tree.leaves(fakes)[0].shape[0] // 2
        if self.capacity < half:
            raise ValueError(f"a replay of {self.capacity} is less than half a batch, {half}")
        places = jax.tree.map(lambda x: _as_bits(jnp.zeros((self.capacity, *x.shape[1:]), x.dtype)), fakes)
        return {"places": places, "filled": jnp.zeros((self.capacity,), jnp.int32)}

    def draw(self, memory: Mapping[str, Any], fakes: Any, key: Key) -> tuple[Any, Mapping[str, Any]]:
        """(fakes to show, memory after): `fakes` and the shown ones are trees of arrays [n, ...]."""
        n = jax.tree.leaves(fakes)[0].shape[0]
        half = n // 2
        place = jax.random.permutation(key, self.capacity)[:half]
        was_filled = memory["filled"][place]

        def mix(new: Array, places: Array) -> Array:
            old = _as_values(places[place], new.dtype)
            known = was_filled.reshape(-1, *[1] * (new.ndim - 1)) > 0
            return jnp.concatenate([new[: n - half], jnp.where(known, old, new[n - half :])])

        def keep(new: Array, places: Array) -> Array:
            return places.at[place].set(_as_bits(jax.lax.stop_gradient(new[n - half :])))

        shown = jax.tree.map(mix, fakes, memory["places"])
        kept = jax.tree.map(keep, fakes, memory["places"])
        return shown, {"places": kept, "filled": memory["filled"].at[place].set(1)}


@dataclass(frozen=True)
class ImagePool:
    """CycleGAN's pool of old fakes: each new one is shown, or with probability 1/2 an old one in its place.

    The first `capacity` fakes are kept, and shown as they are. From then on a coin is tossed for each: heads, the
    new fake is shown; tails, one from the pool, and the new one takes its place there. Zhu, Park, Isola, Efros,
    "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", 2017, arXiv 1703.10593,
    section 4, with 50 places. Their code takes pictures one after another; the old ones of a batch are here drawn
    from places that are all different, so that a fake of this batch is not shown again in it.

    capacity: fakes kept in each group, at least those of a batch. groups: equal parts of a batch, one after
    another, that have a pool each, such as the fakes of two domains.
    """

    capacity: int
    groups: int = 1

    def empty(self, fakes: Any) -> Mapping[str, Array]:
        """Memory for fakes of these shapes and types, a tree of arrays [n, ...]: labels may travel along."""
        n = jax.tree.leaves(fakes)[0].shape[0]
        if n % self.groups:
            raise ValueError(f"{self.groups} pools do not divide a batch of {n}")
        if self.capacity < n // self.groups:
            raise ValueError(f"a pool of {self.capacity} is less than the {n // self.groups} fakes of a batch")
        places = jax.tree.map(
            lambda x: _as_bits(jnp.zeros((self.groups, self.capacity, *x.shape[1:]), x.dtype)),
            fakes,
        )
        return {"places": places, "filled": jnp.zeros((self.groups,), jnp.int32)}

    def draw(self, memory: Mapping[str, Any], fakes: Any, key: Key) -> tuple[Any, Mapping[str, Any]]:
        """(fakes to show, memory after): `fakes` and the shown ones are trees of arrays [n, ...]."""
        n = jax.tree.leaves(fakes)[0].shape[0] // self.groups

        def in_group(key: Key, filled: Array, new: Any, places: Any) -> tuple[Any, Any]:
            place_key, coin_key = jax.random.split(key)
            full = filled >= self.capacity
            in_order = filled + jnp.arange(n)
            place = jnp.where(full, jax.random.permutation(place_key, self.capacity)[:n], in_order)
            swap = full & jax.random.bernoulli(coin_key, 0.5, (n,))
            # beyond the last place nothing is kept: new fakes that are shown, and those for which none was left
            kept_at = jnp.where(swap | ~full, place, self.capacity)

            def mix(new: Array, old: Array) -> Array:
                taken = _as_values(old[jnp.minimum(place, self.capacity - 1)], new.dtype)
                return jnp.where(swap.reshape(-1, *[1] * (new.ndim - 1)), taken, new)

            def keep(new: Array, old: Array) -> Array:
                return old.at[kept_at].set(_as_bits(jax.lax.stop_gradient(new)), mode="drop")

            return jax.tree.map(mix, new, places), jax.tree.map(keep, new, places)

        grouped = jax.tree.map(lambda x: x.reshape(self.groups, n, *x.shape[1:]), fakes)
        keys = jax.random.split(key, self.groups)
        shown, places = jax.vmap(in_group)(keys, memory["filled"], grouped, memory["places"])
        filled = jnp.minimum(memory["filled"] + n, self.capacity)
        return (
            jax.tree.map(lambda x: x.reshape(self.groups * n, *x.shape[2:]), shown),
            {"places": places, "filled": filled},
        )


@dataclass(frozen=True)
class Controller:
    """How often D's examples are augmented: more while D is surer of the real ones than `target`, else less.

        p <- clip(p + sign(r - target) * batch / images, 0, 1),   r the mean of sign(D(real)),

    from 0 on, at every step, with r averaged over some `WINDOW` steps. So p rises from 0 to 1 within `images`
    images at the fastest. r is 1 where D has learnt the training images by heart, and 0 where it cannot tell.

    Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020, arXiv 2006.06676,
    section 3: target 0.6, 500,000 images. There p moves at every fourth step, by four times as much, and r is
    the mean over those; here it moves at each, and r fades by 3/4 a step.

    batch: real examples a step, over all devices.
    """

    batch: int

    def start(self) -> Mapping[str, Array]:
        """The memory before the first step: `probability` and `sign`, the running r."""
        return {"probability": jnp.zeros(()), "sign": jnp.zeros(())}

    def after(
        self, memory: Mapping[str, Array], real_logits: Array, target: Array | float, images: Array | float
    ) -> Mapping[str, Array]:
        """The memory after a step in which D gave the real examples these logits [...], of any shape.

        p follows the r of the steps before, which is the same on all devices.
        """
        moved = memory["probability"] + jnp.sign(memory["sign"] - target) * (self.batch / images)
        now = jnp.mean(jnp.sign(real_logits.astype(jnp.float32)))
        sign = memory["sign"] + (now - memory["sign"]) / WINDOW
        return {"probability": jnp.clip(moved, 0.0, 1.0), "sign": sign}


def _as_bits(values: Array) -> Array:
    # integers stay each device's own, where floating memory would be averaged over devices
    return jax.lax.bitcast_convert_type(values, jnp.int32) if values.dtype == jnp.float32 else values


def _as_values(bits: Array, dtype: Any) -> Array:
    return jax.lax.bitcast_convert_type(bits, jnp.float32) if dtype == jnp.float32 else bits
