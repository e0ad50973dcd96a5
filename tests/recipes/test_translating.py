"""What each system that translates pays for, and to whom: from its own nets, told what they are to be told."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from jaxgan.config import Options
from jaxgan.data import domains as two_sets
from jaxgan.data import images, pairs
from jaxgan.game import init_state, make_step
from jaxgan.nets.layers import InstanceNorm
from jaxgan.nets.patch import PatchDiscriminator
from jaxgan.nets.translation import ResNetTranslator
from jaxgan.recipes import cut, cyclegan, pix2pix, srgan, stargan
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.judging_translations import targets
from jaxgan.recipes.rules import Rules
from jaxgan.recipes.translating import Translators, patch_judge, translator

BATCH, SIZE, POOL = 3, (8, 8, 1), 7
RANDOM = np.random.default_rng(0)
OPTIONS = Options(steps=4, batch=BATCH, features="random-conv")
SMALL = {"generator_width": 4, "discriminator_width": 4}
NETS = Translators(**SMALL, blocks=1)
# both players' losses are of the nets as they begin
TOGETHER = Rules(dynamics="simultaneous", optimizer="sgd", loss="least_squares")


def pictures(low: float, high: float, side: int = 8) -> jax.Array:
    return jnp.asarray(RANDOM.uniform(low, high, (BATCH, side, side, 1)), jnp.float32)


def some_images(name: str = "noise") -> images.Images:
    image = RANDOM.integers(0, 256, (12, *SIZE), np.uint8)
    return images.from_arrays(name, image, np.arange(12) % 3, image[:6], np.arange(6) % 3)


class Played:
    """A recipe's game before its first step; `paid` of a batch, with all weights 0 but those that are named."""

    def __init__(self, recipe: Any) -> None:
        (stage,) = recipe.stages
        self.recipe, self.players = recipe, stage.game.players
        self.state = jax.jit(lambda key: init_state(stage.game, key, dict(stage.hyper)))(jax.random.key(0))
        self.step = jax.jit(make_step(stage.game))

    def __call__(self, batch: Any, **hyper: float) -> Any:
        none = {name: 0.0 for name in self.state.hyper if name.endswith("_weight") and name != "adversarial_weight"}
        return self.step(replace(self.state, hyper={**self.state.hyper, **none, **hyper}), batch)

    def paid(self, batch: Any, player: str = "generator", **hyper: float) -> float:
        metrics = self(batch, **hyper)[1]
        share = 1.0 if player == "discriminator" else self.state.hyper["adversarial_weight"]
        return float(metrics[f"{player}/loss"] - share * metrics[f"{player}/adversarial"])

    def of(self, player: str, part: str | None = None) -> dict[str, Any]:
        variables = {"params": self.state.params[player], **self.state.variables[player]}
        return variables if part is None else {name: values[part] for name, values in variables.items()}

    def net(self, player: str, *inputs: jax.Array) -> np.ndarray:
        return self.players[player].net.apply(self.of(player), *inputs, key=jax.random.key(5))[0]


def off(one: Any, other: Any) -> float:
    return float(np.abs(np.asarray(one, np.float64) - np.asarray(other)).mean())


# -- cyclegan ---------------------------------------------------------------------------------------

# domains that are far apart
A, B = pictures(-1.0, -0.2), pictures(-0.3, 1.0)


@pytest.fixture(scope="module")
def unpaired() -> tuple[Played, Any]:
    """CycleGAN, and its translators, ("b" or "a", pictures) -> pictures."""
    domains = two_sets.joined(some_images("first"), some_images("second"))
    game = Played(cyclegan.make(cyclegan.Config(pool=POOL, nets=NETS, rules=TOGETHER), OPTIONS, domains))
    net = translator(NETS, SIZE)
    return game, lambda to, x: np.asarray(net.apply(game.of("generator", to), x)[0])


