"""Every recipe with every preset, made tiny: it trains, samples and judges; and the index tells the truth."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import recipes
from jaxgan.config import Options, RequestError, changed, settings
from jaxgan.data import domains, images, pairs, toy
from jaxgan.evaluation.rows import direction
from jaxgan.recipes.rules import Rules
from jaxgan.training.loop import Plan, fit
from jaxgan.training.parallel import configure_backend
from jaxgan.training.recipe import Recipe

# fields that make a net small; every recipe uses some of these names
SMALL = {"latent": 4, "num_features": 8, "labels": 6, "fade_steps": 1, "steady_steps": 1}
SMALL_WIDTH = 4
ROWS = [(name, preset) for name in recipes.INDEX for preset in recipes.find(name).PRESETS]


def tiny_data(name: str) -> Any:
    """A handful of noise in the shape of the data set of that name."""
    if name in ("ring", "grid"):
        return getattr(toy, name)()
    from jaxgan.data.catalogue import KNOWN

    random = np.random.default_rng(0)

    def noise(shape: tuple[int, ...]) -> images.Images:
        image, test = (random.integers(0, 256, (n, *shape), np.uint8) for n in (24, 12))
        return images.from_arrays(name, image, np.arange(24) % 3, test, np.arange(12) % 3)

    if name.startswith("pairs:"):
        return pairs.aligned(noise((32, 32, 3)), "negative")
    if "+" in name or name.startswith("cycle_gan/"):
        return domains.joined(noise((32, 32, 3)), noise((32, 32, 3)))
    if name == "folder:celeba":
        names = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
        has = random.integers(0, 2, (36, 5))
        some = noise((32, 32, 3))
        told = {"attribute": has[:24], "test_attribute": has[24:], "attributes": names}
        return images.from_arrays(name, some.image, test_image=some.test_image, **told)
    return noise(KNOWN[name].shape if name in KNOWN else (32, 32, 3))


def make(name: str, preset: str, **changes: Any) -> Recipe:
    module = recipes.find(name)
    chosen = module.PRESETS[preset]
    fields = set(settings(chosen.config))
    small = {field: value for field, value in SMALL.items() if field in fields}
    small |= {field: SMALL_WIDTH for field in fields if field == "width" or field.endswith("_width")}
    assert set(changes) <= fields
    config = changed(chosen.config, {**small, **changes})
    steps = 6 if name == "progan" else 2  # which has up to four resolutions
    options = dataclasses.replace(chosen.options, steps=steps, batch=6, evaluate_samples=10, features="random-conv")
    return module.make(config, options, tiny_data(chosen.options.data))


def test_the_index_tells_the_truth() -> None:
    modules = {p.stem for p in Path(inspect.getfile(recipes)).parent.glob("*.py")}
    makers = {
        m for m in modules - {"__init__"} if hasattr(__import__(f"jaxgan.recipes.{m}", fromlist=["x"]), "PRESETS")
    }
    assert set(recipes.INDEX) == makers
    for name, entry in recipes.INDEX.items():
        module = recipes.find(name)
        assert entry.name == name and entry.paper and entry.system and entry.time
        assert f"jaxgan train {name}" in (module.__doc__ or "")
        assert next(iter(module.PRESETS)) == "cpu" and module.PRESETS["cpu"].options.data == entry.data
        surname = entry.paper.split()[0]
        assert surname in (module.__doc__ or ""), f"{name}: {surname} stands in the index and not in the recipe"
        for arxiv in entry.paper.split("arXiv ")[1:]:
            assert arxiv in (module.__doc__ or "")
    with pytest.raises(RequestError, match=r"no recipe is called 'nope'; there are gan, dcgan"):
        recipes.find("nope")


@pytest.mark.parametrize("recipe", recipes.INDEX)
def test_every_field_says_what_it_is(recipe: str) -> None:
    config = recipes.find(recipe).Config
    nested = {type(value) for value in vars(config()).values() if dataclasses.is_dataclass(value)}
    for kind in (config, Rules, *nested):
        lines = [line.strip() for line in inspect.getsource(kind).splitlines()]
        for field in dataclasses.fields(kind):
            place = next(i for i, line in enumerate(lines) if line.startswith(f"{field.name}:"))
            assert lines[place + 1].startswith('"""'), field.name


@pytest.mark.parametrize(("recipe", "preset"), ROWS)
def test_trains_samples_and_judges(recipe: str, preset: str, tmp_path: Path) -> None:
    configure_backend()
    made = make(recipe, preset)
    plan = Plan(log_every=1, devices=1, quiet=True)
    outcome = fit(made, tmp_path, plan, seed=0)
    assert (outcome.step, outcome.stopped) == (made.stages[-1].until, "end")
    for leaf in jax.tree.leaves(outcome.state.params):
        assert np.isfinite(np.asarray(leaf)).all()
    if made.translations:
        way, key = next(iter(made.translations.values())), jax.random.key(0)
        outputs = np.asarray(way.translate(outcome.state, jnp.zeros((2, 24, 20, way.channels)), key))
        assert outputs.dtype == np.float32 and outputs.ndim == 4 and np.isfinite(outputs).all()
        assert len(list((tmp_path / "samples").iterdir())) == 2 and (tmp_path / "reals.png").exists()
    if made.generate is not None and made.prior is not None and made.draw is not None:
        outputs = np.asarray(made.generate(outcome.state, made.prior(jax.random.key(0), 3, None), 1.0))
        assert outputs.shape[0] == 3 and outputs.dtype == np.float32 and np.isfinite(outputs).all()
        picture = made.draw(outputs)
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[-1] in (1, 3)
        assert len(list((tmp_path / "samples").iterdir())) == 2 and (tmp_path / "reals.png").exists()
    assert made.evaluations
    for name, evaluate in made.evaluations.items():
        values = evaluate(outcome.state, jax.random.key(1))
        assert any(key.startswith("n_") for key in values)
        if made.best is not None and made.best[0] == name:
            # the sign makes smaller better
            assert made.best[2] == -direction(made.best[1])
            assert isinstance(values[made.best[1]], float)


@pytest.mark.parametrize("loss", ["minimax", "hinge", "wasserstein", "relativistic"])
def test_other_losses_are_a_word(loss: str) -> None:
    for recipe in ("ring", "dcgan"):
        alarm = make(recipe, "cpu", loss=loss, r1_weight=0.0, gradient_penalty_weight=10.0).alarm
        row = {f"discriminator/{side}_accuracy": 1.0 for side in ("real", "fake")} | {"discriminator/diversity": 1.0}
        # a Wasserstein critic's zero separates nothing
        assert (alarm([row] * 5) is None) == (loss in ("wasserstein", "relativistic"))
        assert alarm([row] * 4) is None


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(ValueError, match="--discriminator-normalization layer"):
        make("dcgan", "paper", r1_weight=1.0)
    points, digits = toy.ring(), tiny_data("digits")
    for name, data in (*((name, points) for name in recipes.INDEX if name != "ring"), ("ring", digits)):
        module = recipes.find(name)
        with pytest.raises(RequestError, match=r"learns (images|the points|from)"):
            module.make(module.Config(), Options(), data)
