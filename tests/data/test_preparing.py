"""TFDS sets prepared from official files, in races, without a network, and what is said where that cannot be."""

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

from jaxgan.data import official, prepared_sets, preparing, tfds
from tests.data.files import multiset, refused

RNG = np.random.default_rng(0)


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


def test_digits_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "online", lambda *a, **k: pytest.fail("asked for the network"))
    assert len(tfds.load("digits", tmp_path, download=False).image) == 1497


def _prepare(data_dir: str, barrier) -> None:
    import tensorflow_datasets  # noqa: F401

    barrier.wait()
    preparing.prepare("digits", data_dir)


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
    run = preparing._download_and_prepare

    def slow(*args):
        run(*args)
        shutil.copytree(prepared_digits / "digits" / "1.0.0", tmp_path / "digits" / "1.0.0")

    monkeypatch.setattr(preparing, "_download_and_prepare", slow)
    assert preparing.prepare("digits", tmp_path).num_train == 1497
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["digits"]


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
    found = prepared_sets.find(name, tmp_path)
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
    refused(lambda: preparing.prepare("mnist", tmp_path, idx_files), "lacks t10k-labels-idx1-ubyte.gz")
    refused(lambda: preparing.prepare("digits", tmp_path, idx_files), "takes no files")


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


@pytest.mark.parametrize("name", list(official.SETS))
def test_offline_is_said_at_once(name, tmp_path, monkeypatch):
    def lost(address, timeout):
        threading.Event().wait(20)  # a name server that never answers
        return contextlib.nullcontext()

    monkeypatch.setattr(preparing.socket, "create_connection", lost)
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
    with preparing.socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert preparing.online(f"http://127.0.0.1:{port}/file")
    assert not preparing.online(f"http://127.0.0.1:{port}/file")


def test_behind_a_proxy_the_proxy_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(preparing.urllib.request, "getproxies", lambda: {"https": "http://proxy.example:3128"})
    monkeypatch.setattr(preparing.urllib.request, "proxy_bypass", lambda host: host == "inside.example")
    monkeypatch.setattr(
        preparing.socket, "create_connection", lambda address, timeout: asked.append(address) or io.BytesIO()
    )
    assert preparing.online("https://outside.example/x") and preparing.online("https://inside.example/x")
    assert asked == [("proxy.example", 3128), ("inside.example", 443)]


def test_other_sets_need_tensorflow_only_to_be_prepared(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing.importlib.util, "find_spec", lambda name: None)
    refused(lambda: tfds.load("celeb_a", tmp_path), "celeb_a", "needs TensorFlow", "pip install 'jaxgan[tf]'")


def test_unwritable_places_are_explained(tmp_path):
    (tmp_path / "file").write_text("x")
    refused(
        lambda: tfds.load("digits", tmp_path / "file" / "dir"), "cannot be written", "--data-dir", "JAXGAN_DATA_DIR"
    )


def test_preparing_prints_nothing(tmp_path):
    code = f"from jaxgan.data import tfds; tfds.load('digits', {str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
