"""A generator against a discriminator: one forward pass of both, an adversarial loss, and any further terms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Key, Params
from jaxgan.game import Game, LossFn, LossInput, LossOutput, Net, Player, Update
from jaxgan.losses.adversarial import AdversarialLoss
from jaxgan.losses.penalties import Critic, Penalty

# Fixed folds of the step's key. Latents and the generator's noise are the same for both updates.
LATENT, GENERATOR_NOISE, REAL_NOISE, FAKE_NOISE, TERMS = range(5)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Round:
    """What one forward pass of the two players computed.

    real, fake: examples [batch, ...]; latent [batch, latent]; condition [batch, ...] or None.
    real_output, fake_output: D's logits. key: for the terms' own draws.
    critic: examples -> logits, D as it stands, without changing its running variables.
    hyper: the numbers of the run that a study varies.
    """

    real: Array
    fake: Array
    latent: Array
    condition: Array | None
    real_output: Array
    fake_output: Array
    key: Key
    hyper: Mapping[str, Any]
    critic: Critic


# already weighted, differentiable scalar that is added to a player's loss
Term = Callable[[Round], Array]


def gradient_penalty(penalty: Penalty, weight: float, discriminator: Net) -> Term:
    """``weight * mean(penalty)`` as a term of the discriminator's loss.

    Refused for a discriminator that couples the examples of a batch: its per-example gradient is
    not the paper's.
    """
    if discriminator.couples_batch:
        raise ValueError(
            "a gradient penalty needs a discriminator that treats examples one by one; "
            "this one couples the batch (batch normalization): use layer normalization or none"
        )
    return lambda r: weight * jnp.mean(penalty(r.critic, r.real, r.fake, r.key))


def two_player(
    generator: Player,
    discriminator: Player,
    loss: AdversarialLoss,
    prior: Callable[[Key, int], Array],
    *,
    observation: str = "image",
    condition: str | None = None,
    discriminator_terms: Sequence[Term] = (),
    generator_terms: Sequence[Term] = (),
    discriminator_when: Callable[[Any], Any] | None = None,
    generator_when: Callable[[Any], Any] | None = None,
    simultaneous: bool = False,
) -> Game:
    """The game of Goodfellow et al. 2014 for any adversarial loss: D moves first, then G.

    prior: (key, n) -> latents [n, ...]. observation, condition: batch keys of the real examples
        and of what both nets are told besides (G as its second input, D likewise), None for
        unconditional nets.
    D sees real and fake examples in two passes, the fake one starting from the running variables
    that the real one left. Both updates of a step see the same latents.

    Metrics of "discriminator": accuracy at logit 0, mean logits, and `diversity`, the mean distance
    between neighbours in the batch of fakes relative to that between reals (near 0: collapse).
    """

    def play(params: Mapping[str, Params], inputs: LossInput) -> tuple[Round, Mapping[str, Any], Mapping[str, Any]]:
        real = inputs.batch[observation]
        told = () if condition is None else (inputs.batch[condition],)
        key = inputs.key

        def variables(name: str, running: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
            return {"params": params[name], **(inputs.variables[name] if running is None else running)}

        latent = prior(jax.random.fold_in(key, LATENT), real.shape[0])
        fake, generator_running = generator.net.apply(
            variables("generator"), latent, *told, key=jax.random.fold_in(key, GENERATOR_NOISE)
        )
        if fake.shape != real.shape:
            raise ValueError(f"the generator makes {fake.shape[1:]}, the data are {real.shape[1:]}")
        real_output, running = discriminator.net.apply(
            variables("discriminator"), real, *told, key=jax.random.fold_in(key, REAL_NOISE)
        )
        running = {**inputs.variables["discriminator"], **running}
        fake_output, running_after = discriminator.net.apply(
            variables("discriminator", running), fake, *told, key=jax.random.fold_in(key, FAKE_NOISE)
        )

        def critic(examples: Array) -> Array:
            output, _ = discriminator.net.apply(
                variables("discriminator"), examples, *told, key=jax.random.fold_in(key, REAL_NOISE)
            )
            return output

        played = Round(
            real=real,
            fake=fake,
            latent=latent,
            condition=told[0] if told else None,
            real_output=real_output,
            fake_output=fake_output,
            key=jax.random.fold_in(key, TERMS),
            hyper=inputs.hyper,
            critic=critic,
        )
        return played, generator_running, {**running, **running_after}

    def discriminator_loss(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
        played, _, running = play(params, inputs)
        adversarial = jnp.mean(loss.discriminator(played.real_output, played.fake_output))
        terms = sum((term(played) for term in discriminator_terms), jnp.zeros(()))
        metrics = {
            "adversarial": adversarial,
            "real_logit": jnp.mean(played.real_output),
            "fake_logit": jnp.mean(played.fake_output),
            "real_accuracy": jnp.mean(played.real_output > 0, dtype=jnp.float32),
            "fake_accuracy": jnp.mean(played.fake_output < 0, dtype=jnp.float32),
            "diversity": neighbour_distance(played.fake) / jnp.maximum(neighbour_distance(played.real), 1e-12),
        }
        return adversarial + terms, LossOutput(variables={"discriminator": running}, metrics=metrics)

    def generator_loss(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
        played, running, _ = play(params, inputs)
        adversarial = jnp.mean(loss.generator(played.real_output, played.fake_output))
        terms = sum((term(played) for term in generator_terms), jnp.zeros(()))
        return adversarial + terms, LossOutput(variables={"generator": running})

    updates: list[tuple[str, LossFn, Callable[[Any], Any] | None]] = [
        ("discriminator", discriminator_loss, discriminator_when),
        ("generator", generator_loss, generator_when),
    ]
    return Game(
        players={"generator": generator, "discriminator": discriminator},
        updates=tuple(Update(name, (name,), fn, when) for name, fn, when in updates),
        simultaneous=simultaneous,
    )


def neighbour_distance(examples: Array) -> Array:
    """Mean Euclidean distance between each example of a batch [batch, ...] and the next: a scalar."""
    flat = examples.reshape(examples.shape[0], -1).astype(jnp.float32)
    return jnp.mean(jnp.sqrt(jnp.sum(jnp.square(flat - jnp.roll(flat, 1, axis=0)), axis=1)))


def collapse_alarm(
    rows: Sequence[Mapping[str, Any]], logits_are_odds: bool = True, patience: int = 5, diversity: float = 0.1
) -> str | None:
    """A warning if the game looks collapsed in each of the last `patience` log rows, else None.

    Collapsed: the fakes of a batch differ from each other less than `diversity` times as much as
    the reals do, or D tells every real from every fake without a single mistake. The latter only
    where `logits_are_odds`: a Wasserstein critic's zero separates nothing.
    """
    recent = [row for row in rows if "discriminator/diversity" in row][-patience:]
    if len(recent) < patience:
        return None
    ratio = max(row["discriminator/diversity"] for row in recent)
    if ratio < diversity:
        return f"mode collapse: the fakes of a batch differ {ratio:.2g} times as much as the reals do"
    accuracies = {row[f"discriminator/{kind}_accuracy"] for row in recent for kind in ("real", "fake")}
    if logits_are_odds and accuracies == {1.0}:
        return "the discriminator has won: it told every real from every fake"
    return None
