from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.game import LossInput, Net, Player, every, init_state, make_step
from jaxgan.games.two_player import (
    Carried,
    collapse_alarm,
    feature_matching,
    gradient_penalty,
    neighbour_distance,
    pack,
    two_player,
)
from jaxgan.latent import normal_prior
from jaxgan.losses import adversarial, penalties
from jaxgan.memory import ImagePool, Replay

RATE = 0.1
REAL = np.array([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.1]], np.float32)
LATENT = np.array([[1.0, 0.2], [-0.4, 0.9], [0.3, -1.5]], np.float32)
G = np.array([[0.6, -0.3], [0.2, 1.2]], np.float32)
D = np.array([0.8, -0.5], np.float32)


def linear(weight, bias=0.0, coupled=False):
    """example -> example @ weight + bias, with a count of training passes as running variable."""

    def init(key):
        return {
            "params": {"w": jnp.asarray(weight), "b": jnp.asarray(bias, jnp.float32)},
            "count": {"n": jnp.zeros(())},
        }

    def apply(variables, x, *told, key=None, train=True):
        y = x @ variables["params"]["w"] + variables["params"]["b"]
        if told:
            y = y + (told[0] if y.ndim == 1 else told[0][:, None])
        return y, ({"count": {"n": variables["count"]["n"] + 1}} if train else {})

    return Net(init, apply, coupled)


def build(loss=adversarial.non_saturating, generator=None, discriminator=None, prior=None, rate=RATE, **options):
    return two_player(
        Player(generator or linear(G), optax.sgd(rate)),
        Player(discriminator or linear(D, 0.4), optax.sgd(rate)),
        loss,
        prior or (lambda key, n: jnp.asarray(LATENT)[:n]),
        observation="point",
        **options,
    )


def one_step(game, batch=None, **hyper):
    state = init_state(game, jax.random.key(0), hyper)
    return make_step(game)(state, {"point": jnp.asarray(REAL)} if batch is None else batch)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.float64(x)))


def test_one_step_of_linear_nets_in_numpy():
    state, metrics = one_step(build())
    real, fake = REAL @ D + 0.4, LATENT @ G @ D + 0.4
    np.testing.assert_allclose(
        metrics["discriminator/loss"], np.mean(np.log1p(np.exp(-real)) + np.log1p(np.exp(fake))), rtol=1e-5
    )
    grad_w = -(1 - sigmoid(real)) @ REAL / 3 + sigmoid(fake) @ (LATENT @ G) / 3
    grad_b = np.mean(-(1 - sigmoid(real)) + sigmoid(fake))
    w, b = D - RATE * grad_w, 0.4 - RATE * grad_b
    np.testing.assert_allclose(state.params["discriminator"]["w"], w, rtol=1e-5)
    np.testing.assert_allclose(state.params["discriminator"]["b"], b, rtol=1e-5)
    # the generator meets the discriminator that has just moved
    fake = LATENT @ G @ w + b
    np.testing.assert_allclose(metrics["generator/loss"], np.mean(np.log1p(np.exp(-fake))), rtol=1e-5)
    grad_g = np.einsum("n,ni,j->ij", -(1 - sigmoid(fake)), LATENT, w) / 3
    np.testing.assert_allclose(state.params["generator"]["w"], G - RATE * grad_g, rtol=1e-5)
    norm = np.sqrt(np.sum(grad_g**2) + np.mean((1 - sigmoid(fake))[:, None] * w, axis=0).sum() ** 2)
    np.testing.assert_allclose(metrics["generator/gradient_norm"], norm, rtol=1e-4)


