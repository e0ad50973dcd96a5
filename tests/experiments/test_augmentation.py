import augmentation
import numpy as np
import pytest

from jaxgan.config import RequestError
from jaxgan.data import images

LABEL = np.random.default_rng(0).permutation(np.repeat(np.arange(3), 20))
# each image says which one it is
DATA = images.from_arrays(
    "numbered", np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8), LABEL
)


def test_small_sets_are_balanced_and_the_others_are_others():
    seen = set()
    for seed in range(4):
        small, others = augmentation.subset(DATA, 15, seed)
        index, further = small.image[:, 0, 0, 0], others.image[:, 0, 0, 0]
        for part, i in ((small, index), (others, further)):
            np.testing.assert_array_equal(part.label, LABEL[i])
            np.testing.assert_array_equal(np.bincount(part.label), [5, 5, 5])
        assert len({*index.tolist(), *further.tolist()}) == 30
        seen.add(tuple(sorted(index.tolist())))
    assert len(seen) == 4


def test_sizes_that_cannot_be_balanced_are_refused():
    for n, message in ((14, "multiples of the 3 classes, got 14"), (33, "needs 22 images of each class")):
        with pytest.raises(RequestError, match=message):
            augmentation.subset(DATA, n, 0)
