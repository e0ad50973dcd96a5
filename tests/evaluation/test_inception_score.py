import numpy as np
import pytest
import scipy.stats

from jaxgan.evaluation.inception_score import inception_score


def logits(n, k, seed=0):
    """Unequal classes, and images that are more and less sure."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k)) * rng.uniform(0.2, 4.0, (n, 1)) + np.linspace(0, 2, k)


def softmax(x):
    return scipy.special.softmax(x, axis=1)


@pytest.mark.parametrize("splits", [1, 3, 10])
def test_against_scipys_entropy(splits):
    p = softmax(logits(47, 6))
    order = np.random.RandomState(11).permutation(47)
    scores = []
    for i in range(splits):
        part = p[order][i * 47 // splits : (i + 1) * 47 // splits]
        scores.append(np.exp(np.mean([scipy.stats.entropy(row, part.mean(axis=0)) for row in part])))
    mean, deviation = inception_score(p, splits, seed=11)
    np.testing.assert_allclose(mean, np.mean(scores), rtol=1e-13)
    np.testing.assert_allclose(deviation, np.std(scores), rtol=1e-9, atol=1e-14)
    assert splits == 1 or deviation > 0.01


def test_as_torch_fidelity_computes_it():
    metric_isc = pytest.importorskip("torch_fidelity.metric_isc")
    torch = pytest.importorskip("torch")
    rows = logits(503, 20)
    expected = metric_isc.isc_features_to_metric(torch.from_numpy(rows))
    np.testing.assert_allclose(inception_score(softmax(rows)), list(expected.values()), rtol=1e-10)
    unshuffled = metric_isc.isc_features_to_metric(torch.from_numpy(rows), splits=7, shuffle=False)
    found = inception_score(softmax(rows), splits=7, seed=None)
    np.testing.assert_allclose(found, list(unshuffled.values()), rtol=1e-10)


def test_both_ends():
    np.testing.assert_allclose(inception_score(np.tile(np.eye(5), (6, 1)), splits=1), (5.0, 0.0), rtol=1e-14)
    # one class, or none told apart
    np.testing.assert_allclose(inception_score(np.tile(np.eye(5)[2], (30, 1))), (1.0, 0.0), atol=1e-14)
    np.testing.assert_allclose(inception_score(np.tile([0.5, 0.3, 0.2], (30, 1))), (1.0, 0.0), atol=1e-14)


def test_splits_of_sorted_rows_need_the_shuffle():
    sorted_rows = np.repeat(np.eye(5), 200, axis=0)
    np.testing.assert_allclose(inception_score(sorted_rows, 5, seed=None), (1.0, 0.0), atol=1e-12)
    assert inception_score(sorted_rows, 5)[0] > 4.9


def test_more_splits_score_lower():
    p = softmax(logits(600, 40))
    scores = [inception_score(p, splits)[0] for splits in (1, 5, 30)]
    assert scores[0] > scores[1] > scores[2]


def test_float32_is_summed_in_float64():
    p = softmax(logits(300, 50)).astype(np.float32)
    assert inception_score(p) == inception_score(p.astype(np.float64))


@pytest.mark.parametrize("bad", [[[2.0, -1.0]], [[3.0, 1.0]], [[np.nan, 1.0]]])
def test_logits_are_refused(bad):
    with pytest.raises(ValueError, match="logits need a softmax"):
        inception_score(bad, splits=1)


def test_other_mistakes_are_refused():
    with pytest.raises(ValueError, match=r"splits must be in \[1, 4\].*got 10"):
        inception_score(np.full((4, 2), 0.5))
    with pytest.raises(ValueError, match="got 0"):
        inception_score(np.full((4, 2), 0.5), splits=0)
    with pytest.raises(ValueError, match="got shape"):
        inception_score(np.full(4, 0.25))
