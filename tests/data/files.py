"""What the tests of this folder make and refuse."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data.images import DataError

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


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
