"""Moments of strokes that are drawn with a known angle, thickness and width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.moments import angle, mass, slant, thickness, width

SIDE = 32


def stroke(
    degrees: float, thick: float, length: float = 22.0, centre: tuple[float, float] = (15.3, 16.4)
) -> np.ndarray:
    """A bar at so many degrees counter-clockwise from the horizontal, antialiased: float32 [1, 32, 32, 1]."""
    fine = 8
    y, x = (np.mgrid[: SIDE * fine, : SIDE * fine] + 0.5) / fine
    x, y = x - centre[0], -(y - centre[1])
    theta = np.deg2rad(degrees)
    along, across = x * np.cos(theta) + y * np.sin(theta), -x * np.sin(theta) + y * np.cos(theta)
    inside = (np.abs(along) < length / 2) & (np.abs(across) < thick / 2)
    ink = inside.reshape(SIDE, fine, SIDE, fine).mean(axis=(1, 3))
    return (2.0 * ink - 1.0).astype(np.float32)[None, :, :, None]


@pytest.mark.parametrize("degrees", [-70.0, -45.0, -10.0, 0.0, 25.0, 60.0, 90.0])
def test_the_angle_of_a_stroke(degrees):
    np.testing.assert_allclose(np.rad2deg(angle(stroke(degrees, 3.0))), [degrees], atol=0.3)


@pytest.mark.parametrize("shear", [-0.6, 0.0, 0.25, 1.0])
def test_the_slant_is_the_shear_of_an_upright_figure(shear):
    # rows of ones, each moved by its height times the shear: a parallelogram whose top leans right for shear > 0
    ink = np.zeros((1, SIDE, SIDE, 1), np.float32)
    rows = np.arange(8, 24)
    for row in rows:
        left = 12 + shear * (15.5 - row)
        for column in range(SIDE):
            ink[0, row, column] = np.clip(min(left + 6, column + 1) - max(left, column), 0, 1)
    np.testing.assert_allclose(slant(2 * ink - 1), [np.arctan(shear)], atol=2e-3)
    # undoing the slant leaves the bar of 6
    np.testing.assert_allclose(width(2 * ink - 1), [6.0], atol=0.3)


def test_the_sign_of_the_slant():
    assert slant(stroke(60.0, 3.0))[0] > 0.3  # /
    assert slant(stroke(-60.0, 3.0))[0] < -0.3  # \


@pytest.mark.parametrize("degrees", [0.0, 30.0, 45.0, 90.0])
@pytest.mark.parametrize("thick", [0.5, 1.0, 2.0, 4.0])
def test_the_thickness_of_a_stroke(thick, degrees):
    expected = thick * 22.0 / (22.0 + thick)
    # an oblique stroke of a pixel or less covers no pixel wholly, which shortens its perimeter
    tolerance = 0.05 if thick > 1 or degrees in (0.0, 90.0) else 0.45
    np.testing.assert_allclose(thickness(stroke(degrees, thick)), [expected], rtol=tolerance)


def test_thickness_orders_strokes_at_any_angle():
    found = [float(thickness(stroke(degrees, thick))[0]) for thick in (0.7, 1.3, 2.2, 3.5) for degrees in (0, 20, 45)]
    by_thickness = np.reshape(found, (4, 3))
    assert (by_thickness[:-1].max(axis=1) < by_thickness[1:].min(axis=1)).all(), by_thickness


def test_a_background_that_is_not_quite_empty_is_no_stroke():
    clean = stroke(30.0, 3.0)
    haze = 0.04 * np.random.default_rng(0).uniform(size=clean.shape).astype(np.float32)
    np.testing.assert_allclose(thickness(np.maximum(clean, haze - 1.0)), thickness(clean), rtol=0.35)


def test_ink_is_the_mean_of_the_channels():
    images = np.random.default_rng(1).uniform(-1.0, 1.0, (2, 9, 7, 3)).astype(np.float32)
    for measure in (mass, thickness, slant, angle, width):
        np.testing.assert_allclose(measure(images), measure(images.mean(axis=-1, keepdims=True)), rtol=1e-4)


def test_the_width_of_an_upright_bar_and_its_ink():
    images = np.full((2, 16, 20, 3), -1.0, np.float32)
    images[0, 3:13, 4:9] = 1.0
    images[1, 2:6, 1:17] = 0.0  # half the ink: the same bar
    np.testing.assert_allclose(width(images), [5.0, 16.0], rtol=1e-5)
    np.testing.assert_allclose(mass(images), [50 / 320, 64 / 320 / 2], rtol=1e-5)


def test_moments_are_those_of_points_drawn_by_the_ink():
    ink = np.random.default_rng(0).uniform(size=(9, 7)) ** 3
    y, x = np.mgrid[:9, :7]
    covariance = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=ink.ravel(), ddof=0)
    image = (2 * ink - 1).astype(np.float32)[None, :, :, None]
    np.testing.assert_allclose(slant(image), [np.arctan(-covariance[0, 1] / covariance[1, 1])], rtol=1e-3)
    values, vectors = np.linalg.eigh(covariance)
    axis = vectors[:, values.argmax()]
    np.testing.assert_allclose(np.tan(angle(image)), [-axis[1] / axis[0]], rtol=1e-3)
    residual = covariance[0, 0] - covariance[0, 1] ** 2 / covariance[1, 1]
    np.testing.assert_allclose(width(image), [np.sqrt(12 * residual + 1)], rtol=1e-4)


@pytest.mark.parametrize("measure", [mass, thickness, slant, angle, width])
def test_all_are_compiled_and_know_an_empty_image(measure):
    images = np.concatenate([np.full((1, SIDE, SIDE, 1), -1.0, np.float32), stroke(70.0, 2.0)])
    found = jax.jit(measure)(images)
    assert found.dtype == jnp.float32 and found.shape == (2,) and np.isfinite(found).all()
    assert found[0] == 0 and found[1] > 0
    np.testing.assert_allclose(found, measure(images), rtol=1e-5)
    with pytest.raises(ValueError, match="floats"):
        measure(np.zeros((2, 8, 8, 1), np.uint8))
    with pytest.raises(ValueError, match="floats"):
        measure(np.zeros((8, 8, 1), np.float32))
