"""Parzen-window log-likelihood: what the first GAN papers measured samples by."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

BLOCK = 1000


def parzen_log_likelihood(points: ArrayLike, samples: ArrayLike, bandwidth: float) -> np.ndarray:
    """Log density, in nats, of points [m, ...] under Gaussians of deviation `bandwidth` at samples [n, ...]: [m].

    ``log mean_j N(x; s_j, bandwidth^2 I)`` in float64, blockwise. Goodfellow et al., "Generative
    Adversarial Nets", 2014, arXiv 1406.2661, section 5, after Breuleux et al. 2011; pixels there are
    in [0, 1]. It ranks models badly: Theis, van den Oord, Bethge, "A note on the evaluation of
    generative models", 2016, arXiv 1511.01844, section 3.2, where k-means beats the data.
    """
    points, samples = _flat(points), _flat(samples)
    if points.shape[1] != samples.shape[1]:
        raise ValueError(f"points have {points.shape[1]} numbers each, samples {samples.shape[1]}")
    if not bandwidth > 0:
        raise ValueError(f"bandwidth is {bandwidth}; give more than 0")
    dimension = points.shape[1]
    normalizer = np.log(len(samples)) + dimension / 2 * np.log(2 * np.pi * bandwidth**2)
    norms = np.square(samples).sum(1)
    densities = []
    for start in range(0, len(points), BLOCK):
        block = points[start : start + BLOCK]
        squared = np.square(block).sum(1)[:, None] - 2 * block @ samples.T + norms[None]
        densities.append(logsumexp(-np.maximum(squared, 0) / (2 * bandwidth**2), axis=1) - normalizer)
    return np.concatenate(densities)


def parzen_bandwidth(validation: ArrayLike, samples: ArrayLike, candidates: Sequence[float]) -> float:
    """The candidate under which the mean log-likelihood of the validation points is largest."""
    return max(candidates, key=lambda bandwidth: parzen_log_likelihood(validation, samples, bandwidth).mean())


def _flat(examples: ArrayLike) -> np.ndarray:
    examples = np.asarray(examples, np.float64)
    return examples.reshape(len(examples), -1)
