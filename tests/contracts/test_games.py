"""What every game keeps to. A new game adds a row to `ROWS` and nothing else here.

Numbers are compared under plain SGD: Adam turns a gradient that is zero but for rounding into a
whole step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxgan.augment import adaptive, instance_noise
from jaxgan.dynamics import consensus, extragradient, unroll
from jaxgan.game import Game, LossInput, LossOutput, Net, Player, State, Update, every, init_state, make_step
from jaxgan.games.path_length import with_path_length
from jaxgan.games.semi_supervised import semi_supervised
from jaxgan.games.terms import another_class, auxiliary_classification, matching_aware, mutual_information
from jaxgan.games.translation import back, closeness, content, cycle, identity, patch_contrast, reproduction
from jaxgan.games.two_player import Carried, feature_matching, gradient_penalty, two_player
from jaxgan.latent import Codes, normal_prior
from jaxgan.losses import adversarial, penalties
from jaxgan.losses.auxiliary import categorical_information, uniform_information
from jaxgan.memory import Controller, ImagePool, Replay
from jaxgan.nets import biggan, dcgan, heads, mlp, progressive, r3gan, translation, weight_normalized
from jaxgan.nets.adapt import adapt, in_parts
from jaxgan.nets.layers import BatchNorm, LayerNorm
from jaxgan.nets.patch import PatchDiscriminator
from jaxgan.optimizers import orthogonal_regularization
from jaxgan.training import parallel

from .programs import OPTIONS, jit

LEARNING_RATE = 0.05
BATCH = 32
DEVICES = 8
STEPS = 5


# -- the table -------------------------------------------------------------------------------------


def multilayer_non_saturating(optimizer: optax.GradientTransformation) -> Game:
    return two_player(
        Player(adapt(mlp.Generator((2,), width=8, depth=1), (3,)), optimizer, ema_decay=0.9),
        Player(adapt(mlp.Discriminator(width=8, depth=1), (2,)), optimizer),
        adversarial.non_saturating,
        normal_prior(3),
        observation="point",
    )


def wasserstein_every_third(optimizer: optax.GradientTransformation) -> Game:
    critic = adapt(mlp.Discriminator(width=8, depth=2, normalization=LayerNorm), (2,))
    return two_player(
        Player(
            adapt(mlp.Generator((2,), width=8, depth=1, normalization=BatchNorm), (3,), couples_batch=True),
            optimizer,
            ema_decay=lambda step: jnp.minimum(0.9, step / (step + 1.0)),
        ),
        Player(critic, optimizer),
        adversarial.wasserstein,
        normal_prior(3),
        observation="point",
        discriminator_terms=[gradient_penalty(penalties.wgan_gp, 0.5, critic)],
        generator_when=every(3),
    )


def dcgan_batch_norm(optimizer: optax.GradientTransformation) -> Game:
    size = (8, 8, 1)
    return two_player(
        Player(adapt(dcgan.Generator(size, 4, normalization=BatchNorm), (5,), couples_batch=True), optimizer, 0.5),
        Player(adapt(dcgan.Discriminator(size, 4, normalization=BatchNorm), size, couples_batch=True), optimizer),
        adversarial.minimax,
        normal_prior(5),
    )


def dcgan_r1_bfloat16(optimizer: optax.GradientTransformation) -> Game:
    size = (8, 8, 3)
    nets = {"width": 4, "normalization": LayerNorm, "dtype": jnp.bfloat16}
    critic = adapt(dcgan.Discriminator(size, **nets), size)
    return two_player(
        Player(adapt(dcgan.Generator(size, **nets), (5,)), optimizer, 0.5),
        Player(critic, optimizer, 0.9),
        adversarial.non_saturating,
        normal_prior(5),
        discriminator_terms=[gradient_penalty(penalties.r1, 0.5, critic)],
    )


def conditional_hinge_without_flax(optimizer: optax.GradientTransformation) -> Game:
    """Two players that move at once, told a label, with the penalty's weight a number of the run."""

    def linear(inputs: int, outputs: int) -> Net:
        def init(key: jax.Array) -> Mapping[str, Any]:
            weight = jax.random.normal(key, (inputs, outputs))
            return {"params": {"weight": weight, "class": jnp.ones((4, outputs))}, "count": {"calls": jnp.zeros(())}}

        def apply(
            variables: Mapping[str, Any], x: jax.Array, label: jax.Array, key: Any = None, train: bool = True
        ) -> tuple[jax.Array, Mapping[str, Any]]:
            params = variables["params"]
            y = jnp.tanh(x @ params["weight"] + params["class"][label])
            y = y[:, 0] if outputs == 1 else y
            return y, ({"count": {"calls": variables["count"]["calls"] + 1.0}} if train else {})

        return Net(init, apply)

    critic = linear(2, 1)
    return two_player(
        Player(linear(3, 2), optimizer, 0.9),
        Player(critic, optimizer),
        adversarial.hinge,
        normal_prior(3),
        observation="point",
        condition="label",
        discriminator_terms=[lambda r: r.hyper["weight"] * jnp.mean(penalties.r1(r.critic, r.real, r.fake, r.key))],
        simultaneous=True,
    )


