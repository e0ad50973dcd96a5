"""Checkpoints: written by orbax in the background, sealed with digests, verified before they are restored.

Orbax restores flipped bytes without a word, so a SHA-256 of every file is written last and
atomically (`seal.json`); a checkpoint without a seal, or with a wrong one, does not exist.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SEAL = "seal.json"


class CheckpointError(OSError):
    """A checkpoint could not be written, or none could be restored."""


def write_atomically(path: Path, text: str) -> None:
    """Replaces the file `path` by `text`, or leaves it untouched: never half of it."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def flatten(tree: Any) -> dict[str, Any]:
    """A pytree as {path: array}, typed keys as their uint32 data."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {_name(path): jax.random.key_data(x) if _is_key(x) else x for path, x in leaves}


def unflatten(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    """The inverse of `flatten`, given a tree (or an abstract one) of the same structure."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    expected = {_name(path): x for path, x in leaves}
    for name in sorted({*expected, *arrays}):
        if name not in arrays or name not in expected:
            where = "the checkpoint lacks" if name not in arrays else "the checkpoint has in excess"
            raise CheckpointError(f"{where} {name}: it was made by another configuration or version")
        shape = jax.eval_shape(jax.random.key_data, expected[name]).shape if _is_key(expected[name]) else None
        shape = tuple(expected[name].shape) if shape is None else shape
        if tuple(arrays[name].shape) != shape:
            raise CheckpointError(f"{name} has shape {arrays[name].shape} in the checkpoint, expected {shape}")
        if not _is_key(expected[name]) and arrays[name].dtype != expected[name].dtype:
            raise CheckpointError(
                f"{name} has type {arrays[name].dtype} in the checkpoint, expected {expected[name].dtype}"
            )
    restored = [
        jax.random.wrap_key_data(jnp.asarray(arrays[_name(path)])) if _is_key(x) else np.asarray(arrays[_name(path)])
        for path, x in leaves
    ]
    return jax.tree_util.tree_unflatten(structure, restored)


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


