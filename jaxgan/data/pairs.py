"""Data for translating pictures: pairs that show one thing in two ways, and domains that nothing says how to pair.

`Pairs` are for learning from examples (pix2pix, super resolution), `Domains` for learning without (CycleGAN). Both
are made of plain `Images` (`aligned`, `unpaired`, `joined`, `only`) or read from folders (`folders`).
`pair_batches` and `domain_batches` are to them what `images.batches` is to images.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Batch, Key, to_float
from jaxgan.data import images as plain
from jaxgan.data.images import DataError, Images, Lazy, fingerprint
from jaxgan.data.resizing import resized
from jaxgan.data.source import DeviceSource, HostSource, shuffled_indices
from jaxgan.data.transformations import TRANSFORMATIONS

Pixels = np.ndarray | Lazy
# Far above any epoch number, as the flips' in `images`
_SHIFT = 0x73686966
# Decoded pictures kept so that the two halves of a pair, which are read one after the other, decode once
KEPT = 32


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pictures that belong together, source i and target i; learning goes from source to target.

    name: as results call it.
    source, target: uint8 [n, height, width, channel], arrays or `Lazy`; channels may differ, and the target's sides
        may be one whole multiple (`factor`) of the source's.
    label: int32 [n] in [0, num_classes), or None.
    test_source, test_target, test_label: the same for the test part, or None.
    classes: the names of the classes, empty if unlabelled.
    fingerprint: sha256 (hex) over what `Images.fingerprint` is over, of both halves.
    note, resizer, test_fingerprint: as those of `Images`.
    target_name: of the targets alone, where they are a set that has a name; "" for none.
    DataError if the halves do not fit each other.
    """

    name: str
    source: Pixels
    target: Pixels
    label: np.ndarray | None
    test_source: Pixels | None
    test_target: Pixels | None
    test_label: np.ndarray | None
    classes: tuple[str, ...]
    fingerprint: str
    note: str = ""
    resizer: str = "none"
    test_fingerprint: str = ""
    target_name: str = ""

    def __post_init__(self) -> None:
        (height, width, _), (tall, wide, _) = self.source_size, self.target_size
        if tall % height or wide % width or tall // height != wide // width:
            raise DataError(
                f"targets of {self.name} are {tall}x{wide} and sources {height}x{width}; the targets' sides must be "
                "those of the sources, or one whole multiple of them"
            )
        if (self.test_source is None) != (self.test_target is None):
            raise DataError(f"{self.name} has test pictures of one half only; give both or neither")
        for source, target in ((self.source, self.target), (self.test_source, self.test_target)):
            if source is not None and target is not None and len(source) != len(target):
                raise DataError(
                    f"{self.name} has {len(source)} sources and {len(target)} targets; there is one for each"
                )

    @property
    def source_size(self) -> tuple[int, int, int]:
        """(height, width, channel) of a source."""
        return _size(self.source)

    @property
    def target_size(self) -> tuple[int, int, int]:
        """(height, width, channel) of a target."""
        return _size(self.target)

    @property
    def factor(self) -> int:
        """How many times as long the target's sides are as the source's."""
        return self.target.shape[1] // self.source.shape[1]

    @property
    def num_classes(self) -> int:
        """How many classes there are, 0 if unlabelled."""
        return len(self.classes)


@dataclass(frozen=True, eq=False)
class Domains:
    """Two sets of pictures of one size, to translate between; nothing says which belong together.

    aligned: test picture i of `a` and of `b` show one thing, which training is never told.
    fingerprint: sha256 (hex) over those of the two.
    note: what a result made with them must say.
    DataError if the two differ in size or channels.
    """

    name: str
    a: Images
    b: Images
    aligned: bool
    fingerprint: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.a.size != self.b.size:
            raise DataError(
                f"{self.a.name} is of {'x'.join(map(str, self.a.size))} and {self.b.name} of "
                f"{'x'.join(map(str, self.b.size))}; the two domains must be of one size"
            )
        first, second = (0 if part is None else len(part) for part in (self.a.test_image, self.b.test_image))
        if self.aligned and first != second:
            raise DataError(f"the test parts of {self.name} have {first} and {second} pictures; aligned ones match")

    @property
    def size(self) -> tuple[int, int, int]:
        """(height, width, channel) of either domain."""
        return self.a.size


