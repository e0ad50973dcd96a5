"""tensorflow-datasets without TensorFlow: prepare and read image data sets as array_record.

``digits``, ``mnist``, ``fashion_mnist`` and ``cifar10`` are prepared by builders of our own (`official`). Every
other TFDS set is read if it is prepared; preparing it takes TensorFlow.

TFDS itself is imported only to prepare and to decode: a set decoded once is read back from a file
beside it (a 60,000-image set takes seconds to decode and 0.1 s to read back).
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.data import official
from jaxgan.data.images import DEFAULT_LIMIT_BYTES, DEFAULT_SIZE, DataError, Images, Lazy, from_arrays
from jaxgan.data.resizing import check_resizer, square

CHUNK = 512


class Prepared(NamedTuple):
    """A prepared set: its TFDS name (name or name/config), version, folder, split sizes and bytes on disk."""

    name: str
    version: str
    path: Path
    num_train: int
    num_test: int
    num_bytes: int


def default_data_dir() -> Path:
    """$JAXGAN_DATA_DIR, or else $TFDS_DATA_DIR, or else ~/tensorflow_datasets as in TFDS."""
    chosen = os.environ.get("JAXGAN_DATA_DIR") or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser()


def prepared(data_dir: str | Path | None = None) -> list[Prepared]:
    """Every data set prepared in `data_dir`, sorted by name and version; empty if there is no such folder."""
    data_dir = default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    infos = [*data_dir.glob("*/*/dataset_info.json"), *data_dir.glob("*/*/*/dataset_info.json")]
    found = [_described(info.parent, data_dir) for info in infos]
    return sorted((one for one in found if one), key=lambda one: (one.name, _ordered(one.version)))


def find(name: str, data_dir: str | Path | None = None) -> Prepared | None:
    """The newest prepared version of `name` (name, name/config, either with :version), or None."""
    name, _, version = name.partition(":")
    if not re.fullmatch(r"\w+(/\w[\w.+-]*)?", name):
        return None  # not even a name: a path, say
    data_dir = default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    found = [_described(info.parent, data_dir) for info in (data_dir / name).glob("*/dataset_info.json")]
    fitting = [one for one in found if one and version in ("", one.version)]
    return max(fitting, key=lambda one: _ordered(one.version), default=None)


def online(url: str, timeout: float = 0.5) -> bool:
    """Whether the host of `url`, or the proxy for it, accepts a connection within `timeout` seconds.

    TFDS by itself tries an unreachable host for minutes.
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    reached = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout):
            reached.set()

    # in a thread, for looking up a name has no time limit of its own
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout)
    return reached.is_set()


def prepare(name: str, data_dir: str | Path | None = None, files: str | Path | None = None) -> Prepared:
    """Prepares `name` in `data_dir` as array_record, unless it is there already.

    files: a folder with the official files (`official.SETS`), used in place of a download. Downloaded or
    not, every file must match TFDS's checksum. Several processes may prepare the same set at once:
    each writes a folder of its own, and the first to finish renames it into place.
    Raises DataError if it cannot be had: offline, a wrong or missing file, an unwritable folder, or
    a set that needs TensorFlow where there is none.
    """
    data_dir = default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    if found := find(name, data_dir):
        return found
    if name != "digits" and name not in official.SETS:
        return _prepare_by_tensorflow(name, data_dir, files)
    download = name in official.SETS and files is None
    if download and not online(official.SETS[name].url):
        raise DataError(_offline(name, data_dir))
    if name in official.SETS and files is not None:
        files = Path(files).expanduser()
        if missing := [file for file in official.SETS[name].files if not (files / file).is_file()]:
            raise DataError(f"{files} lacks {', '.join(missing)} of {name}; get them from {official.SETS[name].url}")
    elif files is not None:
        raise DataError(f"{name} takes no files: it comes with scikit-learn")
    staging = _staging(data_dir)
    try:
        with quiet(loud=download):
            import tensorflow_datasets as tfds

            config = tfds.download.DownloadConfig(
                manual_dir=None if files is None else os.fspath(files),
                force_checksums_validation=True,
                try_download_gcs=False,  # Google's prepared copies are tfrecord, which has no random access
            )
            builder = official.builder(name)(data_dir=os.fspath(staging))
            downloads = data_dir / "downloads" if download else staging / "downloads"
            _download_and_prepare(builder, config, downloads, name)
            version = str(builder.version)
        target = data_dir / name / version
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            (staging / name / version).rename(target)
        except OSError as error:
            if find(name, data_dir) is None:  # else another process was first
                raise DataError(f"{target} is in the way of preparing {name}: remove it") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    found = find(name, data_dir)
    if found is None:
        raise DataError(f"{data_dir / name} vanished while {name} was prepared; try again")
    return found