def test_metrics_of_the_discriminator():
    _, metrics = one_step(build(discriminator_terms=[lambda r: jnp.asarray(10.0)]))
    real, fake = REAL @ D + 0.4, LATENT @ G @ D + 0.4
    assert set(np.sign(real)) == set(np.sign(fake)) == {-1, 1}  # or the accuracies would show little
    expected = {
        "adversarial": np.mean(np.log1p(np.exp(-real)) + np.log1p(np.exp(fake))),
        "real_logit": real.mean(),
        "fake_logit": fake.mean(),
        "real_accuracy": np.mean(real > 0),
        "fake_accuracy": np.mean(fake < 0),
        "diversity": distance(LATENT @ G) / distance(REAL),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[f"discriminator/{name}"], value, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(metrics["discriminator/loss"], expected["adversarial"] + 10, rtol=1e-5)


def distance(x):
    return np.mean([np.linalg.norm(x[i] - x[i - 1]) for i in range(len(x))])


def test_neighbour_distance():
    images = np.random.default_rng(0).normal(size=(5, 2, 3, 1)).astype(np.float32)
    np.testing.assert_allclose(neighbour_distance(jnp.asarray(images)), distance(images), rtol=1e-5)
    assert neighbour_distance(jnp.ones((4, 2))) == 0


def test_terms_see_the_round_and_are_added_to_their_players_loss():
    seen = {}

    def term(name, weight):
        def compute(r):
            seen[name] = r
            return weight * r.hyper["scale"] * jnp.sum(jnp.square(r.critic(r.real * 0.0)))

        return compute

    plain = one_step(build())[1]
    game = build(discriminator_terms=[term("first", 1.0), term("second", 10.0)], generator_terms=[term("third", 100.0)])
    state, metrics = one_step(game, scale=2.0)
    bias = float(state.params["discriminator"]["b"])
    assert float(metrics["discriminator/loss"] - plain["discriminator/loss"]) == pytest.approx(
        11 * 2 * 3 * 0.4**2, rel=1e-4
    )
    added = metrics["generator/loss"] - jnp.mean(
        jax.nn.softplus(-(LATENT @ G @ state.params["discriminator"]["w"] + bias))
    )
    assert float(added) == pytest.approx(100 * 2 * 3 * bias**2, rel=1e-4)
    r = seen["first"]
    assert r.real.shape == r.fake.shape == (3, 2) and r.latent.shape == (3, 2) and r.condition is None
    assert r.real_output.shape == r.fake_output.shape == (3,)


def test_running_variables_of_the_fake_pass_start_from_the_real_one():
    game = build()
    state, _ = one_step(game)
    assert float(state.variables["discriminator"]["count"]["n"]) == 2  # real, then fake; not the generator's two more
    assert float(state.variables["generator"]["count"]["n"]) == 1
    # the critic of a term changes nothing
    penalised = build(discriminator_terms=[gradient_penalty(penalties.r1, 1.0, linear(D))])
    assert float(one_step(penalised)[0].variables["discriminator"]["count"]["n"]) == 2


def test_both_nets_are_told_the_condition():
    told = np.array([1.0, -2.0, 0.5], np.float32)
    batch = {"point": jnp.asarray(REAL), "label": jnp.asarray(told)}
    seen = []
    game = build(
        condition="label", discriminator_terms=[lambda r: seen.append(r.condition) or 0.0 * r.critic(r.real)[0]]
    )
    _, metrics = one_step(game, batch)
    fake = LATENT @ G + told[:, None]
    np.testing.assert_allclose(metrics["discriminator/real_logit"], np.mean(REAL @ D + 0.4 + told), rtol=1e-5)
    np.testing.assert_allclose(metrics["discriminator/fake_logit"], np.mean(fake @ D + 0.4 + told), rtol=1e-5)
    assert seen[0].shape == (3,)


def test_schedules_of_either_player():
    game = build(discriminator_when=every(2), generator_when=every(3), simultaneous=True)
    assert [update.name for update in game.updates] == ["discriminator", "generator"] and game.simultaneous
    assert [game.updates[0].when(s) for s in range(3)] == [False, True, False]
    assert [game.updates[1].when(s) for s in range(3)] == [False, False, True]


def test_an_undecided_discriminator_pays_two_log_two():
    for loss in (adversarial.non_saturating, adversarial.minimax):
        _, metrics = one_step(build(loss, discriminator=linear(np.zeros(2, np.float32))))
        np.testing.assert_allclose(metrics["discriminator/loss"], 2 * np.log(2), rtol=1e-6)


def test_a_gradient_penalty_is_weighted_and_refuses_a_coupled_net():
    _, metrics = one_step(build(discriminator_terms=[gradient_penalty(penalties.r1, 3.0, linear(D))]))
    added = metrics["discriminator/loss"] - metrics["discriminator/adversarial"]
    np.testing.assert_allclose(added, 3 * np.sum(D**2), rtol=1e-5)
    with pytest.raises(ValueError, match=r"one by one.*couples the batch"):
        gradient_penalty(penalties.r1, 3.0, linear(D, coupled=True))


@pytest.mark.parametrize("packing", [1, 2])
def test_a_gradient_is_that_with_respect_to_clean_examples(packing):
    """D = (w . x)^2 / 2 of what is shown, 3 x + noise, has the gradient 3 (w . (3 x + noise)) w."""
    weight = np.array([0.8, -0.5, 0.3, 1.1], np.float32)[: 2 * packing]

    def squared(variables, examples, *told, key=None, train=True):
        return 0.5 * jnp.square(examples @ variables["params"]["w"]), {}

    def show(examples, key, inputs):
        return inputs.hyper["zoom"] * examples + 0.1 * jax.random.normal(key, examples.shape)

    net = Net(lambda key: {"params": {"w": jnp.asarray(weight)}}, squared)
    batch = np.concatenate([REAL, -0.5 * REAL[:1]])
    latent = np.concatenate([LATENT, LATENT[:1] + 0.7])
    options = {"discriminator": net, "show": show, "packing": packing, "prior": lambda key, n: jnp.asarray(latent)[:n]}
    ((d, _),) = rounds(options, {"zoom": 3.0}, batch=batch)
    at_reals = penalties.r1(d.clean_critic, d.clean_real, d.clean_fake, d.key)
    np.testing.assert_allclose(at_reals, 9 * np.square(np.asarray(d.real) @ weight) * np.sum(weight**2), rtol=1e-4)
    np.testing.assert_array_equal(d.clean_real, batch.reshape(-1, 2 * packing))
    np.testing.assert_allclose(d.clean_fake, (latent @ G).reshape(-1, 2 * packing), rtol=1e-6)
    term = gradient_penalty(penalties.r1, 2.0, net)
    np.testing.assert_allclose(term(d), 2 * np.mean(at_reals), rtol=1e-5)


def test_fakes_have_the_shape_of_the_data():
    with pytest.raises(ValueError, match=r"the generator makes \(3,\), the data are \(2,\)"):
        one_step(build(generator=linear(np.ones((2, 3), np.float32))))


def test_latents_are_drawn_anew_at_every_step_and_shared_by_both_updates():
    drawn = []
    note = [lambda r: drawn.append(r.latent) or jnp.zeros(())]
    game = build(prior=normal_prior(2), discriminator_terms=note, generator_terms=note)
    state, step = init_state(game, jax.random.key(0)), make_step(game)

    def latents(state):
        drawn.clear()
        state, _ = step(state, {"point": jnp.asarray(REAL)})
        return state, *drawn

    state, for_discriminator, for_generator = jax.jit(latents)(state)
    assert for_discriminator.shape == (3, 2)
    np.testing.assert_array_equal(for_discriminator, for_generator)
    assert not np.allclose(for_discriminator, jax.jit(latents)(state)[1])


@pytest.mark.parametrize(
    ("loss", "terms"),
    [
        (adversarial.non_saturating, (penalties.r1, 0.2)),
        (adversarial.hinge, (penalties.r1, 0.2)),
        (adversarial.wasserstein, (penalties.r1, 0.5)),
    ],
    ids=["non_saturating", "hinge", "wasserstein"],
)
def test_a_shift_learns_the_mean_of_a_gaussian(loss, terms):
    """Generator z + b, data N(2, 1), D linear, which sees nothing but the mean; several seeds in one program."""

    def shift():
        return Net(lambda key: {"params": jnp.zeros(())}, lambda v, z, key=None, train=True: (z + v["params"], {}))

    critic = linear(np.zeros(1, np.float32))
    game = build(
        loss, shift(), critic, normal_prior(1), discriminator_terms=[gradient_penalty(*terms, critic)], rate=0.1
    )
    step = make_step(game)

    def train(key):
        def body(state, s):
            real = 2.0 + jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, 77), s), (64, 1))
            return step(state, {"point": real})[0], state.params["generator"]

        _, path = jax.lax.scan(body, init_state(game, key), jnp.arange(400))
        return jnp.mean(path[300:])

    learned = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 4))
    np.testing.assert_allclose(learned, 2.0, atol=0.3)


