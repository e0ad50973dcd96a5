import shutil

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import catalogue, tfds
from jaxgan.data.images import DataError


def refused(call, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


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
    assert one.path == tfds.default_data_dir() / "digits" / "1.0.0"
    assert catalogue.prepare("digits") == one


def test_known_table_describes_what_is_loaded(prepared_digits):
    data, known = catalogue.load("digits", prepared_digits), catalogue.KNOWN["digits"]
    assert data.size == known.shape and data.num_classes == known.num_classes
    assert set(catalogue.KNOWN) == {"digits", *tfds.OFFICIAL}
    for name in tfds.OFFICIAL:
        features = tfds._builder(name)(data_dir="unused").info.features
        assert features["image"].shape == catalogue.KNOWN[name].shape
        assert features["label"].num_classes == catalogue.KNOWN[name].num_classes


def test_data_dir_may_hold_the_official_files(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(tfds, "load", lambda *args: asked.append(args))
    monkeypatch.setattr(tfds, "prepare", lambda *args: asked.append(args))
    files = tmp_path / "all" / "mnist"
    files.mkdir(parents=True)
    for file in tfds.OFFICIAL["mnist"].files:
        (files / file).write_bytes(b"")
    for data_dir in (files, files.parent):
        catalogue.load("mnist", data_dir)
        assert asked.pop()[:3] == ("mnist", tfds.default_data_dir(), files)
        catalogue.prepare("mnist", data_dir)
        assert asked.pop() == ("mnist", tfds.default_data_dir(), files)
    catalogue.load("mnist", tmp_path, files)
    assert asked.pop()[:3] == ("mnist", tmp_path, files)
    catalogue.load("mnist", tmp_path)
    assert asked.pop()[:3] == ("mnist", tmp_path, None)
    (files / tfds.OFFICIAL["mnist"].files[0]).unlink()
    refused(lambda: catalogue.load("mnist", files), "lacks train-images-idx3-ubyte.gz")


def test_a_prepared_set_goes_before_official_files(prepared_digits, tmp_path, monkeypatch):
    shutil.copytree(prepared_digits / "digits" / "1.0.0", tmp_path / "mnist" / "3.0.1")
    for file in tfds.OFFICIAL["mnist"].files:
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
