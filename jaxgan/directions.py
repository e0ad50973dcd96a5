"""Directions in a latent space: by arithmetic of means, principal components, factorised weights, or a score.

Latents are float32 [n, dimension], of the prior's space Z or flattened styles of W. Directions point one way of two;
those that no score orients have a positive entry where it is largest in modulus.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.arrays import Array, Key


def mean_difference(plus: Sequence[Array], minus: Sequence[Array] = ()) -> Array:
    """The sum of the means of each of `plus` [n_i, dimension], less those of each of `minus`: [dimension].

    Vector arithmetic on means of a few latents each, "smiling woman - neutral woman + neutral man": Radford et al.
    2016, arXiv 1511.06434, section 6.3.2. Where there are as many of one as of the other the prior's mean cancels,
    and it is a direction to add to any latent; with one `plus` more it is also a place of its own.
    """
    return sum((part.mean(axis=0) for part in plus), jnp.zeros(())) - sum(
        (part.mean(axis=0) for part in minus), jnp.zeros(())
    )


def random_directions(key: Key, n: int, dimension: int, length: Array | float = 1.0) -> Array:
    """Directions [n, dimension] of this length, uniform over the sphere: what any other direction is compared with."""
    drawn = jax.random.normal(key, (n, dimension))
    return length * drawn / jnp.linalg.norm(drawn, axis=-1, keepdims=True)


def principal_directions(latents: Array, activations: Array, count: int) -> tuple[Array, Array]:
    """Unit directions [count, dimension], and the share of the activations' variance that each component explains.

    latents [n, dimension] and what they become, activations [n, ...]: of a layer, the outputs, or, in W, the
    latents themselves. Components v_k of the centred activations, coordinates ``x_k = v_k . (a - mean)``, and by least
    squares the latents as a linear function of them: ``u_k = sum x_k z / sum x_k^2``, the coordinates being
    uncorrelated. Where activations are the latents, u_k = v_k.

    Harkonen, Hertzmann, Lehtinen, Paris, "GANSpace: Discovering Interpretable GAN Controls", 2020, arXiv 2004.02546,
    section 2.2, Eq. 2 and 3. Of a first linear layer they are those of `factorise`, for a prior of equal variances.
    Raises ValueError for more components than there are.
    """
    flat = activations.reshape(len(activations), -1)
    if not 1 <= count <= min(len(flat) - 1, *flat.shape[1:], latents.shape[1]):
        raise ValueError(f"count must be in [1, {min(len(flat) - 1, *flat.shape[1:], latents.shape[1])}], got {count}")
    scores, sizes, _ = jnp.linalg.svd(flat - flat.mean(axis=0, keepdims=True), full_matrices=False)
    explained = jnp.square(sizes) / jnp.sum(jnp.square(sizes))
    # up to a factor, which the unit length takes
    directions = scores[:, :count].T @ (latents - latents.mean(axis=0, keepdims=True))
    return _oriented(directions), explained[:count]


def factorise(kernels: Sequence[Array], count: int) -> tuple[Array, Array]:
    """Unit directions [count, dimension] that kernels [dimension, m_i] stretch most, and the share of each.

    With all kernels side by side as A^T [dimension, m]: the leading eigenvectors of ``A^T A``, and their eigenvalues
    over the sum of all. Needs no sample. Shen and Zhou, "Closed-Form Factorization of Latent Semantics in GANs" (SeFa),
    2021, arXiv 2007.06600, Eq. 3 and 4. The released code first brings each row of A to length 1; the paper does not,
    and neither do we. Raises ValueError for more directions than dimensions.
    """
    side_by_side = jnp.concatenate(list(kernels), axis=1)
    if not 1 <= count <= len(side_by_side):
        raise ValueError(f"count must be in [1, {len(side_by_side)}], got {count}")
    values, vectors = jnp.linalg.eigh(side_by_side @ side_by_side.T)
    return _oriented(vectors[:, ::-1][:, :count].T), values[::-1][:count] / jnp.sum(values)


def reading_kernels(outputs: Callable[[Any], Array], params: Any, latent: Array, key: Key) -> list[Array]:
    """The kernels [dimension, m] in `params` that are multiplied by the latent itself.

    outputs: params -> what the generator makes of this one latent [dimension], any shape. Found by their gradient, not
    by name: that of a kernel which reads a vector h is an outer product with h (and, of one divided by its spectral
    norm, a second one). So the first layer is found in Z, and in W the layers that make scales of styles. What is
    appended to the latent, such as a class, is cut off. No kernel is found where a net reads parts of the latent, or
    norms of it that are no mere factor.
    """
    weights = jax.random.normal(key, jax.eval_shape(outputs, params).shape)
    gradients = jax.grad(lambda p: jnp.sum(weights * outputs(p)))(params)
    unit = latent / jnp.linalg.norm(latent)
    found = []
    for kernel, gradient in zip(jax.tree.leaves(params), jax.tree.leaves(gradients), strict=True):
        if kernel.ndim != 2 or len(kernel) < len(latent):
            continue
        left, sizes, _ = jnp.linalg.svd(gradient[: len(latent)].astype(jnp.float32), full_matrices=False)
        spanned = jnp.where((sizes[:2] > 1e-3 * sizes[0])[None], left[:, :2], 0.0)
        if sizes[0] > 0 and jnp.linalg.norm(unit - spanned @ (spanned.T @ unit)) < 0.05:
            found.append(kernel[: len(latent)])
    return found


def least_squares_direction(latents: Array, scores: Array, ridge: float = 1e-3) -> Array:
    """The unit direction [dimension] in which a linear fit of the scores [n] to the latents rises fastest.

    ``(C + ridge tr C / dimension)^-1 cov(z, score)`` with C the covariance of the latents, so that what merely goes
    along with the score is taken out. For a score of two values see `logistic_direction`.
    """
    centred = latents - latents.mean(axis=0, keepdims=True)
    covariance = centred.T @ centred / len(latents)
    slope = centred.T @ (scores - scores.mean()) / len(latents)
    return _unit(jnp.linalg.solve(_ridged(covariance, ridge), slope))


def logistic_direction(latents: Array, positive: Array, ridge: float = 1e-3, steps: int = 20) -> Array:
    """The unit normal [dimension] of the plane that best separates latents by a yes or no [n], towards yes.

    Logistic regression with a penalty of ``ridge tr C / dimension / 2`` on the squared weights, by Newton's steps. A
    separating plane as in Shen et al., "InterFaceGAN", 2020, arXiv 2005.09635, section 3.1, who take a linear
    support vector machine. For a score of many values see `least_squares_direction`.
    """
    mean = latents.mean(axis=0)
    inputs = jnp.concatenate([latents - mean[None], jnp.ones((len(latents), 1))], axis=1)
    covariance = inputs.T @ inputs / len(latents)
    # the offset is not penalised
    penalty = ridge * jnp.trace(covariance[:-1, :-1]) / latents.shape[1] * jnp.ones(inputs.shape[1]).at[-1].set(1e-6)
    answers = positive.astype(jnp.float32)

    def newton(_: int, weights: Array) -> Array:
        share = jax.nn.sigmoid(inputs @ weights)
        gradient = inputs.T @ (share - answers) / len(inputs) + penalty * weights
        curvature = (inputs * (share * (1.0 - share))[:, None]).T @ inputs / len(inputs) + jnp.diag(penalty)
        return weights - jnp.linalg.solve(curvature, gradient)

    return _unit(jax.lax.fori_loop(0, steps, newton, jnp.zeros(inputs.shape[1]))[:-1])


def _ridged(matrix: Array, ridge: float) -> Array:
    return matrix + ridge * jnp.trace(matrix) / len(matrix) * jnp.eye(len(matrix))


def _unit(direction: Array) -> Array:
    return direction / jnp.maximum(jnp.linalg.norm(direction), 1e-12)


def _oriented(directions: Array) -> Array:
    largest = jnp.take_along_axis(directions, jnp.abs(directions).argmax(axis=1)[:, None], axis=1)
    return directions * jnp.sign(largest) / jnp.maximum(jnp.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
