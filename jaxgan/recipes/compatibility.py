"""Which rules go together: one table of the pairs that do not, each with what to do instead."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxgan.config import RequestError
from jaxgan.recipes.rules import GRADIENT_PENALTIES, LOSSES, Rules, discriminator_couples_batch


@dataclass(frozen=True)
class Setting:
    """What the rules are applied to."""

    conditional: bool = False
    images: bool = True
    told: bool = True
    """D is told the class, where there are classes."""
    heads: bool = False
    """Heads on D's features read the class or the code of the fakes."""
    pictured: bool = False
    """The condition is a picture, not a class."""
    other_terms: bool = False
    """The generator's loss has terms that are no rules: what it makes is to be like something."""


Trait = Callable[[Rules, Setting], bool]


def _penalized(rules: Rules) -> bool:
    return any(getattr(rules, name) for name in GRADIENT_PENALTIES)


TRAITS: Mapping[str, Trait] = {
    "a gradient penalty": lambda r, s: _penalized(r),
    "no penalty": lambda r, s: not _penalized(r) and not r.consistency_weight,
    "consistency": lambda r, s: r.consistency_weight > 0,
    "points instead of images": lambda r, s: not s.images,
    "a penalty at intervals": lambda r, s: r.penalty_interval > 1,
    "a discriminator that couples the batch": lambda r, s: discriminator_couples_batch(r),
    "a loss without labels": lambda r, s: LOSSES[r.loss].labelled is None,
    "smooth labels": lambda r, s: r.real_label < 1,
    "classes": lambda r, s: s.conditional,
    "no classes": lambda r, s: not s.conditional,
    "pictures as the condition": lambda r, s: s.pictured,
    "an untold discriminator": lambda r, s: s.conditional and not s.told,
    "heads": lambda r, s: s.heads,
    "wrong pairs": lambda r, s: r.matching_aware_weight > 0,
    "packing": lambda r, s: r.packing > 1,
    "old fakes": lambda r, s: r.replay > 0,
    "virtual batch normalization": lambda r, s: r.generator_normalization == "virtual_batch",
    "both players at once": lambda r, s: r.dynamics != "alternating",
    "a rewritten gradient": lambda r, s: r.dynamics in ("extragradient", "consensus"),
    "unrolling": lambda r, s: r.unrolled_steps > 0,
    "discriminator steps": lambda r, s: r.discriminator_steps > 1,
    "generator steps": lambda r, s: r.generator_steps > 1,
    "no adversarial loss": lambda r, s: r.adversarial_weight == 0 and not s.other_terms,
    "no feature matching": lambda r, s: r.feature_matching_weight == 0,
    "augmentation": lambda r, s: r.augmentation != "none",
    "adaptive augmentation": lambda r, s: r.augmentation == "ada",
    "a loss whose zero separates nothing": lambda r, s: not LOSSES[r.loss].zero_separates,
    "fading noise": lambda r, s: r.instance_noise_steps > 0,
    "no noise": lambda r, s: r.instance_noise == 0,
}

