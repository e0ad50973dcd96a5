"""Data sets that are prepared here without TensorFlow: digits, MNIST, Fashion-MNIST and CIFAR-10.

They have the official names, versions and checksums, so that any TFDS installation reads the result; digits, which
TFDS lacks, come with scikit-learn.
"""

import gzip
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxgan.data.images import DataError

DIGITS_TEST_PER_CLASS = 30


@dataclass(frozen=True)
class Official:
    """A set prepared here from its official files: where they are, and their names in TFDS's checksum table."""

    url: str
    files: tuple[str, ...]


_IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
SETS: Mapping[str, Official] = {
    "mnist": Official("https://storage.googleapis.com/cvdf-datasets/mnist/", _IDX_FILES),
    "fashion_mnist": Official("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", _IDX_FILES),
    "cifar10": Official("https://www.cs.toronto.edu/~kriz/", ("cifar-10-binary.tar.gz",)),
}


def builder(name: str) -> Any:
    """The builder class; made here, for TFDS is imported late. It gives PIL images: arrays need TensorFlow."""
    import tensorflow_datasets as tfds

    if name == "digits":

        class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
            name = "digits"
            url_infos = None  # else TFDS looks for a checksum table inside our package
            VERSION = tfds.core.Version("1.0.0")

            def _info(self) -> Any:
                return tfds.core.DatasetInfo(
                    builder=self,
                    description="1,797 handwritten digits of 8x8 grey pixels by 13 writers: the test part of "
                    "'Optical Recognition of Handwritten Digits' (UCI), as it comes with scikit-learn; "
                    "levels 0 to 16 scaled to 0 to 255, 30 images of each class set apart for testing.",
                    homepage="https://doi.org/10.24432/C50P49",
                    license="CC BY 4.0",
                    citation="@misc{alpaydin1998optical, author={Alpaydin, E. and Kaynak, C.}, "
                    "title={Optical Recognition of Handwritten Digits}, year={1998}, "
                    "howpublished={UCI Machine Learning Repository}, doi={10.24432/C50P49}}",
                    features=tfds.features.FeaturesDict(
                        {
                            "image": tfds.features.Image(shape=(8, 8, 1)),
                            "label": tfds.features.ClassLabel(num_classes=10),
                        }
                    ),
                    supervised_keys=("image", "label"),
                )

            def _split_generators(self, dl_manager: Any) -> Any:
                image, label, test = digits_arrays()
                return {
                    split: self._generate_examples(image[chosen], label[chosen])
                    for split, chosen in (("train", ~test), ("test", test))
                }

            def _generate_examples(self, image: np.ndarray, label: np.ndarray) -> Any:
                yield from _examples(image, label)

        return Digits

    if name == "cifar10":
        from tensorflow_datasets.image_classification import cifar

        class Cifar10(cifar.Cifar10, skip_registration=True):  # type: ignore[call-arg]
            name = "cifar10"
            url_infos = cifar.Cifar10.url_infos

            def _split_generators(self, dl_manager: Any) -> Any:
                names, splits = read_cifar10(dl_manager.download(self._cifar_info.url))
                self.info.features["label"].names = list(names)
                return {split: self._generate_examples(split, *arrays) for split, arrays in splits.items()}

            def _generate_examples(self, split: str, image: np.ndarray, label: np.ndarray) -> Any:
                for index, example in _examples(image, label):
                    yield index, {"id": f"{split}_{index:05d}", **example}

        return Cifar10

    from tensorflow_datasets.image_classification import mnist

    official = {"mnist": mnist.MNIST, "fashion_mnist": mnist.FashionMNIST}[name]

    class Idx(official, skip_registration=True):  # type: ignore[misc, valid-type, call-arg]
        url_infos = official.url_infos

        def _split_generators(self, dl_manager: Any) -> Any:
            paths = dl_manager.download({file: self.URL + file for file in _IDX_FILES})
            arrays = {file: read_idx(path) for file, path in paths.items()}
            return {
                "train": self._generate_examples(arrays[_IDX_FILES[0]], arrays[_IDX_FILES[1]]),
                "test": self._generate_examples(arrays[_IDX_FILES[2]], arrays[_IDX_FILES[3]]),
            }

        def _generate_examples(self, image: np.ndarray, label: np.ndarray) -> Any:
            yield from _examples(image[..., None], label)

    Idx.name = name
    return Idx


def digits_arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's digits: uint8 [1797, 8, 8, 1], int labels [1797] and which of them are for testing (bool).

    Levels 0 to 16 become round(255 level / 16). The test part is 30 images of each class, evenly
    spaced through the file, which is sorted by writer in part: both parts have all the writers.
    """
    from sklearn.datasets import load_digits

    content = load_digits()
    image = np.round(content.images * 255 / 16).astype(np.uint8)[..., None]
    test = np.zeros(len(image), bool)
    for k in range(10):
        members = np.flatnonzero(content.target == k)
        test[members[np.linspace(0, len(members) - 1, DIGITS_TEST_PER_CLASS).round().astype(int)]] = True
    return image, content.target, test


def read_idx(path: str | Path) -> np.ndarray:
    """The uint8 array in a gzipped IDX file, [n, height, width] or [n]; DataError if it is none."""
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError) as error:
        raise DataError(f"{path} is not a readable gzip file; get the official one") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{path} does not hold IDX data of unsigned bytes; get the official one")
    start = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if len(content) - start != int(np.prod(shape)):
        raise DataError(f"{path} announces {shape} but holds {len(content) - start} bytes; get the official one")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_cifar10(path: str | Path) -> tuple[tuple[str, ...], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """(class names, split -> (uint8 [n, 32, 32, 3], uint8 labels [n])) of CIFAR-10's binary archive.

    Members are read in memory by name: nothing is unpacked to disk, whatever paths the archive holds.
    """
    prefix = "cifar-10-batches-bin/"
    parts = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    wanted = {prefix + name for names in parts.values() for name in names} | {prefix + "batches.meta.txt"}
    content: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.name in wanted and member.isfile():
                    file = archive.extractfile(member)
                    content[member.name] = file.read() if file else b""
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{path} is not a readable .tar.gz archive; get the official one") from error
    if missing := sorted(wanted - set(content)):
        raise DataError(f"{path} lacks {missing[0]}; get the official cifar-10-binary.tar.gz")
    names = tuple(line for line in content[prefix + "batches.meta.txt"].decode().split("\n") if line)
    splits = {}
    for split, members in parts.items():
        data = b"".join(content[prefix + member] for member in members)
        if len(data) % 3073:
            raise DataError(f"{path} holds a broken {split} part; get the official cifar-10-binary.tar.gz")
        rows = np.frombuffer(data, np.uint8).reshape(-1, 3073)  # label, then the red, green and blue plane
        splits[split] = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0]
    return names, splits


def _examples(image: np.ndarray, label: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
    if len(image) != len(label):
        raise DataError(f"{len(image)} images but {len(label)} labels; get the official files")
    for index in range(len(image)):
        pixels = image[index, ..., 0] if image.shape[-1] == 1 else image[index]
        yield index, {"image": Image.fromarray(np.ascontiguousarray(pixels)), "label": int(label[index])}
