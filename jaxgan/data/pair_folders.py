"""Pairs and domains from folders laid out as the field does it, and a data set out of one photograph."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from jaxgan.data import images as plain
from jaxgan.data.images import DEFAULT_LIMIT_BYTES, DEFAULT_SIZE, RESIZERS, DataError, Images, Lazy
from jaxgan.data.pairs import KEPT, Domains, Pairs, Pixels, digest_of, identity


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
    plain.check_folder(path.parent, size, resizer, channels)
    if n < 1:
        raise DataError(f"n {n} is not a number of crops; give 1 or more")
    whole = plain.upright(path, channels or (1 if plain.header(path)[1] else 3))
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
    test = np.asarray(plain.cut(whole, size, resizer)).reshape(1, *out.shape[1:])
    note = f"{n:,} crops of one picture of {whole.width}x{whole.height}"
    return plain.from_arrays(
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
    or else ``val``, each with pictures only; or it holds the pictures itself. Halves are read as `images.folder`
    reads pictures; size (a side of a half), resizer, channels (of both halves) and limit_bytes mean what they mean
    there. The test part is None where there is no folder for it.
    DataError, naming the file or folder, if there is nothing to read, it cannot be read, or a width is odd.
    """
    path = Path(path)
    plain.check_folder(path, size, resizer, channels)
    inside = {entry.name for entry in plain.visible(path) if entry.is_dir()}
    test = next((name for name in ("test", "val") if name in inside), None) if "train" in inside else None
    if inside and "train" not in inside:
        raise DataError(f"{path} holds the folder {min(inside)} but no folder train; put the pictures into train")
    files = _pictures(path / "train" if inside else path)
    test_files = _pictures(path / test) if test else []
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(_halved_header, [*files, *test_files]))
    side, planes, used = plain.settled(headers, size, resizer, channels)
    shape = (side, side, planes)

    def halves(file: Path) -> tuple[np.ndarray, np.ndarray]:
        both = plain.upright(file, planes)
        middle = both.width // 2
        boxes = (0, 0, middle, both.height), (middle, 0, 2 * middle, both.height)
        left, right = (np.asarray(plain.cut(both.crop(box), side, resizer)).reshape(shape) for box in boxes)
        return left, right

    lazy = len(headers) * 2 * math.prod(shape) > limit_bytes

    def part(files: list[Path]) -> tuple[Pixels, Pixels, str]:
        if lazy:
            once = lru_cache(KEPT)(lambda i: halves(files[i]))
            source, target = (Lazy(partial(_nth, once, k), (len(files), *shape)) for k in (0, 1))
            return source, target, plain.files_identity(files, path, f"pairs {side} {used} {planes}")
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

    This is how CycleGAN's data sets are laid out. The four hold pictures only and are read as `images.folder` reads
    them; size, resizer, channels and limit_bytes mean what they mean there, for all four together. The test parts are
    taken as not aligned.
    DataError, naming the file or folder, if one is missing, there is nothing to read or it cannot be read.
    """
    path = Path(path)
    plain.check_folder(path, size, resizer, channels)
    tests = [(path / name).is_dir() for name in ("testA", "testB")]
    for name in ("trainA", "trainB", *(("testA", "testB") if any(tests) else ())):
        if not (path / name).is_dir():
            raise DataError(
                f"{path} has no folder {name}; it must hold trainA, trainB and, for testing, testA and testB"
            )
    parts = ["train", "test"] if any(tests) else ["train"]
    files = [file for part in parts for domain in "AB" for file in _pictures(path / f"{part}{domain}")]
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(plain.header, files))
    side, planes, used = plain.settled(headers, size, resizer, channels)
    limit = limit_bytes if len(files) * side * side * planes <= limit_bytes else 0

    def domain(letter: str) -> Images:
        read = [plain.folder(path / f"{part}{letter}", side, resizer, planes, limit) for part in parts]
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
    (width, height), is_grey = plain.header(path)
    if width % 2:
        raise DataError(f"{path} is {width} pixels wide, and a pair is two pictures of one width; this width is odd")
    return (width // 2, height), is_grey


def _pictures(path: Path) -> list[Path]:
    """The pictures that lie directly in a folder; DataError if there are none, or folders among them."""
    if deeper := [entry for entry in plain.visible(path) if entry.is_dir()]:
        raise DataError(f"{path} holds the folder {deeper[0].name}, but must hold pictures only; flatten it")
    return plain.listing(path)[0]


def _nth(read: Callable[[int], tuple[np.ndarray, ...]], k: int, index: int) -> np.ndarray:
    return read(index)[k]
