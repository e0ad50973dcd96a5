import numpy as np
import pytest

from jaxgan.data import images
from tests.data.files import noise, refused

# --- npz


def test_npz_holds_everything(tmp_path):
    train, test = noise(5, 4, 6), noise(2, 4, 6)
    path = tmp_path / "file.npz"
    np.savez(
        path, image=train, label=np.array([0, 2, 1, 0, 1]), test_image=test, test_label=np.array([1, 0], np.uint8),
        name="mnist-approx", note="2 of the 9 test images", classes=["a", "b", "c"],
    )  # fmt: skip
    data = images.npz(path)
    assert (data.name, data.note, data.classes) == ("mnist-approx", "2 of the 9 test images", ("a", "b", "c"))
    assert data.size == (4, 6, 1) and data.label.dtype == data.test_label.dtype == np.int32
    np.testing.assert_array_equal(data.image[..., 0], train)
    np.testing.assert_array_equal(data.test_image[..., 0], test)
    np.testing.assert_array_equal(data.test_label, [1, 0])


def test_npz_needs_only_images(tmp_path):
    np.savez(tmp_path / "plain.npz", image=noise(5, 4, 4, 3))
    data = images.npz(tmp_path / "plain.npz")
    assert data.name == "plain" and data.label is None and data.classes == () and data.test_image is None


def test_npz_mistakes_are_explained(tmp_path):
    path = tmp_path / "file.npz"
    refused(lambda: images.npz(path), "no file", "file.npz")
    path.write_bytes(b"nothing")
    refused(lambda: images.npz(path), "not an .npz")
    with path.open("wb") as file:
        np.save(file, noise(3, 4, 4))
    refused(lambda: images.npz(path), "not an .npz")
    np.savez(path, image=noise(90, 9, 9))
    damaged = bytearray(path.read_bytes())
    damaged[1000] ^= 1
    path.write_bytes(damaged)
    refused(lambda: images.npz(path), "damaged")
    np.savez(path, image=np.array([{}], object))
    refused(lambda: images.npz(path), "pickled")
    good = noise(3, 4, 4)
    for content, words in [
        ({"x_train": good}, ["no 'image'", "'x_train'", "test_label"]),
        ({"image": good, "labels": np.zeros(3, int)}, ["unknown 'labels'"]),
        ({"image": good / 255}, ["float64", "uint8"]),
        ({"image": good[0]}, ["uint8 [4, 4]", "[n, height, width]"]),
        ({"image": good[:0]}, ["empty"]),
        ({"image": good, "label": np.zeros(4, int)}, ["4 values in label for 3 images"]),
        ({"image": good, "label": np.zeros(3)}, ["float64", "integers"]),
        ({"image": good, "label": np.array([0, -1, 0])}, ["-1"]),
        ({"image": good, "label": np.array([0, 5, 0]), "classes": ["a", "b"]}, ["label 5", "2 class names"]),
        ({"image": good, "classes": ["a", "b"]}, ["no labels"]),
        ({"image": good, "test_label": np.zeros(3, int)}, ["test_label without test_image"]),
        ({"image": good, "test_image": noise(3, 5, 5)}, ["[5, 5, 1]", "[4, 4, 1]"]),
        ({"image": good, "label": np.zeros(3, int), "test_image": good}, ["both or neither"]),
    ]:
        np.savez(path, **content)
        refused(lambda: images.npz(path), "file.npz", *words)


# --- attributes

HAS = np.array([[1, 0], [0, 0], [1, 1], [0, 1], [1, 0]])


def test_npz_holds_attributes(tmp_path):
    arrays = {"image": noise(5, 8, 8), "attribute": HAS, "attributes": np.array(["Male", "Young"])}
    np.savez(tmp_path / "faces.npz", **arrays, test_image=noise(2, 8, 8), test_attribute=HAS[1:3] == 1)
    data = images.npz(tmp_path / "faces.npz")
    assert data.attributes == ("Male", "Young") and data.attribute.dtype == np.uint8 and data.num_classes == 0
    np.testing.assert_array_equal(data.attribute, HAS)
    np.testing.assert_array_equal(data.test_attribute, HAS[1:3])
    plain = images.from_arrays("faces", arrays["image"])
    assert len({data.fingerprint, plain.fingerprint, images.fingerprint(data.image, None, 1 - HAS)}) == 3
    assert plain.attribute is None and plain.attributes == ()


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"attribute": HAS}, ("2", "0 names")),
        ({"attribute": HAS, "attributes": ["a", "b", "c"]}, ("[5, 2]", "3 names")),
        ({"attribute": HAS[:4], "attributes": ["a", "b"]}, ("[4, 2]", "5 images")),
        ({"attribute": HAS[:, 0], "attributes": ["a"]}, ("[5]", "[n, attributes]")),
        ({"attribute": HAS / 2, "attributes": ["a", "b"]}, ("float64",)),
        ({"attribute": 2 * HAS - 1, "attributes": ["a", "b"]}, ("-1 to 1", "0 and 1")),
        ({"attribute": HAS, "attributes": ["a", "a"]}, ("two attributes have one name",)),
        ({"attributes": ["a"]}, ("'a'", "no attribute")),
        ({"attribute": HAS, "attributes": ["a", "b"], "test_image": HAS[:, None, :].astype(np.uint8)}, ("only one",)),
    ],
)
def test_attributes_that_do_not_fit_are_explained(told, words):
    refused(lambda: images.from_arrays("faces", np.zeros((5, 1, 2), np.uint8), **told), *words)
