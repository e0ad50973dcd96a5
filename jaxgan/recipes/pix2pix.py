"""pix2pix: a picture from another of the same thing, such as a shoe from its outline.

Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", 2017, arXiv
1611.07004: a U-Net makes the picture, a discriminator judges patches of it beside its source, and the generator
is held to the right answer by the mean absolute difference, with dropout for its noise.

    jaxgan train pix2pix                                           digits from their edges, two minutes on two CPU cores
    jaxgan train pix2pix --data fashion_mnist:Sneaker              shoes from their outlines
    jaxgan train pix2pix --task grey --data cifar10                colours for grey pictures
    jaxgan train pix2pix --preset paper --data pairs:facades       pictures that hold A|B: an accelerator
    jaxgan translate RUN sketch.png                                what was trained, on pictures of any size

--l1-weight 0 leaves the adversarial loss alone, --adversarial-weight 0 the difference. Expected, by
experiments/translation.py: on test digits, sharpness 0.99 of the right answers' and a Frechet distance of 8 (L1 alone
0.88 and 15, the game alone 1.00 and 12); on sneakers after 800 steps 0.86 (0.50, 0.93), six minutes for three seeds.
Preset `cpu` is narrow and takes 16 pictures a step; `paper` has the paper's nets for 256x256, one picture a step
(whose batch normalization is that of instances) and the length of its facades: 200 epochs of 400.
"""

from dataclasses import dataclass

from jaxgan.config import Options, Preset, at_least, fraction
from jaxgan.data.batches import pair_batches
from jaxgan.games.translation import closeness
from jaxgan.nets.adapt import adapt
from jaxgan.nets.translation import UNet, unet_depth
from jaxgan.recipes.classic import Heads, classic_game
from jaxgan.recipes.dataset import Data, need_pairs
from jaxgan.recipes.judging_translations import pair_evaluation, pair_picture
from jaxgan.recipes.rules import DTYPES, Dtype, Rules, numbers
from jaxgan.recipes.translating import (
    NORMALIZATIONS,
    Normalization,
    Task,
    check_pictures,
    patch_judge,
    translate_with,
    translation_recipe,
)
from jaxgan.training.recipe import Recipe, Translation

RULES = Rules(
    generator_learning_rate=1e-3,
    discriminator_learning_rate=1e-3,
    learning_rate_decay="linear",
    beta1=0.5,
    beta2=0.999,
)


@dataclass(frozen=True)
class Config:
    task: Task = "canny"
    """What makes a picture's source, for sets of single pictures; pairs:PATH has sources of its own."""
    l1_weight: float = 100.0
    """Weight of the mean absolute difference to the right answer, in the generator's loss."""
    generator_width: int = 32
    """Channels of the U-Net at half the resolution; they double up to eight times as many."""
    discriminator_width: int = 32
    """Channels of the discriminator at half the resolution, likewise."""
    depth: int = 0
    """Halvings of the U-Net, 0 for down to one or two pixels."""
    patch_layers: int = 0
    """Halvings of the discriminator, 3 for patches of 70 pixels; 0 for what suits the pictures."""
    dropout: float = 0.5
    """Share of the U-Net's inner activations that are dropped, in training and in use: its noise."""
    normalization: Normalization = "instance"
    """Of both nets: of each picture alone, or of a batch."""
    jitter: int = 0
    """Pixels by which a pair is shifted at random, at most."""
    flip: bool = False
    """Mirror half of the pairs."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "generator_width", "discriminator_width")
        at_least(self, 0, "l1_weight", "depth", "patch_layers", "jitter")
        fraction(self, "dropout")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=1500, batch=16, data="digits", evaluate_every=500)),
    "paper": Preset(
        Config(
            generator_width=64,
            discriminator_width=64,
            patch_layers=3,
            jitter=30,
            flip=True,
            rules=Rules(generator_learning_rate=2e-4, discriminator_learning_rate=2e-4, beta1=0.5, beta2=0.999),
        ),
        Options(steps=80_000, batch=1, data="pairs:facades", size=256, sample_every=4000, save_every=8000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    pairs, rules = need_pairs(data, config.task), config.rules
    check_pictures(rules, pairs.target_size, "pix2pix")
    (height, width, channels), dtype = pairs.target_size, DTYPES[config.dtype]
    normalization, couples = NORMALIZATIONS[config.normalization], config.normalization == "batch"
    generator = adapt(
        UNet(
            channels,
            config.depth or unet_depth(height, width),
            config.generator_width,
            config.dropout,
            normalization,
            dtype=dtype,
        ),
        pairs.source_size,
        couples_batch=couples,
    )
    discriminator = patch_judge(
        rules,
        pairs.target_size,
        config.discriminator_width,
        config.patch_layers,
        config.dtype,
        config.normalization,
        pairs.source_size,
    )
    game = classic_game(
        rules,
        generator,
        discriminator,
        None,
        options,
        pairs.target_size,
        observation="target",
        condition="source",
        given=lambda key, batch: (batch["source"],),
        heads=Heads(
            generator_terms=(closeness("l1_weight"),) if config.l1_weight else (),
            hyper={"l1_weight": config.l1_weight},
        ),
    )
    source = pair_batches(pairs, options.batch, options.seed, config.flip, config.jitter)
    translate = translate_with(generator, noise=config.dropout > 0)
    return translation_recipe(
        game,
        options,
        source,
        {**numbers(rules), "l1_weight": config.l1_weight},
        {"target": Translation(translate, pairs.source_size[2])},
        pair_picture(pairs, translate),
        pair_evaluation(pairs, options, translate),
        [pairs.target],
    )
