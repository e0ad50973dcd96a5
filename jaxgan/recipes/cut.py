"""CUT: pictures of one domain as those of another, one way only, without a translator for the way back.

Park, Efros, Zhang, Zhu, "Contrastive Learning for Unpaired Image-to-Image Translation", 2020, arXiv 2007.15651:
one generator and one discriminator, least squares; what the generator's encoder sees at a place of the
output is to tell that place of the input from others, by a contrastive loss. Half the nets of CycleGAN.

    jaxgan train cut                                           edges -> digits that are never shown as pairs
    jaxgan train cut --data cifar10:horse+cifar10:deer         two classes
    jaxgan train cut --preset paper --data cycle_gan/horse2zebra     256x256: an accelerator
    jaxgan translate RUN horse.jpg

--identity-weight 0 and --contrast-weight 10 are the paper's FastCUT, but for its mirrored inputs. Expected, beside
CycleGAN's, by experiments/translation.py: sneakers from edges after 800 steps (2.5 minutes a seed), Frechet distance,
on random convolutions, 0.09 (3.2 before, 0.33 without the contrast); on 8x8 digits good digits, and wrong ones. From
MNIST to digits, which fill their frame, the contrast does harm: 38 per cent are read as what they are, 67 without.
`paper` has the low-pass filters of the authors' code where nets halve and double.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from jaxgan.config import Options, Preset, at_least
from jaxgan.data.batches import domain_batches
from jaxgan.game import Net
from jaxgan.games.translation import patch_contrast
from jaxgan.nets.adapt import adapt
from jaxgan.nets.translation import PatchSampleMLP
from jaxgan.recipes.classic import Heads, classic_game
from jaxgan.recipes.cyclegan import RULES
from jaxgan.recipes.dataset import Data, need_domains
from jaxgan.recipes.judging_translations import domain_evaluation, domain_picture
from jaxgan.recipes.rules import DTYPES, Rules, numbers
from jaxgan.recipes.translating import (
    NETS,
    PUBLISHED,
    Task,
    Translators,
    check_pictures,
    domain_judge,
    translate_with,
    translation_recipe,
    translator,
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
    nets: Translators = NETS
    """Nets, and how pictures are shown to them."""
    rules: Rules = RULES
    """How the two play."""

    def __post_init__(self) -> None:
        at_least(self, 1, "contrast_width")
        at_least(self, 2, "positions")
        at_least(self, 1e-3, "temperature")
        at_least(self, 0, "contrast_weight", "identity_weight")


PRESETS = {
    "cpu": Preset(Config(), Options(steps=2000, batch=16, data="digits", evaluate_every=500)),
    "paper": Preset(
        Config(
            positions=256,
            contrast_width=256,
            nets=replace(PUBLISHED, antialias=True),
            rules=replace(
                RULES,
                generator_learning_rate=2e-4,
                discriminator_learning_rate=2e-4,
                learning_rate_decay="linear_from_half",
            ),
        ),
        Options(steps=534_000, batch=1, data="cycle_gan/horse2zebra", size=256, sample_every=10_000, save_every=20_000),
    ),
}


def make(config: Config, options: Options, data: Data) -> Recipe:
    domains, rules, nets = need_domains(data, config.task), config.rules, config.nets
    size = domains.size
    check_pictures(rules, size, "cut")
    generator = translator(nets, size)
    discriminator = domain_judge(nets, rules, size)
    samples = [(min(config.positions, h * w), c) for h, w, c in map_shapes(generator, size)]
    terms = [
        patch_contrast(weight, "contrast", config.positions, config.temperature, of)
        for weight, of in (("contrast_weight", "given"), ("identity_weight", "example"))
        if getattr(config, weight)
    ]
    hyper = {"contrast_weight": config.contrast_weight, "identity_weight": config.identity_weight}
    contrast = adapt(PatchSampleMLP(config.contrast_width, DTYPES[nets.dtype]), *samples)
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
            generator_nets={"contrast": contrast} if terms else {},
            generator_terms=tuple(terms),
            hyper=hyper,
        ),
    )
    source = domain_batches(domains, options.batch, options.seed, nets.flip, nets.jitter)
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
