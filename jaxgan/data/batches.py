"""Training batches of images, of pairs and of domains: their order, and how they are mirrored and shifted.

Pictures in memory give a `DeviceSource`, whose order follows from the run's data key; lazy ones a `HostSource`, whose
order follows from `seed`. Both visit every picture once an epoch, in a new order each epoch.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Batch, Key, to_float
from jaxgan.data.domains import Domains
from jaxgan.data.images import Images
from jaxgan.data.pairs import Pairs
from jaxgan.data.pixels import Lazy, Pixels
from jaxgan.data.source import DeviceSource, HostSource, shuffled_indices

# Far above any epoch number, so that flips and shifts never share a key with the shuffle's epochs.
_FLIP, _SHIFT = 0x666C6970, 0x73686966


def image_batches(images: Images, batch_size: int, seed: int, flip: bool = False) -> DeviceSource | HostSource:
    """Training batches of images: ``image`` float32 [batch, h, w, c] in [-1, 1], ``index`` int32, and where the images
    have them ``label`` int32 [batch] and ``attribute`` uint8 [batch, attributes].

    flip: mirrors every image left to right with probability 1/2, anew each time.
    """
    _check(batch_size, 0, images.size)

    def finish(raw: Mapping[str, Array], key: Key, step: Array) -> Batch:
        return {**raw, "image": to_float(_move(key, step, batch_size, flip, 0)(raw["image"], 1))}

    said = {"label": images.label, "attribute": images.attribute}
    return _source({"image": images.image}, said, batch_size, seed, finish)


def pair_batches(
    pairs: Pairs, batch_size: int, seed: int, flip: bool = False, jitter: int = 0
) -> DeviceSource | HostSource:
    """Training batches of pairs: ``source`` and ``target`` float32 in [-1, 1], ``index``, ``label`` if labelled.

    A `HostSource` where either half is lazy.
    flip: mirrors a pair left to right with probability 1/2, both halves alike.
    jitter: shifts a pair by up to so many pixels of the source up or down and left or right, both halves alike (a
        target that is `factor` times as large moves that many times as far); what comes in at a border mirrors what
        is there. pix2pix enlarges pictures of 256 to 286 and cuts 256 out, which scales them too: this does not.
    """
    _check(batch_size, jitter, pairs.source_size)

    def finish(raw: Mapping[str, Array], key: Key, step: Array) -> Batch:
        move = _move(key, step, batch_size, flip, jitter)
        source, target = move(raw["source"], 1), move(raw["target"], pairs.factor)
        return {**raw, "source": to_float(source), "target": to_float(target)}

    pictures = {"source": pairs.source, "target": pairs.target}
    return _source(pictures, {"label": pairs.label}, batch_size, seed, finish)


def domain_batches(
    domains: Domains, batch_size: int, seed: int, flip: bool = False, jitter: int = 0
) -> DeviceSource | HostSource:
    """Training batches of both domains: ``a``, ``b`` float32 [batch, h, w, c] in [-1, 1], ``a_index``, ``b_index``
    int32, and ``a_label``, ``b_label`` where labelled.

    The two have orders, flips and shifts that know nothing of each other, and each visits its own pictures once in an
    epoch of its own. flip and jitter are those of `pair_batches`; a `HostSource` where either domain is lazy.
    """
    _check(batch_size, jitter, domains.size)
    streamed = any(isinstance(one.image, Lazy) for one in (domains.a, domains.b))

    def source(letter: str, images: Images, seed: int) -> DeviceSource | HostSource:
        def finish(raw: Mapping[str, Array], key: Key, step: Array) -> Batch:
            return {**raw, letter: to_float(_move(key, step, batch_size, flip, jitter)(raw[letter], 1))}

        said = {"label": images.label}
        return _source({letter: images.image}, said, batch_size, seed, finish, f"{letter}_", streamed)

    # seeds that no other run's domains have
    a, b = source("a", domains.a, 2 * seed), source("b", domains.b, 2 * seed + 1)

    def batch(raw: Mapping[str, Array], key: Key, step: Array) -> Batch:
        made: dict[str, Array] = {}
        for k, (letter, one) in enumerate((("a", a), ("b", b))):
            own = {name: array for name, array in raw.items() if name.startswith(letter)}
            made |= one.batch(own, jax.random.fold_in(key, k), step)
        return made

    if isinstance(a, DeviceSource) and isinstance(b, DeviceSource):
        return DeviceSource({**a.arrays, **b.arrays}, batch, batch_size)
    assert isinstance(a, HostSource) and isinstance(b, HostSource)
    import grain

    both = grain.experimental.ZipMapDataset([a.dataset, b.dataset]).map(lambda two: {**two[0], **two[1]})
    return HostSource(both, batch, batch_size)


def _source(
    pictures: Mapping[str, Pixels],
    said: Mapping[str, np.ndarray | None],
    batch_size: int,
    seed: int,
    finish: Callable[[Mapping[str, Array], Key, Array], Batch],
    prefix: str = "",
    streamed: bool = False,
) -> DeviceSource | HostSource:
    """Rows of pictures and of what is said of them, where anything is, in a shuffled order, with their index.

    prefix: of the names of the index and of what is said. streamed: from the host, though none is lazy.
    """
    n = len(next(iter(pictures.values())))
    arrays: dict[str, Any] = {
        **pictures,
        **{f"{prefix}{name}": array for name, array in said.items() if array is not None},
    }
    if streamed or any(isinstance(array, Lazy) for array in pictures.values()):
        import grain

        def read(index: Any) -> dict[str, Any]:
            row = {name: array[int(index)] for name, array in arrays.items()}
            return {**row, f"{prefix}index": np.int32(index)}

        # grain seeds with 32 bits
        stream = grain.MapDataset.range(n).seed(seed % 2**32).shuffle().repeat().map(read)
        return HostSource(stream.batch(batch_size), finish, batch_size)

    def batch(arrays: Mapping[str, Array], key: Key, step: Array) -> Batch:
        index = shuffled_indices(key, step, batch_size, n)
        raw = {name: jnp.asarray(a).at[index].get(mode="promise_in_bounds") for name, a in arrays.items()}
        return finish({**raw, f"{prefix}index": index}, key, step)

    return DeviceSource(arrays, batch, batch_size)


def _move(key: Key, step: Array, batch_size: int, flip: bool, jitter: int) -> Callable[[Array, int], Array]:
    """What this step does to images [batch, h, w, c] that are so many times as large as those `jitter` is meant for."""
    flip_key, shift_key = (jax.random.fold_in(jax.random.fold_in(key, what), step) for what in (_FLIP, _SHIFT))
    mirror = jax.random.bernoulli(flip_key, shape=(batch_size, 1, 1, 1)) if flip else None
    shift = jax.random.randint(shift_key, (batch_size, 2), -jitter, jitter + 1) if jitter else None

    def places(length: int, by: Array) -> Array:
        # the border pixel is repeated, unlike in numpy's "reflect": so a block's mirror image is a block, and a
        # small source stays the reduced target
        place = jnp.arange(length)[None, :] + by[:, None]
        place = jnp.where(place < 0, -1 - place, place)
        return jnp.where(place >= length, 2 * length - 1 - place, place)

    def move(image: Array, factor: int) -> Array:
        if shift is not None:
            rows, columns = (places(image.shape[1 + axis], shift[:, axis] * factor) for axis in (0, 1))
            image = jax.vmap(lambda one, row, column: one[row][:, column])(image, rows, columns)
        return image if mirror is None else jnp.where(mirror, image[:, :, ::-1], image)

    return move


def _check(batch_size: int, jitter: int, size: tuple[int, int, int]) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")
    if not 0 <= jitter <= min(size[:2]):
        raise ValueError(f"jitter is {jitter}; pictures of {size[0]}x{size[1]} can be shifted by 0 to {min(size[:2])}")
