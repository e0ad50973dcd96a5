import os
from pathlib import Path

import numpy as np
import pytest

from jaxgan.data.images import Images, from_arrays
from tests.data.files import noise, save

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder of real data kept beside the checkout; tests that need it are skipped elsewhere."""
    folder = Path(os.environ.get("JAXGAN_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no folder of real data at {folder} (JAXGAN_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def prepared_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data dir that holds nothing but the digits."""
    from jaxgan.data import preparing

    data_dir = tmp_path_factory.mktemp("data-dir")
    preparing.prepare("digits", data_dir)
    return data_dir


@pytest.fixture(autouse=True)
def _own_default_data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAXGAN_DATA_DIR", str(tmp_path / "default-data-dir"))


@pytest.fixture
def classes_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    for k, name in enumerate(["cat", "dog"]):
        for i in range(3):
            save(folder / name / f"{i}.png", np.full((8, 8, 3), 40 * k + i, np.uint8))
    (folder / ".DS_Store").write_text("x")
    (folder / "dog" / "notes.txt").write_text("x")
    return folder


@pytest.fixture(scope="module")
def colours() -> Images:
    """21 training and 5 test pictures of 16x16 in three classes."""
    label, test_label = np.arange(21) % 3, np.arange(5) % 3
    return from_arrays("blobs", noise(21, 16, 16, 3), label, noise(5, 16, 16, 3), test_label, "xyz")
