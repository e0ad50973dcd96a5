"""The kernel distance between two sets of features: squared maximum mean discrepancy, and how uncertain it is."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

ROWS_AT_ONCE = 1024
CUBED_AT_ONCE = 32

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


def cubic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``k(a, b) = (a.b / d + 1)^3`` of rows a [n, d] and b [m, d]: [n, m]. The kernel of KID."""
    base = a @ b.T
    base /= a.shape[1]
    base += 1.0
    # Cubed in place and in the cache: numpy's ** 3, or a product into a fresh array, costs more than the product above.
    for start in range(0, len(base), CUBED_AT_ONCE):
        rows = base[start : start + CUBED_AT_ONCE]
        rows *= rows * rows
    return base


def gaussian(bandwidth: float) -> Kernel:
    """``k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2))``, as a function of rows a [n, d] and b [m, d]: [n, m].

    `bandwidth` > 0 is a standard deviation, in the features' units (others write gamma = 1 / (2 bandwidth^2), or leave
    out the 2); `median_bandwidth` chooses one. Unlike the cubic kernel it is characteristic: the MMD is 0 only between
    equal distributions. Raises ValueError for a bandwidth that is not positive.
    """
    if not 0 < bandwidth < np.inf:
        raise ValueError(f"bandwidth must be positive and finite, got {bandwidth}")

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squared = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2.0 * (a @ b.T)
        return np.exp(np.maximum(squared, 0.0) / (-2.0 * bandwidth**2))

    return kernel


def median_bandwidth(x: ArrayLike, y: ArrayLike, max_rows: int = 1000) -> float:
    """The median heuristic for `gaussian`: median Euclidean distance between two rows of x [n, d] and y [m, d], pooled.

    Pairs of rows both from x, both from y or one of each. Of a set with more than `max_rows` rows only so
    many, evenly spaced, are used. The median itself and not its square or half, which others take. A bandwidth chosen
    on the very points that are compared makes `mmd2` no longer exactly unbiased; choose it on other points, or once for
    all comparisons. Raises ValueError when the median is 0, as when most rows are copies.

    Gretton et al., "A Kernel Two-Sample Test", 2012, section 8.
    """
    x, y = _checked(x, y)
    # half a second of imports that nothing else here needs
    from scipy.spatial.distance import pdist

    kept = [rows[np.linspace(0, len(rows) - 1, min(len(rows), max_rows)).round().astype(int)] for rows in (x, y)]
    median = float(np.median(pdist(np.concatenate(kept))))
    if median == 0:
        raise ValueError("more than half of the pairs of rows are copies: the median distance is 0, give a bandwidth")
    return median


def mmd2(x: ArrayLike, y: ArrayLike, kernel: Kernel = cubic) -> float:
    """Unbiased squared MMD of features x [n, d] and y [m, d], in float64; with kernel ``(a.b / d + 1)^3`` by default.

    ``mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)``. The pairs i = j
    are left out, which makes the estimate unbiased at any n, and lets it come out negative when the
    two distributions agree; it must not be clipped. (The biased sibling, which includes them, is never negative.
    Another unbiased one needs n = m and leaves out i = j between x and y too.)
    All pairs are used, at a cost of O((n + m)^2 d) and memory linear in n + m; `kernel_distance`
    averages over subsets instead. `kernel` takes float64 rows [a, d] and [b, d] and returns [a, b], symmetric: `cubic`,
    `gaussian(bandwidth)` or your own. For its uncertainty see `mmd2_variance`. Raises ValueError for fewer than two
    rows, or different d.

    Gretton et al., "A Kernel Two-Sample Test", 2012, equation 3; Binkowski, Sutherland, Arbel, Gretton,
    "Demystifying MMD GANs", 2018, arXiv 1801.01401, which chose the cubic kernel.
    """
    x, y = _checked(x, y)
    within_x, within_y, between = _within(x, kernel), _within(y, kernel), _between(x, y, kernel)
    n, m = len(x), len(y)
    return float(
        within_x.rows.sum() / (n * (n - 1)) + within_y.rows.sum() / (m * (m - 1)) - 2.0 * between.rows.sum() / (n * m)
    )


