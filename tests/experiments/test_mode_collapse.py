import json
import sys
from dataclasses import replace

import mode_collapse
import numpy as np
import pytest
from mode_collapse import COVERED, METHODS, PROBLEMS, VISITED

from jaxgan.evaluation.record import Record
from tests.commands import REPOSITORY, strict_json

TINY = {"generator_width": 4, "discriminator_width": 4}
RESULT = REPOSITORY / "experiments" / "results" / "mode_collapse.json"


@pytest.mark.parametrize("problem", ["small", "metz"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_the_plain_game_but_for_what_it_says(problem, method):
    plain, changed = (mode_collapse.request(problem, name, **TINY).config for name in ("GAN, saturating", method))
    asked = METHODS[method]
    rules = {name: asked[name] for name in asked if name != "loss"}
    loss = asked.get("loss", mode_collapse.run.find_preset("ring", PROBLEMS[problem][0]).config.rules.loss)
    assert changed == replace(plain, rules=replace(plain.rules, loss=loss, **rules))


def test_packs_are_as_many_as_points_of_the_plain_game():
    batches = [mode_collapse.request("ring", name).options.batch for name in ("GAN, non-saturating", "PacGAN3")]
    assert batches == [100, 300]


def record(per_mode, members=1) -> Record:
    rows = [
        {
            "step": i,
            "seconds": 2.0 * i,
            "evaluation": "modes",
            "member": member,
            "modes": sum(n > 0 for n in counts),
            "high_quality": 0.25,
        }
        | {"reverse_kl": 0.5, "n_fake": 40, "per_mode": counts}
        for i, counts in enumerate(per_mode)
        for member in range(members)
    ]
    listed = tuple({"member": member, "seed": member, "values": {}} for member in range(members))
    empty = {"config": {}, "options": {}, "version": "", "manifest": {}, "log": (), "events": (), "samples": ()}
    return Record("", None, "ring", **empty, evaluations=tuple(rows), reals=None, problems=(), members=listed)


def test_a_mode_that_was_left_again_is_visited_and_not_covered():
    rows, strip = mode_collapse._rows("a", record([[9, 0, 0], [0, 4, 0], [0, 4, 1], [0, 2, 0]], members=2), None)
    found = {row.metric: row.measured for row in rows}
    assert found["modes"] == 1 and found[VISITED] == 3 and found[COVERED] == 1.5
    assert {row.n_seeds for row in rows} == {2} and strip["samples"] == 40 and strip["seconds"] == 6
    assert strip["per_mode_of_seed_0"][1] == [0, 4, 0]


def test_what_was_measured_before_stays_and_the_rest_is_pending(tmp_path):
    name = mode_collapse._name("PacGAN2", "ring", "cpu")
    path = tmp_path / "before.json"
    row = mode_collapse.Row(name, "modes", 7.5, 0.5, "standard error over seeds", 6)
    path.write_text(json.dumps({"rows": [vars(row)], "details": {name: {}}}))
    found, details = mode_collapse._earlier(path)
    rows = mode_collapse._in_order(found)
    assert [r for r in rows if r.method == name] == [row] and name in details
    assert {r.method for r in rows} == {
        mode_collapse._name(method, problem, protocol)
        for protocol, problems in mode_collapse.STEPS.items()
        for problem in problems
        for method in METHODS
    }
    assert all(r.measured is None for r in rows if r.method != name)
    published = [r for r in rows if r.method == "PacGAN2, ring (paper)"]
    assert [r.published for r in published] == [7.9, 0.956, 0.07]


def test_a_slice_ends_in_time_and_the_same_command_goes_on(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.json"

    def call(*more: str) -> list[str]:
        argv = ["mode_collapse.py", "--smoke", "--seeds", "1", "--runs", str(tmp_path / "runs"), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", [*argv, *more])
        mode_collapse.main()
        return sorted({row["method"] for row in strict_json(out.read_text())["rows"]})

    assert call("--minutes", "0.0005") == [] and "the same command with --runs goes on" in capsys.readouterr().err
    assert call() == ["GAN, non-saturating, small (cpu)", "PacGAN2, small (cpu)"]
    checkpoints = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/checkpoints/*/seal.json")}
    assert len(checkpoints) >= 2 and call()
    assert {p: p.stat().st_mtime_ns for p in checkpoints} == checkpoints
    with pytest.raises(SystemExit, match="2"):
        call("--minutes", "-1")


def test_packs_of_two_find_more_modes_than_one_by_one():
    """Of `small`: with PacGAN's own nets a plain GAN has hardly lost a mode after the 20,000 steps of `cpu`."""
    rows = {(r["method"], r["metric"]): r for r in json.loads(RESULT.read_text())["rows"]}
    gan, packs = (rows[f"{name}, small (cpu)", "modes"] for name in ("GAN, non-saturating", "PacGAN2"))
    error = np.hypot(gan["uncertainty"], packs["uncertainty"])
    assert packs["measured"] - gan["measured"] > 2 * error
