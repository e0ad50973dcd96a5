"""The metrics that an evaluation can be asked for: a table from name to what is measured on real and generated images.

A metric looks at a `Material` and returns named numbers. To add one, write its function where it belongs in
this folder and give it a row in `METRICS`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from jaxgan.evaluation.diversity import ms_ssim_diversity
from jaxgan.evaluation.frechet import Moments, frechet_distance, frechet_infinity, moments
from jaxgan.evaluation.inception_score import inception_score
from jaxgan.evaluation.kernel import kernel_distance
from jaxgan.evaluation.likelihood import parzen_bandwidth, parzen_log_likelihood
from jaxgan.evaluation.memorisation import authenticity, copying_test, image_copying_test, nearest_training
from jaxgan.evaluation.modes import class_statistics
from jaxgan.evaluation.precision_recall import prdc
from jaxgan.evaluation.sliced_wasserstein import sliced_wasserstein

MOST_NEIGHBOURS = 10_000


@dataclass(frozen=True, eq=False)
class Material:
    """Real and generated images as metrics see them; what no metric asked for may be None.

    real, fake: features float32 [n, d] and [m, d] of one feature net.
    training, held_out: features of the images that the generator learned from, and of real ones that it did not.
    probabilities: of the classes [m, k], of the generated images.
    asked: int [m], the classes that a conditional generator was told to make.
    fake_images, training_images, held_out_images: uint8 [n, height, width, channel].
    accuracy: (images, labels) -> accuracy on real test images of a classifier that learned from these.
    path_length: () -> `path_length.path_length` of the generator and its standard error.
    inception: the net is the published Inception, so that distances may be called FID and KID.
    seed: of subsets, splits and projections.
    """

    real: np.ndarray
    fake: np.ndarray
    training: np.ndarray | None = None
    held_out: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    asked: np.ndarray | None = None
    fake_images: np.ndarray | None = None
    training_images: np.ndarray | None = None
    held_out_images: np.ndarray | None = None
    accuracy: Callable[[np.ndarray, np.ndarray], float] | None = None
    path_length: Callable[[], tuple[float, float]] | None = None
    inception: bool = False
    seed: int = 0

    @cached_property
    def real_moments(self) -> Moments:
        return moments(self.real)


@dataclass(frozen=True)
class Metric:
    """measure: Material -> numbers by name. says: one line of help.

    needs: fields of `Material` that it cannot do without; uses: those that it takes where they are.
    """

    measure: Callable[[Material], Mapping[str, Any]]
    says: str
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()

    @property
    def reads(self) -> frozenset[str]:
        return frozenset((*self.needs, *self.uses))


# what a field of `Material` that is missing means to somebody who asked for a metric
MISSING = {
    "training": "training images",
    "held_out_images": "a data set with a test part",
    "probabilities": "a feature net that names classes",
    "asked": "a generator that is told the class",
    "path_length": "a run, on features that do not round their input",
}


def _frechet(m: Material) -> Mapping[str, float]:
    return {"fid" if m.inception else "frechet_distance": frechet_distance(m.real_moments, moments(m.fake))}


def _frechet_infinity(m: Material) -> Mapping[str, float]:
    name = "fid_infinity" if m.inception else "frechet_infinity"
    value, error = frechet_infinity(m.real_moments, m.fake, m.seed)
    return {name: value, f"{name}_error": error}


def _kernel(m: Material) -> Mapping[str, float]:
    name = "kid" if m.inception else "kernel_distance"
    subset = min(1000, len(m.real), len(m.fake))
    value, error = kernel_distance(m.real, m.fake, m.seed, subset_size=subset)
    return {name: value, f"{name}_error": error}


def _at_most(n: int, features: np.ndarray, seed: int) -> np.ndarray:
    """n of the rows, drawn from `seed`; all of them where there are no more."""
    return features if len(features) <= n else features[np.random.default_rng(seed).permutation(len(features))[:n]]


def _prdc(m: Material) -> Mapping[str, float]:
    """Of at most 10,000 images on each side, for the cost is that of all pairs."""
    real, fake = (_at_most(MOST_NEIGHBOURS, features, m.seed) for features in (m.real, m.fake))
    return {**prdc(real, fake), "num_neighbours_of": min(len(m.real), MOST_NEIGHBOURS)}


def _inception_score(m: Material) -> Mapping[str, float]:
    assert m.probabilities is not None
    name = "inception_score" if m.inception else "classifier_score"
    value, deviation = inception_score(m.probabilities)
    return {name: value, f"{name}_deviation": deviation}


def _classes(m: Material) -> Mapping[str, float]:
    assert m.probabilities is not None
    agreement = {}
    if m.asked is not None:
        agreement["agreement"] = float((m.probabilities.argmax(-1) == m.asked).mean())
    return {**class_statistics(m.probabilities), **agreement}


def _memorisation(m: Material) -> Mapping[str, float]:
    """Against all training examples; of the held-out ones as many as there are fakes, for more would tell no more."""
    assert m.training is not None
    found = {"authenticity": authenticity(m.training, m.fake)}
    if m.held_out is not None:
        held_out = _at_most(len(m.fake), m.held_out, m.seed)
        found["authenticity_of_held_out"] = authenticity(m.training, held_out)
        found["copying_z"] = copying_test(m.training, held_out, m.fake)["z"]
    return found


def _copies(m: Material) -> Mapping[str, float]:
    assert m.training_images is not None and m.fake_images is not None
    if m.held_out_images is None:
        nearest = nearest_training(m.fake_images, m.training_images).distances
        return {"nearest_training_rms": float(np.median(nearest))}
    tested = image_copying_test(m.training_images, m.held_out_images, m.fake_images)
    return {
        "nearest_training_rms": tested["fake_distance"],
        "nearest_training_rms_of_held_out": tested["test_distance"],
        "copying_z_pixels": tested["z"],
    }


def _ms_ssim(m: Material) -> Mapping[str, Any]:
    """Of pairs within the class that was asked for, or else that the classifier sees; of any two without either."""
    assert m.fake_images is not None
    label, pairs = np.zeros(len(m.fake), np.int64), "any"
    if m.asked is not None:
        label, pairs = m.asked, "of the class asked for"
    elif m.probabilities is not None:
        label, pairs = m.probabilities.argmax(-1), "of the class seen"
    classes = [m.fake_images[label == k] for k in np.unique(label)]
    found = [ms_ssim_diversity(images, seed=m.seed) for images in classes if len(images) > 1]
    if not found:
        raise ValueError("ms_ssim needs two images of a class")
    return {
        "ms_ssim": float(np.mean([one["ms_ssim"] for one in found])),
        "num_scales": found[0]["scales"],
        "ms_ssim_pairs": pairs,
    }


def _sliced_wasserstein(m: Material) -> Mapping[str, float]:
    value, error = sliced_wasserstein(m.real, m.fake, seed=m.seed)
    return {"sliced_wasserstein": value, "sliced_wasserstein_error": error}


def _parzen(m: Material) -> Mapping[str, float]:
    """Goodfellow's protocol in pixels [0, 1]: bandwidth by half of the held-out images, likelihood of the rest."""
    assert m.fake_images is not None and m.held_out_images is not None
    samples, held = (image.reshape(len(image), -1) / 255.0 for image in (m.fake_images, m.held_out_images))
    validation, test = held[: len(held) // 2], held[len(held) // 2 :]
    scores = parzen_log_likelihood(test, samples, parzen_bandwidth(validation, samples, [*np.logspace(-1, 0, 10)]))
    return {"parzen_nats": float(scores.mean()), "parzen_nats_error": float(scores.std(ddof=1) / len(scores) ** 0.5)}


def _path_length(m: Material) -> Mapping[str, float]:
    assert m.path_length is not None
    value, error = m.path_length()
    return {"path_length": value, "path_length_error": error}


def _classification_accuracy(m: Material) -> Mapping[str, float]:
    assert m.accuracy is not None and m.fake_images is not None and m.asked is not None
    return {"classification_accuracy": m.accuracy(m.fake_images, m.asked)}


METRICS: Mapping[str, Metric] = {
    "frechet": Metric(_frechet, "Frechet distance of the features: FID on Inception's"),
    "frechet_infinity": Metric(_frechet_infinity, "the same, extrapolated to infinitely many samples"),
    "kernel": Metric(_kernel, "kernel distance, unbiased: KID on Inception's features"),
    "prdc": Metric(_prdc, "precision and recall (k = 3), density and coverage (k = 5)"),
    "inception_score": Metric(_inception_score, "Inception Score, of whatever classifier", ("probabilities",)),
    "classes": Metric(_classes, "classes that are recognised, and as what was asked for", ("probabilities",)),
    "memorisation": Metric(
        _memorisation, "authenticity and the data-copying test, on features", ("training",), ("held_out",)
    ),
    "copies": Metric(
        _copies,
        "nearest training pictures and the test in pixels, flips and shifts",
        ("fake_images", "training_images"),
        ("held_out_images",),
    ),
    "ms_ssim": Metric(
        _ms_ssim, "likeness of pairs of samples within a class", ("fake_images",), ("asked", "probabilities")
    ),
    "sliced_wasserstein": Metric(_sliced_wasserstein, "mean transport distance of projected features"),
    "parzen": Metric(_parzen, "Parzen-window likelihood of held-out pictures", ("fake_images", "held_out_images")),
    "path_length": Metric(_path_length, "perceptual path length, in the features; of a run", ("path_length",)),
    "classification_accuracy": Metric(
        _classification_accuracy,
        "real test pictures that a classifier gets right which learned from samples (minutes)",
        ("asked", "fake_images", "accuracy"),
    ),
}
DEFAULT = ("frechet", "kernel", "prdc", "classes", "memorisation")


def measure(material: Material, names: Iterable[str] = DEFAULT) -> dict[str, Any]:
    """The numbers of all `names` (keys of `METRICS`) in one flat mapping.

    Raises KeyError for a name that there is not, and ValueError for a metric whose material is missing.
    """
    found: dict[str, Any] = {}
    for name in names:
        metric = METRICS[name]
        check_there(name, [field for field in metric.needs if getattr(material, field) is not None])
        found |= metric.measure(material)
    return found


def check_there(name: str, there: Iterable[str]) -> None:
    """Raises ValueError if a metric cannot be had from these fields of `Material`."""
    missing = [MISSING.get(field, field) for field in METRICS[name].needs if field not in set(there)]
    if missing:
        raise ValueError(f"metric {name} needs {' and '.join(missing)}")
