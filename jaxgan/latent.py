"""Latents: priors, paths between two, truncation, and the latent of a given picture."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan.arrays import Array, Key


def normal_prior(dimension: int) -> Callable[..., Array]:
    """(key, n, condition=None) -> latents float32 [n, dimension] from N(0, I); the condition is ignored."""
    return lambda key, n, condition=None: jax.random.normal(key, (n, dimension))


def uniform_prior(dimension: int, bound: float = 3.0**0.5) -> Callable[..., Array]:
    """(key, n, condition=None) -> latents float32 [n, dimension], uniform in (-bound, bound): of unit variance."""
    return lambda key, n, condition=None: jax.random.uniform(key, (n, dimension), minval=-bound, maxval=bound)


def labelled(prior: Callable[..., Array], num_classes: int) -> Callable[..., tuple[Array, Array]]:
    """(key, n, condition=None) -> (latents, labels int32 [n]): labels as asked for, or uniform over the classes."""

    def draw(key: Key, n: int, condition: Array | None = None) -> tuple[Array, Array]:
        latent_key, label_key = jax.random.split(key)
        if condition is None:
            condition = jax.random.randint(label_key, (n,), 0, num_classes)
        return prior(latent_key, n), jnp.asarray(condition, jnp.int32)

    return draw


@dataclass(frozen=True)
class Codes:
    """What a part of the latent means: a categorical code and continuous ones, behind the noise.

    A latent is (noise, one-hot vector of the category, continuous codes in (-1, 1)), float32
    [n, noise + categories + continuous]. Chen et al., "InfoGAN", 2016, arXiv 1606.03657, section 3.
    """

    categories: int
    continuous: int

    @property
    def size(self) -> int:
        """How many of the latent's last dimensions are codes."""
        return self.categories + self.continuous

    def prior(self, noise: Callable[..., Array]) -> Callable[..., Array]:
        """(key, n, condition=None) -> latents: the category as asked for, or uniform; continuous codes uniform."""

        def draw(key: Key, n: int, condition: Array | None = None) -> Array:
            noise_key, category_key, code_key = jax.random.split(key, 3)
            if condition is None:
                condition = jax.random.randint(category_key, (n,), 0, self.categories)
            category = jax.nn.one_hot(jnp.asarray(condition, jnp.int32), self.categories)
            code = jax.random.uniform(code_key, (n, self.continuous), minval=-1.0)
            return jnp.concatenate([noise(noise_key, n), category, code], axis=-1)

        return draw

    def of(self, latent: Array) -> tuple[Array, Array]:
        """Latents [n, ...] -> (category int32 [n], continuous codes float32 [n, continuous])."""
        start = latent.shape[-1] - self.size
        category = jnp.argmax(latent[:, start : start + self.categories], axis=-1)
        return category.astype(jnp.int32), latent[:, start + self.categories :]


def truncate(latent: Array, truncation: float, mean: Array | float = 0.0) -> Array:
    """``mean + truncation * (latent - mean)``: 1 leaves latents as they are, 0 puts all on the mean.

    The interpolating form of StyleGAN (Karras et al. 2019, arXiv 1812.04948, section B). BigGAN's
    truncation trick instead redraws the entries that exceed a threshold: `truncate_normal`.
    """
    return mean + truncation * (latent - mean)


def truncate_normal(latent: Array, threshold: float) -> Array:
    """Latents from N(0, I) as latents from the same truncated to [-threshold, threshold], entry by entry.

    The quantiles stay, ``P(t) = P(z)`` under either distribution, so the map is monotonous, odd, and exact: what
    redrawing entries that exceed the threshold gives in distribution, as a function of the latent. A threshold
    of inf leaves latents as they are, 0 makes them 0. `truncate` moves them towards the mean instead.

    Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019, arXiv 1809.11096,
    section 3.1: the truncation trick, with thresholds from 2 down to 0.04.
    """
    # by the lower half, where the distribution function keeps its digits
    outside = jax.scipy.special.ndtr(jnp.asarray(-threshold, latent.dtype))
    quantile = outside + (1.0 - 2.0 * outside) * jax.scipy.special.ndtr(-jnp.abs(latent))
    return -jnp.sign(latent) * jax.scipy.special.ndtri(quantile)


def lerp(start: Array, end: Array, t: Array | np.ndarray) -> Array:
    """Straight line from start to end [..., dimension] at the fractions t [steps]: [steps, ..., dimension].

    Between two Gaussian latents it passes through points of unlikely small norm; `slerp` does not.
    """
    t, start, end = _broadcast(t, start, end)
    return (1.0 - t) * start + t * end


