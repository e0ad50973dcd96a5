from dataclasses import replace

import numpy as np
import pytest

from jaxgan.data import domains, images, pairs, resizing
from jaxgan.data.domains import Domains
from jaxgan.data.pixels import Lazy
from jaxgan.data.transformations import TRANSFORMATIONS
from tests.data.files import in_memory, lazily, noise, refused


@pytest.mark.parametrize("lazy", [False, True])
def test_unpaired_domains_share_no_training_picture(colours, lazy):
    data = lazily(colours) if lazy else colours
    made = domains.unpaired(pairs.aligned(data, "negative"))
    assert made.aligned and made.size == (16, 16, 3) and (len(made.a.image), len(made.b.image)) == (10, 11)
    place = {picture.tobytes(): i for i, picture in enumerate(colours.image)}
    a = [place[(255 - picture).tobytes()] for picture in in_memory(made.a.image)]
    b = [place[picture.tobytes()] for picture in in_memory(made.b.image)]
    assert sorted(a + b) == list(range(21))
    np.testing.assert_array_equal(made.a.label, colours.label[a])
    np.testing.assert_array_equal(made.b.label, colours.label[b])
    # not the first and the last: folders are sorted by class
    assert 3 < np.sum(np.array(a) < 10) < 8
    np.testing.assert_array_equal(255 - in_memory(made.a.test_image), in_memory(made.b.test_image))
    np.testing.assert_array_equal(made.b.test_label, colours.test_label)
    again = domains.unpaired(pairs.aligned(data, "negative"))
    assert made.fingerprint == again.fingerprint and made.a.fingerprint != made.b.fingerprint


def test_unpaired_grey_sources_become_colour(colours):
    made = domains.unpaired(pairs.aligned(colours, "grey"))
    assert made.a.size == made.b.size == (16, 16, 3)
    assert (made.a.image == made.a.image[..., :1]).all() and not (made.b.image == made.b.image[..., :1]).all()
    np.testing.assert_array_equal(made.a.test_image[..., 2:], TRANSFORMATIONS["grey"](made.b.test_image))


def test_pairs_that_cannot_be_unpaired(colours):
    refused(lambda: domains.unpaired(pairs.aligned(colours, "low_resolution")), "4x4", "16x16", "one size")
    one = images.from_arrays("one", noise(1, 8, 8))
    refused(lambda: domains.unpaired(pairs.aligned(one, "sobel")), "one training pair")
    none = replace(one, image=np.zeros((0, 8, 8, 1), np.uint8))
    assert domains.unpaired(pairs.aligned(none, "sobel")).size == (8, 8, 1)


def test_joined_sets_have_one_size_and_one_number_of_channels(colours):
    grey = images.from_arrays("grey set", noise(4, 8, 10), np.array([0, 1, 1, 0]), note="few")
    made = domains.joined(grey, colours)
    assert made.name == "grey-set-to-blobs" and made.size == (16, 16, 3) and not made.aligned and made.note == "few"
    assert made.b is colours
    expected = resizing.resized(grey, 16).image
    np.testing.assert_array_equal(made.a.image, np.repeat(expected, 3, -1))
    assert made.a.resizer == "lanczos" and made.a.test_image is None and made.a.num_classes == 2
    small = domains.joined(colours, grey, size=8)
    assert small.size == (8, 8, 3)
    np.testing.assert_array_equal(small.b.image, np.repeat(grey.image[:, :, 1:9], 3, -1))
    assert small.fingerprint != made.fingerprint
    same = domains.joined(grey, grey)
    assert same.size == (8, 10, 1) and same.a is grey
    lazy = domains.joined(lazily(grey), lazily(colours))
    assert isinstance(lazy.a.image, Lazy)
    np.testing.assert_array_equal(in_memory(lazy.a.image), made.a.image)
    refused(lambda: Domains("d", grey, colours, False, ""), "grey set", "8x10x1", "16x16x3")
    refused(lambda: Domains("d", colours, replace(colours, test_image=None), True, ""), "5 and 0")


@pytest.mark.parametrize("lazy", [False, True])
def test_only_one_class_is_left(colours, lazy):
    data = lazily(colours) if lazy else colours
    for which in ("y", 1, "Y", "1"):
        made = domains.only(data, which)
        assert made.name == "blobs-y" and made.label is None and made.classes == () and made.test_label is None
        np.testing.assert_array_equal(in_memory(made.image), colours.image[1::3])
        np.testing.assert_array_equal(in_memory(made.test_image), colours.test_image[1::3])
    assert domains.only(data, 2).fingerprint != made.fingerprint


def test_names_of_classes_go_before_numbers():
    data = images.from_arrays("years", noise(4, 8, 8), [0, 1, 1, 2], noise(1, 8, 8), [0], ["1", "0", "a/b c"])
    np.testing.assert_array_equal(domains.only(data, "0").image, data.image[1:3])
    assert domains.only(data, "0").test_image is None
    assert domains.only(data, "A/B C").name == "years-a-b-c"
    refused(lambda: domains.only(data, "5"), "no class '5'", "'1', '0', 'a/b c'")
    refused(lambda: domains.only(domains.only(data, "0"), "0"), "unlabelled")
    absent = replace(data, classes=(*data.classes, "d"))
    refused(lambda: domains.only(absent, "d"), "no training picture", "'d'")


@pytest.mark.parametrize("lazy", [False, True])
def test_only_those_with_an_attribute_or_without_it_are_left(lazy):
    has, test_has = np.array([[1, 0], [0, 1], [1, 1], [0, 0]]), np.array([[0, 1], [1, 1]])
    told = {"attribute": has, "test_attribute": test_has, "attributes": ["Male", "2"]}
    faces = images.from_arrays("faces", noise(4, 8, 8), test_image=noise(2, 8, 8), **told)
    data = lazily(faces) if lazy else faces
    male, other = domains.only(data, "Male"), domains.only(data, "not-Male")
    assert (male.name, other.name) == ("faces-Male", "faces-not-Male") and male.attribute is None
    np.testing.assert_array_equal(in_memory(male.image), faces.image[[0, 2]])
    np.testing.assert_array_equal(in_memory(other.image), faces.image[[1, 3]])
    np.testing.assert_array_equal(in_memory(other.test_image), faces.test_image[[0]])
    second = domains.only(images.from_arrays("faces", faces.image, test_image=faces.test_image, **told), "not-2")
    assert second.name == "faces-not-2" and second.test_image is None
    np.testing.assert_array_equal(second.image, faces.image[[0, 3]])
    assert domains.only(data, "NOT-male").fingerprint == other.fingerprint
    assert len({male.fingerprint, other.fingerprint, faces.fingerprint}) == 3
    refused(lambda: domains.only(data, "not-Bald"), "no class 'not-Bald'", "the attributes 'Male', '2'")
    # a class of that name goes before
    both = images.from_arrays("faces", noise(4, 8, 8), [0, 1, 2, 2], attribute=has, attributes=["Male", "2"])
    np.testing.assert_array_equal(domains.only(both, "2").image, both.image[2:])
    refused(lambda: domains.only(both, "x"), "'0', '1', '2', numbered from 0, and the attributes 'Male', '2'")
