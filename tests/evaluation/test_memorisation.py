import numpy as np
import pytest
import scipy.stats
from sklearn.datasets import load_digits

from jaxgan.evaluation.memorisation import (
    authenticity,
    copying_test,
    copying_test_in_cells,
    image_copying_test,
    nearest_training,
)


@pytest.fixture(scope="module")
def digits():
    """Training (900), test (450) and fresh (447) digits, uint8 [n, 8, 8, 1]."""
    images = (load_digits().images * 15).astype(np.uint8)[..., None]
    images = np.random.default_rng(0).permutation(images)
    return images[:900], images[900:1350], images[1350:]


def moved(images, down, right, seed=0):
    """What comes in at the border is noise: no rule of filling may matter."""
    height, width = images.shape[1:3]
    result = np.random.default_rng(seed).integers(0, 256, images.shape).astype(np.uint8)
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                result[:, y, x] = images[:, y - down, x - right]
    return result


def by_loops(fakes, training, flips, shift):
    """Least distance of each fake, over every training image, mirroring and position, pixel by pixel."""
    height, width = fakes.shape[1:3]
    inner = [(y, x) for y in range(shift, height - shift) for x in range(shift, width - shift)]
    result = []
    for fake in fakes / 127.5 - 1:
        options = []
        for image in training / 127.5 - 1:
            for source in (image, image[:, ::-1])[: 1 + flips]:
                for down in range(-shift, shift + 1):
                    for right in range(-shift, shift + 1):
                        gaps = [fake[y, x] - source[y - down, x - right] for y, x in inner]
                        options.append(np.sqrt(np.mean(np.square(gaps))))
        result.append(min(options))
    return np.array(result)


@pytest.mark.parametrize(("flips", "shift"), [(False, 0), (True, 0), (False, 2), (True, 1)])
def test_against_loops_over_pixels(flips, shift):
    rng = np.random.default_rng(0)
    fakes = rng.integers(0, 256, (3, 6, 7, 2)).astype(np.uint8)
    training = rng.integers(0, 200, (4, 6, 7, 2)).astype(np.uint8)
    found = nearest_training(fakes, training, flips, shift)
    np.testing.assert_allclose(found.distances, by_loops(fakes, training, flips, shift), rtol=1e-6)


@pytest.mark.parametrize(("flip", "down", "right"), [(False, 0, 0), (True, 0, 0), (False, 1, 0), (True, -1, 1)])
def test_says_which_image_and_what_was_done_to_it(digits, flip, down, right):
    train, _, _ = digits
    rows = np.array([5, 700, 44, 321])
    copies = moved(train[rows][:, :, ::-1] if flip else train[rows], down, right)
    found = nearest_training(copies, train)
    np.testing.assert_array_equal(found.distances, 0.0)
    np.testing.assert_array_equal(found.indices, rows)
    np.testing.assert_array_equal(found.flipped, flip)
    np.testing.assert_array_equal(found.shifts, [[down, right]] * 4)
    if flip:
        assert (nearest_training(copies, train, flips=False).distances > 0.1).all()
    if down or right:
        assert (nearest_training(copies, train, shift=0).distances > 0.1).all()


def test_the_plainer_match_wins_a_tie():
    symmetric = np.full((1, 5, 5, 1), 7, np.uint8)
    found = nearest_training(symmetric, symmetric, shift=2)
    assert not found.flipped[0] and found.shifts.tolist() == [[0, 0]]


def test_distances_are_of_pixels_in_minus_one_to_one():
    black, white = np.zeros((2, 4, 5, 3), np.uint8), np.full((1, 4, 5, 3), 255, np.uint8)
    np.testing.assert_allclose(nearest_training(black, white).distances, [2.0, 2.0], rtol=1e-12)
    found = nearest_training(np.full((1, 4, 5, 3), 0.5), white, shift=0)
    np.testing.assert_allclose(found.distances, [0.5], rtol=1e-12)


def test_copied_digits_fail_and_fresh_ones_do_not(digits):
    train, test, fresh = digits
    copies = train[np.random.default_rng(1).permutation(900)[:450]]
    assert abs(image_copying_test(train, test, fresh)["z"]) < 3
    mirrored, shifted = copies[:, :, ::-1], moved(copies, 0, -1)
    for fakes in (copies, mirrored, shifted, moved(mirrored, 1, 1)):
        found = image_copying_test(train, test, fakes)
        assert found["z"] < -25 and found["p"] < 1e-100 and found["statistic"] < 0.01
        assert found["fake_distance"] == 0.0 and found["test_distance"] > 0.2
    # Without mirroring and shifts the same copies pass as too far away.
    assert image_copying_test(train, test, mirrored, flips=False)["z"] > 10
    assert image_copying_test(train, test, shifted, shift=0)["z"] > 10


def test_a_few_copies_among_fresh_digits(digits):
    train, test, fresh = digits
    mixed = np.concatenate([fresh[:300], moved(train[:147], 1, 0)])
    assert -12 < image_copying_test(train, test, mixed)["z"] < -4


def test_noisy_copies_and_plain_noise(digits):
    train, test, _ = digits
    rng = np.random.default_rng(0)
    noisy = np.clip(train[:400] + rng.normal(0, 20, train[:400].shape), 0, 255).astype(np.uint8)
    assert image_copying_test(train, test, noisy)["z"] < -15
    noise = rng.integers(0, 256, test.shape).astype(np.uint8)
    assert image_copying_test(train, test, noise)["z"] > 15


