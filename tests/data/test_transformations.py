import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxgan.data.images import DataError
from jaxgan.data.official import digits_arrays, read_idx
from jaxgan.data.transformations import MID_GREY, TRANSFORMATIONS, canny, segments

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def smooth(*shape: int) -> np.ndarray:
    """Blurred noise: gradients that have no ties."""
    blurred = ndimage.gaussian_filter(RNG.normal(size=shape), (0, 2, 2, 0))
    return np.interp(blurred, (blurred.min(), blurred.max()), (0, 255)).astype(np.uint8)


def refused(call, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), caught.value


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_one_picture_and_many_at_once_are_the_same(name):
    pictures = smooth(5, 16, 20, 3)
    many = TRANSFORMATIONS[name](pictures)
    assert many.dtype == np.uint8 and many.ndim == 4
    for one, expected in zip(pictures, many, strict=True):
        np.testing.assert_array_equal(TRANSFORMATIONS[name](one), expected)
    np.testing.assert_array_equal(TRANSFORMATIONS[name](pictures.reshape(5, 1, 16, 20, 3))[:, 0], many)
    assert TRANSFORMATIONS[name](pictures[:0]).shape == (0, *many.shape[1:])


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_a_mirrored_picture_has_the_mirrored_source(name):
    pictures = smooth(3, 24, 24, 3)
    assert (TRANSFORMATIONS[name](pictures[:, :, ::-1]) == TRANSFORMATIONS[name](pictures)[:, :, ::-1]).mean() > 0.999


# --- canny


@pytest.mark.parametrize(("dark", "bright"), [(0, 255), (90, 140)])
@pytest.mark.parametrize("side", [8, 28, 61])
def test_a_step_is_a_line_of_one_pixel_on_its_dark_side(side, dark, bright):
    at = side // 3
    picture = np.full((side, side, 1), dark, np.uint8)
    picture[:, at:] = bright
    expected = np.zeros((side, side, 1), np.uint8)
    expected[:, at - 1] = 255
    np.testing.assert_array_equal(canny(picture), expected)
    # turned a quarter and mirrored the line follows: axes and signs are not mixed up
    for turn in range(4):
        np.testing.assert_array_equal(canny(np.rot90(picture, turn)), np.rot90(expected, turn))
    np.testing.assert_array_equal(canny(255 - picture)[:, at], 255)
    assert (canny(255 - picture) > 0).sum() == side


@pytest.mark.parametrize("down", [True, False])
def test_a_slanted_step_is_a_thin_slanted_line(down):
    rows, columns = np.mgrid[:40, :40]
    picture = np.where(columns > (rows if down else 39 - rows) + 4, 200, 30).astype(np.uint8)[..., None]
    line = canny(picture)[..., 0] > 0
    distance = np.abs(columns - (rows if down else 39 - rows) - 4)
    assert not line[distance > 1].any()
    inside = line[3:-8] if down else line[8:-3]
    assert ((inside.sum(1) == 1) | (inside.sum(1) == 2)).all()


def test_a_square_has_a_closed_outline():
    picture = np.zeros((30, 34, 1), np.uint8)
    picture[9:20, 6:25] = 180
    outline = canny(picture)[..., 0] > 0
    filled = ndimage.binary_fill_holes(ndimage.binary_dilation(outline, np.ones((3, 3))))
    assert filled[9:20, 6:25].all()
    assert outline.sum() <= 2 * (11 + 19) + 8
    assert not outline[11:18, 8:23].any() and not outline[:7].any() and not outline[:, 27:].any()


def test_weak_lines_stay_where_a_strong_one_begins_them():
    picture = np.zeros((60, 40, 1), np.uint8)
    strength = np.linspace(200, 30, 60)  # one line, its lower part under the higher threshold
    picture[:, 15:] = strength[:, None, None]
    alone = picture.copy()
    alone[strength > 50] = 0
    alone[:8, 30:] = 200  # as steep a place, elsewhere
    assert (canny(picture)[:, 14:16] == 255).any(1).all()
    found = canny(alone)
    assert found[:12].any() and not found[12:].any()


