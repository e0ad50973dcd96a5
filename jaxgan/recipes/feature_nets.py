"""The feature net of an evaluation: random convolutions, or a classifier trained once and cached."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import jaxgan
from jaxgan.config import Options, RequestError, to_json
from jaxgan.data.images import Images
from jaxgan.evaluation.features import FeatureNet, random_conv
from jaxgan.recipes.folder import load, write_description
from jaxgan.training.checkpoint import CheckpointError
from jaxgan.training.loop import Plan, fit


def feature_net(options: Options, images: Images) -> FeatureNet:
    """The net that ``--features`` names: "random-conv", "classifier", "auto", or the folder of a `classifier` run."""
    labelled = images.label is not None and images.num_classes >= 2
    if options.features == "random-conv" or (options.features == "auto" and not labelled):
        return random_conv(images.size)
    if options.features in ("classifier", "auto"):
        if not labelled:
            raise RequestError(f"--features classifier needs labels, and {images.name} has none: use random-conv")
        return _load(_cached_classifier(images), images)
    if not (Path(options.features) / "config.json").exists():
        raise RequestError(
            f"--features {options.features}: neither auto, classifier, random-conv nor the folder of a classifier run"
        )
    return _load(Path(options.features), images)


def _load(directory: Path, images: Images) -> FeatureNet:
    from jaxgan.recipes import classifier

    run = load(directory)
    if run.recipe_name != "classifier":
        raise RequestError(f"{directory} is a run of {run.recipe_name}, not of classifier")
    if tuple(run.data["shape"]) != images.size:
        raise RequestError(f"{directory} classifies images of {tuple(run.data['shape'])}, not {images.size}")
    return classifier.feature_net(run.config, run.data, run.state)


def _cached_classifier(images: Images) -> Path:
    """The folder of the classifier of a data set, trained now if it was not before."""
    from jaxgan.recipes import classifier

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jaxgan" / "classifiers"
    preset = classifier.PRESETS["cpu"]
    made_by = hashlib.sha256(json.dumps([jaxgan.__version__, to_json(preset.config)]).encode()).hexdigest()
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
            if fit(recipe, made, Plan(quiet=True, log_every=100), seed=0).stopped != "end":
                raise KeyboardInterrupt
            shutil.move(made, directory)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"could not keep the classifier in {cache}: {error.strerror}") from error
    return directory
