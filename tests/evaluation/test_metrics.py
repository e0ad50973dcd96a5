"""The table of metrics: every row measures, names what it lacks, and hands the right sides to the right function."""

import numpy as np
import pytest

from jaxgan.evaluation import metrics
from jaxgan.evaluation.frechet import frechet_distance, moments
from jaxgan.evaluation.memorisation import authenticity, copying_test
from jaxgan.evaluation.metrics import METRICS, Material, measure
from jaxgan.evaluation.precision_recall import prdc

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(0, 1, (90, 5)), RNG.normal(0.4, 1.2, (60, 5))
IMAGES = RNG.integers(0, 256, (60, 12, 12, 1), np.uint8)


def material(**more: object) -> Material:
    probabilities = RNG.dirichlet(np.full(4, 0.02), 60)
    everything = {
        "training": REAL,
        "held_out": RNG.normal(0, 1, (200, 5)),
        "probabilities": probabilities,
        "asked": np.arange(60) % 4,
        "fake_images": IMAGES,
        "training_images": RNG.integers(0, 256, (50, 12, 12, 1), np.uint8),
        "held_out_images": RNG.integers(0, 256, (40, 12, 12, 1), np.uint8),
        "accuracy": lambda images, label: float(len(images) + label[1]),
        "path_length": lambda: (3.0, 0.5),
    }
    return Material(REAL, FAKE, **{**everything, **more})


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_gives_numbers_and_says_what_it_lacks(name):
    found = measure(material(), [name])
    assert found and all(isinstance(value, str) or np.isfinite(value) for value in found.values())
    assert METRICS[name].says
    for field in METRICS[name].needs:
        with pytest.raises(ValueError, match=f"metric {name} needs"):
            measure(material(**{field: None}), [name])


def test_real_and_generated_are_not_mixed_up():
    found = measure(material(), ["frechet", "prdc", "memorisation", "classification_accuracy"])
    np.testing.assert_allclose(found["frechet_distance"], frechet_distance(moments(REAL), moments(FAKE)))
    # swapped, precision would be recall
    expected = prdc(REAL, FAKE)
    assert expected["precision"] != expected["recall"]
    assert {name: found[name] for name in expected} == expected
    assert found["authenticity"] == authenticity(REAL, FAKE) and found["classification_accuracy"] == 61.0


def test_only_inception_makes_a_fid():
    names = ["frechet", "kernel", "frechet_infinity", "inception_score"]
    plain, published = (set(measure(material(inception=which), names)) for which in (False, True))
    assert {"fid", "kid", "fid_infinity", "inception_score"} <= published and not published & plain
    assert {"frechet_distance", "kernel_distance", "frechet_infinity", "classifier_score"} <= plain


def test_large_sets_are_thinned_where_all_pairs_are_looked_at(monkeypatch):
    monkeypatch.setattr(metrics, "MOST_NEIGHBOURS", 40)
    found = measure(material(), ["prdc"])
    assert found["num_neighbours_of"] == 40 and found["precision"] != prdc(REAL, FAKE)["precision"]
    assert measure(material(), ["prdc"]) == found and measure(material(seed=1), ["prdc"]) != found
    # as many held-out examples as fakes: with the 200 that there are z would be another
    one = material()
    assert one.held_out is not None
    assert measure(one, ["memorisation"])["copying_z"] != copying_test(REAL, one.held_out, FAKE)["z"]


def test_pairs_of_pictures_are_within_a_class():
    # two classes of one picture each: within classes all alike, across them not
    two = np.stack([IMAGES[0], IMAGES[1]])[np.arange(60) % 2]
    asked = np.arange(60) % 2
    within = measure(material(fake_images=two, asked=asked), ["ms_ssim"])
    assert within["ms_ssim"] > 0.999 and within["ms_ssim_pairs"] == "of the class asked for"
    any_two = measure(material(fake_images=two, asked=None, probabilities=None), ["ms_ssim"])
    assert any_two["ms_ssim"] < 0.9 and any_two["ms_ssim_pairs"] == "any"