def rows(n=5, diversity=0.9, real=0.8, fake=0.7):
    row = {
        "discriminator/diversity": diversity,
        "discriminator/real_accuracy": real,
        "discriminator/fake_accuracy": fake,
    }
    return [{"step": s, **row} for s in range(n)]


@pytest.mark.parametrize(
    ("log", "options", "warning"),
    [
        (rows(), {}, None),
        ([], {}, None),
        (rows(diversity=0.05), {}, "mode collapse: the fakes of a batch differ 0.05 times"),
        (rows(4, diversity=0.05), {}, None),
        (rows(4, diversity=0.05), {"patience": 4}, "mode collapse"),
        (rows(4) + rows(4, diversity=0.05), {}, None),
        (rows(3) + rows(5, diversity=0.05), {}, "mode collapse"),
        (rows(diversity=0.3), {"diversity": 0.5}, "mode collapse"),
        (rows(real=1.0, fake=1.0), {}, "discriminator has won"),
        (rows(real=1.0, fake=1.0), {"logits_are_odds": False}, None),
        (rows(real=1.0, fake=0.99), {}, None),
        (rows(4, real=1.0, fake=1.0) + rows(1), {}, None),
        (rows(real=0.0, fake=0.0), {}, None),
        ([*rows(diversity=0.05), {"evaluation": 1}], {}, "mode collapse"),
    ],
)
def test_collapse_alarm(log, options, warning):
    found = collapse_alarm(log, **options)
    assert found is None if warning is None else warning in found


