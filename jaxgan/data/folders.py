"""Data sets from folders laid out as the field does it, and a data set out of one photograph."""

import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from jaxgan.data import attribute_files
from jaxgan.data.domains import Domains
from jaxgan.data.images import DEFAULT_LIMIT_BYTES, DEFAULT_SIZE, DataError, Images, from_arrays, listed
from jaxgan.data.pairs import Pairs
from jaxgan.data.picture_files import header, listing, picture, upright, visible
from jaxgan.data.pixels import Lazy, Pixels, digest_of, identity, remembered
from jaxgan.data.resizing import RESIZERS, check_resizer, cut


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
    nearest antialias when reducing). Files with other suffixes and hidden ones are ignored, but for a table of the
    pictures' attributes (`attribute_files.beside`), of both parts, at the top.

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
    decode = partial(picture, size=size, resizer=resizer, channels=channels)

    table = attribute_files.beside(path)
    attribute = None if table is None else table.of(paths)
    test_attribute = None if table is None or not test_paths else table.of(test_paths)
    attributes = () if table is None else table.attributes
    if len(headers) * size * size * channels <= limit_bytes:
        image = _decode_all(decode, paths, (len(paths), size, size, channels))
        test_image = _decode_all(decode, test_paths, (len(test_paths), size, size, channels)) if test_paths else None
        return from_arrays(
            *(path.name, image, label, test_image, test_label, classes),
            resizer=used,
            attribute=attribute,
            test_attribute=test_attribute,
            attributes=attributes,
        )

    def identity(files: list[Path]) -> str:
        read = files if table is None else [*files, table.path]
        return files_identity(read, path, f"{size} {used} {channels}")

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
        attribute=attribute,
        test_attribute=test_attribute,
        attributes=attributes,
    )


def crops(
    path: str | Path, size: int | None = None, n: int = 1000, resizer: str = "lanczos", channels: int | None = None
) -> Images:
    """One photograph as a data set: `n` random square crops of it, for the style of a single picture.

    A crop's side is drawn evenly in its logarithm, from `size` (default 64) to the photograph's shorter side, and its
    place evenly; it is resized to uint8 [size, size, channel]. The same file, size and n give the same crops. The
    test part is one picture: the centre square of the whole.
    channels: 1 or 3; default 1 if the photograph is grey, else 3.
    DataError if the file cannot be read or is smaller than a crop.
    """
    path, size = Path(path), DEFAULT_SIZE if size is None else size
    if not path.is_file():
        raise DataError(f"{path} is a folder; give one picture" if path.exists() else f"there is no file {path}")
    check_folder(path.parent, size, resizer, channels)
    if n < 1:
        raise DataError(f"n {n} is not a number of crops; give 1 or more")
    whole = upright(path, channels or (1 if header(path)[1] else 3))
    shorter = min(whole.size)
    if shorter < size:
        raise DataError(f"{path} is {whole.width}x{whole.height}, smaller than crops of {size}; give size {shorter}")
    random = np.random.default_rng(0)
    out = np.empty((n, size, size, len(whole.getbands())), np.uint8)
    for i in range(n):
        side = min(round(math.exp(random.uniform(math.log(size), math.log(shorter)))), shorter)
        left, top = (int(random.integers(0, length - side + 1)) for length in whole.size)
        crop = whole.crop((left, top, left + side, top + side)).resize((size, size), RESIZERS[resizer])
        out[i] = np.asarray(crop).reshape(out.shape[1:])
    test = np.asarray(cut(whole, size, resizer)).reshape(1, *out.shape[1:])
    note = f"{n:,} crops of one picture of {whole.width}x{whole.height}"
    return from_arrays(
        path.stem, out, test_image=test, note=note, resizer="none" if shorter == size else resizer
    )  # fmt: skip


