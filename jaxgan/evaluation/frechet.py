"""The Frechet distance between two sets of features."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import lapack

ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean float64 [d] and covariance float64 [d, d] of n feature vectors; the covariance is normalised by n - 1.

    That of a single vector is 0, which has no meaning of its own but is what `merge` needs.
    """

    mean: np.ndarray
    covariance: np.ndarray
    n: int


def moments(features: ArrayLike) -> Moments:
    """Mean and covariance of features [n, d], in float64 whatever comes in; the covariance is normalised by n - 1.

    (n - 1 is what `numpy.cov` and the published FID code do.) Two passes, the mean first, over blocks of 4,096
    rows, so that float32 features are never copied whole. For features that do not fit in memory see `merge`.
    Raises ValueError for no rows and for values that are not finite.
    """
    features = np.asarray(features)
    if features.ndim != 2 or len(features) < 1:
        raise ValueError(f"moments takes features [n, d] with n >= 1, got shape {features.shape}")
    n, d = features.shape
    total = np.zeros(d)
    # Infinities of both signs would warn, and the count below says it better.
    with np.errstate(invalid="ignore"):
        for block in _blocks(features):
            total += block.sum(axis=0, dtype=np.float64)
    if not np.isfinite(total).all():
        bad = sum(int((~np.isfinite(block)).any(axis=1).sum()) for block in _blocks(features))
        raise ValueError(f"{bad} of {n} feature vectors are not finite")
    mean = total / n
    scatter = np.zeros((d, d))
    for block in _blocks(features):
        centred = np.subtract(block, mean, dtype=np.float64)
        scatter += centred.T @ centred
    return Moments(mean, scatter / max(n - 1, 1), n)


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of two sets of features together, as if taken in one: exact but for float64's rounding.

    ``functools.reduce(merge, (moments(block) for block in blocks))`` takes those of 50,000 images of which only
    one block is ever in memory; the last block may be a single row. Raises ValueError when the dimensions differ.

    Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979,
    equation 2.1, for vectors. (Summing x and x x^T instead, and subtracting at the end, loses the digits of the
    mean squared.)
    """
    _same_dimension(a, b)
    n = a.n + b.n
    shift = b.mean - a.mean
    scatter = (a.n - 1) * a.covariance + (b.n - 1) * b.covariance + np.outer(shift * (a.n * b.n / n), shift)
    return Moments(a.mean + shift * (b.n / n), scatter / (n - 1), n)


def frechet_distance(a: Moments, b: Moments) -> float:
    """``|m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2))``: the squared Wasserstein-2 distance of two Gaussians, at least 0.

    To be called FID only when the features are those of the published Inception network; on any other
    features it is "Frechet distance on NAME". It is biased upwards for finite n, and more so for
    large d: compare values at equal n only, and report the value between two sets of real images beside them.
    `frechet_infinity` extrapolates the bias of one side away.
    It is *squared*; see `modes.wasserstein` for the exact, unsquared Wasserstein-1 between points and
    `kernel.mmd2` for an unbiased estimate.

    tr (A B)^(1/2) is the sum of the singular values of F^T G, for any factors A = F F^T and B = G G^T: this is
    symmetric in a and b, needs no square root of the non-symmetric A B, and holds for singular
    covariances, as n <= d makes them. Raises ValueError when the dimensions differ or a side has one row only.

    Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter, "GANs Trained by a Two Time-Scale Update Rule
    Converge to a Local Nash Equilibrium", 2017, arXiv 1706.08500, equation 6; Dowson and Landau, 1982.
    """
    _comparable(a, b)
    product = _factor(a.covariance).T @ _factor(b.covariance)
    return max(_distance(a, b, float(np.linalg.svd(product, compute_uv=False).sum())), 0.0)


def frechet_infinity(
    real: Moments, fake_features: ArrayLike, seed: int = 0, num_points: int = 15, least: int | None = None
) -> tuple[float, float]:
    """The Frechet distance to infinitely many fakes, extrapolated from fewer, and the standard error of the fit.

    The distance of `real` to `num_points` random subsets of the N `fake_features` [N, d], of sizes evenly spaced from
    `least` (default N / 10, the paper's 5,000 of 50,000) to N and each drawn without replacement from `seed`, is
    fitted by ``value + slope / n``; returned are the value at 1 / n = 0, which may come out negative, and its error
    by ordinary least squares. To be called FID-infinity on Inception's features only.

    The error is that of the fit: how far the distances scatter about the line. All subsets come from the
    same fakes, so it does *not* cover the luck of these N: between fresh sets of Gaussians the value varies by twice
    the error and more. Nor does it cover seeds, or the curvature that 1 / n leaves out when `least` is not
    well above d. The bias of `real`'s own n stays in the value: take the real moments of all the data,
    always the same ones.

    Raises ValueError for fewer than three points, `least` outside [2, N), and different dimensions.
    Chong and Forsyth, "Effectively Unbiased FID and Inception Score and where to find them", 2020,
    arXiv 1911.07023. As in its released code the subsets are plain random ones; its Sobol points, which make the
    luck of the fakes smaller, are a choice of latents and so the caller's.
    """
    fake_features = np.asarray(fake_features)
    if fake_features.ndim != 2 or len(fake_features) < 3:
        raise ValueError(f"frechet_infinity takes fakes [n, d] with n >= 3, got shape {fake_features.shape}")
    available = len(fake_features)
    least = max(available // 10, 2) if least is None else least
    if num_points < 3:
        raise ValueError(f"num_points must be at least 3 for a line with an error, got {num_points}")
    if not 2 <= least < available:
        raise ValueError(f"least must be in [2, {available}), below the number of fakes, got {least}")
    rng = np.random.default_rng(seed)
    sizes = np.linspace(least, available, num_points).astype(int)
    real_factor, distances = None, []
    for size in sizes:
        fake = moments(fake_features[rng.permutation(available)[:size]])
        _comparable(real, fake)
        if real_factor is None:
            real_factor = _factor(real.covariance)
        product = real_factor.T @ _factor(fake.covariance)
        # A quarter of the singular values' time. The small ones lose half their digits, which is far below the
        # scatter of subsets; the smaller Gram matrix is without the null space, where it would not be.
        gram = product @ product.T if len(product) < product.shape[1] else product.T @ product
        overlap = float(np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0)).sum())
        distances.append(_distance(real, fake, overlap))
    return _intercept(1.0 / sizes, np.array(distances))


def _distance(a: Moments, b: Moments, overlap: float) -> float:
    difference = a.mean - b.mean
    return float(difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2.0 * overlap)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F [d, rank] with F F^T = covariance: Cholesky with pivots, which a singular covariance ends early.

    What is left then is of rounding size, d eps times the largest variance, and stays out: its root would be 1e-8,
    not 1e-16, and over many dimensions would show in the distance.
    """
    packed, pivots, rank, _ = lapack.dpstrf(covariance, lower=1)
    factor = np.empty((len(covariance), rank))
    factor[pivots - 1] = np.tril(packed)[:, :rank]
    return factor


def _intercept(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Of the least-squares line, and its standard error under independent errors of equal variance."""
    centred = x - x.mean()
    spread = centred @ centred
    slope = centred @ y / spread
    residuals = y - y.mean() - slope * centred
    variance = residuals @ residuals / (len(x) - 2)
    error = np.sqrt(variance * (1.0 / len(x) + x.mean() ** 2 / spread))
    return float(y.mean() - slope * x.mean()), float(error)


def _blocks(features: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(features), ROWS_AT_ONCE):
        yield features[start : start + ROWS_AT_ONCE]


def _same_dimension(a: Moments, b: Moments) -> None:
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"moments have different dimensions, {a.mean.shape[0]} and {b.mean.shape[0]}")


def _comparable(a: Moments, b: Moments) -> None:
    _same_dimension(a, b)
    if min(a.n, b.n) < 2:
        raise ValueError(f"a covariance needs moments of n >= 2 rows on both sides, got {a.n} and {b.n}")
