import numpy as np
import pytest
import semi_supervised
from contract import RESULTS, committed


def test_what_was_not_run_is_pending_and_only_the_paper_rows_have_published_numbers():
    for protocol in ("cpu", "paper"):
        rows = semi_supervised._unfinished(protocol, {"20 labels, supervised only (paper)"})
        assert len(rows) == 2 * (8 if protocol == "cpu" else 7)
        published = {(row.method, row.metric): row.published for row in rows if row.published is not None}
        by_labels = {20: 1677.0, 100: 93.0, 200: 90.0}
        wanted = {(f"{n} labels, semi-supervised (paper)", "errors"): errors for n, errors in by_labels.items()}
        assert published == ({} if protocol == "cpu" else wanted)


def test_images_without_labels_help():
    """The claim of the committed result, by more than two standard errors of the difference, for 20 and 50 labels."""
    if not (RESULTS / "semi_supervised.json").exists():
        pytest.skip("not run yet")
    rows = {row.method: row for row in committed("semi_supervised", "cpu") if row.metric == "errors"}
    for labels in (20, 50):
        with_others, alone = (rows[f"{labels} labels, {name} (cpu)"] for name in semi_supervised.METHODS.values())
        error = np.hypot(with_others.uncertainty, alone.uncertainty)
        assert alone.measured - with_others.measured > 2 * error and with_others.n_seeds == alone.n_seeds >= 3
