"""Image data sets in one form, from a folder of pictures or an .npz file, and the batches made of them.

`Images` is what every reader returns and what evaluation takes; `batches` turns it into a source of
training batches. Pixels stay uint8 until the compiled step.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import ExifTags, Image, ImageOps

from jaxgan.arrays import Array, Batch, Key, to_float
from jaxgan.data.source import DeviceSource, HostSource, shuffled_indices

DEFAULT_SIZE = 64
DEFAULT_LIMIT_BYTES = 2**30
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
# Pillow's filters widen their support when they reduce, so all but "nearest" antialias; this is
# what FID's "clean" resizing means, and what TensorFlow's and PyTorch's defaults do not do.
RESIZERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
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
        raise DataError(f"{path} is damaged ({_one_line(error)}); {how}") from error
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


def folder(
    path: str | Path,
    size: int | None = None,
    resizer: str = "lanczos",
    channels: int | None = None,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> Images:
    """The pictures in a folder (PNG, JPEG, BMP, WebP, a GIF's first frame), cut to squares of one size.

    Subfolders are classes, in sorted order of their names; a folder without subfolders is unlabelled.
    Subfolders named exactly ``train`` and ``test`` are the two parts, each laid out in that way.
    Pictures are turned as their EXIF tag says, transparency is laid over white, the centre square is
    cut out and resized with Pillow's `resizer` (box, bilinear, bicubic, lanczos or nearest; all but
    nearest antialias when reducing). Files with other suffixes and hidden ones are ignored.

    size: pixels a side; default the pictures' own if all are squares of one size, else 64.
    channels: 1 or 3; default 1 if all pictures are grey, else 3.
    limit_bytes: the decoded set is held in memory up to this many bytes, above it decoded lazily.
    Raises DataError, naming the file or folder, if there is nothing to read or it cannot be read.
    """
    path = Path(path)
    check_folder(path, size, resizer, channels)
    parts = [path]
    if {entry.name for entry in visible(path) if entry.is_dir()} == {"train", "test"}:
        parts = [path / "train", path / "test"]
    listings = [listing(part) for part in parts]
    paths, label, classes = listings[0]
    test_paths, test_label, test_classes = listings[1] if len(parts) == 2 else ([], None, classes)
    if test_classes != classes:
        raise DataError(
            f"{parts[0]} and {parts[1]} have different classes: {listed(classes)} and {listed(test_classes)}"
        )

    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(header, [*paths, *test_paths]))
    size, channels, used = settled(headers, size, resizer, channels)
    decode = partial(_decode, size=size, resizer=resizer, channels=channels)

    if len(headers) * size * size * channels <= limit_bytes:
        image = _decode_all(decode, paths, (len(paths), size, size, channels))
        test_image = _decode_all(decode, test_paths, (len(test_paths), size, size, channels)) if test_paths else None
        return from_arrays(path.name, image, label, test_image, test_label, classes, resizer=used)

    def identity(files: list[Path]) -> str:
        return files_identity(files, path, f"{size} {used} {channels}")

    def lazily(paths: list[Path]) -> Lazy:
        return Lazy(lambda i: decode(paths[i]), (len(paths), size, size, channels))

    test_lazy = lazily(test_paths) if test_paths else None
    return Images(
        path.name,
        lazily(paths),
        label,
        test_lazy,
        test_label,
        classes,
        identity(paths),
        resizer=used,
        test_fingerprint=identity(test_paths) if test_paths else "",
    )


def check_folder(path: Path, size: int | None, resizer: str, channels: int | None) -> None:
    """DataError for a request that no reader of folders can fulfil."""
    _check_resizer(resizer)
    if size is not None and size < 1:
        raise DataError(f"size {size} is not a number of pixels; give 1 or more")
    if channels not in (None, 1, 3):
        raise DataError(f"channels {channels} is not 1 (grey) or 3 (colour)")
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")


def settled(
    headers: Sequence[tuple[tuple[int, int], bool]], size: int | None, resizer: str, channels: int | None
) -> tuple[int, int, str]:
    """(size, channels, the resizer or "none") of pictures whose `header`s these are, by the rules of `folder`."""
    sizes = {shape for shape, _ in headers}
    if size is None:
        width, height = next(iter(sizes))
        size = width if len(sizes) == 1 and width == height else DEFAULT_SIZE
    channels = channels or (1 if all(is_grey for _, is_grey in headers) else 3)
    return size, channels, "none" if all(min(pair) == size for pair in sizes) else resizer


def files_identity(files: Sequence[Path], root: Path, how: str) -> str:
    """sha256 (hex) over how files are read, and over their paths in `root`, sizes and modification times."""
    digest = hashlib.sha256(how.encode())
    for file in files:
        status = file.stat()
        digest.update(f"\n{file.relative_to(root).as_posix()} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def in_parts(images: np.ndarray | Lazy, rows: int = 500) -> Iterator[np.ndarray]:
    """Images [n, ...] as arrays [at most rows, ...], in order: lazy ones are never all in memory."""
    for start in range(0, len(images), rows):
        stop = min(start + rows, len(images))
        yield (
            images[start:stop] if isinstance(images, np.ndarray) else np.stack([images[i] for i in range(start, stop)])
        )


def resized(images: Images, size: int, resizer: str = "lanczos") -> Images:
    """The images' centre squares at `size` pixels a side, by `square`; the same object if they are so already."""
    _check_resizer(resizer)
    height, width, channels = images.size
    if (height, width) == (size, size):
        return images
    if size < 1:
        raise DataError(f"size {size} is not a number of pixels; give 1 or more")
    used = images.resizer if min(height, width) == size else resizer

    def change(image: np.ndarray | Lazy) -> np.ndarray | Lazy:
        shape = (len(image), size, size, channels)
        if isinstance(image, Lazy):
            return Lazy(lambda i: square(image[i], size, resizer), shape)
        out = np.empty(shape, np.uint8)
        for i, one in enumerate(image):
            out[i] = square(one, size, resizer)
        return out

    image = change(images.image)
    test_image = None if images.test_image is None else change(images.test_image)

    def identity(part: np.ndarray | Lazy, label: np.ndarray | None, before: str) -> str:
        if isinstance(part, np.ndarray):
            return fingerprint(part, label)
        return before and hashlib.sha256(f"{before} {size} {used}".encode()).hexdigest()

    digest = identity(image, images.label, images.fingerprint)
    tested = "" if test_image is None else identity(test_image, images.test_label, images.test_fingerprint)
    return replace(
        images, image=image, test_image=test_image, fingerprint=digest, resizer=used, test_fingerprint=tested
    )


