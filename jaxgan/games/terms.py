"""Terms of two players' losses that are about what an example is told or meant to show: its class, or its code."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Key
from jaxgan.games.two_player import Round, Term, Weight, value
from jaxgan.losses.adversarial import AdversarialLoss
from jaxgan.losses.auxiliary import cross_entropy

# (condition, key) -> another condition for each example
Wrong = Callable[[Array, Key], Array]


def auxiliary_classification(
    weight: Weight,
    head: str,
    of: tuple[str, ...] = ("real", "fake"),
    wanted: Callable[[Round], Array | None] = lambda r: r.condition,
    loss: Callable[[Array, Array], Array] = cross_entropy,
) -> Term:
    """``weight * (sum over `of` of mean(-log P(class | example)))``: what a classifier on D's features pays.

    head: the name of the head, features -> logits [batch, classes]. of: "real" and "fake" in D's loss,
        which the classifier shares, and "fake" alone in the generator's. Both have the real
        batch's classes, so D must not see old fakes.
    wanted: the class to tell of each example, where it is not the condition, such as the one that StarGAN's
        generator was asked for. loss: (the head's output, wanted) -> [batch, ...].

    Odena, Olah, Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017, arXiv 1610.09585,
    Eq. 3: L_C, which both players maximise.
    """

    def term(r: Round) -> Array:
        label = wanted(r)
        if label is None:
            raise ValueError("auxiliary classification needs a condition: the classes")
        losses = [jnp.mean(loss(r.heads[head](_features(r, kind, head)), label)) for kind in of]
        return value(weight, r.hyper) * sum(losses[1:], losses[0])

    return term


def mutual_information(weight: Weight, head: str, bound: Callable[[Any, Array], Array]) -> Term:
    """``-weight * mean(bound(Q(fake), latent))``, for the losses of both D and the generator.

    head: the name of Q's head on D's features. bound: (Q's output, latent) -> [batch], per-example terms of
        a lower bound of the mutual information of codes and fakes, such as
        `losses.auxiliary.categorical_information`.

    Chen et al., "InfoGAN", 2016, arXiv 1606.03657, Eq. 6. There Q and the generator maximise it; like the
    authors' code we let D do so too, whose features Q shares.
    """
    return lambda r: -value(weight, r.hyper) * jnp.mean(bound(r.heads[head](_features(r, "fake", head)), r.latent))


def matching_aware(loss: AdversarialLoss, weight: Weight, wrong: Wrong) -> Term:
    """``weight * mean(loss.discriminator(D(real, c), D(real, wrong c)))``: a real with a wrong condition is a fake.

    A term of D's loss, which D that is not told the condition cannot learn. Reed et al., "Generative
    Adversarial Text to Image Synthesis", 2016, arXiv 1605.05396, algorithm 1 (GAN-CLS): there the losses of
    wrong pairs and of fakes are halved; here the wrong pairs come with a loss of the real pairs of
    their own, so that relativistic losses have their two sides.
    """

    def term(r: Round) -> Array:
        if r.condition is None:
            raise ValueError("a wrong condition needs a right one: the game is told none")
        mismatched = r.critic(r.real, wrong(r.condition, jax.random.fold_in(r.key, 1)))
        return value(weight, r.hyper) * jnp.mean(loss.discriminator(r.real_output, mismatched))

    return term


def another_class(num_classes: int) -> Wrong:
    """(label, key) -> labels int [batch], each uniform over the classes that are not the example's own."""
    if num_classes < 2:
        raise ValueError(f"another class needs at least 2 classes, got {num_classes}")
    return lambda label, key: (label + jax.random.randint(key, label.shape, 1, num_classes)) % num_classes


def another_picture(condition: Array, key: Key) -> Array:
    """Each picture's neighbour in the batch: a `Wrong` for conditions that are pictures."""
    return jnp.roll(condition, 1, axis=0)


def _features(r: Round, kind: str, head: str) -> Array:
    features = r.real_features if kind == "real" else r.fake_features
    if features is None:
        raise ValueError(f"this discriminator shows no features: they are wanted for the head {head!r}")
    return features
