"""A classifier that learns from few labels, and from a generator what images without labels are like.

Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, "Improved Techniques for Training GANs", 2016,
arXiv 1606.03498, section 5.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Key, Params
from jaxgan.game import Game, LossInput, LossOutput, Player, Update
from jaxgan.games.two_player import neighbour_distance
from jaxgan.losses.adversarial import non_saturating
from jaxgan.losses.auxiliary import cross_entropy, real_logit

# Fixed folds of the step's key; latents and the generator's noise are the same for both updates.
LATENT, GENERATOR_NOISE, DISCRIMINATOR_NOISE, MATCHED_NOISE, FAKE_NOISE = range(5)


def semi_supervised(
    generator: Player, discriminator: Player, prior: Callable[[Key, int], Array], *, unlabelled: bool = True
) -> Game:
    """The discriminator is a classifier of K classes, and its K logits l say how real an image is, too.

    With Z = logsumexp(l), the log-odds of real where "generated" is class K + 1 of logit 0
    (`real_logit`), D minimises

        mean(-l_y + Z) over labelled images  +  1/2 mean(softplus(-Z)) over others  +  1/2 mean(softplus(Z)) over fakes

    and then G the *mean* over features (the paper's squared norm is their sum) of the squared
    difference between the mean activations of D's last hidden layer on real images and on fakes,
    feature matching, as the authors' code does.

    Batches have "labelled_image", "labelled_label" int [batch], "image" for D, and "matched_image", other
    real images for G. Nothing is asked of their numbers; there are as many fakes as images.
    unlabelled: False leaves the first term alone, and the generator out: the purely supervised baseline.
    The net of D shows features and treats examples one by one: all it is shown goes through it in one pass.
    """
    if discriminator.net.couples_batch or discriminator.net.features is None:
        raise ValueError("this discriminator treats examples one by one and shows features: no batch normalization")
    features = discriminator.net.features

    def fakes(params: Mapping[str, Params], inputs: LossInput, n: int) -> tuple[Array, Mapping[str, Array]]:
        return generator.net.apply(
            {"params": params["generator"], **inputs.variables["generator"]},
            prior(jax.random.fold_in(inputs.key, LATENT), n),
            key=jax.random.fold_in(inputs.key, GENERATOR_NOISE),
        )

    def judged(params: Mapping[str, Params], inputs: LossInput, images: Array, fold: int) -> tuple[Array, Array]:
        variables = {"params": params["discriminator"], **inputs.variables["discriminator"]}
        (logits, shown), changed = features(variables, images, key=jax.random.fold_in(inputs.key, fold))
        if shown is None or changed:
            raise ValueError("this discriminator shows features and keeps no running variables")
        return logits, shown

    def discriminator_loss(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
        labelled, label = inputs.batch["labelled_image"], inputs.batch["labelled_label"]
        seen, n = [labelled], len(labelled)
        if unlabelled:
            real = inputs.batch["image"]
            fake, _ = fakes(params, inputs, len(real))
            seen += [real, fake]
        logits, _ = judged(params, inputs, jnp.concatenate(seen), DISCRIMINATOR_NOISE)
        supervised = jnp.mean(cross_entropy(logits[:n], label))
        correct = jnp.mean(jnp.argmax(logits[:n], axis=-1) == label, dtype=jnp.float32)
        metrics = {"labelled": supervised, "accuracy": correct}
        if not unlabelled:
            return supervised, LossOutput(metrics=metrics)
        real_logits, fake_logits = jnp.split(real_logit(logits[n:]), [len(real)])
        adversarial = 0.5 * jnp.mean(non_saturating.discriminator(real_logits, fake_logits))
        metrics |= {
            "adversarial": adversarial,
            "real_accuracy": jnp.mean(real_logits > 0, dtype=jnp.float32),
            "fake_accuracy": jnp.mean(fake_logits < 0, dtype=jnp.float32),
            "diversity": neighbour_distance(fake) / jnp.maximum(neighbour_distance(real), 1e-12),
        }
        return supervised + adversarial, LossOutput(metrics=metrics)

    def generator_loss(params: Mapping[str, Params], inputs: LossInput) -> tuple[Array, LossOutput]:
        real = inputs.batch["matched_image"]
        fake, running = fakes(params, inputs, len(real))
        _, real_features = judged(params, inputs, real, MATCHED_NOISE)
        _, fake_features = judged(params, inputs, fake, FAKE_NOISE)
        difference = jnp.mean(real_features, axis=0) - jnp.mean(fake_features, axis=0)
        return jnp.mean(jnp.square(difference)), LossOutput(variables={"generator": running})

    judging = Update("discriminator", ("discriminator",), discriminator_loss)
    if not unlabelled:
        return Game({"discriminator": discriminator}, (judging,))
    return Game(
        {"generator": generator, "discriminator": discriminator},
        (judging, Update("generator", ("generator",), generator_loss)),
    )
