"""Pictures as arrays, or decoded as they are asked for; what is made of either, and what identifies them."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np


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


# uint8 [n, height, width, channel]
Pixels = np.ndarray | Lazy


def in_parts(images: Pixels, rows: int = 500) -> Iterator[np.ndarray]:
    """Images [n, ...] as arrays [at most rows, ...], in order: lazy ones are never all in memory."""
    for start in range(0, len(images), rows):
        stop = min(start + rows, len(images))
        yield (
            images[start:stop] if isinstance(images, np.ndarray) else np.stack([images[i] for i in range(start, stop)])
        )


def mapped(change: Callable[[np.ndarray], np.ndarray], image: Pixels) -> Pixels:
    """`change` of every image; it takes [..., h, w, c]. Shapes come out right for no images too."""
    shape = (len(image), *change(np.zeros((1, *image.shape[1:]), np.uint8)).shape[1:])
    if isinstance(image, Lazy):
        return Lazy(lambda i: change(image[i]), shape)
    out, start = np.empty(shape, np.uint8), 0
    for part in in_parts(image):
        out[start : start + len(part)] = change(part)
        start += len(part)
    return out


def picked(image: Pixels, index: np.ndarray) -> Pixels:
    """The images at `index` [m], in that order."""
    if isinstance(image, Lazy):
        return Lazy(lambda i: image[int(index[i])], (len(index), *image.shape[1:]))
    return image[index]


def coloured(image: Pixels, channels: int) -> Pixels:
    """Grey images repeated to `channels`; others as they are."""
    if image.shape[-1] == channels or image.shape[-1] != 1:
        return image
    return mapped(lambda x: np.repeat(x, channels, -1), image)


def remembered(decode: Callable[[int], Any]) -> Callable[[int], Any]:
    """`decode` that keeps the last few pictures, for several readers that want the same one, one after another."""
    return lru_cache(32)(decode)


def fingerprint(image: np.ndarray, label: np.ndarray | None, attribute: np.ndarray | None = None) -> str:
    """sha256 (hex) over the shape, the uint8 pixels, the int32 labels and the uint8 attributes, in order."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    if label is not None:
        digest.update(np.ascontiguousarray(label, np.int32).data)
    if attribute is not None:
        digest.update(np.ascontiguousarray(attribute, np.uint8).data)
    return digest.hexdigest()


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
