"""Image data sets in one form, from arrays or an .npz file.

`Images` is what every reader returns and what evaluation takes; `batches.image_batches` turns it into a source of
training batches. Pixels stay uint8 until the compiled step.
"""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.pixels import Pixels, fingerprint

DEFAULT_SIZE = 64
DEFAULT_LIMIT_BYTES = 2**30
NPZ_KEYS = (
    *("image", "label", "attribute", "test_image", "test_label", "test_attribute"),
    *("classes", "attributes", "name", "note"),
)


class DataError(ValueError):
    """What is wrong with the user's data or request, and what would be right, in one line."""


@dataclass(frozen=True, eq=False)
class Images:
    """A data set of images of one size, with labels, attributes and a test part where it has them.

    name: as results call it.
    image: uint8 [n, height, width, channel], an array or a `Lazy`.
    label: int32 [n] in [0, num_classes), or None.
    test_image, test_label: the same for the test part, or None.
    classes: the names of the classes, empty if unlabelled.
    fingerprint: sha256 (hex) over the shape, pixels, labels and attributes of the training part; for lazy sets
        over what identifies it without reading it: relative paths, sizes and modification times of
        a folder's files, or name, version and split sizes of a TFDS set, with the size and resizer.
    note: what a result made with it must say, such as "1,000 of the 10,000 test images".
    resizer: the resizer that brought the images to this size, or "none".
    test_fingerprint: the same of the test part, "" where it has none or `fingerprint` says enough of it.
    attribute, test_attribute: uint8 [n, len(attributes)], 1 for what a picture has and 0 for what it has not, of
        which an image may have any number, unlike classes; or None.
    attributes: their names, empty if there are none.
    """

    name: str
    image: Pixels
    label: np.ndarray | None
    test_image: Pixels | None
    test_label: np.ndarray | None
    classes: tuple[str, ...]
    fingerprint: str
    note: str = ""
    resizer: str = "none"
    test_fingerprint: str = ""
    attribute: np.ndarray | None = None
    test_attribute: np.ndarray | None = None
    attributes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int, int]:
        """(height, width, channel)."""
        return self.image.shape[1], self.image.shape[2], self.image.shape[3]

    @property
    def num_classes(self) -> int:
        """How many classes there are, 0 if unlabelled."""
        return len(self.classes)


def from_arrays(
    name: str,
    image: Any,
    label: Any = None,
    test_image: Any = None,
    test_label: Any = None,
    classes: Sequence[str] = (),
    note: str = "",
    resizer: str = "none",
    attribute: Any = None,
    test_attribute: Any = None,
    attributes: Sequence[str] = (),
) -> Images:
    """`Images` from arrays: uint8 [n, height, width(, channel)], labels [n], attributes [n, names], checked.

    Without `classes`, labelled images get the class names "0", "1", ... up to the largest label. Attributes are
    booleans, or 0 and 1, and have names.
    Raises DataError if a dtype, shape, length or label does not fit.
    """
    image = _checked_image("image", image)
    label = _checked_label("label", label, len(image))
    if test_image is None:
        if test_label is not None:
            raise DataError("test_label without test_image; give both or neither")
    else:
        test_image = _checked_image("test_image", test_image)
        test_label = _checked_label("test_label", test_label, len(test_image))
        if test_image.shape[1:] != image.shape[1:]:
            raise DataError(f"test images are {_by(test_image.shape[1:])}, training images {_by(image.shape[1:])}")
        if (label is None) != (test_label is None):
            raise DataError("only one of the training and test images has labels; label both or neither")
    highest = max((int(part.max()) for part in (label, test_label) if part is not None), default=-1)
    classes = tuple(str(c) for c in classes) or tuple(str(c) for c in range(highest + 1))
    if label is None and classes:
        raise DataError(f"{len(classes)} class names but no labels")
    if highest >= len(classes):
        raise DataError(f"label {highest} but only {len(classes)} class names; labels start at 0")
    attributes = tuple(str(a) for a in attributes)
    attribute = _checked_attribute("attribute", attribute, len(image), attributes)
    test_n = 0 if test_image is None else len(test_image)
    test_attribute = _checked_attribute("test_attribute", test_attribute, test_n, attributes)
    if test_image is not None and (attribute is None) != (test_attribute is None):
        raise DataError("only one of the training and test images has attributes; give both or neither")
    tested = "" if test_image is None else fingerprint(test_image, test_label, test_attribute)
    digest = fingerprint(image, label, attribute)
    told = (attribute, test_attribute, attributes)
    return Images(name, image, label, test_image, test_label, classes, digest, note, resizer, tested, *told)


