"""Terms by which a generator translates, against NumPy; CycleGAN's whole loss; and a map that is learned unpaired."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax

from jaxgan.game import Net, Player, init_state, make_step
from jaxgan.games.translation import (
    back,
    closeness,
    content,
    cycle,
    identity,
    patch_contrast,
    reproduction,
    swapped,
)
from jaxgan.games.two_player import Round, two_player
from jaxgan.losses import adversarial
from jaxgan.memory import ImagePool
from jaxgan.nets import mlp
from jaxgan.nets.adapt import adapt, in_parts

RANDOM = np.random.default_rng(0)
# real, fake: what D was shown, which is not what there was
EXAMPLE, MADE, REAL, FAKE, SOURCE = RANDOM.normal(size=(5, 4, 2, 3, 2)).astype(np.float32)
LABEL = np.array([2, 0, 1, 1], np.int32)


def played(**changes):
    given = {
        "real": jnp.asarray(REAL),
        "fake": jnp.asarray(FAKE),
        "example": jnp.asarray(EXAMPLE),
        "made": jnp.asarray(MADE),
        "given": (jnp.asarray(SOURCE),),
        "condition": jnp.asarray(LABEL),
        "real_output": jnp.zeros(4),
        "fake_output": jnp.zeros(4),
        "real_features": None,
        "fake_features": None,
        "key": jax.random.key(3),
        "hyper": {"weight": 0.7},
        "step": jnp.int32(0),
        "critic": lambda x, label=None: x,
        # each place of the batch, and each label, is treated in its own way
        "generator": lambda x, label=None: (
            2.0 * x + jnp.arange(4.0)[:, None, None, None] + (0 if label is None else label[:, None, None, None])
        ),
        "clean_real": jnp.asarray(REAL),
        "clean_fake": jnp.asarray(FAKE),
        "clean_critic": lambda x: x,
        "generator_features": lambda *given: (),
        "heads": {},
    }
    return Round(**{**given, **changes})


def generated(x, label=None):
    shift = np.arange(4) + (0 if label is None else label)
    return 2.0 * x + shift[:, None, None, None]


# -- how near ---------------------------------------------------------------------------------------


def test_closeness_is_the_mean_difference_of_what_was_made_before_anybody_changed_it():
    value, gradient = jax.value_and_grad(lambda made: closeness("weight")(played(made=made)))(jnp.asarray(MADE))
    np.testing.assert_allclose(value, 0.7 * np.abs(EXAMPLE - MADE).mean(), rtol=1e-5)
    np.testing.assert_allclose(gradient, 0.7 * np.sign(MADE - EXAMPLE) / MADE.size, rtol=1e-5)
    np.testing.assert_allclose(closeness(100.0)(played()), 100 * np.abs(EXAMPLE - MADE).mean(), rtol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (cycle, generated(MADE[[2, 3, 0, 1]])),
        (identity, generated(EXAMPLE, LABEL)),
        (back, generated(MADE, LABEL)),
        (lambda r: (r.given[0] + r.made,), generated(SOURCE + MADE)),
    ],
    ids=["cycle", "identity", "back", "of one's own"],
)
def test_reproduction_is_the_mean_difference_between_what_is_made_of_the_inputs_and_the_example(inputs, expected):
    value = reproduction("weight", inputs)(played())
    np.testing.assert_allclose(value, 0.7 * np.abs(expected - EXAMPLE).mean(), rtol=1e-5)
    assert abs(np.abs(expected - EXAMPLE).mean() - np.abs(expected - REAL).mean()) > 1e-3


def test_reproduction_pulls_on_what_was_made_on_the_way():
    gradient = jax.grad(lambda made: reproduction(1.0, cycle)(played(made=made)))(jnp.asarray(MADE))
    sign = np.sign(generated(MADE[[2, 3, 0, 1]]) - EXAMPLE)
    np.testing.assert_allclose(gradient, 2.0 * sign[[2, 3, 0, 1]] / MADE.size, rtol=1e-5)


def test_identity_without_domains_is_the_example_alone():
    assert len(identity(played(condition=None))) == 1
    value = reproduction("weight", identity)(played(condition=None))
    np.testing.assert_allclose(value, 0.7 * np.abs(generated(EXAMPLE) - EXAMPLE).mean(), rtol=1e-5)


def test_the_way_back_needs_the_domains():
    with pytest.raises(ValueError, match="needs a condition: the domains"):
        reproduction(1.0, back)(played(condition=None))


def test_halves_change_places():
    np.testing.assert_array_equal(swapped(jnp.arange(6)), [3, 4, 5, 0, 1, 2])
    np.testing.assert_array_equal(swapped(jnp.asarray(MADE)), np.concatenate([MADE[2:], MADE[:2]]))


def test_content_is_the_mean_square_of_what_features_differ_by_and_teaches_only_the_maker():
    weight = RANDOM.normal(size=(12, 5)).astype(np.float32)

    def features(images):
        return jnp.tanh(images.reshape(images.shape[0], -1) @ weight)

    def loss(made, example):
        return content("weight", features)(played(made=made, example=example))

    value, (for_made, for_example) = jax.value_and_grad(loss, (0, 1))(jnp.asarray(MADE), jnp.asarray(EXAMPLE))
    wanted, found = (np.tanh(x.reshape(4, 12) @ weight.astype(np.float64)) for x in (EXAMPLE, MADE))
    np.testing.assert_allclose(value, 0.7 * np.mean((wanted - found) ** 2), rtol=1e-5)
    slope = 0.7 * 2 / 20 * ((found - wanted) * (1 - found**2)) @ weight.T
    np.testing.assert_allclose(for_made, slope.reshape(MADE.shape), rtol=1e-3, atol=1e-6)
    assert not np.any(for_example)
    pixels = content(2.0, lambda images: images)(played())
    np.testing.assert_allclose(pixels, 2 * np.mean((EXAMPLE - MADE) ** 2), rtol=1e-5)


# -- patches ----------------------------------------------------------------------------------------

HEAD = RANDOM.normal(size=(2, 3, 4)).astype(np.float32)
TEMPERATURE = 0.5


def maps(x):
    """A map of the picture's size [4, 2, 3, 3] and one of its first row [4, 1, 3, 3]; the last channel is the place."""
    full = jnp.concatenate([x, jnp.broadcast_to(jnp.arange(6.0).reshape(1, 2, 3, 1), (4, 2, 3, 1))], axis=-1)
    return full, jnp.square(full[:, :1]) - 1.0


