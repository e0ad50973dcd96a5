"""StarGAN: one generator that brings a picture into any of many domains, which are the classes of the data.

Choi, Choi, Kim, Ha, Kim, Choo, "StarGAN: Unified Generative Adversarial Networks for Multi-Domain
Image-to-Image Translation", 2018, arXiv 1711.09020: the generator is told the wanted domain beside the
picture; D, a Wasserstein critic of patches, must also say which domain it sees; and what was brought into another
domain is to come back from there when the generator is told the first one.

    jaxgan train stargan                                             every digit as every other
    jaxgan train stargan --data folder:PATH --size 64                subfolders are the domains
    jaxgan train stargan --preset paper --data folder:celeba         128x128: an accelerator
    jaxgan translate RUN picture.png --to 7                          by the name of the class

The generator's first layer is not normalized, unlike the paper's: normalization of each picture takes a constant
away, which the domain beside the picture is, and leaves of it what comes in at the border. Expected, by
experiments/translation.py: 90 per cent of test digits taken for the class they were brought into, 64 for the hardest;
what comes back is 0.08 off (0.18 without that term); slants come out the other way. Attributes that a picture has
several of at once are not built: a class is one domain.
"""

from dataclasses import dataclass
from functools import partial

import jax

from jaxgan.arrays import Array, Batch, Key
from jaxgan.config import Options, Preset, RequestError, at_least
from jaxgan.data.images import batches
from jaxgan.games.terms import auxiliary_classification
from jaxgan.games.translation import back, reproduction
from jaxgan.nets import heads
from jaxgan.nets.adapt import adapt, num_features
from jaxgan.nets.layers import InstanceNorm
from jaxgan.nets.padding import zero_pad
from jaxgan.nets.translation import ResNetTranslator
from jaxgan.recipes.classic import Heads, classic_game
from jaxgan.recipes.dataset import Data, need_images
from jaxgan.recipes.judging_translations import class_evaluation, class_picture
from jaxgan.recipes.rules import DTYPES, Dtype, Rules, numbers
from jaxgan.recipes.translating import check_pictures, patch_judge, translate_with, translation_recipe
from jaxgan.training.recipe import Recipe, Translation

RULES = Rules(
    loss="wasserstein",
    gradient_penalty_weight=10.0,
    discriminator_steps=2,
    generator_learning_rate=1e-3,
    discriminator_learning_rate=1e-3,
    learning_rate_decay="linear",
    beta1=0.5,
    beta2=0.999,
)


@dataclass(frozen=True)
class Config:
    classification_weight: float = 1.0
    """Weight of the domain's cross entropy: of real pictures in D's loss, of fakes in the generator's."""
    cycle_weight: float = 10.0
    """Weight of the mean absolute difference between a picture and what comes back of it."""
    generator_width: int = 16
    """Channels of the generator at the full resolution; they double with each halving."""
    discriminator_width: int = 32
    """Channels of D at half the resolution, likewise."""
    blocks: int = 3
    """Residual blocks of the generator."""
    halvings: int = 1
    """How often the generator halves its pictures."""
    patch_layers: int = 0
    """Halvings of D; 0 for what suits the pictures."""
    flip: bool = False
    """Mirror half of the pictures (not for digits)."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "generator_width", "discriminator_width", "blocks")
        at_least(self, 0, "classification_weight", "cycle_weight", "halvings", "patch_layers")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=3000, batch=32, data="digits", evaluate_every=1000)),
    "paper": Preset(
        Config(
            generator_width=64,
            discriminator_width=64,
            blocks=6,
            halvings=2,
            patch_layers=6,
            flip=True,
            rules=Rules(
                loss="wasserstein",
                gradient_penalty_weight=10.0,
                discriminator_steps=5,
                generator_learning_rate=1e-4,
                discriminator_learning_rate=1e-4,
                learning_rate_decay="linear",
                beta1=0.5,
                beta2=0.999,
            ),
        ),
        Options(steps=200_000, batch=16, data="folder:celeba", size=128, sample_every=5000, save_every=10_000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    images, rules, dtype = need_images(data), config.rules, DTYPES[config.dtype]
    check_pictures(rules, images.size, "stargan")
    if images.num_classes < 2:
        raise RequestError(f"stargan translates between classes, and {images.name} has {images.num_classes}")
    generator = adapt(
        ResNetTranslator(
            images.size[2],
            config.generator_width,
            config.blocks,
            config.halvings,
            partial(InstanceNorm, affine=True),
            images.num_classes,
            zero_pad,
            kernel=4,
            first_normalized=False,
            dtype=dtype,
        ),
        images.size,
        (images.num_classes,),
    )
    discriminator = patch_judge(rules, images.size, config.discriminator_width, config.patch_layers, config.dtype)
    classifier = adapt(heads.Linear(images.num_classes, dtype=dtype), (num_features(discriminator, images.size),))
    told, asked = "classification_weight", lambda r: r.given[1]
    hyper = {told: config.classification_weight, "cycle_weight": config.cycle_weight}
    game = classic_game(
        rules,
        generator,
        discriminator,
        None,
        options,
        images.size,
        num_classes=images.num_classes,
        given=partial(picture_and_domain, images.num_classes),
        tell_discriminator=False,
        heads=Heads(
            {"classifier": classifier},
            discriminator_terms=(auxiliary_classification(told, "classifier", of=("real",)),),
            generator_terms=(
                auxiliary_classification(told, "classifier", of=("fake",), wanted=asked),
                reproduction("cycle_weight", back),
            ),
            hyper=hyper,
        ),
    )
    source = batches(images, options.batch, options.seed, config.flip)
    ways = {name: translate_with(generator, domain=k) for k, name in enumerate(images.classes)}
    return translation_recipe(
        game,
        options,
        source,
        {**numbers(rules), **hyper},
        {name: Translation(way, images.size[2]) for name, way in ways.items()},
        class_picture(images, ways),
        class_evaluation(images, options, ways),
        [images.image],
        best=("accuracy", -1),
    )


def picture_and_domain(num_classes: int, key: Key, batch: Batch) -> tuple[Array, Array]:
    """A batch's pictures, and for each a domain to bring it into, its own among them."""
    return batch["image"], jax.random.randint(key, batch["label"].shape, 0, num_classes)
