from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import RequestError
from jaxgan.evaluation import moments
from jaxgan.explore import walks
from jaxgan.explore.walks import find, score_change, table, walk
from tests.explore.strokes import ACROSS, KERNEL, NOTHING, SLANT, THICKNESS, angle_to, explorer, strokes


def test_the_factorisation_is_that_of_the_weights_samples_are_made_with():
    found = find(explorer(), "factorisation", count=3)
    for vector, dimension in zip(found.vectors, (ACROSS, THICKNESS, SLANT), strict=True):
        assert abs(angle_to(vector, dimension)) > 0.999
    squares = np.square(np.diag(KERNEL))
    assert found.says[0].startswith(f"{100 * squares[ACROSS] / squares.sum():.1f} %")
    # a deviation of the latents, which is 1
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1.0, rtol=0.08)
    assert found.moved[0] > found.random_moved


def test_the_factorisation_of_styles():
    found = find(explorer(second_space=True, space="z"), "pca", count=2)
    assert abs(angle_to(found.vectors[0], ACROSS)) > 0.98
    # the second half of a style is read by no layer, and the kernel takes the first: no layer reads the whole
    with pytest.raises(RequestError, match="no layer of this generator"):
        find(explorer(second_space=True), "factorisation")


def test_principal_components_in_z_are_of_pictures_and_in_w_of_styles():
    in_z, in_w = find(explorer(), "pca", count=2), find(explorer(second_space=True), "pca", count=1)
    assert abs(angle_to(in_z.vectors[0], ACROSS)) > 0.99 and "of pictures" in in_z.says[0]
    # the style varies most where nothing comes of it
    assert abs(angle_to(in_w.vectors[0], NOTHING)) > 0.9 and "of styles" in in_w.says[0]
    np.testing.assert_allclose(np.linalg.norm(in_w.vectors[0]), np.sqrt(4**2 + 1), rtol=0.08)
    np.testing.assert_allclose(in_w.moved, 0, atol=0.1)


def test_components_within_the_classes_that_are_told():
    # the class changes more pixels than slant does, and is no direction of the latent
    run = explorer(conditional=True)
    found = find(run, "pca", count=1)
    assert abs(angle_to(found.vectors[0], ACROSS)) > 0.99
    latents, told = run.draw(0, 0, 2000)
    pictures = run.outputs(latents, told).reshape(2000, -1)
    within = pictures - np.stack([pictures[told == k].mean(axis=0) for k in (0, 1)])[told]
    shares = [np.linalg.eigvalsh(np.cov(x.T))[-1] / np.var(x, axis=0, ddof=1).sum() for x in (within, pictures)]
    assert shares[0] > shares[1] + 0.02 and found.says[0].startswith(f"{100 * shares[0]:.1f} %")


@pytest.mark.parametrize(
    ("score", "dimension", "sign"),
    [("slant", SLANT, 1), ("slanted-left", SLANT, -1), ("thickness", THICKNESS, 1), ("class:left", ACROSS, -1)],
)
def test_supervised_directions_go_where_the_score_rises(score, dimension, sign):
    run = explorer()
    found = find(run, "supervised", scores=[score])
    assert sign * angle_to(found.vectors[0], dimension) > 0.97 and found.says == (score,)
    along, random, deviation = score_change(run, score, found.vectors[0], [-2, 0, 2])
    assert along[2] - along[0] > deviation and (np.diff(along) > 0).all()
    assert abs(random[2] - random[0]) < 0.3 * (along[2] - along[0])
    np.testing.assert_allclose(along[1], random[1], rtol=1e-3, atol=1e-4)
    assert f"{score:28}" in "\n".join(table(run, found, 2.0))


