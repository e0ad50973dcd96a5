import json

import numpy as np
import pytest

from jaxgan.config import Options, RequestError
from jaxgan.data import domains, images, pairs
from jaxgan.data.domains import Domains
from jaxgan.data.images import Images
from jaxgan.data.pairs import Pairs
from jaxgan.recipes.dataset import Data, describe, need_domains, need_images, need_pairs, open_data, recall

RNG = np.random.default_rng(0)


def blobs(**changes) -> Images:
    """9 training and 4 test pictures of 16x24 in two classes."""
    image, test_image = (RNG.integers(0, 256, (n, 16, 24, 3), np.uint8) for n in (9, 4))
    return images.from_arrays("blobs", image, np.arange(9) % 2, test_image, np.arange(4) % 2, ["x", "y"], **changes)


KINDS = {
    "images": blobs,
    "attributes": lambda: blobs(
        attribute=np.ones((9, 2), int), test_attribute=np.zeros((4, 2), int), attributes=["Male", "Young"]
    ),
    "pairs": lambda: pairs.aligned(blobs(note="few", resizer="box"), "grey"),
    "small sources": lambda: pairs.aligned(blobs(), "low_resolution"),
    "unpaired": lambda: domains.unpaired(pairs.aligned(blobs(), "canny")),
    "joined": lambda: domains.joined(blobs(note="few"), images.from_arrays("z", np.zeros((2, 8, 8), np.uint8)), 8),
    "ring": lambda: open_data(Options(data="ring")),
}


def refused(call, *words: str) -> None:
    with pytest.raises(RequestError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("kind", KINDS)
def test_a_description_recalls_everything_but_the_examples(kind):
    data: Data = KINDS[kind]()
    described = json.loads(json.dumps(describe(data)))
    assert described == describe(data)
    empty = recall(described)
    assert type(empty) is type(data) and empty.name == data.name

    def same(one: Images | Pairs, other: Images | Pairs, shapes: tuple[str, ...], parts: tuple[str, ...]) -> None:
        for field in ("name", "fingerprint", "classes", "num_classes", "note", "resizer", *shapes):
            assert getattr(one, field) == getattr(other, field), field
        for part in parts:
            assert len(getattr(other, part)) == 0 and getattr(other, part).dtype == np.uint8
        assert (one.label is None) == (other.label is None)

    if isinstance(data, Images):
        same(data, empty, ("size", "attributes"), ("image",))
        assert (empty.attribute is None) == (data.attribute is None)
        assert empty.attribute is None or empty.attribute.shape == (0, 2)
        assert (described["n_train"], described["n_test"]) == (9, 4)
    elif isinstance(data, Pairs):
        same(data, empty, ("source_size", "target_size", "factor"), ("source", "target"))
        assert (described["n_train"], described["n_test"]) == (9, 4)
    elif isinstance(data, Domains):
        for one, other in ((data.a, empty.a), (data.b, empty.b)):
            same(one, other, ("size",), ("image",))
        for field in ("aligned", "fingerprint", "note", "size"):
            assert getattr(data, field) == getattr(empty, field)
        counts = [described[half][part] for half in "ab" for part in ("n_train", "n_test")]
        assert counts == ([4, 4, 5, 4] if kind == "unpaired" else [9, 4, 2, 0])


def test_recalled_images_become_pairs_and_domains_of_the_same_shape():
    data = blobs()
    empty = recall(describe(data))
    for task in ("canny", "low_resolution", "grey", "segments"):
        made, hollow = need_pairs(data, task), need_pairs(empty, task)
        assert (hollow.source_size, hollow.target_size) == (made.source_size, made.target_size)
        assert len(hollow.source) == 0 and hollow.name == made.name
    made, hollow = need_domains(data, "grey"), need_domains(empty, "grey")
    assert hollow.size == made.size and hollow.aligned and len(hollow.a.image) == len(hollow.b.image) == 0


def test_each_recipe_gets_its_kind():
    data = {kind: make() for kind, make in KINDS.items()}
    assert need_images(data["images"]) is data["images"]
    for kind, words in (
        ("ring", ["set of points", "train ring"]),
        ("pairs", ["'blobs-grey' is pairs", "train pix2pix"]),
        ("joined", ["is two domains", "train cyclegan"]),
    ):
        refused(lambda kind=kind: need_images(data[kind]), *words)

    assert need_pairs(data["pairs"], None) is data["pairs"] is need_pairs(data["pairs"], "canny")
    made = need_pairs(data["images"], "negative")
    np.testing.assert_array_equal(made.source, 255 - data["images"].image)
    assert need_pairs(data["images"], "negative") is made is not need_pairs(data["images"], "sobel")
    refused(lambda: need_pairs(data["images"], None), "one set of images", "--task canny", "pairs:PATH")
    refused(lambda: need_pairs(data["images"], "cany"), "--task cany", "canny, sobel")
    refused(lambda: need_pairs(data["joined"], "canny"), "two domains", "pairs:PATH")
    refused(lambda: need_pairs(data["ring"], "canny"), "set of points", "--task")

    assert need_domains(data["joined"], None) is data["joined"]
    found = need_domains(data["images"], "negative")
    assert found.aligned and found.fingerprint == domains.unpaired(made).fingerprint
    assert need_domains(data["pairs"], None).fingerprint == domains.unpaired(data["pairs"]).fingerprint
    refused(lambda: need_domains(data["images"], None), "one set of images", "X+Y", "domains:PATH", "--task")
    refused(lambda: need_domains(data["ring"], "canny"), "set of points")
    refused(lambda: need_domains(data["images"], "low_resolution"), "one size")
    refused(lambda: need_domains(data["small sources"], None), "one size")


def test_options_open_pairs_and_domains(tmp_path):
    assert isinstance(open_data(Options(data="digits:3+digits:8", data_dir=str(tmp_path), size=16)), Domains)
    refused(lambda: open_data(Options(data=f"pairs:{tmp_path / 'no'}")), "no folder")
