"""Mixtures of Gaussians of known density: what they draw on the device, and integrals under them on a grid."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from jaxgan.arrays import Array, Batch, Key
from jaxgan.data.source import DeviceSource
from jaxgan.game import Net


@dataclass(frozen=True, eq=False)
class Gaussians:
    """weights [k], positive and of sum 1; means [k, dimension]; covariances [k, dimension, dimension]; float64."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def __post_init__(self) -> None:
        k, dimension = self.means.shape
        if self.weights.shape != (k,) or self.covariances.shape != (k, dimension, dimension):
            raise ValueError(
                f"means {self.means.shape} ask for weights {(k,)} and covariances {(k, dimension, dimension)}, "
                f"got {self.weights.shape} and {self.covariances.shape}"
            )
        if (self.weights <= 0).any() or not np.isclose(self.weights.sum(), 1.0):
            raise ValueError(f"weights are positive and add up to 1, got {self.weights}")

    @property
    def dimension(self) -> int:
        return self.means.shape[1]


def gaussian(mean: ArrayLike, covariance: ArrayLike) -> Gaussians:
    """One Gaussian of mean [dimension] and covariance [dimension, dimension]."""
    return Gaussians(np.ones(1), np.array([mean], np.float64), np.array([covariance], np.float64))


def on_a_line(weights: Sequence[float], means: Sequence[float], deviations: Sequence[float]) -> Gaussians:
    """A mixture on the line, from standard deviations."""
    squares = np.square(np.array(deviations, np.float64))
    return Gaussians(np.array(weights, np.float64), np.array(means, np.float64)[:, None], squares[:, None, None])


def log_density(law: Gaussians, points: np.ndarray) -> np.ndarray:
    """points [n, dimension] -> float64 [n]."""
    parts = [
        np.log(weight) + np.atleast_1d(multivariate_normal(mean, covariance).logpdf(points))
        for weight, mean, covariance in zip(law.weights, law.means, law.covariances, strict=True)
    ]
    return logsumexp(parts, axis=0)


def draw(arrays: Mapping[str, Any], key: Key, n: int) -> Array:
    """`n` points float32 [n, dimension] of the mixture with `device_arrays` of that name."""
    mode_key, noise_key = jax.random.split(key)
    mode = jax.random.categorical(mode_key, arrays["log_weights"], shape=(n,))
    noise = jax.random.normal(noise_key, (n, arrays["means"].shape[1]), jnp.float32)
    return arrays["means"][mode] + jnp.einsum("nij,nj->ni", arrays["factors"][mode], noise)


def device_arrays(law: Gaussians) -> dict[str, Array]:
    """float32: log_weights [k], means [k, dimension], factors [k, dimension, dimension], Cholesky's."""
    return {
        "log_weights": jnp.asarray(np.log(law.weights), jnp.float32),
        "means": jnp.asarray(law.means, jnp.float32),
        "factors": jnp.asarray(np.linalg.cholesky(law.covariances), jnp.float32),
    }


def batches(law: Gaussians, batch_size: int) -> DeviceSource:
    """Batches ``{"point": float32 [batch, dimension]}``, drawn anew at every step."""

    def batch(arrays: Mapping[str, Any], key: Key, step: Array) -> Batch:
        return {"point": draw(arrays, jax.random.fold_in(key, step), batch_size)}

    return DeviceSource(device_arrays(law), batch, batch_size)


def sampler(law: Gaussians) -> Net:
    """A generator without parameters that draws from one Gaussian: latents z [n, dimension] -> mean + factor z."""
    if len(law.weights) != 1:
        raise ValueError(f"a sampler is of one Gaussian, got {len(law.weights)}")
    arrays = device_arrays(law)

    def apply(variables: Any, latent: Array, key: Key | None = None, train: bool = True) -> tuple[Array, dict]:
        return arrays["means"] + latent @ arrays["factors"][0].T, {}

    return Net(lambda key: {"params": {}}, apply)


@dataclass(frozen=True, eq=False)
class Grid:
    """points [n, dimension], of which each stands for the volume `cell`: sums are integrals by the trapezoidal rule.

    For smooth integrands that vanish at the edge, as those here do, its error falls faster than any
    power of the spacing.
    """

    points: np.ndarray
    cell: float

    def integral(self, values: np.ndarray) -> float:
        """values [n] -> the integral of what has these values on the grid."""
        return float(np.sum(values) * self.cell)


def box(low: float, high: float, per_axis: int, dimension: int = 1) -> Grid:
    """`per_axis` points along every axis of a cube."""
    axis = np.linspace(low, high, per_axis)
    points = np.stack(np.meshgrid(*[axis] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    return Grid(points, float(axis[1] - axis[0]) ** dimension)


# (log p, log q) -> the integrand of the divergence of that name in jaxgan.losses.divergence, from its integral
# and not from its f: what the library's bounds are held against
INTEGRANDS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "kl": lambda p, q: np.exp(p) * (p - q),
    "reverse_kl": lambda p, q: np.exp(q) * (q - p),
    # twice the usual one, as in the paper
    "jensen_shannon": lambda p, q: (
        np.exp(p) * (p - np.logaddexp(p, q) + np.log(2)) + np.exp(q) * (q - np.logaddexp(p, q) + np.log(2))
    ),
    "jeffrey": lambda p, q: (np.exp(p) - np.exp(q)) * (p - q),
    # multiplied out: one density underflows where the quotient still counts
    "pearson": lambda p, q: np.exp(2 * p - q) - 2 * np.exp(p) + np.exp(q),
    "neyman": lambda p, q: np.exp(2 * q - p) - 2 * np.exp(q) + np.exp(p),
    "squared_hellinger": lambda p, q: np.square(np.exp(p / 2) - np.exp(q / 2)),
    "total_variation": lambda p, q: np.abs(np.exp(p) - np.exp(q)) / 2,
    "gan": lambda p, q: np.exp(p) * (p - np.logaddexp(p, q)) + np.exp(q) * (q - np.logaddexp(p, q)),
}
