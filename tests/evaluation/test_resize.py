import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan.evaluation import resize

SIZES = [((32, 32), (299, 299)), ((47, 31), (20, 75)), ((300, 201), (64, 299)), ((9, 13), (9, 13)), ((1, 7), (5, 1))]
# 1e-4 of the range of a pixel
TOLERANCE = 255e-4


def pictures(size, channels=3, n=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *size, channels)).astype(np.uint8)


def bilinear_by_hand(image, size):
    height, width = image.shape
    out = np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = i * height / size[0], j * width / size[1]
            top, left = int(y), int(x)
            below, right = min(top + 1, height - 1), min(left + 1, width - 1)
            dy, dx = y - top, x - left
            upper = image[top, left] * (1 - dx) + image[top, right] * dx
            lower = image[below, left] * (1 - dx) + image[below, right] * dx
            out[i, j] = upper * (1 - dy) + lower * dy
    return out


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_tf1_against_a_double_loop(before, after):
    images = pictures(before, 1, 1)
    expected = bilinear_by_hand(images[0, :, :, 0].astype(np.float64), after)
    found = resize.tf1(jnp.asarray(images), after)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found[0, :, :, 0], expected, atol=TOLERANCE)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_tf1_against_torch_fidelity(before, after):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchvision", exc_type=ImportError)
    peer = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow", exc_type=ImportError)
    images = pictures(before)
    planes = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))
    expected = peer.interpolate_bilinear_2d_like_tensorflow1x(planes, size=after, align_corners=False)
    found = resize.tf1(jnp.asarray(images), after)
    np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), atol=2e-4)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_clean_against_pillow(before, after):
    images = pictures(before)
    size = after[::-1]

    def channel(plane):
        return np.asarray(Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)).clip(0, 255)

    expected = np.stack([np.stack([channel(image[..., c]) for c in range(3)], axis=-1) for image in images])
    found = np.asarray(resize.clean(jnp.asarray(images), after))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found.min() >= 0 and found.max() <= 255


def test_the_two_differ_where_it_is_known_that_they_do():
    # a shrunk checkerboard: skipping pixels keeps one colour, antialiasing gives their mean
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    board = jnp.asarray(board[None, :, :, None].astype(np.uint8))
    assert np.asarray(resize.tf1(board, (16, 16))).max() == 0
    np.testing.assert_allclose(resize.clean(board, (16, 16))[:, 2:-2, 2:-2], 127.5, atol=0.5)


@pytest.mark.parametrize("matrix", [resize.tf1_matrix, resize.bicubic_matrix])
@pytest.mark.parametrize(("before", "after"), [(32, 299), (1024, 299), (7, 7), (1, 4), (5, 1)])
def test_rows_sum_to_one(matrix, before, after):
    weights = matrix(before, after)
    assert weights.shape == (after, before) and weights.dtype == np.float64
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    if before == after:
        np.testing.assert_array_equal(weights, np.eye(before))


@pytest.mark.parametrize("resizer", [resize.tf1, resize.clean])
def test_compiled_floats_and_any_channels(resizer):
    images = pictures((20, 30), channels=1)
    compiled = jax.jit(lambda x: resizer(x, (13, 41)))
    np.testing.assert_allclose(compiled(images), resizer(jnp.asarray(images, jnp.float32), (13, 41)), atol=1e-4)


@pytest.mark.parametrize("resizer", [resize.tf1, resize.clean])
@pytest.mark.parametrize(
    ("images", "size", "message"),
    [
        (jnp.zeros((4, 4, 3), jnp.uint8), (8, 8), "images must be"),
        (jnp.zeros((0, 4, 4, 3), jnp.uint8), (8, 8), "not empty"),
        (jnp.zeros((2, 4, 4, 3), jnp.int32), (8, 8), "uint8 or floats"),
        (jnp.zeros((2, 4, 4, 3), jnp.uint8), (8, 0), "at least 1"),
    ],
)
def test_wrong_input_is_refused(resizer, images, size, message):
    with pytest.raises(ValueError, match=message):
        resizer(images, size)