def slerp(start: Array, end: Array, t: Array | np.ndarray) -> Array:
    """Spherical path from start to end [..., dimension] at the fractions t [steps]: [steps, ..., dimension].

    Shoemake, "Animating rotation with quaternion curves", 1985; for latents White, "Sampling
    Generative Networks", 2016, arXiv 1609.04468, section 2.1. The norm goes linearly from one end's
    to the other's, so that ends of unequal norm are met exactly. For (anti)parallel ends, `lerp`.
    """
    t, start, end = _broadcast(t, start, end)
    norm_start = jnp.linalg.norm(start, axis=-1, keepdims=True)
    norm_end = jnp.linalg.norm(end, axis=-1, keepdims=True)
    a, b = start / norm_start, end / norm_end
    angle = jnp.arccos(jnp.clip(jnp.sum(a * b, -1, keepdims=True), -1.0, 1.0))
    sine = jnp.sin(angle)
    safe = jnp.where(sine > 1e-4, sine, 1.0)
    direction = (jnp.sin((1.0 - t) * angle) * a + jnp.sin(t * angle) * b) / safe
    return jnp.where(sine > 1e-4, direction * ((1.0 - t) * norm_start + t * norm_end), (1.0 - t) * start + t * end)


def arc_length(path: Array) -> Array:
    """How long a path [steps, n, ...] is: the sum of Euclidean distances of successive places, [n].

    Of outputs, or of their features. A chord of few steps is shorter than the curve: paths compare at equal steps
    only. Not the perceptual path length, a mean squared *speed*: `jaxgan.evaluation.path_length`.
    """
    moved = jnp.diff(path.reshape(*path.shape[:2], -1), axis=0)
    return jnp.sum(jnp.linalg.norm(moved, axis=-1), axis=0)


def invert(
    outputs: Callable[[Array], Array],
    images: Array,
    starts: Array,
    steps: int = 500,
    learning_rate: float = 0.1,
    prior_weight: float = 0.01,
    mean: Array | float = 0.0,
    deviation: Array | float = 1.0,
    distance: Callable[[Array, Array], Array] | None = None,
) -> tuple[Array, Array]:
    """Latents [n, dimension] whose outputs come nearest to images [n, ...], and the mean squared errors [n].

    outputs: latents [n * restarts, dimension] -> images, each from its own latent: those of an image stand together.
    starts: [n, restarts, dimension]; each goes its own way and the nearest of an image wins.
    distance: images, images -> [n], such as squared distances of features, added to the mean squared difference.
    prior_weight: of ``(mean over dimensions of ((z - mean) / deviation)^2 - 1)^2``, which holds the latent on the
        shell where nearly all of a Gaussian prior lies; a penalty on the norm itself would draw it to the middle.

    Adam with a step size that falls along a cosine, all images and restarts in one compiled loop. Zhu et al.,
    "Generative Visual Manipulation on the Natural Image Manifold", 2016, arXiv 1609.03552, section 3.1, use L-BFGS-B;
    Creswell and Bharath, 2018, arXiv 1802.05701, a cross entropy, and no prior in most experiments.
    """
    n, restarts, dimension = starts.shape
    wanted = jnp.repeat(images, restarts, axis=0)
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, max(steps, 1)))

    def errors(made: Array) -> Array:
        return jnp.mean(jnp.square(made - wanted).reshape(len(made), -1), axis=-1)

    def differences(made: Array) -> Array:
        return errors(made) + (distance(made, wanted) if distance is not None else 0.0)

    def loss(latents: Array) -> Array:
        # the mean is one vector for all latents, or a number
        standard = (latents - jnp.broadcast_to(mean, latents.shape)) / jnp.broadcast_to(deviation, latents.shape)
        off = jnp.square(jnp.mean(jnp.square(standard), axis=-1) - 1.0)
        # a sum, so that no image's step depends on how many there are
        return jnp.sum(differences(outputs(latents)) + prior_weight * off)

    def step(carry: tuple[Array, optax.OptState], _: None) -> tuple[tuple[Array, optax.OptState], None]:
        latents, state = carry
        updates, state = optimizer.update(jax.grad(loss)(latents), state)
        return (latents + updates, state), None

    first = starts.reshape(-1, dimension)
    (latents, _), _ = jax.lax.scan(step, (first, optimizer.init(first)), None, length=steps)
    made = outputs(latents)
    found = differences(made).reshape(n, restarts)
    best = jnp.argmin(jnp.where(jnp.isnan(found), jnp.inf, found), axis=1)
    each = jnp.arange(n)
    return latents.reshape(starts.shape)[each, best], errors(made).reshape(n, restarts)[each, best]


def _broadcast(t: Array | np.ndarray, start: Array, end: Array) -> tuple[Array, Array, Array]:
    return jnp.asarray(t, start.dtype).reshape(-1, *([1] * start.ndim)), start[None], end[None]
