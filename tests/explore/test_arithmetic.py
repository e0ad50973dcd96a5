from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import RequestError
from jaxgan.evaluation import moments
from jaxgan.explore.arithmetic import arithmetic, read_selector, table
from tests.explore.strokes import ACROSS, KERNEL, SLANT, THICKNESS, angle_to, explorer, strokes


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


def test_arithmetic_by_hand(monkeypatch):
    """Means of the tenths of one draw, added to the latents of another; random directions are as long."""

    def across(key, n, dimension, length):
        return jnp.full((n, 1), length) * jnp.eye(dimension)[ACROSS][None]

    monkeypatch.setattr("jaxgan.explore.arithmetic.random_directions", across)
    run = explorer(conditional=True)
    found = arithmetic(run, ["slanted-right"], ["slanted-left"], (0.0, 0.5), n=400, seed=3, class_=1)
    (latents, told), (starts, _) = (run.draw(3, stream, 400, 1) for stream in (0, 1))
    slant = np.asarray(moments.slant(strokes(latents @ KERNEL, told)))
    low, high = np.quantile(slant, [0.1, 0.9])
    means = [latents[slant >= high].mean(axis=0), latents[slant <= low].mean(axis=0)]
    np.testing.assert_allclose(found.direction, means[0] - means[1], atol=1e-4)
    for operand, mean in zip(found.operands, means, strict=True):
        np.testing.assert_allclose(operand.mean, strokes((mean @ KERNEL)[None], told[:1])[0], atol=1e-3)
    other = np.linalg.norm(found.direction) * np.eye(4)[ACROSS]
    for made, direction in ((found.results, found.direction), (found.random, other)):
        for i, strength in enumerate((0.0, 0.5)):
            moved = np.float32(starts[:6] + strength * direction)
            np.testing.assert_allclose(made[:, i], strokes(moved @ KERNEL, told[:6]), atol=1e-3)


def test_an_attribute_is_an_end_of_the_class_that_is_asked_for():
    """Classes by thickness: a tenth of the thick half is a twentieth of all."""
    run, middle = explorer(), moments.thickness(strokes(jnp.zeros((1, 4))))[0]

    def halves(images):
        thick = jax.nn.sigmoid(10.0 * (moments.thickness(images) - middle))
        return jnp.stack([1.0 - thick, thick], axis=1)

    run.kept["net"] = replace(run.kept["net"], classify=halves)
    found = arithmetic(run, ["right:thick"], ["left:thin"], (0.0,), n=1000)
    assert found.asked == "right:thick"
    np.testing.assert_allclose(found.shares, 0.05, atol=0.02)


def test_the_ends_of_each_class_that_is_told():
    """Short bars are thinner by this measure: of all samples together few of them would be thick."""
    run = explorer(conditional=True)
    (operand,) = arithmetic(run, ["thick"], [], (0.0,), n=600, examples=600).operands
    tall = np.asarray(operand.examples)[:, 3, :, 0].max(axis=1) > 0.0
    assert len(tall) == operand.count and 0.4 < tall.mean() < 0.6


def test_shares_are_told_with_their_standard_errors():
    found = arithmetic(explorer(), ["thick"], [], (1.0,), n=100)
    told = replace(found, shares=np.array([0.2]), random_shares=np.array([0.5]), num_results=400)
    line = next(line for line in table(told, "z") if line.startswith("1 "))
    assert line.split(maxsplit=1)[1] == f"{'0.2000 ± 0.0200':24}0.5000 ± 0.0250"


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


@pytest.mark.parametrize("second_space", [False, True])
def test_one_more_added_than_taken_away_is_a_place(second_space):
    """By hand, in W, where latents have a mean, and in Z, where they lie around it and not at it."""
    run = explorer(second_space=second_space)
    found = arithmetic(run, ["left:thick", "right"], ["left"], (0.0, 1.0, 2.0), n=600, seed=3)
    (latents, _), (starts, _) = (run.draw(3, stream, 600) for stream in (0, 1))
    images = run.outputs(latents, None)
    left = run.probabilities(images).argmax(1) == 0
    thickness = np.asarray(moments.thickness(images))
    thick = left & (thickness >= np.quantile(thickness[left], 0.9))
    place = latents[thick].mean(axis=0) + latents[~left].mean(axis=0) - latents[left].mean(axis=0)
    middle = latents.mean(axis=0)
    assert second_space == (np.abs(middle).max() > 0.25) and found.near == 0.25
    np.testing.assert_allclose(found.direction, place - middle, atol=1e-4)
    radius = np.mean(np.sqrt(np.sum((latents - middle) ** 2, axis=1)))
    for i, at in enumerate((middle, place, 2 * place - middle)):
        near = at - middle + 0.25 * (starts[:6] - middle)
        if not second_space:
            near = radius * near / np.sqrt(np.sum(near**2, axis=1))[:, None]
        np.testing.assert_allclose(found.results[:, i], run.outputs(np.float32(middle + near), None), atol=1e-3)


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
