import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats
from scipy.spatial.transform import Rotation

from jaxgan import augment

KEY = jax.random.key(5)


def test_instance_noise_is_gaussian_of_the_deviation_and_independent():
    examples = jnp.full((400, 3, 2), 0.7)
    noise = np.asarray(augment.instance_noise(examples, KEY, 0.3)) - 0.7
    assert stats.kstest(noise.ravel() / 0.3, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise[:, 0, 0], noise[:, 1, 0])[0, 1]) < 0.15
    assert not np.array_equal(noise, np.asarray(augment.instance_noise(examples, jax.random.key(6), 0.3)) - 0.7)
    np.testing.assert_array_equal(augment.instance_noise(examples, KEY, 0.0), examples)


@pytest.mark.parametrize(
    ("step", "until", "expected"), [(0, 10, 0.4), (4, 10, 0.24), (10, 10, 0.0), (25, 10, 0.0), (99, 0, 0.4)]
)
def test_decaying_falls_linearly_to_nothing(step, until, expected):
    np.testing.assert_allclose(augment.decaying(0.4, jnp.asarray(step), until), expected, rtol=1e-6)


def test_shift_and_flip_moves_whole_pictures():
    """Every augmented image is one of the 2 * 3 * 3 images that the edge-reflected original contains."""
    images = np.random.default_rng(0).normal(size=(60, 8, 11, 2)).astype(np.float32)
    moved = np.asarray(jax.jit(augment.shift_and_flip)(images, KEY))
    seen = set()
    for image, result in zip(images, moved, strict=True):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
        candidates = {
            (row, column, flip): padded[row : row + 8, column : column + 11][:, :: -1 if flip else 1]
            for row in range(3)
            for column in range(3)
            for flip in (False, True)
        }
        found = [name for name, candidate in candidates.items() if np.array_equal(candidate, result)]
        assert found, "not a shifted or mirrored copy"
        seen.add(found[0])
    assert len(seen) > 12


def test_shifts_reach_four_pixels_at_32():
    ramp = jnp.broadcast_to(jnp.arange(32.0)[None, :, None, None], (200, 32, 32, 1))
    moved = np.asarray(augment.shift_and_flip(ramp, KEY))
    assert set(np.unique(moved[:, 16, 0, 0])) == set(np.arange(12.0, 21.0))


# -- DiffAugment and ADA ---------------------------------------------------------------------------

COLOUR = np.random.default_rng(1).uniform(-0.9, 0.9, (300, 8, 11, 3)).astype(np.float32)


def test_diffaugment_translates_and_cuts_with_the_middle_grey():
    """A constant picture: what is not grey is one rectangle less another, of the sizes of the paper."""
    images = jnp.full((300, 8, 16, 1), 9.0)
    # brightness and contrast keep a constant constant, and far from 0
    seen = np.asarray(jax.jit(augment.diffaugment)(images, KEY))[..., 0]
    assert set(np.unique(seen == 0)) == {True, False}
    values = np.array([np.unique(image[image != 0]) for image in seen])[:, 0]
    assert np.ptp(values) > 0.9 and np.all(np.abs(values - 9.0) <= 0.5)
    moved = np.asarray(augment._translated(images, KEY))[..., 0]
    rows, columns = (moved == 9.0).any(2), (moved == 9.0).any(1)
    assert set(rows.sum(1)) == {7, 8} and set(columns.sum(1)) == {14, 15, 16}
    # two columns that came in from the left or the right, and none from both
    edges = {tuple(row.astype(int)[[0, 1, -2, -1]]) for row in columns}
    assert edges == {(1, 1, 1, 1), (0, 1, 1, 1), (0, 0, 1, 1), (1, 1, 1, 0), (1, 1, 0, 0)}
    cut = np.asarray(augment._cut_out(images, KEY))[..., 0] == 0.0
    heights, widths = cut.any(2).sum(1), cut.any(1).sum(1)
    assert heights.max() == 4 and widths.max() == 8 and heights.min() == 2 and widths.min() == 4
    assert all(cut[n].sum() == heights[n] * widths[n] for n in range(300))


