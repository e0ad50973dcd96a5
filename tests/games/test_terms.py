import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax

from jaxgan.game import Net, Player, init_state, make_step
from jaxgan.games.terms import (
    another_class,
    another_picture,
    auxiliary_classification,
    matching_aware,
    mutual_information,
)
from jaxgan.games.two_player import Round, two_player
from jaxgan.losses import adversarial
from jaxgan.losses.auxiliary import binary_cross_entropy, categorical_information
from jaxgan.nets.adapt import adapt
from jaxgan.nets.heads import Codes
from jaxgan.nets.layers import BatchNorm

REAL = np.array([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.1]], np.float32)
FAKE = np.array([[1.5, 0.2], [-0.3, 0.9], [0.1, -1.7]], np.float32)
HEAD = np.array([[0.4, -1.1, 0.3], [1.3, 0.2, -0.6]], np.float32)
LABEL = np.array([2, 0, 1], np.int32)


def played(**changes):
    given = {
        "real": jnp.asarray(REAL),
        "fake": jnp.asarray(FAKE),
        "example": jnp.asarray(REAL),
        "made": jnp.asarray(FAKE),
        "given": (jnp.asarray([[0.0, 1, 0], [1, 0, 0], [0, 1, 0]]),),
        "condition": jnp.asarray(LABEL),
        "real_output": jnp.asarray(REAL @ [0.3, 0.9]),
        "fake_output": jnp.asarray(FAKE @ [0.3, 0.9]),
        "real_features": jnp.asarray(REAL),
        "fake_features": jnp.asarray(FAKE),
        "key": jax.random.key(3),
        "hyper": {"weight": 0.7},
        "step": jnp.int32(0),
        "critic": lambda x, label=None: x @ jnp.array([0.3, 0.9]) + (0.0 if label is None else 0.5 * label),
        "generator": lambda *given: given[0] @ HEAD.T,
        "clean_real": jnp.asarray(REAL),
        "clean_fake": jnp.asarray(FAKE),
        "clean_critic": lambda x: x,
        "generator_features": lambda *given: (),
        "heads": {"head": lambda features: features @ HEAD},
    }
    return Round(**{**given, **changes})


def surprise(features, label):
    return -np.mean(log_softmax(features.astype(np.float64) @ HEAD, -1)[np.arange(3), label])


def test_auxiliary_classification_is_the_cross_entropy_of_the_parts_asked_for():
    real, fake = surprise(REAL, LABEL), surprise(FAKE, LABEL)
    assert abs(real - fake) > 0.1
    for of, expected in ((("real", "fake"), real + fake), (("fake",), fake)):
        term = auxiliary_classification("weight", "head", of)
        np.testing.assert_allclose(term(played()), 0.7 * expected, rtol=1e-5)
    with pytest.raises(ValueError, match="needs a condition"):
        auxiliary_classification(1.0, "head")(played(condition=None))
    with pytest.raises(ValueError, match="shows no features: they are wanted for the head 'head'"):
        auxiliary_classification(1.0, "head")(played(fake_features=None))


def test_a_class_may_be_wanted_that_is_not_the_condition_and_told_by_another_loss():
    """StarGAN's generator is asked for a class; attributes are told one by one."""
    asked = np.array([0, 1, 2], np.int32)
    assert abs(surprise(FAKE, LABEL) - surprise(FAKE, asked)) > 0.1
    given = (jnp.asarray(REAL), jnp.asarray(asked))
    term = auxiliary_classification("weight", "head", ("fake",), wanted=lambda r: r.given[1])
    for condition in (jnp.asarray(LABEL), None):
        np.testing.assert_allclose(
            term(played(given=given, condition=condition)), 0.7 * surprise(FAKE, asked), rtol=1e-5
        )
    attributes = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0]], np.float32)
    term = auxiliary_classification(
        2.0, "head", ("real",), wanted=lambda r: jnp.asarray(attributes), loss=binary_cross_entropy
    )
    probability = 1 / (1 + np.exp(-REAL.astype(np.float64) @ HEAD))
    expected = -np.mean(np.log(np.where(attributes > 0, probability, 1 - probability)))
    np.testing.assert_allclose(term(played()), 2.0 * expected, rtol=1e-5)


def test_information_is_what_the_head_tells_of_the_fakes_codes():
    term = mutual_information("weight", "head", lambda q, z: categorical_information(q, jnp.argmax(z, -1)))
    expected = np.log(3) - surprise(FAKE, np.array([1, 0, 1]))
    np.testing.assert_allclose(term(played()), -0.7 * expected, rtol=1e-5)
    with pytest.raises(ValueError, match="shows no features"):
        term(played(fake_features=None))


