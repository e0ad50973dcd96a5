"""Exact Euclidean nearest neighbours, block by block: memory grows with n, not with n^2.

Distances come from ``|x|^2 + |y|^2 - 2 x.y`` in float64, one matrix product a block. That form rounds to about
1e-16 |x|^2, which for near copies is larger than the distance itself; so it only chooses, and whatever is returned
or decides a comparison is computed again by subtraction. A row is then at distance 0, exactly, from its copies, and
ties between equal rows are ties.

NumPy and not a compiled JAX block: on two CPU cores the products take about as long, but XLA's `top_k` in float64 is
slow (10,000 x 10,000 rows, d = 512, k = 5: 3 s here, 39 s there).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

NUMBERS_AT_ONCE = 2**24
SPARE = 4


def nearest(queries: ArrayLike, points: ArrayLike, k: int, exclude_self: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of points [m, d] to each of queries [n, d], Euclidean: (distances [n, k], indices [n, k]).

    Distances are float64 and ascending, *not* squared; indices are rows of `points`, int64, the lower first among
    equal distances. With `exclude_self` row i of `points` is no neighbour of query i: queries and points are then the
    same array, and copies of a row elsewhere in it do count, at distance 0.

    More than 4 further points within about 1e-8 of the norm of the k-th neighbour may be taken for it: the distance
    returned is that of the point returned, and off the k-th by no more than that.

    Exact search at a cost of O(n m d), one matrix product, with about 0.4 GB beside a float64 copy of `points`
    (0.8 GB for 50,000 x 2,048; none when they are float64). Raises ValueError for shapes that disagree, values that
    are not finite, and k out of range.
    """
    queries, points = checked(queries, points)
    if exclude_self and len(queries) != len(points):
        raise ValueError(f"exclude_self needs queries and points to be one array, got {len(queries)} and {len(points)}")
    available = len(points) - exclude_self
    if not 1 <= k <= available:
        raise ValueError(f"k must be in [1, {available}], the points that can be neighbours, got {k}")
    points = points.astype(np.float64, copy=False)
    distances, indices = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
    for start, squared in squared_blocks(queries, points):
        rows = np.arange(len(squared))
        if exclude_self:
            squared[rows, start + rows] = np.inf
        candidates = np.empty((len(rows), min(k + SPARE, available)), np.int64)
        # one pass a neighbour: argpartition, which selects all at once, costs as much as about 30 passes
        for place in range(candidates.shape[1]):
            candidates[:, place] = squared.argmin(axis=1)
            squared[rows, candidates[:, place]] = np.inf
        candidates.sort(axis=1)
        exact = np.stack([distance(queries, points, start + rows, chosen) for chosen in candidates.T], axis=1)
        order = exact.argsort(axis=1, kind="stable")[:, :k]
        distances[start : start + len(rows)] = np.take_along_axis(exact, order, axis=1)
        indices[start : start + len(rows)] = np.take_along_axis(candidates, order, axis=1)
    return distances, indices


def squared_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Squared distances of x [n, d] to y [m, d], some rows of x at a time: (first row, float64 [rows, m]).

    By the expanded square, so that entries are off by up to `rounding` and can be negative. The block is the
    caller's to write into.
    """
    y = y.astype(np.float64, copy=False)
    norms = _squared_norms(y)
    rows = max(1, NUMBERS_AT_ONCE // max(len(y), x.shape[1]))
    for start in range(0, len(x), rows):
        block = x[start : start + rows].astype(np.float64, copy=False)
        squared = block @ y.T
        squared *= -2.0
        squared += norms
        squared += _squared_norms(block)[:, None]
        yield start, squared


def rounding(x: np.ndarray, y: np.ndarray) -> float:
    """How far an entry of `squared_blocks` can be from the squared distance: d + 4 roundings of the largest terms."""
    largest = _squared_norms(x).max() + _squared_norms(y).max()
    return float((x.shape[1] + 4) * np.finfo(np.float64).eps * largest)


def distance(x: np.ndarray, y: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """|x[rows[i]] - y[columns[i]]|, float64, by subtraction: of index arrays [p], [p]."""
    result = np.empty(len(rows))
    pairs = max(1, NUMBERS_AT_ONCE // x.shape[1])
    for start in range(0, len(rows), pairs):
        part = slice(start, start + pairs)
        difference = x[rows[part]].astype(np.float64) - y[columns[part]]
        # not einsum or a product: this sum depends on nothing but the row, so that equal pairs are equal in bits
        result[part] = np.sqrt(np.square(difference, out=difference).sum(axis=1))
    return result


def checked(*sets: ArrayLike) -> list[np.ndarray]:
    """The feature arrays [n, d], of one d, as they are if floating and as float64 otherwise; or ValueError."""
    arrays = [np.asarray(rows) for rows in sets]
    shapes = [rows.shape for rows in arrays]
    if any(len(shape) != 2 or 0 in shape or shape[1] != shapes[0][-1] for shape in shapes):
        raise ValueError(f"features must be [n, d] with n > 0 and one d, got shapes {', '.join(map(str, shapes))}")
    for rows in arrays:
        if not np.isfinite(rows).all():
            bad = int((~np.isfinite(rows)).any(axis=1).sum())
            raise ValueError(f"{bad} of {len(rows)} feature vectors are not finite")
    return [rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64) for rows in arrays]


def _squared_norms(rows: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
