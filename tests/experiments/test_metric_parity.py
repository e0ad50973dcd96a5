import json
import subprocess
import sys

import metric_parity
import numpy as np
import pytest
from contract import RESULTS
from metric_parity import Comparison, comparisons, correlated

from tests.commands import REPOSITORY, environment


def test_features_are_exact_in_float32_and_of_unequal_sides():
    real, again, fake = (correlated(400, 6, 1, side) for side in (False, False, True))
    np.testing.assert_array_equal(real, again)
    np.testing.assert_array_equal(real, real.astype(np.float32))
    assert np.abs(np.corrcoef(real, rowvar=False) - np.eye(6)).max() > 0.2
    assert np.abs(real.mean(0) - fake.mean(0)).max() > 0.02
    assert not np.allclose(np.cov(real.T), np.cov(fake.T), rtol=0.1)


def test_the_difference_is_the_largest_and_in_its_own_units():
    numbers = {"a": 2.0, "b": -1e-3}, {"a": 2.0 + 1e-6, "b": -1e-3 * (1 + 1e-5)}
    relative = Comparison("x", dict, dict)
    assert relative.difference(*numbers) == pytest.approx(1e-5, rel=1e-3)
    absolute = Comparison("x", dict, dict, absolute=True)
    assert absolute.difference(*numbers) == pytest.approx(1e-6, rel=1e-3)
    assert np.isnan(relative.difference({"a": np.nan}, {"a": 1.0}))


def test_ours_and_theirs_name_the_same_numbers():
    pytest.importorskip("prdc")
    if not metric_parity.importable():
        pytest.skip("torch-fidelity cannot be imported")
    for one in comparisons("smoke", seed=2):
        assert one.difference(one.ours(), one.theirs()) <= one.tolerance, one.name


def test_without_peers_one_line_and_status_2(tmp_path):
    for package in ("prdc", "torch_fidelity"):
        (tmp_path / f"{package}.py").write_text("raise ImportError('not here')")
    script = str(REPOSITORY / "experiments" / "metric_parity.py")
    out = tmp_path / "out.json"
    without = environment(PYTHONPATH=f"{tmp_path}:{REPOSITORY}")

    def call(*flags):
        return subprocess.run([sys.executable, script, *flags], capture_output=True, text=True, env=without)

    done = call()
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.strip() == metric_parity.NEEDED and "pip install torch-fidelity prdc" in done.stderr
    # the smoke run shows our side and leaves theirs pending
    done = call("--smoke", "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert {row["metric"]: row["measured"] is None for row in rows} == {
        "relative difference": True, "absolute difference": True, "seconds": False, "times as fast": True
    }  # fmt: skip


def test_a_difference_is_an_error(monkeypatch, tmp_path, capsys):
    one = Comparison("x", lambda: {"a": 1.0}, lambda: {"a": 1.1}, rounds=2)
    monkeypatch.setattr(metric_parity, "comparisons", lambda scale, seed: [one])
    monkeypatch.setattr(metric_parity, "importable", lambda: True)
    monkeypatch.setattr(metric_parity.metadata, "version", lambda package: "0")
    monkeypatch.setattr(sys, "argv", ["metric_parity.py", "--quick", "--out", str(tmp_path / "out.json")])
    monkeypatch.setattr(metric_parity, "finish", lambda *content: None)
    with pytest.raises(SystemExit, match=r"x differ by 9\.1e-02, more than 1e-06"):
        metric_parity.main()
    assert "x: difference 9.1e-02" in capsys.readouterr().out


def test_the_committed_values_agree():
    rows = json.loads((RESULTS / "metric_parity.json").read_text())["rows"]
    found = {(row["method"], row["metric"]): row["measured"] for row in rows}
    relative = [value for (_, metric), value in found.items() if metric == "relative difference"]
    absolute = [value for (_, metric), value in found.items() if metric == "absolute difference"]
    assert len(relative) == 9 and max(relative) <= 1e-6
    assert len(absolute) == 2 and max(absolute) <= 1e-9
    assert all(value > 0 for (_, metric), value in found.items() if metric == "times as fast")
