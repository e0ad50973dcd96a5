"""Which attributes the pictures of a folder have, from a table beside them."""

import os
from pathlib import Path

import numpy as np
import pytest

from jaxgan.data import attribute_files, folders
from tests.data.files import refused, save

TABLE = "file,Male,Blond Hair,Young\ncat/0.png,1,0,1\ncat/1.png,0,1,-1\n\ncat/2.png,True,no,FALSE\n"
CELEBA = "3\nMale Blond_Hair\n0.png -1  1\n1.png  1 -1\n2.png  1  1\n"


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    for i in range(3):
        save(tmp_path / "pets" / "cat" / f"{i}.png", np.full((8, 8, 3), i, np.uint8))
    return tmp_path / "pets"


@pytest.mark.parametrize("lazy", [False, True])
def test_a_table_has_a_row_for_each_picture_by_its_path(cats, lazy):
    (cats / "attributes.csv").write_text(TABLE)
    data = folders.folder(cats, limit_bytes=0 if lazy else 10**6)
    assert data.attributes == ("Male", "Blond Hair", "Young") and data.classes == ("cat",)
    assert data.attribute.dtype == np.uint8 and data.attribute.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert data.test_attribute is None
    (cats / "attributes.csv").write_text(TABLE.replace("0.png,1", "0.png,0"))
    os.utime(cats / "attributes.csv", (0, 0))
    other = folders.folder(cats, limit_bytes=0 if lazy else 10**6)
    assert other.attribute[0, 0] == 0 and other.fingerprint != data.fingerprint


def test_celebas_list_names_pictures_wherever_they_lie(cats):
    (cats / "list_attr_celeba.txt").write_text(CELEBA)
    data = folders.folder(cats)
    assert data.attributes == ("Male", "Blond_Hair") and data.attribute.tolist() == [[0, 1], [1, 0], [1, 1]]


def test_a_list_without_its_count_is_explained(cats):
    for text in ("", CELEBA.partition("\n")[2]):
        (cats / "list_attr_celeba.txt").write_text(text)
        refused(lambda: folders.folder(cats), "list_attr_celeba.txt", "how many pictures")


def test_a_path_goes_before_a_name(cats):
    (cats / "attributes.csv").write_text("file,X\n0.png,0\ncat/0.png,1\n1.png,1\n2.png,0\n")
    assert folders.folder(cats).attribute.ravel().tolist() == [1, 1, 0]


@pytest.mark.parametrize("lazy", [False, True])
def test_one_table_is_of_both_parts(cats, tmp_path, lazy):
    both = tmp_path / "both"
    both.mkdir()
    (cats / "cat").rename(both / "train")
    save(both / "test" / "0.png", np.full((8, 8, 3), 9, np.uint8))
    (both / "attributes.csv").write_text("file,X\ntrain/0.png,1\n1.png,0\n2.png,1\ntest/0.png,0\n")
    data = folders.folder(both, limit_bytes=0 if lazy else 10**6)
    assert data.attribute.tolist() == [[1], [0], [1]] and data.test_attribute.tolist() == [[0]]
    assert data.label is None


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (TABLE.replace("cat/1.png", "cat/9.png"), ("says nothing of cat/1.png",)),
        (TABLE.replace("0,1,-1", "0,1"), ("line 3", "3 values")),
        (TABLE.replace("0,1,-1", "0,1,2"), ("line 3", "'2'")),
        (TABLE.replace("Young", "Male"), ("each is another",)),
        (TABLE + "cat/0.png,1,0,1\n", ("line 6", "cat/0.png has a row already")),
        ("", ("names nothing", "file,NAME")),
        ("file,X\ncat/0.png," + 200_000 * "1", ("cannot be read", "field larger")),
    ],
)
def test_wrong_tables_are_explained(cats, table, words):
    (cats / "attributes.csv").write_text(table)
    refused(lambda: folders.folder(cats), "attributes.csv", *words)


def test_a_folder_without_a_table_has_no_attributes(cats):
    assert attribute_files.beside(cats) is None
    data = folders.folder(cats)
    assert data.attribute is None and data.attributes == ()
    (cats / "attributes.csv").write_bytes(b"file,\xff\xfe")
    refused(lambda: folders.folder(cats), "cannot be read")
