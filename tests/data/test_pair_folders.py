from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import images, pair_folders
from jaxgan.data.images import DataError, Lazy

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def in_memory(part) -> np.ndarray:
    return np.stack([part[i] for i in range(len(part))])


def refused(call, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


# --- side by side


@pytest.fixture
def facades(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A folder of five training and two validation pictures of 8x16, and their pixels."""
    pixels = noise(7, 8, 16, 3)
    for i, one in enumerate(pixels):
        save(tmp_path / "facades" / ("train" if i < 5 else "val") / f"{i}.png", one)
    (tmp_path / "facades" / ".DS_Store").write_text("x")
    return tmp_path / "facades", pixels


def test_the_left_half_is_the_source(facades):
    folder, pixels = facades
    data = pair_folders.side_by_side(folder)
    assert data.name == "facades" and data.source_size == data.target_size == (8, 8, 3) and data.resizer == "none"
    assert data.note == "test pictures are the val folder" and data.label is None and data.classes == ()
    np.testing.assert_array_equal(data.source, pixels[:5, :, :8])
    np.testing.assert_array_equal(data.target, pixels[:5, :, 8:])
    np.testing.assert_array_equal(data.test_source, pixels[5:, :, :8])
    np.testing.assert_array_equal(data.test_target, pixels[5:, :, 8:])
    other = save(folder / "test" / "a.png", noise(8, 16, 3))
    again = pair_folders.side_by_side(folder)
    assert again.note == "" and again.fingerprint == data.fingerprint != again.test_fingerprint
    np.testing.assert_array_equal(again.test_target, other[None, :, 8:])


def test_pairs_lie_in_the_folder_itself_and_are_cut_and_resized(tmp_path):
    wide = save(tmp_path / "a.png", noise(10, 48))
    save(tmp_path / "b.png", noise(30, 40))
    data = pair_folders.side_by_side(tmp_path, size=10)
    assert data.test_source is None and data.source_size == (10, 10, 1) and data.resizer == "lanczos"
    np.testing.assert_array_equal(data.source[0, ..., 0], wide[:, 7:17])
    np.testing.assert_array_equal(data.target[0, ..., 0], wide[:, 31:41])
    assert pair_folders.side_by_side(tmp_path).source_size == (64, 64, 1)
    assert pair_folders.side_by_side(tmp_path, channels=3).target_size == (64, 64, 3)


def test_pairs_turn_as_their_tag_says(tmp_path):
    pixels = np.zeros((32, 15), np.uint8)
    pixels[:16] = 200
    exif = Image.Exif()
    exif[0x0112] = 8  # to be turned to the left: the top becomes the left half
    save(tmp_path / "a.jpg", pixels, exif=exif, quality=95)
    data = pair_folders.side_by_side(tmp_path, size=15)
    assert (data.source > 190).all() and (data.target < 10).all()


def test_many_pairs_stay_lazy_and_the_same(facades):
    folder, _ = facades
    memory = pair_folders.side_by_side(folder, size=4)
    lazy = pair_folders.side_by_side(folder, size=4, limit_bytes=7 * 2 * 4 * 4 * 3 - 1)
    assert isinstance(pair_folders.side_by_side(folder, size=4, limit_bytes=7 * 2 * 4 * 4 * 3).source, np.ndarray)
    for part in ("source", "target", "test_source", "test_target"):
        assert isinstance(getattr(lazy, part), Lazy) and getattr(lazy, part).shape == getattr(memory, part).shape
        np.testing.assert_array_equal(in_memory(getattr(lazy, part)), getattr(memory, part))
    assert lazy.fingerprint == pair_folders.side_by_side(folder, size=4, limit_bytes=0).fingerprint
    assert lazy.fingerprint != pair_folders.side_by_side(folder, size=8, limit_bytes=0).fingerprint
    save(folder / "train" / "2.png", noise(8, 16, 3))
    assert lazy.fingerprint != pair_folders.side_by_side(folder, size=4, limit_bytes=0).fingerprint


def test_wrong_folders_of_pairs_are_explained(facades, tmp_path):
    folder, _ = facades
    refused(lambda: pair_folders.side_by_side(tmp_path / "no"), "no folder")
    refused(lambda: pair_folders.side_by_side(tmp_path), "holds the folder facades", "no folder train")
    refused(lambda: pair_folders.side_by_side(folder, resizer="area"), "'area'")
    (tmp_path / "empty").mkdir()
    refused(lambda: pair_folders.side_by_side(tmp_path / "empty"), "no images", "empty")
    save(folder / "val" / "9.png", noise(8, 17, 3))
    refused(lambda: pair_folders.side_by_side(folder), "9.png", "17 pixels wide", "odd")
    (folder / "val" / "9.png").write_text("x")
    refused(lambda: pair_folders.side_by_side(folder), "9.png", "repair or remove")
    (folder / "val" / "9.png").unlink()
    save(folder / "train" / "more" / "9.png", noise(8, 16, 3))
    refused(lambda: pair_folders.side_by_side(folder), "train holds the folder more", "flatten")


# --- two domains


@pytest.fixture
def horses(tmp_path: Path) -> Path:
    for name, n, value in (("trainA", 3, 10), ("trainB", 4, 90), ("testA", 2, 50), ("testB", 1, 150)):
        for i in range(n):
            save(tmp_path / "h2z" / name / f"{i}.png", np.full((6, 6, 3), value + i, np.uint8))
    return tmp_path / "h2z"


def test_two_domains_are_four_folders(horses):
    data = pair_folders.two_domains(horses)
    assert (data.name, data.a.name, data.b.name) == ("h2z", "h2z-A", "h2z-B")
    assert data.size == (6, 6, 3) and not data.aligned and data.a.label is None
    for part, first, n in (
        (data.a.image, 10, 3), (data.b.image, 90, 4), (data.a.test_image, 50, 2), (data.b.test_image, 150, 1),
    ):  # fmt: skip
        np.testing.assert_array_equal(part, np.broadcast_to(first + np.arange(n)[:, None, None, None], (n, 6, 6, 3)))
    lazy = pair_folders.two_domains(horses, size=4, limit_bytes=10 * 4 * 4 * 3 - 1)
    memory = pair_folders.two_domains(horses, size=4, limit_bytes=10 * 4 * 4 * 3)
    for one, other in ((lazy.a, memory.a), (lazy.b, memory.b)):
        assert isinstance(one.image, Lazy) and isinstance(other.image, np.ndarray)
        np.testing.assert_array_equal(in_memory(one.image), other.image)
        np.testing.assert_array_equal(in_memory(one.test_image), other.test_image)
    assert len({lazy.fingerprint, memory.fingerprint, data.fingerprint}) == 3
    assert data.a.test_fingerprint not in ("", data.a.fingerprint)


def test_two_domains_are_brought_to_one_size_and_channels(horses):
    save(horses / "testB" / "b.png", noise(9, 7))
    assert pair_folders.two_domains(horses).size == (64, 64, 3)
    for folder in ("trainA", "trainB"):
        for file in (horses / folder).iterdir():
            save(file, noise(9, 9))
    for folder in ("testA", "testB"):
        for file in (horses / folder).iterdir():
            file.unlink()
        (horses / folder).rmdir()
    data = pair_folders.two_domains(horses)
    assert data.size == (9, 9, 1) and data.a.test_image is None is data.b.test_image


def test_wrong_folders_of_domains_are_explained(horses, tmp_path):
    refused(lambda: pair_folders.two_domains(tmp_path / "no"), "no folder")
    refused(lambda: pair_folders.two_domains(tmp_path), "no folder trainA", "testA")
    (horses / "testB").rename(horses / "aside")
    refused(lambda: pair_folders.two_domains(horses), "no folder testB")
    (horses / "aside").rename(horses / "testB")
    save(horses / "trainB" / "kinds" / "a.png", noise(6, 6))
    refused(lambda: pair_folders.two_domains(horses), "trainB holds the folder kinds")
    (horses / "trainB").rename(horses / "B")
    refused(lambda: pair_folders.two_domains(horses), "no folder trainB", "must hold trainA, trainB")
    (horses / "trainB").mkdir()
    refused(lambda: pair_folders.two_domains(horses), "no images", "trainB")


# --- crops


def test_crops_are_squares_of_the_photograph(tmp_path):
    rows, columns = np.mgrid[:96, :150]
    save(tmp_path / "photo.png", np.stack([rows * 2, columns, 0 * rows], -1).astype(np.uint8))
    data = pair_folders.crops(tmp_path / "photo.png", size=12, n=400, resizer="box")
    assert data.name == "photo" and data.image.shape == (400, 12, 12, 3) and data.resizer == "box"
    assert data.note == "400 crops of one picture of 150x96" and data.label is None
    # a plane's slope says how large a crop is, its mean where it lies
    side = 12 * np.diff(data.image[:, 0, :, 1].astype(float)).mean(1)
    tall = 12 * np.diff(data.image[:, :, 0, 0].astype(float)).mean(1) / 2
    np.testing.assert_allclose(side, tall, atol=1.2)
    assert 11 < side.min() < 13 and 85 < side.max() < 97
    assert abs(np.median(side) - np.sqrt(12 * 96)) < 6  # evenly in the logarithm
    middle = data.image.astype(float).mean((1, 2))
    assert middle[:, 1].min() < 15 and middle[:, 1].max() > 135 and middle[:, 0].min() / 2 < 12
    expected = images.square(np.asarray(Image.open(tmp_path / "photo.png")), 12, "box")
    np.testing.assert_array_equal(data.test_image, expected[None])
    again = pair_folders.crops(tmp_path / "photo.png", size=12, n=400, resizer="box")
    np.testing.assert_array_equal(again.image, data.image)
    assert again.fingerprint == data.fingerprint


def test_crops_of_the_least_picture_and_of_none(tmp_path):
    pixels = save(tmp_path / "a.png", noise(64, 64))
    data = pair_folders.crops(tmp_path / "a.png", n=3)
    np.testing.assert_array_equal(data.image, np.stack([pixels] * 3)[..., None])
    assert data.resizer == "none"
    refused(lambda: pair_folders.crops(tmp_path / "a.png", size=65), "64x64", "smaller than crops of 65", "size 64")
    refused(lambda: pair_folders.crops(tmp_path / "no.png"), "no file")
    refused(lambda: pair_folders.crops(tmp_path), "is a folder")
    refused(lambda: pair_folders.crops(tmp_path / "a.png", n=0), "n 0")
    refused(lambda: pair_folders.crops(tmp_path / "a.png", size=0), "size 0")
    (tmp_path / "b.png").write_text("x")
    refused(lambda: pair_folders.crops(tmp_path / "b.png"), "b.png", "repair or remove")
