import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from jaxgan.evaluation import neighbours as module
from jaxgan.evaluation.neighbours import distance, nearest, rounding, squared_blocks


def two_sets(n=37, m=53, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 1.5 * rng.normal(size=(m, d)) + 0.7


def by_subtraction(x, y):
    return np.sqrt(((x[:, None] - y) ** 2).sum(-1))


def test_against_brute_force():
    x, y = two_sets()
    whole = by_subtraction(x, y)
    distances, indices = nearest(x, y, 6)
    np.testing.assert_array_equal(indices, whole.argsort(axis=1)[:, :6])
    np.testing.assert_allclose(distances, np.sort(whole, axis=1)[:, :6], rtol=1e-14)


def test_against_scikit_learn():
    x, y = two_sets(200, 300, 40)
    expected, rows = NearestNeighbors(n_neighbors=9, algorithm="brute").fit(y).kneighbors(x)
    distances, indices = nearest(x, y, 9)
    np.testing.assert_array_equal(indices, rows)
    np.testing.assert_allclose(distances, expected, rtol=1e-10)


def test_a_row_is_no_neighbour_of_itself_but_its_copy_is():
    x, _ = two_sets(8)
    x[5] = x[2]
    whole = by_subtraction(x, x)
    np.fill_diagonal(whole, np.inf)
    distances, indices = nearest(x, x, 7, exclude_self=True)
    np.testing.assert_allclose(distances, np.sort(whole, axis=1)[:, :7], rtol=1e-14)
    assert indices[5, 0] == 2 and indices[2, 0] == 5 and distances[5, 0] == 0.0
    assert (nearest(x, x, 8)[0][:, 0] == 0.0).all()


@pytest.mark.parametrize("numbers", [1, 100, 160])
def test_blocks_do_not_show(monkeypatch, numbers):
    x, y = two_sets()
    whole, own = nearest(x, y, 3), nearest(y, y, 3, exclude_self=True)
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", numbers)
    for expected, found in ((whole, nearest(x, y, 3)), (own, nearest(y, y, 3, exclude_self=True))):
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[0], expected[0])


def test_near_copies_far_from_the_origin():
    # |x|^2 = 1e10 rounds to 1e-6, and the expanded square sees nothing of gaps of 1e-5 and below.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 10)) + 3e4
    y = np.concatenate([x + 2e-6, x + 1e-6, x])
    distances, indices = nearest(x, y, 3)
    np.testing.assert_array_equal(indices, np.arange(30)[:, None] + [60, 30, 0])
    np.testing.assert_array_equal(nearest(x, y, 1)[1], np.arange(30)[:, None] + 60)
    np.testing.assert_array_equal(distances[:, 0], 0.0)
    np.testing.assert_allclose(distances[:, 1:], np.sqrt(10) * np.array([[1e-6, 2e-6]] * 30), rtol=1e-4)


def test_equal_distances_in_the_order_of_rows():
    points = np.array([[0.0, 1.0], [5.0, 5.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0]])
    _, indices = nearest([[0.0, 0.0]], points, 4)
    np.testing.assert_array_equal(indices, [[0, 2, 3, 4]])


def test_equal_distances_that_the_expanded_square_tells_apart():
    """To either side of a query whose square is rounded by more than the distances; differences are exact."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        query, offsets = rng.integers(2**36, 2**37, (1, 3)) / 1024, rng.integers(1, 1000, (3, 3)) / 1024
        points = rng.permutation(np.concatenate([query + offsets, query - offsets]))
        distances, indices = nearest(query, points, 2)
        expected = by_subtraction(query, points)
        np.testing.assert_array_equal(indices, expected.argsort(axis=1, kind="stable")[:, :2])
        assert distances[0, 0] == distances[0, 1]


def test_float32_is_measured_in_float64():
    x, y = two_sets(20, 30, 64)
    x, y = (x + 100).astype(np.float32), (y + 100).astype(np.float32)
    single, double = nearest(x, y, 4), nearest(x.astype(np.float64), y.astype(np.float64), 4)
    assert single[0].dtype == np.float64 and single[1].dtype == np.int64
    np.testing.assert_array_equal(single[0], double[0])
    np.testing.assert_array_equal(single[1], double[1])


def test_integers_do_not_wrap():
    np.testing.assert_array_equal(
        nearest(np.array([[250, 3]], np.uint8), np.array([[1, 3]], np.uint8), 1)[0], [[249.0]]
    )


def test_blocks_are_within_their_rounding():
    x, y = two_sets(50, 60, 30)
    x, y = x + 1e3, y + 1e3
    found = np.concatenate([block for _, block in squared_blocks(x, y)])
    error = np.abs(found - ((x[:, None] - y) ** 2).sum(-1)).max()
    assert 0 < error < rounding(x, y) < 1e-5


def test_chosen_pairs():
    x, y = two_sets()
    rows, columns = np.array([3, 0, 36, 3]), np.array([52, 1, 0, 7])
    np.testing.assert_allclose(distance(x, y, rows, columns), by_subtraction(x, y)[rows, columns], rtol=1e-14)


def test_impossible_requests_are_refused():
    x, y = two_sets()
    with pytest.raises(ValueError, match=r"k must be in \[1, 53\].*got 54"):
        nearest(x, y, 54)
    with pytest.raises(ValueError, match=r"k must be in \[1, 36\].*got 37"):
        nearest(x, x, 37, exclude_self=True)
    with pytest.raises(ValueError, match=r"k must be in \[1, 53\].*got 0"):
        nearest(x, y, 0)
    with pytest.raises(ValueError, match="one array, got 37 and 53"):
        nearest(x, y, 1, exclude_self=True)
    with pytest.raises(ValueError, match=r"shapes \(37, 5\), \(53, 4\)"):
        nearest(x, y[:, :4], 1)
    with pytest.raises(ValueError, match="one d, got shapes"):
        nearest(x, y[:0], 1)
    with pytest.raises(ValueError, match="2 of 53 feature vectors are not finite"):
        nearest(x, np.where(np.isin(np.arange(53), [4, 9])[:, None], np.nan, y), 1)
