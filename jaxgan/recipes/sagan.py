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

from dataclasses import replace

from jaxgan.config import Options, Preset
from jaxgan.recipes.rules import Rules
from jaxgan.recipes.sngan import RULES, Config, make

__all__ = ["PRESETS", "Config", "make"]

PRESETS = {
    "cpu": Preset(
        Config(
            class_norm=True,
            attention_depth=1,
            rules=replace(RULES, spectral_norm="both", generator_learning_rate=5e-4, discriminator_learning_rate=2e-3),
        ),
        Options(steps=2500, batch=64, data="digits", evaluate_every=500),
    ),
    "paper": Preset(
        Config(
            latent=128,
            generator_width=256,
            discriminator_width=128,
            class_norm=True,
            attention_depth=1,
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