@jax.jit
def _snapshot(arrays: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    # a copy on the device, because the loop donates the original while orbax still writes
    finite = [jnp.all(jnp.isfinite(x)) for x in arrays.values() if jnp.issubdtype(x.dtype, jnp.floating)]
    return jax.tree.map(jnp.copy, arrays), jnp.all(jnp.array(finite))


class Checkpoints:
    """The folder ``checkpoints/`` of a run: the last `keep` checkpoints and the best one, `00001500/` each."""

    def __init__(self, directory: Path, keep: int = 3, warn: Callable[[str], None] = lambda message: None) -> None:
        if keep < 1:
            raise ValueError(f"keep at least 1 checkpoint, got {keep}")
        self.directory, self.keep, self.warn = directory.absolute(), keep, warn
        self._writer: Any = None
        self._sealer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seal")
        self._pending: tuple[Path, Future[None]] | None = None

    # -- writing -------------------------------------------------------------------------------------

    def save(self, step: int, tree: Any, score: float | None = None, check: bool = True) -> bool:
        """Begins to write `tree`; False, and nothing written, if any floating value in it is not finite.

        score: smaller is better; the sealed checkpoint with the smallest score is never deleted.
        check: False for a population with members that are known to be broken.
        Returns once the tree may be donated. Errors of the writing itself appear in the next `save` or `wait`.
        """
        self.wait()
        target = self.directory / f"{step:08d}"
        if self._seal(target) is not None:
            return True
        arrays, finite = _snapshot(flatten(tree))
        if check and not finite:
            return False
        try:
            shutil.rmtree(target, ignore_errors=True)
            self.directory.mkdir(parents=True, exist_ok=True)
            import orbax.checkpoint as ocp

            if self._writer is None:
                logging.getLogger("absl").setLevel(logging.CRITICAL)
                logging.getLogger("asyncio").addFilter(_not_of_orbax)
                self._writer = ocp.AsyncCheckpointer(ocp.PyTreeCheckpointHandler())
            self._writer.save(target, args=ocp.args.PyTreeSave(arrays))
        except Exception as error:
            raise _failed(target, error) from error
        self._pending = (target, self._sealer.submit(self._finish, target, {"step": step, "score": score}))
        return True

    def wait(self) -> None:
        """Returns when nothing is being written; raises CheckpointError if the last writing failed."""
        if self._pending is None:
            return
        (target, sealed), self._pending = self._pending, None
        try:
            sealed.result()
        except Exception as error:
            raise _failed(target, error) from error

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._sealer.shutdown()
            if self._writer is not None:
                self._writer.close()
                self._writer = None
                for folder in self.directory.glob("*.orbax-checkpoint-tmp*"):
                    _remove(folder)

    def _finish(self, target: Path, seal: dict[str, Any]) -> None:
        # in a thread of ours: orbax's own callback runs before the folder gets its final name
        self._writer.wait_until_finished()
        digests = {str(p.relative_to(target)): _digest(p) for p in sorted(target.rglob("*")) if p.is_file()}
        write_atomically(target / SEAL, _sealed({**seal, "files": digests}))
        self._delete_old()

    def _delete_old(self) -> None:
        sealed = self.steps()
        scored = {s: score for s in sealed if (score := self.score(s)) is not None}
        kept = {*sealed[-self.keep :], *([min(scored, key=scored.__getitem__)] if scored else [])}
        for step in sealed:
            if step not in kept:
                # the seal goes first: a half-deleted checkpoint must not look whole
                (self._folder(step) / SEAL).unlink()
                shutil.rmtree(self._folder(step), ignore_errors=True)

    # -- reading -------------------------------------------------------------------------------------

    def steps(self) -> list[int]:
        """The steps of all sealed checkpoints, increasing; their contents are not verified."""
        folders = self.directory.iterdir() if self.directory.is_dir() else ()
        return sorted(int(p.name) for p in folders if p.name.isdigit() and self._seal(p) is not None)

    def score(self, step: int) -> float | None:
        return (self._seal(self._folder(step)) or {}).get("score")

    def best(self) -> int | None:
        """The step with the smallest score, None if none was scored."""
        scores = {step: score for step in self.steps() if (score := self.score(step)) is not None}
        return min(scores, key=scores.__getitem__) if scores else None

    def damage(self, step: int) -> str | None:
        """What is wrong with a checkpoint, None if every file is the one that was written."""
        folder, seal = self._folder(step), self._seal(self._folder(step))
        if seal is None:
            return "it was never finished, or its seal is damaged"
        present = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {SEAL}
        for name in sorted(present ^ set(seal["files"])):
            return f"{name} is {'missing' if name in seal['files'] else 'not part of it'}"
        return next((f"{n} is damaged" for n, d in seal["files"].items() if _digest(folder / n) != d), None)

    def restore(self, like: Callable[[int], Any], step: int | None = None) -> tuple[int, Any]:
        """(step, tree) of `restore_arrays`; like: step -> an abstract tree of the expected structure."""
        step, arrays = self.restore_arrays(step)
        return step, unflatten(arrays, like(step))

    def restore_arrays(self, step: int | None = None) -> tuple[int, dict[str, np.ndarray]]:
        """(step, {path: array}): the newest intact checkpoint, or exactly that of `step`.

        Damaged checkpoints are skipped with a warning; CheckpointError if none is left.
        """
        self.wait()
        sealed = self.steps()
        for folder in sorted(self.directory.glob("*")):
            newest = folder.name.isdigit() and (not sealed or int(folder.name) > sealed[-1])
            if step is None and newest:
                self.warn(f"checkpoint {folder.name} was never finished, or its seal is damaged; falling back")
        for candidate in [step] if step is not None else reversed(sealed):
            damage = self.damage(candidate)
            if damage is None:
                return candidate, self._read(candidate)
            if step is not None:
                raise CheckpointError(f"checkpoint {candidate} in {self.directory} cannot be used: {damage}")
            self.warn(f"checkpoint {candidate:08d} is damaged ({damage}); falling back to the one before")
        raise CheckpointError(f"no intact checkpoint in {self.directory}")

    def delete_after(self, step: int) -> None:
        """Deletes all checkpoints after `step`, damaged and unfinished ones too."""
        for folder in self.directory.glob("*"):
            if not folder.name.isdigit() or int(folder.name) > step:
                shutil.rmtree(folder, ignore_errors=True)

    def _read(self, step: int) -> dict[str, np.ndarray]:
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.CRITICAL)
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            names = reader.metadata(self._folder(step)).item_metadata.tree
            as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
            return reader.restore(self._folder(step), args=ocp.args.PyTreeRestore(restore_args=as_numpy))

    def _folder(self, step: int) -> Path:
        return self.directory / f"{step:08d}"

    def _seal(self, folder: Path) -> dict[str, Any] | None:
        try:
            text = (folder / SEAL).read_text()
            seal = json.loads(text)["seal"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return seal if text == _sealed(seal) else None


def _sealed(seal: dict[str, Any]) -> str:
    # the seal vouches for itself too: a flipped digit in it would otherwise pass for another score
    digest = hashlib.sha256(json.dumps(seal, sort_keys=True).encode()).hexdigest()
    return json.dumps({"seal": seal, "sha256": digest}, indent=1, sort_keys=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _not_of_orbax(record: logging.LogRecord) -> bool:
    # when a write fails, those of its tasks that nobody waits for any more log tracebacks; the error itself we report
    return "orbax" not in record.getMessage()


def _failed(target: Path, error: Exception) -> CheckpointError:
    # orbax's half-written folder has a longer name, and its space may be what is lacking
    for folder in target.parent.glob(f"{target.name}*"):
        _remove(folder)
    return CheckpointError(f"could not write checkpoint {target}: {_first_line(error)}")


def _remove(folder: Path, tries: int = 40) -> None:
    for _ in range(tries):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)  # orbax writes in parallel: what comes after the write that failed still lands here


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__
