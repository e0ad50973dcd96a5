import json
import math

import numpy as np
import pytest

from jaxgan.evaluation.record import evaluation_curves, log_curves, read_record
from jaxgan.evaluation.seeds import combinations, combined_evaluations, final_and_best, summary
from tests.evaluation.pages import population, write_rows


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