# -- what D is shown, told and asked ---------------------------------------------------------------


def test_packs_put_neighbours_side_by_side():
    examples = np.random.default_rng(0).normal(size=(6, 2, 3, 2)).astype(np.float32)
    packed = np.asarray(pack(jnp.asarray(examples), 3))
    assert packed.shape == (2, 2, 3, 6)
    for i in range(2):
        for j in range(3):
            np.testing.assert_array_equal(packed[i, :, :, 2 * j : 2 * j + 2], examples[3 * i + j])
    with pytest.raises(ValueError, match="packs of 4 do not divide a batch of 6"):
        pack(jnp.asarray(examples), 4)


def test_a_packing_discriminator_judges_pairs():
    weight = np.array([0.8, -0.5, 0.3, 1.1], np.float32)
    real = np.concatenate([REAL, -0.5 * REAL[:1]])
    latent = np.concatenate([LATENT, LATENT[:1] + 0.7])
    game = build(discriminator=linear(weight, 0.4), prior=lambda key, n: jnp.asarray(latent)[:n], packing=2)
    state, metrics = one_step(game, {"point": jnp.asarray(real)})
    real_logits, fake_logits = (x.reshape(2, 4) @ weight + 0.4 for x in (real, latent @ G))
    np.testing.assert_allclose(metrics["discriminator/real_logit"], real_logits.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["discriminator/fake_logit"], fake_logits.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["discriminator/diversity"], distance(latent @ G) / distance(real), rtol=1e-5)
    # each half of the weights teaches its own member of the pair
    slope = -(
        1
        - sigmoid(
            (latent @ G).reshape(2, 4) @ np.asarray(state.params["discriminator"]["w"], np.float64)
            + float(state.params["discriminator"]["b"])
        )
    )
    pull = np.repeat(slope, 2)[:, None] * np.tile(np.asarray(state.params["discriminator"]["w"]).reshape(2, 2), (2, 1))
    np.testing.assert_allclose(state.params["generator"]["w"], G - RATE * latent.T @ pull / 2, rtol=1e-4)
    with pytest.raises(ValueError, match="packing"):
        build(packing=2, condition="label")