def stabilised(optimizer: optax.GradientTransformation) -> Game:
    """Packs of two with noise on them, labels smoothed and flipped, R1 at every second step, feature matching."""

    def labels(loss: adversarial.AdversarialLoss, key: jax.Array, hyper: Mapping[str, Any]) -> Any:
        return adversarial.flip_labels(adversarial.label_smoothing(loss, 0.9), key, 0.25)

    critic = adapt(mlp.Discriminator(width=8, depth=1, spectral=True, dropout=0.3), (4,))
    return two_player(
        Player(adapt(mlp.Generator((2,), width=8, depth=1, dropout=0.2), (3,)), optimizer, 0.9),
        Player(critic, optimizer),
        adversarial.least_squares,
        normal_prior(3),
        observation="point",
        labels=labels,
        show=lambda points, key, inputs: instance_noise(points, key, inputs.hyper["noise"]),
        packing=2,
        lazy_terms=[gradient_penalty(penalties.r1, "weight", critic)],
        lazy_interval=2,
        generator_terms=[feature_matching(0.3)],
        generator_weight="weight",
    )


def conditional_with_replay(optimizer: optax.GradientTransformation) -> Game:
    nets = {"width": 8, "depth": 1, "num_classes": 4}
    return two_player(
        Player(adapt(mlp.Generator((2,), **nets), (3,), ()), optimizer),
        Player(adapt(mlp.Discriminator(**nets, projection=False), (2,), ()), optimizer),
        adversarial.relativistic,
        normal_prior(3),
        observation="point",
        condition="label",
        replay=Replay(20),
        batch=(BATCH, 2),
    )


def auxiliary_classifier(optimizer: optax.GradientTransformation) -> Game:
    """AC-GAN: the generator alone is told the class, and a head on D's features tells it back."""
    critic = adapt(mlp.Discriminator(width=8, depth=1), (2,))
    return two_player(
        Player(adapt(mlp.Generator((2,), width=8, depth=1, num_classes=4), (3,), ()), optimizer, 0.9),
        Player(critic, optimizer),
        adversarial.non_saturating,
        normal_prior(3),
        observation="point",
        condition="label",
        tell_discriminator=False,
        heads={"classifier": Player(adapt(heads.Linear(4), (8,)), optimizer)},
        discriminator_terms=[auxiliary_classification("weight", "classifier")],
        generator_terms=[auxiliary_classification("weight", "classifier", of=("fake",))],
        lazy_terms=[gradient_penalty(penalties.r1, 0.1, critic)],
        lazy_interval=2,
    )


def information_maximizing(optimizer: optax.GradientTransformation) -> Game:
    """InfoGAN: a batch-normalized head reads the codes of the fakes, for both players."""
    codes = Codes(categories=3, continuous=2)
    q = adapt(heads.Codes(3, 2, width=6, normalization=BatchNorm), (8,), couples_batch=True)
    information = [
        mutual_information("weight", "codes", lambda q, z: categorical_information(q[0], codes.of(z)[0])),
        mutual_information(0.3, "codes", lambda q, z: uniform_information(q[1], codes.of(z)[1])),
    ]
    return two_player(
        Player(adapt(mlp.Generator((2,), width=8, depth=1), (3 + codes.size,)), optimizer),
        Player(adapt(mlp.Discriminator(width=8, depth=1), (2,)), optimizer),
        adversarial.non_saturating,
        codes.prior(normal_prior(3)),
        observation="point",
        heads={"codes": Player(q, optimizer)},
        discriminator_terms=information,
        generator_terms=information,
    )


def matching_aware_conditional(optimizer: optax.GradientTransformation) -> Game:
    nets = {"width": 8, "depth": 1, "num_classes": 4}
    loss = adversarial.non_saturating
    return two_player(
        Player(adapt(mlp.Generator((2,), **nets), (3,), ()), optimizer),
        Player(adapt(mlp.Discriminator(**nets), (2,), ()), optimizer),
        loss,
        normal_prior(3),
        observation="point",
        condition="label",
        discriminator_terms=[matching_aware(loss, "weight", another_class(4))],
    )


def biggan_hinge(optimizer: optax.GradientTransformation) -> Game:
    """Batch statistics over all devices, conditional; spectral normalization; orthogonal regularization of G."""
    size, options = (8, 8, 1), {"width": 1, "num_classes": 4, "attention": 4}
    generator = adapt(biggan.Generator(size, embedding=3, **options), (4,), (), couples_batch=True)
    return two_player(
        Player(generator, optax.chain(orthogonal_regularization(1e-2), optimizer), 0.9),
        Player(adapt(biggan.discriminator(size, **options), size, ()), optimizer),
        adversarial.hinge,
        normal_prior(4),
        condition="label",
    )


def semi_supervised_classifier(optimizer: optax.GradientTransformation) -> Game:
    size = (4, 4, 1)
    first = np.random.default_rng(0).uniform(-1, 1, (20, *size)).astype(np.float32)
    return semi_supervised(
        Player(adapt(weight_normalized.Generator(size, 6), (3,), couples_batch=True), optimizer),
        Player(adapt(weight_normalized.Classifier(4, 12), size, first=(first,)), optimizer, 0.9),
        normal_prior(3),
    )


def relativistic_pairs(optimizer: optax.GradientTransformation) -> Game:
    """R1 and R2 through grouped convolutions, at every step."""
    size, nets = (8, 8, 1), {"width": 4, "blocks": 1, "group_width": 4}
    critic = adapt(r3gan.Discriminator(size, **nets), size)
    return two_player(
        Player(adapt(r3gan.Generator(size, **nets), (3,)), optimizer, 0.9),
        Player(critic, optimizer),
        adversarial.relativistic,
        normal_prior(3),
        lazy_terms=[gradient_penalty(penalty, "weight", critic) for penalty in (penalties.r1, penalties.r2)],
    )


