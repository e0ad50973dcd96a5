"""Conditional GAN: both nets are told the class, and D judges the pair of image and class.

Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv 1411.1784, Eq. 2: the
class is a further input of both nets. D sees it as constant maps beside the image, not as a
projection of its last features (that is `dcgan`, after Miyato and Koyama 2018).

    jaxgan train cgan                     real 8x8 digits
    jaxgan train cgan --data mnist        some ten minutes
    jaxgan sample RUN --class 3

The paper's nets are MLPs with maxout; these are convolutional. Preset `paper` has its batch, dropout, step size of 0.1
and momentum of 0.5 on them; there the step size falls by a factor of 1.00004 an update down to 1e-6 and the
momentum rises to 0.7, and here both stay as they are. It was not run. Expected of the defaults, seed 0, on two CPU
cores: on digits, in a minute, over 98 per cent of the samples recognised by the data set's
classifier, which no generator ever saw; on MNIST, 97.1 per cent of 2,000 samples are to it of the class that was
asked for (with training images of which some 0.05 per cent of the pixels were off by one level; one
seed, experiments/agreement.py).
"""

from jaxgan.config import Options, Preset
from jaxgan.recipes.dcgan import Config, make
from jaxgan.recipes.rules import Rules

__all__ = ["PRESETS", "Config", "make"]

PRESETS = {
    "cpu": Preset(
        Config(conditional="yes", conditioning="pair"),
        Options(steps=4000, batch=64, data="digits", evaluate_every=1000),
    ),
    "paper": Preset(
        Config(
            latent=100,
            conditional="yes",
            conditioning="pair",
            generator_width=64,
            discriminator_width=64,
            rules=Rules(
                generator_normalization="batch",
                generator_dropout=0.5,
                discriminator_dropout=0.5,
                optimizer="sgd",
                generator_learning_rate=0.1,
                discriminator_learning_rate=0.1,
                beta1=0.5,
            ),
        ),
        Options(steps=100_000, batch=100, data="mnist", sample_every=2500, save_every=5000),
    ),
}
