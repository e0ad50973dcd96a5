"""Does a generator copy its training set? Nearest training examples, authenticity, and a test against held-out data.

In features, the nearest training example is `neighbours.nearest`. In pixels it is `nearest_training`, which looks under
mirroring and small shifts too, for a generator trained on augmented images copies augmented images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from jaxgan.arrays import to_float
from jaxgan.evaluation import neighbours


@dataclass(frozen=True, eq=False)
class Matches:
    """For each of n images its nearest training image, and what was done to that one before they were compared.

    distances: float64 [n], root mean square difference of pixel values in [-1, 1], so in [0, 2]; 0 is a copy.
    indices: int64 [n], rows of the training images.
    flipped: bool [n], the training image was mirrored left to right, and then
    shifts: int64 [n, 2] moved by so many pixels down and to the right.
    """

    distances: np.ndarray
    indices: np.ndarray
    flipped: np.ndarray
    shifts: np.ndarray


def nearest_training(fake_images: ArrayLike, training_images: ArrayLike, flips: bool = True, shift: int = 1) -> Matches:
    """The nearest of m training images to each of n generated ones, over mirrorings and shifts of up to `shift` pixels.

    fake_images [n, height, width, channel], training_images [m, height, width, channel]: uint8 in [0, 255] or floats
        in [-1, 1] (either may be either).
    flips: compare with training images mirrored left to right too; False where data are not mirrored in training, as
        digits are not, though a mirrored copy then goes unseen.
    shift: both directions, by whole pixels, diagonals included: (2 shift + 1)^2 positions.

    Compared is the generated image without a rim of `shift` pixels, against as large a window of the training image:
    every position is judged on equally many pixels, and a shifted copy is at distance 0 whatever came in at its border.
    What differs only in the rim is therefore a copy, too. Among equal distances the plainer match wins: not mirrored,
    then less shifted. Exact, in float64, at the cost of `neighbours.nearest` for each of 2 (2 shift + 1)^2 variants (18
    at the defaults): on two cores about an hour for 10,000 against 50,000 images of 32x32x3; a thousand are enough to
    show copying.

    Pixels see copies; a near copy with another background or colour is for features. Raises ValueError for shapes that
    disagree, other dtypes, and shifts that leave no window.
    """
    fakes, training = _as_floats(fake_images), _as_floats(training_images)
    if fakes.shape[1:] != training.shape[1:]:
        raise ValueError(f"images must be of one size, got {fakes.shape[1:]} and {training.shape[1:]}")
    height, width = fakes.shape[1:3]
    if not 0 <= shift <= (min(height, width) - 1) // 2:
        raise ValueError(f"shift must be in [0, {(min(height, width) - 1) // 2}] for {height}x{width}, got {shift}")
    n = len(fakes)
    queries = fakes[:, shift : height - shift, shift : width - shift].reshape(n, -1)
    distances, indices = np.full(n, np.inf), np.zeros(n, np.int64)
    flipped, shifts = np.zeros(n, bool), np.zeros((n, 2), np.int64)
    steps = range(-shift, shift + 1)
    moves = sorted(((down, right) for down in steps for right in steps), key=lambda move: abs(move[0]) + abs(move[1]))
    for flip in (False, True)[: 1 + flips]:
        source = training[:, :, ::-1] if flip else training
        for down, right in moves:
            # an image moved down by one shows, at row y, what was at row y - 1
            top, left = shift - down, shift - right
            window = source[:, top : top + height - 2 * shift, left : left + width - 2 * shift]
            found, rows = neighbours.nearest(queries, window.reshape(len(window), -1), 1)
            closer = found[:, 0] < distances
            distances[closer], indices[closer] = found[closer, 0], rows[closer, 0]
            flipped[closer], shifts[closer] = flip, (down, right)
    return Matches(distances / np.sqrt(queries.shape[1]), indices, flipped, shifts)


def authenticity(real_features: ArrayLike, fake_features: ArrayLike) -> float:
    """Share of fakes [m, d] that keep from the training set [n, d] the distance it keeps within itself; in [0, 1].

    A fake is authentic when its distance to the nearest training example is *above* that example's own distance to the
    nearest other training example; an exact copy never is. Not a share of copies: of fresh samples of the
    distribution itself many are unauthentic, and samples far off are all authentic. (Gaussians, n = m = 500: 0.33 of
    fresh samples are authentic in d = 1, 0.62 in d = 10, 0.80 in d = 100.) So report it for held-out reals beside it,
    and read only values below theirs as copying; `copying_test` makes that comparison a test.

    By the definition in the paper. (Its released code goes the other way, from each real to its nearest fake, and
    looks up the reals' gaps by the fakes' row numbers.) Raises ValueError for fewer than two training examples.

    Alaa, van Breugel, Saveliev, van der Schaar, "How Faithful is your Synthetic Data? Sample-level Metrics for
    Evaluating and Auditing Generative Models", 2022, arXiv 2102.08921, on authenticity.
    """
    real, fake = neighbours.checked(real_features, fake_features)
    if len(real) < 2:
        raise ValueError("authenticity needs at least 2 training examples, for the distance between them")
    distances, indices = neighbours.nearest(fake, real, 1)
    examples, places = np.unique(indices[:, 0], return_inverse=True)
    # Only examples that are somebody's nearest are asked; of two neighbours the example itself, or a copy, is at 0.
    gaps = neighbours.nearest(real[examples], real, 2)[0][:, 1]
    return float((distances[:, 0] > gaps[places]).mean())


def copying_test(train_features: ArrayLike, test_features: ArrayLike, fake_features: ArrayLike) -> dict[str, float]:
    """Are fakes [m, d] closer to the training set [l, d] than held-out reals [n, d] are? A one-sided rank test.

    Mann-Whitney's U between the distances of fakes and of test examples to their nearest training examples. Returns

    - ``statistic`` (in [0, 1]): U / (m n), the probability that a fake is further from the training set than a test
      example is, ties counted half; 1/2 when the two agree;
    - ``z``: (U - m n / 2) over its deviation, corrected for ties (copies tie at distance 0). Below about -3 it is
      data-copying. *Above* 3: fakes are further off than reals, the mark of a poor fit, not a merit;
    - ``p``: probability of a z this low or lower if fakes were test examples, by the normal limit, without
      continuity correction;
    - ``fake_distance``, ``test_distance``: the medians, in the features' units.

    The test set must be drawn as the training set was and never have been trained on; then p is honest, whatever
    the features. Copying in one region can hide behind poor fit in another: see `copying_test_in_cells`. z grows with
    the root of the sizes. Raises ValueError as `neighbours.nearest` does.

    Meehan, Chaudhuri, Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models", 2020,
    arXiv 2004.05675, section 3: the global Z_U, where ties are not corrected for.
    """
    train, test, fake = neighbours.checked(train_features, test_features, fake_features)
    return _rank_test(neighbours.nearest(fake, train, 1)[0][:, 0], neighbours.nearest(test, train, 1)[0][:, 0])


def image_copying_test(
    training_images: ArrayLike, test_images: ArrayLike, fake_images: ArrayLike, flips: bool = True, shift: int = 1
) -> dict[str, float]:
    """`copying_test` in pixels, each distance the least over mirrorings and shifts: see `nearest_training`.

    Fakes and test images get the same choice of variants, so that the test stays honest while a training set that was
    copied, mirrored or moved a pixel stands out. Without the variants it does the opposite: mirrored copies of digits
    have z = +22 there and -28 here. Medians are root mean square differences of pixels in [-1, 1].
    """
    fake = nearest_training(fake_images, training_images, flips, shift)
    test = nearest_training(test_images, training_images, flips, shift)
    return _rank_test(fake.distances, test.distances)


def copying_test_in_cells(
    train_features: ArrayLike,
    test_features: ArrayLike,
    fake_features: ArrayLike,
    cells: Sequence[ArrayLike],
    min_share: float = 0.0,
) -> dict[str, Any]:
    """`copying_test` within each cell of feature space: copying in one region, which poor fit elsewhere would hide.

    cells: three arrays of labels in 0..k-1, of the train [l], test [n] and fake [m] features; the paper takes k-means
        fitted on the training features.
    min_share: cells with no larger share than this of the fakes are left out, and so are, always, cells without any.

    Returns ``z``, the mean of the cells' z weighted by their shares of the test set (C_T), which is no standard normal;
    and ``z_per_cell``, a list of k floats, None where left out: one far below -3 tells where. Distances are to the
    training examples of the same cell. Raises ValueError for a counted cell without training or test examples.

    Meehan, Chaudhuri, Dasgupta, 2020, arXiv 2004.05675, section 3.
    """
    features = neighbours.checked(train_features, test_features, fake_features)
    labels = [np.asarray(cell) for cell in cells]
    shapes = [(len(rows),) for rows in features]
    if [cell.shape for cell in labels] != shapes or not all(np.issubdtype(cell.dtype, np.integer) for cell in labels):
        raise ValueError(f"cells must be integer labels of shapes {shapes}, got {[cell.shape for cell in labels]}")
    scores: list[float | None] = []
    weights = []
    for cell in range(int(max(part.max() for part in labels)) + 1):
        train, test, fake = (rows[part == cell] for rows, part in zip(features, labels, strict=True))
        if len(fake) <= min_share * len(features[2]):
            scores.append(None)
            continue
        if 0 in (len(train), len(test)):
            raise ValueError(f"cell {cell} has {len(train)} training and {len(test)} test examples: take fewer cells")
        scores.append(copying_test(train, test, fake)["z"])
        weights.append(len(test))
    if not weights:
        raise ValueError(f"no cell has more than a share of {min_share} of the fakes: lower min_share")
    counted = [score for score in scores if score is not None]
    return {"z": float(np.average(counted, weights=weights)), "z_per_cell": scores}


def _rank_test(fake: np.ndarray, test: np.ndarray) -> dict[str, float]:
    m, n = len(fake), len(test)
    _, places, counts = np.unique(np.concatenate([fake, test]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    above = ranks[:m].sum() - m * (m + 1) / 2
    total = m + n
    ties = (counts.astype(np.float64) ** 3 - counts).sum() / (total * (total - 1))
    deviation = np.sqrt(m * n / 12 * (total + 1 - ties))
    # all distances equal: nothing to tell
    z = (above - m * n / 2) / deviation if deviation > 0 else 0.0
    return {
        "statistic": float(above / (m * n)),
        "z": float(z),
        "p": float(ndtr(z)),
        "fake_distance": float(np.median(fake)),
        "test_distance": float(np.median(test)),
    }


def _as_floats(images: ArrayLike) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must be [n, height, width, channel] with n > 0, got shape {images.shape}")
    if images.dtype == np.uint8:
        return np.asarray(to_float(jnp.asarray(images)))
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be uint8 in [0, 255] or floats in [-1, 1], got {images.dtype}")
    return images
