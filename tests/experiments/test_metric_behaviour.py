"""Damage is what it says it is, and the committed result shows what each metric notices."""

import json
from dataclasses import replace

import metric_behaviour
import numpy as np
import pytest
from contract import RESULTS

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (60, 12, 12, 1), np.uint8)
LABEL = np.arange(60) % 5
TRAINING = RNG.integers(0, 256, (60, 12, 12, 1), np.uint8)
POOL = np.concatenate([IMAGE, RNG.integers(0, 256, (400, 12, 12, 1), np.uint8)])
PARTS = metric_behaviour.Parts(IMAGE, LABEL, TRAINING, TRAINING, POOL, np.arange(460) % 5)


def damaged(name: str, strength: float) -> np.ndarray:
    found = metric_behaviour.DAMAGES[name](PARTS, strength, np.random.default_rng(1))
    assert found.shape == IMAGE.shape and found.dtype == np.uint8
    return found


def rows_of(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_damages_are_what_they_say():
    originals = rows_of(IMAGE)
    # never one image twice: that would be another damage
    few = rows_of(damaged("dropped classes", 0.6))
    assert len(few) == 60 and few <= rows_of(POOL[PARTS.pool_label < 2])
    uneven = damaged("class imbalance", 1.0)
    where = {image.tobytes(): label for image, label in zip(POOL, PARTS.pool_label, strict=True)}
    counts = np.bincount([where[image.tobytes()] for image in uneven], minlength=5)
    assert len(rows_of(uneven)) == 60 and counts[0] > 1.5 * counts[2] and counts[1] > 2 * counts[4]
    assert len(rows_of(damaged("duplicates", 1.0))) == 2 and len(rows_of(damaged("duplicates", 0.5))) == 6
    assert len(rows_of(damaged("one picture a class", 1.0))) == 5
    assert rows_of(damaged("training set copied", 1.0)) == rows_of(TRAINING)
    assert rows_of(damaged("training set mirrored", 1.0)) == rows_of(TRAINING[:, :, ::-1])
    half = damaged("training set copied", 0.5)
    assert 15 < sum(image.tobytes() in originals for image in half) < 45
    noisy = damaged("Gaussian noise", 0.5).astype(float) - IMAGE
    inner = (IMAGE > 100) & (IMAGE < 156)
    np.testing.assert_allclose(noisy[inner].std(), 32, rtol=0.1)
    # a blur keeps the mean and lowers the contrast; a swirl keeps the middle where it is and the corners nearly so
    blurred = damaged("blur", 1.0).astype(float)
    np.testing.assert_allclose(blurred.mean(), IMAGE.mean(), rtol=0.02)
    assert blurred.std() < 0.6 * IMAGE.std()
    odd = IMAGE[:, :11, :11]
    turned = metric_behaviour.swirl(replace(PARTS, image=odd), 1.0, RNG)
    np.testing.assert_array_equal(turned[:, 5, 5], odd[:, 5, 5])
    assert np.abs(turned[:, 4, 4].astype(float) - odd[:, 4, 4]).mean() > 20


@pytest.fixture(scope="module")
def measured() -> dict[tuple[str, str], float]:
    rows = json.loads((RESULTS / "metric_behaviour.json").read_text())["rows"]
    return {(row["method"], row["metric"]): row["measured"] for row in rows}


def series(measured: dict[tuple[str, str], float], damage: str, metric: str) -> list[float]:
    return [measured["none", metric], *(measured[f"{damage}, {level:g}", metric] for level in metric_behaviour.LEVELS)]


def test_the_committed_result_shows_what_each_metric_notices(measured):
    for damage in set(metric_behaviour.DAMAGES) - {"training set copied"}:
        distance = series(measured, damage, "frechet_distance")
        assert distance == sorted(distance) and distance[-1] > 10 * distance[0], damage
    for damage, share in (("Gaussian noise", 0.65), ("swirl", 0.7), ("blur", 0.9)):
        assert series(measured, damage, "precision")[-1] < share * measured["none", "precision"]
    for metric in ("recall", "coverage"):
        falling = series(measured, "dropped classes", metric)
        assert falling == sorted(falling, reverse=True) and falling[-1] < 0.45 * falling[0]
    kept = series(measured, "dropped classes", "precision")
    assert min(kept) > kept[0] - 0.05
    # the distance takes a copied training set for perfect, the tests do not
    assert measured["training set copied, 1", "frechet_distance"] < 0.01 * measured["none", "frechet_distance"]
    for metric in ("copying_z", "copying_z_pixels"):
        assert measured["training set copied, 1", metric] < -10 < -3 < measured["none", metric]
    assert measured["training set copied, 1", "authenticity"] == 0
    assert measured["training set mirrored, 1", "copying_z_pixels"] < -10
    # and is no proof: blur brings pictures nearer to all others
    assert measured["blur, 0.5", "copying_z_pixels"] < -5 < 0 < measured["blur, 0.5", "copying_z"]
    # one picture a class: the score hardly moves, recall is gone
    score = series(measured, "one picture a class", "classifier_score")
    assert score[-1] > 0.75 * score[0]
    assert measured["one picture a class, 1", "recall"] < 0.05
