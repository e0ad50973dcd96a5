"""Stacked images: each example is several grey images of a data set, one per colour channel.

With three digits there are 1,000 kinds of example, all as likely: a count of modes on real images.
Metz, Poole, Pfau, Sohl-Dickstein, "Unrolled Generative Adversarial Networks", 2017, arXiv 1611.02163,
section 3.3, after Che et al. 2017, arXiv 1612.02136.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Batch, Key, to_float
from jaxgan.data.images import DataError, Images
from jaxgan.data.source import DeviceSource

STACKED = 3
# beyond any step, so that the stacks of a fixed set share no key with the batches
_FIXED = 0x73746163


def stacks(images: Images, batch_size: int, fixed: int = 0) -> DeviceSource:
    """Batches of stacked images, with replacement.

    images: grey, held in memory; only their training part is stacked.
    fixed: 0 for new stacks at every step; or how many stacks there are, from which batches draw. They are
        made again from the run's data key when they are wanted, not stored.
    Batches: ``image`` float32 [batch, height, width, 3] in [-1, 1], ``index`` int32 [batch, 3], the images in
    a stack. Raises DataError for images that are not grey or not in memory.
    """
    if images.size[-1] != 1:
        raise DataError(f"grey images are stacked as colours; {images.name} has {images.size[-1]} channels")
    if not isinstance(images.image, np.ndarray):
        raise DataError(f"{images.name} is too large to be stacked: its images are not held in memory")
    n = len(images.image)

    def batch(arrays: Mapping[str, Array], key: Key, step: Array) -> Batch:
        here = jax.random.fold_in(key, step)
        if fixed:
            rows = jax.random.randint(here, (batch_size,), 0, fixed)
            each = jax.vmap(lambda row: jax.random.fold_in(jax.random.fold_in(key, _FIXED), row))(rows)
            index = jax.vmap(lambda one: jax.random.randint(one, (STACKED,), 0, n))(each)
        else:
            index = jax.random.randint(here, (batch_size, STACKED), 0, n)
        image = jnp.asarray(arrays["image"])[..., 0].at[index].get(mode="promise_in_bounds")
        return {"image": to_float(jnp.moveaxis(image, 1, -1)), "index": index}

    return DeviceSource({"image": images.image}, batch, batch_size)
