import hashlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan.data import images
from jaxgan.data.images import DataError, Lazy
from jaxgan.data.source import DeviceSource, HostSource

RNG = np.random.default_rng(0)
KEY = jax.random.key(7)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def classes_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    for k, name in enumerate(["cat", "dog"]):
        for i in range(3):
            save(folder / name / f"{i}.png", np.full((8, 8, 3), 40 * k + i, np.uint8))
    (folder / ".DS_Store").write_text("x")
    (folder / "dog" / "notes.txt").write_text("x")
    return folder


# --- folders


def test_subfolders_are_classes(classes_folder):
    data = images.folder(classes_folder)
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
    data = images.folder(whole)
    assert data.classes == ("cat", "dog") and data.size == (8, 8, 1)
    assert (data.image == 9).all() and (data.test_image == 5).all()
    np.testing.assert_array_equal(data.test_label, [0, 1])


def test_every_format_and_mode(tmp_path):
    folder = tmp_path / "mixed"
    pixels = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    for name in ("a.png", "b.jpg", "c.JPEG", "d.bmp", "e.webp", "f.gif"):
        save(folder / name, pixels)
    save(folder / "g.png", np.full((16, 16), 80, np.uint8))
    data = images.folder(folder)
    assert data.size == (64, 64, 3) and data.classes == () and data.label is None and data.resizer == "lanczos"
    np.testing.assert_allclose(data.image[:6].mean((1, 2)), np.tile([200, 100, 50], (6, 1)), atol=4)
    np.testing.assert_array_equal(data.image[6], 80)


