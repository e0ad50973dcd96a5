"""Precision, recall, density and coverage: which part of each set lies within k-nearest-neighbour balls of the other.

Every real (or fake) feature vector is given a ball that reaches its k-th nearest neighbour in its own set; the union
of the balls stands for the set's support. Precision and density ask where fakes fall among the real balls, coverage
which real balls are hit, recall where reals fall among the fake balls. Compare values at equal n, k and feature net
only, and report those of two real sets beside them: all four depend on all three.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.evaluation import neighbours


class Balls(NamedTuple):
    """Radii [n, 1] around the reals or [1, m] around the fakes, and whether the surface belongs to the ball."""

    radii: np.ndarray
    closed: bool


def precision_recall(real: ArrayLike, fake: ArrayLike, k: int = 3) -> dict[str, float]:
    """Improved precision and recall of features real [n, d] and fake [m, d], each in [0, 1].

    - ``precision``: share of the fakes that lie in some real ball, one reaching the k-th nearest other real: fidelity;
    - ``recall``: share of the reals that lie in some fake ball: variety.

    A point on the surface is inside (<=), as in equation 1; the package `prdc` compares strictly, which differs only
    at ties, that is between copies. The paper takes k = 3 and n = m = 50,000; `density_coverage` comes from another
    paper, with k = 5. One outlier among the reals has a large ball, which lifts precision; the same among the fakes
    lifts recall, and density and coverage were made to mend that. Not the precision-recall *curve* of Sajjadi et al.,
    2018. Raises ValueError unless 1 <= k < n and k < m. For all four numbers see `prdc`.

    Kynkaanniemi, Karras, Laine, Lehtinen, Aila, "Improved Precision and Recall Metric for Assessing Generative
    Models", 2019, arXiv 1904.06991, equations 1 and 2.
    """
    real, fake = _checked(real, fake, k)
    real_balls = Balls(neighbours.nearest(real, real, k, exclude_self=True)[0][:, -1:], closed=True)
    fake_balls = Balls(neighbours.nearest(fake, fake, k, exclude_self=True)[0][:, -1:].T, closed=True)
    (_, balls_around_fakes), (balls_around_reals, _) = _counts(real, fake, (real_balls, fake_balls))
    return {"precision": _share(balls_around_fakes), "recall": _share(balls_around_reals)}


def density_coverage(real: ArrayLike, fake: ArrayLike, k: int = 5) -> dict[str, float]:
    """Density and coverage of features real [n, d] and fake [m, d].

    - ``density``: ``1/(k m) sum over fakes of the number of real balls around it``, at least 0 and not bounded by 1:
      about 1 in expectation when both sets come from one distribution (n k of n balls, each with a share k/n of it);
    - ``coverage``: share of the real balls with a fake inside, in [0, 1]; ``1 - (n-1)...(n-k) / ((m+n-1)...(m+n-k))``
      in expectation for one distribution, 0.969 for n = m large and k = 5.

    A point on the surface is outside (<), as in the authors' code, so that a set has density exactly 1 with a copy
    of itself (the paper writes only "ball"). The paper takes k = 5 for these; `precision_recall` comes from another
    paper, with k = 3. Only real balls are used, so an outlying fake lifts nothing. Raises ValueError unless
    1 <= k < n. For all four numbers see `prdc`.

    Naeem, Oh, Uh, Choi, Yoo, "Reliable Fidelity and Diversity Metrics for Generative Models", 2020,
    arXiv 2002.09797, section 3.
    """
    real, fake = _checked(real, fake, k, of_fakes=False)
    real_balls = Balls(neighbours.nearest(real, real, k, exclude_self=True)[0][:, -1:], closed=False)
    ((fakes_inside, _),) = _counts(real, fake, (real_balls,))
    return {"density": float(fakes_inside.sum() / (k * len(fake))), "coverage": _share(fakes_inside)}


def prdc(real: ArrayLike, fake: ArrayLike, k: int = 3, density_k: int = 5) -> dict[str, float]:
    """`precision_recall` at `k` and `density_coverage` at `density_k`, with every distance computed once.

    Three products of sizes n x n, m x m and n x m where the two calls take five. The package of this name uses one
    k for all four numbers. Raises ValueError as the two functions do.
    """
    real, fake = _checked(real, fake, k)
    _checked(real, fake, density_k, of_fakes=False)
    around_reals = neighbours.nearest(real, real, max(k, density_k), exclude_self=True)[0]
    around_fakes = neighbours.nearest(fake, fake, k, exclude_self=True)[0]
    balls = (
        Balls(around_reals[:, k - 1 : k], closed=True),
        Balls(around_fakes[:, -1:].T, closed=True),
        Balls(around_reals[:, density_k - 1 : density_k], closed=False),
    )
    (_, balls_around_fakes), (balls_around_reals, _), (fakes_inside, _) = _counts(real, fake, balls)
    return {
        "precision": _share(balls_around_fakes),
        "recall": _share(balls_around_reals),
        "density": float(fakes_inside.sum() / (density_k * len(fake))),
        "coverage": _share(fakes_inside),
    }


def _counts(real: np.ndarray, fake: np.ndarray, balls: Sequence[Balls]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs inside each family of balls, counted per real [n] and per fake [m]."""
    slack = neighbours.rounding(real, fake)
    counts = [(np.zeros(len(real), np.int64), np.zeros(len(fake), np.int64)) for _ in balls]
    for start, squared in neighbours.squared_blocks(real, fake):
        rows = slice(start, start + len(squared))
        for (radii, closed), (per_real, per_fake) in zip(balls, counts, strict=True):
            limits = radii[rows] if radii.shape[1] == 1 else radii
            inside = squared <= limits**2
            # a copy of a neighbour sits on the surface, where the block's rounding would decide by chance
            doubtful = np.nonzero(np.abs(squared - limits**2) <= slack)
            exact = neighbours.distance(real, fake, start + doubtful[0], doubtful[1])
            surface = np.broadcast_to(limits, squared.shape)[doubtful]
            inside[doubtful] = exact <= surface if closed else exact < surface
            per_real[rows] += inside.sum(axis=1)
            per_fake += inside.sum(axis=0)
    return counts


def _checked(real: ArrayLike, fake: ArrayLike, k: int, of_fakes: bool = True) -> list[np.ndarray]:
    real, fake = neighbours.checked(real, fake)
    smaller = min(len(real), len(fake)) if of_fakes else len(real)
    if not 1 <= k < smaller:
        raise ValueError(f"k must be in [1, {smaller - 1}], below the size of a set that has balls, got {k}")
    return [real, fake]


def _share(counts: np.ndarray) -> float:
    return float((counts > 0).mean())