def fading_in(optimizer: optax.GradientTransformation) -> Game:
    """Nets that are told the class and how far their newest layers have come, by the step."""
    size, nets = (8, 8, 1), {"width": 4, "num_classes": 4}
    return two_player(
        Player(adapt(progressive.Generator(size, **nets), (3,), ()), optimizer, 0.9),
        Player(adapt(progressive.Discriminator(size, group=2, **nets), size, (), couples_batch=True), optimizer),
        adversarial.non_saturating,
        normal_prior(3),
        condition="label",
        told_by_step=lambda step: jnp.clip(step / 4.0, 0.0, 1.0),
    )


def styles_augmented_and_evened(optimizer: optax.GradientTransformation) -> Game:
    """A mapping and a synthesis without Flax, path length, D's images augmented as far as the controller says."""

    def mapping(variables: Mapping[str, Any], latent: jax.Array, key: Any = None, train: bool = True) -> Any:
        w = jnp.tanh(latent @ variables["params"]["weight"])
        return jnp.broadcast_to(w[:, None], (w.shape[0], 2, 3)), {}

    def synthesis(variables: Mapping[str, Any], styles: jax.Array, key: Any = None, train: bool = True) -> Any:
        images = jnp.einsum("nld,ldp->np", jnp.sin(styles), variables["params"]["weight"])
        return images.reshape(-1, 4, 4, 1), {}

    nets = {"mapping": Net(lambda key: {}, mapping), "synthesis": Net(lambda key: {}, synthesis)}
    shapes = {"mapping": (3, 3), "synthesis": (2, 3, 16)}

    def init(key: jax.Array) -> Mapping[str, Any]:
        draws = {name: {"weight": jax.random.normal(key, shape)} for name, shape in shapes.items()}
        return {"params": draws}

    def apply(variables: Mapping[str, Any], latent: jax.Array, key: Any = None, train: bool = True) -> Any:
        parts = [{"params": variables["params"][name]} for name in ("mapping", "synthesis")]
        return synthesis(parts[1], mapping(parts[0], latent)[0])

    controller = Controller(BATCH)
    game = two_player(
        Player(Net(init, apply), optimizer, 0.9),
        Player(adapt(mlp.Discriminator(width=8, depth=1), (4, 4, 1)), optimizer),
        adversarial.non_saturating,
        normal_prior(3),
        show=lambda images, key, inputs: adaptive(images, key, inputs.memory["augmentation"]["probability"]),
        carried={
            "augmentation": Carried(
                {"probability": jnp.float32(0.5), "sign": jnp.float32(0.3)},
                lambda memory, r: controller.after(memory, r.real_output, 0.2, 10.0 * BATCH),
                lambda memory: {"augmentation": memory["probability"]},
            )
        },
    )
    return with_path_length(game, nets["mapping"], nets["synthesis"], normal_prior(3), "weight", interval=2)


def pictures_from_pictures(optimizer: optax.GradientTransformation) -> Game:
    """pix2pix: a U-Net with dropout, patches judged beside their source, and the right answer."""
    size = (8, 8, 1)
    return two_player(
        Player(adapt(translation.UNet(1, depth=2, width=2), size), optimizer, 0.9),
        Player(adapt(PatchDiscriminator(2, layers=1), size, size), optimizer),
        adversarial.non_saturating,
        None,
        given=lambda key, batch: (batch["source"],),
        observation="target",
        condition="source",
        generator_terms=[closeness("weight")],
    )


def two_domains_in_a_batch(optimizer: optax.GradientTransformation) -> Game:
    """CycleGAN: two players of two nets each, of which one has batch statistics, and two pools of old fakes."""

    def translator(normalization: Any) -> Net:
        module = mlp.Generator((2,), width=8, depth=1, normalization=normalization)
        return adapt(module, (2,), couples_batch=normalization is BatchNorm)

    critics = {name: adapt(mlp.Discriminator(width=8, depth=1), (2,)) for name in "ba"}
    return two_player(
        Player(in_parts({"b": translator(BatchNorm), "a": translator(None)}), optimizer, 0.9),
        Player(in_parts(critics), optimizer),
        adversarial.least_squares,
        None,
        # joined in the game: a part of a batch, or that of a device, has some of both domains
        given=lambda key, batch: (jnp.concatenate([batch["source"], batch["point"]]),),
        observation=lambda batch: jnp.concatenate([batch["point"], batch["source"]]),
        generator_terms=[reproduction("weight", cycle), reproduction(0.2, identity)],
        replay=ImagePool(BATCH + 4, groups=2),
        batch=(2 * BATCH, 2),
    )


def patches_in_contrast(optimizer: optax.GradientTransformation) -> Game:
    """CUT without Flax: a generator that shows its input and a hidden map, and a head of its own on both."""

    def init(key: jax.Array) -> Mapping[str, Any]:
        first, last = jax.random.normal(key, (2, 4, 3))
        return {"params": {"first": 0.5 * first, "last": last[:3, :1]}}

    def features(variables: Mapping[str, Any], x: jax.Array, key: Any = None, train: bool = True) -> Any:
        params = variables["params"]
        around = [jnp.roll(x, (i, j), (1, 2)) for i in (0, 1) for j in (0, 1)]
        hidden = jnp.tanh(jnp.concatenate(around, axis=-1) @ params["first"])
        return (jnp.tanh(hidden @ params["last"]), (x, hidden[:, ::2])), {}

    def apply(variables: Mapping[str, Any], x: jax.Array, **options: Any) -> Any:
        return features(variables, x, **options)[0][0], {}

    def projected(variables: Mapping[str, Any], *samples: jax.Array, **options: Any) -> Any:
        return tuple(jnp.sin(x @ w) for x, w in zip(samples, variables["params"], strict=True)), {}

    head = Net(lambda key: {"params": [jax.random.normal(key, (n, 4)) for n in (1, 3)]}, projected)
    return two_player(
        Player(Net(init, apply, features=features), optimizer, 0.9),
        Player(adapt(mlp.Discriminator(width=8, depth=1), (4, 4, 1)), optimizer),
        adversarial.least_squares,
        None,
        given=lambda key, batch: (batch["a"],),
        observation="b",
        generator_heads={"contrast": Player(head, optimizer)},
        generator_terms=[
            patch_contrast("weight", "contrast", 5, 0.5),
            patch_contrast(0.2, "contrast", 5, 0.5, of="example"),
        ],
    )


