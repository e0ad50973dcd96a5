"""The protocol of an evaluation of images: which real ones, which net, which metrics, and a row that says all of it.

Two rows of different protocol are no comparison: `jaxgan.evaluation.rows.protocol` is what must agree.
"""

import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.arrays import to_uint8
from jaxgan.config import RequestError, check_seed
from jaxgan.data.folders import folder
from jaxgan.data.images import Images
from jaxgan.data.pixels import Lazy, in_parts
from jaxgan.evaluation.features import FeatureNet, features, probabilities
from jaxgan.evaluation.metrics import DEFAULT, METRICS, Material, check_there, measure
from jaxgan.recipes.classification_accuracy import classification_accuracy

# images in [-1, 1] or uint8 [b, height, width, channel], and the classes that were asked for, if any
Batches = Iterable[tuple[np.ndarray, np.ndarray | None]]

ROWS_AT_ONCE = 500
ARRAY_KEYS = ("samples", "image", "images", "arr_0")


@dataclass(frozen=True)
class Protocol:
    """What is measured; n is the number of generated images, None for all that there are."""

    metrics: tuple[str, ...] = ()
    split: str = "train"
    n: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown:
            raise RequestError(f"--metrics {unknown[0]}: there is no such metric; there are {', '.join(METRICS)}")
        if self.split not in ("train", "test"):
            raise RequestError(f"--split is train or test, got {self.split!r}")
        if self.n is not None and self.n < 2:
            raise RequestError(f"--n is at least 2, got {self.n}")
        check_seed(self.seed)

    def chosen(self, net: FeatureNet) -> tuple[str, ...]:
        """The metrics asked for; by default those that the net can give."""
        if self.metrics:
            return self.metrics
        return tuple(name for name in DEFAULT if "probabilities" not in METRICS[name].needs or net.classify is not None)


@dataclass(frozen=True, eq=False)
class Reference:
    """Real images as a feature net sees them.

    images, split, fingerprint, real: what is compared with, and its features. learned: what the generator learned
    from; training, held_out: features of its two parts, None where there is no such part or nobody asked.
    """

    images: Images
    net: FeatureNet
    split: str
    fingerprint: str
    real: np.ndarray
    learned: Images
    training: np.ndarray | None
    held_out: np.ndarray | None


def refer(
    images: Images,
    net: FeatureNet,
    split: str = "train",
    metrics: Iterable[str] = DEFAULT,
    learned: Images | None = None,
) -> Reference:
    """The reference that a split of a data set is, its features computed once and kept on disk.

    learned: the data that the generator learned from, where that is another set.
    """
    part = images.image if split == "train" else images.test_image
    if part is None:
        raise RequestError(f"--split test: {images.name} has no test images")
    # a data set that a run recalls without its examples has none
    if not len(part):
        raise RequestError(f"{images.name} has no images to compare with")
    learned = images if learned is None else learned
    real = _kept(net, part, _fingerprint(images, split))
    own: dict[str, np.ndarray | None] = {"train": None, "test": None}
    if any({"training", "held_out"} & METRICS[name].reads for name in metrics):
        for name, image in (("train", learned.image), ("test", learned.test_image)):
            if learned is images and name == split:
                own[name] = real
            elif image is not None:
                own[name] = _kept(net, image, _fingerprint(learned, name))
    return Reference(images, net, split, _fingerprint(images, split), real, learned, own["train"], own["test"])


def evaluate(
    reference: Reference,
    generated: Batches,
    metrics: Iterable[str],
    seed: int = 0,
    path_length: Callable[[], tuple[float, float]] | None = None,
) -> dict[str, Any]:
    """One row: the metrics of generated images, and how they were measured. Images are seen a batch at a time.

    path_length: of the generator that made them, where there is one.
    """
    net, names, learned = reference.net, tuple(metrics), reference.learned
    reads = frozenset().union(*(METRICS[name].reads for name in names))
    there = {
        "asked": True,  # known when the first batch was made
        "fake_images": True,
        "probabilities": net.classify is not None,
        "training": reference.training is not None,
        "training_images": True,
        "held_out_images": learned.test_image is not None,
        "accuracy": learned.test_label is not None,
        "path_length": path_length is not None and not net.resizer,
    }
    try:
        for name in names:
            check_there(name, [field for field, given in there.items() if given])
        seen: list[np.ndarray] = []
        classes: list[np.ndarray] = []
        asked: list[np.ndarray] = []
        kept: list[np.ndarray] = []
        for made, label in generated:
            # what would be saved is what is measured: 256 levels
            pixels = made if made.dtype == np.uint8 else np.asarray(to_uint8(made))
            seen.append(features(net, pixels, ROWS_AT_ONCE))
            if "probabilities" in reads and net.classify is not None:
                classes.append(probabilities(net, pixels, ROWS_AT_ONCE))
            if label is not None:
                asked.append(label)
            if "fake_images" in reads:
                kept.append(pixels)
        wanted = "held_out_images" in reads and learned.test_image is not None
        found = measure(
            Material(
                real=reference.real,
                fake=np.concatenate(seen),
                training=reference.training,
                held_out=reference.held_out,
                probabilities=np.concatenate(classes) if classes else None,
                asked=np.concatenate(asked) if asked else None,
                fake_images=np.concatenate(kept) if kept else None,
                training_images=in_memory(learned.image) if "training_images" in reads else None,
                held_out_images=in_memory(learned.test_image) if wanted and learned.test_image is not None else None,
                accuracy=partial(classification_accuracy, learned, seed=seed) if "accuracy" in reads else None,
                path_length=path_length,
                inception=net.inception,
                seed=seed,
            ),
            names,
        )
    except ValueError as error:
        raise RequestError(str(error)) from error
    said = {
        "n_real": len(reference.real),
        "n_fake": sum(map(len, seen)),
        "split": reference.split,
        "features": net.name,
        "features_hash": net.identity[:16],
        "reference": reference.images.name,
        "reference_hash": reference.fingerprint[:16],
        "resizer": net.resizer or reference.images.resizer,
        "seed": seed,
    }
    if reads & {"training", "training_images", "held_out_images", "accuracy"}:
        said["training_hash"] = learned.fingerprint[:16]
        if learned.test_image is not None:
            said["held_out_hash"] = _fingerprint(learned, "test")[:16]
    if reference.images.note:
        said["note"] = reference.images.note
    return found | said


