"""Matrices whose spectrum was planted; games are in tests/test_dynamics.py."""

import numpy as np
import pytest

from jaxgan.evaluation.eigenvalues import leading_spectrum


def blocks(pairs, size, seed=0):
    """A real matrix [size, size] that is not normal, with these eigenvalues and their conjugates, and 0 otherwise."""
    random = np.random.default_rng(seed)
    matrix, at = np.zeros((size, size)), 0
    for value in pairs:
        width = 2 if value.imag else 1
        block = [[value.real, value.imag], [-value.imag, value.real]] if value.imag else [[value.real]]
        matrix[at : at + width, at : at + width] = block
        at += width
    change = np.linalg.qr(random.normal(size=(size, size)))[0] * (1 + 0.3 * random.random((size, 1)))
    return change @ matrix @ np.linalg.inv(change)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [60, 400])
def test_a_known_spectrum_is_found(size, dtype):
    # what leads in one order is nowhere in the others: 0.5 grows, 3i turns, -20 is largest; 0 is there many times
    planted = [0.5, 0.3 + 1j, -0.2 + 3j, -0.4 + 2.5j, -20.0, -15.0, *np.linspace(-1.0, -0.1, 12)]
    matrix = blocks(list(map(complex, planted)), size).astype(dtype)
    assert not np.allclose(matrix, matrix.T)
    found = leading_spectrum(lambda u: matrix @ u, size, 2, seed=3, dtype=dtype)
    assert found.missing == 0 and found.vectors.shape == (size, len(found.values))
    for value in (0.5, 0.3 + 1j, -0.2 + 3j, -20.0, -15.0):
        at = np.abs(found.values - value).argmin()
        assert abs(found.values[at] - value) < 2e-3 * 20
        x = found.vectors[:, at]
        np.testing.assert_allclose(matrix @ x, found.values[at] * x, atol=0.05)
    assert found.products > 0 and np.all(found.values.imag >= 0)
    again = leading_spectrum(lambda u: matrix @ u, size, 2, seed=3, dtype=dtype)
    np.testing.assert_array_equal(again.values, found.values)


def test_what_does_not_converge_is_counted(monkeypatch):
    monkeypatch.setattr("jaxgan.evaluation.eigenvalues.MAX_RESTARTS", 1)
    matrix = np.diag(np.linspace(0.0, -1.0, 4000)).astype(np.float32)
    matrix = np.diagonal(matrix)
    found = leading_spectrum(lambda u: matrix * u, 4000, 10)
    assert found.missing > 0 and len(found.values) + found.missing <= 30
    with pytest.raises(ValueError, match="count is at least 1, got 0"):
        leading_spectrum(lambda u: matrix * u, 4000, 0)


def test_the_spectrum_of_what_does_not_move():
    assert leading_spectrum(lambda u: 0 * u, 500).values.tolist() == [0]
    values = leading_spectrum(lambda u: np.where(np.arange(500) == 3, -2, 0) * u, 500).values
    assert values.min() == pytest.approx(-2, abs=1e-2) and np.abs(values + 2).max() == pytest.approx(2, abs=1e-2)
