"""jaxgan: generative adversarial networks in JAX and Flax.

    run = jaxgan.train("ring", steps=5000)      # or jaxgan.load("runs/00000-ring-ring-seed0")
    points = run.sample(1000)

Importing this is light; JAX is imported by what is used.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load", "train"]


def __getattr__(name: str) -> Any:
    if name in ("load", "train"):
        from jaxgan import run

        return getattr(run, name)
    raise AttributeError(f"module 'jaxgan' has no attribute {name!r}")
