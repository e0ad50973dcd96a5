"""A generator against a discriminator: one forward pass of both, an adversarial loss, and any further terms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Batch, Key, Metrics, Params
from jaxgan.game import Game, LossInput, LossOutput, Net, Player, Update, every
from jaxgan.losses.adversarial import AdversarialLoss
from jaxgan.losses.penalties import Penalty
from jaxgan.memory import ImagePool, Replay

# Fixed folds of the step's key. Latents and the generator's noise are the same for both updates.
LATENT, GENERATOR_NOISE, REAL_NOISE, FAKE_NOISE, TERMS, REAL_SHOWN, FAKE_SHOWN, REPLAY, LABELS = range(9)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Round:
    """What one forward pass of the two players computed.

    real, fake: examples [batch, ...] as D saw them (noisy, packed, in part old); example, made: the real
        ones and the fakes before that.
    given: the inputs that the generator made the fakes from; latent, the first of them: [examples, latent], or
        in translation pictures. condition [batch, ...] of the real examples, or None.
    real_output, fake_output: D's logits. real_features, fake_features: its last hidden activations
        [batch, n] from the same passes, None for a net that shows none.
    key: for the terms' own draws.
    critic: (examples, condition=None) -> logits, D as it stands, without changing its running
        variables; told the real examples' condition, or another one.
    clean_real, clean_fake: `real` and `fake` without noise and augmentation, still packed and in part old;
        clean_critic: examples like these -> logits, `critic` behind the noise and augmentation that reals met.
    generator: (inputs, as `given`) -> fakes, G as it stands, with the noise that made the fakes; generator_features:
        likewise, what its net shows of itself. Neither changes its running variables.
    heads: by name, features -> output, the further nets on D's or G's features as they stand.
    hyper: the numbers of the run that a study varies. step: of the game.
    """

    real: Array
    fake: Array
    example: Array
    made: Array
    given: tuple[Array, ...]
    condition: Array | None
    real_output: Array
    fake_output: Array
    real_features: Array | None
    fake_features: Array | None
    key: Key
    hyper: Mapping[str, Any]
    step: Array
    critic: Callable[..., Array]
    clean_real: Array
    clean_fake: Array
    clean_critic: Callable[[Array], Array]
    generator: Callable[..., Array]
    generator_features: Callable[..., Any]
    heads: Mapping[str, Callable[..., Any]]

    @property
    def latent(self) -> Array:
        return self.given[0]


# already weighted, differentiable scalar that is added to a player's loss
Term = Callable[[Round], Array]
# a number, or the name of one in the run's hyper
Weight = float | str
# (key, batch) -> all inputs of the generator, where they are not a latent and the condition
Given = Callable[[Key, Batch], tuple[Array, ...]]
# the batch key of the real examples, or what makes them of a batch
Observation = str | Callable[[Batch], Array]
# (examples, key, inputs of the loss) -> examples: what D is shown of reals and fakes
Show = Callable[[Array, Key, LossInput], Array]


@dataclass(frozen=True)
class Carried:
    """A value that D's update carries from step to step in the game's memory: `start`, then after(value, round).

    shown: what of a value is logged, as further metrics of D's update.
    """

    start: Any
    after: Callable[[Any, Round], Any]
    shown: Callable[[Any], Metrics] = lambda value: {}


def gradient_penalty(penalty: Penalty, weight: Weight, discriminator: Net) -> Term:
    """``weight * mean(penalty)`` as a term of the discriminator's loss.

    Its gradients are those with respect to clean examples, through noise and augmentation, as in the code of
    StyleGAN2-ADA (Karras et al. 2020, arXiv 2006.06676): what contrast and zoom do to them counts. Fakes meet the
    draws of the reals beside them.

    Refused for a discriminator that couples the examples of a batch: its per-example gradient is not the paper's.
    """
    if discriminator.couples_batch:
        raise ValueError(
            "a gradient penalty needs a discriminator that treats examples one by one; "
            "this one couples the batch (batch normalization): use layer normalization or none"
        )
    return lambda r: value(weight, r.hyper) * jnp.mean(penalty(r.clean_critic, r.clean_real, r.clean_fake, r.key))


def feature_matching(weight: Weight) -> Term:
    """``weight * |mean f(real) - mean f(fake)|^2`` as a term of the generator's loss.

    f: the discriminator's last hidden activations; means over the batch. Salimans et al., "Improved
    Techniques for Training GANs", 2016, arXiv 1606.03498, section 3.1: the squared norm of the
    difference, summed over features (the authors' code for MNIST takes the mean instead).
    """

    def term(r: Round) -> Array:
        if r.real_features is None or r.fake_features is None:
            raise ValueError("this discriminator shows no features: they are wanted for feature matching")
        difference = jnp.mean(r.real_features, axis=0) - jnp.mean(r.fake_features, axis=0)
        return value(weight, r.hyper) * jnp.sum(jnp.square(difference))

    return term


def value(weight: Weight, hyper: Mapping[str, Any]) -> Any:
    """The number that a weight stands for."""
    return hyper[weight] if isinstance(weight, str) else weight


def pack(examples: Array, packing: int) -> Array:
    """[batch, ..., channel] -> [batch / packing, ..., packing * channel]: neighbours side by side as channels.

    Lin, Khetan, Fanti, Oh, "PacGAN", 2018, arXiv 1712.04086, section 2.
    """
    batch = examples.shape[0]
    if batch % packing:
        raise ValueError(f"packs of {packing} do not divide a batch of {batch}")
    groups = examples.reshape(batch // packing, packing, *examples.shape[1:])
    return jnp.concatenate([groups[:, i] for i in range(packing)], axis=-1)


def unpack(packs: Array, packing: int) -> Array:
    """The examples of packs, in order: the inverse of `pack`."""
    parts = jnp.stack(jnp.split(packs, packing, axis=-1), axis=1)
    return parts.reshape(-1, *parts.shape[2:])


def two_player(
    generator: Player,
    discriminator: Player,
    loss: AdversarialLoss,
    prior: Callable[[Key, int], Array] | None,
    *,
    given: Given | None = None,
    observation: Observation = "image",
    condition: str | None = None,
    tell_discriminator: bool = True,
    told_by_step: Callable[[Array], Array] | None = None,
    heads: Mapping[str, Player] | None = None,
    generator_heads: Mapping[str, Player] | None = None,
    carried: Mapping[str, Carried] | None = None,
    discriminator_terms: Sequence[Term] = (),
    generator_terms: Sequence[Term] = (),
    lazy_terms: Sequence[Term] = (),
    lazy_interval: int = 1,
    labels: Callable[[AdversarialLoss, Key, Mapping[str, Any]], AdversarialLoss] | None = None,
    generator_weight: Weight = 1.0,
    show: Show | None = None,
    packing: int = 1,
    replay: Replay | ImagePool | None = None,
    batch: tuple[int, ...] | None = None,
    discriminator_when: Callable[[Any], Any] | None = None,
    generator_when: Callable[[Any], Any] | None = None,
    simultaneous: bool = False,
) -> Game:
    """The game of Goodfellow et al. 2014 for any adversarial loss: D moves first, then G.

    prior: (key, n) -> latents [n, ...]. observation, condition: batch keys of the real examples
        and of what both nets are told as a second input (None: nothing): classes, or pictures. Examples that are
        joined of several keys are joined here, by a function, and not in the batch, whose parts accumulation
        and devices take.
    given: in place of a prior, for generators that translate: what they are given, whole, which need not hold the
        condition.
    tell_discriminator: False keeps the condition from D's net; terms have it still.
    told_by_step: step -> a scalar that both nets are told as their last input, one for each example.
    heads: further nets on D's features, by the names of their players, which move with D; for terms. The
        running variables of a head follow its pass over the fakes.
    generator_heads: nets on G's features that move with G; they have no running variables.
    carried: what else D's update carries in the game's memory, by name.
    discriminator_terms, generator_terms: penalties and the like, computed from the same forward pass.
    lazy_terms: terms of D's loss that every `lazy_interval`-th step minimises by a move of its own,
        scaled by the interval, as StyleGAN2 does (Karras et al. 2020, arXiv 1912.04958, section 3.1).
    labels: (loss, key, hyper) -> the loss that D has in its own update, for smoothed or wrong labels.
    generator_weight: of the generator's adversarial loss; 0 leaves it to its terms.
    show: what D sees instead of reals and fakes, in both updates, with noise of its own for each.
    packing: D judges packs of so many examples (`pack`); its net takes as many times the channels.
    replay: D's own update sees old fakes among the new; it needs `batch`, the shape [n, ...] of the real examples,
        and classes, if any, as the condition.
    D sees real and fake examples in two passes; the fake one starts from the running variables that
    the real one left. Both updates of a step see the same latents.

    Metrics of "discriminator": accuracy at logit 0, mean logits, and `diversity`, the mean distance
    between neighbours in the batch of fakes relative to that between reals (near 0: collapse).
    """
    if replay is not None and batch is None:
        raise ValueError("a replay of old fakes needs the shape of a batch")
    if packing > 1 and condition is not None:
        raise ValueError("packing does not know which of several conditions to tell D: leave one of them out")
    if prior is None and given is None:
        raise ValueError("the generator is given nothing: neither a prior nor inputs")
    heads, carried, generator_heads = dict(heads or {}), dict(carried or {}), dict(generator_heads or {})
    lazy = bool(lazy_terms) and lazy_interval > 1
    every_step_terms = (*discriminator_terms, *(() if lazy else lazy_terms))

    def observed(batch: Batch) -> Array:
        return observation(batch) if callable(observation) else batch[observation]

    def make(params: Mapping[str, Params], inputs: LossInput, function: Callable | None, given: Any) -> tuple[Any, Any]:
        if function is None:
            raise ValueError("this generator shows nothing of itself")
        variables = {"params": params["generator"], **inputs.variables["generator"]}
        return function(variables, *given, key=jax.random.fold_in(inputs.key, GENERATOR_NOISE))

    def generate(params: Mapping[str, Params], inputs: LossInput, told: tuple[Array, ...]) -> tuple[Any, Array, Any]:
        real, key = observed(inputs.batch), jax.random.fold_in(inputs.key, LATENT)
        if given is not None:
            chosen = given(key, inputs.batch)
        else:
            assert prior is not None
            chosen = (prior(key, real.shape[0]), *told)
        fake, running = make(params, inputs, generator.net.apply, chosen)
        if fake.shape != real.shape:
            raise ValueError(f"the generator makes {fake.shape[1:]}, the data are {real.shape[1:]}")
        return chosen, fake, running

    def judge(
        params: Mapping[str, Params],
        inputs: LossInput,
        chosen: tuple[Array, ...],
        made: Array,
        fake: Array,
        real_told: Any,
        fake_told: Any,
    ) -> tuple[Round, Mapping[str, Any]]:
        key, before = inputs.key, inputs.variables["discriminator"]

        def packed(examples: Array) -> Array:
            return pack(examples, packing) if packing > 1 else examples

        def shown(examples: Array, fold: int) -> Array:
            seen = examples if show is None else show(examples, jax.random.fold_in(key, fold), inputs)
            return packed(seen)

        def net(function: Callable, examples: Array, told: Any, running: Mapping[str, Any], noise: int) -> Any:
            variables = {"params": params["discriminator"], **running}
            heard = told if tell_discriminator or condition is None else told[1:]
            return function(variables, examples, *heard, key=jax.random.fold_in(key, noise))

        def critic(examples: Array, other: Array | None = None) -> Array:
            told = real_told if other is None else (other, *real_told[1:])
            return net(discriminator.net.apply, examples, told, before, REAL_NOISE)[0]

        def seen(examples: Array, told: Any, running: Mapping[str, Any], noise: int) -> tuple[Array, Array | None, Any]:
            if discriminator.net.features is None:
                output, changed = net(discriminator.net.apply, examples, told, running, noise)
                return output, None, {**running, **changed}
            (output, features), changed = net(discriminator.net.features, examples, told, running, noise)
            return output, features, {**running, **changed}

        def head(name: str, player: Player) -> Callable[..., Any]:
            variables = {"params": params[name], **inputs.variables[name]}
            return lambda *features: player.net.apply(variables, *features)[0]

        def clean_critic(examples: Array) -> Array:
            return critic(shown(unpack(examples, packing) if packing > 1 else examples, REAL_SHOWN))

        real = observed(inputs.batch)
        real_shown, fake_shown = shown(real, REAL_SHOWN), shown(fake, FAKE_SHOWN)
        real_output, real_features, running = seen(real_shown, real_told, before, REAL_NOISE)
        fake_output, fake_features, running = seen(fake_shown, fake_told, running, FAKE_NOISE)
        played = Round(
            real=real_shown,
            fake=fake_shown,
            example=real,
            made=made,
            given=chosen,
            condition=real_told[0] if condition is not None else None,
            real_output=real_output,
            fake_output=fake_output,
            real_features=real_features,
            fake_features=fake_features,
            key=jax.random.fold_in(key, TERMS),
            hyper=inputs.hyper,
            step=inputs.step,
            critic=critic,
            clean_real=packed(real),
            clean_fake=packed(fake),
            clean_critic=clean_critic if show is not None else critic,
            generator=lambda *own: make(params, inputs, generator.net.apply, own)[0],
            generator_features=lambda *own: make(params, inputs, generator.net.features, own)[0][1],
            heads={name: head(name, player) for name, player in {**heads, **generator_heads}.items()},
        )
        return played, running

    def told_in(inputs: LossInput) -> tuple[Array, ...]:
        told = () if condition is None else (inputs.batch[condition],)
        if told_by_step is None:
            return told
        n = observed(inputs.batch).shape[0]
        return (*told, jnp.broadcast_to(told_by_step(inputs.step), (n,)))

    def discriminator_loss(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
        told = told_in(inputs)
        chosen, made, _ = generate(params, inputs, told)
        seen, memory = (made, told), dict[str, Any]()
        if replay is not None:
            seen, pool = replay.draw(inputs.memory["replay"], seen, jax.random.fold_in(inputs.key, REPLAY))
            memory = {"replay": pool}
        played, running = judge(params, inputs, chosen, made, seen[0], told, seen[1])
        running_heads = {name: _running(params, inputs, name, player, played) for name, player in heads.items()}
        d_loss = loss if labels is None else labels(loss, jax.random.fold_in(inputs.key, LABELS), inputs.hyper)
        adversarial = jnp.mean(d_loss.discriminator(played.real_output, played.fake_output))
        metrics = {
            "adversarial": adversarial,
            "real_logit": jnp.mean(played.real_output),
            "fake_logit": jnp.mean(played.fake_output),
            "real_accuracy": jnp.mean(played.real_output > 0, dtype=jnp.float32),
            "fake_accuracy": jnp.mean(played.fake_output < 0, dtype=jnp.float32),
            "diversity": neighbour_distance(made) / jnp.maximum(neighbour_distance(observed(inputs.batch)), 1e-12),
        }
        for name, one in carried.items():
            memory[name] = jax.lax.stop_gradient(one.after(inputs.memory[name], played))
            metrics |= one.shown(memory[name])
        output = LossOutput({"discriminator": running, **running_heads}, memory=memory, metrics=metrics)
        return adversarial + _sum(every_step_terms, played), output

    def lazy_loss(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
        told = told_in(inputs)
        chosen, made, _ = generate(params, inputs, told)
        played, running = judge(params, inputs, chosen, made, made, told, told)
        return lazy_interval * _sum(lazy_terms, played), LossOutput(variables={"discriminator": running})

    def generator_loss(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
        told = told_in(inputs)
        chosen, made, running = generate(params, inputs, told)
        played, _ = judge(params, inputs, chosen, made, made, told, told)
        adversarial = jnp.mean(loss.generator(played.real_output, played.fake_output))
        weighted = value(generator_weight, inputs.hyper) * adversarial
        output = LossOutput(variables={"generator": running}, metrics={"adversarial": adversarial})
        return weighted + _sum(generator_terms, played), output

    def memory(key: Key) -> Mapping[str, Any]:
        start = {name: one.start for name, one in carried.items()}
        if replay is None or batch is None:
            return start
        told: tuple[Array, ...] = () if condition is None else (jnp.zeros(batch[:1], jnp.int32),)
        told += () if told_by_step is None else (jnp.zeros(batch[:1]),)
        return {"replay": replay.empty((jnp.zeros(batch), told)), **start}

    lazily = Update("regularization", ("discriminator",), lazy_loss, every(lazy_interval, offset=0))
    return Game(
        players={"generator": generator, "discriminator": discriminator, **heads, **generator_heads},
        updates=(
            Update("discriminator", ("discriminator", *heads), discriminator_loss, discriminator_when),
            *([lazily] if lazy else []),
            Update("generator", ("generator", *generator_heads), generator_loss, generator_when),
        ),
        memory=memory,
        simultaneous=simultaneous,
    )


def _running(
    params: Mapping[str, Params], inputs: LossInput, name: str, head: Player, played: Round
) -> Mapping[str, Any]:
    if not inputs.variables[name] or played.fake_features is None:
        return {}
    # the pass that terms make, which the compiler runs once
    variables = {"params": params[name], **inputs.variables[name]}
    return jax.lax.stop_gradient(head.net.apply(variables, played.fake_features)[1])


def _sum(terms: Sequence[Term], played: Round) -> Array:
    return sum((term(played) for term in terms), jnp.zeros(()))


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
