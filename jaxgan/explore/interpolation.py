"""The way from one latent to another, as pictures."""

from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import image_grid, to_uint8
from jaxgan.explore.space import space_of
from jaxgan.latent import lerp, slerp
from jaxgan.recipes import pictures
from jaxgan.recipes.folder import Run
from jaxgan.training.log import write_picture


def interpolate(
    run: Run,
    rows: int = 4,
    frames: int = 12,
    path: Literal["spherical", "linear"] = "spherical",
    seed: int = 0,
    class_: int | None = None,
    space: Literal["z", "w"] = "z",
) -> np.ndarray:
    """Outputs [rows, frames, ...] along a path between two latents each, both ends included.

    A conditional system keeps the class of a row: that of class_, or else the rows go through the classes in order.
    space: "w" is StyleGAN's, whose paths are straight lines whatever `path` says: styles lie on no sphere.
    """
    run.check_class(class_)
    seen, num_classes = space_of(run, space), run.recipe.num_classes
    condition = jnp.arange(2 * rows) % rows % num_classes if num_classes else None
    if class_ is not None:
        condition = jnp.full(2 * rows, class_)
    latents, label = jax.jit(seen.draw, static_argnums=2)(run.state, jax.random.key(seed), 2 * rows, condition)
    # codes are no part of the sphere: a category half way between two would be more than one
    noise = latents.shape[-1] - run.recipe.codes
    fractions = np.linspace(0.0, 1.0, frames, dtype=np.float32)
    parts = [
        along(latents[:rows, some], latents[rows:, some], fractions)
        for along, some in (
            (slerp if path == "spherical" and seen.name == "z" else lerp, slice(noise)),
            (lerp, slice(noise, None)),
        )
    ]
    way = jnp.concatenate(parts, axis=-1).reshape(frames * rows, -1)
    told = None if label is None else jnp.tile(label[:rows], frames)
    outputs = np.asarray(jax.jit(seen.outputs)(run.state, way, told))
    return outputs.reshape(frames, rows, *outputs.shape[1:]).swapaxes(0, 1)


def draw(run: Run, outputs: np.ndarray, out: Path) -> None:
    """Writes `out` (PNG: a row for each pair of latents) and its .gif sibling (all rows, there and back)."""
    rows, frames = outputs.shape[:2]
    moments = outputs.swapaxes(0, 1)
    if outputs.ndim == 5:
        images = np.asarray(to_uint8(outputs))
        strip = pictures.enlarged(image_grid(images.reshape(-1, *images.shape[2:]), frames))
        side = int(np.ceil(np.sqrt(rows)))
        shown = [pictures.enlarged(image_grid(moment, side)) for moment in images.swapaxes(0, 1)]
    else:
        strip = run.draw(moments.reshape(-1, outputs.shape[-1]))
        shown = [run.draw(moment) for moment in moments]
    write_picture(out, strip)
    pictures.animate(shown, out.with_suffix(".gif"))
