from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import RequestError
from jaxgan.evaluation import moments
from jaxgan.explore.space import explorer as explore
from jaxgan.explore.space import find_class, space_of
from tests.explore.strokes import KERNEL, explorer, strokes, without_classes


def test_z_is_the_space_of_the_prior_and_w_lies_behind_it():
    plain = explorer()
    latents, told = plain.draw(3, 0, 5)
    assert plain.space.name == "z" and told is None and latents.shape == (5, 4)
    np.testing.assert_allclose(plain.outputs(latents, None), strokes(latents @ KERNEL), atol=1e-5)

    styled, z = explorer(second_space=True), explorer(second_space=True, space="z")
    styles, _ = styled.draw(3, 0, 5)
    assert styled.space.name == "w" and z.space.name == "z" and styles.shape == (5, 8)
    same, _ = z.draw(3, 0, 5)
    np.testing.assert_allclose(styles[:, 4:], same + 10.0, rtol=1e-6)
    np.testing.assert_allclose(styled.outputs(styles, None), z.outputs(same, None), atol=1e-5)
    with pytest.raises(RequestError, match="no second latent space"):
        space_of(plain.run, "w")


def test_draws_of_one_seed_differ_by_stream_and_batches_do_not_matter():
    run = explorer()
    one, other = run.draw(0, 0, 300)[0], run.draw(0, 1, 300)[0]
    assert np.abs(one - other).max() > 1
    np.testing.assert_array_equal(one, run.draw(0, 0, 300)[0])
    assert np.abs(one - run.draw(1, 0, 300)[0]).max() > 1
    # more than one batch, and not a whole number of them
    np.testing.assert_allclose(run.outputs(one, None)[270:], run.outputs(one[270:], None), atol=1e-6)


def test_the_class_that_is_told():
    run = explorer(conditional=True)
    assert run.space.told
    latents, label = run.draw(0, 0, 50)
    assert set(label.tolist()) == {0, 1} and set(run.draw(0, 0, 50, 1)[1].tolist()) == {1}
    images = run.outputs(latents, label)
    np.testing.assert_allclose(images, strokes(latents @ KERNEL, label), atol=1e-5)
    with pytest.raises(RequestError, match=r"class 2 does not exist; classes are 0\.\.1"):
        run.draw(0, 0, 5, 2)
    with pytest.raises(RequestError, match="is unconditional: it takes no class"):
        explorer().draw(0, 0, 5, 0)


def test_styles_are_those_of_the_class_that_is_asked_for():
    run = explorer(conditional=True, second_space=True).run

    def style(state, inputs):
        latents, label = inputs
        return (latents + 100.0 * label.astype(jnp.float32)[:, None])[:, None]

    space = space_of(replace(run, recipe=replace(run.recipe, style=style)))
    styles, told = space.draw(run.state, jax.random.key(0), 20, jnp.arange(20) % 2)
    assert told is None and not space.told
    np.testing.assert_array_equal(styles.mean(axis=1) > 50.0, np.arange(20) % 2 == 1)


def test_scores_are_moments_their_ends_and_classes():
    run = explorer()
    latents, _ = run.draw(0, 0, 20)
    images = run.outputs(latents, None)
    np.testing.assert_allclose(run.score("slant", images), moments.slant(images), rtol=1e-4)
    np.testing.assert_allclose(run.score("slanted-left", images), -np.asarray(moments.slant(images)), rtol=1e-4)
    np.testing.assert_allclose(run.score("thick", images), moments.thickness(images), rtol=1e-4)
    np.testing.assert_allclose(run.score("narrow", images), -np.asarray(moments.width(images)), rtol=1e-4)
    right = run.score("class:right", images)
    assert ((right > 0.5) == (latents[:, 2] > 0)).mean() > 0.9
    np.testing.assert_allclose(run.score("class:0", images), 1 - right, rtol=1e-4)
    with pytest.raises(RequestError, match="there is no score 'round'"):
        run.score("round", images)
    with pytest.raises(RequestError, match="does not know the classes"):
        without_classes(run).score("class:right", images)


def test_classes_by_name_before_number():
    run = explorer().run
    assert find_class(run, "right") == find_class(run, "1") == 1
    run.data["classes"][:] = ["1", "0"]
    assert find_class(run, "1") == 0
    for wrong in ("2", "-1", "up", ""):
        with pytest.raises(RequestError, match="there is no class"):
            find_class(run, wrong)


def test_points_have_no_space():
    run = explorer().run
    points = replace(run, recipe=replace(run.recipe, generate=lambda state, inputs, truncation: inputs))
    with pytest.raises(RequestError, match="makes points"):
        explore(points)
    assert isinstance(jax.eval_shape(lambda: run.state.step), jax.ShapeDtypeStruct)