def read_images(path: Path) -> np.ndarray | Lazy:
    """The images of a folder or an archive (.npz), uint8 [n, height, width, channel].

    An archive has them under samples, image, images or arr_0, as uint8, or as floats in [-1, 1]. Pictures of a folder
    are of one square size: what is measured is not resized in passing.
    """
    try:
        if path.is_dir():
            found = folder(path)
            if found.resizer != "none":
                raise RequestError(f"{path}: its pictures are not all of one square size: bring them to one first")
            return found.image
        if path.suffix != ".npz" or not path.is_file():
            raise RequestError(f"{path} is neither a run, a folder of images nor an .npz archive")
        with np.load(path) as archive:
            key = next((key for key in ARRAY_KEYS if key in archive.files), None)
            if key is None:
                there = ", ".join(archive.files) or "none"
                raise RequestError(f"{path} has no array {', '.join(ARRAY_KEYS)}; it has {there}")
            array = archive[key]
    except RequestError:
        raise
    except (ValueError, TypeError, AttributeError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise RequestError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    array = array[..., None] if array.ndim == 3 else array
    if array.ndim != 4 or not len(array):
        raise RequestError(f"{path}: {key} is [n, height, width, channel], got shape {array.shape}")
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating) or not (np.abs(array) <= 1.0).all():
        raise RequestError(f"{path}: {key} is uint8 or floats in [-1, 1]")
    if array.min() >= 0:
        raise RequestError(f"{path}: {key} lies in [0, 1]; floats are in [-1, 1], black at -1")
    return np.asarray(to_uint8(array))


def chosen(images: np.ndarray | Lazy, n: int | None, seed: int) -> Iterator[tuple[np.ndarray, None]]:
    """Batches of n of the images, drawn from `seed`; all of them, in order, for None."""
    if n is not None and n < len(images):
        rows = np.sort(np.random.default_rng(seed).permutation(len(images))[:n])
        images = images[rows] if isinstance(images, np.ndarray) else np.stack([images[int(i)] for i in rows])
    for part in in_parts(images, ROWS_AT_ONCE):
        yield part, None


def in_memory(images: np.ndarray | Lazy) -> np.ndarray:
    """Images as one array."""
    return images if isinstance(images, np.ndarray) else np.concatenate(list(in_parts(images)))


def _fingerprint(images: Images, split: str) -> str:
    if split == "train":
        return images.fingerprint
    return images.test_fingerprint or hashlib.sha256(f"test of {images.fingerprint}".encode()).hexdigest()


def _kept(net: FeatureNet, images: np.ndarray | Lazy, fingerprint: str) -> np.ndarray:
    """Features of all images, from the cache where they are there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jaxgan" / "references"
    of = hashlib.sha256(f"{net.name} {net.identity} {net.resizer} {fingerprint}".encode()).hexdigest()
    path = cache / f"{of[:32]}.npy"
    if path.is_file():
        try:
            kept = np.load(path, allow_pickle=False)
            if kept.ndim == 2 and len(kept) == len(images):
                return kept
        except (OSError, ValueError, EOFError):
            pass  # half a file is no cache: made anew below
    # an array is fed whole, so that its last batch is padded and no second program compiled
    parts = [images] if isinstance(images, np.ndarray) else in_parts(images, ROWS_AT_ONCE)
    found = np.concatenate([features(net, part, ROWS_AT_ONCE) for part in parts])
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, suffix=".npy", delete=False) as partial:
            np.save(partial, found)
        os.replace(partial.name, path)
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else
    return found
