import numpy as np
import pytest

from jaxgan.config import RequestError
from jaxgan.explore.arithmetic import arithmetic, read_selector, table
from tests.explore.strokes import ACROSS, SLANT, THICKNESS, angle_to, explorer


def test_the_difference_of_two_ends_is_the_dimension_that_makes_them():
    found = arithmetic(explorer(), ["slanted-right"], ["slanted-left"], (0.0, 1.0, 2.0), n=1000)
    assert angle_to(found.direction, SLANT) > 0.97 and found.asked == "slanted-right"
    # the means of the two tenths of a normal distribution are 1.755 from its middle
    np.testing.assert_allclose(np.linalg.norm(found.direction), 2 * 1.755, rtol=0.08)
    np.testing.assert_allclose(found.shares[0], 0.1, atol=0.03)
    assert found.shares[1] > 0.95 and found.random_shares[1] < 0.5 and found.shares[0] == found.random_shares[0]
    assert [(o.text, o.sign, o.count) for o in found.operands] == [("slanted-right", 1, 100), ("slanted-left", -1, 100)]
    assert found.results.shape == found.random.shape == (6, 3, 16, 16, 1)
    np.testing.assert_allclose(found.results[:, 0], found.random[:, 0], atol=1e-6)
    other = arithmetic(explorer(), ["slanted-left"], ["slanted-right"], (1.0,), n=1000)
    assert angle_to(other.direction, SLANT) < -0.97 and other.shares[0] > 0.95


def test_classes_cancel_and_what_remains_is_asked_for():
    run = explorer()
    found = arithmetic(run, ["left:thick", "right"], ["left"], (0.0, 1.0, 2.0), n=1000)
    assert found.asked == "right:thick"
    assert angle_to(found.direction, THICKNESS) > 0.5 and angle_to(found.direction, ACROSS) > 0.3
    # a tenth of the half
    np.testing.assert_allclose(found.shares[0], 0.05, atol=0.025)
    assert found.shares[2] > 5 * found.random_shares[2] and found.shares[2] > 0.5
    examples = run.probabilities(found.operands[0].examples).argmax(1)
    assert (examples == 0).all() and found.operands[0].count < 60
    text = "\n".join(table(found, "z"))
    assert "+ left:thick" in text and "- left" in text and "share right:thick" in text


def test_within_the_classes_that_a_system_is_told():
    run = explorer(conditional=True)
    found = arithmetic(run, ["thick"], ["thin"], (0.0, 1.0), n=1000)
    assert angle_to(found.direction, THICKNESS) > 0.95 and found.shares[1] > 0.5 > 3 * found.random_shares[1]
    # as many of one class as of the other, though a short bar is thinner by this measure
    np.testing.assert_allclose(found.shares[0], 0.1, atol=0.03)
    seen = arithmetic(run, ["wide"], [], (1.0,), n=200, class_=1)
    assert seen.num_results == 200
    with pytest.raises(RequestError, match="is told its class"):
        arithmetic(run, ["left"], n=100)


def test_in_styles():
    found = arithmetic(explorer(second_space=True), ["thick"], ["thin"], (0.0, 1.0), n=1000)
    assert angle_to(found.direction[:4], THICKNESS) > 0.8 and found.direction.shape == (8,) and found.shares[1] > 0.5


@pytest.mark.parametrize(
    ("plus", "minus", "message"),
    [
        (["left", "right"], [], "left and right at once"),
        (["thick", "left:thin"], [], "thick and thin at once"),
        (["left"], ["left"], "nothing is asked for"),
        (["up"], [], "neither an attribute"),
        (["up:thick"], [], "no class 'up'"),
        (["left:round"], [], "neither an attribute"),
        (["left:thick"], ["right"], r"only \d of 50 samples are left:thick"),
    ],
)
def test_what_cannot_be(plus, minus, message):
    with pytest.raises(RequestError, match=message):
        arithmetic(explorer(), plus, minus, n=50)


def test_selectors():
    run = explorer().run
    found = [read_selector(run, text) for text in ("right", "0", "thin", "right:wide")]
    assert [(s.class_, s.attribute) for s in found] == [(1, None), (0, None), (None, "thin"), (1, "wide")]