def any_domain_from_any(optimizer: optax.GradientTransformation) -> Game:
    """StarGAN: a critic that tells domains, a generator that is asked for one and for the way back."""
    critic = adapt(mlp.Discriminator(width=8, depth=1), (2,))

    def given(key: jax.Array, batch: Mapping[str, Any]) -> tuple[jax.Array, jax.Array]:
        return batch["point"], jax.random.randint(key, batch["label"].shape, 0, 4)

    return two_player(
        Player(adapt(mlp.Generator((2,), width=8, depth=1, num_classes=4), (2,), ()), optimizer, 0.9),
        Player(critic, optimizer),
        adversarial.wasserstein,
        None,
        given=given,
        observation="point",
        condition="label",
        tell_discriminator=False,
        heads={"classifier": Player(adapt(heads.Linear(4), (8,)), optimizer)},
        discriminator_terms=[
            auxiliary_classification("weight", "classifier", of=("real",)),
            gradient_penalty(penalties.wgan_gp, 0.5, critic),
        ],
        generator_terms=[
            auxiliary_classification("weight", "classifier", of=("fake",), wanted=lambda r: r.given[1]),
            reproduction(0.5, back),
            reproduction(0.3, identity),
        ],
        generator_when=every(2),
    )


def enlarged(optimizer: optax.GradientTransformation) -> Game:
    """SRGAN: each second pixel is to give all, by pixels and by fixed features; batch statistics."""
    weight = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
    generator = translation.SuperResolver(1, width=2, blocks=1, factor=2, normalization=BatchNorm)
    return two_player(
        Player(adapt(generator, (4, 4, 1), couples_batch=True), optimizer, 0.9),
        Player(adapt(mlp.Discriminator(width=8, depth=1), (8, 8, 1)), optimizer),
        adversarial.non_saturating,
        None,
        given=lambda key, batch: (batch["target"][:, ::2, ::2],),
        observation="target",
        generator_terms=[
            content(0.5, lambda images: images),
            content("weight", lambda images: jnp.tanh(images.reshape(images.shape[0], -1) @ weight)),
        ],
        generator_weight=0.1,
    )


def three_players_with_memory(optimizer: optax.GradientTransformation) -> Game:
    """A generator against a committee of two that moves at once, one of which sees old fakes too."""
    generator = adapt(mlp.Generator((2,), width=4, depth=1), (3,))
    critics = {
        name: adapt(mlp.Discriminator(width=width, depth=1), (2,)) for name, width in (("left", 4), ("right", 6))
    }
    loss = adversarial.non_saturating

    def fakes(params: Mapping[str, Any], inputs: LossInput) -> jax.Array:
        latent = jax.random.normal(jax.random.fold_in(inputs.key, 0), (inputs.batch["point"].shape[0], 3))
        return generator.apply({"params": params["generator"]}, latent)[0]

    def logits(params: Mapping[str, Any], name: str, points: jax.Array) -> jax.Array:
        return critics[name].apply({"params": params[name]}, points)[0]

    def critic_loss(name: str) -> Callable:
        def compute(params: Mapping[str, Any], inputs: LossInput) -> tuple[jax.Array, LossOutput]:
            fake = fakes(params, inputs) + (inputs.memory["mean"] if name == "left" else 0.0)
            real = logits(params, name, inputs.batch["point"])
            value = jnp.mean(loss.discriminator(real, logits(params, name, fake)))
            return value, LossOutput(metrics={"real_logit": jnp.mean(real)})

        return compute

    def generator_loss(params: Mapping[str, Any], inputs: LossInput) -> tuple[jax.Array, LossOutput]:
        fake = fakes(params, inputs)
        outputs = [logits(params, name, fake) for name in critics]
        value = jnp.mean(jnp.stack([loss.generator(o, o) for o in outputs]))
        center = jnp.mean(fake, axis=0, keepdims=True)
        shown = jnp.uint8(jnp.clip(jnp.round(127.5 * (fake[:4] + 1.0)), 0.0, 255.0))
        memory = {
            "mean": 0.9 * inputs.memory["mean"] + 0.1 * center,
            "pool": shown,
            "filled": inputs.memory["filled"] + 4,
        }
        return value, LossOutput(memory=jax.lax.stop_gradient(memory))

    return Game(
        players={
            "generator": Player(generator, optimizer, 0.9),
            **{name: Player(net, optimizer) for name, net in critics.items()},
        },
        updates=(
            Update("generator", ("generator",), generator_loss),
            Update("left", ("left",), critic_loss("left")),
            Update("right", ("right",), critic_loss("right"), every(2, offset=0)),
        ),
        memory=lambda key: {
            "mean": jax.random.normal(key, (1, 2)),
            "pool": jnp.zeros((4, 2), jnp.uint8),
            "filled": jnp.zeros((), jnp.int32),
        },
        simultaneous=True,
    )