def projected(weight):
    return lambda *samples: tuple(jnp.tanh(x @ w) for x, w in zip(samples, weight, strict=True))


def contrast_by_hand(before, after, weight_before, weight_after, chosen):
    """float64, one place after another: [h, w, c] maps of every example, positions of each map -> the mean loss."""
    total = []
    for m, places in enumerate(chosen):
        losses = []
        for one, other in zip(np.asarray(before[m], np.float64), np.asarray(after[m], np.float64), strict=True):
            keys = np.stack([np.tanh(one.reshape(-1, 3)[p] @ weight_before[m]) for p in places])
            for i, p in enumerate(places):
                query = np.tanh(other.reshape(-1, 3)[p] @ weight_after[m])
                losses.append(-log_softmax(keys @ query / TEMPERATURE)[i])
        total.append(np.mean(losses))
    return np.mean(total)


def spied(term, **changes):
    """The term's value, and the positions [map, example, position] of queries and keys as its head was given them."""
    seen = []

    def head(*samples):
        seen.append([np.asarray(x[..., 2]) for x in samples])
        return projected(HEAD)(*samples)

    value = term(played(generator_features=maps, heads={"contrast": head}, **changes))
    (after, before) = seen
    # the second map shows squares less one
    return value, *[[np.rint(full), np.rint(np.sqrt(row + 1.0))] for full, row in (before, after)]


@pytest.mark.parametrize(("of", "source", "made"), [("given", SOURCE, MADE), ("example", EXAMPLE, generated(EXAMPLE))])
def test_patch_contrast_at_all_positions_by_hand(of, source, made):
    value, before, after = spied(patch_contrast("weight", "contrast", 256, TEMPERATURE, of))
    assert [np.sort(places, axis=1).tolist() for places in before] == [[[*range(6)]] * 4, [[*range(3)]] * 4]
    jax.tree.map(np.testing.assert_array_equal, before, after)
    expected = contrast_by_hand(maps(source), maps(made), HEAD, HEAD, [range(6), range(3)])
    np.testing.assert_allclose(value, 0.7 * expected, rtol=1e-4)
    # the other way round, and without a temperature, it is another number
    for other in (
        contrast_by_hand(maps(made), maps(source), HEAD, HEAD, [range(6), range(3)]),
        2 * expected,
    ):
        assert abs(other - expected) > 0.02


def test_patch_contrast_at_some_positions_is_at_the_same_ones_before_and_after_in_all_examples():
    term = patch_contrast("weight", "contrast", 2, TEMPERATURE)
    drawn = []
    for seed in range(12):
        value, before, after = spied(term, key=jax.random.key(seed))
        jax.tree.map(np.testing.assert_array_equal, before, after)
        for places in before:
            assert places.shape == (4, 2) and (places == places[0]).all() and places[0, 0] != places[0, 1]
        chosen = [places[0].astype(int) for places in before]
        np.testing.assert_allclose(
            value, 0.7 * contrast_by_hand(maps(SOURCE), maps(MADE), HEAD, HEAD, chosen), rtol=1e-4
        )
        drawn.append(chosen)
    # every place has its turn, and the maps their own
    assert {p for full, _ in drawn for p in full} == set(range(6)) and {p for _, row in drawn for p in row} == {0, 1, 2}
    assert any(full.tolist() != row.tolist() for full, row in drawn)
    # what is compared of the examples is drawn by itself
    of_examples = [
        spied(patch_contrast(1.0, "contrast", 2, TEMPERATURE, "example"), key=jax.random.key(seed))[1][0][0]
        for seed in range(12)
    ]
    assert any(set(one) != set(full) for one, (full, _) in zip(of_examples, drawn, strict=True))