def aligned(images: Images, transformation: str) -> Pairs:
    """The images as targets, and what one of `TRANSFORMATIONS` makes of each as its source; lazy images stay lazy.

    DataError for an unknown transformation, or one that the images do not suit.
    """
    if transformation not in TRANSFORMATIONS:
        raise DataError(f"unknown transformation '{transformation}'; choose one of {', '.join(TRANSFORMATIONS)}")
    change = TRANSFORMATIONS[transformation]

    def halves(image: Pixels) -> tuple[Pixels, Pixels]:
        if isinstance(image, Lazy):
            image = Lazy(lru_cache(KEPT)(image.__getitem__), image.shape)
        return _mapped(change, image), image

    source, target = halves(images.image)
    test_source, test_target = (None, None) if images.test_image is None else halves(images.test_image)
    tested = ""
    if test_source is not None and test_target is not None:
        tested = identity(test_source, test_target, images.test_label, images.test_fingerprint, transformation)
    return Pairs(
        f"{images.name}-{transformation}",
        source,
        target,
        images.label,
        test_source,
        test_target,
        images.test_label,
        images.classes,
        identity(source, target, images.label, images.fingerprint, transformation),
        images.note,
        images.resizer,
        tested,
        images.name,
    )


def unpaired(pairs: Pairs) -> Domains:
    """Domains out of pairs: `a` has the sources of one half of the training pictures, `b` the targets of the other.

    So no training picture is in both. The halves are drawn without regard to order, by a fixed permutation. The test
    parts stay whole and aligned. Where one side is grey and the other not, the grey is repeated to three channels.
    DataError where source and target differ in size.
    """
    if pairs.factor != 1:
        raise DataError(
            f"{pairs.name} has sources of {_by(pairs.source_size)} and targets of {_by(pairs.target_size)}, and two "
            "domains are of one size; use it as pairs, or choose another transformation"
        )
    n = len(pairs.target)
    if n == 1:
        raise DataError(f"{pairs.name} has one training pair, and each domain needs a picture of its own")
    order = np.random.default_rng(0).permutation(n)
    channels = max(pairs.source_size[2], pairs.target_size[2])

    def domain(half: str, image: Pixels, test_image: Pixels | None, index: np.ndarray) -> Images:
        image = _coloured(_chosen(image, index), channels)
        test_image = None if test_image is None else _coloured(test_image, channels)
        label = None if pairs.label is None else pairs.label[index]
        return Images(
            f"{pairs.name}-{half}",
            image,
            label,
            test_image,
            pairs.test_label,
            pairs.classes,
            identity(image, None, label, pairs.fingerprint, half),
            pairs.note,
            pairs.resizer,
            identity(test_image, None, pairs.test_label, pairs.test_fingerprint, half),
        )

    a = domain("source", pairs.source, pairs.test_source, np.sort(order[: n // 2]))
    b = domain("target", pairs.target, pairs.test_target, np.sort(order[n // 2 :]))
    return Domains(f"{pairs.name}-unpaired", a, b, True, digest_of(a.fingerprint, b.fingerprint), pairs.note)


def joined(a: Images, b: Images, size: int | None = None, resizer: str = "lanczos") -> Domains:
    """Two sets as domains, their test parts not aligned.

    Sets of different sizes are cut to centre squares and resized (`resizing.resized`) to `size` pixels a side, default
    the larger of the two squares. Where one is grey and the other in colour, the grey is repeated to three channels.
    """
    name = _plain_name(f"{a.name}-to-{b.name}")
    if size is None and a.size[:2] != b.size[:2]:
        size = max(min(a.size[:2]), min(b.size[:2]))
    channels = max(a.size[2], b.size[2])
    a, b = (
        _in_colour(one if size is None else resized(one, size, resizer), channels) for one in (a, b)
    )  # fmt: skip
    note = "; ".join(dict.fromkeys(one.note for one in (a, b) if one.note))
    return Domains(name, a, b, False, digest_of(a.fingerprint, b.fingerprint), note)


def only(images: Images, which: str | int) -> Images:
    """The pictures of one class, by its name or its number: training and test part, unlabelled from then on.

    Or those that have an attribute, by its name, or have it not, by ``not-NAME``; classes go before, and capitals do
    not matter where they do not tell two names apart.
    DataError if there is no such class or attribute, or no training picture of it.
    """
    if images.label is None and not images.attributes:
        raise DataError(f"{images.name} is unlabelled: it has no class '{which}'")
    name, what, chosen, test_chosen = _members(images, str(which))

    def part(image: Pixels, member: np.ndarray, before: str) -> tuple[Pixels | None, str]:
        index = np.flatnonzero(member)
        kept = _chosen(image, index) if len(index) else None
        return kept, identity(kept, None, None, before, what)

    image, digest = part(images.image, chosen, images.fingerprint)
    if image is None:
        raise DataError(f"{images.name} has no training picture of '{name}'")
    test_image, tested = None, ""
    if images.test_image is not None and test_chosen is not None:
        test_image, tested = part(images.test_image, test_chosen, images.test_fingerprint)
    whole = _plain_name(f"{images.name}-{name}")
    return Images(whole, image, None, test_image, None, (), digest, images.note, images.resizer, tested)


def _members(images: Images, which: str) -> tuple[str, str, np.ndarray, np.ndarray | None]:
    """(name, what tells it from others, which training images are meant: bool [n], and which test images)."""
    classes, attributes, label = images.classes, images.attributes, images.label
    k = _place(classes, which)
    k = int(which) if k is None and which.isdecimal() and int(which) < len(classes) else k
    if k is not None and label is not None:
        return classes[k], f"class {k}", label == k, None if images.test_label is None else images.test_label == k
    k, wanted = _place(attributes, which), 1
    if k is None and which.casefold().startswith("not-"):
        k, wanted = _place(attributes, which[len("not-") :]), 0
    if k is not None and images.attribute is not None:
        name, test = attributes[k] if wanted else f"not-{attributes[k]}", images.test_attribute
        return (
            name,
            f"attribute {name}",
            images.attribute[:, k] == wanted,
            None if test is None else test[:, k] == wanted,
        )
    there = [f"it has {plain.listed(classes)}, numbered from 0"] if classes else []
    there += [f"{'and ' if there else 'it has '}the attributes {plain.listed(attributes)}"] if attributes else []
    raise DataError(f"{images.name} has no class '{which}'; {', '.join(there)}")


def _place(names: Sequence[str], which: str) -> int | None:
    """Where a name stands among others, in these letters or else in any capitals; None where that is nowhere."""
    folded = [name.casefold() for name in names]
    if which in names:
        return names.index(which)
    return folded.index(which.casefold()) if folded.count(which.casefold()) == 1 else None


def pair_batches(
    pairs: Pairs, batch_size: int, seed: int, flip: bool = False, jitter: int = 0
) -> DeviceSource | HostSource:
    """Training batches of pairs: ``source`` and ``target`` float32 in [-1, 1], ``index``, ``label`` if labelled.

    Order, epochs and what they follow from are those of `images.batches`; a `HostSource` where a half is lazy.
    flip: mirrors a pair left to right with probability 1/2, both halves alike.
    jitter: shifts a pair by up to so many pixels of the source up or down and left or right, both halves alike (a
        target that is `factor` times as large moves that many times as far); what comes in at a border mirrors what
        is there. pix2pix enlarges pictures of 256 to 286 and cuts 256 out, which scales them too: this does not.
    """
    n = len(pairs.target)
    _check_batches(batch_size, jitter, pairs.source_size)

    def finish(raw: Mapping[str, Array], key: Key, step: Array) -> Batch:
        move = _move(key, step, batch_size, flip, jitter)
        source, target = move(raw["source"], 1), move(raw["target"], pairs.factor)
        return {**raw, "source": to_float(source), "target": to_float(target)}

    arrays = {"source": pairs.source, "target": pairs.target}
    return _source(arrays, pairs.label, n, batch_size, seed, finish)


def domain_batches(
    domains: Domains, batch_size: int, seed: int, flip: bool = False, jitter: int = 0
) -> DeviceSource | HostSource:
    """Training batches of both domains: ``a``, ``b`` float32 [batch, h, w, c] in [-1, 1], ``a_index``, ``b_index``
    int32, and ``a_label``, ``b_label`` where labelled.

    The two have orders, flips and shifts that know nothing of each other, and each visits its own pictures once in an
    epoch of its own. flip and jitter are those of `pair_batches`; a `HostSource` where either domain is lazy.
    """
    _check_batches(batch_size, jitter, domains.size)
    streamed = any(isinstance(one.image, Lazy) for one in (domains.a, domains.b))

    def source(letter: str, images: Images, seed: int) -> DeviceSource | HostSource:
        def finish(raw: Mapping[str, Array], key: Key, step: Array) -> Batch:
            return {**raw, letter: to_float(_move(key, step, batch_size, flip, jitter)(raw[letter], 1))}

        arrays, n = {letter: images.image}, len(images.image)
        return _source(arrays, images.label, n, batch_size, seed, finish, f"{letter}_", streamed)

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
    arrays: Mapping[str, Pixels],
    label: np.ndarray | None,
    n: int,
    batch_size: int,
    seed: int,
    finish: Callable[[Mapping[str, Array], Key, Array], Batch],
    prefix: str = "",
    streamed: bool = False,
) -> DeviceSource | HostSource:
    """Rows of `arrays` and `label` in a shuffled order, with their index; streamed if any is lazy or it is asked."""
    labelled: dict[str, Any] = {**arrays} if label is None else {**arrays, f"{prefix}label": label}
    if streamed or any(isinstance(array, Lazy) for array in arrays.values()):

        def read(index: Any) -> dict[str, Any]:
            row = {name: array[int(index)] for name, array in labelled.items()}
            return {**row, f"{prefix}index": np.int32(index)}

        return HostSource(plain.stream(n, read, seed).batch(batch_size), finish, batch_size)

    def batch(arrays: Mapping[str, Array], key: Key, step: Array) -> Batch:
        index = shuffled_indices(key, step, batch_size, n)
        raw = {name: jnp.asarray(a).at[index].get(mode="promise_in_bounds") for name, a in arrays.items()}
        return finish({**raw, f"{prefix}index": index}, key, step)

    return DeviceSource(labelled, batch, batch_size)


def _move(key: Key, step: Array, batch_size: int, flip: bool, jitter: int) -> Callable[[Array, int], Array]:
    """What this step does to images [batch, h, w, c] that are so many times as large as those `jitter` is meant for."""
    mirror = plain.flips(key, step, batch_size) if flip else None
    shift_key = jax.random.fold_in(jax.random.fold_in(key, _SHIFT), step)
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


def _check_batches(batch_size: int, jitter: int, size: tuple[int, int, int]) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")
    if not 0 <= jitter <= min(size[:2]):
        raise ValueError(f"jitter is {jitter}; pictures of {_by(size)} can be shifted by 0 to {min(size[:2])}")


def _mapped(change: Callable[[np.ndarray], np.ndarray], image: Pixels) -> Pixels:
    """`change` of every image; it takes [..., h, w, c]. Shapes come out right for no images too."""
    shape = (len(image), *change(np.zeros((1, *image.shape[1:]), np.uint8)).shape[1:])
    if isinstance(image, Lazy):
        return Lazy(lambda i: change(image[i]), shape)
    out, start = np.empty(shape, np.uint8), 0
    for part in plain.in_parts(image):
        out[start : start + len(part)] = change(part)
        start += len(part)
    return out


def _chosen(image: Pixels, index: np.ndarray) -> Pixels:
    if isinstance(image, Lazy):
        return Lazy(lambda i: image[int(index[i])], (len(index), *image.shape[1:]))
    return image[index]


def _coloured(image: Pixels, channels: int) -> Pixels:
    """Grey images repeated to `channels`; others as they are."""
    if image.shape[-1] == channels or image.shape[-1] != 1:
        return image
    return _mapped(lambda x: np.repeat(x, channels, -1), image)


def _in_colour(images: Images, channels: int) -> Images:
    image = _coloured(images.image, channels)
    if image is images.image:
        return images
    test_image = None if images.test_image is None else _coloured(images.test_image, channels)
    what = f"{channels} channels"
    return replace(
        images,
        image=image,
        test_image=test_image,
        fingerprint=identity(image, None, images.label, images.fingerprint, what),
        test_fingerprint=identity(test_image, None, images.test_label, images.test_fingerprint, what),
    )


def identity(first: Pixels | None, second: Pixels | None, label: np.ndarray | None, before: str, what: str) -> str:
    """A fingerprint: of pixels in memory, or of what lazy ones were made of (`before`) and how; "" of none."""
    parts = [part for part in (first, second) if part is not None]
    if any(isinstance(part, Lazy) for part in parts):
        return before and digest_of(before, what)
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    digests = [fingerprint(array, label if array is arrays[-1] else None) for array in arrays]
    return digests[0] if len(digests) == 1 else digest_of(*digests) if digests else ""


def digest_of(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _plain_name(name: str) -> str:
    """A name that can be part of a folder's."""
    return re.sub(r"[^\w.-]+", "-", name)


def _size(image: Pixels) -> tuple[int, int, int]:
    return image.shape[1], image.shape[2], image.shape[3]


def _by(shape: Sequence[int]) -> str:
    return f"{shape[0]}x{shape[1]}"
