import shutil

import numpy as np
from PIL import Image

from jaxgan.data import catalogue, official, prepared_sets, preparing, tfds
from jaxgan.data.domains import Domains
from jaxgan.data.images import Images
from jaxgan.data.pairs import Pairs
from tests.data.files import refused


def test_every_form_is_understood(prepared_digits, tmp_path):
    assert catalogue.load("digits", prepared_digits).size == (8, 8, 1)
    bigger = catalogue.load("digits", prepared_digits, size=16, resizer="bicubic")
    assert bigger.size == (16, 16, 1) and bigger.resizer == "bicubic" and bigger.test_image.shape[1:] == (16, 16, 1)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "pictures" / "a.png")
    assert catalogue.load(f"folder:{tmp_path / 'pictures'}").size == (9, 9, 1)
    assert catalogue.load(f"folder:{tmp_path / 'pictures'}", size=4).size == (4, 4, 1)
    np.savez(tmp_path / "some.npz", image=np.zeros((3, 6, 6), np.uint8))
    assert catalogue.load(f"npz:{tmp_path / 'some.npz'}", size=4).size == (4, 4, 1)


def test_digits_go_to_the_default_place():
    assert catalogue.load("digits").num_classes == 10
    (one,) = catalogue.prepared()
    assert one.path == prepared_sets.default_data_dir() / "digits" / "1.0.0"
    assert catalogue.prepare("digits") == one


def test_known_table_describes_what_is_loaded(prepared_digits):
    data, known = catalogue.load("digits", prepared_digits), catalogue.KNOWN["digits"]
    assert data.size == known.shape and data.num_classes == known.num_classes
    assert set(catalogue.KNOWN) == {"digits", *official.SETS, *catalogue.PHOTOGRAPHS}
    for name in catalogue.PHOTOGRAPHS:
        photograph = catalogue.load(name)
        assert photograph.size == catalogue.KNOWN[name].shape and photograph.num_classes == 0
        assert photograph.image.shape[0] == 1000 and photograph.image.std() > 20
    for name in official.SETS:
        features = official.builder(name)(data_dir="unused").info.features
        assert features["image"].shape == catalogue.KNOWN[name].shape
        assert features["label"].num_classes == catalogue.KNOWN[name].num_classes


