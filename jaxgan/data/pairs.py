"""Pairs: pictures that show one thing in two ways, to learn from examples what becomes of one (pix2pix, SRGAN).

They are made of plain `Images` (`aligned`) or read from a folder (`folders.side_by_side`).
"""

from dataclasses import dataclass

import numpy as np

from jaxgan.data.images import DataError, Images
from jaxgan.data.pixels import Lazy, Pixels, identity, mapped, remembered
from jaxgan.data.transformations import TRANSFORMATIONS


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
        return self.source.shape[1], self.source.shape[2], self.source.shape[3]

    @property
    def target_size(self) -> tuple[int, int, int]:
        """(height, width, channel) of a target."""
        return self.target.shape[1], self.target.shape[2], self.target.shape[3]

    @property
    def factor(self) -> int:
        """How many times as long the target's sides are as the source's."""
        return self.target.shape[1] // self.source.shape[1]

    @property
    def num_classes(self) -> int:
        """How many classes there are, 0 if unlabelled."""
        return len(self.classes)


def aligned(images: Images, transformation: str) -> Pairs:
    """The images as targets, and what one of `TRANSFORMATIONS` makes of each as its source; lazy images stay lazy.

    DataError for an unknown transformation, or one that the images do not suit.
    """
    if transformation not in TRANSFORMATIONS:
        raise DataError(f"unknown transformation '{transformation}'; choose one of {', '.join(TRANSFORMATIONS)}")
    change = TRANSFORMATIONS[transformation]

    def halves(image: Pixels) -> tuple[Pixels, Pixels]:
        if isinstance(image, Lazy):
            # the two halves of a pair are read one after the other
            image = Lazy(remembered(image.__getitem__), image.shape)
        return mapped(change, image), image

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
