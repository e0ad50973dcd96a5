"""The data of a recipe: opened from the options, or recalled from a run's description without its examples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.config import Options, RequestError
from jaxgan.data import catalogue, toy
from jaxgan.data.images import DataError, Images

Data = Images | toy.Mixture
TOYS = {"ring": toy.ring, "grid": toy.grid}


def open_data(options: Options) -> Data:
    """The data set that ``--data`` names."""
    if options.data in TOYS:
        return TOYS[options.data]()
    try:
        return catalogue.load(
            options.data,
            data_dir=None if options.data_dir is None else Path(options.data_dir),
            size=options.size,
            resizer=options.resizer,
        )
    except DataError as error:
        raise RequestError(str(error)) from error


def describe(data: Data) -> dict[str, Any]:
    """What a run's folder says of its data; enough for `recall`."""
    if isinstance(data, toy.Mixture):
        return {"kind": "mixture", "name": data.name, "fingerprint": None}
    return {
        "kind": "images",
        "name": data.name,
        "fingerprint": data.fingerprint,
        "shape": list(data.size),
        "classes": list(data.classes),
        "n_train": len(data.image),
        "n_test": 0 if data.test_image is None else len(data.test_image),
        "resizer": data.resizer,
        "note": data.note,
    }


def recall(description: Mapping[str, Any]) -> Data:
    """A data set with the described shape and classes and no examples: enough to rebuild nets and samplers."""
    if description["kind"] == "mixture":
        return {mixture.name: mixture for mixture in (make() for make in TOYS.values())}[description["name"]]
    return Images(
        name=description["name"],
        image=np.zeros((0, *description["shape"]), np.uint8),
        label=np.zeros((0,), np.int32) if description["classes"] else None,
        test_image=None,
        test_label=None,
        classes=tuple(description["classes"]),
        fingerprint=description["fingerprint"],
        note=description["note"],
        resizer=description["resizer"],
    )


def need_images(data: Data) -> Images:
    if not isinstance(data, Images):
        raise RequestError(f"this recipe learns images, and {data.name!r} is a set of points: use jaxgan train ring")
    return data