def test_diffaugment_changes_colours_around_their_means():
    """Without translation and cutout in the middle row: by NumPy from the pixels' own mean and contrast."""
    keys = jax.random.split(KEY, 5)
    bright = np.asarray(jax.random.uniform(keys[0], (300,), minval=-0.5, maxval=0.5))
    saturate = 2 * np.asarray(jax.random.uniform(keys[1], (300,)))
    contrast = np.asarray(jax.random.uniform(keys[2], (300,), minval=0.5, maxval=1.5))
    seen = np.asarray(augment.diffaugment(COLOUR, KEY))
    for n in range(300):
        image = COLOUR[n].astype(np.float64) + bright[n]
        grey = image.mean(2, keepdims=True)
        image = grey + saturate[n] * (image - grey)
        image = image.mean() + contrast[n] * (image - image.mean())
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        left = seen[n].any(2)
        found = [
            (row, column)
            for row in range(3)
            for column in range(3)
            if np.allclose(padded[row : row + 8, column : column + 11][left], seen[n][left], atol=1e-4)
        ]
        assert found, n


@pytest.mark.parametrize("shape", [(8, 8, 1), (7, 12, 3), (6, 6, 2)])
def test_ada_with_probability_0_shows_the_images(shape):
    images = np.random.default_rng(0).uniform(-1, 1, (20, *shape)).astype(np.float32)
    np.testing.assert_allclose(augment.adaptive(images, KEY, 0.0), images, atol=1e-6)


