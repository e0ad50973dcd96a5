"""Every experiment still runs, and keeps its contract."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import REPOSITORY, environment, strict_json

FOLDER = REPOSITORY / "experiments"
EXPERIMENTS = sorted(
    path.stem for path in FOLDER.glob("*.py") if "finish(" in path.read_text() and path.stem != "contract"
)
ROW = {
    "method", "metric", "measured", "uncertainty", "uncertainty_kind", "n_seeds", "published", "published_uncertainty",
    "source",
}  # fmt: skip


def assert_contract(content: dict[str, Any], name: str) -> None:
    assert content["experiment"] == name and content["protocol"] and content["rows"]
    assert {"paper", "seconds", "device", "versions", "date"} <= set(content)
    for row in content["rows"]:
        assert set(row) == ROW, row
        assert row["n_seeds"] >= 1
        # a published number says where it was published, and an uncertainty what it is of
        assert row["published"] is None or row["source"], row
        assert row["uncertainty"] is None or row["uncertainty_kind"], row


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_run(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--smoke", "--seeds", "1", "--out", str(out)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path)),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    content = strict_json(out.read_text())
    assert_contract(content, name)
    assert content["protocol"].startswith("reduced, not the protocol")
    for row in content["rows"]:
        assert row["method"] in done.stdout and row["metric"] in done.stdout
    # nothing is left behind beside what was asked for, and what tensorflow-datasets forgets
    assert [name for name in os.listdir(tmp_path) if not name.endswith("tfds")] == ["out.json"]


@pytest.mark.parametrize("path", sorted((FOLDER / "results").glob("*.json")), ids=lambda path: path.stem)
def test_committed_results_are_of_the_full_protocol(path: Path) -> None:
    content = strict_json(path.read_text())
    assert_contract(content, path.stem)
    assert path.stem in EXPERIMENTS and "reduced" not in content["protocol"]


def test_the_readme_shows_the_committed_results() -> None:
    command = [sys.executable, str(FOLDER / "tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