@pytest.mark.parametrize("decimals", [12, 1])
def test_rank_test_against_scipy(decimals):
    # One decimal makes ties, within and between the sets.
    rng = np.random.default_rng(0)
    train = np.zeros((1, 1))
    test = rng.gamma(2.0, size=(90, 1)).round(decimals)
    fake = (0.8 * rng.gamma(2.0, size=(70, 1))).round(decimals)
    expected = scipy.stats.mannwhitneyu(
        fake[:, 0], test[:, 0], alternative="less", method="asymptotic", use_continuity=False
    )
    found = copying_test(train, test, fake)
    np.testing.assert_allclose(found["statistic"] * 90 * 70, expected.statistic, rtol=1e-12)
    np.testing.assert_allclose(found["p"], expected.pvalue, rtol=1e-9)
    np.testing.assert_allclose(scipy.stats.norm.cdf(found["z"]), expected.pvalue, rtol=1e-9)
    np.testing.assert_allclose(found["fake_distance"], np.median(fake), rtol=1e-12)
    np.testing.assert_allclose(found["test_distance"], np.median(test), rtol=1e-12)
    assert found["z"] < 0 < copying_test(train, fake, test)["z"]


def test_fresh_samples_have_a_standard_normal_z():
    rng = np.random.default_rng(3)
    train = rng.normal(size=(60, 4))
    scores = [copying_test(train, rng.normal(size=(50, 4)), rng.normal(size=(40, 4)))["z"] for _ in range(400)]
    assert abs(np.mean(scores)) < 4 / np.sqrt(400)
    assert 0.85 < np.std(scores) < 1.15


def test_all_distances_equal_tells_nothing():
    found = copying_test(np.zeros((3, 2)), np.ones((4, 2)), np.ones((5, 2)))
    assert (found["statistic"], found["z"], found["p"]) == (0.5, 0.0, 0.5)


def test_cells_find_what_the_whole_hides():
    # Two regions: copies in one, samples far too wide in the other.
    rng = np.random.default_rng(0)
    train, test = (np.concatenate([rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + 100]) for n in (300, 200))
    fake = np.concatenate([train[:200], 9 * rng.normal(size=(200, 2)) + 100, [[500.0, 500.0]]])
    cells = [(rows[:, 0] > 50).astype(int) + (rows[:, 0] > 300) for rows in (train, test, fake)]
    assert copying_test(train, test, fake)["z"] > -3
    found = copying_test_in_cells(train, test, fake, cells, min_share=0.01)
    first, second, third = found["z_per_cell"]
    assert first < -15 and second > 10 and third is None
    assert first == copying_test(train[:300], test[:200], fake[:200])["z"]
    np.testing.assert_allclose(found["z"], (first + second) / 2, rtol=1e-12)
    uneven = copying_test_in_cells(train, test[:250], fake, [cells[0], cells[1][:250], cells[2]], min_share=0.01)
    weighted = np.average(uneven["z_per_cell"][:2], weights=[200, 50])
    np.testing.assert_allclose(uneven["z"], weighted, rtol=1e-12)
    with pytest.raises(ValueError, match="cell 2 has 0 training and 0 test examples"):
        copying_test_in_cells(train, test, fake, cells)
    with pytest.raises(ValueError, match=r"no cell has more than a share of 0\.9"):
        copying_test_in_cells(train, test, fake, cells, min_share=0.9)
    with pytest.raises(
        ValueError, match=r"labels of shapes \[\(600,\), \(400,\), \(401,\)\], got \[\(600,\), \(401,\)"
    ):
        copying_test_in_cells(train, test, fake, [cells[0], cells[2], cells[1]])


def test_authenticity_by_loops():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(40, 3)), 0.9 * rng.normal(size=(25, 3))
    verdicts = []
    for sample in fake:
        gaps = [np.linalg.norm(sample - example) for example in real]
        i = int(np.argmin(gaps))
        verdicts.append(gaps[i] > min(np.linalg.norm(real[i] - real[j]) for j in range(40) if j != i))
    assert authenticity(real, fake) == np.mean(verdicts)
    assert authenticity(real, fake) != authenticity(fake, real)


def test_authenticity_of_copies_and_of_points_far_off():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(50, 3))
    # An example that is in the training set twice is at distance 0 from its other self.
    real[7] = real[3]
    assert authenticity(real, real[:20]) == 0.0
    assert authenticity(real, real[:20] + 1e-6) == 0.1
    assert authenticity(real, real[:20] + 100) == 1.0
    with pytest.raises(ValueError, match="at least 2 training examples"):
        authenticity(real[:1], real)


def test_a_third_of_fresh_points_on_a_line_are_authentic():
    rng = np.random.default_rng(0)
    shares = [authenticity(rng.uniform(size=(100, 1)), rng.uniform(size=(100, 1))) for _ in range(100)]
    assert abs(np.mean(shares) - 1 / 3) < 0.02


def test_impossible_images_are_refused(digits):
    train, test, _ = digits
    with pytest.raises(ValueError, match=r"of one size, got \(8, 8, 1\) and \(8, 7, 1\)"):
        nearest_training(test, train[:, :, :7])
    with pytest.raises(ValueError, match=r"shift must be in \[0, 3\] for 8x8, got 4"):
        nearest_training(test, train, shift=4)
    with pytest.raises(ValueError, match=r"shift must be in \[0, 3\] for 8x8, got -1"):
        nearest_training(test, train, shift=-1)
    with pytest.raises(ValueError, match="int64"):
        nearest_training(test.astype(np.int64), train)
    with pytest.raises(ValueError, match="got shape"):
        nearest_training(test[0], train)
    with pytest.raises(ValueError, match="not finite"):
        nearest_training(np.full((1, 8, 8, 1), np.nan), train)