def test_patch_contrast_moves_the_head_and_the_generator_by_its_answers_alone():
    """Keys are constants: against central differences in float64 of the loss by hand, with the keys held."""
    term = patch_contrast(1.0, "contrast", 256, TEMPERATURE)

    def loss(weight, made):
        return term(played(made=made, generator_features=maps, heads={"contrast": projected(weight)}))

    for_head, for_made = jax.grad(loss, (0, 1))(jnp.asarray(HEAD), jnp.asarray(MADE))
    places, before = [range(6), range(3)], [np.asarray(m, np.float64) for m in maps(SOURCE)]

    def by_hand(weight, made):
        full = np.concatenate([made, np.asarray(before[0][..., 2:])], axis=-1)
        return contrast_by_hand(before, (full, full[:, :1] ** 2 - 1.0), HEAD, weight, places)

    def difference(index, function, at, size=1e-5):
        moved = [np.array(at, np.float64) for _ in range(2)]
        moved[0][index] += size
        moved[1][index] -= size
        return (function(moved[0]) - function(moved[1])) / (2 * size)

    for index in ((0, 0, 1), (0, 2, 3), (1, 1, 0), (1, 2, 2)):
        slope = difference(index, lambda weight: by_hand(weight, MADE.astype(np.float64)), HEAD)
        np.testing.assert_allclose(for_head[index], slope, rtol=2e-3, atol=1e-5)
    for index in ((0, 0, 1, 0), (3, 1, 2, 1), (2, 0, 0, 1)):
        slope = difference(index, lambda made: by_hand(HEAD, made), MADE)
        np.testing.assert_allclose(for_made[index], slope, rtol=2e-3, atol=1e-5)


def test_contrast_is_of_what_was_given_or_of_the_examples():
    with pytest.raises(ValueError, match="'given' or 'example', got 'made'"):
        patch_contrast(1.0, "contrast", of="made")


# -- CycleGAN as one game of two players ------------------------------------------------------------

A = RANDOM.normal(0.2, 0.7, (3, 2)).astype(np.float32)
B = RANDOM.normal(-0.4, 1.1, (3, 2)).astype(np.float32)
TO_B, TO_A = np.array([[0.9, 0.3], [-0.2, 1.2]], np.float32), np.array([[0.7, -0.4], [0.5, 0.8]], np.float32)
JUDGE_B, JUDGE_A = np.array([0.8, -0.5], np.float32), np.array([-0.3, 1.1], np.float32)
CYCLE, IDENTITY, RATE = 3.0, 0.6, 0.05


def linear(weight):
    return Net(lambda key: {"params": jnp.asarray(weight)}, lambda v, x, key=None, train=True: (x @ v["params"], {}))


def cycle_gan(translators, judges, optimizer, cycle_weight=CYCLE, identity_weight=IDENTITY, **options):
    return two_player(
        Player(in_parts(translators), optimizer),
        Player(in_parts(judges), optimizer),
        adversarial.least_squares,
        None,
        observation="point",
        given=lambda key, batch: (batch["source"],),
        generator_terms=[reproduction(cycle_weight, cycle), reproduction(identity_weight, identity)],
        **options,
    )


def both(a, b):
    """A batch of two domains: what is translated, and what it is to be like."""
    return {"source": jnp.concatenate([a, b]), "point": jnp.concatenate([b, a])}


