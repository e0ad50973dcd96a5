"""The Frechet distance between two sets of features."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean float64 [d] and covariance float64 [d, d] of n feature vectors; the covariance is normalised by n - 1."""

    mean: np.ndarray
    covariance: np.ndarray
    n: int


def moments(features: ArrayLike) -> Moments:
    """Mean and covariance of features [n, d], in float64 whatever comes in; the covariance is normalised by n - 1.

    (n - 1 is what `numpy.cov` and the published FID code do.) Raises ValueError for fewer than
    two rows and for values that are not finite.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"moments takes features [n, d] with n >= 2, got shape {features.shape}")
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features)).any(axis=1).sum())
        raise ValueError(f"{bad} of {len(features)} feature vectors are not finite")
    mean = features.mean(axis=0)
    centred = features - mean
    return Moments(mean, centred.T @ centred / (len(features) - 1), len(features))


def frechet_distance(a: Moments, b: Moments) -> float:
    """``|m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2))``: the squared Wasserstein-2 distance of two Gaussians, at least 0.

    To be called FID only when the features are those of the published Inception network; on any other
    features it is "Frechet distance on NAME". It is biased upwards for finite n, and more so for
    large d: compare values at equal n only, and report the value between two sets of real images beside them.
    It is *squared*; see `modes.wasserstein` for the exact, unsquared Wasserstein-1 between points and
    `kernel.mmd2` for an unbiased estimate.

    tr (A B)^(1/2) is the sum of the singular values of A^(1/2) B^(1/2), with symmetric roots: this is
    symmetric in a and b, needs no square root of the non-symmetric A B, and holds for singular
    covariances, as n <= d makes them. Raises ValueError when the dimensions differ.

    Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter, "GANs Trained by a Two Time-Scale Update Rule
    Converge to a Local Nash Equilibrium", 2017, arXiv 1706.08500, equation 6; Dowson and Landau, 1982.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"moments have different dimensions, {a.mean.shape[0]} and {b.mean.shape[0]}")
    root_a, root_b = _symmetric_root(a.covariance), _symmetric_root(b.covariance)
    overlap = np.linalg.svd(root_a @ root_b, compute_uv=False).sum()
    difference = a.mean - b.mean
    distance = difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2.0 * overlap
    return max(float(distance), 0.0)


def _symmetric_root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    # Eigenvalues of rounding size belong to the null space. Their roots are 1e-8, not 1e-16, and
    # over many dimensions would show in the distance.
    values = np.where(values > len(values) * np.finfo(np.float64).eps * values[-1], values, 0.0)
    return (vectors * np.sqrt(values)) @ vectors.T
