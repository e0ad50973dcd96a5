"""WGAN: a critic with clipped weights that estimates the earth mover's distance.

Arjovsky, Chintala, Bottou, "Wasserstein GAN", 2017, arXiv 1701.07875, Algorithm 1: five critic steps
for each generator step, RMSprop, weights clipped to 0.01, no momentum.

    jaxgan train wgan                     real 8x8 digits
    jaxgan train wgan --preset paper      the paper's numbers: an accelerator

Weight clipping makes the critic Lipschitz and also simple: it is slow, and here to be compared with
`wgan_gp`. Preset `cpu` clips at 0.02, averages the generator's weights, and tells both nets the class.
Expected of it, seed 0, in one to two minutes on two CPU cores: some 93 per cent of the samples recognised by
the data set's classifier, 96 as the class that was asked for.
"""

from jaxgan.config import Options, Preset
from jaxgan.recipes.dcgan import Config, make
from jaxgan.recipes.rules import Rules

__all__ = ["PRESETS", "Config", "make"]

PRESETS = {
    "cpu": Preset(
        Config(
            rules=Rules(
                loss="wasserstein",
                weight_clip=0.02,
                generator_normalization="batch",
                discriminator_normalization="layer",
                discriminator_steps=5,
                optimizer="rmsprop",
                generator_learning_rate=1e-3,
                discriminator_learning_rate=5e-4,
                learning_rate_decay="cosine",
                beta2=0.9,
                ema_decay=0.99,
            )
        ),
        Options(steps=10_000, batch=64, data="digits", evaluate_every=2500),
    ),
    "paper": Preset(
        Config(
            latent=100,
            conditional="no",
            generator_width=64,
            discriminator_width=64,
            rules=Rules(
                loss="wasserstein",
                weight_clip=0.01,
                generator_normalization="batch",
                discriminator_normalization="batch",
                discriminator_steps=5,
                optimizer="rmsprop",
                generator_learning_rate=5e-5,
                discriminator_learning_rate=5e-5,
                beta2=0.99,
            ),
        ),
        Options(steps=250_000, batch=64, data="cifar10", sample_every=2500, save_every=5000),
    ),
}
