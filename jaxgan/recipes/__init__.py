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
            "dcgan",
            "deep convolutional GAN, class-conditional",
            "Radford et al. 2016, arXiv 1511.06434",
            "digits",
            "1 min",
        ),
        Entry("ring", "MLP GAN on a mixture of Gaussians", "Goodfellow et al. 2014, arXiv 1406.2661", "ring", "1 min"),
        Entry("classifier", "judge of samples and feature net", "LeCun et al. 1998", "digits", "15 s"),
    )
}


def find(name: str) -> ModuleType:
    """The module of a recipe."""
    if name not in INDEX:
        raise RequestError(f"no recipe is called {name!r}; there are {', '.join(INDEX)} (see jaxgan list)")
    return importlib.import_module(f"jaxgan.recipes.{name}")