def test_lazy_terms_are_a_move_of_their_own_scaled_by_the_interval():
    """Under plain SGD: k-fold strength at every k-th step, none between, where each step took its share."""
    term = gradient_penalty(penalties.r1, 3.0, linear(D))
    lazy = build(lazy_terms=[term], lazy_interval=4)
    assert [u.name for u in lazy.updates] == ["discriminator", "regularization", "generator"]
    assert [bool(lazy.updates[1].when(s)) for s in range(5)] == [True, False, False, False, True]
    state = init_state(lazy, jax.random.key(0))
    moved, metrics = make_step(lazy, active=(False, True, False))(state, {"point": jnp.asarray(REAL)})
    np.testing.assert_allclose(metrics["regularization/loss"], 4 * 3 * np.sum(D**2), rtol=1e-5)
    np.testing.assert_allclose(moved.params["discriminator"]["w"], D - RATE * 4 * 3 * 2 * D, rtol=1e-5)
    # an interval of one is a term like any other
    always, plain = build(lazy_terms=[term]), build(discriminator_terms=[term])
    assert [u.name for u in always.updates] == ["discriminator", "generator"]
    np.testing.assert_array_equal(
        one_step(always)[0].params["discriminator"]["w"], one_step(plain)[0].params["discriminator"]["w"]
    )


def rounds(options, hyper=None, steps=1, batch=REAL):
    """What D and G saw at each step, their losses evaluated by hand, without gradients: [(of D, of G)]."""
    seen = []
    note = [lambda r: (seen.append(r), jnp.zeros(()))[1]]
    game = build(discriminator_terms=note, generator_terms=note, **options)
    state = init_state(game, jax.random.key(1), hyper or {})
    memory = state.memory
    for step in range(steps):
        key = jax.random.fold_in(state.key, step)
        for update in game.updates:
            inputs = LossInput(
                step=jnp.asarray(step),
                key=key,
                batch=batch if isinstance(batch, dict) else {"point": jnp.asarray(batch)},
                variables=state.variables,
                opt_state=state.opt_state,
                ema=state.ema,
                memory=memory,
                hyper=state.hyper,
            )
            memory = {**memory, **update.loss(state.params, inputs)[1].memory}
    return list(zip(seen[::2], seen[1::2], strict=True))


def test_d_is_shown_what_show_makes_of_both_in_both_updates():
    def show(examples, key, inputs):
        return examples * inputs.hyper["scale"] + inputs.step + jax.random.normal(key, examples.shape)

    for step, (d, g) in enumerate(rounds({"show": show}, {"scale": 2.0}, steps=2)):
        real_noise, fake_noise = d.real - 2 * REAL - step, d.fake - 2 * LATENT @ G - step
        assert np.abs(real_noise).max() < 4 and np.abs(fake_noise).max() < 4
        assert np.abs(real_noise).min() > 1e-4 and np.abs(real_noise - fake_noise).min() > 1e-4
        np.testing.assert_array_equal(d.real, g.real)
        np.testing.assert_array_equal(d.fake, g.fake)


def test_replayed_fakes_reach_d_and_never_g():
    batch = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    played = rounds({"prior": normal_prior(2), "replay": Replay(8), "batch": (8, 2)}, steps=5, batch=batch)
    for d, g in played:
        np.testing.assert_array_equal(d.fake[:4], g.fake[:4])
    earlier = np.concatenate([g.fake[4:] for _, g in played[:4]])
    last, made = played[-1][0].fake[4:], played[-1][1].fake[4:]
    old = [np.isclose(row, earlier).all(axis=1).any() for row in last]
    assert sum(old) >= 2
    for i in np.flatnonzero(~np.array(old)):
        np.testing.assert_array_equal(last[i], made[i])
    with pytest.raises(ValueError, match="needs the shape of a batch"):
        build(replay=Replay(8))