def frozen_teacher(optimizer: optax.GradientTransformation) -> Game:
    """Two players that move together towards a frozen third with running variables of its own."""
    teacher = adapt(mlp.Discriminator(width=4, depth=1, normalization=BatchNorm), (2,), couples_batch=True)
    student = adapt(mlp.Discriminator(width=6, depth=1), (2,))
    encoder = adapt(mlp.Generator((2,), width=4, depth=1, normalization=BatchNorm), (2,), couples_batch=True)

    def imitate(params: Mapping[str, Any], inputs: LossInput) -> tuple[jax.Array, LossOutput]:
        points = inputs.batch["point"]
        wanted, teacher_running = teacher.apply({"params": params["teacher"], **inputs.variables["teacher"]}, points)
        coded, encoder_running = encoder.apply({"params": params["encoder"], **inputs.variables["encoder"]}, points)
        found, _ = student.apply({"params": params["student"]}, coded)
        return jnp.mean(jnp.square(wanted - found)), LossOutput(
            variables={"teacher": teacher_running, "encoder": encoder_running}, metrics={"wanted": jnp.mean(wanted)}
        )

    return Game(
        players={
            "teacher": Player(teacher),
            "student": Player(student, optimizer, 0.9),
            "encoder": Player(encoder, optimizer),
        },
        updates=(
            Update("together", ("student", "encoder"), imitate),
            Update("alone", ("student",), imitate, every(2)),
        ),
    )


def unrolled_alternating(optimizer: optax.GradientTransformation) -> Game:
    return unroll(multilayer_non_saturating(optimizer), mover="generator", opponent="discriminator", steps=2)


def unrolled_simultaneous(optimizer: optax.GradientTransformation) -> Game:
    return unroll(conditional_hinge_without_flax(optimizer), mover="generator", opponent="discriminator", steps=2)


def consensus_with_weight(optimizer: optax.GradientTransformation) -> Game:
    return consensus(conditional_hinge_without_flax(optimizer), lambda inputs: inputs.hyper["weight"])


def extragradient_of_alternating(optimizer: optax.GradientTransformation) -> Game:
    return extragradient(multilayer_non_saturating(optimizer))


@dataclass(frozen=True)
class Row:
    """A small game, what its batches are, and how far rounding carries in it (far, in half precision).

    also: names of further examples in a batch, of the same shape, and of their labels.
    """

    game: Callable[[optax.GradientTransformation], Game]
    observation: str = "point"
    shape: tuple[int, ...] = (2,)
    hyper: tuple[tuple[str, float], ...] = ()
    rounding: float = 2e-5
    also: tuple[str, ...] = ()


ROWS = (
    Row(multilayer_non_saturating),
    Row(wasserstein_every_third, rounding=3e-4),
    Row(dcgan_batch_norm, "image", (8, 8, 1), rounding=2e-4),
    Row(dcgan_r1_bfloat16, "image", (8, 8, 3), rounding=0.2),
    Row(conditional_hinge_without_flax, hyper=(("weight", 0.3),)),
    Row(stabilised, hyper=(("weight", 0.3), ("noise", 0.2)), rounding=1e-4),
    Row(conditional_with_replay),
    Row(auxiliary_classifier, hyper=(("weight", 0.7),)),
    Row(information_maximizing, hyper=(("weight", 0.7),), rounding=2e-4),
    Row(matching_aware_conditional, hyper=(("weight", 0.5),)),
    Row(biggan_hinge, "image", (8, 8, 1), rounding=5e-4),
    Row(
        semi_supervised_classifier,
        "image",
        (4, 4, 1),
        rounding=5e-4,
        also=("labelled_image", "matched_image", "labelled_label"),
    ),
    Row(relativistic_pairs, "image", (8, 8, 1), hyper=(("weight", 0.3),), rounding=2e-4),
    Row(fading_in, "image", (8, 8, 1), rounding=2e-4),
    Row(styles_augmented_and_evened, "image", (4, 4, 1), hyper=(("weight", 0.3),), rounding=2e-4),
    Row(pictures_from_pictures, "target", (8, 8, 1), hyper=(("weight", 3.0),), rounding=2e-4, also=("source",)),
    Row(two_domains_in_a_batch, hyper=(("weight", 0.5),), rounding=2e-4, also=("source",)),
    Row(patches_in_contrast, "b", (4, 4, 1), hyper=(("weight", 0.3),), rounding=1e-4, also=("a",)),
    Row(any_domain_from_any, hyper=(("weight", 0.7),), rounding=1e-4),
    Row(enlarged, "target", (8, 8, 1), hyper=(("weight", 0.3),), rounding=3e-4),
    Row(three_players_with_memory),
    Row(frozen_teacher),
    Row(unrolled_alternating),
    Row(unrolled_simultaneous, hyper=(("weight", 0.3),)),
    Row(consensus_with_weight, hyper=(("weight", 0.3),)),
    Row(extragradient_of_alternating),
)

# without a compiled step each operation is compiled by itself, which takes seconds for Flax's nets
slow_but_for_one = pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[] if row.game is conditional_hinge_without_flax else [pytest.mark.slow]) for row in ROWS],
    ids=lambda row: row.game.__name__,
)
every_game = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.game.__name__)
with_schedule = pytest.mark.parametrize(
    "row",
    [row for row in ROWS if any(update.when for update in row.game(optax.sgd(0.1)).updates)],
    ids=lambda row: row.game.__name__,
)


