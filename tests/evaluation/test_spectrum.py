"""The verdict on a table of spectra whose flow is known, and the picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.evaluation.spectrum import Spectrum, as_json, draw, judge, sentence, table, written


def spectrum(values, errors=None, found=None, step=400, norm=0.1, noise=0.2):
    values = np.asarray(values, complex)
    errors = np.zeros(len(values)) if errors is None else np.asarray(errors)
    return Spectrum(step, values if found is None else np.asarray(found, complex), values, errors, norm, noise)


@pytest.mark.parametrize(
    ("values", "verdict", "at"),
    [
        ([0.5j], "rotating", 0),  # Dirac-GAN
        ([-0.15 + 0.477j], "converging", 0),  # with R1: half a turn while it shrinks by e
        ([-0.01 + 0.5j], "rotating", 0),  # eight turns
        ([-0.5, -0.5], "converging", 0),
        ([0.02 + 0.5j], "diverging", 0),  # simultaneous gradient descent on Dirac-GAN spirals outward like this
        ([0.5, -1.0], "diverging", 0),
        ([-3.0, 0.2, 0.4, -1 + 2j], "diverging", 2),
        ([1e-3, 0.0, -1.0], "converging", 2),  # neutral directions neither grow
        ([1e-3 + 4e-3j, 5e-3 - 2e-3j, -0.02, -1.0], "converging", 2),  # nor turn
        ([-1e-3, 1e-3], "diverging", 1),  # small is relative
        ([0.009, -1.0], "converging", 1),
        ([0.011, -1.0], "diverging", 0),
        ([-0.5 + 30j, -4 + 33j, -300.0], "rotating", 0),
        ([-3.2 + 20j, -300.0], "converging", 0),
        ([-3.1 + 20j, -300.0], "rotating", 0),  # 20 / 3.1 is more than 2 pi, and 20 / 3.2 less
        ([-0.15 - 2j, -1.0], "rotating", 0),  # either one of a pair may be given
        ([-1 + 0.5j, -20.0], "converging", 0),
        ([0.0, 0.0], "still", None),
        ([], "still", None),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e5])
def test_the_verdict(values, verdict, at, scale):
    assert judge(scale * np.array(values, complex)) == (verdict, at)


def test_growth_within_its_error_is_no_growth():
    values = np.array([0.5, -1.0])
    assert judge(values, np.array([0.26, 0.0])) == ("converging", 1)
    assert judge(values, np.array([0.24, 0.0])) == ("diverging", 0)


def test_numbers_are_written_as_pairs():
    assert written(-0.5 + 3.25j) == written(-0.5 - 3.25j) == "-0.5 ± 3.25i"
    assert written(0.01 + 0j) == "0.01"


@pytest.mark.parametrize(
    ("values", "fragments"),
    [
        ([2.0 + 1j, -4.0], ("step 400: diverging:", "eigenvalue 2 ± 1i (largest modulus 4)", "may be stationary")),
        ([-0.05 + 1j, -2.0], ("step 400: rotating:", "-0.05 ± 1i turns 3.2 times before it shrinks by e")),
        ([0.5j], ("rotating:", "0 ± 0.5i turns without shrinking")),
        ([0.0, -0.3, -1.0], ("step 400: converging:", "the slowest -0.3 (largest modulus 1)")),
        ([0.0], ("step 400: still:", "no eigenvalue")),
    ],
)
def test_the_sentence(values, fragments):
    said = sentence(spectrum(values))
    assert said.count("\n") == 0 and said.endswith(").")
    for fragment in fragments:
        assert fragment in said
    assert "not at a stationary point" in sentence(spectrum(values, norm=0.5))


def test_the_verdict_is_that_of_fresh_batches():
    one = spectrum([-0.2, -30.0], [0.1, 0.1], found=[4.2, -33.0])
    lines = table(one, 2)
    assert "converging" in lines[0] and "4.2" in lines[2] and "-0.2" in lines[2] and "2 more" in lines[-1]
    row = as_json(one, 2)
    assert row["verdict"] == "converging" and row["missing"] == 2
    assert row["eigenvalues"][0] == {
        "real": 4.2, "imaginary": 0.0, "fresh_real": -0.2, "fresh_imaginary": 0.0, "fresh_error": 0.1
    }  # fmt: skip


@pytest.mark.parametrize("number", [1, 3])
def test_the_picture_is_symmetric_and_coloured_by_step(number, tmp_path: Path):
    spectra = [spectrum([-1 + 2j + i, 0.1 * i], step=100 * i) for i in range(number)]
    draw(tmp_path / "a.png", spectra, "title")
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    coloured = np.ptp(picture, axis=2) > 40
    assert picture.shape[0] > 500 and coloured.sum() > 100 and sorted(p.name for p in tmp_path.iterdir()) == ["a.png"]
    empty = spectrum([0.0])
    draw(tmp_path / "b.png", [empty], "nothing moves")