def load(
    name: str,
    data_dir: str | Path | None = None,
    files: str | Path | None = None,
    download: bool = True,
    size: int | None = None,
    resizer: str = "lanczos",
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> Images:
    """The image data set `name` (name, name/config, either with :version), prepared first if need be.

    download: whether an unprepared set may be downloaded; ``digits`` and `files` need no network.
    size, resizer: for sets whose pictures are not squares of one size: the centre square is resized
    to `size` (default 64) pixels a side. Squares keep their own size here.
    limit_bytes: held in memory as uint8 up to this many decoded bytes, else decoded lazily.
    The images are the feature ``image``, or the only image feature; the labels the class label
    ``label``, or the only one. The training part is the split ``train``, or the only split; the test
    part is ``test``, or else ``validation`` (`Images.note` says so).
    Raises DataError as `prepare` does, and if the set is not array_record or holds no images.
    """
    check_resizer(resizer)
    data_dir = default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    found = find(name, data_dir)
    if found is None:
        if not download and files is None and name != "digits":
            raise DataError(f"{name} is not prepared in {data_dir}; run: {_command(name)}")
        found = prepare(name, data_dir, files)
    return _read(found, size, resizer, limit_bytes)


def load_domains(
    name: str,
    data_dir: str | Path | None = None,
    size: int | None = None,
    resizer: str = "lanczos",
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> tuple[Images, Images]:
    """The two domains of a prepared set of ``cycle_gan``, such as ``cycle_gan/horse2zebra``, unlabelled.

    Their parts are the splits trainA and testA, trainB and testB. data_dir, size, resizer and limit_bytes mean what
    they mean in `load`. Raises DataError if the set is not prepared: that takes TensorFlow.
    """
    check_resizer(resizer)
    data_dir = default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    found = find(name, data_dir)
    if found is None:
        raise DataError(
            f"{name} is not prepared in {data_dir}: prepare it where TensorFlow is, or unpack its official archive, "
            "which has folders trainA and trainB, and write domains:PATH"
        )
    a, b = (_read(found, size, resizer, limit_bytes, (f"train{letter}", f"test{letter}")) for letter in "AB")
    return a, b


def _prepare_by_tensorflow(name: str, data_dir: Path, files: str | Path | None) -> Prepared:
    if importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"{name} is not prepared in {data_dir}, and needs TensorFlow to be prepared: pip install 'jaxgan[tf]'"
        )
    with quiet(loud=True):
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder(name, data_dir=os.fspath(_writable(data_dir)), try_gcs=False)
        except Exception as error:  # an unknown name, config or version: TFDS has a class for each
            raise DataError(f"{name} cannot be prepared: {_first_line(error)}") from error
        url = next(iter(builder.url_infos or {}), None)
        if files is None and url and not online(url):
            raise DataError(_offline(name, data_dir, url))
        config = tfds.download.DownloadConfig(
            manual_dir=None if files is None else os.fspath(files), try_download_gcs=False
        )
        _download_and_prepare(builder, config, data_dir / "downloads", name)
    found = find(name, data_dir)
    if found is None:
        raise DataError(f"{name} was prepared, but is not found in {data_dir}; name it with its config: {name}/CONFIG")
    return found


def _download_and_prepare(builder: Any, config: Any, downloads: Path, name: str) -> None:
    from tensorflow_datasets.core.download import download_manager, util

    try:
        builder.download_and_prepare(
            download_dir=os.fspath(downloads), download_config=config, file_format="array_record"
        )
    except DataError as error:
        raise DataError(_first_line(error)) from error  # TFDS adds lines of its own
    except download_manager.NonMatchingChecksumError as error:
        raise DataError(f"{_first_line(error).rstrip(':')}: it is not the official file of {name}") from error
    except (OSError, util.DownloadError) as error:
        raise DataError(f"{name} could not be prepared: {_first_line(error)}") from error


def _read(
    found: Prepared, size: int | None, resizer: str, limit_bytes: int, splits: tuple[str, str] | None = None
) -> Images:
    """splits: those that are the training and the test part, where they are not named so; then without labels."""
    features = json.loads((found.path / "features.json").read_text())
    information = json.loads((found.path / "dataset_info.json").read_text())
    if information.get("fileFormat") != "array_record":
        raise DataError(
            f"{found.path} is {information.get('fileFormat', 'tfrecord')}, which has no random access: "
            f"prepare {found.name} as array_record, in another --data-dir or after removing it"
        )
    image_key, shape = _image_feature(found, features)
    label_key = None if splits else _label_feature(features)
    attributes_key, attributes = (None, ()) if splits else _attributes_feature(features)
    counts = _counts(information)
    train, test = _parts(found, counts, *(splits or ("train", "test")))
    height, width, channels = (int(d) if int(d) > 0 else None for d in shape)
    fits = height is not None and height == width
    side = height if height is not None and fits else size or DEFAULT_SIZE
    planes = channels or 3
    used = "none" if fits else resizer
    lazy = (counts[train] + (counts[test] if test else 0)) * side * side * planes > limit_bytes
    note = f"test images are the {test} split" if test == "validation" else ""

    def open_source(split: str, skip_images: bool = False) -> Any:
        with quiet():
            import tensorflow_datasets as tfds

            builder = tfds.builder_from_directory(os.fspath(found.path))
            skip = {image_key: tfds.decode.SkipDecoding()} if skip_images else None
            return builder.as_data_source(split=split, decoders=skip)

    def pixels(example: Mapping[str, Any]) -> np.ndarray:
        image = np.asarray(example[image_key])
        if channels is None and image.shape[-1] != 3:  # pictures that differ in channels: grey to colour, alpha off
            image = np.repeat(image[..., :1], 3, -1) if image.shape[-1] < 3 else image[..., :3]
        return image if fits else square(image, side, resizer)

    def read_all() -> dict[str, np.ndarray]:
        content: dict[str, np.ndarray] = {}
        for prefix, split in (("", train), ("test_", test)):
            if split is None or (lazy and label_key is None and attributes_key is None):
                continue
            source = open_source(split, skip_images=lazy)
            n = len(source)
            image = np.empty((0 if lazy else n, side, side, planes), np.uint8)
            label, attribute = np.zeros(n, np.int32), np.zeros((n, len(attributes)), np.uint8)
            with quiet():
                for start in range(0, n, CHUNK):
                    rows = list(range(start, min(start + CHUNK, n)))
                    for row, example in zip(rows, source.__getitems__(rows), strict=True):
                        if not lazy:
                            image[row] = pixels(example)
                        if label_key:
                            label[row] = example[label_key]
                        if attributes_key:
                            attribute[row] = [example[attributes_key][name] for name in attributes]
            if not lazy:
                content[prefix + "image"] = image
            if label_key:
                content[prefix + "label"] = label
                content["classes"] = np.array(source.dataset_info.features[label_key].names)
            if attributes_key:
                content[prefix + "attribute"] = attribute
        return content

    shaped = "" if lazy or fits else f"-{side}-{resizer}"
    named = f"-{train}" if splits else ""
    said = "-attributes" if attributes_key else ""
    copy = found.path.with_name(f"{'labels' if lazy else 'decoded'}-{found.version}{named}{said}{shaped}.npz")
    content = _cached(copy, _identity(found), read_all)
    classes = tuple(str(c) for c in content.get("classes", ()))
    label, test_label = content.get("label"), content.get("test_label")
    if test_label is not None and test_label.min() < 0:  # how TFDS marks test parts whose labels are secret
        note, test, test_label = f"the {test} split has no labels and is left out", None, None
    told = (content.get("attribute"), content.get("test_attribute") if test else None, attributes)
    if not lazy:
        test_image = content.get("test_image") if test else None
        return from_arrays(found.name, content["image"], label, test_image, test_label, classes, note, used, *told)

    def lazily(split: str) -> Lazy:
        source = open_source(split)
        with quiet():
            pixels(source[0])  # TFDS warns about its decoder at the first image
        return Lazy(lambda i: pixels(source[i]), (counts[split], side, side, planes))

    identity = f"{found.name} {found.version} {sorted(counts.items())} {side} {used}{named}"
    digest = hashlib.sha256(identity.encode()).hexdigest()
    test_lazy = lazily(test) if test else None
    return Images(found.name, lazily(train), label, test_lazy, test_label, classes, digest, note, used, "", *told)


def _image_feature(found: Prepared, features: Mapping[str, Any]) -> tuple[str, list[str]]:
    """(feature name, [height, width, channel]), dimensions that vary being "-1"."""
    described = features.get("featuresDict", {}).get("features", {})
    images = {key: feature["image"] for key, feature in described.items() if "image" in feature}
    key = "image" if "image" in images else next(iter(images), None)
    if key is None or (key != "image" and len(images) > 1):
        raise DataError(f"{found.name} has no single image feature; its features are {', '.join(described)}")
    if images[key].get("dtype", "uint8") != "uint8":
        raise DataError(f"the images of {found.name} are {images[key]['dtype']}; only uint8 is read")
    return key, images[key].get("shape", {}).get("dimensions", ["-1", "-1", "-1"])


def _label_feature(features: Mapping[str, Any]) -> str | None:
    described = features.get("featuresDict", {}).get("features", {})
    labels = [key for key, feature in described.items() if "classLabel" in feature]
    return "label" if "label" in labels else labels[0] if len(labels) == 1 else None


def _attributes_feature(features: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The one feature that is a dictionary of booleans, such as celeb_a's, and its names; else None and no names."""
    described = features.get("featuresDict", {}).get("features", {})
    groups = {
        key: feature["featuresDict"].get("features", {})
        for key, feature in described.items()
        if "featuresDict" in feature
    }
    told = [
        key
        for key, inner in groups.items()
        if inner and all(_is_boolean(one.get("tensor", {})) for one in inner.values())
    ]
    # sorted: their order in the file is not that of the builder, nor the same every time
    return (told[0], tuple(sorted(groups[told[0]]))) if len(told) == 1 else (None, ())


def _is_boolean(tensor: Mapping[str, Any]) -> bool:
    return tensor.get("dtype") == "bool" and not tensor.get("shape", {}).get("dimensions")


def _parts(found: Prepared, counts: Mapping[str, int], train: str, test: str) -> tuple[str, str | None]:
    """The names of the training and the test split, those asked for or what stands for them."""
    wanted = train
    train = wanted if wanted in counts else next(iter(counts), "") if len(counts) == 1 else ""
    if not counts.get(train):
        raise DataError(f"{found.name} has no split '{wanted}'; its splits are {', '.join(counts) or 'none'}")
    return train, next((split for split in (test, "validation") if counts.get(split) and split != train), None)


def _counts(information: Mapping[str, Any]) -> dict[str, int]:
    return {split["name"]: sum(map(int, split.get("shardLengths", []))) for split in information.get("splits", [])}


def _described(path: Path, data_dir: Path) -> Prepared | None:
    parts = path.relative_to(data_dir).parts
    if any(part.startswith((".", "incomplete.")) for part in parts) or not _ordered(parts[-1]):
        return None
    try:
        information = json.loads((path / "dataset_info.json").read_text())
        num_bytes = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    except (OSError, ValueError):
        return None
    counts = _counts(information)
    domains = counts.get("trainA", 0) + counts.get("trainB", 0)
    train = counts.get("train", next(iter(counts.values()), 0) if len(counts) == 1 else domains)
    test = counts.get("test", counts.get("validation", counts.get("testA", 0) + counts.get("testB", 0)))
    return Prepared("/".join(parts[:-1]), parts[-1], path, train, test, num_bytes)


def _ordered(version: str) -> tuple[int, ...]:
    """The version for comparing, empty if it is none."""
    numbers = version.split(".")
    return tuple(map(int, numbers)) if len(numbers) == 3 and all(n.isdecimal() for n in numbers) else ()


def _identity(found: Prepared) -> str:
    """What the decoded copy is valid for: the set's description and its files' names, sizes and times."""
    digest = hashlib.sha256((found.path / "dataset_info.json").read_bytes())
    for file in sorted(found.path.iterdir()):
        status = file.stat()
        digest.update(f"\n{file.name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _cached(path: Path, key: str, make: Any) -> dict[str, np.ndarray]:
    """make()'s arrays, from `path` if that was written for `key`; every array there carries a CRC-32."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["key"]) == key:
                return {name: file[name] for name in file.files if name != "key"}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        pass  # absent or damaged: made anew
    content = make()
    # a data dir that others own may be read-only; then it is decoded every time
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".decoded-")
        try:
            with os.fdopen(handle, "wb") as out:
                np.savez(out, key=np.array(key), **content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    return content


def _writable(data_dir: Path) -> Path:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise DataError(
            f"{data_dir} cannot be written ({error.strerror}); choose another with --data-dir or JAXGAN_DATA_DIR"
        ) from error
    return data_dir


def _staging(data_dir: Path) -> Path:
    # Our own, for TFDS draws the name of its temporary folder from `random`, which forked or
    # equally seeded processes share.
    return Path(tempfile.mkdtemp(dir=_writable(data_dir), prefix=".preparing-"))


@contextlib.contextmanager
def quiet(loud: bool = False) -> Iterator[None]:
    """Silences TFDS; when `loud` its messages and progress bars go to standard error, never to standard output."""
    sink = sys.stderr if loud else io.StringIO()
    with contextlib.redirect_stdout(sink):
        import absl.logging
        from tensorflow_datasets.core.utils import tqdm_utils

        verbosity = absl.logging.get_verbosity()
        absl.logging.set_verbosity(absl.logging.ERROR)
        (tqdm_utils.enable_progress_bar if loud else tqdm_utils.disable_progress_bar)()
        try:
            yield
        finally:
            absl.logging.set_verbosity(verbosity)
            tqdm_utils.enable_progress_bar()


def _offline(name: str, data_dir: Path, url: str | None = None) -> str:
    url = url or official.SETS[name].url
    reach = f"{name} is not prepared in {data_dir}, and {urllib.parse.urlsplit(url).hostname} cannot be reached: "
    if name not in official.SETS:
        return reach + "connect, or copy a prepared folder there"
    return reach + f"connect, or run: {_command(name)} (FOLDER holding {', '.join(official.SETS[name].files)})"


def _command(name: str) -> str:
    return f"jaxgan data prepare {name}" + (" --files FOLDER" if name in official.SETS else "")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