def test_data_dir_may_hold_the_official_files(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(tfds, "load", lambda *args: asked.append(args))
    monkeypatch.setattr(preparing, "prepare", lambda *args: asked.append(args))
    files = tmp_path / "all" / "mnist"
    files.mkdir(parents=True)
    for file in official.SETS["mnist"].files:
        (files / file).write_bytes(b"")
    for data_dir in (files, files.parent):
        catalogue.load("mnist", data_dir)
        assert asked.pop()[:3] == ("mnist", prepared_sets.default_data_dir(), files)
        catalogue.prepare("mnist", data_dir)
        assert asked.pop() == ("mnist", prepared_sets.default_data_dir(), files)
    catalogue.load("mnist", tmp_path, files)
    assert asked.pop()[:3] == ("mnist", tmp_path, files)
    catalogue.load("mnist", tmp_path)
    assert asked.pop()[:3] == ("mnist", tmp_path, None)
    (files / official.SETS["mnist"].files[0]).unlink()
    refused(lambda: catalogue.load("mnist", files), "lacks train-images-idx3-ubyte.gz")


def test_a_prepared_set_goes_before_official_files(prepared_digits, tmp_path, monkeypatch):
    shutil.copytree(prepared_digits / "digits" / "1.0.0", tmp_path / "mnist" / "3.0.1")
    for file in official.SETS["mnist"].files:
        (tmp_path / file).write_bytes(b"")
    assert catalogue.prepare("mnist", tmp_path).path == tmp_path / "mnist" / "3.0.1"


def test_unknown_names_are_explained(tmp_path):
    refused(lambda: catalogue.load("fashion_mnits"), "did you mean fashion_mnist", "digits, mnist", "folder:PATH")
    refused(lambda: catalogue.load("zzzzzz"), "unknown data set 'zzzzzz'", "npz:PATH")
    refused(lambda: catalogue.load(""), "unknown data set")
    refused(lambda: catalogue.load(str(tmp_path)), "is a path", f"folder:{tmp_path}")
    refused(lambda: catalogue.load("folder:" + str(tmp_path / "no")), "no folder")
    refused(lambda: catalogue.load("npz:" + str(tmp_path / "no")), "no file")
    refused(lambda: catalogue.load("npz:x", files=tmp_path), "no official files")
    refused(lambda: catalogue.prepare("folder:x"), "no preparing")
    refused(lambda: catalogue.load("digits", resizer="area"), "'area'")


# --- what image translation learns from


def test_one_class_by_name_or_number(prepared_digits, tmp_path):
    whole = catalogue.load("digits", prepared_digits)
    for spec in ("digits:3", "digits:1.0.0:3"):
        three = catalogue.load(spec, prepared_digits)
        assert three.name == "digits-3" and three.label is None
        np.testing.assert_array_equal(three.image, whole.image[whole.label == 3])
        np.testing.assert_array_equal(three.test_image, whole.test_image[whole.test_label == 3])
    assert catalogue.load("digits:1.0.0", prepared_digits).num_classes == 10
    assert catalogue.load("digits:3", prepared_digits, size=16).size == (16, 16, 1)
    refused(lambda: catalogue.load("digits:ten", prepared_digits), "no class 'ten'", "'0', '1', '2'")
    np.savez(tmp_path / "pets.npz", image=np.arange(4 * 36, dtype=np.uint8).reshape(4, 6, 6), label=[0, 1, 0, 1],
             classes=["cat", "dog"])  # fmt: skip
    dogs = catalogue.load(f"npz:{tmp_path / 'pets.npz'}:dog")
    np.testing.assert_array_equal(dogs.image[:, 0, 0, 0], [36, 108])
    both = catalogue.load(f"npz:{tmp_path / 'pets.npz'}:dog+npz:{tmp_path / 'pets.npz'}:cat")
    np.testing.assert_array_equal(both.b.image[:, 0, 0, 0], [0, 72])


def test_two_sets_are_domains(prepared_digits, tmp_path):
    data = catalogue.load("digits:3+digits:8", prepared_digits)
    assert isinstance(data, Domains) and data.name == "digits-3-to-digits-8" and data.size == (8, 8, 1)
    np.testing.assert_array_equal(data.b.image, catalogue.load("digits:8", prepared_digits).image)
    for folder in ("x", "x+digits", "+y"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((9, 9, 3), len(folder), np.uint8)).save(tmp_path / folder / "a.png")
    Image.fromarray(np.zeros((70, 80, 3), np.uint8)).save(tmp_path / "photo+.png")
    mixed = catalogue.load(f"folder:{tmp_path / 'x'}+digits", data_dir=prepared_digits, size=12)
    # the folder of that very name goes before
    assert isinstance(mixed, Images) and mixed.name == "x+digits" and mixed.size == (12, 12, 3)
    mixed = catalogue.load(f"digits+folder:{tmp_path / 'x'}", prepared_digits)
    assert mixed.size == (9, 9, 3) and len(mixed.a.image) == 1497 and mixed.b.image.max() == 1
    mixed = catalogue.load(f"crops:{tmp_path / 'photo+.png'}+folder:{tmp_path / '+y'}")
    assert mixed.size == (64, 64, 3) and len(mixed.a.image) == 1000 and mixed.b.image.max() == 2
    refused(lambda: catalogue.load("digits+nonsense", prepared_digits), "unknown data set 'nonsense'")
    refused(lambda: catalogue.load(f"folder:{tmp_path}/no+digits", prepared_digits), f"no folder {tmp_path}/no")
    refused(lambda: catalogue.load("digits+digits+digits", prepared_digits), "'digits+digits' is not one set")
    refused(lambda: catalogue.load(f"digits+pairs:{tmp_path}", prepared_digits), "not one set of images")
    refused(lambda: catalogue.load("digits+digits", prepared_digits, files=tmp_path), "no official files")


def test_folders_of_pairs_and_of_domains(tmp_path):
    pixels = np.arange(8 * 16, dtype=np.uint8).reshape(8, 16)
    for name in ("train", "test", "trainA", "trainB"):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "a.png")
    data = catalogue.load(f"pairs:{tmp_path}")
    assert isinstance(data, Pairs) and data.source_size == (8, 8, 1)
    np.testing.assert_array_equal(data.test_target[0, ..., 0], pixels[:, 8:])
    assert catalogue.load(f"pairs:{tmp_path}", size=4).source_size == (4, 4, 1)
    data = catalogue.load(f"domains:{tmp_path}", size=8)
    assert isinstance(data, Domains) and data.size == (8, 8, 1)
    refused(lambda: catalogue.load(f"pairs:{tmp_path / 'no'}"), "no folder")
    refused(lambda: catalogue.load_images(f"domains:{tmp_path}"), "not one set of images")
    refused(lambda: catalogue.load("pairs:x", files=tmp_path), "no official files")