def test_a_step_of_cycle_gan_is_that_of_two_generators_and_two_discriminators_in_numpy():
    """Each direction by itself; the mean over both, which one batch of two halves has, is half of their sum."""
    translators, judges = {"b": linear(TO_B), "a": linear(TO_A)}, {"b": linear(JUDGE_B), "a": linear(JUDGE_A)}
    game = cycle_gan(translators, judges, optax.sgd(RATE))
    state, metrics = make_step(game)(init_state(game, jax.random.key(0)), both(jnp.asarray(A), jnp.asarray(B)))

    a, b = A.astype(np.float64), B.astype(np.float64)

    def of_judges(judge_b, judge_a):
        in_b = np.mean((b @ judge_b - 1) ** 2 + (a @ TO_B @ judge_b) ** 2)
        in_a = np.mean((a @ judge_a - 1) ** 2 + (b @ TO_A @ judge_a) ** 2)
        return (in_b + in_a) / 2

    def of_translators(to_b, to_a, judge_b, judge_a):
        fool = (np.mean((a @ to_b @ judge_b - 1) ** 2) + np.mean((b @ to_a @ judge_a - 1) ** 2)) / 2
        again = (np.abs(a @ to_b @ to_a - a).mean() + np.abs(b @ to_a @ to_b - b).mean()) / 2
        alone = (np.abs(b @ to_b - b).mean() + np.abs(a @ to_a - a).mean()) / 2
        return fool + CYCLE * again + IDENTITY * alone

    def slopes(function, *at, size=1e-6):
        def one(which, index):
            ends = []
            for sign in (size, -size):
                moved = [np.array(x, np.float64) for x in at]
                moved[which][index] += sign
                ends.append(function(*moved))
            return (ends[0] - ends[1]) / (2 * size)

        return [np.array([one(k, i) for i in np.ndindex(x.shape)]).reshape(x.shape) for k, x in enumerate(at)]

    np.testing.assert_allclose(metrics["discriminator/loss"], of_judges(JUDGE_B, JUDGE_A), rtol=1e-5)
    moved = [w - RATE * slope for w, slope in zip((JUDGE_B, JUDGE_A), slopes(of_judges, JUDGE_B, JUDGE_A), strict=True)]
    for name, judge in zip("ba", moved, strict=True):
        np.testing.assert_allclose(state.params["discriminator"][name], judge, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["generator/loss"], of_translators(TO_B, TO_A, *moved), rtol=1e-5)
    pulls = slopes(lambda to_b, to_a: of_translators(to_b, to_a, *moved), TO_B, TO_A)
    for name, before, pull in zip("ba", (TO_B, TO_A), pulls, strict=True):
        assert np.abs(pull).min() > 1e-3
        np.testing.assert_allclose(state.params["generator"][name], before - RATE * pull, rtol=1e-4, atol=1e-5)


HALF = 64
STAYS = np.array([[-1.2, -0.8], [1.0, -1.1]], np.float32)
MOVES = {"a": np.array([-0.5, 1.2], np.float32), "b": np.array([0.5, 1.2], np.float32)}


def clusters(key, domain, n):
    """Three clusters as wide as 0.4, of which the third lies 1.0 further right in domain b: they overlap by far."""
    which_key, noise_key = jax.random.split(key)
    centres, which = np.concatenate([STAYS, MOVES[domain][None]]), jax.random.randint(which_key, (n,), 0, 3)
    return jnp.asarray(centres)[which] + 0.4 * jax.random.normal(noise_key, (n, 2)), which


def test_two_domains_are_translated_as_they_should_without_a_single_pair():
    """All maps that bring each cluster to some cluster fool D: cycle and identity choose the one that moves the third.

    Standing still is wrong by a third on average, a pair of clusters taken for each other by more than 1.
    """
    nets = {name: adapt(mlp.Generator((2,), width=32, depth=2), (2,)) for name in "ba"}
    judges = {name: adapt(mlp.Discriminator(width=32, depth=2), (2,)) for name in "ba"}
    pool = ImagePool(2 * HALF, groups=2)
    game = cycle_gan(nets, judges, optax.adam(2e-3, 0.5), "cycle", "identity", replay=pool, batch=(2 * HALF, 2))
    step = make_step(game)
    held = {}
    for k, (name, other) in enumerate(("ab", "ba")):
        points, which = clusters(jax.random.key(70 + k), name, 500)
        held[other] = points, points + jnp.where(which[:, None] == 2, MOVES[other] - MOVES[name], 0.0)

    def train(key, hyper):
        def body(state, key):
            a, b = (clusters(k, name, HALF)[0] for k, name in zip(jax.random.split(key), "ab", strict=True))
            return step(state, both(a, b))[0], None

        state = init_state(game, key, hyper)
        state, _ = jax.lax.scan(body, state, jax.random.split(jax.random.fold_in(key, 9), 1000))
        params = state.params["generator"]
        return {
            name: jnp.mean(jnp.linalg.norm(nets[name].apply({"params": params[name]}, x)[0] - right, axis=1))
            for name, (x, right) in held.items()
        }

    # three seeds with the terms, and the same without
    keys = jnp.concatenate([jax.random.split(jax.random.key(0), 3)] * 2)
    hyper = {"cycle": jnp.array([1.5] * 3 + [0.0] * 3), "identity": jnp.array([2.0] * 3 + [0.0] * 3)}
    errors = jax.device_get(jax.jit(jax.vmap(train))(keys, hyper))
    for error in errors.values():
        assert error[:3].max() < 0.28, errors
        assert error[3:].mean() > 0.8, errors
