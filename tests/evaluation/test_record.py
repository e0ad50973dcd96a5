import json
import math

import numpy as np
import pytest

from jaxgan.evaluation.record import (
    best_row,
    combinations,
    combined_evaluations,
    evaluation_curves,
    final_and_best,
    log_curves,
    read_record,
    summary,
)


def write_rows(directory, rows, end="\n"):
    directory.mkdir(exist_ok=True)
    (directory / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + end)
    return directory


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


def test_summary_is_strict_json(tmp_path):
    run = write_rows(
        tmp_path / "00003-dcgan",
        [
            {"step": 5, "evaluation": "images", "frechet_distance": 2.0, "n_real": 7, "features": "f", "seconds": 1.0},
            {"step": 9, "evaluation": "images", "frechet_distance": math.nan, "n_real": 7, "features": "f"},
            {"step": 9, "evaluation": "modes", "modes": 8, "reverse_kl": math.inf},
        ],
    )
    options = {"steps": 20, "seed": 3, "data": "ring"}
    (run / "config.json").write_text(json.dumps({"recipe": "dcgan", "config": {}, "options": options}))
    result = json.loads(json.dumps(summary(run), allow_nan=False))
    assert result == {
        "name": "00003-dcgan",
        "recipe": "dcgan",
        "data": "ring",
        "seed": 3,
        "step": 9,
        "steps": 20,
        "metrics": {"images/frechet_distance": None, "modes/modes": 8, "modes/reverse_kl": None},
        "protocol": {"images": {"step": 9, "n_real": 7, "features": "f"}, "modes": {"step": 9}},
    }


def test_summary_of_almost_nothing(tmp_path):
    (tmp_path / "config.json").write_text("{ not json")
    result = summary(tmp_path)
    assert (result["recipe"], result["seed"], result["step"], result["metrics"]) == ("unknown", None, 0, {})


def population(directory):
    """Two values with three seeds each; member 4 breaks after its first evaluation."""
    scores = {0: (5.0, 2.0), 1: (4.0, 4.0), 2: (9.0, 3.0), 3: (8.0, 7.0), 4: (0.0, None), 5: (6.0, 1.0)}
    rows = []
    for i, step in enumerate((10, 20)):
        for member, values in scores.items():
            if values[i] is not None:
                rows += [{"step": step, "member": member, "a/loss": values[i] / 2, "seconds": 1.0}]
        for member, values in scores.items():
            if values[i] is not None:
                row = {
                    "step": step,
                    "evaluation": "e",
                    "member": member,
                    "fid": values[i],
                    "fid_error": 0.1,
                    "odd": 1.0,
                }
                rows += [{**row, "n_fake": 7}]
        rows += [{"step": 12, "event": "nan", "member": 4, "message": "m"}] if step == 10 else []
    run = write_rows(directory / "run", rows)
    members = [{"member": m, "seed": m % 3, "values": {"w": 0.5 if m < 3 else 2.0}, "program": 0} for m in scores]
    config = {"recipe": "ring", "config": {}, "options": {"steps": 20, "seed": 0}, "members": members}
    (run / "config.json").write_text(json.dumps(config))
    (run / "samples").mkdir()
    for name in ("000010-member00", "000020-member00", "000020-member05"):
        (run / "samples" / f"{name}.png").write_bytes(b"")
    return run


def test_members_are_sorted_out_and_averaged(tmp_path):
    record = read_record(population(tmp_path))
    assert len(record.log) == 11 and [row["step"] for row in record.log] == [10] * 6 + [20] * 5
    low, high = combinations(record)
    assert (low.label, low.members, low.broken, high.members, high.broken) == ("w 0.5", (0, 1, 2), (), (3, 4, 5), (4,))
    assert [step for step, _ in low.records[0].samples] == [10, 20] and not low.records[1].samples
    curve, error = (evaluation_curves(low.mean)[name] for name in ("e/fid", "e/fid_error"))
    np.testing.assert_allclose(curve, [[10, 20], [6.0, 3.0]])
    # of the three seeds, not the error of one evaluation
    np.testing.assert_allclose(error[1], [np.sqrt(7 / 3), np.sqrt(1 / 3)])
    np.testing.assert_allclose(log_curves(high.mean)["a/loss"], [[10, 20], [3.5, 2.0]])
    assert not any("member" in name for name in log_curves(high.mean))


def test_final_and_best_are_over_the_members_own(tmp_path):
    low, high = combinations(read_record(population(tmp_path)))
    found = final_and_best(low)["e/fid"]
    assert found["final"] == pytest.approx({"mean": 3.0, "error": 1 / np.sqrt(3), "n": 3})
    # member 1 was as good before, member 0 and 2 are best at the end
    assert found["best"] == pytest.approx({"mean": 3.0, "error": 1 / np.sqrt(3), "n": 3})
    assert final_and_best(high)["e/fid"]["final"] == pytest.approx({"mean": 4.0, "error": 3.0, "n": 2})
    assert final_and_best(low)["e/odd"]["best"] is None


def test_summary_of_a_population(tmp_path):
    result = json.loads(json.dumps(summary(population(tmp_path)), allow_nan=False))
    assert result["metrics"] == {} and [one["label"] for one in result["population"]] == ["w 0.5", "w 2.0"]
    assert result["population"][1]["broken"] == [4]
    assert result["population"][0]["metrics"]["e/fid"]["final"]["mean"] == 3.0


def test_evaluations_of_members_are_combined():
    members = [
        {"member": m, "seed": m, "values": {"w": w}, "modes": {"modes": modes, "n_fake": 5}}
        for m, (w, modes) in enumerate([(1, 8), (1, 4), (2, 3)])
    ]
    one, other = combined_evaluations(members)
    assert (one["label"], one["members"], other["members"]) == ("w 1", [0, 1], [2])
    assert one["metrics"] == {
        "modes/modes": {"final": {"mean": 6.0, "error": pytest.approx(2.0), "n": 2}, "best": None}
    }
    assert other["metrics"]["modes/modes"]["final"] == {"mean": 3.0, "error": None, "n": 1}