def test_cyclegan_pays_for_what_comes_back_and_for_what_should_have_stayed(unpaired):
    game, into = unpaired
    batch = {"a": A, "b": B}
    again = (off(into("a", into("b", A)), A) + off(into("b", into("a", B)), B)) / 2
    alone = (off(into("b", B), B) + off(into("a", A), A)) / 2
    assert abs(again - alone) > 2e-3
    np.testing.assert_allclose(game.paid(batch, cycle_weight=3.0), 3 * again, rtol=1e-4)
    np.testing.assert_allclose(game.paid(batch, identity_weight=2.0), 2 * alone, rtol=1e-4)
    assert game.state.hyper["cycle_weight"] == 10 and game.state.hyper["identity_weight"] == 5


def test_cyclegans_judges_see_their_own_domain_and_its_pool(unpaired):
    game, into = unpaired
    state, metrics = game({"a": A, "b": B})
    net = patch_judge(TOGETHER, SIZE, 4, 0, "float32", "instance")
    halves = {"real": [B, A], "fake": [into("b", A), into("a", B)]}
    logits = {
        kind: np.concatenate([net.apply(game.of("discriminator", k), x)[0] for k, x in zip("ba", both, strict=True)])
        for kind, both in halves.items()
    }
    for kind, found in logits.items():
        np.testing.assert_allclose(metrics[f"discriminator/{kind}_logit"], np.mean(found), rtol=1e-3, atol=1e-5)
    least = np.mean((logits["real"] - 1) ** 2 + logits["fake"] ** 2)
    np.testing.assert_allclose(metrics["discriminator/adversarial"], least, rtol=1e-4)
    pool = state.memory["replay"]
    places = np.asarray(pool["places"][0]).view(np.float32)
    assert pool["filled"].tolist() == [BATCH, BATCH] and places.shape[:2] == (2, POOL)
    for kept, made in zip(places, halves["fake"], strict=True):
        np.testing.assert_allclose(kept[:BATCH], made, atol=1e-5)


def test_cyclegan_translates_to_b_by_the_net_that_makes_bs(unpaired):
    game, into = unpaired
    for to, source in (("b", A), ("a", B)):
        made = game.recipe.translations[to].translate(game.state, source, jax.random.key(1))
        np.testing.assert_allclose(made, into(to, source), atol=1e-5)
    assert off(into("b", A), into("a", A)) > 1e-2


# -- cut --------------------------------------------------------------------------------------------


def test_cut_contrasts_what_it_is_given_and_what_it_should_leave_alone():
    """At all places, so that nothing depends on which are drawn; the head moves with the generator."""
    domains, temperature = two_sets.joined(some_images("first"), some_images("second")), 0.3
    config = cut.Config(temperature=temperature, positions=64, contrast_width=5, nets=NETS, rules=TOGETHER)
    game = Played(cut.make(config, OPTIONS, domains))

    def contrast(x):
        (made, before), _ = game.players["generator"].net.features(game.of("generator"), x)
        (_, after), _ = game.players["generator"].net.features(game.of("generator"), made)
        flat = [[m.reshape(BATCH, -1, m.shape[-1]) for m in maps] for maps in (after, before)]
        queries, keys = (game.net("contrast", *maps) for maps in flat)
        losses = []
        for query, key in zip(queries, keys, strict=True):
            alike = np.einsum("bif,bjf->bij", np.float64(query), np.float64(key)) / temperature
            losses.append(-np.mean(np.diagonal(log_softmax(alike, axis=-1), axis1=1, axis2=2)))
        return np.mean(losses)

    of_a, of_b = contrast(A), contrast(B)
    assert abs(of_a - of_b) > 0.02
    batch = {"a": A, "b": B}
    np.testing.assert_allclose(game.paid(batch, contrast_weight=2.0), 2 * of_a, rtol=1e-3)
    np.testing.assert_allclose(game.paid(batch, identity_weight=3.0), 3 * of_b, rtol=1e-3)
    assert game.state.hyper["contrast_weight"] == game.state.hyper["identity_weight"] == 1
    moved = game(batch, contrast_weight=1.0)[0].params["contrast"]
    assert all(off(*two) > 0 for two in zip(*map(jax.tree.leaves, (moved, game.state.params["contrast"])), strict=True))


