"""SRGAN: a larger picture from a small one, with details that a discriminator takes for real.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", 2017, arXiv
1609.04802: a residual net with pixel shuffling, held to the right answer by its features in a fixed
net, and to what pictures look like by a small share of the adversarial loss. The mean of all
right answers, which pixels alone ask for, is blurred.

    jaxgan train srgan                                        4x4 digits to 8x8
    jaxgan train srgan --data fashion_mnist                   7x7 clothes to 28x28
    jaxgan train srgan --preset paper --data folder:PATH --size 96     24x24 crops to 96x96: an accelerator
    jaxgan translate RUN small.png                            a picture of any size, larger

Features are those of the data set's own classifier, or random convolutions where it has no labels (`--features`); the
paper's are VGG's. D judges patches, not whole pictures. Expected, by experiments/translation.py: on test digits PSNR
20.0 and sharpness 0.97, where pixels alone (--adversarial-weight 0 --content-weight 0) have 20.4 and 0.85, and twice
the Frechet distance; on clothes, 28x28 from 7x7 after 800 steps, 18.7 and 0.57, alone 19.6 and 0.24 and four times the
distance, and 85 per cent taken for what they are, alone 80.
"""

from dataclasses import dataclass

from jaxgan.config import Options, Preset, RequestError, at_least
from jaxgan.data.batches import pair_batches
from jaxgan.games.translation import content
from jaxgan.nets.adapt import adapt
from jaxgan.nets.layers import BatchNorm
from jaxgan.nets.translation import SuperResolver
from jaxgan.recipes.classic import Heads, classic_game
from jaxgan.recipes.dataset import Data, need_pairs
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.judging_translations import pair_evaluation, pair_picture, targets
from jaxgan.recipes.rules import DTYPES, Dtype, Rules, numbers
from jaxgan.recipes.translating import check_pictures, patch_judge, translate_with, translation_recipe
from jaxgan.training.recipe import Recipe, Translation

RULES = Rules(
    adversarial_weight=0.01,
    generator_learning_rate=1e-3,
    discriminator_learning_rate=1e-3,
    learning_rate_decay="linear",
    beta1=0.9,
    beta2=0.999,
)


@dataclass(frozen=True)
class Config:
    pixel_weight: float = 1.0
    """Weight of the mean squared difference of pixels."""
    content_weight: float = 0.1
    """Weight of the mean squared difference of features."""
    generator_width: int = 32
    """Channels of the generator."""
    discriminator_width: int = 32
    """Channels of D at half the resolution; they double up to eight times as many."""
    blocks: int = 4
    """Residual blocks of the generator."""
    batch_normalization: bool = False
    """In the generator's blocks, as published; later work leaves it out."""
    patch_layers: int = 0
    """Halvings of D; 0 for what suits the pictures."""
    flip: bool = False
    """Mirror half of the pictures."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "generator_width", "discriminator_width", "blocks")
        at_least(self, 0, "pixel_weight", "content_weight", "patch_layers")
        if not (self.pixel_weight or self.content_weight or self.rules.adversarial_weight):
            raise RequestError("the generator has nothing to learn from: give --pixel-weight or another one a value")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=1500, batch=32, data="digits", evaluate_every=500)),
    "paper": Preset(
        Config(
            pixel_weight=0.0,
            content_weight=1.0,
            generator_width=64,
            discriminator_width=64,
            blocks=16,
            batch_normalization=True,
            patch_layers=3,
            flip=True,
            rules=Rules(
                adversarial_weight=1e-3,
                generator_learning_rate=1e-4,
                discriminator_learning_rate=1e-4,
                beta1=0.9,
                beta2=0.999,
            ),
        ),
        Options(steps=200_000, batch=16, data="folder:imagenet", size=96, sample_every=5000, save_every=10_000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    pairs, rules, dtype = need_pairs(data, "low_resolution"), config.rules, DTYPES[config.dtype]
    check_pictures(rules, pairs.target_size, "srgan")
    if pairs.factor & (pairs.factor - 1) or pairs.factor < 2:
        raise RequestError(f"srgan enlarges by a power of 2, and {pairs.name} asks for {pairs.factor} times")
    if pairs.source_size[2] != pairs.target_size[2]:
        raise RequestError(f"srgan keeps the colours, and {pairs.name} has other channels in its targets")
    generator = adapt(
        SuperResolver(
            pairs.target_size[2],
            config.generator_width,
            config.blocks,
            pairs.factor,
            BatchNorm if config.batch_normalization else None,
            dtype=dtype,
        ),
        pairs.source_size,
        couples_batch=config.batch_normalization,
    )
    discriminator = patch_judge(rules, pairs.target_size, config.discriminator_width, config.patch_layers, config.dtype)
    hyper = {"pixel_weight": config.pixel_weight, "content_weight": config.content_weight}
    terms = [content("pixel_weight", lambda images: images)] if config.pixel_weight else []
    # a run that is loaded has no examples, and plays no more
    if config.content_weight and len(pairs.target):
        extract = feature_net(options.features, targets(pairs)).extract
        terms.append(content("content_weight", extract))
    game = classic_game(
        rules,
        generator,
        discriminator,
        None,
        options,
        pairs.target_size,
        observation="target",
        given=lambda key, batch: (batch["source"],),
        heads=Heads(generator_terms=tuple(terms), hyper=hyper),
    )
    translate = translate_with(generator)
    return translation_recipe(
        game,
        options,
        pair_batches(pairs, options.batch, options.seed, config.flip),
        {**numbers(rules), **hyper},
        {"larger": Translation(translate, pairs.source_size[2])},
        pair_picture(pairs, translate),
        pair_evaluation(pairs, options, translate),
        [pairs.target],
    )
