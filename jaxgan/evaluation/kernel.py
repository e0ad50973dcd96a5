"""The kernel distance between two sets of features: squared maximum mean discrepancy under a cubic kernel."""

import numpy as np
from numpy.typing import ArrayLike

ROWS_AT_ONCE = 1024


def mmd2(x: ArrayLike, y: ArrayLike) -> float:
    """Unbiased squared MMD of features x [n, d] and y [m, d] with kernel ``k(a, b) = (a.b / d + 1)^3``, in float64.

    ``mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)``. The pairs i = j
    are left out, which makes the estimate unbiased at any n, and lets it come out negative when the
    two distributions agree; it must not be clipped. (The biased sibling, which includes them, is never negative.)
    All pairs are used, at a cost of O((n + m)^2 d) and memory linear in n + m; `kernel_distance`
    averages over subsets instead. Raises ValueError for fewer than two rows, or different d.

    Gretton et al., "A Kernel Two-Sample Test", 2012, equation 3; Binkowski, Sutherland, Arbel, Gretton,
    "Demystifying MMD GANs", 2018, arXiv 1801.01401, which chose the cubic kernel.
    """
    x, y = _checked(x, y)
    n, m = len(x), len(y)
    within_x = (_kernel_sum(x, x) - _kernel_diagonal_sum(x)) / (n * (n - 1))
    within_y = (_kernel_sum(y, y) - _kernel_diagonal_sum(y)) / (m * (m - 1))
    return float(within_x + within_y - 2.0 * _kernel_sum(x, y) / (n * m))


def kernel_distance(
    x: ArrayLike, y: ArrayLike, seed: int = 0, subset_size: int = 1000, num_subsets: int = 100
) -> tuple[float, float]:
    """Mean of `mmd2` over random subsets of x [n, d] and y [m, d], and the standard error of that mean.

    Each of the `num_subsets` estimates uses `subset_size` rows of each side, drawn without replacement
    from `seed`. Called KID only on Inception features. The mean estimates the same quantity at any
    n, unlike `frechet.frechet_distance`. The standard error is the deviation over subsets (n - 1) divided by
    sqrt(num_subsets): the noise of subsetting *these* samples. Subsets overlap, so it is not the
    uncertainty over new samples or seeds, and it is 0 when a subset is everything; published tables mostly
    give the deviation over subsets, sqrt(num_subsets) times larger.

    Raises ValueError when `subset_size` exceeds either set, or for fewer than two subsets.
    Binkowski et al., 2018, arXiv 1801.01401, "Kernel Inception Distance".
    """
    x, y = _checked(x, y)
    if not 2 <= subset_size <= min(len(x), len(y)):
        raise ValueError(f"subset_size must be in [2, {min(len(x), len(y))}], the smaller set, got {subset_size}")
    if num_subsets < 2:
        raise ValueError(f"num_subsets must be at least 2 to have a standard error, got {num_subsets}")
    rng = np.random.default_rng(seed)
    estimates = np.array(
        [
            mmd2(
                x[rng.choice(len(x), subset_size, replace=False)],
                y[rng.choice(len(y), subset_size, replace=False)],
            )
            for _ in range(num_subsets)
        ]
    )
    return float(estimates.mean()), float(estimates.std(ddof=1) / np.sqrt(num_subsets))


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"features must be [n, d] and [m, d] with n, m >= 2, got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features are not finite")
    return x, y


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    total = 0.0
    for start in range(0, len(x), ROWS_AT_ONCE):
        base = x[start : start + ROWS_AT_ONCE] @ y.T / x.shape[1] + 1.0
        # einsum multiplies and adds without storing the cube; numpy's ** 3 is several times slower.
        total += float(np.einsum("ij,ij,ij->", base, base, base))
    return total


def _kernel_diagonal_sum(x: np.ndarray) -> float:
    return float((((x * x).sum(axis=1) / x.shape[1] + 1.0) ** 3).sum())