# -- pix2pix and srgan ------------------------------------------------------------------------------


def test_pix2pix_is_held_to_the_right_answer_and_judged_beside_its_source():
    config = pix2pix.Config(**SMALL, dropout=0.0, rules=TOGETHER)
    game = Played(pix2pix.make(config, OPTIONS, pairs.aligned(some_images(), "negative")))
    batch, made = {"source": A, "target": B}, game.net("generator", A)
    metrics = game(batch)[1]
    np.testing.assert_allclose(game.paid(batch, l1_weight=0.5), 0.5 * off(made, B), rtol=1e-4)
    assert abs(off(made, B) - off(made, A)) > 1e-2 and game.state.hyper["l1_weight"] == 100
    for kind, seen in (("real", B), ("fake", made)):
        logit = np.mean(game.net("discriminator", seen, A))
        np.testing.assert_allclose(metrics[f"discriminator/{kind}_logit"], logit, rtol=1e-3, atol=1e-5)
        assert off(game.net("discriminator", seen, A), game.net("discriminator", seen, B)) > 1e-3


def test_srgan_is_held_to_the_large_picture_by_pixels_and_by_features():
    data = pairs.aligned(some_images(), "low_resolution")
    side = data.source_size[0]
    assert side < 8
    game = Played(srgan.make(srgan.Config(**SMALL, blocks=1, rules=TOGETHER), OPTIONS, data))
    batch = {"source": pictures(-0.3, 1.0, side), "target": A}
    made = np.asarray(game.net("generator", batch["source"]))
    extract = feature_net("random-conv", targets(data)).extract
    for weight, wanted, found in (
        ("pixel_weight", np.asarray(A), made),
        ("content_weight", np.asarray(extract(A)), np.asarray(extract(jnp.asarray(made)))),
    ):
        expected = np.mean((np.float64(wanted) - found) ** 2)
        assert expected > 1e-4
        np.testing.assert_allclose(game.paid(batch, **{weight: 4.0}), 4 * expected, rtol=1e-3)
    assert game.state.hyper["pixel_weight"] == 1 and game.state.hyper["content_weight"] == pytest.approx(0.1)


# -- stargan ----------------------------------------------------------------------------------------

LABEL, WANTED = np.array([2, 0, 1], np.int32), np.array([0, 1, 1], np.int32)


def test_stargan_pays_for_the_domain_that_was_asked_for_and_comes_back_to_its_own(monkeypatch):
    monkeypatch.setattr(stargan, "picture_and_domain", lambda n, key, batch: (batch["image"], jnp.asarray(WANTED)))
    rules = replace(stargan.RULES, dynamics="simultaneous", optimizer="sgd", discriminator_steps=1)
    game = Played(stargan.make(stargan.Config(**SMALL, blocks=1, rules=rules), OPTIONS, some_images()))
    # large, so that classes differ
    head = jax.tree.map(
        lambda x: jnp.asarray(3 * RANDOM.normal(size=x.shape), x.dtype), game.state.params["classifier"]
    )
    game.state = replace(game.state, params={**game.state.params, "classifier": head})
    batch = {"image": A, "label": jnp.asarray(LABEL)}
    made = game.net("generator", A, jnp.asarray(WANTED))

    def surprise(x, label):
        (_, features), _ = game.players["discriminator"].net.features(game.of("discriminator"), x)
        return -log_softmax(np.float64(game.net("classifier", features)), axis=-1)[np.arange(BATCH), label].mean()

    again = [off(game.net("generator", made, jnp.asarray(label)), A) for label in (LABEL, WANTED)]
    np.testing.assert_allclose(game.paid(batch, cycle_weight=2.0), 2 * again[0], rtol=1e-4)
    assert abs(again[0] - again[1]) > 1e-3 * again[0]
    np.testing.assert_allclose(game.paid(batch, classification_weight=0.7), 0.7 * surprise(made, WANTED), rtol=1e-3)
    assert abs(surprise(made, WANTED) - surprise(made, LABEL)) > 0.05
    of_real = game.paid(batch, "discriminator", classification_weight=0.7)
    np.testing.assert_allclose(of_real, 0.7 * surprise(A, LABEL), rtol=1e-3)
    # the critic of patches has its penalty, and only that beside
    penalty = game.paid(batch, "discriminator", gradient_penalty_weight=3.0)
    assert penalty > 0.1 and game.paid(batch, gradient_penalty_weight=3.0) == pytest.approx(0, abs=1e-5)
    itself = off(game.net("generator", A, jnp.asarray(LABEL)), A)
    np.testing.assert_allclose(game.paid(batch, identity_weight=2.0), 2 * itself, rtol=1e-4)
    assert abs(itself - again[0]) > 1e-3 * itself
    weights = {"classification_weight": 1, "cycle_weight": 10, "identity_weight": 1, "gradient_penalty_weight": 10}
    assert {name: game.state.hyper[name] for name in weights} == weights