def test_animations_give_their_first_frame(tmp_path):
    frames = [Image.fromarray(np.full((8, 8), v, np.uint8)) for v in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (images.folder(tmp_path).image == 10).all()


def test_grey_stays_one_channel_and_sixteen_bits_are_scaled(tmp_path):
    save(tmp_path / "a.png", np.full((8, 8), 77, np.uint8))
    Image.fromarray(np.full((8, 8), 0x8000, np.uint16)).save(tmp_path / "b.png")
    data = images.folder(tmp_path)
    assert data.size == (8, 8, 1)
    assert (data.image[0] == 77).all() and (data.image[1] == 0x80).all()
    assert images.folder(tmp_path, channels=3).size == (8, 8, 3)


def test_transparency_lies_over_white(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3] = 255
    save(tmp_path / "a.png", pixels)
    image = images.folder(tmp_path).image[0]
    assert (image[:4] == 0).all() and (image[4:] == 255).all()


def test_exif_orientation_is_applied(tmp_path):
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    save(tmp_path / "a.jpg", pixels, exif=exif)
    image = images.folder(tmp_path).image[0]
    assert image[:7].max() < 10 and image[9:].min() > 245


def test_centre_square_is_cut_out(tmp_path):
    pixels = np.zeros((10, 30), np.uint8)
    pixels[:, 10:20] = noise(10, 10)
    save(tmp_path / "wide.png", pixels)
    save(tmp_path / "xtall.png", pixels.T)
    data = images.folder(tmp_path, size=10)
    np.testing.assert_array_equal(data.image[0, ..., 0], pixels[:, 10:20])
    np.testing.assert_array_equal(data.image[1, ..., 0], pixels.T[10:20])
    assert data.resizer == "none"


@pytest.mark.parametrize("resizer", images.RESIZERS)
def test_resizers_are_pillows_and_all_but_nearest_antialias(tmp_path, resizer):
    pixels = noise(32, 32)
    save(tmp_path / "a.png", pixels)
    data = images.folder(tmp_path, size=8, resizer=resizer)
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
    memory = images.folder(classes_folder, size=6)
    lazy = images.folder(classes_folder, size=6, limit_bytes=6 * 6 * 6 * 3 - 1)
    assert isinstance(memory.image, np.ndarray) and isinstance(lazy.image, Lazy)
    assert images.folder(classes_folder, size=6, limit_bytes=6 * 6 * 6 * 3).image.shape == memory.image.shape
    assert lazy.image.shape == memory.image.shape and len(lazy.image) == 6 and lazy.size == memory.size
    np.testing.assert_array_equal(np.stack([lazy.image[i] for i in range(6)]), memory.image)
    np.testing.assert_array_equal(lazy.label, memory.label)
    with pytest.raises(IndexError):
        lazy.image[6]


def test_fingerprints_follow_the_content(classes_folder):
    first = images.folder(classes_folder)
    assert first.fingerprint == images.folder(classes_folder).fingerprint
    expected = hashlib.sha256(repr(first.image.shape).encode() + first.image.tobytes() + first.label.tobytes())
    assert first.fingerprint == expected.hexdigest()
    lazy = images.folder(classes_folder, limit_bytes=0).fingerprint
    assert lazy == images.folder(classes_folder, limit_bytes=0).fingerprint
    assert lazy != images.folder(classes_folder, size=4, limit_bytes=0).fingerprint
    save(classes_folder / "dog" / "2.png", np.full((8, 8, 3), 99, np.uint8))
    assert images.folder(classes_folder).fingerprint != first.fingerprint
    assert images.folder(classes_folder, limit_bytes=0).fingerprint != lazy


def refused(call, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_folder_mistakes_are_explained(classes_folder, tmp_path):
    refused(lambda: images.folder(tmp_path / "nowhere"), "no folder", "nowhere")
    (tmp_path / "empty").mkdir()
    refused(lambda: images.folder(tmp_path / "empty"), "no images", "empty", ".png")
    refused(lambda: images.folder(classes_folder, resizer="area"), "'area'", "box, bilinear, bicubic, lanczos, nearest")
    refused(lambda: images.folder(classes_folder, size=0), "size 0")
    refused(lambda: images.folder(classes_folder, channels=2), "channels 2")
    (tmp_path / "empty").rmdir()
    refused(lambda: images.folder(tmp_path), "pets holds the folder cat", "point to")
    save(classes_folder / "stray.png", noise(8, 8))
    refused(lambda: images.folder(classes_folder), "mixes", "stray.png", "cat")
    (classes_folder / "stray.png").unlink()
    (classes_folder / "bird").mkdir()
    refused(lambda: images.folder(classes_folder), "no images", "bird")


def test_broken_images_are_named(classes_folder):
    good = (classes_folder / "cat" / "1.png").read_bytes()
    for content in (b"not an image", b""):
        (classes_folder / "cat" / "1.png").write_bytes(content)
        refused(lambda: images.folder(classes_folder), "1.png", "repair or remove")
    save(classes_folder / "cat" / "1.png", noise(64, 64, 3))
    whole = (classes_folder / "cat" / "1.png").read_bytes()
    (classes_folder / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    refused(lambda: images.folder(classes_folder), "1.png", "broken")
    lazy = images.folder(classes_folder, limit_bytes=0)
    refused(lambda: lazy.image[1], "1.png", "broken")
    (classes_folder / "cat" / "1.png").write_bytes(good)
    images.folder(classes_folder)


# --- npz


def test_npz_holds_everything(tmp_path):
    train, test = noise(5, 4, 6), noise(2, 4, 6)
    path = tmp_path / "file.npz"
    np.savez(
        path, image=train, label=np.array([0, 2, 1, 0, 1]), test_image=test, test_label=np.array([1, 0], np.uint8),
        name="mnist-approx", note="2 of the 9 test images", classes=["a", "b", "c"],
    )  # fmt: skip
    data = images.npz(path)
    assert (data.name, data.note, data.classes) == ("mnist-approx", "2 of the 9 test images", ("a", "b", "c"))
    assert data.size == (4, 6, 1) and data.label.dtype == data.test_label.dtype == np.int32
    np.testing.assert_array_equal(data.image[..., 0], train)
    np.testing.assert_array_equal(data.test_image[..., 0], test)
    np.testing.assert_array_equal(data.test_label, [1, 0])


def test_npz_needs_only_images(tmp_path):
    np.savez(tmp_path / "plain.npz", image=noise(5, 4, 4, 3))
    data = images.npz(tmp_path / "plain.npz")
    assert data.name == "plain" and data.label is None and data.classes == () and data.test_image is None


def test_npz_mistakes_are_explained(tmp_path):
    path = tmp_path / "file.npz"
    refused(lambda: images.npz(path), "no file", "file.npz")
    path.write_bytes(b"nothing")
    refused(lambda: images.npz(path), "not an .npz")
    with path.open("wb") as file:
        np.save(file, noise(3, 4, 4))
    refused(lambda: images.npz(path), "not an .npz")
    np.savez(path, image=noise(90, 9, 9))
    damaged = bytearray(path.read_bytes())
    damaged[1000] ^= 1
    path.write_bytes(damaged)
    refused(lambda: images.npz(path), "damaged")
    np.savez(path, image=np.array([{}], object))
    refused(lambda: images.npz(path), "pickled")
    good = noise(3, 4, 4)
    for content, words in [
        ({"x_train": good}, ["no 'image'", "'x_train'", "test_label"]),
        ({"image": good, "labels": np.zeros(3, int)}, ["unknown 'labels'"]),
        ({"image": good / 255}, ["float64", "uint8"]),
        ({"image": good[0]}, ["uint8 [4, 4]", "[n, height, width]"]),
        ({"image": good[:0]}, ["empty"]),
        ({"image": good, "label": np.zeros(4, int)}, ["4 values in label for 3 images"]),
        ({"image": good, "label": np.zeros(3)}, ["float64", "integers"]),
        ({"image": good, "label": np.array([0, -1, 0])}, ["-1"]),
        ({"image": good, "label": np.array([0, 5, 0]), "classes": ["a", "b"]}, ["label 5", "2 class names"]),
        ({"image": good, "classes": ["a", "b"]}, ["no labels"]),
        ({"image": good, "test_label": np.zeros(3, int)}, ["test_label without test_image"]),
        ({"image": good, "test_image": noise(3, 5, 5)}, ["[5, 5, 1]", "[4, 4, 1]"]),
        ({"image": good, "label": np.zeros(3, int), "test_image": good}, ["both or neither"]),
    ]:
        np.savez(path, **content)
        refused(lambda: images.npz(path), "file.npz", *words)


# --- resizing


def test_resized_changes_size_and_fingerprint(tmp_path):
    data = images.from_arrays("x", noise(4, 12, 16, 3), [0, 1, 0, 1], noise(2, 12, 16, 3), [0, 1])
    small = images.resized(data, 6, "box")
    assert small.size == (6, 6, 3) and small.test_image.shape == (2, 6, 6, 3) and small.resizer == "box"
    expected = data.image[:, :, 2:14].reshape(4, 6, 2, 6, 2, 3).astype(float).mean((2, 4))
    np.testing.assert_allclose(small.image, expected, atol=1.0)
    assert small.fingerprint != data.fingerprint
    assert images.resized(small, 6) is small
    refused(lambda: images.resized(data, 6, "cubic"), "'cubic'")
    refused(lambda: images.resized(data, 0), "size 0")


def test_resized_keeps_lazy_images_lazy(classes_folder):
    lazy = images.resized(images.folder(classes_folder, limit_bytes=0), 4)
    memory = images.resized(images.folder(classes_folder), 4)
    assert isinstance(lazy.image, Lazy) and lazy.image.shape == (6, 4, 4, 3)
    np.testing.assert_array_equal(np.stack([lazy.image[i] for i in range(6)]), memory.image)


# --- batches


def test_device_batches(classes_folder):
    data = images.folder(classes_folder)
    source = images.batches(data, 4, seed=0)
    assert isinstance(source, DeviceSource) and source.arrays["image"].dtype == np.uint8
    step = jax.jit(source.batch)
    seen = []
    for s in range(3):  # two epochs of six
        batch = step(source.arrays, KEY, s)
        assert set(batch) == {"image", "label", "index"}
        assert batch["image"].dtype == jnp.float32 and batch["image"].shape == (4, 8, 8, 3)
        assert batch["label"].dtype == batch["index"].dtype == jnp.int32
        index = np.asarray(batch["index"])
        np.testing.assert_allclose(batch["image"], data.image[index] / 127.5 - 1, atol=1e-6)
        np.testing.assert_array_equal(batch["label"], data.label[index])
        seen += index.tolist()
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_unlabelled_batches_have_no_label(tmp_path):
    source = images.batches(images.from_arrays("x", noise(3, 4, 4)), 2, seed=0)
    assert set(source.batch(source.arrays, KEY, jnp.asarray(0))) == {"image", "index"}


def test_host_batches_from_lazy_images(classes_folder):
    memory, lazy = images.folder(classes_folder), images.folder(classes_folder, limit_bytes=0)
    source = images.batches(lazy, 4, seed=5)
    assert isinstance(source, HostSource)
    iterator = source.iterate(0)
    raw = [next(iterator) for _ in range(6)]
    seen = []
    for s, arrays in enumerate(raw):
        assert arrays["image"].dtype == np.uint8 and arrays["image"].shape == (4, 8, 8, 3)
        batch = jax.jit(source.batch)(arrays, KEY, s)
        assert batch["index"].dtype == batch["label"].dtype == jnp.int32
        index = np.asarray(batch["index"])
        np.testing.assert_allclose(batch["image"], memory.image[index] / 127.5 - 1, atol=1e-6)
        np.testing.assert_array_equal(batch["label"], memory.label[index])
        seen += index.tolist()
    epochs = np.array(seen).reshape(4, 6)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(6), (4, 1)))
    resumed = source.iterate(3)
    for s in range(3, 6):
        np.testing.assert_array_equal(next(resumed)["index"], raw[s]["index"])
    other = images.batches(lazy, 4, seed=6).iterate(0)
    assert [next(other)["index"].tolist() for _ in range(6)] != [arrays["index"].tolist() for arrays in raw]


def test_flips_mirror_about_half_anew_each_step():
    data = images.from_arrays("x", noise(1, 4, 4))
    plain, source = images.batches(data, 200, seed=0), images.batches(data, 200, seed=0, flip=True)
    image = plain.batch(plain.arrays, KEY, jnp.asarray(0))["image"][0]
    masks = []
    for s in range(2):
        flipped = np.asarray(jax.jit(source.batch)(source.arrays, KEY, s)["image"])
        same, mirrored = (np.isclose(flipped, x).all((1, 2, 3)) for x in (image, image[:, ::-1]))
        assert (same ^ mirrored).all() and 60 < mirrored.sum() < 140
        masks.append(mirrored)
    assert 60 < (masks[0] ^ masks[1]).sum() < 140


def test_batch_size_is_checked():
    with pytest.raises(ValueError, match="batch_size"):
        images.batches(images.from_arrays("x", noise(3, 4, 4)), 0, seed=0)