def picture(path: Path, size: int, resizer: str = "lanczos", channels: int = 3) -> np.ndarray:
    """One file as `folder` reads it: uint8 [size, size, channels]. DataError, naming it, if it cannot be read.

    A resizer of "none", as images say that needed none, is lanczos.
    """
    return _decode(path, size, "lanczos" if resizer == "none" else resizer, channels)


def square(image: np.ndarray, size: int, resizer: str = "lanczos") -> np.ndarray:
    """The centre square of uint8 [height, width, channel] resized to uint8 [size, size, channel].

    `resizer` is one of `RESIZERS`; all but nearest antialias when reducing. Each channel is
    resized on its own, in uint8 as Pillow does.
    """
    planes = [cut(Image.fromarray(image[..., c]), size, resizer) for c in range(image.shape[-1])]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


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


def _check_resizer(resizer: str) -> None:
    if resizer not in RESIZERS:
        raise DataError(f"unknown resizer '{resizer}'; choose one of {', '.join(RESIZERS)}")


def visible(path: Path) -> list[Path]:
    return sorted((entry for entry in path.iterdir() if not entry.name.startswith(".")), key=lambda entry: entry.name)


def listing(path: Path) -> tuple[list[Path], np.ndarray | None, tuple[str, ...]]:
    entries = visible(path)
    subfolders = [entry for entry in entries if entry.is_dir()]
    top = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in SUFFIXES]
    if top and subfolders:
        raise DataError(
            f"{path} mixes images ({top[0].name}) and subfolders ({subfolders[0].name}); "
            "put every image into a class subfolder, or all into one folder"
        )
    if top:
        return top, None, ()
    paths: list[Path] = []
    label: list[int] = []
    for k, subfolder in enumerate(subfolders):
        inside = visible(subfolder)
        if deeper := [entry for entry in inside if entry.is_dir()]:
            raise DataError(
                f"{subfolder} holds the folder {deeper[0].name}, but a class folder holds images only; "
                f"flatten it, or point to {subfolder}"
            )
        found = [entry for entry in inside if entry.suffix.lower() in SUFFIXES]
        if not found:
            raise DataError(f"no images in {subfolder}; looked for {', '.join(SUFFIXES)}")
        paths += found
        label += [k] * len(found)
    if not paths:
        raise DataError(f"no images in {path}; looked for {', '.join(SUFFIXES)}")
    return paths, np.array(label, np.int32), tuple(subfolder.name for subfolder in subfolders)


def header(path: Path) -> tuple[tuple[int, int], bool]:
    """((width, height) once upright, is grey), without decoding the pixels."""
    try:
        with Image.open(path) as picture:
            # without the first test Pillow decodes a PNG in search of its tags; from 5 on they lie on their side
            turned = "exif" in picture.info and picture.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return picture.size[::-1] if turned else picture.size, picture.mode in (
                "1",
                "L",
                "LA",
                "La",
            ) or picture.mode.startswith("I")
    except Exception as error:  # Pillow's readers raise whatever their formats call for
        raise DataError(f"{path} is not a readable image; repair or remove it") from error


def upright(path: Path, channels: int) -> Image.Image:
    """The whole picture in a file, turned as its EXIF tag says, laid over white, grey or RGB."""
    try:
        with Image.open(path) as opened:
            picture: Image.Image = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):
                # Pillow clips 16-bit greys at 255 instead of scaling them
                picture = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            return picture.convert("L" if channels == 1 else "RGB")
    except Exception as error:  # Pillow's decoders raise whatever their formats call for
        raise DataError(f"{path} is a broken image ({_one_line(error)}); repair or remove it") from error


def _decode(path: Path, size: int, resizer: str, channels: int) -> np.ndarray:
    """uint8 [size, size, channels]."""
    return np.asarray(cut(upright(path, channels), size, resizer)).reshape(size, size, channels)


def _decode_all(decode: Callable[[Path], np.ndarray], paths: list[Path], shape: tuple[int, ...]) -> np.ndarray:
    out = np.empty(shape, np.uint8)
    with ThreadPoolExecutor() as pool:  # Pillow lets go of the interpreter lock while it decodes
        for i, image in enumerate(pool.map(decode, paths)):
            out[i] = image
    return out


def cut(picture: Image.Image, size: int, resizer: str) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    # cropped first: resize(box=...) would let the filter see pixels beyond the square
    picture = picture.crop((left, top, left + side, top + side))
    return picture if side == size else picture.resize((size, size), RESIZERS[resizer])


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def listed(names: Any) -> str:
    names = list(names)
    return (
        ", ".join(repr(str(name)) for name in names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"
    )


def _by(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