def affine_by_hand(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """SciPy's spline of order 1, whose "mirror" is the reflection without the edge."""
    height, width, channels = image.shape
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    # from (x, y) to (row, column)
    turn = where[::-1, 1::-1]
    offset = where[::-1, 2] + middle - turn @ middle
    return np.stack(
        [ndimage.affine_transform(image[:, :, c], turn, offset, order=1, mode="mirror") for c in range(channels)], -1
    )


def test_resampling_equals_scipy():
    random = np.random.default_rng(3)
    where = (np.eye(2, 3)[None] + random.normal(size=(30, 2, 3)) * [0.5, 0.5, 4.0]).astype(np.float32)
    seen = np.asarray(jax.jit(augment._resampled)(COLOUR[:30], where))
    for n in range(30):
        np.testing.assert_allclose(seen[n], affine_by_hand(COLOUR[n].astype(np.float64), where[n]), atol=2e-4)


def test_geometry_is_a_product_of_what_the_paper_lists():
    """With probability 1: areas, mirrors and shifts are distributed as the changes say."""
    where = np.asarray(augment._geometry(KEY, (4000, 32, 64, 3), jnp.float32(1.0)))
    area = np.linalg.det(where[:, :, :2])
    assert 0.45 < np.mean(area < 0) < 0.55  # half are mirrored
    # the stretch keeps the area, the scale squares: log2 of it is N(0, (2 * 0.2)^2)
    assert stats.kstest(np.log2(np.abs(area)) / 0.4, "norm").pvalue > 1e-3
    stretch = np.log2(np.linalg.svd(where[:, :, :2], compute_uv=False))
    # of s and 1 / s the larger: log2 of their ratio is 2 |N(0, 0.2^2)|
    assert stats.kstest((stretch[:, 0] - stretch[:, 1]) / 0.4, "halfnorm").pvalue > 1e-3
    # an angle is uniform
    angle = np.arctan2(where[:, 1, 0], where[:, 0, 0])
    assert stats.kstest(angle / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-3
    rest = np.asarray(augment._geometry(KEY, (4000, 32, 64, 3), jnp.float32(0.3)))
    turned = np.abs(rest[:, 0, 1]) + np.abs(rest[:, 1, 0]) > 1e-6
    # by a free turn, or by 90 or 270 degrees (and not by a free turn of them, which is in it)
    expected = 1 - 0.7 * (1 - 0.3 * 0.5)
    assert abs(turned.mean() - expected) < 0.03


def test_geometry_by_matrices():
    """The inverse changes, each drawn by its own key, undone from the last to the first; shifts along their sides."""
    n, share, (height, width) = 4000, jnp.float32(0.6), (32, 64)
    where = augment._geometry(KEY, (n, height, width, 3), share)
    keys = jax.random.split(KEY, 8)
    (shift_x, shift_y), (drift_x, drift_y) = (jax.random.split(keys[i]) for i in (2, 7))
    mirrored, quarter = augment._integer(keys[0], n, share, 2), augment._integer(keys[1], n, share, 4)
    shift = np.stack([augment._uniform(k, n, share, bound) for k, bound in ((shift_x, 8.0), (shift_y, 4.0))])
    drift = np.stack([augment._normal(k, n, share, width) for k, width in ((drift_x, 8.0), (drift_y, 4.0))])
    scale, stretch = (augment._factor(keys[i], n, share, 0.2) for i in (3, 5))
    free = jnp.float32(1 - 0.4**0.5)
    first, second = (augment._uniform(keys[i], n, free, jnp.pi) for i in (4, 6))

    def affine(linear, offset=(0.0, 0.0)):
        return np.block([[np.asarray(linear), np.reshape(offset, (2, 1))], [np.zeros((1, 2)), np.ones((1, 1))]])

    def turn(angle):
        return affine(Rotation.from_euler("z", float(angle)).as_matrix()[:2, :2])

    for i in range(0, n, 40):
        expected = affine(np.diag([1 - 2 * float(mirrored[i]), 1.0])) @ turn(np.pi / 2 * float(quarter[i]))
        expected = expected @ affine(float(scale[i]) * np.eye(2), np.round(shift[:, i])) @ turn(first[i])
        expected = expected @ affine(np.diag([float(stretch[i]), 1 / float(stretch[i])])) @ turn(second[i])
        expected = expected @ affine(np.eye(2), drift[:, i])
        np.testing.assert_allclose(where[i], expected[:2], atol=2e-4)
    # half of the mirrors that are drawn mirror; shifts reach an eighth of a side, drifts are as wide
    assert abs(np.mean(np.linalg.det(where[:, :, :2]) < 0) - 0.3) < 0.03
    np.testing.assert_array_equal(np.abs(np.round(shift)).max(1), [8, 4])


def test_ada_leaves_as_many_examples_alone_as_its_probability_says():
    images = jax.random.uniform(jax.random.key(1), (6000, 6, 8, 3), minval=-1.0)
    untouched = np.isclose(jax.jit(augment.adaptive)(images, KEY, 0.1), images, atol=1e-5).all((1, 2, 3)).mean()
    # mirrors of two, quarter turns of four; shifts that round to 0: two thirds of 0.75 pixels, half of 1
    geometry = (1 - 0.1 / 2) * (1 - 0.1 * 3 / 4) * (1 - 0.1 / 3) * (1 - 0.1 / 2) * 0.9**2 * 0.9 * 0.9**2
    assert abs(untouched - geometry * 0.9**4 * (1 - 0.1 / 2)) < 0.025


def test_whole_changes_move_pixels_without_a_trace():
    """Mirrors and quarter turns of a square are permutations, and all eight of them are drawn."""
    keys = jax.random.split(KEY, 8)
    mirror = 1 - 2 * augment._integer(keys[0], 200, jnp.float32(1.0), 2)
    quarter = augment._quarter_turn(augment._integer(keys[1], 200, jnp.float32(1.0), 4))
    flips = augment._matrix([[mirror, 0 * mirror, 0 * mirror], [0 * mirror, 0 * mirror + 1, 0 * mirror]])
    image = np.random.default_rng(0).normal(size=(6, 6, 1)).astype(np.float32)
    where = augment._sum_of_products(flips, quarter)[:, :2]
    seen = np.asarray(augment._resampled(jnp.broadcast_to(image[None], (200, 6, 6, 1)), where))
    eight = [np.rot90(i, k) for i in (image, image[:, ::-1]) for k in range(4)]
    found = [[n for n, one in enumerate(eight) if np.allclose(one, shown, atol=1e-6)] for shown in seen]
    assert all(len(n) == 1 for n in found) and {n[0] for n in found} == set(range(8))


def test_colours_by_matrices():
    """Brightness, contrast, mirrored lightness, hue and saturation as the products of 4x4 matrices of the code."""
    shade = 1 / np.sqrt(3) * np.array([1.0, 1, 1])
    seen = np.asarray(augment._coloured(COLOUR, KEY, jnp.float32(1.0)))
    keys = jax.random.split(KEY, 5)
    one = jnp.float32(1.0)
    bright, contrast = augment._normal(keys[0], 300, one, 0.2), augment._factor(keys[1], 300, one, 0.5)
    flip = augment._integer(keys[2], 300, one, 2)
    angle, saturation = augment._uniform(keys[3], 300, one, jnp.pi), augment._factor(keys[4], 300, one, 1.0)
    assert stats.kstest(np.asarray(angle) / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-3
    assert stats.kstest(np.log2(saturation), "norm").pvalue > 1e-3
    for n in range(300):
        x = (COLOUR[n].astype(np.float64) + bright[n]) * contrast[n]
        mirror = np.eye(3) - 2 * float(flip[n]) * np.outer(shade, shade)
        turn = Rotation.from_rotvec(float(angle[n]) * shade).as_matrix()
        saturate = np.outer(shade, shade) + (np.eye(3) - np.outer(shade, shade)) * float(saturation[n])
        np.testing.assert_allclose(seen[n], x @ (saturate @ turn @ mirror).T, rtol=1e-4, atol=1e-4)
    grey = np.asarray(augment._coloured(COLOUR[..., :1], KEY, one))
    expected = (COLOUR[..., :1] + np.asarray(bright)[:, None, None, None]) * np.asarray(contrast)[:, None, None, None]
    np.testing.assert_allclose(grey, expected * (1 - 2 * np.asarray(flip))[:, None, None, None], rtol=1e-4, atol=1e-5)


def test_each_change_is_made_to_a_share_of_the_examples():
    seen = np.asarray(augment._coloured(COLOUR, KEY, jnp.float32(0.25)))
    untouched = np.isclose(seen, COLOUR, atol=1e-6).all((1, 2, 3)).mean()
    # a mirror that is drawn mirrors half of the time
    assert abs(untouched - 0.75**4 * (1 - 0.25 / 2)) < 0.07


@pytest.mark.parametrize("name", ["diffaugment", "adaptive"])
def test_augmentations_are_differentiable_and_treat_examples_alone(name):
    function = {"diffaugment": augment.diffaugment, "adaptive": lambda x, k: augment.adaptive(x, k, 0.8)}[name]
    images = jnp.asarray(COLOUR[:6])
    direction = jax.random.normal(jax.random.key(1), images.shape)
    cotangent = jax.random.normal(jax.random.key(2), images.shape)
    gradient = jax.jit(jax.grad(lambda x: jnp.vdot(function(x, KEY), cotangent)))(images)
    # both are affine in the image
    difference = function(images + direction, KEY) - function(images, KEY)
    np.testing.assert_allclose(jnp.vdot(gradient, direction), jnp.vdot(difference, cotangent), rtol=2e-3)
    moved = np.abs(function(images.at[2].add(0.3), KEY) - function(images, KEY)).max((1, 2, 3))
    assert moved[2] > 0.05 and np.all(np.delete(moved, 2) == 0)
    assert not np.array_equal(function(images, KEY), function(images, jax.random.key(6)))