def test_labels_change_ds_loss_and_not_gs():
    def swapped(loss, key, hyper):
        return adversarial.AdversarialLoss(lambda r, f: hyper["share"] * loss.discriminator(f, r), None)

    _, metrics = one_step(build(labels=swapped), share=0.5)
    real, fake = REAL @ D + 0.4, LATENT @ G @ D + 0.4
    expected = 0.5 * np.mean(np.log1p(np.exp(-fake)) + np.log1p(np.exp(real)))
    np.testing.assert_allclose(metrics["discriminator/adversarial"], expected, rtol=1e-5)
    assert float(metrics["generator/adversarial"]) > 0


def test_feature_matching_compares_mean_features():
    def features(variables, x, key=None, train=True):
        output, changed = linear(D, 0.4).apply(variables, x, key=key, train=train)
        return (output, jnp.tanh(x * variables["params"]["w"][None])), changed

    net = replace(linear(D, 0.4), features=features)
    game = build(
        discriminator=net,
        generator_terms=[feature_matching("matching")],
        generator_weight="adversarial",
    )
    state, metrics = one_step(game, matching=0.7, adversarial=0.0)
    w = np.asarray(state.params["discriminator"]["w"], np.float64)
    expected = np.sum((np.tanh(REAL * w).mean(0) - np.tanh(LATENT @ G * w).mean(0)) ** 2)
    np.testing.assert_allclose(metrics["generator/loss"], 0.7 * expected, rtol=1e-4)
    with pytest.raises(ValueError, match="shows no features"):
        one_step(build(generator_terms=[feature_matching(1.0)]))


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_generators_adversarial_loss_is_weighted(weight):
    _, metrics = one_step(build(generator_weight=weight))
    assert float(metrics["generator/loss"]) == pytest.approx(weight * float(metrics["generator/adversarial"]), abs=1e-7)
    assert float(metrics["generator/adversarial"]) > 0.1


def with_features(net, told=False):
    """The net, whose features are its examples."""

    def features(variables, x, *told, key=None, train=True):
        output, changed = net.apply(variables, x, *told, key=key, train=train)
        return (output, x), changed

    return replace(net, features=features)


def test_heads_move_with_d_on_its_features_and_the_generator_reads_them():
    """A head is a linear map of D's features; each player's term pulls on it or through it as written."""
    weight = np.array([0.3, -0.7], np.float32)
    head = Player(linear(weight), optax.sgd(0.1))
    game = build(
        discriminator=with_features(linear(D, 0.4)),
        heads={"head": head},
        discriminator_terms=[lambda r: 2.0 * jnp.mean(r.heads["head"](r.real_features))],
        generator_terms=[lambda r: 3.0 * jnp.mean(r.heads["head"](r.fake_features))],
        generator_weight=0.0,
    )
    assert game.updates[0].players == ("discriminator", "head") and game.updates[1].players == ("generator",)
    state, metrics = one_step(game)
    np.testing.assert_allclose(state.params["head"]["w"], weight - 0.1 * 2.0 * REAL.mean(0), rtol=1e-5)
    moved = np.asarray(state.params["head"]["w"], np.float64) @ (LATENT @ G).T + state.params["head"]["b"]
    np.testing.assert_allclose(metrics["generator/loss"], 3.0 * moved.mean(), rtol=1e-4)


def test_another_condition_reaches_the_critic_and_an_untold_d_hears_none():
    label = np.array([2.0, -1.0, 0.5], np.float32)
    batch = {"point": jnp.asarray(REAL), "label": jnp.asarray(label)}
    plain = REAL @ D + 0.4

    def term_of(term, told):
        game = build(condition="label", tell_discriminator=told, discriminator_terms=[term])
        _, metrics = one_step(game, batch)
        return metrics["discriminator/loss"] - metrics["discriminator/adversarial"]

    weight = jnp.array([1.0, 2.0, 5.0])
    for told, shift in ((True, 1.0), (False, 0.0)):
        right = term_of(lambda r: jnp.sum(weight * r.critic(r.real)), told)
        wrong = term_of(lambda r: jnp.sum(weight * r.critic(r.real, r.condition**2)), told)
        np.testing.assert_allclose(right, weight @ (plain + shift * label), rtol=1e-4)
        np.testing.assert_allclose(wrong, weight @ (plain + shift * label**2), rtol=1e-4)


