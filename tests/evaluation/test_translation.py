import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxgan.evaluation.diversity import ms_ssim
from jaxgan.evaluation.translation import compare, detail


def pictures(n, size, seed=0):
    """Smooth pictures with some texture, uint8."""
    rough = np.random.default_rng(seed).normal(size=(n, *size))
    images = gaussian_filter(rough, (0, 1.5, 1.5, 0)) * 3 + 0.15 * rough
    return np.uint8(np.clip(127.5 + 70 * images, 0, 255))


# -- how near ---------------------------------------------------------------------------------------


def test_known_differences():
    """The first picture is off by 51 of 255 levels at half of its pixels, the second by 255 at a quarter."""
    target = np.zeros((2, 4, 8, 3), np.uint8)
    target[0] = 100
    made = target.copy()
    made[0, :, ::2] -= 51
    made[1, 0] = 255
    found = compare(made, target)
    assert found.keys() == {"l1", "l1_error", "psnr", "sharpness"}  # too small for windows of 11
    assert found["l1"] == pytest.approx((0.1 + 0.25) / 2)
    # of two: half of what they differ by
    assert found["l1_error"] == pytest.approx(0.15 / 2)
    assert found["psnr"] == pytest.approx((-10 * np.log10(0.02) - 10 * np.log10(0.25)) / 2)
    assert np.isnan(found["sharpness"])  # there is nothing to be as sharp as
    # bright and dark differ alike: uint8 does not wrap
    other = compare(target, made)
    assert all(other[name] == pytest.approx(found[name]) for name in ("l1", "l1_error", "psnr"))


def test_equal_pictures():
    images = pictures(3, (16, 12, 3))
    found = compare(images, images)
    assert found["l1"] == found["l1_error"] == 0 and found["psnr"] == 99 and found["sharpness"] == 1
    assert found["ssim"] == pytest.approx(1, abs=1e-5)
    assert np.isnan(compare(images[:1], images[:1])["l1_error"])


def test_the_error_is_that_of_a_mean_over_pictures():
    made, target = pictures(7, (12, 13, 1)), pictures(7, (12, 13, 1), seed=1)
    each = np.abs(made.astype(float) - target).reshape(7, -1).mean(axis=1) / 255
    found = compare(made, target)
    assert found["l1"] == pytest.approx(each.mean()) and each.std() > 1e-3
    assert found["l1_error"] == pytest.approx(np.sqrt(np.sum((each - each.mean()) ** 2) / 6 / 7))
    squared = np.square((made.astype(float) - target) / 255).reshape(7, -1).mean(axis=1)
    assert found["psnr"] == pytest.approx(np.mean(10 * np.log10(1 / squared)))


def test_similarity_is_that_of_one_scale():
    made, target = pictures(4, (20, 24, 3)), pictures(4, (20, 24, 3), seed=1)
    found = compare(made, target)["ssim"]
    assert found == pytest.approx(float(ms_ssim(made, target, scales=1).mean()), rel=1e-6)
    # against windows one by one: the formula of Wang et al. 2004 at a single place
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    a, b = made[0, :11, :11, 0] / 255, target[0, :11, :11, 0] / 255
    ma, mb = (np.sum(window * x) for x in (a, b))
    va, vb, cab = (
        np.sum(window * (x - mx) * (y - my)) for x, mx, y, my in ((a, ma, a, ma), (b, mb, b, mb), (a, ma, b, mb))
    )
    by_hand = (2 * ma * mb + 1e-4) * (2 * cab + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
    single = compare(made[:1, :11, :11, :1], target[:1, :11, :11, :1])["ssim"]
    assert single == pytest.approx(by_hand, rel=1e-4) and abs(by_hand) < 0.9


@pytest.mark.parametrize(
    ("made", "target"),
    [((2, 8, 8, 1), (2, 8, 8, 3)), ((2, 8, 8, 1), (3, 8, 8, 1)), ((8, 8, 1), (8, 8, 1)), ((0, 8, 8, 1), (0, 8, 8, 1))],
)
def test_pictures_that_do_not_fit_are_refused(made, target):
    with pytest.raises(ValueError, match="pictures to compare are"):
        compare(np.zeros(made, np.uint8), np.zeros(target, np.uint8))


# -- how sharp --------------------------------------------------------------------------------------


def test_detail_of_waves():
    """A cosine of amplitude a has power a^2 / 2 where it is fine, and none where it is coarse."""
    rows, columns = np.mgrid[:16, :24]

    def wave(down, across, amplitude=100):
        picture = 127.5 + amplitude * np.cos(2 * np.pi * (down * rows + across * columns))
        return np.uint8(np.round(picture))[None, ..., None].repeat(3, axis=-1)

    for down, across, fine in (
        (0, 1 / 4, True),
        (0, 1 / 8, False),
        (3 / 8, 0, True),
        (3 / 16, 1 / 6, True),  # together, as a slanted wave
        (1 / 8, 1 / 8, False),
    ):
        expected = (100 / 255) ** 2 / 2 if fine else 0.0
        assert detail(wave(down, across)) == pytest.approx(expected, rel=0.01, abs=1e-4), (down, across)
    assert detail(wave(3 / 8, 0, 50)) == pytest.approx((50 / 255) ** 2 / 2, rel=0.02)


def test_detail_of_a_checkerboard_and_of_nothing():
    board = np.uint8(255 * (np.indices((8, 6)).sum(0) % 2))[None, ..., None]
    assert detail(board) == pytest.approx(0.25)  # all of its variance
    constant = np.full((1, 8, 6, 1), 200, np.uint8)
    assert detail(constant) == pytest.approx(0, abs=1e-20)
    assert detail(np.concatenate([board, constant])) == pytest.approx(0.125)
    # channels that cancel leave a grey picture without any
    assert detail(np.concatenate([board, 255 - board], axis=-1)) == pytest.approx(0, abs=1e-20)


def test_detail_is_no_more_than_the_variance():
    noise = np.random.default_rng(0).integers(0, 256, (40, 16, 20, 1), np.uint8)
    share = detail(noise) / np.var(noise / 255.0, axis=(1, 2)).mean()
    # of white noise: the share of frequencies outside of the circle
    radius = np.hypot(np.fft.fftfreq(16)[:, None], np.fft.fftfreq(20)[None])
    assert share == pytest.approx((radius >= 0.25).sum() / (16 * 20 - 1), rel=0.02)


def test_blurred_pictures_are_less_sharp_and_noisy_ones_sharper():
    target = pictures(6, (24, 20, 3))
    blurred = np.uint8(gaussian_filter(target.astype(float), (0, 1, 1, 0), mode="wrap"))
    noisy = np.uint8(np.clip(target + np.random.default_rng(3).normal(0, 30, target.shape), 0, 255))
    assert compare(blurred, target)["sharpness"] < 0.5
    assert compare(noisy, target)["sharpness"] > 1.5
    assert compare(target[::-1], target)["sharpness"] == pytest.approx(1)
    # the mean of several right answers is blurred
    several = [np.roll(target, (i, j), (1, 2)).astype(float) for i in (0, 1) for j in (0, 1)]
    assert compare(np.uint8(np.mean(several, axis=0)), target)["sharpness"] < 0.5