def side_by_side(
    path: str | Path,
    size: int | None = None,
    resizer: str = "lanczos",
    channels: int | None = None,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> Pairs:
    """Pairs from a folder of pictures that hold two beside each other: the left half source, the right half target.

    This is how pix2pix's data sets are laid out. The folder holds ``train`` and, where there is a test part, ``test``
    or else ``val``, each with pictures only; or it holds the pictures itself. Halves are read as `folder`
    reads pictures; size (a side of a half), resizer, channels (of both halves) and limit_bytes mean what they mean
    there. The test part is None where there is no folder for it.
    DataError, naming the file or folder, if there is nothing to read, it cannot be read, or a width is odd.
    """
    path = Path(path)
    check_folder(path, size, resizer, channels)
    inside = {entry.name for entry in visible(path) if entry.is_dir()}
    test = next((name for name in ("test", "val") if name in inside), None) if "train" in inside else None
    if inside and "train" not in inside:
        raise DataError(f"{path} holds the folder {min(inside)} but no folder train; put the pictures into train")
    files = _pictures(path / "train" if inside else path)
    test_files = _pictures(path / test) if test else []
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(_halved_header, [*files, *test_files]))
    side, planes, used = settled(headers, size, resizer, channels)
    shape = (side, side, planes)

    def halves(file: Path) -> tuple[np.ndarray, np.ndarray]:
        both = upright(file, planes)
        middle = both.width // 2
        boxes = (0, 0, middle, both.height), (middle, 0, 2 * middle, both.height)
        left, right = (np.asarray(cut(both.crop(box), side, resizer)).reshape(shape) for box in boxes)
        return left, right

    lazy = len(headers) * 2 * math.prod(shape) > limit_bytes

    def part(files: list[Path]) -> tuple[Pixels, Pixels, str]:
        if lazy:
            once = remembered(lambda i: halves(files[i]))
            source, target = (Lazy(partial(_nth, once, k), (len(files), *shape)) for k in (0, 1))
            return source, target, files_identity(files, path, f"pairs {side} {used} {planes}")
        left, right = np.empty((2, len(files), *shape), np.uint8)
        with ThreadPoolExecutor() as pool:
            for i, pair in enumerate(pool.map(halves, files)):
                left[i], right[i] = pair
        return left, right, identity(left, right, None, "", "")

    source, target, digest = part(files)
    test_source, test_target, tested = part(test_files) if test_files else (None, None, "")
    note = "test pictures are the val folder" if test == "val" else ""
    return Pairs(
        path.resolve().name, source, target, None, test_source, test_target, None, (), digest, note, used, tested
    )


def two_domains(
    path: str | Path,
    size: int | None = None,
    resizer: str = "lanczos",
    channels: int | None = None,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> Domains:
    """Domains from a folder with ``trainA``, ``trainB`` and, where there is a test part, ``testA`` and ``testB``.

    This is how CycleGAN's data sets are laid out. The four hold pictures only and are read as `folder` reads
    them; size, resizer, channels and limit_bytes mean what they mean there, for all four together. The test parts are
    taken as not aligned.
    DataError, naming the file or folder, if one is missing, there is nothing to read or it cannot be read.
    """
    path = Path(path)
    check_folder(path, size, resizer, channels)
    tests = [(path / name).is_dir() for name in ("testA", "testB")]
    for name in ("trainA", "trainB", *(("testA", "testB") if any(tests) else ())):
        if not (path / name).is_dir():
            raise DataError(
                f"{path} has no folder {name}; it must hold trainA, trainB and, for testing, testA and testB"
            )
    parts = ["train", "test"] if any(tests) else ["train"]
    files = [file for part in parts for domain in "AB" for file in _pictures(path / f"{part}{domain}")]
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(header, files))
    side, planes, used = settled(headers, size, resizer, channels)
    limit = limit_bytes if len(files) * side * side * planes <= limit_bytes else 0

    def domain(letter: str) -> Images:
        read = [folder(path / f"{part}{letter}", side, resizer, planes, limit) for part in parts]
        train, test = read[0], read[1] if len(read) == 2 else None
        return replace(
            train,
            name=f"{path.resolve().name}-{letter}",
            test_image=None if test is None else test.image,
            resizer=used,
            test_fingerprint="" if test is None else test.fingerprint,
        )

    a, b = domain("A"), domain("B")
    return Domains(path.resolve().name, a, b, False, digest_of(a.fingerprint, b.fingerprint))


def _halved_header(path: Path) -> tuple[tuple[int, int], bool]:
    (width, height), is_grey = header(path)
    if width % 2:
        raise DataError(f"{path} is {width} pixels wide, and a pair is two pictures of one width; this width is odd")
    return (width // 2, height), is_grey


def _pictures(path: Path) -> list[Path]:
    """The pictures that lie directly in a folder; DataError if there are none, or folders among them."""
    if deeper := [entry for entry in visible(path) if entry.is_dir()]:
        raise DataError(f"{path} holds the folder {deeper[0].name}, but must hold pictures only; flatten it")
    return listing(path)[0]


def _nth(read: Callable[[int], tuple[np.ndarray, ...]], k: int, index: int) -> np.ndarray:
    return read(index)[k]


def check_folder(path: Path, size: int | None, resizer: str, channels: int | None) -> None:
    """DataError for a request that no reader of folders can fulfil."""
    check_resizer(resizer)
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


def _decode_all(decode: Callable[[Path], np.ndarray], paths: list[Path], shape: tuple[int, ...]) -> np.ndarray:
    out = np.empty(shape, np.uint8)
    with ThreadPoolExecutor() as pool:  # Pillow lets go of the interpreter lock while it decodes
        for i, image in enumerate(pool.map(decode, paths)):
            out[i] = image
    return out
