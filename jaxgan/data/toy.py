"""Mixtures of Gaussians, sampled on the device: the toys on which mode collapse can be counted."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Batch, Key
from jaxgan.data.source import DeviceSource


@dataclass(frozen=True, eq=False)
class Mixture:
    """Equally likely isotropic Gaussians.

    means: float32 [mode, dimension]. deviation: their common standard deviation, in the means' units.
    name: as results call it.
    """

    means: np.ndarray
    deviation: float
    name: str

    def __post_init__(self) -> None:
        if self.means.ndim != 2 or self.means.dtype != np.float32 or len(self.means) == 0:
            raise ValueError(f"means are {self.means.dtype} {self.means.shape}; give float32 [mode, dimension]")
        if not self.deviation >= 0:
            raise ValueError(f"deviation is {self.deviation}; give 0 or more")


def ring(num_modes: int = 8, radius: float = 1.0, deviation: float = 0.01) -> Mixture:
    """Means evenly on a circle, at the angles 2 pi k / num_modes, k = 0 ... num_modes - 1.

    The default is the "2D-ring" of Lin, Khetan, Fanti, Oh, "PacGAN", 2018, arXiv 1712.04086,
    section 4.1. Not ``linspace(0, 2 pi, num_modes)``, which counts the first mode twice and leaves
    one fewer: released code has done so. Unrolled GANs (arXiv 1611.02163) use radius 2, deviation 0.02.
    """
    angle = 2 * np.pi * np.arange(num_modes) / num_modes
    means = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Mixture(means.astype(np.float32), deviation, f"ring{num_modes}")


def grid(side: int = 5, spacing: float = 2.0, deviation: float = 0.05) -> Mixture:
    """Means on a square grid centred at 0; by default {-4, -2, 0, 2, 4} squared.

    The default is the "2D-grid" of PacGAN (arXiv 1712.04086, section 4.1).
    """
    places = spacing * (np.arange(side) - (side - 1) / 2)
    means = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)
    return Mixture(means.astype(np.float32), deviation, f"grid{side * side}")


def sample(mixture: Mixture, key: Key, n: int) -> Array:
    """`n` independent points, float32 [n, dimension]."""
    return _sample(jnp.asarray(mixture.means), mixture.deviation, key, n)


def batches(mixture: Mixture, batch_size: int) -> DeviceSource:
    """Batches ``{"point": float32 [batch, dimension]}``, drawn anew from fold_in(key, step): no epochs."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")

    def batch(arrays: Mapping[str, Array], key: Key, step: Array) -> Batch:
        means = jnp.asarray(arrays["means"])
        return {"point": _sample(means, mixture.deviation, jax.random.fold_in(key, step), batch_size)}

    return DeviceSource({"means": mixture.means}, batch, batch_size)


def draw(points: np.ndarray, mixture: Mixture, pixels: int = 400) -> np.ndarray:
    """A picture uint8 [pixels, pixels, 3] of points [n, 2] as translucent dark dots over the mixture's means.

    A faint circle marks each mean, three standard deviations in radius but never too small to see.
    The axes are equal, fixed by the mixture alone so that pictures compare, and the second
    coordinate points up. Points outside, or not finite, are not drawn.
    """
    points = np.asarray(points, np.float64)
    if mixture.means.shape[1] != 2 or points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"draw takes points [n, 2], got {points.shape} for means {mixture.means.shape}")
    low, high = mixture.means.min(0).astype(float), mixture.means.max(0).astype(float)
    half = 1.35 * float((high - low).max()) / 2 + 4 * mixture.deviation or 1.0
    scale = pixels / (2 * half)

    def to_pixels(positions: np.ndarray) -> np.ndarray:
        return (positions - (low + high) / 2) * scale * (1, -1) + pixels / 2

    picture = np.full((pixels, pixels, 3), 255.0)
    radius = max(3 * mixture.deviation * scale, pixels / 55)
    y, x = np.mgrid[:pixels, :pixels] + 0.5
    distance = np.full((pixels, pixels), np.inf)
    for mean in to_pixels(mixture.means.astype(float)):
        distance = np.minimum(distance, np.hypot(x - mean[0], y - mean[1]))
    width = max(1.0, pixels / 320)
    _blend(picture, 0.35 * np.clip(radius + 0.5 - distance, 0, 1), (232, 238, 246))
    _blend(picture, np.clip((width + 1) / 2 - np.abs(distance - radius), 0, 1), (190, 203, 222))

    # Each dot lets through 1 - alpha of the light, so dense places darken; logarithms add up.
    dot = max(1.2, pixels / 260)
    at = to_pixels(points)
    at = at[np.isfinite(at).all(1)]
    at = at[((at > -dot) & (at < pixels + dot)).all(1)]
    reach = int(np.ceil(dot)) + 1
    light = np.zeros((pixels, pixels))
    corner = np.floor(at).astype(int)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            column, row = corner[:, 0] + dx, corner[:, 1] + dy
            inside = (column >= 0) & (column < pixels) & (row >= 0) & (row < pixels)
            gap = np.hypot(column + 0.5 - at[:, 0], row + 0.5 - at[:, 1])
            cover = np.clip(dot + 0.5 - gap, 0, 1)
            np.add.at(light, (row[inside], column[inside]), np.log1p(-0.6 * cover[inside]))
    _blend(picture, 1 - np.exp(light), (24, 38, 66))
    return np.round(picture).astype(np.uint8)


def _sample(means: Array, deviation: float, key: Key, n: int) -> Array:
    mode_key, noise_key = jax.random.split(key)
    mode = jax.random.randint(mode_key, (n,), 0, means.shape[0])
    return means[mode] + deviation * jax.random.normal(noise_key, (n, means.shape[1]), jnp.float32)


def _blend(picture: np.ndarray, cover: np.ndarray, colour: tuple[int, int, int]) -> None:
    picture += cover[..., None] * (np.array(colour, float) - picture)