def test_flat_pictures_have_no_lines_and_thresholds_are_relative():
    assert not canny(np.full((3, 28, 28, 1), 77, np.uint8)).any()
    assert not canny(RNG.integers(100, 104, (28, 28, 1)).astype(np.uint8)).any()
    picture = smooth(1, 64, 64, 1)[0]
    half = (picture // 2).astype(np.uint8)
    assert (canny(picture) != canny(half)).mean() < 0.02


def test_lines_of_one_picture_do_not_touch_those_of_the_next():
    strong, weak = np.zeros((2, 28, 28, 1), np.uint8)
    strong[:, 10:] = 255
    weak[:, 10:] = 30
    weak[:4, 20:24] = 255
    np.testing.assert_array_equal(canny(np.stack([strong, weak, strong]))[1], canny(weak))


def test_real_pictures_become_sketches(shared_data):
    clothes = read_idx(shared_data / "fashion_mnist" / "t10k-images-idx3-ubyte.gz")[:500, ..., None]
    for pictures in (clothes, digits_arrays()[0][:500]):
        lines = canny(pictures) > 0
        share = lines.mean((1, 2, 3))
        assert (share > 0.03).all() and share.mean() < 0.4
        # lines lie where the picture changes
        assert ndimage.morphological_gradient(pictures, (1, 3, 3, 1))[lines].mean() > 2 * pictures.std() / 2


# --- the others


def test_sobel_is_the_length_of_scipys_gradient():
    picture = smooth(1, 21, 30, 3)[0]
    grey = np.asarray(Image.fromarray(picture).convert("L")).astype(float)
    expected = np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1)) / 4
    np.testing.assert_allclose(TRANSFORMATIONS["sobel"](picture)[..., 0], expected.clip(0, 255), atol=0.51)
    step = np.full((9, 9, 1), 20, np.uint8)
    step[:, 4:] = 95
    np.testing.assert_array_equal(TRANSFORMATIONS["sobel"](step)[4, :, 0], [0, 0, 0, 75, 75, 0, 0, 0, 0])


def test_grey_is_pillows_and_refuses_grey():
    pictures = noise(4, 9, 7, 3)
    for picture, found in zip(pictures, TRANSFORMATIONS["grey"](pictures), strict=True):
        np.testing.assert_array_equal(found[..., 0], np.asarray(Image.fromarray(picture).convert("L")))
    refused(lambda: TRANSFORMATIONS["grey"](noise(9, 9, 1)), "grey already")


@pytest.mark.parametrize(("height", "width", "top", "left", "side"), [(8, 8, 2, 2, 4), (28, 40, 7, 13, 14)])
def test_masked_lacks_its_middle(height, width, top, left, side):
    picture = noise(height, width, 3) // 2
    found = TRANSFORMATIONS["masked"](picture)
    hole = np.zeros((height, width), bool)
    hole[top : top + side, left : left + side] = True
    assert (found[hole] == MID_GREY).all()
    np.testing.assert_array_equal(found[~hole], picture[~hole])


@pytest.mark.parametrize(("height", "width", "factor"), [(8, 8, 2), (28, 28, 4), (12, 32, 2), (16, 24, 4)])
def test_low_resolution_is_the_mean_of_squares(height, width, factor):
    pictures = noise(3, height, width, 3)
    found = TRANSFORMATIONS["low_resolution"](pictures)
    assert found.shape == (3, height // factor, width // factor, 3)
    for row, column in ((0, 0), (1, 2), (height // factor - 1, width // factor - 1)):
        block = pictures[:, row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        np.testing.assert_allclose(found[:, row, column], block.astype(float).mean((1, 2)), atol=0.5)
    refused(lambda: TRANSFORMATIONS["low_resolution"](noise(30, 30, 1)), "30x30", "--size 28")


def test_segments_are_the_bands_of_a_brute_force_search():
    levels = np.concatenate([RNG.normal(mean, 5, 200) for mean in (20, 72, 112, 215)]).clip(0, 255)
    picture = RNG.permutation(levels.astype(np.uint8)).reshape(20, 40, 1)
    found = segments(picture)
    assert sorted(np.unique(found)) == [0, 85, 170, 255]
    tried = [20, 40, 46, 52, 60, 72, 88, 92, 96, 104, 112, 117, 150, 163, 175, 215]

    def within(bands: np.ndarray) -> float:
        return sum(picture[bands == band].var() * (bands == band).sum() for band in np.unique(bands))

    best = min(
        within(np.digitize(picture, (i, j, k))) for i in tried for j in tried for k in tried if i < j < k
    )  # fmt: skip
    assert within(found) <= best * 1.0001
    # a brighter pixel is never in a darker band
    order = np.argsort(picture, axis=None)
    assert (np.diff(found.ravel()[order].astype(int)) >= 0).all()


def test_segments_of_few_levels():
    assert not segments(np.full((8, 8, 1), 9, np.uint8)).any()
    two = np.where(np.arange(64).reshape(8, 8, 1) % 3 == 0, 200, 10).astype(np.uint8)
    found = segments(two)
    assert (found[two == 200] == 255).all() and (found[two == 10] == 0).all()


def test_negative_is_its_own_inverse():
    picture = noise(5, 6, 3)
    found = TRANSFORMATIONS["negative"](picture)
    assert (found.astype(int) + picture == 255).all()
