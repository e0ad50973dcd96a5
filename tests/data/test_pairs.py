from dataclasses import replace

import numpy as np
import pytest

from jaxgan.data import images, pairs
from jaxgan.data.pairs import Pairs
from jaxgan.data.pixels import Lazy
from jaxgan.data.transformations import TRANSFORMATIONS
from tests.data.files import in_memory, lazily, noise, refused


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_aligned_pictures_and_what_they_become(colours, name):
    made = pairs.aligned(colours, name)
    assert made.name == f"blobs-{name}" and made.classes == ("x", "y", "z") and made.num_classes == 3
    assert made.target is colours.image and made.label is colours.label and made.test_label is colours.test_label
    for target, source in zip(colours.image, made.source, strict=True):
        np.testing.assert_array_equal(TRANSFORMATIONS[name](target), source)
    np.testing.assert_array_equal(TRANSFORMATIONS[name](made.test_target), made.test_source)
    assert made.source_size == made.source.shape[1:] and made.target_size == (16, 16, 3)
    assert made.factor == (4 if name == "low_resolution" else 1)
    lazy = pairs.aligned(lazily(colours), name)
    assert isinstance(lazy.source, Lazy) and lazy.source_size == made.source_size
    np.testing.assert_array_equal(in_memory(lazy.source), made.source)
    np.testing.assert_array_equal(in_memory(lazy.test_target), made.test_target)
    none = pairs.aligned(replace(colours, image=np.zeros((0, 16, 16, 3), np.uint8), test_image=None), name)
    assert len(none.source) == 0 and none.source_size == made.source_size and none.factor == made.factor


def test_more_pictures_than_are_changed_at_once():
    data = images.from_arrays("many", noise(1203, 8, 8))
    np.testing.assert_array_equal(pairs.aligned(data, "sobel").source, TRANSFORMATIONS["sobel"](data.image))


def test_fingerprints_tell_transformations_and_pictures_apart(colours):
    made = {name: pairs.aligned(colours, name) for name in TRANSFORMATIONS}
    lazy = {name: pairs.aligned(lazily(colours), name) for name in TRANSFORMATIONS}
    seen = [one.fingerprint for one in (*made.values(), *lazy.values())]
    assert len(set(seen)) == len(seen) and all(len(one) == 64 for one in seen)
    assert pairs.aligned(colours, "canny").fingerprint == made["canny"].fingerprint
    other = colours.image.copy()
    other[20, 3, 5, 1] ^= 128
    changed = images.from_arrays("blobs", other, colours.label, classes="xyz")
    assert pairs.aligned(changed, "masked").fingerprint != made["masked"].fingerprint
    assert made["canny"].test_fingerprint not in ("", made["canny"].fingerprint)
    assert pairs.aligned(changed, "canny").test_fingerprint == ""


def test_lazy_pairs_decode_once(colours):
    decoded = []
    image = Lazy(lambda i: decoded.append(i) or colours.image[i], colours.image.shape)
    made = pairs.aligned(replace(colours, image=image), "sobel")
    for i in (4, 2):
        made.source[i], made.target[i]
    assert decoded == [4, 2]


def test_pairs_must_fit(colours):
    refused(lambda: pairs.aligned(colours, "cany"), "'cany'", "canny, sobel")
    grey = images.from_arrays("grey", noise(3, 8, 8))
    refused(lambda: pairs.aligned(grey, "grey"), "grey already")
    image = colours.image
    good = Pairs("p", image, image, None, None, None, None, (), "")
    for part, words in [
        ({"source": image[:, :8]}, ["16x16", "8x16", "whole multiple"]),
        ({"source": image[:, :6, :6]}, ["16x16", "6x6"]),
        ({"source": image[:20]}, ["20 sources", "21 targets"]),
        ({"test_source": image}, ["one half"]),
        ({"test_source": image[:2], "test_target": image[:3]}, ["2 sources", "3 targets"]),
    ]:
        refused(lambda part=part: replace(good, **part), *words)
