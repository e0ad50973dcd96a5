from itertools import permutations

import numpy as np
import pytest

from jaxgan.evaluation.matching import matched_error


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_matching_is_the_best_of_all_permutations(seed):
    random = np.random.default_rng(seed)
    label = random.integers(0, 4, 200)
    found = np.where(random.random(200) < 0.6, (label + 1) % 4, random.integers(0, 4, 200))
    error, matched = matched_error(found, label)
    best = min(permutations(range(4)), key=lambda p: np.mean(np.array(p)[found] != label))
    assert error == pytest.approx(np.mean(np.array(best)[found] != label))
    assert matched == dict(enumerate(best)) and matched[1] == 0


def test_groups_that_share_a_class_do_not_both_stand_for_it():
    found, label = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 0, 0, 1])
    error, matched = matched_error(found, label)
    assert error == pytest.approx(2 / 6) and matched == {0: 0, 2: 1}
    # one group for all: the largest class at best
    error, matched = matched_error(np.full(6, 3), label)
    assert error == pytest.approx(1 / 6) and matched[3] == 0


def test_what_is_not_two_lists_of_a_length_is_refused():
    for found, label in ((np.zeros(3, int), np.zeros(4, int)), (np.zeros(0, int), np.zeros(0, int))):
        with pytest.raises(ValueError, match="of one length above 0"):
            matched_error(found, label)
