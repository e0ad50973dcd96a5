"""How well groups that were found without labels agree with classes."""

import numpy as np
from scipy.optimize import linear_sum_assignment


def matched_error(found: np.ndarray, label: np.ndarray) -> tuple[float, dict[int, int]]:
    """The error of groups as a classifier under the best one-to-one matching with classes, and that matching.

    found, label: integers [n] from 0. Returns the share of examples whose group is matched with another class or
    with none, in [0, 1], and {group: class}. The matching is the Hungarian one (Kuhn 1955); "majority", in which
    several groups may stand for one class, gives smaller errors and is not the same measure. It is fitted on the
    examples that it is measured on, so that groups of pure chance do a little better than 1 - 1 / classes.
    """
    found, label = np.asarray(found), np.asarray(label)
    if found.shape != label.shape or found.ndim != 1 or not len(found):
        raise ValueError(f"groups and classes are integers [n] of one length above 0, got {found.shape}, {label.shape}")
    counts = np.zeros((found.max() + 1, label.max() + 1), int)
    np.add.at(counts, (found, label), 1)
    groups, classes = linear_sum_assignment(counts, maximize=True)
    matched = {int(group): int(of) for group, of in zip(groups, classes, strict=True)}
    return 1.0 - float(counts[groups, classes].sum()) / len(found), matched
