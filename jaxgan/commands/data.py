"""``jaxgan list`` and ``data``: the recipes and the data sets there are."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxgan import recipes
from jaxgan.commands.flags import DONE, MISTAKE, positional
from jaxgan.config import RequestError, parse


def list_recipes(arguments: list[str]) -> int:
    if any(argument not in ("--json",) for argument in arguments):
        wants_help = arguments[0] in ("-h", "--help")
        print("usage: jaxgan list [--json]", file=sys.stdout if wants_help else sys.stderr)
        return DONE if wants_help else MISTAKE
    entries = [dataclasses.asdict(entry) for entry in recipes.INDEX.values()]
    if arguments:
        print(json.dumps(entries))
        return DONE
    entries.insert(0, {"name": "RECIPE", "system": "SYSTEM", "paper": "PAPER", "data": "DATA", "time": "TIME, 2 CORES"})
    widths = {key: max(len(entry[key]) for entry in entries) for key in entries[0]}
    for entry in entries:
        print("  ".join(entry[key].ljust(widths[key]) for key in entry).rstrip())
    return DONE


def data(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Data:
        """Shows the data sets that are known by name and those that are prepared, or prepares one."""

        action: Annotated[Literal["show", "prepare"], positional()] = "show"
        """show, or prepare NAME."""
        name: Annotated[str | None, positional()] = None
        """Data set to prepare."""
        data_dir: Path | None = None
        """Where prepared data sets lie."""
        files: Path | None = None
        """A folder with the official files, used instead of downloading them."""
        json: bool = False
        """Print JSON."""

    asked = parse(Data, arguments, "jaxgan data")
    from jaxgan.data import catalogue
    from jaxgan.data.images import DataError
    from jaxgan.data.prepared_sets import default_data_dir

    try:
        if asked.action == "prepare":
            if asked.name is None:
                raise RequestError(f"prepare what? known by name: {', '.join(catalogue.KNOWN)}")
            print(catalogue.prepare(asked.name, asked.data_dir, asked.files).path)
            return DONE
        there = [row._asdict() | {"path": str(row.path)} for row in catalogue.prepared(asked.data_dir)]
    except DataError as error:
        raise RequestError(str(error)) from error
    folder = asked.data_dir or default_data_dir()
    if asked.json:
        known = [dataclasses.asdict(row) for row in catalogue.KNOWN.values()]
        print(json.dumps({"folder": str(folder), "prepared": there, "known": known}))
        return DONE
    print(f"prepared in {folder}:" if there else f"nothing is prepared in {folder} yet")
    for row in there:
        sizes = f"{row['num_train']:,} train, {row['num_test']:,} test, {row['num_bytes'] / 2**20:.1f} MiB"
        print(f"  {row['name']} {row['version']}: {sizes}, {row['path']}")
    print("known by name:")
    for name, entry in catalogue.KNOWN.items():
        print(f"  {name:14} {entry.description}")
    print("any other image set of tensorflow-datasets by its name, the toys ring and grid, and")
    for form, meaning in catalogue.FORMS.items():
        print(f"  {form:14} {meaning}")
    return DONE
