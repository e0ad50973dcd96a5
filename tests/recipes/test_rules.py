"""Every rule reaches the game, and every pair of rules either plays or is refused by name."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from itertools import combinations
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import Options, RequestError
from jaxgan.game import Game, State, init_state, make_step
from jaxgan.latent import normal_prior
from jaxgan.nets import dcgan, mlp
from jaxgan.nets.adapt import adapt
from jaxgan.recipes.classic import classic_game, seen_shape
from jaxgan.recipes.compatibility import INCOMPATIBLE, TRAITS, Setting, check
from jaxgan.recipes.rules import (
    GRADIENT_PENALTIES,
    NUMBERS,
    Loss,
    Rules,
    discriminator_couples_batch,
    discriminator_options,
    generator_options,
    numbers,
    optimizer,
)

BATCH, STEPS = 8, 3
OPTIONS = Options(steps=10, batch=BATCH)
POINT, IMAGE = (2,), (8, 8, 1)
OPTIMIZE_LITTLE = {"xla_backend_optimization_level": 0}

# so low and fast that three steps show it: the first signs are 0, -0.25 and 0.06
EAGER = {"ada_target": -0.4, "ada_images": 4.0 * BATCH}
# each rule away from its default, with what it needs to mean something
CHANGES: dict[str, dict[str, Any]] = {
    **{f"loss={loss}": {"loss": loss} for loss in get_args(Loss) if loss != "non_saturating"},
    **{name: {name: 0.3} for name in GRADIENT_PENALTIES},
    # logits of first weights are near 0, and so are their differences
    "consistency_weight": {"consistency_weight": 1e4},
    "penalty_interval": {"penalty_interval": 2, "r1_weight": 0.3},
    "weight_clip": {"weight_clip": 0.05},
    "spectral_norm=discriminator": {"spectral_norm": "discriminator"},
    "spectral_norm=both": {"spectral_norm": "both"},
    "generator_normalization=batch": {"generator_normalization": "batch"},
    "generator_normalization=layer": {"generator_normalization": "layer"},
    "generator_normalization=virtual_batch": {"generator_normalization": "virtual_batch"},
    "discriminator_normalization=batch": {"discriminator_normalization": "batch"},
    "discriminator_normalization=layer": {"discriminator_normalization": "layer"},
    "generator_dropout": {"generator_dropout": 0.4},
    "discriminator_dropout": {"discriminator_dropout": 0.4},
    "minibatch=discrimination": {"minibatch": "discrimination"},
    "minibatch=deviation": {"minibatch": "deviation"},
    "minibatch=input_deviation": {"minibatch": "input_deviation"},
    "packing": {"packing": 2},
    "real_label": {"real_label": 0.8},
    "label_flips": {"label_flips": 0.5},
    "augmentation=diffaugment": {"augmentation": "diffaugment"},
    "augmentation=ada": {"augmentation": "ada", **EAGER},
    "ada_target": {"augmentation": "ada", **EAGER},
    "ada_images": {"augmentation": "ada", **EAGER},
    "instance_noise": {"instance_noise": 0.4},
    "instance_noise_steps": {"instance_noise_steps": 4, "instance_noise": 0.4},
    "replay": {"replay": 8},
    "feature_matching_weight": {"feature_matching_weight": 0.5},
    "matching_aware_weight": {"matching_aware_weight": 0.5},
    # Adam does not care how long a gradient is
    "adversarial_weight": {"adversarial_weight": 0.25, "optimizer": "sgd"},
    "historical_averaging": {"historical_averaging": 0.3},
    "orthogonal_weight": {"orthogonal_weight": 0.3, "optimizer": "sgd"},
    "dynamics=simultaneous": {"dynamics": "simultaneous"},
    "dynamics=extragradient": {"dynamics": "extragradient"},
    "dynamics=consensus": {"dynamics": "consensus"},
    "consensus_weight": {"consensus_weight": 0.2, "dynamics": "consensus"},
    "unrolled_steps": {"unrolled_steps": 1},
    "discriminator_steps": {"discriminator_steps": 2},
    "generator_steps": {"generator_steps": 2},
    # batch statistics are those of a part, and so are latents
    "accumulation": {"accumulation": 2},
    "rematerialize": {"rematerialize": True},
    "optimizer=optimistic_adam": {"optimizer": "optimistic_adam"},
    "optimizer=rmsprop": {"optimizer": "rmsprop"},
    "optimizer=sgd": {"optimizer": "sgd"},
    "generator_learning_rate": {"generator_learning_rate": 5e-3},
    "discriminator_learning_rate": {"discriminator_learning_rate": 5e-3},
    "learning_rate_decay=linear": {"learning_rate_decay": "linear"},
    "learning_rate_decay=cosine": {"learning_rate_decay": "cosine"},
    "beta1": {"beta1": 0.1},
    "beta2": {"beta2": 0.5},
    "ema_decay": {"ema_decay": 0.5},
}
AUGMENTED = ("augmentation=diffaugment", "augmentation=ada", "ada_target", "ada_images")
NEEDS_IMAGES = ("consistency_weight", *AUGMENTED)
NEEDS_CLASSES = ("matching_aware_weight",)
CLASSES = 3
POINTS = Setting(images=False)


def setting_of(*names: str) -> Setting:
    return Setting(conditional=bool({*names} & {*NEEDS_CLASSES}), images=bool({*names} & {*NEEDS_IMAGES}))


@cache
def game(rules: Rules, setting: Setting = POINTS) -> Game:
    shape = IMAGE if setting.images else POINT
    kind = "image" if setting.images else "point"
    d = {"couples_batch": discriminator_couples_batch(rules)}
    g = {"couples_batch": rules.generator_normalization == "batch"}
    classes = CLASSES if setting.conditional else 0
    label = ((),) if classes else ()
    if setting.images:
        made = dcgan.Generator(shape, 4, num_classes=classes, **generator_options(rules, normal_prior(3)))
        generator = adapt(made, (3,), *label, **g)
        discriminator = dcgan.Discriminator(
            seen_shape(shape, rules), 4, num_classes=classes, **discriminator_options(rules)
        )
    else:
        generator = adapt(
            mlp.Generator(shape, width=6, depth=1, num_classes=classes, **generator_options(rules, normal_prior(3))),
            (3,),
            *label,
            **g,
        )
        # steep, so that a penalty on gradients above 1 has something to say
        steep = jax.nn.initializers.normal(1.5)
        discriminator = mlp.Discriminator(
            width=6, depth=1, kernel_init=steep, num_classes=classes, **discriminator_options(rules)
        )
    judge = adapt(discriminator, seen_shape(shape, rules), *label, **d)
    return classic_game(rules, generator, judge, normal_prior(3), OPTIONS, shape, observation=kind, num_classes=classes)


def batch(step: int, setting: Setting) -> dict[str, jax.Array]:
    draws = np.random.default_rng(step).normal(0.3, 0.5, (BATCH, *(IMAGE if setting.images else POINT)))
    seen = {"image" if setting.images else "point": jnp.asarray(draws.clip(-1, 1), jnp.float32)}
    return {**seen, "label": (jnp.arange(BATCH, dtype=jnp.int32) + step) % CLASSES} if setting.conditional else seen


@cache
def program(rules: Rules, setting: Setting) -> tuple[Callable, Callable]:
    made = game(rules, setting)
    start = jax.jit(lambda key, hyper: init_state(made, key, hyper), compiler_options=OPTIMIZE_LITTLE)
    return start, jax.jit(make_step(made), compiler_options=OPTIMIZE_LITTLE)


@cache
def played(rules: Rules, setting: Setting) -> State:
    start, step = program(rules, setting)
    state = start(jax.random.key(3), numbers(rules))
    for s in range(STEPS):
        state, metrics = step(state, batch(s, setting))
        assert all(np.isfinite(list(jax.device_get(metrics).values())))
    return jax.device_get(replace(state, key=jax.random.key_data(state.key)))


def before_step(rules: Rules) -> State:
    return jax.eval_shape(lambda key: init_state(game(rules), key, numbers(rules)), jax.random.key(0))


def without(changes: dict[str, Any], name: str) -> Rules:
    """The rules that the named change is to differ from: the same, but for the one that gives it its name."""
    return Rules(**{k: v for k, v in changes.items() if k != name.partition("=")[0]})


@pytest.mark.parametrize("name", CHANGES)
def test_every_rule_changes_the_game(name):
    setting = setting_of(name)
    with_rule, plain = Rules(**CHANGES[name]), without(CHANGES[name], name)
    after, before = played(with_rule, setting), played(plain, setting)
    if name == "ema_decay":
        assert not before.ema and after.ema
        return
    if name == "rematerialize":
        # the same game: it is told by its program
        texts = [str(jax.make_jaxpr(make_step(game(r)))(before_step(r), batch(0, setting))) for r in (plain, with_rule)]
        assert "remat" not in texts[0] and "remat" in texts[1]
        return
    ours, theirs = (jax.tree.leaves((s.params["generator"], s.params["discriminator"])) for s in (after, before))
    shapes = [leaf.shape for leaf in ours] != [leaf.shape for leaf in theirs]
    assert shapes or any(np.abs(a - b).max() > 1e-5 for a, b in zip(ours, theirs, strict=True))


def test_no_rule_is_forgotten():
    named = {name.partition("=")[0] for name in CHANGES}
    assert named == {field.name for field in fields(Rules)}


# rules that one player alone feels in its own move
OF_DISCRIMINATOR = (
    *GRADIENT_PENALTIES,
    "consistency_weight",
    "matching_aware_weight",
    "weight_clip",
    "real_label",
    "label_flips",
    "discriminator_learning_rate",
)
OF_GENERATOR = ("feature_matching_weight", "adversarial_weight", "orthogonal_weight", "generator_learning_rate")


@pytest.mark.parametrize("name", [*OF_DISCRIMINATOR, *OF_GENERATOR])
def test_a_rule_of_one_player_leaves_the_other_alone(name):
    """The first step of simultaneous play: who moves as without the rule, and who does not."""
    setting, results = setting_of(name), []
    for rules in (Rules(**CHANGES[name]), without(CHANGES[name], name)):
        simultaneous = replace(rules, dynamics="simultaneous")
        start, step = program(simultaneous, setting)
        results.append(step(start(jax.random.key(3), numbers(simultaneous)), batch(0, setting))[0].params)
    differs = {
        player: any(
            np.abs(np.subtract(a, b)).max() > 1e-6
            for a, b in zip(*(jax.tree.leaves(params[player]) for params in results), strict=True)
        )
        for player in ("discriminator", "generator")
    }
    assert differs == {"discriminator": name in OF_DISCRIMINATOR, "generator": name in OF_GENERATOR}


def test_clipping_bounds_the_discriminator():
    params = played(Rules(weight_clip=0.05), POINTS).params
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(params["discriminator"])) <= 0.05 + 1e-7
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(params["generator"])) > 0.1


def test_the_player_that_is_named_moves_more_often():
    def moves(rules: Rules) -> list[list[bool]]:
        return [[bool(u.when(s)) if u.when else True for s in range(6)] for u in game(rules).updates]

    rare, always = [False, False, True] * 2, [True] * 6
    assert moves(Rules(discriminator_steps=3)) == [always, rare]
    assert moves(Rules(generator_steps=3)) == [[True, False, False] * 2, always]


# -- pairs -----------------------------------------------------------------------------------------

COUPLED = (
    "discriminator_normalization=batch",
    *(f"minibatch={m}" for m in ("discrimination", "deviation", "input_deviation")),
)
ADAPTIVE = ("augmentation=ada", "ada_target", "ada_images")
# their zero is not where D takes an example for real
ZERO_SEPARATES_NOTHING = ("least_squares", "wasserstein", "relativistic", "relativistic_average", "f_kl")
UNLABELLED = tuple(
    name for name in CHANGES if name.startswith(("loss=f_", "loss=rel")) or name in ("loss=hinge", "loss=wasserstein")
)


def refused_by_hand() -> set[frozenset[str]]:
    """The pairs of changes that do not stand, written down again."""
    penalised = (*GRADIENT_PENALTIES, "penalty_interval")
    rewritten = ("dynamics=extragradient", "dynamics=consensus", "consensus_weight")
    pairs = [(p, c) for p in penalised for c in COUPLED]
    pairs += [("real_label", loss) for loss in UNLABELLED]
    pairs += [("penalty_interval", d) for d in ("dynamics=simultaneous", *rewritten, "unrolled_steps")]
    pairs += [(d, other) for d in rewritten for other in ("unrolled_steps", "discriminator_steps", "generator_steps")]
    pairs += [("discriminator_steps", "generator_steps"), ("matching_aware_weight", "packing")]
    pairs += [(name, f"loss={loss}") for name in ADAPTIVE for loss in ZERO_SEPARATES_NOTHING]
    return {frozenset(pair) for pair in pairs}


def merged(one: str, other: str) -> Rules | None:
    """The rules with both changes; None where they say different things of one rule."""
    both = CHANGES[one].keys() & CHANGES[other].keys()
    if any(CHANGES[one][name] != CHANGES[other][name] for name in both):
        return None
    return Rules(**CHANGES[one], **{k: v for k, v in CHANGES[other].items() if k not in both})


CELLS = [(one, other) for one, other in combinations(CHANGES, 2) if merged(one, other) is not None]


def test_all_pairs_that_are_refused_are_those_written_down():
    refused = set()
    for one, other in CELLS:
        rules = merged(one, other)
        assert rules is not None
        try:
            check(rules, setting_of(one, other), BATCH)
        except RequestError:
            refused.add(frozenset((one, other)))
    assert refused == {pair for pair in refused_by_hand() if tuple(sorted(pair, key=list(CHANGES).index)) in CELLS}


# one of each kind of loss and penalty stands for the others: they enter the game by the same door
ALIKE = {name for name in CHANGES if name.startswith("loss=")} - {"loss=wasserstein", "loss=relativistic_average"}
ALIKE |= set(GRADIENT_PENALTIES) - {"r1_weight", "gradient_penalty_weight"}
ALIKE |= {"generator_learning_rate", "discriminator_learning_rate", "beta1", "beta2"}
ALIKE |= {"learning_rate_decay=linear"}
ALIKE |= {"augmentation=diffaugment", "ada_target", "ada_images"}
ALIKE |= {
    "consistency_weight",
    "consensus_weight",
    "orthogonal_weight",
    "spectral_norm=discriminator",
    "generator_normalization=layer",
}
PLAYED = [
    (one, other)
    for one, other in CELLS
    if not {one, other} & ALIKE and frozenset((one, other)) not in refused_by_hand()
]


@pytest.mark.parametrize("one", sorted({one for one, _ in PLAYED}, key=list(CHANGES).index))
def test_all_other_pairs_play(one):
    for first, other in PLAYED:
        if first == one:
            rules = merged(one, other)
            assert rules is not None
            setting = replace(setting_of(one, other), images=bool({one, other} & {*AUGMENTED}))
            made = game(rules, setting)
            state = jax.eval_shape(
                lambda key, made=made, rules=rules: init_state(made, key, numbers(rules)), jax.random.key(0)
            )
            after, _ = jax.eval_shape(make_step(made), state, batch(0, setting))
            assert jax.tree.structure(after) == jax.tree.structure(state), (one, other)


SETTINGS = (
    Setting(),
    Setting(images=False),
    Setting(conditional=True),
    Setting(conditional=True, told=False, heads=True),
    Setting(heads=True),
    Setting(conditional=True, pictured=True),
)


@pytest.mark.parametrize("pair", INCOMPATIBLE, ids=" with ".join)
def test_each_row_of_the_table_is_met_and_says_what_to_do(pair):
    assert set(pair) <= set(TRAITS)
    reason = INCOMPATIBLE[pair]
    assert "--" in reason and "\n" not in reason
    hits = 0
    for changes in (*CHANGES.values(), *(vars(merged(*cell)) for cell in CELLS)):
        for setting in SETTINGS:
            rules = (
                Rules(**{**changes, "adversarial_weight": 0.0}) if "no adversarial loss" in pair else Rules(**changes)
            )
            if "a penalty at intervals" in pair and "no penalty" in pair:
                rules = Rules(penalty_interval=2)
            if "fading noise" in pair:
                rules = Rules(instance_noise_steps=3)
            if all(TRAITS[name](rules, setting) for name in pair):
                with pytest.raises(RequestError):
                    check(rules, setting, BATCH)
                hits += 1
        if hits:
            break
    assert hits


def test_numbers_of_the_batch():
    with pytest.raises(RequestError, match="--packing 3 does not divide the batch of 8"):
        check(Rules(packing=3), Setting(), BATCH)
    with pytest.raises(RequestError, match="--accumulation 3 does not divide the batch of 8"):
        check(Rules(accumulation=3), Setting(), BATCH)
    with pytest.raises(RequestError, match="--packing 4 does not divide the batch of 2, or each of its parts"):
        check(Rules(accumulation=4, packing=4), Setting(), BATCH)
    with pytest.raises(RequestError, match="--replay keeps at least half a batch, 4, got 3"):
        check(Rules(replay=3), Setting(), BATCH)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_read_from_the_run_and_not_from_the_program(name):
    """One compiled program, two values of hyper: the game differs, as it would with other rules."""
    base = next(c for c in (CHANGES.get(name), CHANGES.get(f"{name}=x")) if c)
    rules = Rules(**base)
    setting = setting_of(name)
    start, step = program(rules, setting)
    results, before = [], step._cache_size()
    for factor in (1.0, 0.5):
        state = start(jax.random.key(3), {**numbers(rules), name: factor * numbers(rules)[name]})
        for s in range(STEPS):
            state, _ = step(state, batch(s, setting))
        results.append(state.params)
    assert step._cache_size() == max(before, 1)
    other = Rules(**{**base, name: 0.5 * base[name]})
    expected = played(other, setting).params
    for changed, wanted in zip(jax.tree.leaves(results[1]), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(changed, wanted, rtol=1e-4, atol=1e-5)
    pairs = zip(jax.tree.leaves(results[0]), jax.tree.leaves(results[1]), strict=True)
    assert any(np.abs(a - b).max() > 1e-6 for a, b in pairs)


@pytest.mark.parametrize(
    ("decay", "shares"),
    [
        ("none", [1, 1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25, 0]),
        ("linear_from_half", [1, 1, 1, 0.5, 0]),
        ("cosine", [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0]),
    ],
)
def test_step_sizes_fall_as_they_are_said_to(decay, shares):
    rules = Rules(optimizer="sgd", beta1=0.0, learning_rate_decay=decay, discriminator_learning_rate=0.2)
    chosen = optimizer(rules, "discriminator", 40)
    state = chosen.init(jnp.ones(2))
    for step, share in zip((0, 10, 20, 30, 40), shares, strict=True):
        moved, _ = chosen.update(jnp.array([3.0, -1.0]), state, jnp.ones(2), hyper=numbers(rules), step=jnp.int32(step))
        np.testing.assert_allclose(moved, [-0.6 * share, 0.2 * share], atol=1e-6)