@pytest.mark.parametrize("loss", [adversarial.non_saturating, adversarial.hinge, adversarial.relativistic])
def test_a_real_example_with_a_wrong_condition_is_a_fake(loss):
    term = matching_aware(loss, "weight", lambda label, key: (label + 1) % 3)
    logits = REAL @ np.array([0.3, 0.9], np.float32)
    wrong = logits + 0.5 * np.array([0, 1, 2], np.float32)
    expected = 0.7 * np.mean(loss.discriminator(jnp.asarray(logits), jnp.asarray(wrong)))
    np.testing.assert_allclose(term(played()), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="needs a right one"):
        term(played(condition=None))


def test_another_class_is_any_but_the_own():
    label = jnp.repeat(jnp.arange(4), 3000)
    wrong = np.asarray(another_class(4)(label, jax.random.key(0)))
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (np.asarray(label), wrong), 1)
    assert np.all(np.diag(counts) == 0)
    np.testing.assert_allclose(counts[~np.eye(4, dtype=bool)], 1000, rtol=0.12)
    assert not np.array_equal(wrong, another_class(4)(label, jax.random.key(1)))
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        another_class(1)


def test_another_picture_is_that_of_a_neighbour():
    pictures = np.random.default_rng(0).normal(size=(4, 2, 3, 1)).astype(np.float32)
    wrong = np.asarray(another_picture(jnp.asarray(pictures), jax.random.key(0)))
    np.testing.assert_array_equal(wrong, pictures[[3, 0, 1, 2]])


def one_step(head, **terms):
    """One step of SGD in which D shows its examples as features, and is not told the label."""

    def linear(weight):
        init = lambda key: {"params": {"w": jnp.asarray(weight)}}  # noqa: E731
        apply = lambda v, x, *told, key=None, train=True: (x @ v["params"]["w"], {})  # noqa: E731
        features = lambda v, x, *told, key=None, train=True: ((x @ v["params"]["w"], x), {})  # noqa: E731
        return Net(init, apply, features=features)

    game = two_player(
        Player(linear(np.eye(2, dtype=np.float32)), optax.sgd(0.1)),
        Player(linear(np.array([0.3, 0.9], np.float32)), optax.sgd(0.1)),
        adversarial.non_saturating,
        lambda key, n: jnp.asarray(FAKE)[:n],
        observation="point",
        condition="label",
        tell_discriminator=False,
        heads={"head": Player(head, optax.sgd(0.1))},
        generator_weight=0.0,
        **terms,
    )
    state = init_state(game, jax.random.key(0))
    return state, *make_step(game)(state, {"point": jnp.asarray(REAL), "label": jnp.asarray(LABEL)})


def test_a_step_of_ac_gan_in_numpy():
    """The head descends the cross entropy of reals and fakes; the generator, through it, that of its fakes alone."""
    head = Net(lambda key: {"params": {"w": jnp.asarray(HEAD)}}, lambda v, x, **_: (x @ v["params"]["w"], {}))
    _, state, _ = one_step(
        head,
        discriminator_terms=[auxiliary_classification(2.0, "head")],
        generator_terms=[auxiliary_classification(3.0, "head", ("fake",))],
    )
    onehot = np.eye(3)[LABEL]

    def slope(features, weight):
        return (np.exp(log_softmax(features.astype(np.float64) @ weight, -1)) - onehot) / 3

    moved = HEAD - 0.1 * 2.0 * sum(x.T @ slope(x, HEAD) for x in (REAL, FAKE))
    np.testing.assert_allclose(state.params["head"]["w"], moved, rtol=1e-5)
    pull = 3.0 * FAKE.T @ (slope(FAKE, moved) @ moved.T)
    np.testing.assert_allclose(state.params["generator"]["w"], np.eye(2) - 0.1 * pull, rtol=1e-4, atol=1e-6)


def test_a_heads_running_variables_follow_the_fakes():
    q = adapt(Codes(3, 1, width=4, normalization=BatchNorm), (2,), couples_batch=True)
    read = mutual_information(1.0, "head", lambda out, z: categorical_information(out[0], jnp.array([0, 2, 1])))
    before, state, _ = one_step(q, discriminator_terms=[read], generator_terms=[read])
    (kernel,) = [v["kernel"] for v in before.params["head"].values() if v.get("kernel", FAKE).shape == (2, 4)]
    (running,) = state.variables["head"]["batch_stats"].values()
    inner = running.get("BatchNorm_0", running)
    hidden = FAKE @ np.asarray(kernel)
    np.testing.assert_allclose(inner["mean"], 0.1 * hidden.mean(0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(inner["var"], 0.9 + 0.1 * hidden.var(0), rtol=1e-4)
