"""Which TFDS sets are prepared in a folder, by the descriptions that lie beside them; nothing of them is read."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


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


def split_counts(information: Mapping[str, Any]) -> dict[str, int]:
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
    counts = split_counts(information)
    domains = counts.get("trainA", 0) + counts.get("trainB", 0)
    train = counts.get("train", next(iter(counts.values()), 0) if len(counts) == 1 else domains)
    test = counts.get("test", counts.get("validation", counts.get("testA", 0) + counts.get("testB", 0)))
    return Prepared("/".join(parts[:-1]), parts[-1], path, train, test, num_bytes)


def _ordered(version: str) -> tuple[int, ...]:
    """The version for comparing, empty if it is none."""
    numbers = version.split(".")
    return tuple(map(int, numbers)) if len(numbers) == 3 and all(n.isdecimal() for n in numbers) else ()
