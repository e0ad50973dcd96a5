"""Perceptual path length: how fast images change along paths between latents."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Key


def path_length(
    generate: Callable[[Array], Array],
    distance: Callable[[Array, Array], Array],
    prior: Callable[[Key, int], Array],
    interpolate: Callable[[Array, Array, Array], Array],
    key: Key,
    num_samples: int = 50_000,
    epsilon: float = 1e-4,
    full: bool = True,
    batch_size: int = 100,
) -> tuple[float, float]:
    """``mean of d(G(path(t)), G(path(t + epsilon))) / epsilon^2`` over pairs of latents, and its standard error.

    generate: latents [n, ...] -> images [n, ...], each image from its latent alone (noise inputs held fixed).
    distance: images, images -> [n], at least 0 and *quadratic* in small differences, as LPIPS and squared Euclidean
        distances of features are: it is divided by epsilon^2. Cropping and resizing are its business.
    prior: (key, n) -> latents [n, ...]; paths in W come from a prior that ends in the mapping network.
    interpolate: (start, end, t [steps]) -> [steps, ...] for one pair: `jaxgan.latent.slerp` in Z, `jaxgan.latent.lerp`
        in W. (`slerp` lets the norm go from one end's to the other's, where StyleGAN's code, whose mapping network
        normalises, brings both to 1.)
    full: t uniform in [0, 1), or 0 in all paths ("end"), which for a W of training latents stays where they are.

    All three are traced into one compiled function of a batch. The values below the 1st and above the 99th percentile
    are left out, the percentiles taken at existing values outwards ("lower", "higher"), as StyleGAN's and
    StyleGAN2's code does and the paper does not say; so the result estimates a trimmed mean, which is below the
    mean for the skewed values that paths have. Lower is smoother. The error is over the values kept: of drawing
    paths from this one generator. Only with the paper's LPIPS on VGG16 it is *the* PPL. It is in the units of
    `distance`, and not StyleGAN2's path length *regularizer*, a Jacobian's norm in W.

    In float32 images differ by about epsilon times their slope, of which rounding leaves three digits; it averages
    out, and the step is measured as it was rounded. Raises ValueError for fewer than two samples, epsilon outside
    (0, 1), distances of another shape than [n], and values that are not finite.

    Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks", 2019,
    arXiv 1812.04948, section 4.1.
    """
    if num_samples < 2 or batch_size < 1:
        raise ValueError(f"num_samples is at least 2 and batch_size 1, got {num_samples} and {batch_size}")
    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon must be in (0, 1), got {epsilon}")
    batch_size = min(batch_size, num_samples)

    def values(key: Key) -> Array:
        start_key, end_key, place_key = jax.random.split(key, 3)
        start, end = prior(start_key, batch_size), prior(end_key, batch_size)
        near = jax.random.uniform(place_key, (batch_size,)) * float(full)
        far = near + epsilon
        # one pass through the generator, so that what it draws or couples is alike for both
        places = jax.vmap(interpolate)(start, end, jnp.stack([near, far], axis=1))
        images = generate(jnp.concatenate([places[:, 0], places[:, 1]]))
        found = distance(images[:batch_size], images[batch_size:])
        if found.shape != (batch_size,):
            raise ValueError(f"distance must give one number an image, [{batch_size}], got shape {found.shape}")
        return found / jnp.square(far - near)

    compiled = jax.jit(values)
    with jax.default_matmul_precision("highest"):
        batches = [compiled(jax.random.fold_in(key, i)) for i in range(-(-num_samples // batch_size))]
    lengths = np.concatenate([np.asarray(batch, np.float64) for batch in batches])[:num_samples]
    if not np.isfinite(lengths).all():
        raise ValueError(f"{int((~np.isfinite(lengths)).sum())} of {num_samples} path lengths are not finite")
    low = np.percentile(lengths, 1, method="lower")
    high = np.percentile(lengths, 99, method="higher")
    kept = lengths[(low <= lengths) & (lengths <= high)]
    return float(kept.mean()), float(kept.std(ddof=1) / np.sqrt(len(kept)))
