"""The index of ready systems. Light: a recipe's module, and JAX with it, is imported when it is used.

Each module has a `Config` dataclass, `PRESETS` by name ("cpu" is the default), and
``make(config, options, data) -> Recipe``.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType

from jaxgan.config import RequestError


@dataclass(frozen=True)
class Entry:
    """What `jaxgan list` says of a recipe; `time` is that of its defaults on two CPU cores."""

    name: str
    system: str
    paper: str
    data: str
    time: str


INDEX = {
    entry.name: entry
    for entry in (
        Entry(
            "gan",
            "the GAN of 2014: MLPs, maxout, dropout",
            "Goodfellow et al. 2014, arXiv 1406.2661",
            "digits",
            "2 min",
        ),
        Entry(
            "dcgan",
            "deep convolutional GAN, class-conditional",
            "Radford et al. 2016, arXiv 1511.06434",
            "digits",
            "1 min",
        ),
        Entry(
            "cgan",
            "D judges the pair of image and class",
            "Mirza and Osindero 2014, arXiv 1411.1784",
            "digits",
            "1 min",
        ),
        Entry(
            "acgan",
            "D must also say which class it sees",
            "Odena et al. 2017, arXiv 1610.09585",
            "digits",
            "1 min",
        ),
        Entry(
            "infogan",
            "codes in the latent that come to mean something",
            "Chen et al. 2016, arXiv 1606.03657",
            "digits",
            "2 min",
        ),
        Entry(
            "lsgan",
            "least squares",
            "Mao et al. 2017, arXiv 1611.04076",
            "digits",
            "1 min",
        ),
        Entry(
            "wgan",
            "Wasserstein, clipped weights",
            "Arjovsky et al. 2017, arXiv 1701.07875",
            "digits",
            "2 min",
        ),
        Entry(
            "wgan_gp",
            "Wasserstein, gradient penalty",
            "Gulrajani et al. 2017, arXiv 1704.00028",
            "digits",
            "2 min",
        ),
        Entry(
            "sngan", "residual nets, spectral norm, hinge", "Miyato et al. 2018, arXiv 1802.05957", "digits", "3 min"
        ),
        Entry(
            "projection",
            "class in G's normalization and D's logit",
            "Miyato and Koyama 2018, arXiv 1802.05637",
            "digits",
            "3 min",
        ),
        Entry(
            "sagan",
            "self-attention, spectral norm in both nets",
            "Zhang et al. 2019, arXiv 1805.08318",
            "digits",
            "3 min",
        ),
        Entry(
            "biggan",
            "class and latent told to every block, truncation",
            "Brock et al. 2019, arXiv 1809.11096",
            "digits",
            "3 min",
        ),
        Entry(
            "progan",
            "growing resolution, fading in",
            "Karras et al. 2018, arXiv 1710.10196",
            "digits",
            "4 min",
        ),
        Entry(
            "stylegan2",
            "styles, path length, adaptive augmentation",
            "Karras et al. 2020, arXiv 1912.04958",
            "digits",
            "4 min",
        ),
        Entry(
            "r3gan",
            "relativistic pairs, R1 and R2, grouped residual nets",
            "Huang et al. 2024, arXiv 2501.05441",
            "digits",
            "5 min",
        ),
        Entry(
            "ring",
            "MLP GAN on a mixture of Gaussians",
            "Lin et al. 2018, arXiv 1712.04086",
            "ring",
            "1 min",
        ),
        Entry(
            "semi_supervised",
            "classifier of few labels: K + 1 classes, feature matching",
            "Salimans et al. 2016, arXiv 1606.03498",
            "digits",
            "1 min",
        ),
        Entry(
            "stacked_mnist",
            "DCGAN on 1,000 modes: three digits as colours",
            "Lin et al. 2018, arXiv 1712.04086",
            "digits",
            "2 min",
        ),
        Entry(
            "pix2pix",
            "a picture from another of the same thing",
            "Isola et al. 2017, arXiv 1611.07004",
            "digits",
            "2 min",
        ),
        Entry(
            "cyclegan",
            "one domain as another, both ways, without pairs",
            "Zhu et al. 2017, arXiv 1703.10593",
            "digits",
            "3 min",
        ),
        Entry(
            "cut",
            "one domain as another, one way, by contrast",
            "Park et al. 2020, arXiv 2007.15651",
            "digits",
            "2 min",
        ),
        Entry(
            "style_transfer",
            "one photograph in the style of another picture or set",
            "Park et al. 2020, arXiv 2007.15651",
            "china+flower",
            "5 min",
        ),
        Entry(
            "stargan",
            "a picture into any of many domains",
            "Choi et al. 2018, arXiv 1711.09020",
            "digits",
            "3 min",
        ),
        Entry(
            "srgan",
            "a larger picture from a small one",
            "Ledig et al. 2017, arXiv 1609.04802",
            "digits",
            "2 min",
        ),
        Entry(
            "classifier",
            "judge of samples and feature net",
            "LeCun et al. 1998",
            "digits",
            "15 s",
        ),
    )
}


def find(name: str) -> ModuleType:
    """The module of a recipe."""
    if name not in INDEX:
        raise RequestError(f"no recipe is called {name!r}; there are {', '.join(INDEX)} (see jaxgan list)")
    return importlib.import_module(f"jaxgan.recipes.{name}")
