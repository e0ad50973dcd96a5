"""Image data sets in one form, from arrays or an .npz file, and the batches made of them.

`Images` is what every reader returns and what evaluation takes; `batches` turns it into a source of
training batches. Pixels stay uint8 until the compiled step.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Batch, Key, to_float
from jaxgan.data.source import DeviceSource, HostSource, shuffled_indices

DEFAULT_SIZE = 64
DEFAULT_LIMIT_BYTES = 2**30
NPZ_KEYS = ("image", "label", "test_image", "test_label", "classes", "name", "note")
# Far above any epoch number, so that flips never share a key with the shuffle's epochs.
_FLIP = 0x666C6970


class DataError(ValueError):
    """What is wrong with the user's data or request, and what would be right, in one line."""


@dataclass(frozen=True, eq=False)
class Lazy:
    """Images decoded when they are asked for, for sets that do not fit in memory.

    decode: i -> uint8 [height, width, channel], safe to call from several threads.
    shape: (n, height, width, channel).
    """

    decode: Callable[[int], np.ndarray]
    shape: tuple[int, int, int, int]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < self.shape[0]:
            raise IndexError(f"image {index} of {self.shape[0]}")
        return self.decode(int(index))


@dataclass(frozen=True, eq=False)
class Images:
    """A data set of images of one size, with labels and a test part where it has them.

    name: as results call it.
    image: uint8 [n, height, width, channel], an array or a `Lazy`.
    label: int32 [n] in [0, num_classes), or None.
    test_image, test_label: the same for the test part, or None.
    classes: the names of the classes, empty if unlabelled.
    fingerprint: sha256 (hex) over the shape, pixels and labels of the training part; for lazy sets
        over what identifies it without reading it: relative paths, sizes and modification times of
        a folder's files, or name, version and split sizes of a TFDS set, with the size and resizer.
    note: what a result made with it must say, such as "1,000 of the 10,000 test images".
    resizer: the resizer that brought the images to this size, or "none".
    test_fingerprint: the same of the test part, "" where it has none or `fingerprint` says enough of it.
    """

    name: str
    image: np.ndarray | Lazy
    label: np.ndarray | None
    test_image: np.ndarray | Lazy | None
    test_label: np.ndarray | None
    classes: tuple[str, ...]
    fingerprint: str
    note: str = ""
    resizer: str = "none"
    test_fingerprint: str = ""

    @property
    def size(self) -> tuple[int, int, int]:
        """(height, width, channel)."""
        return self.image.shape[1], self.image.shape[2], self.image.shape[3]

    @property
    def num_classes(self) -> int:
        """How many classes there are, 0 if unlabelled."""
        return len(self.classes)


def fingerprint(image: np.ndarray, label: np.ndarray | None) -> str:
    """sha256 (hex) over the shape, the uint8 pixels and the int32 labels, in order."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    if label is not None:
        digest.update(np.ascontiguousarray(label, np.int32).data)
    return digest.hexdigest()


def from_arrays(
    name: str,
    image: Any,
    label: Any = None,
    test_image: Any = None,
    test_label: Any = None,
    classes: Sequence[str] = (),
    note: str = "",
    resizer: str = "none",
) -> Images:
    """`Images` from arrays: uint8 [n, height, width(, channel)] and integer labels [n], checked.

    Without `classes`, labelled images get the class names "0", "1", ... up to the largest label.
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
    tested = "" if test_image is None else fingerprint(test_image, test_label)
    digest = fingerprint(image, label)
    return Images(name, image, label, test_image, test_label, classes, digest, note, resizer, tested)


def npz(path: str | Path) -> Images:
    """The data set in an .npz file, read without pickle.

    Keys: ``image`` uint8 [n, height, width] or [n, height, width, channel]; optional ``label``
    (integers [n] from 0), ``test_image`` and ``test_label`` (the same), ``classes`` (strings),
    ``name`` (how results call it, default the file's stem) and ``note``.
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
            classes=[str(c) for c in np.atleast_1d(content["classes"])] if "classes" in content else (),
            note=str(content.get("note", "")),
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def in_parts(images: np.ndarray | Lazy, rows: int = 500) -> Iterator[np.ndarray]:
    """Images [n, ...] as arrays [at most rows, ...], in order: lazy ones are never all in memory."""
    for start in range(0, len(images), rows):
        stop = min(start + rows, len(images))
        yield (
            images[start:stop] if isinstance(images, np.ndarray) else np.stack([images[i] for i in range(start, stop)])
        )


def batches(images: Images, batch_size: int, seed: int, flip: bool = False) -> DeviceSource | HostSource:
    """Training batches: ``image`` float32 [batch, h, w, c] in [-1, 1], ``index`` int32, ``label`` int32 if labelled.

    Images in memory give a `DeviceSource`, whose order follows from the run's data key; lazy ones a
    `HostSource`, whose order follows from `seed`. Both visit every image once an epoch, in a new
    order each epoch. `flip` mirrors every image left to right with probability 1/2, anew each time.
    """
    n = len(images.image)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")

    def finish(raw: Mapping[str, Array], key: Key, step: Array) -> Batch:
        image = to_float(raw["image"])
        if flip:
            image = jnp.where(flips(key, step, batch_size), image[:, :, ::-1], image)
        return {**raw, "image": image}

    if isinstance(images.image, Lazy):
        lazy, labels = images.image, images.label

        def read(index: Any) -> dict[str, Any]:
            element: dict[str, Any] = {"image": lazy[int(index)], "index": np.int32(index)}
            return element if labels is None else {**element, "label": labels[int(index)]}

        return HostSource(stream(n, read, seed).batch(batch_size), finish, batch_size)

    arrays = {"image": images.image}
    if images.label is not None:
        arrays["label"] = images.label

    def batch(arrays: Mapping[str, Array], key: Key, step: Array) -> Batch:
        index = shuffled_indices(key, step, batch_size, n)
        raw = {name: jnp.asarray(a).at[index].get(mode="promise_in_bounds") for name, a in arrays.items()}
        return finish({**raw, "index": index}, key, step)

    return DeviceSource(arrays, batch, batch_size)


def flips(key: Key, step: Array, batch_size: int) -> Array:
    """Which images of batch number `step` are mirrored: bool [batch, 1, 1, 1], true with probability 1/2."""
    flip_key = jax.random.fold_in(jax.random.fold_in(key, _FLIP), step)
    return jax.random.bernoulli(flip_key, shape=(batch_size, 1, 1, 1))


def stream(n: int, read: Callable[[Any], Any], seed: int) -> Any:
    """grain's endless dataset of read(index), every index in range(n) once an epoch, in an order that `seed` gives."""
    import grain

    # grain seeds with 32 bits
    return grain.MapDataset.range(n).seed(seed % 2**32).shuffle().repeat().map(read)


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