# -- what the contracts share ----------------------------------------------------------------------


@cache
def plain_game(row: Row) -> Game:
    return row.game(optax.sgd(LEARNING_RATE))


@cache
def start(row: Row, seed: int = 0) -> State:
    return initial(row)(jax.random.key(seed))


@cache
def initial(row: Row) -> Callable[[jax.Array], State]:
    return jit(lambda key: init_state(plain_game(row), key, dict(row.hyper)))


@cache
def batch(row: Row, step: int) -> Mapping[str, np.ndarray]:
    draws = np.random.default_rng([step, 7])
    observed = draws.normal(0.3, 0.5, (BATCH, *row.shape)).clip(-1, 1).astype(np.float32)
    made = {row.observation: observed, "label": draws.integers(0, 4, BATCH).astype(np.int32)}
    for name in row.also:
        other = draws.normal(-0.2, 0.5, observed.shape).clip(-1, 1).astype(np.float32)
        made[name] = draws.integers(0, 4, BATCH).astype(np.int32) if name.endswith("label") else other
    return made


@cache
def compiled(row: Row) -> Callable:
    return jit(make_step(plain_game(row)))


@cache
def played(row: Row, steps: int, seed: int = 0) -> tuple[State, tuple[Mapping[str, jax.Array], ...]]:
    """The run that others are compared with: jitted steps, one after the other."""
    state, rows = start(row, seed), []
    for s in range(steps):
        state, metrics = compiled(row)(state, batch(row, s))
        rows.append(metrics)
    return state, tuple(rows)