def mmd2_variance(x: ArrayLike, y: ArrayLike, kernel: Kernel = cubic) -> float:
    """Unbiased estimate of the variance of `mmd2` over new samples of n and m rows, from one x [n, d] and y [m, d].

    With A, B the means within x and y and C the mean between them, mmd2 = A + B - 2 C and

        Var = Var A + Var B + 4 Var C - 4 Cov(A, C) - 4 Cov(B, C),
        Var A = (4 (n - 2) v_1 + 2 v_2) / (n (n - 1)),  Var C = ((m - 1) w_x + (n - 1) w_y + w_2) / (n m),
        Cov(A, C) = 2 c_x / n,

    v_1 = Cov(k(x, x'), k(x, x'')), v_2 = Var k(x, x'), w_x = Cov(k(x, y), k(x, y')), w_y the same with y shared,
    w_2 = Var k(x, y), c_x = Cov(k(x, x'), k(x, y)). Every product of means is estimated over indices that all differ,
    so nothing is dropped and nothing biased, at any n and m >= 4. All terms count: when the distributions agree, v_1,
    w and c cancel and the second-order terms are all there is (the common asymptotic formula then gives about 0).

    Being unbiased, it can come out negative when the variance is small beside its own noise. Its root is a
    standard error over new *samples*, which the deviation over overlapping subsets of `kernel_distance` is not.
    The kernel is fixed: choosing its bandwidth on the same points is not counted. Costs what `mmd2` costs. Raises
    ValueError for fewer than four rows, or different d.

    Sutherland and Deka, "Unbiased estimators for the variance of MMD estimators", 2019, arXiv 1906.02104, after
    Sutherland et al., "Generative Models and Model Criticism via Optimized Maximum Mean Discrepancy", 2017,
    arXiv 1611.04488: the same U-statistics of sums of rows, here for n and m that may differ and for the `mmd2` that
    takes all pairs between x and y.
    """
    x, y = _checked(x, y)
    n, m = len(x), len(y)
    if min(n, m) < 4:
        raise ValueError(f"the variance needs at least 4 rows a side, got {n} and {m}")
    a, b, c = _within(x, kernel), _within(y, kernel), _between(x, y, kernel)
    return float(
        _within_variance(a, n)
        + _within_variance(b, m)
        + 4.0 * _between_variance(c, n, m)
        - 4.0 * _covariance(a.rows, c.rows, m)
        - 4.0 * _covariance(b.rows, c.columns, n)
    )


def subset_mmd2(
    x: ArrayLike, y: ArrayLike, subsets: Iterable[tuple[ArrayLike, ArrayLike]], kernel: Kernel = cubic
) -> np.ndarray:
    """`mmd2` of given subsets of x [n, d] and y [m, d]: float64 [s], one for each (rows of x, rows of y) of `subsets`.

    `kernel_distance` with the drawing left to the caller, who can so repeat a published number subset by subset:
    torch-fidelity draws `rng.choice(n, size, replace=False)`, then the same of m, from one
    `np.random.RandomState(seed)`, and reports mean and deviation (n, not n - 1) of these values (in float32 if its
    features are). Raises ValueError for a subset of fewer than two rows.
    """
    x, y = _checked(x, y)
    return np.array([mmd2(x[np.asarray(rows)], y[np.asarray(columns)], kernel) for rows, columns in subsets])


