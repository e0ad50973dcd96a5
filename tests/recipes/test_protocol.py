"""The protocol of an evaluation: what rows say, which images are read, and what is kept."""

import numpy as np
import pytest
from PIL import Image

from jaxgan.config import RequestError
from jaxgan.data import images as data
from jaxgan.data.folders import folder
from jaxgan.evaluation.features import FeatureNet, features, pixels, random_conv
from jaxgan.evaluation.frechet import frechet_distance, moments
from jaxgan.evaluation.rows import difference
from jaxgan.recipes import protocol
from jaxgan.recipes.protocol import Protocol, chosen, evaluate, read_images, refer

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def images() -> data.Images:
    train, test = (RNG.integers(low, 256, (n, 8, 8, 1), np.uint8) for n, low in ((90, 0), (40, 60)))
    label = np.arange(90, dtype=np.int32) % 3
    return data.from_arrays("stripes", train, label, test, label[:40])


def test_a_row_is_the_metrics_and_how_they_were_measured(images):
    net = random_conv((8, 8, 1))
    fake = RNG.integers(0, 200, (50, 8, 8, 1), np.uint8)
    reference = refer(images, net)
    row = evaluate(reference, [(fake[:30], None), (fake[30:], None)], ["frechet"])
    expected = frechet_distance(moments(features(net, images.image)), moments(features(net, fake)))
    np.testing.assert_allclose(row["frechet_distance"], expected, rtol=1e-6)
    assert row["n_real"] == 90 and row["n_fake"] == 50 and row["split"] == "train" and row["resizer"] == "none"
    assert row["features"] == net.name and row["features_hash"] == net.identity[:16]
    on_test = evaluate(refer(images, net, "test"), [(fake, None)], ["frechet"])
    assert on_test["n_real"] == 40 and on_test["frechet_distance"] != row["frechet_distance"]
    # the first field that differs is named, counts included
    assert difference(row, row) is None
    assert difference(row, on_test) == "n_real: 90 and 40"
    on_pixels = evaluate(refer(images, pixels((8, 8, 1))), [(fake, None)], ["frechet"])
    assert difference(row, on_pixels) == f"features: {net.name} and pixels"


def test_floats_are_measured_at_256_levels(images):
    reference = refer(images, pixels((8, 8, 1)))
    levels = RNG.integers(0, 256, (40, 8, 8, 1), np.uint8)
    floats = levels / np.float32(127.5) - 1 + RNG.uniform(-0.003, 0.003, levels.shape).astype(np.float32)
    rows = [evaluate(reference, [(one, None)], ["frechet"]) for one in (levels, floats)]
    assert rows[0]["frechet_distance"] == rows[1]["frechet_distance"]


def test_features_of_a_reference_are_computed_once(images, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    net = random_conv((8, 8, 1), seed=5)
    first = refer(images, net, metrics=["memorisation"])
    assert len(list(tmp_path.rglob("*.npy"))) == 2 and first.held_out is not None and first.training is first.real

    def never(*arguments):
        raise AssertionError("computed again")

    monkeypatch.setattr(protocol, "features", never)
    np.testing.assert_array_equal(refer(images, net).real, first.real)
    # half a file is no cache, and another net's is another's
    for length in (100, 0):
        for path in tmp_path.rglob("*.npy"):
            path.write_bytes(path.read_bytes()[:length])
        for other in (net, random_conv((8, 8, 1), seed=6)):
            with pytest.raises(AssertionError, match="computed again"):
                refer(images, other)


def test_copies_of_the_training_images_are_caught(images):
    net = pixels((8, 8, 1))
    reference = refer(images, net, metrics=["memorisation"])
    copies = evaluate(reference, [(images.image[:60], None)], ["memorisation"])
    fresh = RNG.integers(0, 256, (60, 8, 8, 1), np.uint8)
    others = evaluate(reference, [(fresh, None)], ["memorisation"])
    assert copies["authenticity"] == 0.0 and copies["copying_z"] < -5
    assert others["authenticity"] > 0.3


@pytest.mark.parametrize("key", ["samples", "image", "arr_0"])
def test_archives_and_folders_are_read(tmp_path, key):
    image = RNG.integers(0, 256, (5, 6, 6, 3), np.uint8)
    np.savez(tmp_path / "some.npz", **{key: image})
    np.testing.assert_array_equal(read_images(tmp_path / "some.npz"), image)
    np.savez(tmp_path / "floats.npz", **{key: image / 127.5 - 1})
    np.testing.assert_array_equal(read_images(tmp_path / "floats.npz"), image)
    for i, one in enumerate(image):
        Image.fromarray(one).save(tmp_path / f"{i}.png")
    (tmp_path / "some.npz").unlink()
    (tmp_path / "floats.npz").unlink()
    found = np.concatenate([part for part, _ in chosen(read_images(tmp_path), None, 0)])
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"picture": np.zeros((2, 4, 4, 1))}, "has no array samples"),
        ({"image": np.zeros((2, 4, 4, 1, 1))}, "got shape"),
        ({"image": np.zeros((2, 4, 4, 1))}, r"lies in \[0, 1\]"),
        ({"image": np.array([None])}, "cannot be read"),
        ({"image": np.full((2, 4, 4, 1), 7.0)}, r"uint8 or floats in \[-1, 1\]"),
        ({"image": np.zeros((2, 4, 4, 1), np.int64)}, r"uint8 or floats in \[-1, 1\]"),
    ],
)
def test_archives_that_hold_no_images(tmp_path, arrays, message):
    np.savez(tmp_path / "some.npz", **arrays)
    with pytest.raises(RequestError, match=message):
        read_images(tmp_path / "some.npz")


