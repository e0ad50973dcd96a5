"""Prepared sets become images."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxgan.data import batches, images, prepared_sets, preparing, tfds
from jaxgan.data.pixels import Lazy
from tests.data.files import multiset, refused


def test_digits_are_scikit_learns(prepared_digits):
    data = tfds.load("digits", prepared_digits)
    assert data.name == "digits" and data.size == (8, 8, 1) and data.classes == tuple("0123456789")
    assert len(data.image) == 1497 and len(data.test_image) == 300
    np.testing.assert_array_equal(np.bincount(data.test_label), 30)
    both = multiset(np.concatenate([data.image, data.test_image]), np.concatenate([data.label, data.test_label]))
    content = load_digits()
    expected = [[int(v * 255 / 16 + 0.5) for v in row] for row in content.data.tolist()]
    assert both == multiset(np.array(expected, np.uint8), content.target)
    assert data.image.min() == 0 and data.image.max() == 255


def test_digits_are_the_same_every_time(prepared_digits, tmp_path):
    first = tfds.load("digits", prepared_digits)
    again = tfds.load("digits", prepared_digits)  # from the decoded copy
    anew = tfds.load("digits", tmp_path)
    for other in (again, anew):
        assert other.fingerprint == first.fingerprint
        np.testing.assert_array_equal(other.image, first.image)
        np.testing.assert_array_equal(other.test_label, first.test_label)
    assert first.fingerprint == images.fingerprint(first.image, first.label)


def test_digits_are_read_by_tfds_itself(prepared_digits):
    tfds.load("digits", prepared_digits)
    import tensorflow_datasets

    builder = tensorflow_datasets.builder_from_directory(os.fspath(prepared_digits / "digits" / "1.0.0"))
    source = builder.as_data_source(split="train")
    assert len(source) == 1497 and source[0]["image"].shape == (8, 8, 1)
    assert builder.info.redistribution_info.license == "CC BY 4.0"
    assert "tensorflow" not in sys.modules


def test_decoded_copy_is_used_only_when_it_fits(tmp_path, prepared_digits, monkeypatch):
    shutil.copytree(prepared_digits / "digits" / "1.0.0", tmp_path / "digits" / "1.0.0")
    first = tfds.load("digits", tmp_path)
    copy = tmp_path / "digits" / "decoded-1.0.0.npz"
    before = copy.stat().st_mtime_ns
    assert tfds.load("digits", tmp_path).fingerprint == first.fingerprint
    assert copy.stat().st_mtime_ns == before
    whole = copy.read_bytes()
    for damaged in (
        whole[:1000],
        whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :],
    ):
        copy.write_bytes(damaged)
        assert tfds.load("digits", tmp_path).fingerprint == first.fingerprint
        assert len(copy.read_bytes()) == len(whole)
    before = copy.stat().st_mtime_ns
    shard = next((tmp_path / "digits" / "1.0.0").glob("*train*"))
    os.utime(shard, (1, 1))
    tfds.load("digits", tmp_path)
    assert copy.stat().st_mtime_ns > before
    assert sorted(entry.name for entry in copy.parent.iterdir()) == ["1.0.0", "decoded-1.0.0.npz"]


def test_large_sets_are_read_lazily_and_the_same(tmp_path, prepared_digits):
    shutil.copytree(prepared_digits / "digits" / "1.0.0", tmp_path / "digits" / "1.0.0")
    memory = tfds.load("digits", prepared_digits)
    for _ in range(2):  # the labels come from the set, then from their copy
        lazy = tfds.load("digits", tmp_path, limit_bytes=1797 * 64 - 1)
        assert isinstance(lazy.image, Lazy) and lazy.image.shape == (1497, 8, 8, 1)
        assert lazy.classes == memory.classes
        for i in (0, 5, 1496):
            np.testing.assert_array_equal(lazy.image[i], memory.image[i])
        np.testing.assert_array_equal(lazy.label, memory.label)
        np.testing.assert_array_equal(lazy.test_label, memory.test_label)
        np.testing.assert_array_equal(lazy.test_image[299], memory.test_image[299])
    assert isinstance(tfds.load("digits", tmp_path, limit_bytes=1797 * 64).image, np.ndarray)
    iterator = batches.image_batches(lazy, 32, seed=0).iterate(0)
    raw = next(iterator)
    np.testing.assert_array_equal(raw["image"], memory.image[raw["index"]])


def make_set(
    data_dir: Path, shape: tuple, sizes: list[tuple], splits: tuple[str, ...], label: bool, has: tuple[str, ...] = ()
) -> None:
    import tensorflow_datasets
    from PIL import Image

    class Foreign(tensorflow_datasets.core.GeneratorBasedBuilder, skip_registration=True):
        name = "foreign"
        VERSION = tensorflow_datasets.core.Version("2.1.0")

        def _info(self):
            features = {"picture": tensorflow_datasets.features.Image(shape=shape)}
            if label:
                features["kind"] = tensorflow_datasets.features.ClassLabel(names=["x", "y"])
            if has:
                features["attributes"] = dict.fromkeys(has, np.bool_)
                features["landmarks"] = {"left": np.int64}
                features["corners"] = {"seen": tensorflow_datasets.features.Tensor(shape=(2,), dtype=np.bool_)}
            return tensorflow_datasets.core.DatasetInfo(
                builder=self, features=tensorflow_datasets.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples() for split in splits}

        def _generate_examples(self):
            for i, (height, width) in enumerate(sizes):
                pixels = np.full((height, width, 3), i, np.uint8)
                example = {"picture": Image.fromarray(pixels)}
                if has:
                    example["attributes"] = {name: bool(i >> k & 1) for k, name in enumerate(has)}
                    example["landmarks"] = {"left": i}
                    example["corners"] = {"seen": np.array([True, False])}
                yield i, {**example, "kind": i % 2} if label else example

    with preparing.quiet():
        Foreign(data_dir=os.fspath(data_dir)).download_and_prepare(file_format="array_record")


def test_any_prepared_image_set_is_read(tmp_path, monkeypatch):
    make_set(tmp_path, (None, None, 3), [(9, 30), (20, 8), (8, 8)], ("train", "validation"), label=True)
    data = tfds.load("foreign", tmp_path, size=8)
    assert data.size == (8, 8, 3) and data.classes == ("x", "y") and data.resizer == "lanczos"
    assert data.note == "test images are the validation split"
    value = data.image[:, 0, 0, 0]
    assert sorted(value) == [0, 1, 2] and (data.image == value[:, None, None, None]).all()
    np.testing.assert_array_equal(data.label, value % 2)
    assert tfds.load("foreign:2.1.0", tmp_path).size == (64, 64, 3)
    assert prepared_sets.find("foreign:1.0.0", tmp_path) is None
    lazy = tfds.load("foreign", tmp_path, size=8, limit_bytes=10)
    np.testing.assert_array_equal(np.stack([lazy.image[i] for i in range(3)]), data.image)


def test_a_set_with_one_split_and_no_labels(tmp_path):
    make_set(tmp_path, (8, 8, 3), [(8, 8)] * 3, ("everything",), label=False)
    data = tfds.load("foreign", tmp_path)
    assert data.label is None and data.classes == () and data.test_image is None and data.resizer == "none"
    assert len(tfds.load("foreign", tmp_path, limit_bytes=0).image) == 3
    assert prepared_sets.prepared(tmp_path)[0][:2] == ("foreign", "2.1.0")


@pytest.mark.parametrize("lazy", [False, True])
def test_attributes_are_a_dictionary_of_booleans(tmp_path, lazy):
    make_set(tmp_path, (8, 8, 3), [(8, 8)] * 4, ("train", "test"), label=False, has=("Young", "Male"))
    for _ in range(2):  # the second from the decoded copy
        data = tfds.load("foreign", tmp_path, limit_bytes=0 if lazy else 10**6)
        assert data.attributes == ("Male", "Young") and data.label is None
        for image, attribute in ((data.image, data.attribute), (data.test_image, data.test_attribute)):
            number = np.array([image[i][0, 0, 0] for i in range(4)])
            assert sorted(number) == [0, 1, 2, 3]
            # enumerated as Young, Male
            np.testing.assert_array_equal(attribute, np.stack([number >> 1 & 1, number & 1], axis=1))


def test_prepared_sets_that_cannot_be_read_are_explained(tmp_path, prepared_digits):
    target = tmp_path / "digits" / "1.0.0"
    shutil.copytree(prepared_digits / "digits" / "1.0.0", target)
    info = (target / "dataset_info.json").read_text()
    (target / "dataset_info.json").write_text(info.replace("array_record", "tfrecord"))
    refused(lambda: tfds.load("digits", tmp_path), "tfrecord", "array_record", "removing")
    (target / "dataset_info.json").write_text(info.replace('"name": "train"', '"name": "other"'))
    refused(lambda: tfds.load("digits", tmp_path), "no split 'train'", "other, test")


def test_reading_a_decoded_set_imports_no_tfds_and_prints_nothing(prepared_digits):
    tfds.load("digits", prepared_digits)
    code = (
        "import sys; from jaxgan.data import tfds; "
        f"tfds.load('digits', {str(prepared_digits)!r}); assert 'tensorflow_datasets' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