def test_what_the_step_tells_comes_last_and_what_is_carried_goes_on():
    game = build(
        told_by_step=lambda step: 10.0 * step,
        carried={"mean": Carried(jnp.zeros(()), lambda value, r: 0.5 * value + jnp.mean(r.real_output))},
    )
    state, step = init_state(game, jax.random.key(0)), make_step(game)
    expected = 0.0
    for i in range(3):
        before = np.asarray(state.params["discriminator"]["w"]), float(state.params["discriminator"]["b"])
        state, _ = step(state, {"point": jnp.asarray(REAL)})
        expected = 0.5 * expected + np.mean(REAL @ before[0] + before[1] + 10.0 * i)
        np.testing.assert_allclose(state.memory["mean"], expected, rtol=1e-4)


# -- what the generator is given, and shows ---------------------------------------------------------

SOURCE = np.array([[0.2, -0.6], [1.4, 0.8], [-1.1, 0.5]], np.float32)


def noisy(weight):
    """A generator with noise of its own, a count of its passes, and features: twice what it is given first."""

    def apply(variables, x, *told, key=None, train=True):
        y = x @ variables["params"]["w"] + jax.random.normal(key, x.shape)
        return y + sum(told), {"count": {"n": variables["count"]["n"] + 1}}

    def features(variables, x, *told, key=None, train=True):
        output, changed = apply(variables, x, *told, key=key, train=train)
        return (output, (2.0 * x,)), changed

    def init(key):
        return {"params": {"w": jnp.asarray(weight)}, "count": {"n": jnp.zeros(())}}

    return Net(init, apply, features=features)


def test_a_generator_is_given_what_it_translates_and_not_the_condition():
    """D hears the condition still, the generator the two inputs that are chosen, by a key that both updates share."""
    told = np.array([1.0, -2.0, 0.5], np.float32)
    batch = {"point": jnp.asarray(REAL), "source": jnp.asarray(SOURCE), "label": jnp.asarray(told)}

    def given(key, batch):
        return batch["source"], jax.random.normal(key, batch["source"].shape)

    options = {"generator": noisy(G), "given": given, "condition": "label"}
    played = rounds(options, steps=2, batch=batch)
    for r in (*played[0], *played[1]):
        source, choice = r.given
        np.testing.assert_array_equal(source, SOURCE)
        np.testing.assert_array_equal(r.latent, SOURCE)
        np.testing.assert_array_equal(r.condition, told)
        noise = r.made - SOURCE @ G - choice
        assert np.abs(noise).min() > 1e-3
        # with the noise that made the fakes
        np.testing.assert_allclose(r.generator(*r.given), r.made, rtol=1e-6)
        np.testing.assert_allclose(r.generator(3.0 * source, choice) - 3.0 * SOURCE @ G - choice, noise, atol=1e-5)
        (shown,) = r.generator_features(*r.given)
        np.testing.assert_array_equal(shown, 2 * SOURCE)
        np.testing.assert_allclose(r.fake_output, r.made @ D + 0.4 + told, rtol=1e-5)
    (d, g), (later, _) = played
    np.testing.assert_array_equal(d.made, g.made)
    np.testing.assert_array_equal(d.given[1], g.given[1])
    assert np.abs(d.given[1] - later.given[1]).min() > 1e-3
    # passes of a term leave no count behind
    term = [lambda r: jnp.mean(r.generator(*r.given)) + jnp.mean(r.generator_features(*r.given)[0])]
    state, _ = one_step(build(generator_terms=term, **options), batch)
    assert float(state.variables["generator"]["count"]["n"]) == 1


def test_a_generator_is_given_something():
    with pytest.raises(ValueError, match="given nothing: neither a prior nor inputs"):
        two_player(Player(linear(G)), Player(linear(D)), adversarial.non_saturating, None)


