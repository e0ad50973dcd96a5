import contextlib
import gzip
import hashlib
import io
import multiprocessing
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxgan.data import images, official, tfds
from jaxgan.data.images import Lazy
from tests.data.files import refused

RNG = np.random.default_rng(0)


def multiset(image: np.ndarray, label: np.ndarray) -> list[tuple[int, bytes]]:
    """Examples without their order: TFDS shuffles when it writes."""
    return sorted((int(k), pixels.tobytes()) for pixels, k in zip(image, label, strict=True))


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))


@pytest.fixture
def idx_files(tmp_path: Path) -> Path:
    """Files named and laid out as MNIST's, with 20 and 10 images of noise."""
    folder = tmp_path / "files"
    folder.mkdir(exist_ok=True)
    for stem, n in (("train", 20), ("t10k", 10)):
        write_idx(folder / f"{stem}-images-idx3-ubyte.gz", RNG.integers(0, 256, (n, 28, 28), np.uint8))
        write_idx(folder / f"{stem}-labels-idx1-ubyte.gz", (np.arange(n) * 3 % 10).astype(np.uint8))
    return folder


@pytest.fixture
def cifar_files(tmp_path: Path) -> Path:
    """An archive laid out as CIFAR-10's, with 4 images in each file and a member that must not be unpacked."""
    folder = tmp_path / "files"
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        add("../escaped", b"x")
        add("cifar-10-batches-bin/batches.meta.txt", "\n".join([*map(chr, range(97, 107)), ""]).encode())
        for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
            rows = RNG.integers(0, 256, (4, 3073), np.uint8)
            rows[:, 0] = (np.arange(4) + i) % 10
            rows[0, 1:1025] = np.repeat(np.arange(32) * 7, 32)  # the first image's red grows from top to bottom
            add(f"cifar-10-batches-bin/{name}.bin", rows.tobytes())
    return folder


def trust(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path) -> None:
    """Has the builder expect the checksums of the files in `folder`; they are still compared."""
    make = official.builder

    def builder(asked: str):
        cls = make(asked)
        if asked == name:
            infos = {}
            for url, info in cls.url_infos.items():
                content = (folder / info.filename).read_bytes()
                infos[url] = type(info)(len(content), hashlib.sha256(content).hexdigest(), info.filename)
            cls.url_infos = infos
        return cls

    monkeypatch.setattr(official, "builder", builder)


# --- digits


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


def test_digits_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "online", lambda *a, **k: pytest.fail("asked for the network"))
    assert len(tfds.load("digits", tmp_path, download=False).image) == 1497


def _prepare(data_dir: str, barrier) -> None:
    import tensorflow_datasets  # noqa: F401

    barrier.wait()
    tfds.prepare("digits", data_dir)


