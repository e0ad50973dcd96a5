"""The eigenvalues at the rim of a large matrix that is known by its products alone, and their directions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

EXACT_UP_TO = 200
TOLERANCE = 2e-3
MAX_RESTARTS = 5
# what is searched for, in ARPACK's words, and the least dimension of the Krylov space for it
SEARCHES = (("LM", 40), ("LI", 40), ("LR", 80))


@dataclass(frozen=True, eq=False)
class Leading:
    """Eigenvalues at the rim of a spectrum, and their directions.

    values: complex [m], imaginary part at least 0: of a pair of conjugates only this one; sorted by
        falling real part. vectors: complex [n, m], right eigenvectors of length 1.
    missing: how many that were searched for had not converged. products: Jacobian products it took.
    """

    values: np.ndarray
    vectors: np.ndarray
    missing: int
    products: int


def leading_spectrum(
    multiply: Callable[[np.ndarray], np.ndarray], size: int, count: int = 4, seed: int = 0, dtype: Any = np.float32
) -> Leading:
    """The `count` eigenvalues of largest real part, of largest imaginary part and of largest modulus of a real matrix.

    The real part decides about stability, the imaginary part about rotation, and the largest modulus is
    the scale on which both are large or small; no one of the three searches finds the others' values.

    multiply: the matrix times a vector [size], such as
        ``lambda u: product(state, batch, u)`` with ``product = jax.jit(partial(jacobian_product, game))``.
    size: n. count: at least 1. seed: of the vector that the searches start from.
    dtype: of the vectors on the host; their memory is 80 of them, 4 for each of `count` beyond 20.

    ARPACK (implicitly restarted Arnoldi; Lehoucq, Sorensen, Yang, "ARPACK Users' Guide", 1998) to a residual
    of 2e-3 of the largest modulus. The matrix is shifted by that modulus, which changes no vector: ARPACK's
    tolerance is relative to each value, and would never be met beside 0, where over-parametrised nets
    have thousands of them. After 5 restarts the values that have not converged are left out and counted in
    `missing`. Which of two leads is found that differ by less than the residual is chance. Matrices of up to
    200 rows are built, and their spectrum is exact.
    """
    if count < 1:
        raise ValueError(f"count is at least 1, got {count}")
    products = 0

    def times(u: np.ndarray, shift: float = 0.0) -> np.ndarray:
        nonlocal products
        products += 1
        u = u.ravel().astype(dtype)
        return np.asarray(multiply(u), dtype) + dtype(shift) * u

    if size <= max(EXACT_UP_TO, 4 * count + 2):
        found = np.linalg.eig(np.stack([times(unit) for unit in np.eye(size, dtype=dtype)], axis=1))
        orders = (-np.abs(found[0]), -np.abs(found[0].imag), -found[0].real)
        kept = sorted({int(i) for order in orders for i in np.argsort(order, kind="stable")[:count]})
        return Leading(*_merged([(found[0][kept], found[1][:, kept])]), 0, products)

    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

    start = np.random.default_rng(seed).normal(size=size).astype(dtype)
    start /= np.linalg.norm(start)
    stretch = float(np.linalg.norm(times(start)))
    if stretch == 0:  # nothing that a random vector has is moved: ARPACK refuses a matrix of zeros
        return Leading(np.zeros(1, complex), start[:, None].astype(complex), 0, products)
    searched, missing, scale = [], 0, 0.0
    for which, dimension in SEARCHES:
        matrix = LinearOperator((size, size), lambda u, shift=scale: times(u, shift), dtype=dtype)
        limits = {"ncv": max(dimension, 4 * count), "maxiter": MAX_RESTARTS, "tol": TOLERANCE}
        try:
            values, vectors = eigs(matrix, count, which=which, v0=start, **limits)
        except ArpackNoConvergence as error:
            values, vectors = error.eigenvalues, error.eigenvectors
            missing += count - len(values)
        searched.append((values - scale, vectors))
        if which == "LM":
            scale = float(np.abs(values).max()) if len(values) else stretch
    return Leading(*_merged(searched), missing, products)


def quotients(multiply: Callable[[np.ndarray], np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """x^* J x for each of the unit vectors x [n, m], complex [m]: for an eigenvector its eigenvalue.

    For the eigenvectors of one batch and the Jacobian of another: what becomes of their eigenvalues there,
    free of the luck of having been searched for. The real part is the rate at which the flow of J
    lengthens x.
    """

    def one(x: np.ndarray) -> complex:
        # a real vector is one product, not two
        parts = [np.asarray(multiply(part)) if part.any() else 0.0 * part for part in (x.real, x.imag)]
        return complex(np.vdot(x, parts[0] + 1j * parts[1]))

    return np.array([one(x) for x in vectors.T], complex)


def _merged(searched: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """What several searches found, each direction once and of conjugates the upper one, by falling real part."""
    values: list[complex] = []
    vectors: list[np.ndarray] = []
    scale = max((float(np.abs(found).max()) for found, _ in searched if len(found)), default=0.0)
    for found, directions in searched:
        for value, vector in zip(found, directions.T, strict=True):
            upper, x = (value, vector) if value.imag >= 0 else (value.conjugate(), vector.conj())
            if any(
                abs(upper - v) <= 10 * TOLERANCE * scale and abs(np.vdot(x, w)) > 0.9
                for v, w in zip(values, vectors, strict=True)
            ):
                continue
            values.append(complex(upper))
            vectors.append(x / np.linalg.norm(x))
    order = sorted(range(len(values)), key=lambda i: (-values[i].real, values[i].imag))
    size = searched[0][1].shape[0]
    return np.array([values[i] for i in order], complex), np.stack(
        [vectors[i] for i in order] or [np.zeros(0)], axis=1
    ).reshape(size, -1)