def test_a_walk_starts_all_directions_at_the_same_samples():
    run = explorer(conditional=True)
    vectors = np.eye(4, dtype=np.float32)[[NOTHING, ACROSS]]
    made = walk(run, vectors, [-2.0, 0.0, 2.0], starts=3, class_=1)
    assert made.shape == (2, 3, 3, 16, 16, 1)
    np.testing.assert_allclose(made[0], made[0][:, 1:2].repeat(3, 1), atol=1e-6)
    np.testing.assert_allclose(made[1][:, 1], made[0][:, 1], atol=1e-6)
    columns = (made[1][..., 0] + 1).sum(axis=2) @ np.arange(16.0)
    assert (np.diff(columns, axis=1) > 0).all()


@pytest.fixture
def across(monkeypatch):
    """Random directions that are all one."""

    def directions(key, n, dimension, length=1.0):
        return jnp.full((n, 1), length) * jnp.eye(dimension)[ACROSS][None]

    monkeypatch.setattr(walks, "random_directions", directions)


def test_how_far_a_step_moves_pixels_by_hand(across):
    """Half of the change from a deviation to one side to a deviation to the other."""
    run = explorer(second_space=True)
    found = find(run, "pca", count=2, n=100, seed=3)
    styles, starts = (run.draw(3, stream, 100)[0] for stream in (0, 1))
    deviations = np.linalg.norm(found.vectors, axis=1)
    np.testing.assert_allclose(deviations, np.std(styles @ (found.vectors / deviations[:, None]).T, axis=0), rtol=1e-3)

    def moved(vector):
        ends = [strokes(jnp.asarray(starts + sign * vector)[:, :4] @ KERNEL) for sign in (-1.0, 1.0)]
        return np.sqrt(np.square(np.asarray(ends[1]) - ends[0]).mean()) / 2

    np.testing.assert_allclose(found.moved, [moved(v) for v in found.vectors], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.random_moved, moved(deviations.mean() * np.eye(8)[ACROSS]), rtol=1e-3)


def test_what_a_score_does_by_hand(across):
    run, vector = explorer(), np.float32([0.3, 1.2, 0.0, 0.4])
    starts = run.draw(3, 4, 80)[0]
    along, random, deviation = score_change(run, "thickness", vector, [-1.0, 0.5], n=80, seed=3)

    def thickness(latents):
        return np.asarray(moments.thickness(strokes(jnp.asarray(latents) @ KERNEL)))

    other = np.float32(1.3) * np.eye(4, dtype=np.float32)[ACROSS]
    for found, direction in ((along, vector), (random, other)):
        expected = [thickness(starts + np.float32(s) * direction).mean() for s in (-1.0, 0.5)]
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert abs(random[0] - random[1]) > 1e-3
    np.testing.assert_allclose(deviation, thickness(starts).std(), rtol=1e-3)


def test_a_walk_and_its_animation_by_hand(monkeypatch, tmp_path):
    """A frame for each strength, in it a row for each direction, in it the samples."""
    run, frames = explorer(), []
    monkeypatch.setattr(walks, "write_picture", lambda path, sheet: None)
    monkeypatch.setattr(walks, "image_grid", lambda images, columns: images)
    monkeypatch.setattr(walks.pictures, "enlarged", lambda grid: grid)
    monkeypatch.setattr(walks.pictures, "animate", lambda made, path: frames.extend(made))
    vectors = np.eye(4, dtype=np.float32)[[ACROSS, THICKNESS]]
    walks.draw(run, walks.Found("pca", vectors, ("", ""), np.ones(2), 1.0), tmp_path / "a.png", 2.0, 3, seed=5)
    starts = run.draw(5, 3, 4)[0]
    for frame, strength in zip(frames, (-2.0, 0.0, 2.0), strict=True):
        places = [start + strength * vector for vector in vectors for start in starts]
        expected = 127.5 * (np.asarray(strokes(np.float32(places) @ KERNEL)) + 1.0)
        np.testing.assert_allclose(frame, expected, atol=1.01)


def test_nothing_to_separate():
    run = explorer()
    run.kept["net"] = replace(
        run.kept["net"], classify=lambda images: jnp.tile(jnp.array([[1.0, 0.0]]), (len(images), 1))
    )
    with pytest.raises(RequestError, match="nothing to separate"):
        find(run, "supervised", scores=["class:left"], n=50)
