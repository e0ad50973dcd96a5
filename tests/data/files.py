"""What the tests of this folder make and refuse."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data.images import DataError, Images
from jaxgan.data.pixels import Lazy, Pixels

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def lazily(data: Images) -> Images:
    def lazy(part: np.ndarray | None) -> Lazy | None:
        return None if part is None else Lazy(lambda i: part[i], part.shape)

    return replace(data, image=lazy(data.image), test_image=lazy(data.test_image))


def in_memory(part: Pixels) -> np.ndarray:
    return np.stack([part[i] for i in range(len(part))])


def save(path: Path, pixels: np.ndarray, **options) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def refused(call, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def multiset(image: np.ndarray, label: np.ndarray) -> list[tuple[int, bytes]]:
    """Examples without their order: TFDS shuffles when it writes."""
    return sorted((int(k), pixels.tobytes()) for pixels, k in zip(image, label, strict=True))