def test_a_round_has_examples_and_fakes_as_they_were_before_d_was_shown_them():
    def show(examples, key, inputs):
        return examples + 5.0 + jax.random.normal(key, examples.shape)

    batch = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    options = {"prior": normal_prior(2), "show": show, "replay": Replay(4), "batch": (4, 2)}
    for d, g in rounds(options, steps=3, batch=batch):
        for r in (d, g):
            np.testing.assert_array_equal(r.example, batch)
            np.testing.assert_allclose(r.made, r.latent @ G, rtol=1e-5)
            np.testing.assert_allclose(r.generator(r.latent), r.made, rtol=1e-6)
            np.testing.assert_allclose(r.generator(2.0 * r.example), 2.0 * batch @ G, rtol=1e-5)
            assert np.mean(r.real - batch) > 3 and np.mean(r.fake - r.made) > 3
        # old ones among what D saw, and not among what was made
        assert np.abs((d.fake - d.made) - (g.fake - g.made))[:2].max() < 1e-5
    assert np.abs((d.fake - d.made) - (g.fake - g.made))[2:].max() > 1e-3


def test_a_generator_that_shows_nothing_is_said():
    term = [lambda r: jnp.sum(r.generator_features(*r.given))]
    with pytest.raises(ValueError, match="this generator shows nothing of itself"):
        one_step(build(generator_terms=term))


def test_generator_heads_move_with_the_generator_on_what_it_shows():
    """A head is a linear map of what G shows of its inputs, here twice they: it moves in G's update alone."""

    def features(variables, x, key=None, train=True):
        output, changed = linear(G).apply(variables, x, key=key, train=train)
        return (output, (2.0 * x,)), changed

    weight = np.array([0.3, -0.7], np.float32)
    game = build(
        generator=replace(linear(G), features=features),
        generator_heads={"head": Player(linear(weight), optax.sgd(0.2))},
        generator_terms=[lambda r: 3.0 * jnp.mean(jnp.square(r.heads["head"](r.generator_features(*r.given)[0])))],
        discriminator_terms=[lambda r: jnp.mean(r.heads["head"](r.real))],
    )
    assert [update.players for update in game.updates] == [("discriminator",), ("generator", "head")]
    state, metrics = one_step(game)
    said = 2.0 * LATENT @ weight
    np.testing.assert_allclose(state.params["head"]["w"], weight - 0.2 * 3 * 2 * (said @ (2 * LATENT)) / 3, rtol=1e-5)
    added = metrics["generator/loss"] - metrics["generator/adversarial"]
    np.testing.assert_allclose(added, 3 * np.mean(said**2), rtol=1e-5)
    only_d = make_step(game, active=(True, False))(init_state(game, jax.random.key(0)), {"point": jnp.asarray(REAL)})[0]
    np.testing.assert_array_equal(only_d.params["head"]["w"], weight)


def test_pooled_fakes_reach_d_and_never_g():
    """Until the pool of each half is full D sees what was made; then about half of it is from some earlier step."""
    batch = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    pool = ImagePool(8, groups=2)
    played = rounds({"prior": normal_prior(2), "replay": pool, "batch": (8, 2)}, steps=12, batch=batch)
    for step, (d, g) in enumerate(played):
        np.testing.assert_allclose(g.fake, g.latent @ G, rtol=1e-5)
        np.testing.assert_allclose(d.made, g.fake, rtol=1e-6)
        if step < 2:
            np.testing.assert_array_equal(d.fake, d.made)
    new = np.array([np.isclose(d.fake, d.made).all(axis=1) for d, _ in played[2:]])
    assert 0.3 < new.mean() < 0.7
    for half in (slice(0, 4), slice(4, 8)):
        made = [np.asarray(g.fake)[half] for _, g in played]
        for step in range(2, 12):
            earlier = np.concatenate(made[: step + 1])
            for fake in np.asarray(played[step][0].fake)[half]:
                assert np.isclose(fake, earlier).all(axis=1).any()
