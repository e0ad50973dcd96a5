"""Which TFDS sets lie prepared in a folder."""

import shutil
from pathlib import Path

from jaxgan.data import prepared_sets


def test_prepared_lists_what_is_there(prepared_digits, tmp_path):
    assert prepared_sets.prepared(tmp_path / "nowhere") == []
    (tmp_path / "broken" / "1.0.0").mkdir(parents=True)
    (tmp_path / "broken" / "1.0.0" / "dataset_info.json").write_text("{")
    assert prepared_sets.prepared(tmp_path) == []
    (one,) = prepared_sets.prepared(prepared_digits)
    assert one.name == "digits" and one.version == "1.0.0" and one.num_bytes > 100_000
    assert (one.num_train, one.num_test) == (1497, 300) and one.path == prepared_digits / "digits" / "1.0.0"


def test_newest_version_is_found(prepared_digits, tmp_path):
    for version in ("1.0.0", "1.10.0", "1.9.0", "1.11.0.incompleteX"):
        shutil.copytree(prepared_digits / "digits" / "1.0.0", tmp_path / "digits" / version)
    assert prepared_sets.find("digits", tmp_path).version == "1.10.0"
    assert prepared_sets.find("/etc", tmp_path) is None and prepared_sets.find("../digits", tmp_path / "digits") is None


def test_default_data_dir(monkeypatch, tmp_path):
    assert prepared_sets.default_data_dir() == tmp_path / "default-data-dir"
    monkeypatch.setenv("TFDS_DATA_DIR", "/b")
    assert prepared_sets.default_data_dir() == tmp_path / "default-data-dir"
    monkeypatch.delenv("JAXGAN_DATA_DIR")
    assert prepared_sets.default_data_dir() == Path("/b")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert prepared_sets.default_data_dir() == Path.home() / "tensorflow_datasets"
