"""Classification accuracy score: what a classifier learns from generated images, tested on real ones."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.config import RequestError
from jaxgan.data.images import Images
from jaxgan.recipes import classifier
from jaxgan.training.loop import Plan, fit_whole


def classification_accuracy(
    images: Images, generated: np.ndarray, label: np.ndarray, seed: int = 0, steps: int | None = None, **settings: Any
) -> float:
    """Share of the real test images that a classifier gets right which saw only generated ones.

    generated: uint8 [n, height, width, channel]; label: int [n], the classes they were made for. The classifier is
    the recipe `classifier` with the preset of the data set (as many steps, whatever n), or for `steps` steps and with
    other `settings` of its Config. To be compared with the same after training on real images: `generated=images.image`
    gives it. Minutes, for it trains a net.

    Ravuri, Vinyals, "Classification Accuracy Score for Conditional Generative Models", NeurIPS 2019, arXiv
    1905.10887, section 3 (there with a ResNet-50 on ImageNet).
    """
    if images.test_image is None or images.test_label is None:
        raise RequestError(f"classification accuracy needs a test part, and {images.name} has none")
    preset = classifier.PRESETS.get(images.name, classifier.PRESETS["cpu"])
    made = replace(images, name="generated", image=generated, label=label.astype(np.int32))
    batch = min(preset.options.batch, len(generated))
    options = replace(preset.options, seed=seed, batch=batch, steps=preset.options.steps if steps is None else steps)
    recipe = classifier.make(replace(preset.config, **settings), options, made)
    with tempfile.TemporaryDirectory() as folder:
        outcome = fit_whole(recipe, Path(folder), Plan(quiet=True, log_every=100), seed)
    return float(recipe.evaluations["test"](outcome.state, jax.random.key(seed))["accuracy"])
