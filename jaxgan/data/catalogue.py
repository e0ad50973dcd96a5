"""The edge where a string becomes a data set: ``--data`` and ``--data-dir`` of the command line."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jaxgan.data import domains, folders, images, official, prepared_sets, preparing, resizing, tfds
from jaxgan.data.domains import Domains
from jaxgan.data.images import DEFAULT_LIMIT_BYTES, DataError, Images
from jaxgan.data.pairs import Pairs
from jaxgan.data.prepared_sets import Prepared


@dataclass(frozen=True)
class Known:
    """A line of the catalogue; shape is (height, width, channel), how says where the data come from."""

    name: str
    description: str
    shape: tuple[int, int, int]
    num_classes: int
    how: str


_WITH_SCIKIT_LEARN = "comes with scikit-learn, no network"
_FETCHED = "downloaded on first use, or prepared from the official files: --data-dir FOLDER"
KNOWN: Mapping[str, Known] = {
    known.name: known
    for known in (
        Known("digits", "1,797 handwritten digits (UCI)", (8, 8, 1), 10, _WITH_SCIKIT_LEARN),
        Known("mnist", "70,000 handwritten digits", (28, 28, 1), 10, _FETCHED),
        Known("fashion_mnist", "70,000 pictures of clothes", (28, 28, 1), 10, _FETCHED),
        Known("cifar10", "60,000 small photographs", (32, 32, 3), 10, _FETCHED),
        Known("china", "1,000 crops of a photograph of a temple", (64, 64, 3), 0, _WITH_SCIKIT_LEARN),
        Known("flower", "1,000 crops of a photograph of a flower", (64, 64, 3), 0, _WITH_SCIKIT_LEARN),
    )
}
PHOTOGRAPHS = ("china", "flower")


FORMS: Mapping[str, str] = {
    "folder:PATH": "pictures, subfolders are classes",
    "npz:PATH": "arrays of pictures",
    "crops:FILE": "one photograph, cut into many pictures",
    "NAME:CLASS": "one class of a labelled set, as digits:3 or cifar10:horse; or an attribute, as celeb_a:not-Male",
    "X+Y": "two sets of pictures to translate between, as digits:3+digits:8",
    "domains:PATH": "two such sets: folders trainA, trainB, testA, testB",
    "pairs:PATH": "pictures that hold two beside each other, in folders train and test",
}
"""What `load` takes besides names."""
PATHS = ("folder", "npz", "crops", "domains", "pairs")
IMAGE_FORMS = tuple(FORMS)[:4]


def load(
    spec: str,
    data_dir: str | Path | None = None,
    files: str | Path | None = None,
    size: int | None = None,
    resizer: str = "lanczos",
    download: bool = True,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> Images | Pairs | Domains:
    """The data that `spec` names: a set of images, or what image translation learns from.

    - `Images`: a TFDS name, ``folder:PATH``, ``npz:PATH``, ``crops:FILE`` (`folders.crops`), or one class of a
      labelled set, by name or number: ``NAME:CLASS`` (``digits:3``, ``npz:PATH:horse``), or those of its images
      that have an attribute or have it not: ``celeb_a:Male``, ``celeb_a:not-Male``.
    - `Pairs`: ``pairs:PATH`` (`folders.side_by_side`).
    - `Domains`: ``domains:PATH`` (`folders.two_domains`), a prepared ``cycle_gan/...`` of TFDS, or two of the
      images above, ``X+Y`` (`domains.joined`). A path that has a "+" or ":" and exists is taken as it stands.

    data_dir: where TFDS sets are prepared and kept, default `prepared_sets.default_data_dir()`; or a folder
    that holds the official files of the set, itself or in a subfolder of the set's name: then the
    set is prepared from them in the default place.
    files: the folder with the official files, where `data_dir` is to be something else.
    size: pixels a side; default the images' own, or 64 if they have no common one. See `resizing.resized`.
    limit_bytes: decoded images are held in memory up to this many bytes, else read as they are needed.
    Raises DataError with one line on what is wrong and what would be right.
    """
    kind, path = _path(spec)
    both = _halves(spec, data_dir)
    if files is not None and (both or kind):
        raise DataError(f"'{spec}' takes no official files")
    if both:
        a, b = (load_images(half, data_dir, None, size, resizer, download, limit_bytes) for half in both)
        return domains.joined(a, b, size, resizer)
    if kind == "pairs":
        return folders.side_by_side(path, size, resizer, limit_bytes=limit_bytes)
    if kind == "domains":
        return folders.two_domains(path, size, resizer, limit_bytes=limit_bytes)
    if _is_cycle_gan(spec):
        if files is not None:
            raise DataError(f"'{spec}' takes no official files; unpack them and write domains:PATH")
        a, b = tfds.load_domains(spec, data_dir, size, resizer, limit_bytes)
        return replace(domains.joined(a, b, size, resizer), name=spec.partition(":")[0].partition("/")[2])
    return load_images(spec, data_dir, files, size, resizer, download, limit_bytes)


def load_images(
    spec: str,
    data_dir: str | Path | None = None,
    files: str | Path | None = None,
    size: int | None = None,
    resizer: str = "lanczos",
    download: bool = True,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> Images:
    """`load` for those forms of `spec` that name one set of images; DataError for the others."""
    if _halves(spec, data_dir) or _path(spec)[0] in ("pairs", "domains") or _is_cycle_gan(spec):
        raise DataError(f"'{spec}' is not one set of images: write {', '.join(IMAGE_FORMS)} or a name")
    whole, chosen = _class(spec)
    if chosen is not None:
        return domains.only(load_images(whole, data_dir, files, size, resizer, download, limit_bytes), chosen)
    kind, path = _path(spec)
    if files is not None and kind:
        raise DataError(f"'{spec}' takes no official files")
    if kind == "folder":
        return folders.folder(path, size, resizer, limit_bytes=limit_bytes)
    if kind == "crops":
        return folders.crops(path, size, resizer=resizer)
    if spec in PHOTOGRAPHS:
        import sklearn.datasets

        return folders.crops(Path(sklearn.datasets.__file__).parent / "images" / f"{spec}.jpg", size, resizer=resizer)
    if kind == "npz":
        loaded = images.npz(path)
    else:
        data_dir, files = _places(spec, data_dir, files)
        _check_name(spec, data_dir)
        loaded = tfds.load(spec, data_dir, files, download, size, resizer, limit_bytes)
    return loaded if size is None else resizing.resized(loaded, size, resizer)


def prepare(spec: str, data_dir: str | Path | None = None, files: str | Path | None = None) -> Prepared:
    """Prepares a TFDS set; the arguments mean what they mean in `load`. Nothing happens if it is prepared already."""
    if both := _halves(spec, data_dir):
        raise DataError(f"'{spec}' is two sets; prepare {both[0]} and {both[1]}")
    if _path(spec)[0]:
        raise DataError(f"'{spec}' is read as it is and needs no preparing")
    spec = _class(spec)[0]
    data_dir, files = _places(spec, data_dir, files)
    _check_name(spec, data_dir)
    return preparing.prepare(spec, data_dir, files)


def prepared(data_dir: str | Path | None = None) -> list[Prepared]:
    """Every set prepared in `data_dir` (default `prepared_sets.default_data_dir()`), sorted by name and version."""
    return prepared_sets.prepared(data_dir)


def _is_cycle_gan(spec: str) -> bool:
    return re.split("[:/]", spec)[0] == "cycle_gan"


def _path(spec: str) -> tuple[str, Path]:
    """(one of `PATHS`, the path after it), or "" for what names no path."""
    kind, separator, path = spec.partition(":")
    return (kind, Path(path).expanduser()) if separator and kind in PATHS else ("", Path())


def _class(spec: str) -> tuple[str, str | None]:
    """(the set, one of its classes or None): what follows the last colon, unless it is a version or part of a path."""
    kind, path = _path(spec)
    head, separator, chosen = spec.rpartition(":")
    if not separator or re.fullmatch(r"\d+\.\d+\.\d+", chosen) or head in PATHS or (kind and path.exists()):
        return spec, None
    return head, chosen


def _halves(spec: str, data_dir: str | Path | None) -> tuple[str, str] | None:
    """X and Y of ``X+Y``, or None. A name or path with a "+" that exists goes before, in the whole and in a half."""

    def stands(part: str) -> bool:
        head = _class(part)[0]
        kind, path = _path(head)
        if kind:
            return path.exists()
        return bool(head) and ("+" not in head or prepared_sets.find(head, data_dir) is not None)

    places = [i for i, letter in enumerate(spec) if letter == "+"]
    if not places or stands(spec):
        return None
    splits = [(spec[:i], spec[i + 1 :]) for i in places]
    return next((split for split in splits if stands(split[0]) and stands(split[1])), splits[0])


def _places(name: str, data_dir: str | Path | None, files: str | Path | None) -> tuple[Path, Path | None]:
    """(where it is prepared, where its official files lie or None)."""
    place = prepared_sets.default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    if files is not None:
        return place, Path(files).expanduser()
    fetched = official.SETS.get(name)
    if data_dir is None or fetched is None or prepared_sets.find(name, place):
        return place, None
    for folder in (place, place / name):
        lacking = [file for file in fetched.files if not (folder / file).is_file()]
        if not lacking:
            return prepared_sets.default_data_dir(), folder
        if len(lacking) < len(fetched.files):
            raise DataError(f"{folder} holds some official files of {name} but lacks {', '.join(lacking)}")
    return place, None


def _check_name(spec: str, data_dir: Path) -> None:
    dataset = spec.partition(":")[0].partition("/")[0]
    if spec in KNOWN or prepared_sets.find(spec, data_dir):
        return
    with preparing.quiet():
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
        f"any image set of tensorflow-datasets, and {', '.join(FORMS)}"
    )