def test_requests_that_cannot_be_measured(images, tmp_path):
    for wrong, message in (
        ({"metrics": ("fid",)}, "there is no such metric"),
        ({"split": "all"}, "train or test"),
        ({"n": 1}, "at least 2"),
        ({"seed": -1}, "--seed lies in"),
    ):
        with pytest.raises(RequestError, match=message):
            Protocol(**wrong)
    with pytest.raises(RequestError, match="neither a run, a folder of images nor"):
        read_images(tmp_path / "nothing.npz")
    net = pixels((8, 8, 1))
    with pytest.raises(RequestError, match="names classes"):
        evaluate(refer(images, net), [(images.image, None)], ["classes"])
    assert "classes" not in Protocol().chosen(net)
    judge = FeatureNet("judge", net.extract, lambda x: x, "00")
    assert "classes" in Protocol().chosen(judge)
    without = data.from_arrays("train only", images.image, images.label)
    with pytest.raises(RequestError, match="has no test images"):
        refer(without, net, "test")


def test_copies_are_looked_for_in_what_the_generator_learned_from(images):
    net = pixels((8, 8, 1))
    other = data.from_arrays("other", RNG.integers(0, 256, (70, 8, 8, 1), np.uint8))
    reference = refer(other, net, metrics=["memorisation"], learned=images)
    row = evaluate(reference, [(images.image[:60], None)], ["frechet", "memorisation"])
    assert row["authenticity"] == 0.0 and row["n_real"] == 70 and row["reference"] == "other"
    assert row["training_hash"] == images.fingerprint[:16] != row["reference_hash"]
    # the data that are compared with were not learned from
    assert evaluate(reference, [(other.image, None)], ["memorisation"])["authenticity"] > 0.3


def test_part_of_a_folder_is_of_all_its_classes():
    image = np.arange(30, dtype=np.uint8).reshape(30, 1, 1, 1)
    found = np.concatenate([part for part, _ in chosen(image, 10, seed=1)]).ravel()
    assert len(set(found)) == 10 and found.max() > 20 and list(found) == sorted(found)
    again = np.concatenate([part for part, _ in chosen(image, 10, seed=2)]).ravel()
    assert set(found) != set(again)


def test_the_test_part_of_a_lazy_folder_has_a_fingerprint_of_its_own(tmp_path):
    def written(value: int) -> data.Images:
        for part in ("train", "test"):
            (tmp_path / part).mkdir(exist_ok=True)
            for i in range(3):
                level = 10 * i if part == "train" else value + i
                if part == "test" or not (tmp_path / part / f"{i}.png").exists():
                    Image.fromarray(np.full((8, 8), level, np.uint8)).save(tmp_path / part / f"{i}.png")
        return folder(tmp_path, limit_bytes=0)

    before, after = written(5), written(200)
    assert before.fingerprint == after.fingerprint and before.test_fingerprint != after.test_fingerprint
    net = pixels((8, 8, 1))
    assert refer(before, net, "test").fingerprint != refer(after, net, "test").fingerprint


def test_pictures_are_not_resized_in_passing(tmp_path):
    for name, side in (("a", 8), ("b", 12)):
        Image.fromarray(np.zeros((side, side), np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(RequestError, match="not all of one square size"):
        read_images(tmp_path)
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(RequestError, match=r"b\.png"):
        read_images(tmp_path)


def test_what_a_metric_needs_is_found_out_before_anything_is_made(images):
    def never():
        raise AssertionError("made")
        yield

    for name, phrase in (("path_length", "a run"), ("classes", "names classes"), ("inception_score", "names classes")):
        with pytest.raises(RequestError, match=phrase):
            evaluate(refer(images, pixels((8, 8, 1))), never(), ["frechet", name])
