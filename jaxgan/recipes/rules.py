"""How two players play: losses, penalties, stabilisers, dynamics and optimizers, as flags of every two-player recipe.

Here the words of the command line become code. Which of them go together says `compatibility`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax.numpy as jnp
import optax

from jaxgan.arrays import Array
from jaxgan.config import RequestError, at_least, fraction
from jaxgan.losses import adversarial, divergence, penalties
from jaxgan.losses.adversarial import AdversarialLoss
from jaxgan.losses.penalties import Penalty
from jaxgan.nets.layers import BatchNorm, LayerNorm, MinibatchDeviation, MinibatchDiscrimination, VirtualBatchNorm
from jaxgan.optimizers import Hyper, from_hyper, historical_averaging, orthogonal_regularization, weight_clipping

Loss = Literal[
    "non_saturating",
    "minimax",
    "maximum_likelihood",
    "least_squares",
    "hinge",
    "wasserstein",
    "relativistic",
    "relativistic_average",
    "f_kl",
    "f_reverse_kl",
    "f_jensen_shannon",
    "f_jeffrey",
    "f_pearson",
    "f_neyman",
    "f_squared_hellinger",
    "f_total_variation",
    "f_gan",
]
LOSSES: Mapping[str, AdversarialLoss] = {
    "non_saturating": adversarial.non_saturating,
    "minimax": adversarial.minimax,
    "maximum_likelihood": adversarial.maximum_likelihood,
    "least_squares": adversarial.least_squares,
    "hinge": adversarial.hinge,
    "wasserstein": adversarial.wasserstein,
    "relativistic": adversarial.relativistic,
    "relativistic_average": adversarial.relativistic_average,
    "f_kl": divergence.f_gan(divergence.kl),
    "f_reverse_kl": divergence.f_gan(divergence.reverse_kl),
    "f_jensen_shannon": divergence.f_gan(divergence.jensen_shannon),
    "f_jeffrey": divergence.f_gan(divergence.jeffrey),
    "f_pearson": divergence.f_gan(divergence.pearson),
    "f_neyman": divergence.f_gan(divergence.neyman),
    "f_squared_hellinger": divergence.f_gan(divergence.squared_hellinger),
    "f_total_variation": divergence.f_gan(divergence.total_variation),
    "f_gan": divergence.f_gan(divergence.gan),
}

# the penalties on D's gradient, by the name of their weight
GRADIENT_PENALTIES: Mapping[str, Penalty] = {
    "r1_weight": penalties.r1,
    "r2_weight": penalties.r2,
    "gradient_penalty_weight": penalties.wgan_gp,
    "zero_centered_weight": penalties.zero_centered_gp,
    "dragan_weight": penalties.dragan,
    "lipschitz_weight": penalties.lipschitz,
}

Normalization = Literal["none", "batch", "layer"]
GeneratorNormalization = Literal["none", "batch", "layer", "virtual_batch"]
NORMALIZATIONS = {"none": None, "batch": BatchNorm, "layer": LayerNorm, "virtual_batch": VirtualBatchNorm}

Minibatch = Literal["none", "discrimination", "deviation", "input_deviation"]
# examples in the reference batch of virtual batch normalization
REFERENCE = 64

MINIBATCH_LAYERS = {"discrimination": MinibatchDiscrimination, "deviation": MinibatchDeviation}

Augmentation = Literal["none", "diffaugment", "ada"]
Optimizer = Literal["adam", "optimistic_adam", "rmsprop", "sgd"]
Dynamics = Literal["alternating", "simultaneous", "extragradient", "consensus"]

# inside the nets; parameters, logits and images stay float32
Dtype = Literal["float32", "bfloat16"]
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclass(frozen=True)
class Rules:
    loss: Loss = "non_saturating"
    """Adversarial loss; f_... are the divergences of f-GAN."""

    r1_weight: float = 0.0
    """Weight of the squared gradient at real examples (half the paper's gamma), 0 for none."""
    r2_weight: float = 0.0
    """Weight of the squared gradient at fake examples, 0 for none."""
    gradient_penalty_weight: float = 0.0
    """Weight of WGAN-GP's penalty (gradient norm 1 between real and fake), 0 for none."""
    zero_centered_weight: float = 0.0
    """Weight of the squared gradient between real and fake, 0 for none."""
    dragan_weight: float = 0.0
    """Weight of DRAGAN's penalty (gradient norm 1 around real examples), 0 for none."""
    lipschitz_weight: float = 0.0
    """Weight of the one-sided penalty (gradient norm at most 1 between real and fake), 0 for none."""
    consistency_weight: float = 0.0
    """Weight of consistency: D's answer to a real image and to it shifted and mirrored, 0 for none."""
    penalty_interval: int = 1
    """Apply the penalties at every so many steps, that much stronger."""
    weight_clip: float = 0.0
    """Bound of the discriminator's weights, clipped after each of its steps; 0 for none."""

    spectral_norm: Literal["none", "discriminator", "both"] = "none"
    """Nets whose layers have their largest singular value divided out."""
    generator_normalization: GeneratorNormalization = "none"
    """Normalization of the generator."""
    discriminator_normalization: Normalization = "none"
    """Normalization of the discriminator; a gradient penalty excludes batch."""
    generator_dropout: float = 0.0
    """Share of the generator's activations that are dropped."""
    discriminator_dropout: float = 0.0
    """Share of the discriminator's activations that are dropped."""
    minibatch: Minibatch = "none"
    """What D is told of the batch: minibatch discrimination or the deviation, at its last layer, or per pixel."""
    packing: int = 1
    """Examples that D judges together (PacGAN)."""

    real_label: float = 1.0
    """D's target for reals: below 1 for one-sided label smoothing."""
    label_flips: float = 0.0
    """Share of the pairs whose labels are swapped for D."""
    augmentation: Augmentation = "none"
    """What D sees instead of the images, real and fake: DiffAugment, or ADA's changes as often as D overfits."""
    ada_target: float = 0.6
    """How sure D may be of the real images, the mean of its signs, before ADA augments more."""
    ada_images: float = 500_000.0
    """Images in which ADA's probability goes from 0 to 1 at the fastest."""
    instance_noise: float = 0.0
    """Deviation of the noise on all that D sees, 0 for none."""
    instance_noise_steps: int = 0
    """Steps over which that noise falls to 0; 0 for never."""
    replay: int = 0
    """Old fakes to keep, of which D sees as many as new ones; 0 for none."""
    feature_matching_weight: float = 0.0
    """Weight of the distance between D's mean activations of reals and fakes, for G; 0 for none."""
    matching_aware_weight: float = 0.0
    """Weight of D's loss for real images with a wrong class, which count as fake (GAN-CLS); 0 for none."""
    adversarial_weight: float = 1.0
    """Weight of the generator's adversarial loss."""
    historical_averaging: float = 0.0
    """Weight of the squared distance of both players' weights to their past mean, 0 for none."""
    orthogonal_weight: float = 0.0
    """Weight of the squared inner products of different outputs' weights in the generator's kernels, 0 for none."""

    dynamics: Dynamics = "alternating"
    """D then G, both at once, or both at once with look-ahead gradients or a penalty on the field's norm."""
    consensus_weight: float = 1.0
    """Weight of that penalty, for consensus."""
    unrolled_steps: int = 0
    """Steps of the discriminator that the generator's loss looks ahead."""
    discriminator_steps: int = 1
    """Discriminator steps before each generator step."""
    generator_steps: int = 1
    """Generator steps for each discriminator step."""

    accumulation: int = 1
    """Parts of a batch that are played one after another and added up before a player moves: less memory."""
    rematerialize: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory."""

    optimizer: Optimizer = "adam"
    """Of both players."""
    generator_learning_rate: float = 1e-3
    """Step size of the generator."""
    discriminator_learning_rate: float = 1e-3
    """Step size of the discriminator."""
    learning_rate_decay: Literal["none", "linear", "linear_from_half", "cosine"] = "none"
    """How both step sizes fall over the run: not at all, or to 0; linear_from_half: from the middle of the run on."""
    beta1: float = 0.5
    """Adam's decay of the first moment; momentum of sgd."""
    beta2: float = 0.99
    """Decay of the second moment of adam and rmsprop."""
    ema_decay: float = 0.0
    """Averaging of the generator's weights, 0 for none."""

    def __post_init__(self) -> None:
        at_least(self, 0, *WEIGHTS, "weight_clip", "instance_noise", "instance_noise_steps", "replay", "unrolled_steps")
        at_least(self, 0, "generator_learning_rate", "discriminator_learning_rate")
        at_least(self, 1, "penalty_interval", "packing", "discriminator_steps", "generator_steps", "accumulation")
        fraction(self, "generator_dropout", "discriminator_dropout", "label_flips", "beta1", "beta2", "ema_decay")
        at_least(self, 1, "ada_images")
        if not -1 < self.ada_target < 1:
            raise RequestError(f"--ada-target lies in (-1, 1), got {self.ada_target}")
        if not 0 < self.real_label <= 1:
            raise RequestError(f"--real-label lies in (0, 1], got {self.real_label}")


WEIGHTS = (
    *GRADIENT_PENALTIES,
    "consistency_weight",
    "feature_matching_weight",
    "matching_aware_weight",
    "adversarial_weight",
    "historical_averaging",
    "orthogonal_weight",
    "consensus_weight",
)
NUMBERS = (
    *WEIGHTS,
    "weight_clip",
    "real_label",
    "label_flips",
    "ada_target",
    "ada_images",
    "instance_noise",
    "generator_learning_rate",
    "discriminator_learning_rate",
    "beta1",
    "beta2",
)


def numbers(rules: Rules) -> dict[str, float]:
    """The rules that are numbers of the run (`State.hyper`): to vary them recompiles nothing."""
    return {name: float(getattr(rules, name)) for name in NUMBERS}


def generator_options(rules: Rules, prior: Callable[..., Array]) -> dict[str, Any]:
    """What the rules say of the generator's layers, as fields of any generator of `nets`.

    prior: of its latents, from which the reference of virtual batch normalization is drawn.
    """
    virtual = rules.generator_normalization == "virtual_batch"
    return {
        "reference": partial(prior, n=REFERENCE) if virtual else None,
        "normalization": NORMALIZATIONS[rules.generator_normalization],
        "dropout": rules.generator_dropout,
        "spectral": rules.spectral_norm == "both",
    }


def discriminator_options(rules: Rules) -> dict[str, Any]:
    """What the rules say of the discriminator's layers, as fields of any discriminator of `nets`."""
    return {
        "normalization": NORMALIZATIONS[rules.discriminator_normalization],
        "dropout": rules.discriminator_dropout,
        "spectral": rules.spectral_norm != "none",
        "minibatch": MINIBATCH_LAYERS.get(rules.minibatch),
    }


def discriminator_couples_batch(rules: Rules) -> bool:
    return rules.discriminator_normalization == "batch" or rules.minibatch != "none"


def optimizer(rules: Rules, player: Literal["generator", "discriminator"], steps: int) -> optax.GradientTransformation:
    """The optimizer of one player for a run of `steps` steps; its numbers are those of the run."""

    def make(hyper: Hyper, step: Array) -> optax.GradientTransformation:
        rate, momentum = hyper[f"{player}_learning_rate"], hyper["beta1"]
        if rules.learning_rate_decay == "linear":
            rate = rate * (1.0 - step / steps)
        if rules.learning_rate_decay == "linear_from_half":
            rate = rate * jnp.minimum(1.0, 2.0 * (1.0 - step / steps))
        if rules.learning_rate_decay == "cosine":
            rate = rate * 0.5 * (1.0 + jnp.cos(jnp.pi * step / steps))
        rate = jnp.maximum(rate, 0.0)
        chosen = {
            "adam": lambda: optax.adam(rate, b1=momentum, b2=hyper["beta2"]),
            "optimistic_adam": lambda: optax.optimistic_adam_v2(rate, b1=momentum, b2=hyper["beta2"], nesterov=False),
            "rmsprop": lambda: optax.rmsprop(rate, decay=hyper["beta2"]),
            "sgd": lambda: optax.sgd(rate, momentum=momentum),
        }[rules.optimizer]()
        pulled = [historical_averaging(hyper["historical_averaging"])] if rules.historical_averaging else []
        if rules.orthogonal_weight and player == "generator":
            pulled.append(orthogonal_regularization(hyper["orthogonal_weight"]))
        clipped = [weight_clipping(hyper["weight_clip"])] if rules.weight_clip and player == "discriminator" else []
        return optax.chain(*pulled, chosen, *clipped)

    return from_hyper(make, numbers(rules))
