"""The data of a recipe: opened from the options, or recalled from a run's description without its examples."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from jaxgan.config import Options, RequestError
from jaxgan.data import catalogue, toy
from jaxgan.data.domains import Domains, unpaired
from jaxgan.data.images import DataError, Images
from jaxgan.data.pairs import Pairs, aligned
from jaxgan.data.transformations import TRANSFORMATIONS

Data = Images | toy.Mixture | Pairs | Domains
TOYS = {"ring": toy.ring, "grid": toy.grid}
# Edges of 60,000 pictures take seconds, and a population asks for them once a program
_ALIGNED: MutableMapping[Images, dict[str, Pairs]] = WeakKeyDictionary()


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
    said: dict[str, Any] = {"name": data.name, "fingerprint": data.fingerprint, "note": data.note}
    if isinstance(data, Domains):
        return {"kind": "domains", **said, "a": describe(data.a), "b": describe(data.b), "aligned": data.aligned}
    said |= {"classes": list(data.classes), "resizer": data.resizer}
    if isinstance(data, Pairs):
        shapes = {"source_shape": list(data.source_size), "target_shape": list(data.target_size)}
        return {"kind": "pairs", **said, **shapes, **_counts(data.target, data.test_target)}
    told = {"attributes": list(data.attributes)} if data.attributes else {}
    return {"kind": "images", **said, **told, "shape": list(data.size), **_counts(data.image, data.test_image)}


def recall(description: Mapping[str, Any]) -> Data:
    """A data set with the described shape and classes and no examples: enough to rebuild nets and samplers."""
    kind, name = description["kind"], description["name"]
    if kind == "mixture":
        return {mixture.name: mixture for mixture in (make() for make in TOYS.values())}[name]
    fingerprint, note = description["fingerprint"], description["note"]
    if kind == "domains":
        a, b = recall(description["a"]), recall(description["b"])
        if not isinstance(a, Images) or not isinstance(b, Images):
            raise ValueError(f"the domains of {name} are no images")
        return Domains(name, a, b, description["aligned"], fingerprint, note)
    classes, resizer = tuple(description["classes"]), description["resizer"]
    label = np.zeros((0,), np.int32) if classes else None

    def no(what: str) -> np.ndarray:
        return np.zeros((0, *description[what]), np.uint8)

    if kind == "pairs":
        source, target = no("source_shape"), no("target_shape")
        return Pairs(name, source, target, label, None, None, None, classes, fingerprint, note, resizer)
    attributes = tuple(description.get("attributes", ()))
    attribute = np.zeros((0, len(attributes)), np.uint8) if attributes else None
    told = (attribute, None, attributes)
    return Images(name, no("shape"), label, None, None, classes, fingerprint, note, resizer, "", *told)


def need_images(data: Data) -> Images:
    if isinstance(data, toy.Mixture):
        raise RequestError(f"this recipe learns images, and {data.name!r} is a set of points: use jaxgan train ring")
    if not isinstance(data, Images):
        what, recipe = ("pairs", "pix2pix") if isinstance(data, Pairs) else ("two domains", "cyclegan")
        raise RequestError(
            f"this recipe learns one set of images, and {data.name!r} is {what}: use jaxgan train {recipe}"
        )
    return data


def need_pairs(data: Data, transformation: str | None) -> Pairs:
    """The pairs themselves, or images as targets with what `transformation` (``--task``) makes of them as sources."""
    if isinstance(data, Pairs):
        return data
    if not isinstance(data, Images):
        what = "a set of points" if isinstance(data, toy.Mixture) else "two domains that nothing pairs"
        raise RequestError(
            f"this recipe learns from pairs, and {data.name!r} is {what}: give --data pairs:PATH, or images and --task"
        )
    if transformation is None:
        raise RequestError(
            f"this recipe learns from pairs, and {data.name!r} is one set of images: say what to make sources of them "
            f"by, as --task canny ({', '.join(TRANSFORMATIONS)}), or give --data pairs:PATH"
        )
    made = _ALIGNED.setdefault(data, {})
    if transformation not in made:
        try:
            made[transformation] = aligned(data, transformation)
        except DataError as error:
            raise RequestError(f"--task {transformation}: {error}") from error
    return made[transformation]


def need_domains(data: Data, transformation: str | None) -> Domains:
    """The domains themselves, or what `unpaired` makes of pairs, or of images and a transformation (``--task``)."""
    if isinstance(data, Domains):
        return data
    if isinstance(data, toy.Mixture) or (isinstance(data, Images) and transformation is None):
        what = "a set of points" if isinstance(data, toy.Mixture) else "one set of images"
        raise RequestError(
            f"this recipe learns from two domains, and {data.name!r} is {what}: give --data X+Y or domains:PATH, or "
            "images and --task canny"
        )
    try:
        return unpaired(need_pairs(data, transformation))
    except DataError as error:
        raise RequestError(str(error)) from error


def _counts(train: Any, test: Any) -> dict[str, int]:
    return {"n_train": len(train), "n_test": 0 if test is None else len(test)}
