import math

import numpy as np
import pytest

from jaxgan.evaluation.record import best_row, evaluation_curves, log_curves, read_record
from tests.evaluation.pages import write_rows


def test_a_directory_that_is_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match="is not a run directory") as error:
        read_record(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="is not a run directory"):
        read_record(tmp_path / "absent")


def test_rows_are_told_apart(tmp_path):
    rows = [
        {"step": 10, "generator/loss": 1.0},
        {"step": 10, "evaluation": "images", "frechet_distance": 5.0},
        {"step": 15, "event": "collapse", "message": "m"},
        {"step": 20, "generator/loss": None, "late": 3},
    ]
    record = read_record(write_rows(tmp_path / "run", rows))
    assert [len(part) for part in (record.log, record.evaluations, record.events)] == [2, 1, 1]
    assert record.step == 20
    curves = log_curves(record)
    np.testing.assert_array_equal(curves["generator/loss"][1], [1.0, np.nan])
    np.testing.assert_array_equal(curves["late"][0], [20])
    assert list(evaluation_curves(record)) == ["images/frechet_distance"]


def test_a_cut_off_line_and_other_rubbish(tmp_path):
    cut = read_record(write_rows(tmp_path / "cut", [{"step": 1, "a": math.nan}], end='\n{"step": 2, "a"'))
    assert len(cut.log) == 1 and any("cut off" in problem for problem in cut.problems)
    rubbish = write_rows(tmp_path / "rubbish", [{"step": 1, "a": 1.0}, [1, 2], {"a": 2.0}, {"step": 3, "a": 1e400}])
    record = read_record(rubbish)
    assert [row["step"] for row in record.log] == [1, 3]
    assert any("2 lines of metrics.jsonl cannot be read, first line 2" in problem for problem in record.problems)


def test_a_resumed_run_takes_back_what_it_did_after_its_checkpoint(tmp_path):
    rows = [{"step": step, "loss": float(step)} for step in (10, 20, 30, 40)]
    rows[2:2] = [{"step": step, "evaluation": "e", "fid": 1.0} for step in (20, 35)]
    rows += [{"step": 35, "event": "interrupted"}]
    rows += [{"step": step, "loss": -float(step)} for step in (25, 30)] + [{"step": 30, "evaluation": "e", "fid": 2.0}]
    record = read_record(write_rows(tmp_path / "run", rows))
    np.testing.assert_array_equal(log_curves(record)["loss"], [[10, 20, 25, 30], [10, 20, -25, -30]])
    np.testing.assert_array_equal(evaluation_curves(record)["e/fid"], [[20, 30], [1, 2]])
    assert len(record.events) == 1


def test_an_older_checkpoint_evaluated_later_takes_nothing_back(tmp_path):
    rows = [{"step": step, "loss": 0.0} for step in (10, 20, 30)]
    rows += [{"step": 30, "evaluation": "e", "fid": 3.0}, {"step": 10, "evaluation": "e", "fid": 1.0}]
    record = read_record(write_rows(tmp_path / "run", rows))
    assert len(record.log) == 3
    np.testing.assert_array_equal(evaluation_curves(record)["e/fid"], [[10, 30], [1, 3]])


def test_best_row_goes_by_direction_and_compares_like_with_like(tmp_path):
    rows = [
        {"step": 1, "evaluation": "e", "frechet_distance": 1.0, "recall": 0.9, "odd": 7.0, "n_fake": 10},
        {"step": 2, "evaluation": "e", "frechet_distance": 9.0, "recall": 0.2, "odd": 1.0, "n_fake": 99},
        {"step": 3, "evaluation": "e", "frechet_distance": 4.0, "recall": 0.1, "odd": 2.0, "n_fake": 99},
        {"step": 4, "evaluation": "e", "frechet_distance": 4.0, "recall": math.nan, "odd": 3.0, "n_fake": 99},
        {"step": 4, "evaluation": "other", "frechet_distance": 0.0, "n_fake": 99},
    ]
    record = read_record(write_rows(tmp_path / "run", rows))
    assert best_row(record, "e", "frechet_distance")["step"] == 3
    assert best_row(record, "e", "recall")["step"] == 2
    assert best_row(record, "e", "odd") is None
