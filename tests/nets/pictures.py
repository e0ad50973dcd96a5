"""Pictures for the tests of feature nets."""

import numpy as np


def pictures(n: int, size: tuple[int, int], channels: int = 3, seed: int = 0) -> np.ndarray:
    """uint8 [n, *size, channels]: each of a colour of its own, under noise."""
    generator = np.random.default_rng(seed)
    colours = generator.integers(0, 256, (n, 1, 1, channels)) + generator.integers(-60, 61, (n, *size, channels))
    return np.clip(colours, 0, 255).astype(np.uint8)