def host(tree: Any) -> dict[str, np.ndarray]:
    def array(leaf: Any) -> np.ndarray:
        typed = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if typed else leaf)

    return {jax.tree_util.keystr(path): array(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def assert_close(actual: Any, expected: Any, rounding: float) -> None:
    actual, expected = host(actual), host(expected)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        if "['places']" in name and value.dtype == np.int32 and value.ndim > 1:
            # a replay keeps the bits of its floats
            value, actual[name] = value.view(np.float32), actual[name].view(np.float32)
        slack = 0 if value.dtype.kind in "iu" and value.dtype != np.uint8 else rounding
        if value.dtype == np.uint8:  # rounded pictures may differ by a level
            np.testing.assert_allclose(actual[name].astype(int), value.astype(int), atol=1, rtol=0, err_msg=name)
        else:
            np.testing.assert_allclose(actual[name], value, rtol=slack, atol=slack, err_msg=name)


def assert_identical(actual: Any, expected: Any) -> None:
    actual, expected = host(actual), host(expected)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def differs(actual: Any, expected: Any) -> bool:
    actual, expected = host(actual), host(expected)
    return any(not np.array_equal(actual[name], value) for name, value in expected.items())


@cache
def differentiated(row: Row, i: int) -> Callable:
    loss = plain_game(row).updates[i].loss
    return jit(jax.value_and_grad(lambda movers, others, inputs: loss({**others, **movers}, inputs), has_aux=True))


def by_hand(
    row: Row, state: State, batch: Mapping[str, Any], devices: int | None
) -> tuple[list[State], dict[str, Any]]:
    """One step written out for plain SGD, on each device its part of the batch; a second route to `make_step`.

    None is one program for the whole batch, which folds no device into its key.
    """
    game = plain_game(row)
    step_key = jax.random.fold_in(state.key, state.step)
    n = devices or 1
    keys = [step_key] if devices is None else [jax.random.fold_in(step_key, d) for d in range(n)]
    parts = [{name: np.split(value, n)[d] for name, value in batch.items()} for d in range(n)]
    now, memories, reported = state, [dict(state.memory) for _ in range(n)], {}

    def mean(*leaves: Any) -> np.ndarray:
        return np.mean([np.asarray(leaf, np.float64) for leaf in leaves], axis=0).astype(leaves[0].dtype)

    for i, update in enumerate(game.updates):
        if update.when is not None and not update.when(int(state.step)):
            continue
        seen = state if game.simultaneous else now
        movers = {name: seen.params[name] for name in update.players}
        common = {f.name: getattr(seen, f.name) for f in fields(LossInput) if f.name not in ("key", "batch", "memory")}

        results = [
            differentiated(row, i)(movers, seen.params, LossInput(**common, key=k, batch=p, memory=m))
            for k, p, m in zip(keys, parts, memories, strict=True)
        ]
        gradients = jax.tree.map(mean, *[gradient for _, gradient in results])
        outputs = [output for (_, output), _ in results]
        memories = [{**memory, **output.memory} for memory, output in zip(memories, outputs, strict=True)]
        shared = jax.tree.map(mean, *memories)
        memories = [
            jax.tree.map(lambda own, all_: all_ if np.issubdtype(own.dtype, np.floating) else own, memory, shared)
            for memory in memories
        ]
        params, variables, ema = dict(now.params), dict(now.variables), dict(now.ema)
        for name in update.players:
            params[name] = jax.tree.map(lambda p, g: np.asarray(p) - LEARNING_RATE * g, movers[name], gradients[name])
            running = [output.variables.get(name, {}) for output in outputs]
            variables[name] = {**now.variables[name], **jax.tree.map(mean, *running)}
            if (decay := game.players[name].ema_decay) is not None:
                d = np.float32(decay(state.step) if callable(decay) else decay)
                ema[name] = jax.tree.map(lambda a, p, d=d: d * np.asarray(a) + (1 - d) * p, now.ema[name], params[name])
        now = replace(now, params=params, variables=variables, ema=ema)
        reported[f"{update.name}/loss"] = mean(*[value for (value, _), _ in results])
        squares = [np.sum(np.square(g, dtype=np.float64)) for g in jax.tree.leaves(gradients)]
        reported[f"{update.name}/gradient_norm"] = np.float32(np.sqrt(np.sum(squares)))
        for name in outputs[0].metrics:
            reported[f"{update.name}/{name}"] = mean(*[output.metrics[name] for output in outputs])
    return [replace(now, step=state.step + 1, memory=memory) for memory in memories], reported


def assert_reported(metrics: Mapping[str, Any], expected: Mapping[str, Any], rounding: float) -> None:
    assert set(expected) <= set(metrics)
    assert_close({name: metrics[name] for name in expected}, expected, rounding)


@cache
def by_hand_on_devices(row: Row) -> tuple[State, Mapping[str, Any], list[State], dict[str, Any]]:
    """The third step, on which every(3) runs: the state before it, its batch, and what each device shall have then."""
    state, _ = played(row, 2)
    return state, batch(row, 2), *by_hand(row, state, batch(row, 2), DEVICES)


# -- the contracts ---------------------------------------------------------------------------------


@every_game
def test_a_step_is_what_is_written_out_by_hand(row):
    state, _ = played(row, 3)  # a step in the middle, on which moving averages have something to forget
    for _ in range(2 if any(update.when for update in plain_game(row).updates) else 1):
        expected, reported = by_hand(row, state, batch(row, 3), None)
        state, metrics = compiled(row)(state, batch(row, 3))
        assert_close(state, expected[0], row.rounding)
        assert_reported(metrics, reported, row.rounding)


@slow_but_for_one
def test_eager_equals_jit(row):
    state, rows = played(row, 1)
    eager, metrics = make_step(plain_game(row))(start(row), batch(row, 0))
    assert_close(eager, state, row.rounding)
    assert_close(metrics, rows[0], row.rounding)


@every_game
def test_a_scan_equals_steps_one_by_one(row):
    state, rows = played(row, STEPS)
    assert all(np.all(np.abs(leaf) < 100) for leaf in host(state.params).values())  # it compares nothing that explodes
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *[batch(row, s) for s in range(STEPS)])
    scanned, metrics = jit(lambda s, b: jax.lax.scan(make_step(plain_game(row)), s, b))(start(row), stacked)
    assert_close(scanned, state, row.rounding)
    for s in range(STEPS):
        assert_close(jax.tree.map(lambda m, s=s: m[s], metrics), rows[s], row.rounding)


def conditionals(jaxpr: Any) -> int:
    found = 0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        found += equation.primitive.name == "cond"
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    found += conditionals(inner)
    return found


@every_game
def test_many_seeds_in_one_program_equal_single_runs(row):
    game, seeds = plain_game(row), (0, 5, 9)
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    states = jit(jax.vmap(lambda key: init_state(game, key, dict(row.hyper))))(keys)
    states = replace(states, step=start(row).step)
    axes = replace(jax.tree.map(lambda _: 0, states), step=None)
    population = jax.vmap(make_step(game), in_axes=(axes, None), out_axes=(axes, 0))
    scheduled = sum(update.when is not None for update in game.updates)
    assert conditionals(jax.make_jaxpr(population)(states, batch(row, 0))) == scheduled
    advance = jit(population)
    for s in range(3):
        states, metrics = advance(states, batch(row, s))
    assert states.step.shape == () and states.step == 3
    together = host((replace(states, step=states.key), metrics))
    for member, seed in enumerate(seeds):
        state, rows = played(row, 3, seed)
        alone = host((replace(state, step=state.key), rows[-1]))
        assert_close({name: values[member] for name, values in together.items()}, alone, row.rounding)


@every_game
def test_one_device_equals_eight_under_jit(row):
    mesh = parallel.data_mesh(jax.devices()[:DEVICES])
    split = NamedSharding(mesh, PartitionSpec(parallel.AXIS))
    state, step = jax.device_put(start(row), parallel.replicated(mesh)), jit(make_step(plain_game(row)))
    for s in range(2):
        state, metrics = step(state, jax.device_put(batch(row, s), split))
    assert all(len(leaf.sharding.device_set) == DEVICES for leaf in jax.tree.leaves(state.params))
    single, rows = played(row, 2)
    assert all(len(leaf.sharding.device_set) == 1 for leaf in jax.tree.leaves(single.params))
    assert_close((state, metrics), (single, rows[-1]), row.rounding)


@every_game
def test_pmap_averages_over_devices(row):
    state, whole, expected, reported = by_hand_on_devices(row)
    parts = {name: value.reshape(DEVICES, -1, *value.shape[1:]) for name, value in whole.items()}
    copies = parallel.replicate(state, DEVICES)
    step = parallel.pmap_step(plain_game(row), jax.devices()[:DEVICES]).lower(copies, parts).compile(OPTIONS)
    copies, metrics = step(copies, parts)
    everywhere, reports = host(copies), host(metrics)
    for d in range(DEVICES):
        assert_close({name: values[d] for name, values in everywhere.items()}, host(expected[d]), row.rounding)
        assert_reported({name: values[d] for name, values in reports.items()}, host(reported), row.rounding)
    for name, values in host((copies.params, copies.ema, copies.opt_state, metrics)).items():
        assert np.all(values == values[:1]), name
    assert np.all(np.asarray(copies.step) == 3)


@every_game
def test_shard_map_averages_over_devices(row):
    state, whole, expected, reported = by_hand_on_devices(row)
    mesh = parallel.data_mesh(jax.devices()[:DEVICES])
    copies = jax.device_put(jax.tree.map(jnp.copy, state), parallel.replicated(mesh))
    parts = jax.device_put(whole, NamedSharding(mesh, PartitionSpec(parallel.AXIS)))
    step = parallel.shard_map_step(plain_game(row), mesh).lower(copies, parts).compile(OPTIONS)
    moved, metrics = step(copies, parts)
    assert_reported(metrics, reported, row.rounding)
    for d in range(DEVICES):
        own = jax.tree.map(lambda leaf, d=d: leaf.addressable_shards[d].data, moved)
        assert_close(own, expected[d], row.rounding)
        assert_identical(own.params, moved.params)
    assert moved.step == 3


@every_game
def test_five_steps_are_traced_once_and_donate_the_state(row):
    game, traces = row.game(optax.adam(1e-3)), []
    step = make_step(game)

    def counted(state: State, batch: Any) -> Any:
        traces.append(1)
        return step(state, batch)

    state = jit(lambda key: init_state(game, key, dict(row.hyper)))(jax.random.key(0))
    advance = jit(counted, donate_argnums=0)
    for s in range(STEPS):
        before, (state, _) = state, advance(state, batch(row, s))
        given = jax.tree.leaves((before.params, before.opt_state, before.ema))
        assert all(leaf.is_deleted() for leaf in given)
    assert len(traces) == 1 and advance._cache_size() == 1
    assert state.step == STEPS


@every_game
def test_a_step_keeps_structure_shapes_and_types(row):
    game = row.game(optax.adam(1e-3))
    before = jax.eval_shape(lambda key: init_state(game, key, dict(row.hyper)), jax.random.key(0))
    after, metrics = jax.eval_shape(make_step(game), before, batch(row, 0))

    def described(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)), tree)

    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert described(after) == described(before)
    assert not any(jax.tree.leaves(jax.tree.map(lambda leaf: getattr(leaf, "weak_type", False), before)))
    for name in game.players:
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(before.params[name]))
    for name, metric in metrics.items():
        assert metric.shape == () and metric.dtype == jnp.float32, name


