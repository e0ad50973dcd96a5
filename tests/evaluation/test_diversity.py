import numpy as np
import pytest
from scipy.ndimage import correlate1d

from jaxgan.evaluation.diversity import SCALE_WEIGHTS, ms_ssim, ms_ssim_diversity, num_scales


def pictures(n, size, seed=0, smooth=2.0):
    """Smooth float64 images in [-1, 1], of unequal channels, with some noise."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    rough = rng.normal(size=(n, *size))
    images = gaussian_filter(rough, (0, smooth, smooth, 0)) * 3 * np.linspace(0.5, 1.0, size[-1])
    return np.clip(images + 0.05 * rough + 0.2, -1, 1)


def noisy(images, amount, seed=9):
    return np.clip(images + amount * np.random.default_rng(seed).normal(size=images.shape), -1, 1)


def written_out(a, b, weights):
    """The definition for one channel [height, width] in [0, 1], float64, window by window sums with scipy."""
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def local(x):
        return correlate1d(correlate1d(x, window, axis=0), window, axis=1)[5:-5, 5:-5]

    product = 1.0
    for scale, weight in enumerate(weights):
        ma, mb = local(a), local(b)
        va, vb, cab = local(a * a) - ma**2, local(b * b) - mb**2, local(a * b) - ma * mb
        value = (2 * cab + 0.03**2) / (va + vb + 0.03**2)
        if scale == len(weights) - 1:
            value = value * (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
        product *= max(value.mean(), 0.0) ** weight
        h, w = a.shape[0] // 2 * 2, a.shape[1] // 2 * 2
        a, b = ((x[:h:2, :w:2] + x[1:h:2, :w:2] + x[:h:2, 1:w:2] + x[1:h:2, 1:w:2]) / 4 for x in (a, b))
    return product


@pytest.mark.parametrize(
    ("size", "scales"), [((177, 180, 1), 5), ((64, 91, 2), 3), ((32, 32, 3), 2), ((28, 23, 1), 2), ((11, 21, 1), 1)]
)
def test_against_the_definition_in_float64(size, scales):
    assert num_scales(*size[:2]) == scales
    a = pictures(3, size)
    b = noisy(a, 0.3)
    b[2] = pictures(1, size, seed=5)[0]
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    expected = [
        np.mean([written_out(p[..., c], q[..., c], weights) for c in range(size[2])])
        for p, q in zip((a + 1) / 2, (b + 1) / 2, strict=True)
    ]
    found = ms_ssim(a, b)
    np.testing.assert_allclose(found, expected, rtol=3e-5, atol=1e-6)
    np.testing.assert_allclose(ms_ssim(b, a), found, rtol=1e-5, atol=1e-6)
    assert 0.05 < found[0] < 0.99 and found.dtype == np.float32


def test_the_weights_are_the_papers():
    np.testing.assert_allclose(sum(SCALE_WEIGHTS), 1.0, atol=2e-4)
    assert np.argmax(SCALE_WEIGHTS) == 2 and SCALE_WEIGHTS[0] < SCALE_WEIGHTS[4]


def test_one_scale_is_scikit_images():
    metrics = pytest.importorskip("skimage.metrics")
    a = pictures(2, (40, 37, 3))
    b = noisy(a, 0.4)
    expected = [
        metrics.structural_similarity(
            p, q, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=-1
        )
        for p, q in zip((a + 1) / 2, (b + 1) / 2, strict=True)
    ]
    np.testing.assert_allclose(ms_ssim(a, b, scales=1), expected, rtol=3e-5)


def test_equal_images_have_1_and_damage_lowers_it():
    a = pictures(2, (48, 48, 3))
    np.testing.assert_allclose(ms_ssim(a, a), 1.0, rtol=1e-5)
    values = [ms_ssim(a, noisy(a, amount))[0] for amount in (0.05, 0.2, 0.8)]
    assert 1 > values[0] > values[1] > values[2] > 0
    # the opposite picture has the opposite structure; what has no power counts as 0
    opposite = ms_ssim(a[..., :1], -a[..., :1], scales=1)
    assert (opposite < 0).all()
    np.testing.assert_array_equal(ms_ssim(a[..., :1], -a[..., :1]), [0.0, 0.0])


def test_constant_pictures_closed_form():
    """Without contrast only the luminance at the coarsest scale is left, to the power of its weight."""
    a, b = np.full((1, 32, 32, 1), -0.5), np.full((1, 32, 32, 1), 0.6)
    x, y = 0.25, 0.8
    luminance = (2 * x * y + 1e-4) / (x * x + y * y + 1e-4)
    weight = SCALE_WEIGHTS[1] / (SCALE_WEIGHTS[0] + SCALE_WEIGHTS[1])
    np.testing.assert_allclose(ms_ssim(a, b), luminance**weight, rtol=2e-4)
    np.testing.assert_allclose(ms_ssim(a, b, scales=1), luminance, rtol=2e-4)


def test_uint8_is_the_same_picture():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3)).astype(np.uint8)
    other = np.clip(pixels.astype(int) + 30, 0, 255).astype(np.uint8)
    floats = [x / 127.5 - 1.0 for x in (pixels, other)]
    np.testing.assert_allclose(ms_ssim(pixels, other), ms_ssim(*floats), rtol=1e-5)


def test_diversity_is_the_mean_over_its_pairs():
    images = pictures(7, (24, 24, 1))
    found = ms_ssim_diversity(images, 120, seed=3)
    rng = np.random.default_rng(3)
    first = rng.integers(0, 7, 120)
    second = (first + rng.integers(1, 7, 120)) % 7
    assert not (first == second).any() and len(set(zip(first, second, strict=True))) > 35
    values = ms_ssim(images[first], images[second]).astype(float)
    assert found["ms_ssim"] == pytest.approx(values.mean(), rel=1e-6)
    assert found["ms_ssim_error"] == pytest.approx(values.std(ddof=1) / np.sqrt(120), rel=1e-6)
    assert (found["scales"], found["pairs"]) == (2, 120)
    assert found == ms_ssim_diversity(images, 120, seed=3) != ms_ssim_diversity(images, 120, seed=4)


def test_a_collapsed_class_is_less_diverse():
    images = pictures(30, (32, 32, 1))
    half = np.concatenate([images[:15], noisy(np.repeat(images[:1], 15, axis=0), 0.02)])
    whole = noisy(np.repeat(images[:1], 30, axis=0), 0.02)
    values = [ms_ssim_diversity(x, 200)["ms_ssim"] for x in (images, half, whole)]
    assert values[0] < values[1] < values[2] and values[2] > 0.95
    assert ms_ssim_diversity(np.repeat(images[:1], 4, axis=0), 50)["ms_ssim"] == pytest.approx(1.0, abs=1e-5)


def test_mistakes_are_refused():
    images = pictures(3, (24, 24, 1))
    for call, message in (
        (lambda: ms_ssim(images, images[:2]), "must have one shape"),
        (lambda: ms_ssim(images[0], images[0]), "n, height, width, channel"),
        (lambda: ms_ssim(images.astype(int), images.astype(int)), "got int64"),
        (lambda: ms_ssim(images, images, scales=3), r"in \[1, 2\] for images of 24x24, got 3"),
        (lambda: ms_ssim(images[:, :10], images[:, :10]), "at least 11x11, got 10x24"),
        (lambda: ms_ssim_diversity(images[:1]), "two images and two pairs, got 1 and 100"),
        (lambda: ms_ssim_diversity(images, 1), "got 3 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
