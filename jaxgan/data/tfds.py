"""tensorflow-datasets without TensorFlow: image sets that are prepared (`preparing`) become `Images`.

TFDS itself is imported only to prepare and to decode: a set decoded once is read back from a file
beside it (a 60,000-image set takes seconds to decode and 0.1 s to read back).
"""

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.images import DEFAULT_LIMIT_BYTES, DEFAULT_SIZE, DataError, Images, from_arrays
from jaxgan.data.pixels import Lazy
from jaxgan.data.prepared_sets import Prepared, default_data_dir, find, split_counts
from jaxgan.data.preparing import how_to_prepare, prepare, quiet
from jaxgan.data.resizing import check_resizer, square

CHUNK = 512


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
            raise DataError(f"{name} is not prepared in {data_dir}; run: {how_to_prepare(name)}")
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
    counts = split_counts(information)
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