@every_game
def test_each_update_moves_its_movers_and_nobody_else(row):
    game, state = plain_game(row), played(row, STEPS)[0]
    for i, update in enumerate(game.updates):
        only = tuple(i == j for j in range(len(game.updates)))
        moved, metrics = jit(make_step(game, active=only))(state, batch(row, 0))
        for name in game.players:
            if name in update.players:
                assert differs(moved.params[name], state.params[name]), name
                if set(state.variables[name]) - {"reference"}:
                    assert differs(moved.variables[name], state.variables[name]), name
            else:
                assert_identical(moved.params[name], state.params[name])
                assert_identical(moved.variables[name], state.variables[name])
                assert_identical(moved.ema.get(name), state.ema.get(name))
        assert_identical((moved.key, moved.hyper), (state.key, state.hyper))
        for j, other in enumerate(game.updates):
            values = {name: float(m) for name, m in metrics.items() if name.startswith(f"{other.name}/")}
            assert {"loss", "gradient_norm", "ran"} <= {name.split("/", 1)[1] for name in values}
            if i == j:
                assert values[f"{other.name}/ran"] == 1 and values[f"{other.name}/gradient_norm"] > 0
                assert np.all(np.isfinite(list(values.values())))
            else:
                assert set(values.values()) == {0.0}
    frozen = [name for name, player in game.players.items() if player.optimizer is None]
    for name in frozen:
        assert_identical(state.params[name], start(row).params[name])
        assert_identical(state.variables[name], start(row).variables[name])
        assert name not in state.opt_state


@with_schedule
def test_a_schedule_resolved_on_the_host_equals_the_traced_one(row):
    game, state, programs = plain_game(row), start(row), {}
    for s in range(STEPS):
        active = tuple(bool(update.when(s)) if update.when else True for update in game.updates)
        if active not in programs:
            programs[active] = jit(make_step(game, active=active))
        state, metrics = programs[active](state, batch(row, s))
        assert_close((state, metrics), (played(row, s + 1)[0], played(row, s + 1)[1][s]), row.rounding)
        assert [float(metrics[f"{update.name}/ran"]) for update in game.updates] == [float(ran) for ran in active]
    assert len(programs) > 1


@every_game
def test_averages_move_when_their_player_moves(row):
    game = plain_game(row)
    averaged = {name: player.ema_decay for name, player in game.players.items() if player.ema_decay is not None}
    assert set(start(row).ema) == set(averaged)
    for name in averaged:
        assert_identical(start(row).ema[name], start(row).params[name])
    before = start(row)
    for s in range(STEPS):
        after, metrics = played(row, s + 1)[0], played(row, s + 1)[1][s]
        for name, decay in averaged.items():
            moves = sum(float(metrics[f"{u.name}/ran"]) for u in game.updates if name in u.players)
            if moves == 0:
                assert_identical(after.ema[name], before.ema[name])
            if moves == 1:
                d = float(decay(jnp.asarray(s))) if callable(decay) else decay
                old, new = host(before.ema[name]), host(after.params[name])
                expected = {leaf: d * old[leaf] + (1 - d) * new[leaf] for leaf in old}
                np.testing.assert_equal(list(host(after.ema[name])), list(old))
                for leaf, value in host(after.ema[name]).items():
                    np.testing.assert_allclose(value, expected[leaf], rtol=1e-5, atol=1e-7, err_msg=leaf)
        before = after