def kernel_distance(
    x: ArrayLike,
    y: ArrayLike,
    seed: int = 0,
    subset_size: int = 1000,
    num_subsets: int = 100,
    kernel: Kernel = cubic,
) -> tuple[float, float]:
    """Mean of `mmd2` over random subsets of x [n, d] and y [m, d], and the standard error of that mean.

    Each of the `num_subsets` estimates uses `subset_size` rows of each side, drawn without replacement
    from `seed`. Called KID only on Inception features, with the cubic kernel. The mean estimates the same quantity at
    any n, unlike `frechet.frechet_distance`. The standard error is the deviation over subsets (n - 1) divided by
    sqrt(num_subsets): the noise of subsetting *these* samples. Subsets overlap, so it is not the
    uncertainty over new samples (see `mmd2_variance`) or seeds, and it is 0 when a subset is everything; published
    tables mostly give the deviation over subsets, sqrt(num_subsets) times larger.

    Raises ValueError when `subset_size` exceeds either set, or for fewer than two subsets.
    Binkowski et al., 2018, arXiv 1801.01401, "Kernel Inception Distance".
    """
    x, y = _checked(x, y)
    if not 2 <= subset_size <= min(len(x), len(y)):
        raise ValueError(f"subset_size must be in [2, {min(len(x), len(y))}], the smaller set, got {subset_size}")
    if num_subsets < 2:
        raise ValueError(f"num_subsets must be at least 2 to have a standard error, got {num_subsets}")
    rng = np.random.default_rng(seed)
    subsets = (
        (rng.choice(len(x), subset_size, replace=False), rng.choice(len(y), subset_size, replace=False))
        for _ in range(num_subsets)
    )
    estimates = subset_mmd2(x, y, subsets, kernel)
    return float(estimates.mean()), float(estimates.std(ddof=1) / np.sqrt(num_subsets))


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"features must be [n, d] and [m, d] with n, m >= 2, got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features are not finite")
    return x, y


class _Within(NamedTuple):
    """Of the kernel matrix of one set, without its diagonal: sums of rows [n], and the sum of all squares."""

    rows: np.ndarray
    squares: float


class _Between(NamedTuple):
    """Of the kernel matrix between two sets: sums of rows [n] and of columns [m], and the sum of all squares."""

    rows: np.ndarray
    columns: np.ndarray
    squares: float


def _within(x: np.ndarray, kernel: Kernel) -> _Within:
    rows, squares = np.empty(len(x)), 0.0
    for start in range(0, len(x), ROWS_AT_ONCE):
        block = _gram(kernel, x[start : start + ROWS_AT_ONCE], x)
        diagonal = np.diagonal(block, start)
        rows[start : start + len(block)] = block.sum(axis=1) - diagonal
        squares += float(np.einsum("ij,ij->", block, block) - diagonal @ diagonal)
    return _Within(rows, squares)


def _between(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> _Between:
    rows, columns, squares = np.empty(len(x)), np.zeros(len(y)), 0.0
    for start in range(0, len(x), ROWS_AT_ONCE):
        block = _gram(kernel, x[start : start + ROWS_AT_ONCE], y)
        rows[start : start + len(block)] = block.sum(axis=1)
        columns += block.sum(axis=0)
        squares += float(np.einsum("ij,ij->", block, block))
    return _Between(rows, columns, squares)


def _gram(kernel: Kernel, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    block = np.asarray(kernel(a, b), np.float64)
    if block.shape != (len(a), len(b)):
        raise ValueError(f"kernel must return one number a pair, [{len(a)}, {len(b)}], got shape {block.shape}")
    return block


def _within_variance(a: _Within, n: int) -> float:
    pairs = n * (n - 1)
    total, rows = a.rows.sum(), (a.rows**2).sum()
    mean_squared = (total**2 - 4.0 * rows + 2.0 * a.squares) / (pairs * (n - 2) * (n - 3))
    one_shared = (rows - a.squares) / (pairs * (n - 2)) - mean_squared
    both_shared = a.squares / pairs - mean_squared
    return (4.0 * (n - 2) * one_shared + 2.0 * both_shared) / pairs


def _between_variance(c: _Between, n: int, m: int) -> float:
    total, rows, columns = c.rows.sum(), (c.rows**2).sum(), (c.columns**2).sum()
    mean_squared = (total**2 - rows - columns + c.squares) / (n * (n - 1) * m * (m - 1))
    x_shared = (rows - c.squares) / (n * m * (m - 1)) - mean_squared
    y_shared = (columns - c.squares) / (n * m * (n - 1)) - mean_squared
    both_shared = c.squares / (n * m) - mean_squared
    return ((m - 1) * x_shared + (n - 1) * y_shared + both_shared) / (n * m)


def _covariance(within: np.ndarray, between: np.ndarray, others: int) -> float:
    """Cov(A, C) from the sums of rows [n] of one set's kernel matrix and of the matrix towards `others` rows."""
    n = len(within)
    shared = (within * between).sum()
    product_of_means = (within.sum() * between.sum() - 2.0 * shared) / (n * (n - 1) * (n - 2) * others)
    return 2.0 * (shared / (n * (n - 1) * others) - product_of_means) / n