def test_two_processes_may_prepare_at_once(tmp_path, prepared_digits):
    expected = tfds.load("digits", prepared_digits).fingerprint
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_prepare, args=(str(tmp_path), barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert tfds.load("digits", tmp_path).fingerprint == expected
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["digits"]  # no temporary folder is left


def test_losing_the_race_reads_the_winners(tmp_path, prepared_digits, monkeypatch):
    run = tfds._download_and_prepare

    def slow(*args):
        run(*args)
        shutil.copytree(prepared_digits / "digits" / "1.0.0", tmp_path / "digits" / "1.0.0")

    monkeypatch.setattr(tfds, "_download_and_prepare", slow)
    assert tfds.prepare("digits", tmp_path).num_train == 1497
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["digits"]


# --- the decoded copy


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
    iterator = images.batches(lazy, 32, seed=0).iterate(0)
    raw = next(iterator)
    np.testing.assert_array_equal(raw["image"], memory.image[raw["index"]])


# --- the official sets


def test_catalogue_of_official_files_is_tfdss():
    for name, fetched in official.SETS.items():
        infos = official.builder(name).url_infos
        assert set(infos) == {fetched.url + file for file in fetched.files}
        assert {info.filename for info in infos.values()} == set(fetched.files)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_are_prepared(name, idx_files, tmp_path, monkeypatch, capfd):
    trust(monkeypatch, name, idx_files)
    data = tfds.load(name, tmp_path, idx_files)
    assert capfd.readouterr() == ("", "")
    train = official.read_idx(idx_files / "train-images-idx3-ubyte.gz")
    assert train.shape == (20, 28, 28)
    assert multiset(data.image, data.label) == multiset(train, np.arange(20) * 3 % 10)
    test = official.read_idx(idx_files / "t10k-images-idx3-ubyte.gz")
    assert multiset(data.test_image, data.test_label) == multiset(test, np.arange(10) * 3 % 10)
    assert data.classes[9] == {"mnist": "9", "fashion_mnist": "Ankle boot"}[name]
    found = tfds.find(name, tmp_path)
    assert (found.version, found.num_train, found.num_test) == ("3.0.1", 20, 10)
    assert not (tmp_path / "downloads").exists()


def test_cifar10_archive_is_prepared(cifar_files, tmp_path, monkeypatch):
    trust(monkeypatch, "cifar10", cifar_files)
    data = tfds.load("cifar10", tmp_path / "data-dir", cifar_files)
    assert data.size == (32, 32, 3) and len(data.image) == 20 and len(data.test_image) == 4
    assert data.classes == tuple("abcdefghij")
    np.testing.assert_array_equal(np.bincount(data.label, minlength=10), [1, 2, 3, 4, 4, 3, 2, 1, 0, 0])
    assert (data.image[..., 0] == np.arange(32)[:, None] * 7).all((1, 2)).sum() == 5
    assert not list(tmp_path.rglob("escaped"))
    import tensorflow_datasets

    path = os.fspath(tmp_path / "data-dir" / "cifar10" / "3.0.2")
    ids = {x["id"] for x in tensorflow_datasets.builder_from_directory(path).as_data_source(split="train")}
    assert ids == {f"train_{i:05d}".encode() for i in range(20)}


def test_wrong_checksums_are_refused(idx_files, cifar_files, tmp_path):
    for name in ("fashion_mnist", "cifar10"):
        refused(lambda name=name: tfds.load(name, tmp_path / "data-dir", cifar_files), "checksum", "official", name)
    assert not list((tmp_path / "data-dir").iterdir())


def test_missing_files_are_named(idx_files, tmp_path):
    (idx_files / "t10k-labels-idx1-ubyte.gz").unlink()
    refused(lambda: tfds.prepare("mnist", tmp_path, idx_files), "lacks t10k-labels-idx1-ubyte.gz")
    refused(lambda: tfds.prepare("digits", tmp_path, idx_files), "takes no files")


def test_broken_files_are_explained(tmp_path):
    path = tmp_path / "x.gz"
    for content, word in [
        (b"plain", "gzip"),
        (gzip.compress(b"\0\0\x0d\x01"), "IDX"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x05abc"), "(5,)"),
    ]:
        path.write_bytes(content)
        refused(lambda: official.read_idx(path), "x.gz", word)
    refused(lambda: official.read_cifar10(path), "x.gz", "archive")
    with tarfile.open(path, "w:gz"):
        pass
    refused(lambda: official.read_cifar10(path), "x.gz", "lacks")


@pytest.mark.slow
def test_fashion_mnist_itself(shared_data, tmp_path):
    files = shared_data / "fashion_mnist"
    data = tfds.load("fashion_mnist", tmp_path, files)
    assert len(data.image) == 60000 and len(data.test_image) == 10000
    image = np.frombuffer(gzip.decompress((files / "train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    label = np.frombuffer(gzip.decompress((files / "train-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    assert multiset(data.image, data.label) == multiset(image.reshape(-1, 28 * 28), label)
    start = time.perf_counter()
    assert tfds.load("fashion_mnist", tmp_path).fingerprint == data.fingerprint
    assert time.perf_counter() - start < 1


# --- offline, and other sets


@pytest.mark.parametrize("name", list(official.SETS))
def test_offline_is_said_at_once(name, tmp_path, monkeypatch):
    def lost(address, timeout):
        threading.Event().wait(20)  # a name server that never answers
        return contextlib.nullcontext()

    monkeypatch.setattr(tfds.socket, "create_connection", lost)
    start = time.perf_counter()
    refused(
        lambda: tfds.load(name, tmp_path),
        "cannot be reached",
        f"jaxgan data prepare {name} --files FOLDER",
        *official.SETS[name].files,
    )
    assert time.perf_counter() - start < 1
    refused(lambda: tfds.load(name, tmp_path, download=False), "not prepared", f"jaxgan data prepare {name}")


def test_online_means_that_a_connection_is_accepted():
    with tfds.socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert tfds.online(f"http://127.0.0.1:{port}/file")
    assert not tfds.online(f"http://127.0.0.1:{port}/file")


def test_behind_a_proxy_the_proxy_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(tfds.urllib.request, "getproxies", lambda: {"https": "http://proxy.example:3128"})
    monkeypatch.setattr(tfds.urllib.request, "proxy_bypass", lambda host: host == "inside.example")
    monkeypatch.setattr(
        tfds.socket, "create_connection", lambda address, timeout: asked.append(address) or io.BytesIO()
    )
    assert tfds.online("https://outside.example/x") and tfds.online("https://inside.example/x")
    assert asked == [("proxy.example", 3128), ("inside.example", 443)]


def test_other_sets_need_tensorflow_only_to_be_prepared(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds.importlib.util, "find_spec", lambda name: None)
    refused(lambda: tfds.load("celeb_a", tmp_path), "celeb_a", "needs TensorFlow", "pip install 'jaxgan[tf]'")


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

    with tfds.quiet():
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
    assert tfds.find("foreign:1.0.0", tmp_path) is None
    lazy = tfds.load("foreign", tmp_path, size=8, limit_bytes=10)
    np.testing.assert_array_equal(np.stack([lazy.image[i] for i in range(3)]), data.image)


def test_a_set_with_one_split_and_no_labels(tmp_path):
    make_set(tmp_path, (8, 8, 3), [(8, 8)] * 3, ("everything",), label=False)
    data = tfds.load("foreign", tmp_path)
    assert data.label is None and data.classes == () and data.test_image is None and data.resizer == "none"
    assert len(tfds.load("foreign", tmp_path, limit_bytes=0).image) == 3
    assert tfds.prepared(tmp_path)[0][:2] == ("foreign", "2.1.0")


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


def test_unwritable_places_are_explained(tmp_path):
    (tmp_path / "file").write_text("x")
    refused(
        lambda: tfds.load("digits", tmp_path / "file" / "dir"), "cannot be written", "--data-dir", "JAXGAN_DATA_DIR"
    )


def test_prepared_lists_what_is_there(prepared_digits, tmp_path):
    assert tfds.prepared(tmp_path / "nowhere") == []
    (tmp_path / "broken" / "1.0.0").mkdir(parents=True)
    (tmp_path / "broken" / "1.0.0" / "dataset_info.json").write_text("{")
    assert tfds.prepared(tmp_path) == []
    (one,) = tfds.prepared(prepared_digits)
    assert one.name == "digits" and one.version == "1.0.0" and one.num_bytes > 100_000
    assert (one.num_train, one.num_test) == (1497, 300) and one.path == prepared_digits / "digits" / "1.0.0"


def test_newest_version_is_found(prepared_digits, tmp_path):
    for version in ("1.0.0", "1.10.0", "1.9.0", "1.11.0.incompleteX"):
        shutil.copytree(prepared_digits / "digits" / "1.0.0", tmp_path / "digits" / version)
    assert tfds.find("digits", tmp_path).version == "1.10.0"
    assert tfds.find("/etc", tmp_path) is None and tfds.find("../digits", tmp_path / "digits") is None


def test_default_data_dir(monkeypatch, tmp_path):
    assert tfds.default_data_dir() == tmp_path / "default-data-dir"
    monkeypatch.setenv("TFDS_DATA_DIR", "/b")
    assert tfds.default_data_dir() == tmp_path / "default-data-dir"
    monkeypatch.delenv("JAXGAN_DATA_DIR")
    assert tfds.default_data_dir() == Path("/b")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert tfds.default_data_dir() == Path.home() / "tensorflow_datasets"


def test_reading_a_decoded_set_imports_no_tfds_and_prints_nothing(prepared_digits):
    tfds.load("digits", prepared_digits)
    code = (
        "import sys; from jaxgan.data import tfds; "
        f"tfds.load('digits', {str(prepared_digits)!r}); assert 'tensorflow_datasets' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_preparing_prints_nothing(tmp_path):
    code = f"from jaxgan.data import tfds; tfds.load('digits', {str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
