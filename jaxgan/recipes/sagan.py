"""SAGAN: residual nets with self-attention, spectral normalization in both, and a step size for each.

Zhang, Goodfellow, Metaxas, Odena, "Self-Attention Generative Adversarial Networks", 2019, arXiv 1805.08318:
at one resolution both nets let every position look at all others (Eqs. 1 to 3); spectral normalization of
both nets; D learns four times as fast as G, which moves as often (the two time-scale rule of Heusel et al.
2017, arXiv 1706.08500); hinge loss; G's batch normalization is told the class, and D's logit (`projection`).

    jaxgan train sagan                     real 8x8 digits
    jaxgan train sagan --preset paper      CIFAR-10: an accelerator
    jaxgan train sagan --attention-depth 0           the same without attention

The paper's images are ImageNet's at 128 pixels, with attention at 32. `paper` has its numbers, and the nets of
`sngan` for 32 pixels. Expected of the defaults, seed 0, in two and a half minutes on one CPU core: over 97 per
cent of the samples recognised by the data set's classifier, and 99 as the class that was asked for. Nothing at 8
pixels is far from anything else: the defaults show that attention trains, not what it is good for.
"""

from dataclasses import dataclass
from typing import Literal

from jaxgan.config import Options, Preset, RequestError, at_least
from jaxgan.latent import normal_prior
from jaxgan.nets import resnet
from jaxgan.nets.adapt import adapt
from jaxgan.recipes.classic import classes_told, image_recipe, seen_shape
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.projection import need_batch_norm
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
    spectral_norm="both",
    generator_normalization="batch",
    generator_learning_rate=5e-4,
    discriminator_learning_rate=2e-3,
    learning_rate_decay="linear",
    beta1=0.0,
    beta2=0.9,
    ema_decay=0.995,
)


@dataclass(frozen=True)
class Config:
    latent: int = 64
    """Dimensions of the latent."""
    generator_width: int = 32
    """Channels of the generator's blocks."""
    discriminator_width: int = 32
    """Channels of the discriminator's blocks."""
    attention_depth: int = 1
    """Both nets attend where the image is halved so many times, 0 for not at all."""
    conditional: Literal["auto", "yes", "no"] = "auto"
    """Tell both nets the class; auto where the data have labels."""
    flip: bool = False
    """Mirror half of the images (not for digits)."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "latent", "generator_width", "discriminator_width")
        at_least(self, 0, "attention_depth")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=2500, batch=64, data="digits", evaluate_every=500)),
    "paper": Preset(
        Config(
            latent=128,
            generator_width=256,
            discriminator_width=128,
            flip=True,
            rules=Rules(
                loss="hinge",
                spectral_norm="both",
                generator_normalization="batch",
                generator_learning_rate=1e-4,
                discriminator_learning_rate=4e-4,
                beta1=0.0,
                beta2=0.9,
            ),
        ),
        Options(steps=1_000_000, batch=256, data="cifar10", sample_every=10_000, save_every=10_000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    images, rules = need_images(data), config.rules
    num_classes = classes_told(config.conditional, images)
    if num_classes:
        need_batch_norm(rules)
    dtype, label = DTYPES[config.dtype], ((),) if num_classes else ()
    prior = normal_prior(config.latent)
    attention = attended_height(images.size, config.attention_depth)
    generator = resnet.Generator(
        images.size,
        config.generator_width,
        num_classes=num_classes,
        class_norm=num_classes > 0,
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
