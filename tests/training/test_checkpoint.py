"""Checkpoints: exact, verified to the last byte, and safe whatever happens while they are written."""

import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.training import checkpoint
from jaxgan.training.checkpoint import SEAL, CheckpointError, Checkpoints, flatten, unflatten, write_atomically

REPOSITORY = Path(__file__).resolve().parents[2]


def make_tree(seed: int = 0) -> dict[str, Any]:
    key = jax.random.key(seed)
    params = {"dense": {"kernel": jax.random.normal(key, (5, 3)), "bias": jnp.arange(3.0)}}
    return {
        "key": key,
        "keys": jax.random.split(key, 4),
        "step": jnp.int32(7 + seed),
        "params": params,
        "opt_state": optax.chain(optax.clip(1.0), optax.adam(1e-3)).init(params),
        "pool": jnp.arange(256, dtype=jnp.uint8).reshape(4, 64),
        "half": jnp.array([1.0, -2.5, 3e-3], jnp.bfloat16),
        "flag": jnp.array([True, False]),
        "subnormal": jnp.array([1e-42, -0.0], jnp.float32),
        "nothing": {},
    }


def abstract(tree: Any) -> Any:
    return jax.eval_shape(lambda: tree)


def assert_equal(one: Any, other: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for (name, a), (_, b) in zip(flatten(one).items(), flatten(other).items(), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), name


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints of steps 1 and 2, trees of seeds 1 and 2."""
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoints = Checkpoints(folder)
    for step in (1, 2):
        checkpoints.save(step, make_tree(step), score=float(step))
    checkpoints.close()
    return folder


@pytest.fixture
def copied(two_checkpoints: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_checkpoints, tmp_path / "checkpoints"))


def test_what_is_restored_is_what_was_saved(two_checkpoints: Path) -> None:
    step, tree = Checkpoints(two_checkpoints).restore(lambda step: abstract(make_tree()))
    assert step == 2
    assert_equal(tree, make_tree(2))
    assert jnp.issubdtype(tree["key"].dtype, jax.dtypes.prng_key)
    step, tree = Checkpoints(two_checkpoints).restore(lambda step: abstract(make_tree()), step=1)
    assert step == 1
    assert_equal(tree, make_tree(1))


def test_no_program_runs_without_its_seal(two_checkpoints: Path) -> None:
    seal = json.loads((two_checkpoints / "00000002" / SEAL).read_text())["seal"]
    assert (seal["step"], seal["score"]) == (2, 2.0)
    written = {str(p.relative_to(two_checkpoints / "00000002")) for p in (two_checkpoints / "00000002").rglob("*.*")}
    assert set(seal["files"]) >= {name for name in written if name.endswith((".ocdbt", ".txt"))}


def test_any_flipped_bit_of_any_file_is_detected(copied: Path, warnings: list[str]) -> None:
    random = np.random.default_rng(0)
    checkpoints = Checkpoints(copied, warn=warnings.append)
    paths = [path for path in (copied / "00000002").rglob("*") if path.is_file()]
    assert len(paths) >= 6 and any(path.name == SEAL for path in paths)
    for path in paths:
        content = path.read_bytes()
        offsets = range(len(content)) if path.name == SEAL else random.integers(0, len(content), 5) if content else ()
        for offset in offsets:
            bit = 1 << int(random.integers(8))
            path.write_bytes(content[:offset] + bytes([content[offset] ^ bit]) + content[offset + 1 :])
            assert checkpoints.damage(2) is not None, (path.name, offset, bit)
        for shortened in (content[:-1], content + b"\0", b""):
            if shortened != content:
                path.write_bytes(shortened)
                assert checkpoints.damage(2) is not None, path.name
        # once for each file through the whole way
        step, tree = checkpoints.restore(lambda step: abstract(make_tree()))
        assert step == 1 and len(warnings) == 1 and "falling back" in warnings[0], warnings
        assert_equal(tree, make_tree(1))
        warnings.clear()
        path.write_bytes(content)
    assert checkpoints.damage(2) is None and checkpoints.restore_arrays()[0] == 2 and not warnings


def test_missing_and_further_files(copied: Path, warnings: list[str]) -> None:
    checkpoints = Checkpoints(copied, warn=warnings.append)
    (copied / "00000002" / "more").write_text("x")
    assert checkpoints.damage(2) == "more is not part of it"
    assert checkpoints.restore_arrays()[0] == 1
    (copied / "00000002" / "more").rename(copied / "00000002" / "_METADATA")
    assert checkpoints.damage(2) == "_METADATA is damaged"
    (copied / "00000002" / "_METADATA").unlink()
    assert checkpoints.damage(2) == "_METADATA is missing"
    with pytest.raises(CheckpointError, match=r"checkpoint 2 in .* cannot be used: _METADATA is missing"):
        checkpoints.restore_arrays(2)
    assert checkpoints.restore_arrays()[0] == 1
    assert len(warnings) == 2


def test_a_checkpoint_killed_before_its_seal_does_not_exist(copied: Path, warnings: list[str]) -> None:
    (copied / "00000002" / SEAL).rename(copied / "00000002" / f"{SEAL}.partial")
    (copied / "00000003.orbax-checkpoint-tmp-3").mkdir()
    checkpoints = Checkpoints(copied, warn=warnings.append)
    assert checkpoints.steps() == [1] and checkpoints.best() == 1
    assert checkpoints.restore_arrays()[0] == 1
    assert warnings == ["checkpoint 00000002 was never finished, or its seal is damaged; falling back"]
    # it is written again as if it had never been
    assert checkpoints.save(2, make_tree(2))
    checkpoints.close()
    assert_equal(checkpoints.restore(lambda step: abstract(make_tree()))[1], make_tree(2))
    checkpoints.delete_after(1)
    assert sorted(p.name for p in copied.iterdir()) == ["00000001"]


def test_nothing_intact(copied: Path, tmp_path: Path) -> None:
    for step in (1, 2):
        (copied / f"{step:08d}" / "_METADATA").unlink()
    for folder in (copied, tmp_path / "nothing"):
        with pytest.raises(CheckpointError, match="no intact checkpoint in"):
            Checkpoints(folder).restore_arrays()


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", keep=2)
    scores = [None, 5.0, 1.0, 3.0, None, 2.0, 1.0]
    for step, score in enumerate(scores):
        assert checkpoints.save(step, {"x": jnp.float32(step)}, score)
    checkpoints.close()
    # of equal scores the earlier
    assert checkpoints.steps() == [2, 5, 6]
    assert checkpoints.best() == 2
    assert [checkpoints.score(step) for step in (2, 5, 6, 9)] == [1.0, 2.0, 1.0, None]
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["00000002", "00000005", "00000006"]
    with pytest.raises(ValueError, match="keep at least 1"):
        Checkpoints(tmp_path, keep=0)


def test_what_is_not_finite_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c")
    for bad in (jnp.float32(np.nan), jnp.array([1.0, np.inf]), jnp.array([np.nan], jnp.bfloat16)):
        assert not checkpoints.save(1, {"good": jnp.ones(3), "bad": bad})
    checkpoints.close()
    assert not (tmp_path / "c").exists()
    assert checkpoints.steps() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {**t, "more": jnp.zeros(2)}, "the checkpoint lacks more: it was made by another"),
        (lambda t: {k: v for k, v in t.items() if k != "pool"}, "the checkpoint has in excess pool: it was made by"),
        (lambda t: {**t, "pool": t["pool"][:2]}, r"pool has shape \(4, 64\) in the checkpoint, expected \(2, 64\)"),
        (
            lambda t: {**t, "half": t["half"].astype(jnp.float32)},
            "half has type bfloat16 in the checkpoint, expected f",
        ),
        (lambda t: {**t, "keys": t["key"]}, r"keys has shape \(4, 2\) in the checkpoint, expected \(2,\)"),
    ],
)
def test_another_structure_is_one_clear_line(change: Any, message: str, two_checkpoints: Path) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        Checkpoints(two_checkpoints).restore(lambda step: abstract(change(make_tree())))
    assert "\n" not in str(caught.value)


def test_unflatten_inverts_flatten() -> None:
    tree = make_tree(3)
    assert_equal(unflatten({n: np.asarray(x) for n, x in flatten(tree).items()}, abstract(tree)), tree)


def test_the_tree_may_be_donated_while_it_is_written(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", keep=4)

    @functools.partial(jax.jit, donate_argnums=0)
    def overwrite(tree: Any) -> Any:
        return jax.tree.map(lambda x: x * 0 - 1, tree)

    for step in range(1, 5):
        tree = {f"array{i}": jnp.full((200, 1000), 10.0 * step + i) for i in range(5)}
        assert checkpoints.save(step, tree)
        for _ in range(3):
            tree = overwrite(tree)
    checkpoints.close()
    for step in range(1, 5):
        _, arrays = checkpoints.restore_arrays(step)
        for i in range(5):
            np.testing.assert_array_equal(arrays[f"array{i}"], 10.0 * step + i)


def test_what_is_written_has_buffers_of_its_own() -> None:
    """On CPU the writer happens to copy before it returns; elsewhere the loop would donate what it still reads."""
    tree = {"weights": jnp.arange(6.0), "count": jnp.asarray(3)}
    copies, finite = checkpoint._snapshot(tree)
    assert bool(finite)
    for name, array in tree.items():
        np.testing.assert_array_equal(copies[name], array)
        assert copies[name].unsafe_buffer_pointer() != array.unsafe_buffer_pointer()
    assert not checkpoint._snapshot({**tree, "weights": jnp.array([1.0, jnp.inf])})[1]


def test_text_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "before")

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "after")
    assert path.read_text() == "before"


FILL = """
import resource, sys
import jax, numpy as np
from pathlib import Path
from jaxgan.training.checkpoint import CheckpointError, Checkpoints
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(0)
checkpoints = Checkpoints(folder, keep=9)
tree = lambda step: {"x": jax.numpy.asarray(random.integers(0, 256, 400_000, np.uint8)), "step": jax.numpy.int32(step)}
failures = 0
for step in range(1, 7):
    if step == 3 and limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        checkpoints.save(step, tree(step))
        checkpoints.wait()
    except CheckpointError as error:
        failures += 1
        assert "\\n" not in str(error), error
        print(step, error)
    if failures == 2:
        break
try:
    checkpoints.close()
except CheckpointError as error:
    print(error)
"""


def fill(folder: Path, limit: int) -> list[str]:
    arguments = [sys.executable, "-c", FILL, str(folder), str(limit)]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    # what orbax's own threads print when their event loop is gone before them is not ours to silence
    assert "Traceback" not in done.stderr or "Event loop is closed" in done.stderr, done.stderr
    return done.stdout.splitlines()


def assert_intact(folder: Path, steps: list[int]) -> None:
    checkpoints = Checkpoints(folder)
    assert checkpoints.steps() == steps
    # nothing half-written takes up the space that was lacking
    assert sorted(p.name for p in folder.iterdir()) == [f"{step:08d}" for step in steps]
    assert [checkpoints.damage(step) for step in steps] == [None] * len(steps)
    assert int(checkpoints.restore_arrays()[1]["step"]) == steps[-1]


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    said = fill(tmp_path / "c", limit=50_000)
    assert len(said) == 2
    assert all(f"could not write checkpoint {tmp_path}/c/0000000" in line for line in said)
    assert_intact(tmp_path / "c", [1, 2])


def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("may not mount a small disk")
    try:
        said = fill(disk / "c", limit=0)
        steps = Checkpoints(disk / "c").steps()
        assert len(said) == 2 and len(steps) >= 2
        assert all("could not write checkpoint" in line for line in said)
        assert_intact(disk / "c", list(itertools.takewhile(lambda s: s in steps, range(1, 7))))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