def test_stargan_asks_for_any_domain_whatever_the_pictures_own():
    batch = {"image": jnp.zeros((3000, 1)), "label": jnp.zeros(3000, jnp.int32)}
    given, asked = stargan.picture_and_domain(3, jax.random.key(0), batch)
    assert given is batch["image"]
    # three standard deviations of 26
    assert np.abs(np.bincount(asked, minlength=3) - 1000).max() < 80


HAS, ASKED = np.array([[1, 0], [0, 0], [1, 1]], np.uint8), np.array([[0, 1], [1, 1], [1, 0]], np.uint8)


def stargan_of_attributes(monkeypatch) -> Played:
    """Told ASKED, with a classifier whose attributes differ."""
    monkeypatch.setattr(stargan, "picture_and_attributes", lambda key, batch: (batch["image"], jnp.asarray(ASKED)))
    rules = replace(stargan.RULES, dynamics="simultaneous", optimizer="sgd", discriminator_steps=1)
    config = stargan.Config(**SMALL, blocks=1, rules=rules, attributes=("first", "second"))
    image = some_images().image
    faces = images.from_arrays(
        "faces", image, attribute=np.arange(24).reshape(12, 2) % 3 == 0, attributes=("first", "second")
    )
    game = Played(stargan.make(config, replace(OPTIONS, features="auto"), faces))
    head = jax.tree.map(
        lambda x: jnp.asarray(3 * RANDOM.normal(size=x.shape), x.dtype), game.state.params["classifier"]
    )
    game.state = replace(game.state, params={**game.state.params, "classifier": head})
    return game


def logits_of(game: Played, x: jax.Array) -> np.ndarray:
    (_, features), _ = game.players["discriminator"].net.features(game.of("discriminator"), x)
    return np.float64(game.net("classifier", features))


def test_stargan_pays_for_all_attributes_at_once_and_comes_back_to_its_own(monkeypatch):
    game = stargan_of_attributes(monkeypatch)
    batch = {"image": A, "attribute": jnp.asarray(HAS)}
    made = game.net("generator", A, jnp.asarray(ASKED))

    def surprise(x, attribute):
        z = logits_of(game, x)
        return (np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0) - z * attribute).sum(axis=-1).mean()

    np.testing.assert_allclose(game.paid(batch, classification_weight=0.7), 0.7 * surprise(made, ASKED), rtol=1e-3)
    of_real = game.paid(batch, "discriminator", classification_weight=0.7)
    np.testing.assert_allclose(of_real, 0.7 * surprise(A, HAS), rtol=1e-3)
    assert abs(surprise(made, ASKED) - surprise(made, HAS)) > 0.05
    again = [off(game.net("generator", made, jnp.asarray(told)), A) for told in (HAS, ASKED)]
    np.testing.assert_allclose(game.paid(batch, cycle_weight=2.0), 2 * again[0], rtol=1e-4)
    assert abs(again[0] - again[1]) > 1e-3 * again[0]
    itself = off(game.net("generator", A, jnp.asarray(HAS)), A)
    np.testing.assert_allclose(game.paid(batch, identity_weight=2.0), 2 * itself, rtol=1e-4)


