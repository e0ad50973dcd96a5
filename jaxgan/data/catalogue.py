"""The edge where a string becomes a data set: ``--data`` and ``--data-dir`` of the command line."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxgan.data import images, tfds
from jaxgan.data.images import DEFAULT_LIMIT_BYTES, DataError, Images
from jaxgan.data.tfds import Prepared


@dataclass(frozen=True)
class Known:
    """A line of the catalogue; shape is (height, width, channel), how says where the data come from."""

    name: str
    description: str
    shape: tuple[int, int, int]
    num_classes: int
    how: str


_FETCHED = "downloaded on first use, or prepared from the official files: --data-dir FOLDER"
KNOWN: Mapping[str, Known] = {
    known.name: known
    for known in (
        Known("digits", "1,797 handwritten digits (UCI)", (8, 8, 1), 10, "comes with scikit-learn, no network"),
        Known("mnist", "70,000 handwritten digits", (28, 28, 1), 10, _FETCHED),
        Known("fashion_mnist", "70,000 pictures of clothes", (28, 28, 1), 10, _FETCHED),
        Known("cifar10", "60,000 small photographs", (32, 32, 3), 10, _FETCHED),
    )
}


def load(
    spec: str,
    data_dir: str | Path | None = None,
    files: str | Path | None = None,
    size: int | None = None,
    resizer: str = "lanczos",
    download: bool = True,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> Images:
    """The images that `spec` names: a TFDS name, ``folder:PATH`` or ``npz:PATH``.

    data_dir: where TFDS sets are prepared and kept, default `tfds.default_data_dir()`; or a folder
    that holds the official files of the set, itself or in a subfolder of the set's name: then the
    set is prepared from them in the default place.
    files: the folder with the official files, where `data_dir` is to be something else.
    size: pixels a side; default the images' own, or 64 if they have no common one. See `images.resized`.
    limit_bytes: decoded images are held in memory up to this many bytes, else read as they are needed.
    Raises DataError with one line on what is wrong and what would be right.
    """
    kind, separator, path = spec.partition(":")
    if kind in ("folder", "npz") and separator:
        if files is not None:
            raise DataError(f"'{spec}' takes no official files")
        if kind == "folder":
            return images.folder(Path(path).expanduser(), size, resizer, limit_bytes=limit_bytes)
        loaded = images.npz(Path(path).expanduser())
    else:
        data_dir, files = _places(spec, data_dir, files)
        _check_name(spec, data_dir)
        loaded = tfds.load(spec, data_dir, files, download, size, resizer, limit_bytes)
    return loaded if size is None else images.resized(loaded, size, resizer)


def prepare(spec: str, data_dir: str | Path | None = None, files: str | Path | None = None) -> Prepared:
    """Prepares a TFDS set; the arguments mean what they mean in `load`. Nothing happens if it is prepared already."""
    if spec.partition(":")[0] in ("folder", "npz"):
        raise DataError(f"'{spec}' is read as it is and needs no preparing")
    data_dir, files = _places(spec, data_dir, files)
    _check_name(spec, data_dir)
    return tfds.prepare(spec, data_dir, files)


def prepared(data_dir: str | Path | None = None) -> list[Prepared]:
    """Every set prepared in `data_dir` (default `tfds.default_data_dir()`), sorted by name and version."""
    return tfds.prepared(data_dir)


def _places(name: str, data_dir: str | Path | None, files: str | Path | None) -> tuple[Path, Path | None]:
    """(where it is prepared, where its official files lie or None)."""
    place = tfds.default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    if files is not None:
        return place, Path(files).expanduser()
    official = tfds.OFFICIAL.get(name)
    if data_dir is None or official is None or tfds.find(name, place):
        return place, None
    for folder in (place, place / name):
        lacking = [file for file in official.files if not (folder / file).is_file()]
        if not lacking:
            return tfds.default_data_dir(), folder
        if len(lacking) < len(official.files):
            raise DataError(f"{folder} holds some official files of {name} but lacks {', '.join(lacking)}")
    return place, None


def _check_name(spec: str, data_dir: Path) -> None:
    dataset = spec.partition(":")[0].partition("/")[0]
    if spec in KNOWN or tfds.find(spec, data_dir):
        return
    with tfds.quiet():
        import tensorflow_datasets

        names = {*KNOWN, *tensorflow_datasets.list_builders(with_community_datasets=False)}
    if dataset in names:
        return
    if spec and Path(spec).expanduser().exists():
        form = "folder" if Path(spec).expanduser().is_dir() else "npz"
        raise DataError(f"'{spec}' is a path, not a data set's name: write {form}:{spec}")
    near = difflib.get_close_matches(dataset, sorted(names), n=3, cutoff=0.6)
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    raise DataError(
        f"unknown data set '{spec}': {guess}known are {', '.join(KNOWN)}, "
        "any image set of tensorflow-datasets, folder:PATH and npz:PATH"
    )
