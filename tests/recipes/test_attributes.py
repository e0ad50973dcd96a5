"""Attributes as domains: how they are chosen and measured, and how what was made is judged by known translators."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import Options, RequestError
from jaxgan.data.images import Images, from_arrays
from jaxgan.data.pixels import Lazy
from jaxgan.evaluation.features import FeatureNet
from jaxgan.recipes import attributes
from jaxgan.recipes.attributes import Way, choose

RANDOM = np.random.default_rng(0)
NAMES = ("left", "middle", "right")
N, TESTS = 40, 24


def faces(label: bool = False, tests: int = TESTS) -> tuple[Images, np.ndarray]:
    """Pictures [n, 8, 12, 1] whose thirds are bright where they have an attribute, and which they have in the tests."""
    has = RANDOM.integers(0, 2, (N + tests, 3))
    image = (40 + 150 * has.repeat(4, axis=1)[:, None, :, None].repeat(8, axis=1)).astype(np.uint8)
    labels = (np.arange(N) % 2, np.arange(tests) % 2) if label else (None, None)
    told = {"attribute": has[:N], "test_attribute": has[N:], "attributes": NAMES}
    return from_arrays("faces", image[:N], labels[0], image[N:], labels[1], **told), has[N:]


def third(k: int):
    return lambda images: images[:, :, 4 * k : 4 * k + 4].mean(axis=(1, 2, 3))


def of_brightness(features: str, images: Images, **_) -> FeatureNet:
    """Tells an attribute by its third, and a class by the pixel that no attribute changes: none here."""
    assert features == "classifier"
    if images.name == "faces":
        return FeatureNet("classes", third(0), lambda x: jnp.tile(jnp.array([[0.9, 0.1]]), (len(x), 1)), "0" * 64)
    name = images.name.removeprefix("faces-")
    assert images.classes == (f"not-{name}", name) and images.num_classes == 2
    score = third(NAMES.index(name))
    # what it learned from, and what it is tested on
    for image, label in ((images.image, images.label), (images.test_image, images.test_label)):
        np.testing.assert_array_equal(score(image) > 100, label)
    return FeatureNet("thirds", score, lambda x: jax.nn.softmax(jnp.stack([-score(x), score(x)], axis=1)), name * 20)


@pytest.fixture(autouse=True)
def judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "feature_net", of_brightness)


def painting(way: Way, names=NAMES):
    """Does what is asked for, and nothing else. names: of the columns."""

    def translate(state, images, key):
        for column, value in zip(way.columns, way.values, strict=True):
            start = 4 * NAMES.index(names[column])
            images = images.at[:, :, start : start + 4].set(0.5 if value else -0.7)
        return images

    return translate


def evaluated(chosen, ways, **options):
    found = attributes.attribute_evaluation(chosen, Options(**options), ways)
    return found(None, jax.random.key(0))


# -- choosing


def test_one_attribute_comes_and_goes_and_of_a_group_one_comes():
    images, tests = faces()
    chosen = choose(images, ["right/left", "middle"])
    assert chosen.images.attributes == ("right", "left", "middle")
    np.testing.assert_array_equal(chosen.images.attribute, images.attribute[:, [2, 0, 1]])
    np.testing.assert_array_equal(chosen.images.test_attribute, tests[:, [2, 0, 1]])
    assert chosen.ways == {
        "right": Way((0, 1), (1, 0)),
        "left": Way((0, 1), (0, 1)),
        "middle": Way((2,), (1,)),
        "not-middle": Way((2,), (0,)),
    }
    assert set(chosen.thresholds.values()) == {None}


@pytest.mark.parametrize("lazy", [False, True])
def test_what_handwriting_has_is_measured_and_half_of_it_has_it(lazy):
    image = np.zeros((9, 8, 12, 1), np.uint8)
    thickness = RANDOM.permutation(9)
    for i, width in enumerate(thickness):
        image[i, 2:6, 1 : 2 + width] = 255
    test = image[:2]
    images = from_arrays("bars", image, test_image=test)
    if lazy:
        held = Lazy(lambda i: image[i], image.shape)
        images = Images("bars", held, None, test, None, (), "x")
    chosen = choose(images, ["wide", "narrow"])
    np.testing.assert_array_equal(chosen.images.attribute[:, 0], thickness > 4)
    np.testing.assert_array_equal(chosen.images.attribute[:, 1], thickness < 4)
    np.testing.assert_array_equal(chosen.images.test_attribute[:, 0], thickness[:2] > 4)
    # the data's own word goes before what is measured
    said = thickness[:, None] == 3
    own = choose(from_arrays("bars", image, attribute=said, attributes=["wide"]), ["wide"])
    np.testing.assert_array_equal(own.images.attribute, said)
    assert own.thresholds == {"wide": None}
    # as a run's folder recalls them
    empty = choose(Images("bars", image[:0], None, None, None, (), "x"), ["thick", "slanted-left"])
    assert empty.images.attributes == ("thick", "slanted-left") and empty.images.attribute.shape == (0, 2)


def test_wrong_words_are_explained():
    images, _ = faces()
    assert chosen_named(["x/y", "z"])[0] == ("x/y", "z")
    for words, said in (
        (["left/", "middle"], "left/ middle: between two strokes there is a name"),
        (["bald"], "faces has the attributes 'left', 'middle', 'right', and measured are thick, thin"),
        (["left", "middle/left"], "names left twice"),
    ):
        with pytest.raises(RequestError, match=said):
            choose(images, words)
    with pytest.raises(RequestError, match="not-x would mean two things"):
        chosen_named(["not-x", "x"])
    for value, said in ((1, "all pictures of faces have it"), (0, "no pictures of faces have it")):
        alike = from_arrays("faces", images.image, attribute=np.full((N, 1), value), attributes=["left"])
        with pytest.raises(RequestError, match=said):
            choose(alike, ["left"])
    with pytest.raises(RequestError, match="no attributes of its own"):
        choose(from_arrays("x", images.image), ["bald"])


def chosen_named(names):
    has = np.arange(2 * N).reshape(N, 2) % 3 == 0
    chosen = choose(from_arrays("faces", faces()[0].image, attribute=has, attributes=names), names)
    return chosen.images.attributes, chosen.ways


def test_half_of_the_pictures_have_what_is_measured_however_it_is_spread():
    image = np.zeros((7, 8, 12, 1), np.uint8)
    for i, width in enumerate((1, 1, 2, 2, 3, 9, 10)):
        image[i, 2:6, 1 : 1 + width] = 255
    # a mean would be 4
    assert choose(from_arrays("bars", image), ["wide"]).images.attribute.ravel().tolist() == [0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("lazy", [False, True])
def test_each_attribute_has_a_judge_of_its_own(lazy):
    images, _ = faces()
    if lazy:
        images = replace(images, image=Lazy(lambda i: images.image[i], images.image.shape), fingerprint="f")
    prints = {attributes.parted(images, name).fingerprint for name in NAMES}
    assert len({*prints, images.fingerprint}) == 4


# -- judging


def test_translators_that_do_as_they_are_told_and_nothing_else():
    images, _ = faces()
    chosen = choose(images, ["left", "middle/right"])
    found = evaluated(chosen, {name: painting(way, chosen.images.attributes) for name, way in chosen.ways.items()})
    assert (found["accuracy"], found["accuracy_worst"], found["accuracy_before"]) == (1, 1, 0)
    assert found["others_kept"] == 1 and "class_kept" not in found
    # their levels are one off at most
    assert found["cycle_l1"] < 1.5 / 255
    assert (found["n_fake"], found["split"], found["features"]) == (TESTS, "test", "thirds")


def test_translators_that_do_nothing():
    images, _ = faces(label=True)
    chosen = choose(images, NAMES)
    found = evaluated(chosen, dict.fromkeys(chosen.ways, lambda state, images, key: images))
    assert (found["accuracy"], found["accuracy_before"], found["others_kept"], found["cycle_l1"]) == (0, 0, 1, 0)
    # the classifier says the first class of all
    assert found["class_kept"] == pytest.approx(0.5, abs=0.15)


def test_translators_that_change_another_attribute():
    images, tests = faces(tests=200)
    chosen = choose(images, ["left", "right"])
    ways = {
        "left": lambda state, images, key: painting(Way((0, 2), (1, 1)))(state, images, key),
        "not-left": painting(Way((0,), (0,))),
        "right": painting(Way((2,), (0,))),
        "not-right": painting(Way((2,), (0,))),
    }
    found = evaluated(chosen, ways)
    # "right" takes right away from those who never had it: of four ways three are as asked
    assert (found["accuracy"], found["accuracy_worst"]) == (0.75, 0)
    lost = np.mean(tests[tests[:, 0] == 0, 2] == 0)
    assert 0.3 < lost < 0.7
    assert found["others_kept"] == pytest.approx((1 - lost + 3) / 4)


def test_measured_attributes_need_no_classifier():
    image = np.zeros((30, 8, 12, 1), np.uint8)
    for i in range(30):
        image[i, 2:6, 1 : 2 + i % 9] = 255
    images = from_arrays("bars", image)
    chosen = choose(images, ["wide"])

    def widest(state, images, key):
        return jnp.full_like(images, -1.0).at[:, 2:6, 1:11].set(1.0)

    found = evaluated(chosen, {"wide": widest, "not-wide": widest}, features="random-conv")
    assert (found["accuracy"], found["accuracy_worst"], found["accuracy_before"]) == (0.5, 0, 0)
    assert (found["features"], found["split"], "others_kept" in found) == ("measured", "train", False)


def test_judges_that_err_are_compared_with_themselves_and_pictures_with_the_data(monkeypatch):
    """This judge of the middle says the contrary where the left is bright."""

    def erring(features, images):
        if images.name != "faces-middle":
            return of_brightness(features, images)

        def classify(x):
            score = (third(1)(x)) * jnp.where(third(0)(x) > 0, -1, 1)
            return jax.nn.softmax(jnp.stack([-score, score], axis=1))

        return FeatureNet("erring", third(1), classify, "1" * 64)

    monkeypatch.setattr(attributes, "feature_net", erring)
    images, tests = faces(tests=200)
    chosen = choose(images, ["right", "middle"])
    found = evaluated(chosen, dict.fromkeys(chosen.ways, lambda state, images, key: images))
    # no change is no change, however wrong both looks are; of the middle it is right already where it errs
    assert found["others_kept"] == 1
    errs = [np.mean(tests[tests[:, 1] == value, 0] == 1) for value in (0, 1)]
    assert found["accuracy_before"] == found["accuracy"] == pytest.approx(sum(errs) / 4)
    # the way back is to what the data say a picture was
    found = evaluated(chosen, {name: painting(way, chosen.images.attributes) for name, way in chosen.ways.items()})
    assert found["cycle_l1"] < 1.5 / 255


def test_of_attributes_that_exclude_each_other_all_must_be_as_asked():
    images, tests = faces(tests=200)
    chosen = choose(images, ["left/right"])

    def added(state, images, key):
        # left comes, and right does not go
        return images.at[:, :, :4].set(0.5)

    found = evaluated(chosen, {"left": added, "right": painting(chosen.ways["right"], ("left", "right"))})
    # asked of all that are not so already: left alone
    asked = tests[(tests[:, 0] != 1) | (tests[:, 2] != 0)]
    assert found["accuracy_worst"] == pytest.approx(np.mean(asked[:, 2] == 0))
    assert found["accuracy"] == pytest.approx((1 + np.mean(asked[:, 2] == 0)) / 2)


def test_of_the_translated_pictures_the_class_is_asked(monkeypatch):
    images, tests = faces(label=True)
    # the class is said by the middle third
    label, test_label = images.attribute[:, 1].astype(np.int32), tests[:, 1].astype(np.int32)
    images = replace(images, label=label, test_label=test_label)

    def by_the_middle(features, images):
        if images.name != "faces":
            return of_brightness(features, images)
        classify = lambda x: jax.nn.softmax(jnp.stack([-third(1)(x), third(1)(x)], axis=1))  # noqa: E731
        return FeatureNet("classes", third(1), classify, "2" * 64)

    monkeypatch.setattr(attributes, "feature_net", by_the_middle)
    chosen = choose(images, ["left", "middle"])
    found = evaluated(chosen, {name: painting(way, chosen.images.attributes) for name, way in chosen.ways.items()})
    # two ways of four change the class of all whom they are asked of
    assert found["class_kept"] == 0.5


def test_which_pictures_are_measured():
    chosen = choose(faces(tests=5)[0], ["left"])
    nothing = dict.fromkeys(chosen.ways, lambda state, images, key: images)
    found = evaluated(chosen, nothing)
    assert (found["split"], found["n_fake"]) == ("train", N)
    # each goes one of the two ways
    assert evaluated(chosen, nothing, evaluate_samples=12)["n_fake"] == 12


def test_features_that_know_nothing_of_an_attribute_say_nothing():
    chosen = choose(faces()[0], ["left", "right"])
    ways = {name: painting(way, ("left", "right")) for name, way in chosen.ways.items()}
    found = evaluated(chosen, ways, features="random-conv")
    assert all(np.isnan(found[name]) for name in ("accuracy", "accuracy_worst", "accuracy_before", "others_kept"))
    assert found["cycle_l1"] < 1.5 / 255 and found["features"] == "none"
