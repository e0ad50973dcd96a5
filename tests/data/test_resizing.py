import numpy as np

from jaxgan.data.folders import folder
from jaxgan.data.images import from_arrays
from jaxgan.data.pixels import Lazy
from jaxgan.data.resizing import resized
from tests.data.files import noise, refused


def test_resized_changes_size_and_fingerprint(tmp_path):
    data = from_arrays("x", noise(4, 12, 16, 3), [0, 1, 0, 1], noise(2, 12, 16, 3), [0, 1])
    small = resized(data, 6, "box")
    assert small.size == (6, 6, 3) and small.test_image.shape == (2, 6, 6, 3) and small.resizer == "box"
    expected = data.image[:, :, 2:14].reshape(4, 6, 2, 6, 2, 3).astype(float).mean((2, 4))
    np.testing.assert_allclose(small.image, expected, atol=1.0)
    assert small.fingerprint != data.fingerprint
    assert resized(small, 6) is small
    told = {"attribute": [[1], [0], [0], [1]], "test_attribute": [[1], [1]], "attributes": ["Male"]}
    faces = resized(from_arrays("x", data.image, test_image=data.test_image, **told), 6, "box")
    assert faces.attribute.ravel().tolist() == [1, 0, 0, 1] and faces.attributes == ("Male",)
    unsaid = resized(from_arrays("x", data.image, test_image=data.test_image), 6, "box")
    assert faces.fingerprint != unsaid.fingerprint and faces.test_fingerprint != unsaid.test_fingerprint
    refused(lambda: resized(data, 6, "cubic"), "'cubic'")
    refused(lambda: resized(data, 0), "size 0")


def test_resized_keeps_lazy_images_lazy(classes_folder):
    lazy = resized(folder(classes_folder, limit_bytes=0), 4)
    memory = resized(folder(classes_folder), 4)
    assert isinstance(lazy.image, Lazy) and lazy.image.shape == (6, 4, 4, 3)
    np.testing.assert_array_equal(np.stack([lazy.image[i] for i in range(6)]), memory.image)
