"""The feature net of an evaluation: random convolutions, or a classifier trained once and cached."""

import hashlib
import json
import os
import sys
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import jaxgan
from jaxgan.config import RequestError, to_json
from jaxgan.data.images import Images
from jaxgan.evaluation.features import FeatureNet, pixels, random_conv
from jaxgan.evaluation.resize import clean, tf1
from jaxgan.recipes.folder import load, write_description
from jaxgan.training.checkpoint import CheckpointError, Checkpoints
from jaxgan.training.loop import Plan, fit_whole


def feature_net(features: str, images: Images, resizer: str = "tf1") -> FeatureNet:
    """The net that ``--features`` names, for images like these.

    "classifier": that of the data set, trained now if it was not before; "random-conv"; "pixels"; "auto": the
    classifier where there are labels, else random convolutions; "inception": the published weights, downloaded
    once; "dinov2:FILE" with weights of that; or a path: the folder of a `classifier` run, or a file with Inception's
    weights (.pth).
    resizer: how Inception's input is resized.
    """
    labelled = images.label is not None and images.num_classes >= 2
    if features == "random-conv" or (features == "auto" and not labelled):
        return _random_conv(images.size)
    if features == "pixels":
        return pixels(images.size)
    if features in ("classifier", "auto"):
        if not labelled:
            raise RequestError(f"--features classifier needs labels, and {images.name} has none: use random-conv")
        return _classifier(_cached_classifier(images), images)
    if features.startswith("dinov2:"):
        path = Path(features.removeprefix("dinov2:"))
        return _dinov2(path, _written(path))
    if features == "inception" or Path(features).suffix in (".pth", ".pt"):
        given = None if features == "inception" else Path(features)
        return _inception(given, resizer, 0 if given is None else _written(given))
    if not (Path(features) / "config.json").exists():
        raise RequestError(
            f"--features {features}: neither auto, classifier, inception, random-conv, pixels, the folder of a "
            "classifier run, a file of Inception weights (.pth) nor dinov2:FILE"
        )
    return _classifier(Path(features), images)


def _classifier(directory: Path, images: Images) -> FeatureNet:
    steps = Checkpoints(directory / "checkpoints").steps()
    newest = directory / "checkpoints" / f"{steps[-1]:08d}" if steps else directory
    return _load(directory.resolve(), images.size, _written(newest))


def _written(path: Path) -> int:
    """When a file was written: a net that was kept is another one after that."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # whoever reads it says what is wrong


RESIZERS = {"tf1": tf1, "clean": clean}
# what is compiled for a net is kept with it, and a population is measured member by member
_random_conv = lru_cache(maxsize=4)(random_conv)


@lru_cache(maxsize=2)
def _inception(path: Path | None, resizer: str, written: int) -> FeatureNet:
    """Inception of the 2015 graph; called by its name, and its distance FID, only with the published weights."""
    from jaxgan.nets import inception

    try:
        weights = inception.load_weights(path)
    except (OSError, ValueError) as error:
        raise RequestError(f"--features {path or 'inception'}: {error}") from error
    extract, classify = inception.extractors(weights.params, RESIZERS[resizer])
    return FeatureNet(weights.name, extract, classify, weights.identity, resizer, weights.is_published)


@lru_cache(maxsize=2)
def _dinov2(path: Path, written: int) -> FeatureNet:
    """The class token of a DINOv2 transformer; pictures are always resized by `clean`."""
    from jaxgan.nets import dinov2

    try:
        weights = dinov2.load_weights(path)
    except (OSError, ValueError) as error:
        raise RequestError(f"--features dinov2:{path}: {error}") from error
    extract, classify = dinov2.extractors(weights.params, clean)
    return FeatureNet(weights.name, extract, classify, weights.identity, "clean")


@lru_cache(maxsize=4)
def _load(directory: Path, size: tuple[int, int, int], written: int) -> FeatureNet:
    from jaxgan.recipes import classifier

    run = load(directory)
    if run.recipe_name != "classifier":
        raise RequestError(f"{directory} is a run of {run.recipe_name}, not of classifier")
    if tuple(run.data["shape"]) != size:
        raise RequestError(f"{directory} classifies images of {tuple(run.data['shape'])}, not {size}")
    return classifier.feature_net(run.config, run.data, run.state)


def _cached_classifier(images: Images) -> Path:
    """The folder of the classifier of a data set, trained now if it was not before."""
    from jaxgan.recipes import classifier

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jaxgan" / "classifiers"
    preset = classifier.PRESETS.get(images.name, classifier.PRESETS["cpu"])
    made_by = hashlib.sha256(
        json.dumps([jaxgan.__version__, to_json(preset.config), preset.options.steps, preset.options.batch]).encode()
    ).hexdigest()
    directory = cache / f"{images.name}-{images.fingerprint[:16]}-{made_by[:8]}"
    if directory.exists():
        return directory
    print(f"training the classifier of {images.name} that judges samples (once)", file=sys.stderr, flush=True)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            made = Path(temporary) / "run"
            made.mkdir()
            options = replace(preset.options, data=images.name)
            write_description(made, "classifier", preset.config, options, images)
            recipe = classifier.make(preset.config, options, images)
            fit_whole(recipe, made, Plan(quiet=True, log_every=100), seed=0)
            try:
                os.rename(made, directory)
            except OSError:
                if not directory.exists():  # else another process was first, with the same
                    raise
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"could not keep the classifier in {cache}: {error.strerror}") from error
    return directory
