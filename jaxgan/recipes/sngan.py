"""SNGAN: residual nets, a spectrally normalized discriminator, the hinge loss.

Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", 2018,
arXiv 1802.05957, appendix B.4: residual nets for 32 and 64 pixels and their numbers.

    jaxgan train sngan                     real 8x8 digits
    jaxgan train sngan --preset paper      CIFAR-10 with the paper's nets and numbers: an accelerator

Spectral normalization makes every layer of D 1-Lipschitz at the price of one product per layer and
step; there is no penalty to weigh. Images of 8 to 128 pixels a side. Expected of the defaults, seed 0,
in two minutes on two CPU cores: some 98 per cent of the samples recognised by the data set's
classifier, 99 as the class that was asked for.
"""

from dataclasses import dataclass
from typing import Literal

from jaxgan.config import Options, Preset, RequestError, at_least
from jaxgan.latent import normal_prior
from jaxgan.nets import resnet
from jaxgan.nets.adapt import adapt
from jaxgan.recipes.classic import classes_told, image_recipe, seen_shape
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.rules import (
    DTYPES,
    Dtype,
    Rules,
    discriminator_couples_batch,
    discriminator_options,
    generator_options,
)
from jaxgan.training.recipe import Recipe

RULES = Rules(
    loss="hinge",
    spectral_norm="discriminator",
    generator_normalization="batch",
    generator_learning_rate=1e-3,
    discriminator_learning_rate=1e-3,
    learning_rate_decay="linear",
    beta1=0.0,
    beta2=0.9,
    ema_decay=0.995,
)


def need_batch_norm(rules: Rules) -> None:
    """Refuses rules with another normalization of the generator than the one that can be told the class."""
    if rules.generator_normalization != "batch":
        raise RequestError(
            "what is told the class here is batch normalization: leave --generator-normalization at batch, "
            f"got {rules.generator_normalization}"
        )


@dataclass(frozen=True)
class Config:
    latent: int = 64
    """Dimensions of the latent."""
    generator_width: int = 32
    """Channels of the generator's blocks."""
    discriminator_width: int = 32
    """Channels of the discriminator's blocks."""
    conditional: Literal["auto", "yes", "no"] = "auto"
    """Tell both nets the class; auto where the data have labels."""
    class_norm: bool = False
    """Tell the generator the class by its batch normalization, not beside the latent."""
    attention_depth: int = 0
    """Both nets attend where the image is halved so many times, 0 for not at all."""
    flip: bool = False
    """Mirror half of the images (not for digits)."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "latent", "generator_width", "discriminator_width")
        at_least(self, 0, "attention_depth")
        if self.class_norm:
            need_batch_norm(self.rules)


PRESETS = {
    "cpu": Preset(Config(), Options(steps=3000, batch=64, data="digits", evaluate_every=1000)),
    "paper": Preset(
        Config(
            latent=128,
            conditional="no",
            generator_width=256,
            discriminator_width=128,
            flip=True,
            rules=Rules(
                loss="hinge",
                spectral_norm="discriminator",
                generator_normalization="batch",
                discriminator_steps=5,
                generator_learning_rate=2e-4,
                discriminator_learning_rate=2e-4,
                learning_rate_decay="linear",
                beta1=0.0,
                beta2=0.9,
            ),
        ),
        Options(steps=500_000, batch=64, data="cifar10", sample_every=5000, save_every=10_000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    images, rules = need_images(data), config.rules
    num_classes = classes_told(config.conditional, images)
    dtype, label = DTYPES[config.dtype], ((),) if num_classes else ()
    prior, attention = normal_prior(config.latent), attended_height(images.size, config.attention_depth)
    generator = resnet.Generator(
        images.size,
        config.generator_width,
        num_classes=num_classes,
        class_norm=config.class_norm and num_classes > 0,
        attention=attention,
        dtype=dtype,
        **generator_options(rules, prior),
    )
    seen = seen_shape(images.size, rules)
    discriminator = resnet.Discriminator(
        seen,
        config.discriminator_width,
        num_classes=num_classes,
        attention=attention,
        dtype=dtype,
        **discriminator_options(rules),
    )
    return image_recipe(
        rules,
        adapt(generator, (config.latent,), *label, couples_batch=rules.generator_normalization == "batch"),
        adapt(discriminator, seen, *label, couples_batch=discriminator_couples_batch(rules)),
        prior,
        options,
        images,
        num_classes,
        config.flip,
    )


def attended_height(size: tuple[int, int, int], depth: int) -> int:
    """The height in pixels at which nets attend; RequestError where they have no pictures of it."""
    if not depth:
        return 0
    # D halves as long as 7 pixels are left, and once at least
    deepest = max(1, resnet.halvings(*size[:2], 7))
    if depth > deepest:
        raise RequestError(
            f"--attention-depth is at most {deepest} for images of {size[0]}x{size[1]}, which the discriminator "
            f"halves no further, got {depth}"
        )
    return size[0] // 2**depth