def npz(path: str | Path) -> Images:
    """The data set in an .npz file, read without pickle.

    Keys: ``image`` uint8 [n, height, width] or [n, height, width, channel]; optional ``label``
    (integers [n] from 0), ``attribute`` (0 or 1, [n, names]), ``test_image``, ``test_label`` and
    ``test_attribute`` (the same), ``classes`` and ``attributes`` (strings), ``name`` (how results call it, default
    the file's stem) and ``note``.
    Raises DataError if the file is missing or no .npz, or a key is missing, unknown or ill-formed.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    how = "write it with numpy.savez(path, image=..., label=...)"
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an .npz file; {how}")
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {key: file[key] for key in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{path} holds pickled objects, which are never loaded; store plain arrays") from error
        raise DataError(f"{path} is damaged ({one_line(error)}); {how}") from error
    if "image" not in content:
        raise DataError(f"{path} has no 'image' but {listed(content)}; the keys are {', '.join(NPZ_KEYS)}")
    if unknown := sorted(set(content) - set(NPZ_KEYS)):
        raise DataError(f"{path} has unknown {listed(unknown)}; the keys are {', '.join(NPZ_KEYS)}")
    name = str(content.get("name", path.stem))
    try:
        return from_arrays(
            name,
            content["image"],
            content.get("label"),
            content.get("test_image"),
            content.get("test_label"),
            classes=np.atleast_1d(content.get("classes", ())).tolist(),
            note=str(content.get("note", "")),
            attribute=content.get("attribute"),
            test_attribute=content.get("test_attribute"),
            attributes=np.atleast_1d(content.get("attributes", ())).tolist(),
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _checked_image(what: str, image: Any) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim == 3:
        image = image[..., None]
    if image.dtype != np.uint8 or image.ndim != 4:
        raise DataError(
            f"{what} is {image.dtype} {_by(image.shape)}; it must be uint8 [n, height, width] "
            "or [n, height, width, channel]"
        )
    if 0 in image.shape:
        raise DataError(f"{what} is empty: {_by(image.shape)}")
    return np.ascontiguousarray(image)


def _checked_attribute(what: str, attribute: Any, n: int, names: tuple[str, ...]) -> np.ndarray | None:
    if attribute is None:
        if names and what == "attribute":
            raise DataError(f"names of attributes ({listed(names)}) but no attribute, 0 or 1 [n, {len(names)}]")
        return None
    attribute = np.asarray(attribute)
    if attribute.ndim != 2 or not (attribute.dtype == bool or np.issubdtype(attribute.dtype, np.integer)):
        raise DataError(f"{what} is {attribute.dtype} {_by(attribute.shape)}; it must be 0 and 1, [n, attributes]")
    if attribute.shape != (n, len(names)):
        raise DataError(
            f"{what} is {_by(attribute.shape)} for {n} images and {len(names)} names; attributes holds the names"
        )
    if len(set(names)) < len(names):
        raise DataError(f"two attributes have one name among {listed(names)}")
    if not np.isin(attribute, (0, 1)).all():
        raise DataError(f"{what} holds {attribute.min()} to {attribute.max()}; it must be 0 and 1")
    return attribute.astype(np.uint8)


def _checked_label(what: str, label: Any, n: int) -> np.ndarray | None:
    if label is None:
        return None
    label = np.asarray(label)
    if label.ndim != 1 or not np.issubdtype(label.dtype, np.integer):
        raise DataError(f"{what} is {label.dtype} {_by(label.shape)}; it must be integers [n]")
    if len(label) != n:
        raise DataError(f"{len(label)} values in {what} for {n} images; there must be one for each")
    if label.min() < 0 or label.max() > np.iinfo(np.int32).max:
        raise DataError(f"{what} has {label.min()} to {label.max()}; labels count from 0")
    return label.astype(np.int32)


def one_line(error: BaseException) -> str:
    """What an error says, or its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def listed(names: Any) -> str:
    """At most eight names in quotes, with commas, or "nothing"."""
    names = list(names)
    return (
        ", ".join(repr(str(name)) for name in names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"
    )


def _by(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