def test_stargan_changes_one_attribute_and_leaves_the_others_as_d_sees_them(monkeypatch):
    game = stargan_of_attributes(monkeypatch)
    # a threshold between the pictures, so that D sees the second attribute in some
    seen = logits_of(game, A)
    bias = game.state.params["classifier"]["Dense_0"]["bias"]
    params = {"Dense_0": {**game.state.params["classifier"]["Dense_0"], "bias": bias - np.median(seen, axis=0) - 1e-4}}
    game.state = replace(game.state, params={**game.state.params, "classifier": params})
    has = (logits_of(game, A) > 0).astype(np.float32)
    assert 0 < has[:, 1].sum() < BATCH
    ways = game.recipe.translations
    assert list(ways) == ["first", "not-first", "second", "not-second"]
    for name, wanted in (("not-first", [0, None]), ("second", [None, 1])):
        told = np.stack([has[:, k] if v is None else np.full(BATCH, v) for k, v in enumerate(wanted)], axis=1)
        expected = game.net("generator", A, jnp.asarray(told, jnp.float32))
        made = ways[name].translate(game.state, A, jax.random.key(0))
        np.testing.assert_allclose(made, expected, atol=1e-5)
        other = game.net("generator", A, jnp.asarray(1 - told, jnp.float32))
        assert off(made, other) > 1e-3
    # of a size that D does not know: it is shown the picture at its own, smoothly
    large = jnp.asarray(RANDOM.uniform(-1, 1, (BATCH, 16, 24, 1)), jnp.float32)
    shown = large.reshape(BATCH, 8, 2, 8, 3, 1).mean(axis=(2, 4))
    has = (logits_of(game, jax.image.resize(large, shown.shape, "linear")) > 0).astype(np.float32)
    assert off(jax.image.resize(large, shown.shape, "linear"), shown) < 0.2 < off(large[:, ::2, ::3], shown)
    told = jnp.asarray(np.stack([has[:, 0], np.ones(BATCH, np.float32)], axis=1))
    made = ways["second"].translate(game.state, large, jax.random.key(0))
    np.testing.assert_allclose(made, game.net("generator", large, told), atol=1e-5)
    # averaged parameters where there are any
    averaged = jax.tree.map(lambda x: 0.5 * x, game.state.params["generator"])
    state = replace(game.state, ema={"generator": averaged})
    made = ways["second"].translate(state, large, jax.random.key(0))
    game.state = replace(game.state, params={**game.state.params, "generator": averaged})
    np.testing.assert_allclose(made, game.net("generator", large, told), atol=1e-5)


def test_stargan_asks_for_attributes_that_another_picture_has():
    batch = {"image": jnp.zeros((500, 1)), "attribute": jnp.asarray(RANDOM.integers(0, 9, (500, 2)), jnp.uint8)}
    given, asked = stargan.picture_and_attributes(jax.random.key(0), batch)
    assert given is batch["image"] and asked.shape == (500, 2)
    rows, wanted = (sorted(map(tuple, np.asarray(one).tolist())) for one in (batch["attribute"], asked))
    assert rows == wanted and np.mean((asked == batch["attribute"]).all(axis=1)) < 0.1


@pytest.mark.parametrize(("recipe", "part"), [(cut, None), (cyclegan, "b")])
def test_low_pass_filters_are_in_the_nets_of_both_players(recipe, part):
    domains, config = two_sets.unpaired(pairs.aligned(some_images(), "negative")), recipe.PRESETS["cpu"].config
    nets = replace(config.nets, **SMALL, blocks=1, antialias=True)
    game = Played(recipe.make(replace(config, nets=nets), OPTIONS, domains))
    x = jnp.concatenate([A, B])
    for player, module in (
        ("generator", ResNetTranslator(1, 4, 1, 1, antialias=True)),
        ("discriminator", PatchDiscriminator(4, 1, InstanceNorm, antialias=True)),
    ):
        # their layers have other names than those without; of two parts each sees half
        mine = x if part is None else x[:BATCH]
        expected = module.apply(game.of(player, part), mine, train=True)
        np.testing.assert_allclose(game.net(player, x)[: len(mine)], expected, atol=1e-5)
