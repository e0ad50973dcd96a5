"""Domains: two sets of pictures to translate between, and how they are made of pairs, of sets and of classes.

`unpaired` makes them of pairs, `joined` of any two sets of images, `only` a set of one class or attribute; CycleGAN
and its kin learn from them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxgan.data.images import DataError, Images, listed
from jaxgan.data.pairs import Pairs
from jaxgan.data.pixels import Pixels, coloured, digest_of, identity, picked
from jaxgan.data.resizing import resized


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
        image = coloured(picked(image, index), channels)
        test_image = None if test_image is None else coloured(test_image, channels)
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
        kept = picked(image, index) if len(index) else None
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
    there = [f"it has {listed(classes)}, numbered from 0"] if classes else []
    there += [f"{'and ' if there else 'it has '}the attributes {listed(attributes)}"] if attributes else []
    raise DataError(f"{images.name} has no class '{which}'; {', '.join(there)}")


def _place(names: Sequence[str], which: str) -> int | None:
    """Where a name stands among others, in these letters or else in any capitals; None where that is nowhere."""
    folded = [name.casefold() for name in names]
    if which in names:
        return names.index(which)
    return folded.index(which.casefold()) if folded.count(which.casefold()) == 1 else None


def _in_colour(images: Images, channels: int) -> Images:
    image = coloured(images.image, channels)
    if image is images.image:
        return images
    test_image = None if images.test_image is None else coloured(images.test_image, channels)
    what = f"{channels} channels"
    return replace(
        images,
        image=image,
        test_image=test_image,
        fingerprint=identity(image, None, images.label, images.fingerprint, what),
        test_fingerprint=identity(test_image, None, images.test_label, images.test_fingerprint, what),
    )


def _plain_name(name: str) -> str:
    """A name that can be part of a folder's."""
    return re.sub(r"[^\w.-]+", "-", name)


def _by(shape: Sequence[int]) -> str:
    return f"{shape[0]}x{shape[1]}"
