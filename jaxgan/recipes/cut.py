"""CUT: pictures of one domain as those of another, one way only, without a translator for the way back.

Park, Efros, Zhang, Zhu, "Contrastive Learning for Unpaired Image-to-Image Translation", 2020, arXiv 2007.15651:
one generator and one discriminator, least squares; what the generator's encoder sees at a place of the
output is to tell that place of the input from others, by a contrastive loss. Half the nets of CycleGAN.

    jaxgan train cut                                           edges -> digits that are never shown as pairs
    jaxgan train cut --data cifar10:horse+cifar10:deer         two classes
    jaxgan train cut --preset paper --data cycle_gan/horse2zebra     256x256: an accelerator
    jaxgan translate RUN horse.jpg

--identity-weight 0 and --contrast-weight 10 are the paper's FastCUT, but for its mirrored inputs. Expected, beside
CycleGAN's, by experiments/translation.py: sneakers from edges after 800 steps (2.5 minutes a seed), Frechet distance
0.09 (3.2 before, 0.33 without the contrast); on 8x8 digits good digits, and wrong ones. Nets have no low-pass filters
where they halve and double, and `paper`'s step sizes fall from the start, not from the middle: there we differ.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from jaxgan.config import Options, Preset, at_least
from jaxgan.data.pairs import domain_batches
from jaxgan.game import Net
from jaxgan.games.translation import patch_contrast
from jaxgan.nets.adapt import adapt
from jaxgan.nets.patch import PatchDiscriminator, patch_layers
from jaxgan.nets.translation import PatchSampleMLP, ResNetTranslator
from jaxgan.recipes.classic import Heads, classic_game
from jaxgan.recipes.compatibility import check_layers
from jaxgan.recipes.cyclegan import RULES
from jaxgan.recipes.dataset import Data, need_domains
from jaxgan.recipes.rules import DTYPES, Dtype, Rules, numbers
from jaxgan.recipes.translating import (
    NORMALIZATIONS,
    Normalization,
    Task,
    checked_size,
    domain_evaluation,
    domain_picture,
    translate_with,
    translation_recipe,
)
from jaxgan.training.recipe import Recipe, Translation


@dataclass(frozen=True)
class Config:
    task: Task = "canny"
    """For sets of single pictures: domain a is what it makes of one half of them, domain b the other half."""
    contrast_weight: float = 1.0
    """Weight of the contrast between places of a's pictures and of what is made of them."""
    identity_weight: float = 1.0
    """Weight of the same for b's pictures, which the generator should leave alone."""
    positions: int = 64
    """Places of each map that are compared."""
    temperature: float = 0.07
    """Of the contrast: smaller is stricter."""
    contrast_width: int = 64
    """Features by which places are compared."""
    generator_width: int = 16
    """Channels of the generator at the full resolution; they double with each halving."""
    discriminator_width: int = 32
    """Channels of D at half the resolution, likewise."""
    blocks: int = 3
    """Residual blocks of the generator."""
    halvings: int = 1
    """How often the generator halves its pictures."""
    patch_layers: int = 0
    """Halvings of D, 3 for patches of 70 pixels; 0 for what suits the pictures."""
    normalization: Normalization = "instance"
    """Of both nets: of each picture alone, or of a batch."""
    jitter: int = 0
    """Pixels by which a picture is shifted at random, at most."""
    flip: bool = False
    """Mirror half of the pictures."""
    dtype: Dtype = "float32"
    """Precision inside the nets; parameters, logits and losses are float32."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "generator_width", "discriminator_width", "blocks", "contrast_width")
        at_least(self, 2, "positions")
        at_least(self, 1e-3, "temperature")
        at_least(self, 0, "contrast_weight", "identity_weight", "halvings", "patch_layers", "jitter")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=2000, batch=16, data="digits", evaluate_every=500)),
    "paper": Preset(
        Config(
            positions=256,
            contrast_width=256,
            generator_width=64,
            discriminator_width=64,
            blocks=9,
            halvings=2,
            patch_layers=3,
            jitter=30,
            flip=True,
            rules=replace(RULES, generator_learning_rate=2e-4, discriminator_learning_rate=2e-4),
        ),
        Options(steps=534_000, batch=1, data="cycle_gan/horse2zebra", size=256, sample_every=10_000, save_every=20_000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    domains, rules = need_domains(data, config.task), config.rules
    size, dtype = domains.size, DTYPES[config.dtype]
    checked_size(size, "cut")
    check_layers(rules, "cut", possible=("spectral_norm",))
    normalization, couples = NORMALIZATIONS[config.normalization], config.normalization == "batch"
    generator = adapt(
        ResNetTranslator(size[2], config.generator_width, config.blocks, config.halvings, normalization, dtype=dtype),
        size,
        couples_batch=couples,
    )
    discriminator = adapt(
        PatchDiscriminator(
            config.discriminator_width,
            config.patch_layers or patch_layers(*size[:2]),
            normalization,
            rules.spectral_norm == "discriminator",
            dtype,
        ),
        size,
        couples_batch=couples,
    )
    samples = [(min(config.positions, h * w), c) for h, w, c in map_shapes(generator, size)]
    terms = [
        patch_contrast(weight, "contrast", config.positions, config.temperature, of)
        for weight, of in (("contrast_weight", "given"), ("identity_weight", "example"))
        if getattr(config, weight)
    ]
    hyper = {"contrast_weight": config.contrast_weight, "identity_weight": config.identity_weight}
    game = classic_game(
        rules,
        generator,
        discriminator,
        None,
        options,
        size,
        observation="b",
        given=lambda key, batch: (batch["a"],),
        heads=Heads(
            generator_nets={"contrast": adapt(PatchSampleMLP(config.contrast_width, dtype), *samples)} if terms else {},
            generator_terms=tuple(terms),
            hyper=hyper,
        ),
    )
    source = domain_batches(domains, options.batch, options.seed, config.flip, config.jitter)
    translate = translate_with(generator)
    return translation_recipe(
        game,
        options,
        source,
        {**numbers(rules), **hyper},
        {"b": Translation(translate, size[2])},
        domain_picture(domains, translate),
        domain_evaluation(domains, options, translate),
        [domains.a.image, domains.b.image],
    )


def map_shapes(net: Net, size: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """(h, w, c) of the maps that a net shows of pictures of this size, without computing them."""
    features = net.features
    assert features is not None
    key = jax.random.key(0)
    maps = jax.eval_shape(lambda: features(net.init(key), jnp.zeros((2, *size)), key=key)[0][1])
    return [(x.shape[1], x.shape[2], x.shape[3]) for x in maps]
