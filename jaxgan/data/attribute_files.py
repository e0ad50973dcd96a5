"""Files that say which attributes the pictures of a folder have: a table of one's own, or CelebA's list."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxgan.data.images import DataError, listed, one_line

NAMES = ("attributes.csv", "list_attr_celeba.txt")
HAS = {"1": 1, "true": 1, "yes": 1, "0": 0, "-1": 0, "false": 0, "no": 0}


@dataclass(frozen=True)
class Table:
    """What a file says: names of attributes, and for each picture a row of 0 and 1, by its path below the file."""

    path: Path
    attributes: tuple[str, ...]
    rows: dict[str, list[int]]

    def of(self, pictures: Sequence[Path]) -> np.ndarray:
        """uint8 [n, attributes] of pictures below the file's folder; one is also found by its name alone.

        DataError, naming it, for a picture of which the file says nothing.
        """
        found = []
        for picture in pictures:
            inside = picture.relative_to(self.path.parent).as_posix()
            row = self.rows.get(inside, self.rows.get(picture.name))
            if row is None:
                raise DataError(f"{self.path} says nothing of {inside}; it has a row for each picture")
            found.append(row)
        return np.array(found, np.uint8).reshape(len(pictures), len(self.attributes))


def beside(folder: Path) -> Table | None:
    """The table of a folder of pictures: ``attributes.csv`` or ``list_attr_celeba.txt`` in it, or None.

    attributes.csv: a first line ``file,NAME,NAME,...``, then a line for each picture: its path in the folder and for
    each attribute 1 or 0 (also -1, true, false, yes, no). CelebA's list: how many there are, the names, and lines
    with 1 and -1, parted by spaces.
    DataError, naming the file and line, if it is neither.
    """
    path = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {one_line(error)}") from error
    if path.suffix == ".csv":
        try:
            table = list(enumerate(csv.reader(text.splitlines()), 1))
        except csv.Error as error:
            raise DataError(f"{path} cannot be read: {one_line(error)}") from error
        lines = [(i, [cell.strip() for cell in line]) for i, line in table if line]
        names = lines[0][1][1:] if lines else []
    else:
        lines = [(i, line.split()) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2 or len(lines[0][1]) != 1:
            raise DataError(f"{path} begins with a line that says how many pictures there are, then the names")
        lines = lines[1:]
        names = lines[0][1]
    if not names or len(set(names)) < len(names) or "" in names:
        raise DataError(f"{path} names {listed(names)}; its line of names is file,NAME,NAME,... and each is another")
    rows: dict[str, list[int]] = {}
    for i, (picture, *values) in lines[1:]:
        if len(values) != len(names) or any(value.lower() not in HAS for value in values):
            raise DataError(f"{path}, line {i}: {listed(values)}; a picture has {len(names)} values, 1 or 0")
        if picture in rows:
            raise DataError(f"{path}, line {i}: {picture} has a row already")
        rows[picture] = [HAS[value.lower()] for value in values]
    return Table(path, tuple(names), rows)
