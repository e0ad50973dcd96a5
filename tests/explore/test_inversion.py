import numpy as np
import pytest
from PIL import Image

from jaxgan.arrays import to_uint8
from jaxgan.config import RequestError
from jaxgan.data.images import from_arrays
from jaxgan.explore.inversion import invert, read_pictures, table, told
from tests.explore.strokes import KERNEL, NOTHING, explorer, strokes

LATENTS = np.array([[0.5, -0.6, 0.3, 0.0], [-0.8, 0.4, -1.0, 0.0], [0.1, 1.0, 1.5, 0.0]], np.float32)


def test_the_latents_of_own_pictures_are_found():
    run = explorer()
    images = np.asarray(strokes(LATENTS @ KERNEL))
    found = invert(run, images, restarts=6, prior_weight=1e-4)
    assert found.errors.max() < 1e-3 < found.start_errors.min() and found.label is None
    known = np.delete(found.latents, NOTHING, axis=1)
    np.testing.assert_allclose(known, np.delete(LATENTS, NOTHING, axis=1), atol=0.15)
    np.testing.assert_allclose(np.square(found.reconstructions - images).mean(axis=(1, 2, 3)), found.errors, atol=1e-5)
    assert len(table(["a", "b", "c"], found)) == 5


def test_more_pictures_than_are_inverted_at_once(monkeypatch):
    monkeypatch.setattr("jaxgan.explore.inversion.AT_ONCE", 2)
    run, images = explorer(), np.asarray(strokes(LATENTS @ KERNEL))
    found = invert(run, images, restarts=4, steps=200, prior_weight=1e-4)
    assert found.latents.shape == (3, 4) and found.errors.max() < 2e-3


def test_styles_are_held_near_where_styles_lie():
    run = explorer(second_space=True)
    styles, _ = run.draw(9, 0, 3)
    images = run.outputs(styles, None)
    found = invert(run, images, restarts=6, steps=800, learning_rate=0.2, prior_weight=1e-2)
    assert found.latents.shape == (3, 8) and found.errors.max() < 0.02
    # nothing is seen of the last four, whose mean is 10
    assert np.abs(found.latents[:, 4:] - 10).max() < 5


def test_a_system_that_is_told_classes_is_told_them_here():
    run = explorer(conditional=True)
    label = np.array([1, 0, 1], np.int32)
    images = np.asarray(strokes(LATENTS @ KERNEL, label))
    right = invert(run, images, label, restarts=6, steps=300)
    wrong = invert(run, images, 1 - label, restarts=6, steps=300)
    assert right.errors.max() < wrong.errors.min() and right.label.tolist() == [1, 0, 1]
    # otherwise what the classifier sees
    seen = invert(run, images, None, restarts=1, steps=1)
    assert seen.label.tolist() == run.probabilities(images).argmax(1).tolist()
    np.testing.assert_array_equal(told(run, 2, 1, None), [1, 1])
    with pytest.raises(RequestError, match=r"--class 2: classes are 0\.\.1"):
        told(run, 2, 2, None)
    with pytest.raises(RequestError, match="told none"):
        told(explorer(), 2, 0, None)


def test_a_weight_of_features_is_one_more_of_pixels_where_they_are_the_features():
    """Adam does not care for a common factor: a weight of 3 divides that of the prior by 4."""
    run, images = explorer(), np.asarray(strokes(LATENTS @ KERNEL)) + 0.3
    by_features = invert(run, images, restarts=2, steps=30, feature_weight=3.0, prior_weight=0.4)
    by_pixels, heavier = (invert(run, images, restarts=2, steps=30, prior_weight=w) for w in (0.1, 0.4))
    np.testing.assert_allclose(by_features.latents, by_pixels.latents, atol=1e-3)
    assert np.abs(heavier.latents - by_pixels.latents).max() > 0.03


def test_the_search_begins_with_the_latents_of_its_seed():
    run, images = explorer(), np.asarray(strokes(LATENTS @ KERNEL))
    found = invert(run, images, restarts=4, steps=1, seed=3)
    starts = np.asarray(strokes(run.draw(3, 7, 12)[0] @ KERNEL)).reshape(3, 4, 16, 16, 1)
    errors = np.square(starts - images[:, None]).mean(axis=(2, 3, 4))
    np.testing.assert_allclose(found.start_errors, errors.min(axis=1), rtol=1e-4)


def test_pictures_from_files_folders_and_the_test_set(tmp_path):
    run = explorer()
    random = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1), np.uint8)
    run.kept["data"] = from_arrays("strokes", random, [0, 1, 0, 1], random[:2], [1, 0])
    for i, image in enumerate(random):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    names, images, label = read_pictures(run, ["test:1", str(tmp_path), str(tmp_path / "2.png")])
    assert names == ["test:1", *(str(tmp_path / f"{i}.png") for i in range(4)), str(tmp_path / "2.png")]
    np.testing.assert_array_equal(to_uint8(images), random[[1, 0, 1, 2, 3, 2]])
    assert label is None and read_pictures(run, ["test:1", "test:0"])[2].tolist() == [0, 1]
    # cut to the square, and brought to the size of the run
    Image.new("RGB", (60, 40), "white").save(tmp_path / "large.jpg")
    _, large, _ = read_pictures(run, [str(tmp_path / "large.jpg")])
    np.testing.assert_allclose(large, np.ones((1, 16, 16, 1)), atol=0.02)
    for name, message in (("test:2", r"has 0\.\.1"), ("test:x", r"has 0\.\.1"), ("nowhere", "no file or folder")):
        with pytest.raises(RequestError, match=message):
            read_pictures(run, [name])