INCOMPATIBLE: Mapping[tuple[str, str], str] = {
    ("a gradient penalty", "a discriminator that couples the batch"): (
        "a gradient penalty needs a discriminator that treats examples one by one, and batch normalization and "
        "--minibatch couple them: choose --discriminator-normalization layer or none, and --minibatch none"
    ),
    ("consistency", "points instead of images"): (
        "consistency shifts and mirrors images, and these are points: leave --consistency-weight at 0"
    ),
    ("a penalty at intervals", "no penalty"): (
        "--penalty-interval is for a penalty, and there is none: give one a weight, such as --r1-weight"
    ),
    ("a penalty at intervals", "both players at once"): (
        "a penalty at intervals is a move of its own, and in simultaneous play each player has one: "
        "choose --penalty-interval 1 or --dynamics alternating"
    ),
    ("a penalty at intervals", "unrolling"): (
        "unrolling follows one loss of the discriminator, and a penalty at intervals is a second: "
        "choose --penalty-interval 1"
    ),
    ("smooth labels", "a loss without labels"): (
        "label smoothing needs a loss with labels: choose --loss non_saturating, minimax, maximum_likelihood "
        "or least_squares, or leave --real-label at 1"
    ),
    ("packing", "pictures as the condition"): (
        "a pack holds several pictures, and D is told the one that a picture was made from: choose --packing 1"
    ),
    ("packing", "classes"): (
        "a pack holds examples of several classes: choose --packing 1 or, where the recipe has it, --conditional no"
    ),
    ("wrong pairs", "no classes"): (
        "--matching-aware-weight shows D images with a wrong class, and there are no classes: "
        "leave it at 0 or, where the recipe has it, choose --conditional yes"
    ),
    ("wrong pairs", "an untold discriminator"): (
        "--matching-aware-weight shows D images with a wrong class, and this D is told no class: leave it at 0"
    ),
    ("packing", "heads"): (
        "a pack holds several examples, and the heads of D tell the class or code of one: choose --packing 1"
    ),
    ("augmentation", "pictures as the condition"): (
        "augmentation moves a picture and not the one it was made from, which D sees beside it: "
        "leave --augmentation at none"
    ),
    ("consistency", "pictures as the condition"): (
        "consistency moves a picture and not the one it was made from, which D sees beside it: "
        "leave --consistency-weight at 0"
    ),
    ("old fakes", "pictures as the condition"): (
        "old fakes come without the pictures that they were made from: leave --replay at 0"
    ),
    ("old fakes", "heads"): (
        "old fakes come without their class or code, of which the heads of D learn: leave --replay at 0"
    ),
    ("unrolling", "a rewritten gradient"): (
        "unrolling and look-ahead or consensus gradients rewrite the same loss: choose one of "
        "--unrolled-steps and --dynamics"
    ),
    ("a rewritten gradient", "discriminator steps"): (
        "extragradient and consensus move both players in every step: leave --discriminator-steps at 1"
    ),
    ("a rewritten gradient", "generator steps"): (
        "extragradient and consensus move both players in every step: leave --generator-steps at 1"
    ),
    ("discriminator steps", "generator steps"): (
        "only one of the two players can move more often: leave --discriminator-steps or --generator-steps at 1"
    ),
    ("no adversarial loss", "no feature matching"): (
        "the generator has nothing to learn from: give --adversarial-weight or --feature-matching-weight a value"
    ),
    ("augmentation", "points instead of images"): (
        "augmentation turns, moves and colours images, and these are points: leave --augmentation at none"
    ),
    ("adaptive augmentation", "a loss whose zero separates nothing"): (
        "ADA goes by the sign of D's logits, which says nothing under this loss: choose --loss non_saturating, "
        "minimax or hinge, or --augmentation diffaugment"
    ),
    ("fading noise", "no noise"): (
        "--instance-noise-steps is for noise, and there is none: give --instance-noise a deviation"
    ),
}


def check(rules: Rules, setting: Setting, batch: int) -> None:
    """Refuses rules that do not go together, by name."""
    found = {name for name, trait in TRAITS.items() if trait(rules, setting)}
    for (one, other), reason in INCOMPATIBLE.items():
        if one in found and other in found:
            raise RequestError(reason)
    if batch % rules.accumulation:
        raise RequestError(f"--accumulation {rules.accumulation} does not divide the batch of {batch}")
    batch //= rules.accumulation
    if batch % rules.packing:
        raise RequestError(f"--packing {rules.packing} does not divide the batch of {batch}, or each of its parts")
    if 0 < rules.replay < batch // 2:
        raise RequestError(f"--replay keeps at least half a batch, {batch // 2}, got {rules.replay}")


# rules that are layers inside a net
LAYERS = (
    "spectral_norm",
    "generator_normalization",
    "discriminator_normalization",
    "generator_dropout",
    "discriminator_dropout",
    "minibatch",
)


def check_layers(rules: Rules, system: str, possible: tuple[str, ...] = ()) -> None:
    """Refuses rules that put a layer into a net, for systems whose nets are their own and have no place for one.

    possible: those among them for which they have.
    """
    plain = Rules()
    for name in LAYERS:
        if getattr(rules, name) != getattr(plain, name) and name not in possible:
            flag = name.replace("_", "-")
            raise RequestError(f"the nets of {system} have their own layers: leave --{flag} at {getattr(plain, name)}")
