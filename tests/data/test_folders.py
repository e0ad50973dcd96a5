import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import folders
from jaxgan.data.pixels import Lazy
from jaxgan.data.resizing import RESIZERS, square
from tests.data.files import noise, refused, save


def in_memory(part) -> np.ndarray:
    return np.stack([part[i] for i in range(len(part))])


# --- one set


def test_subfolders_are_classes(classes_folder):
    data = folders.folder(classes_folder)
    assert (data.name, data.classes, data.size, data.num_classes) == ("pets", ("cat", "dog"), (8, 8, 3), 2)
    np.testing.assert_array_equal(data.label, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(data.image[:, 0, 0, 0], [0, 1, 2, 40, 41, 42])
    assert data.label.dtype == np.int32 and data.image.dtype == np.uint8
    assert data.resizer == "none" and data.test_image is None and data.note == ""


def test_train_and_test_subfolders_are_parts(classes_folder, tmp_path):
    whole = tmp_path / "split"
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            save(whole / part / name / "a.png", np.full((8, 8), 9 if part == "train" else 5, np.uint8))
    data = folders.folder(whole)
    assert data.classes == ("cat", "dog") and data.size == (8, 8, 1)
    assert (data.image == 9).all() and (data.test_image == 5).all()
    np.testing.assert_array_equal(data.test_label, [0, 1])


def test_every_format_and_mode(tmp_path):
    folder = tmp_path / "mixed"
    pixels = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    for name in ("a.png", "b.jpg", "c.JPEG", "d.bmp", "e.webp", "f.gif"):
        save(folder / name, pixels)
    save(folder / "g.png", np.full((16, 16), 80, np.uint8))
    data = folders.folder(folder)
    assert data.size == (64, 64, 3) and data.classes == () and data.label is None and data.resizer == "lanczos"
    np.testing.assert_allclose(data.image[:6].mean((1, 2)), np.tile([200, 100, 50], (6, 1)), atol=4)
    np.testing.assert_array_equal(data.image[6], 80)


def test_animations_give_their_first_frame(tmp_path):
    frames = [Image.fromarray(np.full((8, 8), v, np.uint8)) for v in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (folders.folder(tmp_path).image == 10).all()


def test_grey_stays_one_channel_and_sixteen_bits_are_scaled(tmp_path):
    save(tmp_path / "a.png", np.full((8, 8), 77, np.uint8))
    Image.fromarray(np.full((8, 8), 0x8000, np.uint16)).save(tmp_path / "b.png")
    data = folders.folder(tmp_path)
    assert data.size == (8, 8, 1)
    assert (data.image[0] == 77).all() and (data.image[1] == 0x80).all()
    assert folders.folder(tmp_path, channels=3).size == (8, 8, 3)


def test_transparency_lies_over_white(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3] = 255
    save(tmp_path / "a.png", pixels)
    image = folders.folder(tmp_path).image[0]
    assert (image[:4] == 0).all() and (image[4:] == 255).all()


def test_exif_orientation_is_applied(tmp_path):
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    save(tmp_path / "a.jpg", pixels, exif=exif)
    image = folders.folder(tmp_path).image[0]
    assert image[:7].max() < 10 and image[9:].min() > 245


def test_centre_square_is_cut_out(tmp_path):
    pixels = np.zeros((10, 30), np.uint8)
    pixels[:, 10:20] = noise(10, 10)
    save(tmp_path / "wide.png", pixels)
    save(tmp_path / "xtall.png", pixels.T)
    data = folders.folder(tmp_path, size=10)
    np.testing.assert_array_equal(data.image[0, ..., 0], pixels[:, 10:20])
    np.testing.assert_array_equal(data.image[1, ..., 0], pixels.T[10:20])
    assert data.resizer == "none"


@pytest.mark.parametrize("resizer", RESIZERS)
def test_resizers_are_pillows_and_all_but_nearest_antialias(tmp_path, resizer):
    pixels = noise(32, 32)
    save(tmp_path / "a.png", pixels)
    data = folders.folder(tmp_path, size=8, resizer=resizer)
    expected = Image.fromarray(pixels).resize((8, 8), getattr(Image.Resampling, resizer.upper()))
    np.testing.assert_array_equal(data.image[0, ..., 0], np.asarray(expected))
    assert data.resizer == resizer
    if resizer == "box":
        blocks = pixels.reshape(8, 4, 8, 4).astype(float).mean((1, 3))
        np.testing.assert_allclose(data.image[0, ..., 0], blocks, atol=1.0)
    if resizer != "nearest":
        assert data.image.std() < 0.6 * pixels.std()


def test_above_the_limit_images_are_decoded_lazily_and_the_same(classes_folder):
    for i in range(3):
        save(classes_folder / "cat" / f"{i}.png", noise(12, 9, 3))
    memory = folders.folder(classes_folder, size=6)
    lazy = folders.folder(classes_folder, size=6, limit_bytes=6 * 6 * 6 * 3 - 1)
    assert isinstance(memory.image, np.ndarray) and isinstance(lazy.image, Lazy)
    assert folders.folder(classes_folder, size=6, limit_bytes=6 * 6 * 6 * 3).image.shape == memory.image.shape
    assert lazy.image.shape == memory.image.shape and len(lazy.image) == 6 and lazy.size == memory.size
    np.testing.assert_array_equal(np.stack([lazy.image[i] for i in range(6)]), memory.image)
    np.testing.assert_array_equal(lazy.label, memory.label)
    with pytest.raises(IndexError):
        lazy.image[6]


def test_fingerprints_follow_the_content(classes_folder):
    first = folders.folder(classes_folder)
    assert first.fingerprint == folders.folder(classes_folder).fingerprint
    expected = hashlib.sha256(repr(first.image.shape).encode() + first.image.tobytes() + first.label.tobytes())
    assert first.fingerprint == expected.hexdigest()
    lazy = folders.folder(classes_folder, limit_bytes=0).fingerprint
    assert lazy == folders.folder(classes_folder, limit_bytes=0).fingerprint
    assert lazy != folders.folder(classes_folder, size=4, limit_bytes=0).fingerprint
    save(classes_folder / "dog" / "2.png", np.full((8, 8, 3), 99, np.uint8))
    assert folders.folder(classes_folder).fingerprint != first.fingerprint
    assert folders.folder(classes_folder, limit_bytes=0).fingerprint != lazy


def test_folder_mistakes_are_explained(classes_folder, tmp_path):
    refused(lambda: folders.folder(tmp_path / "nowhere"), "no folder", "nowhere")
    (tmp_path / "empty").mkdir()
    refused(lambda: folders.folder(tmp_path / "empty"), "no images", "empty", ".png")
    refused(
        lambda: folders.folder(classes_folder, resizer="area"), "'area'", "box, bilinear, bicubic, lanczos, nearest"
    )
    refused(lambda: folders.folder(classes_folder, size=0), "size 0")
    refused(lambda: folders.folder(classes_folder, channels=2), "channels 2")
    (tmp_path / "empty").rmdir()
    refused(lambda: folders.folder(tmp_path), "pets holds the folder cat", "point to")
    save(classes_folder / "stray.png", noise(8, 8))
    refused(lambda: folders.folder(classes_folder), "mixes", "stray.png", "cat")
    (classes_folder / "stray.png").unlink()
    (classes_folder / "bird").mkdir()
    refused(lambda: folders.folder(classes_folder), "no images", "bird")


def test_broken_images_are_named(classes_folder):
    good = (classes_folder / "cat" / "1.png").read_bytes()
    for content in (b"not an image", b""):
        (classes_folder / "cat" / "1.png").write_bytes(content)
        refused(lambda: folders.folder(classes_folder), "1.png", "repair or remove")
    save(classes_folder / "cat" / "1.png", noise(64, 64, 3))
    whole = (classes_folder / "cat" / "1.png").read_bytes()
    (classes_folder / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    refused(lambda: folders.folder(classes_folder), "1.png", "broken")
    lazy = folders.folder(classes_folder, limit_bytes=0)
    refused(lambda: lazy.image[1], "1.png", "broken")
    (classes_folder / "cat" / "1.png").write_bytes(good)
    folders.folder(classes_folder)


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
    data = folders.side_by_side(folder)
    assert data.name == "facades" and data.source_size == data.target_size == (8, 8, 3) and data.resizer == "none"
    assert data.note == "test pictures are the val folder" and data.label is None and data.classes == ()
    np.testing.assert_array_equal(data.source, pixels[:5, :, :8])
    np.testing.assert_array_equal(data.target, pixels[:5, :, 8:])
    np.testing.assert_array_equal(data.test_source, pixels[5:, :, :8])
    np.testing.assert_array_equal(data.test_target, pixels[5:, :, 8:])
    other = save(folder / "test" / "a.png", noise(8, 16, 3))
    again = folders.side_by_side(folder)
    assert again.note == "" and again.fingerprint == data.fingerprint != again.test_fingerprint
    np.testing.assert_array_equal(again.test_target, other[None, :, 8:])


def test_pairs_lie_in_the_folder_itself_and_are_cut_and_resized(tmp_path):
    wide = save(tmp_path / "a.png", noise(10, 48))
    save(tmp_path / "b.png", noise(30, 40))
    data = folders.side_by_side(tmp_path, size=10)
    assert data.test_source is None and data.source_size == (10, 10, 1) and data.resizer == "lanczos"
    np.testing.assert_array_equal(data.source[0, ..., 0], wide[:, 7:17])
    np.testing.assert_array_equal(data.target[0, ..., 0], wide[:, 31:41])
    assert folders.side_by_side(tmp_path).source_size == (64, 64, 1)
    assert folders.side_by_side(tmp_path, channels=3).target_size == (64, 64, 3)


def test_pairs_turn_as_their_tag_says(tmp_path):
    pixels = np.zeros((32, 15), np.uint8)
    pixels[:16] = 200
    exif = Image.Exif()
    exif[0x0112] = 8  # to be turned to the left: the top becomes the left half
    save(tmp_path / "a.jpg", pixels, exif=exif, quality=95)
    data = folders.side_by_side(tmp_path, size=15)
    assert (data.source > 190).all() and (data.target < 10).all()


def test_many_pairs_stay_lazy_and_the_same(facades):
    folder, _ = facades
    memory = folders.side_by_side(folder, size=4)
    lazy = folders.side_by_side(folder, size=4, limit_bytes=7 * 2 * 4 * 4 * 3 - 1)
    assert isinstance(folders.side_by_side(folder, size=4, limit_bytes=7 * 2 * 4 * 4 * 3).source, np.ndarray)
    for part in ("source", "target", "test_source", "test_target"):
        assert isinstance(getattr(lazy, part), Lazy) and getattr(lazy, part).shape == getattr(memory, part).shape
        np.testing.assert_array_equal(in_memory(getattr(lazy, part)), getattr(memory, part))
    assert lazy.fingerprint == folders.side_by_side(folder, size=4, limit_bytes=0).fingerprint
    assert lazy.fingerprint != folders.side_by_side(folder, size=8, limit_bytes=0).fingerprint
    save(folder / "train" / "2.png", noise(8, 16, 3))
    assert lazy.fingerprint != folders.side_by_side(folder, size=4, limit_bytes=0).fingerprint


def test_wrong_folders_of_pairs_are_explained(facades, tmp_path):
    folder, _ = facades
    refused(lambda: folders.side_by_side(tmp_path / "no"), "no folder")
    refused(lambda: folders.side_by_side(tmp_path), "holds the folder facades", "no folder train")
    refused(lambda: folders.side_by_side(folder, resizer="area"), "'area'")
    (tmp_path / "empty").mkdir()
    refused(lambda: folders.side_by_side(tmp_path / "empty"), "no images", "empty")
    save(folder / "val" / "9.png", noise(8, 17, 3))
    refused(lambda: folders.side_by_side(folder), "9.png", "17 pixels wide", "odd")
    (folder / "val" / "9.png").write_text("x")
    refused(lambda: folders.side_by_side(folder), "9.png", "repair or remove")
    (folder / "val" / "9.png").unlink()
    save(folder / "train" / "more" / "9.png", noise(8, 16, 3))
    refused(lambda: folders.side_by_side(folder), "train holds the folder more", "flatten")


# --- two domains


@pytest.fixture
def horses(tmp_path: Path) -> Path:
    for name, n, value in (("trainA", 3, 10), ("trainB", 4, 90), ("testA", 2, 50), ("testB", 1, 150)):
        for i in range(n):
            save(tmp_path / "h2z" / name / f"{i}.png", np.full((6, 6, 3), value + i, np.uint8))
    return tmp_path / "h2z"


def test_two_domains_are_four_folders(horses):
    data = folders.two_domains(horses)
    assert (data.name, data.a.name, data.b.name) == ("h2z", "h2z-A", "h2z-B")
    assert data.size == (6, 6, 3) and not data.aligned and data.a.label is None
    for part, first, n in (
        (data.a.image, 10, 3), (data.b.image, 90, 4), (data.a.test_image, 50, 2), (data.b.test_image, 150, 1),
    ):  # fmt: skip
        np.testing.assert_array_equal(part, np.broadcast_to(first + np.arange(n)[:, None, None, None], (n, 6, 6, 3)))
    lazy = folders.two_domains(horses, size=4, limit_bytes=10 * 4 * 4 * 3 - 1)
    memory = folders.two_domains(horses, size=4, limit_bytes=10 * 4 * 4 * 3)
    for one, other in ((lazy.a, memory.a), (lazy.b, memory.b)):
        assert isinstance(one.image, Lazy) and isinstance(other.image, np.ndarray)
        np.testing.assert_array_equal(in_memory(one.image), other.image)
        np.testing.assert_array_equal(in_memory(one.test_image), other.test_image)
    assert len({lazy.fingerprint, memory.fingerprint, data.fingerprint}) == 3
    assert data.a.test_fingerprint not in ("", data.a.fingerprint)


def test_two_domains_are_brought_to_one_size_and_channels(horses):
    save(horses / "testB" / "b.png", noise(9, 7))
    assert folders.two_domains(horses).size == (64, 64, 3)
    for folder in ("trainA", "trainB"):
        for file in (horses / folder).iterdir():
            save(file, noise(9, 9))
    for folder in ("testA", "testB"):
        for file in (horses / folder).iterdir():
            file.unlink()
        (horses / folder).rmdir()
    data = folders.two_domains(horses)
    assert data.size == (9, 9, 1) and data.a.test_image is None is data.b.test_image


def test_wrong_folders_of_domains_are_explained(horses, tmp_path):
    refused(lambda: folders.two_domains(tmp_path / "no"), "no folder")
    refused(lambda: folders.two_domains(tmp_path), "no folder trainA", "testA")
    (horses / "testB").rename(horses / "aside")
    refused(lambda: folders.two_domains(horses), "no folder testB")
    (horses / "aside").rename(horses / "testB")
    save(horses / "trainB" / "kinds" / "a.png", noise(6, 6))
    refused(lambda: folders.two_domains(horses), "trainB holds the folder kinds")
    (horses / "trainB").rename(horses / "B")
    refused(lambda: folders.two_domains(horses), "no folder trainB", "must hold trainA, trainB")
    (horses / "trainB").mkdir()
    refused(lambda: folders.two_domains(horses), "no images", "trainB")


# --- crops


def test_crops_are_squares_of_the_photograph(tmp_path):
    rows, columns = np.mgrid[:96, :150]
    save(tmp_path / "photo.png", np.stack([rows * 2, columns, 0 * rows], -1).astype(np.uint8))
    data = folders.crops(tmp_path / "photo.png", size=12, n=400, resizer="box")
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
    expected = square(np.asarray(Image.open(tmp_path / "photo.png")), 12, "box")
    np.testing.assert_array_equal(data.test_image, expected[None])
    again = folders.crops(tmp_path / "photo.png", size=12, n=400, resizer="box")
    np.testing.assert_array_equal(again.image, data.image)
    assert again.fingerprint == data.fingerprint


def test_crops_of_the_least_picture_and_of_none(tmp_path):
    pixels = save(tmp_path / "a.png", noise(64, 64))
    data = folders.crops(tmp_path / "a.png", n=3)
    np.testing.assert_array_equal(data.image, np.stack([pixels] * 3)[..., None])
    assert data.resizer == "none"
    refused(lambda: folders.crops(tmp_path / "a.png", size=65), "64x64", "smaller than crops of 65", "size 64")
    refused(lambda: folders.crops(tmp_path / "no.png"), "no file")
    refused(lambda: folders.crops(tmp_path), "is a folder")
    refused(lambda: folders.crops(tmp_path / "a.png", n=0), "n 0")
    refused(lambda: folders.crops(tmp_path / "a.png", size=0), "size 0")
    (tmp_path / "b.png").write_text("x")
    refused(lambda: folders.crops(tmp_path / "b.png"), "b.png", "repair or remove")
