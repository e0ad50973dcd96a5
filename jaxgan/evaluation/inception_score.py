"""The Inception score: sure of each image, and of many classes over all."""

import numpy as np
from numpy.typing import ArrayLike

SHUFFLE_SEED = 2020


def inception_score(probabilities: ArrayLike, splits: int = 10, seed: int | None = SHUFFLE_SEED) -> tuple[float, float]:
    """``exp(mean_i KL(p(y|x_i), p(y)))`` of class probabilities [n, k] in each split: mean and deviation over splits.

    Rows sum to 1 (not logits); p(y) is the mean of the rows of the same split; float64 throughout, and 0 log 0 is 0.
    In [1, k], higher is better: k when every image is of one certain class and the classes are equally many. Only
    with the probabilities of the published Inception network over ImageNet it is *the* Inception score;
    any other classifier's is "score of NAME" and compares with itself alone. Real images take no part, so
    memorised ones, and one image a class, score high: report the score of real images beside it.

    Split i is rows i n // splits to (i + 1) n // splits, after a shuffle by NumPy's legacy `RandomState(seed)`
    (torch-fidelity's, whose default seed is ours) or, with None, as they stand (the authors' code: never for rows
    sorted by class). The deviation divides by the number of splits, not by one less, as published numbers
    have it. It is the noise of n / splits images of *one* set, not an error of the mean, nor one over seeds.

    Splitting biases: the fewer the images, the better their own mean fits them, so more splits give a lower score.
    10 splits of 50,000 are what is published; Barratt and Sharma advise 1, of as many images as there are.
    Raises ValueError for rows that are not probabilities and for fewer rows than splits.

    Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, "Improved Techniques for Training GANs", 2016,
    arXiv 1606.03498, section 4; Barratt and Sharma, "A Note on the Inception Score", 2018, arXiv 1801.01973, section 4.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or 0 in probabilities.shape:
        raise ValueError(f"probabilities must be [n, k], got shape {probabilities.shape}")
    # Written so that NaN fails too.
    if not ((probabilities >= 0).all() and (np.abs(probabilities.sum(axis=1) - 1.0) < 1e-3).all()):
        raise ValueError("probabilities must be non-negative with rows that sum to 1; logits need a softmax first")
    n = len(probabilities)
    if not 1 <= splits <= n:
        raise ValueError(f"splits must be in [1, {n}], the number of images, got {splits}")
    if seed is not None:
        probabilities = probabilities[np.random.RandomState(seed).permutation(n)]
    scores = [_score(probabilities[i * n // splits : (i + 1) * n // splits]) for i in range(splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(probabilities: np.ndarray) -> float:
    # The mean divergence is the entropy of the mean less the mean entropy: one logarithm a number, none of 0.
    marginal = probabilities.mean(axis=0)
    return float(np.exp(_entropy(marginal) - _entropy(probabilities) / len(probabilities)))


def _entropy(probabilities: np.ndarray) -> float:
    logarithms = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return -float(np.vdot(probabilities, logarithms))
