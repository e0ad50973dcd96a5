"""Where the words of the command line become code: losses, normalizations, precisions, penalties."""

from typing import Literal, Protocol

import jax.numpy as jnp

from jaxgan.game import Net
from jaxgan.games.two_player import Term, gradient_penalty
from jaxgan.losses import adversarial, penalties
from jaxgan.nets.layers import BatchNorm, LayerNorm

Loss = Literal["non_saturating", "minimax", "hinge", "wasserstein"]
LOSSES = {
    "non_saturating": adversarial.non_saturating,
    "minimax": adversarial.minimax,
    "hinge": adversarial.hinge,
    "wasserstein": adversarial.wasserstein,
}

Normalization = Literal["none", "batch", "layer"]
NORMALIZATIONS = {"none": None, "batch": BatchNorm, "layer": LayerNorm}

# inside the nets; parameters, logits and images stay float32
Dtype = Literal["float32", "bfloat16"]
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Penalized(Protocol):
    """A config with the weights of penalties."""

    @property
    def r1_weight(self) -> float: ...
    @property
    def gradient_penalty_weight(self) -> float: ...


def penalty_terms(config: Penalized, discriminator: Net) -> list[Term]:
    """The penalties that a config gives a weight."""
    weighted = ((penalties.r1, config.r1_weight), (penalties.wgan_gp, config.gradient_penalty_weight))
    return [gradient_penalty(penalty, weight, discriminator) for penalty, weight in weighted if weight]