def test_new_forms_are_named_and_need_no_preparing(tmp_path):
    refused(lambda: catalogue.load("zzzzzz"), *catalogue.FORMS)
    refused(lambda: catalogue.prepare("pairs:x"), "no preparing")
    refused(lambda: catalogue.prepare("crops:x"), "no preparing")
    refused(lambda: catalogue.prepare("digits+mnist"), "prepare digits and mnist")
    assert catalogue.prepare("digits:3").name == "digits"


def test_cycle_gan_of_tfds_has_two_domains(tmp_path):
    import tensorflow_datasets

    class CycleGan(tensorflow_datasets.core.GeneratorBasedBuilder, skip_registration=True):
        name = "cycle_gan"
        BUILDER_CONFIGS = [tensorflow_datasets.core.BuilderConfig(name="horse2zebra", version="3.0.0")]  # noqa: RUF012

        def _info(self):
            features = {
                "image": tensorflow_datasets.features.Image(),
                "label": tensorflow_datasets.features.ClassLabel(names=["A", "B"]),
            }
            return tensorflow_datasets.core.DatasetInfo(
                builder=self, features=tensorflow_datasets.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            splits = {"trainA": (3, 10), "trainB": (4, 90), "testA": (2, 50), "testB": (1, 150)}
            return {split: self._generate_examples(*what, split[-1]) for split, what in splits.items()}

        def _generate_examples(self, n, value, label):
            for i in range(n):
                yield i, {"image": Image.fromarray(np.full((9, 12, 3), value + i, np.uint8)), "label": label}

    with preparing.quiet():
        CycleGan(data_dir=str(tmp_path)).download_and_prepare(file_format="array_record")
    for _ in range(2):  # decoded, and from the decoded copies
        data = catalogue.load("cycle_gan/horse2zebra", tmp_path, size=9)
        assert isinstance(data, Domains) and data.name == "horse2zebra" and data.size == (9, 9, 3) and not data.aligned
        for part, first, n in (
            (data.a.image, 10, 3), (data.b.image, 90, 4), (data.a.test_image, 50, 2), (data.b.test_image, 150, 1),
        ):  # fmt: skip
            assert sorted(part[:, 4, 4, 0]) == list(range(first, first + n))
        assert data.a.label is None and data.b.classes == ()
    lazy = catalogue.load("cycle_gan/horse2zebra:3.0.0", tmp_path, size=9, limit_bytes=0)
    np.testing.assert_array_equal(np.stack([lazy.b.image[i] for i in range(4)]), data.b.image)
    assert lazy.a.fingerprint != lazy.b.fingerprint
    assert catalogue.load("cycle_gan/horse2zebra", tmp_path).size == (64, 64, 3)
    (row,) = catalogue.prepared(tmp_path)
    assert (row.num_train, row.num_test) == (7, 3)
    refused(lambda: catalogue.load("cycle_gan/maps", tmp_path), "cycle_gan/maps is not prepared", "domains:PATH")
