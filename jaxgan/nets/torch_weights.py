"""Weights that PyTorch saved, read without PyTorch and without running what a pickle asks for."""

import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import jax.numpy as jnp
import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """A state dict, name -> array, from a file of ``torch.save``: the zip format, or the one before PyTorch 1.6.

    Arrays are in native byte order, contiguous, writable and of the tensor's shape and type (bfloat16 as ml_dtypes').
    Parameters are read as their data.

    A pickle can name any function to be called. Here only the names of a dense state dict are known
    (ordered dicts, the rebuilding of tensors, typed storages); any other ends the reading with
    nothing called, and no tensor may reach beyond its storage, nor a storage beyond the file.

    Raises ValueError, naming the file and what is wrong with it, for a file that is not of these
    formats, is cut off, or holds anything else than named tensors; OSError when it cannot be opened.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            held = _read_zip(file) if zipfile.is_zipfile(file) else _read_legacy(file, path.stat().st_size)
    except _Refused as refused:
        raise ValueError(f"{path}: {refused}") from None
    except OSError:
        raise
    except Exception as error:
        # unpicklers and zip readers raise nearly anything at damaged bytes
        raise ValueError(f"{path} is not a whole file of torch.save: {type(error).__name__}: {error}") from error
    if not isinstance(held, dict):
        raise ValueError(f"{path} holds a {type(held).__name__}, not a state dict of names to tensors")
    state = dict(held)
    wrong = [name for name, value in state.items() if not (isinstance(name, str) and isinstance(value, np.ndarray))]
    if wrong:
        raise ValueError(f"{path} is not a state dict of names to tensors: {wrong[0]!r} is no tensor")
    return {name: np.array(value, order="C") for name, value in state.items()}


class _Refused(Exception):
    """What the file asks for is not read; the message is for the user."""


class _Storage:
    def __init__(self, values: np.ndarray) -> None:
        self.values = values


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], storage: Callable[[str, str, int], _Storage] | None = None) -> None:
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) in (("torch._utils", "_rebuild_tensor"), ("torch._utils", "_rebuild_tensor_v2")):
            return self._tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return self._parameter
        raise _Refused(
            f"the file asks for {module}.{name}, which no state dict of dense tensors needs; nothing was run"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        if self._storage is None or not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise _Refused(f"the file refers to {str(pid)[:60]!r}, which is no storage of a tensor")
        _, kind, key, _, numel = pid[:5]
        if kind not in STORAGES.values() or not isinstance(key, str) or not isinstance(numel, int) or numel < 0:
            raise _Refused(f"storage {str(key)[:60]!r} has no known type or length")
        if len(pid) == 6 and pid[5] is not None:
            raise _Refused(f"storage {key!r} is a view of another, as only PyTorch before 0.4 wrote: save it anew")
        return self._storage(kind, key, numel)

    @staticmethod
    def _tensor(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
        values, numbers = storage.values, (offset, *size, *stride)
        if len(size) != len(stride) or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise _Refused(f"a tensor has size {size}, stride {stride} and offset {offset}")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if 0 not in size and last >= len(values):
            raise _Refused(f"a tensor reaches to element {last} of a storage of {len(values)}")
        if 0 in size:
            return np.zeros(size, values.dtype)
        steps = tuple(step * values.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=False)

    @staticmethod
    def _parameter(data: np.ndarray, *_: Any) -> np.ndarray:
        return data


def _dtype(kind: str) -> np.dtype:
    return np.dtype(jnp.bfloat16) if kind == "bfloat16" else np.dtype(kind)


def _native(data: bytes, kind: str, little: bool) -> np.ndarray:
    values = np.frombuffer(data, _dtype(kind))
    return values if little == (sys.byteorder == "little") else values.byteswap()


def _read_zip(file: IO[bytes]) -> Any:
    """An archive NAME/data.pkl with raw storages NAME/data/KEY, and NAME/byteorder since PyTorch 2.1."""
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(names) != 1:
            raise _Refused("a zip file without the data.pkl of torch.save")
        folder = names[0].removesuffix("data.pkl")
        little = f"{folder}byteorder" not in archive.namelist() or archive.read(f"{folder}byteorder") == b"little"
        loaded: dict[str, _Storage] = {}

        def storage(kind: str, key: str, numel: int) -> _Storage:
            if key not in loaded:
                info = archive.getinfo(f"{folder}data/{key}")
                # before reading: a few kilobytes of zip can unpack to gigabytes
                if info.compress_type != zipfile.ZIP_STORED or info.file_size != numel * _dtype(kind).itemsize:
                    raise _Refused(f"storage {key!r} has {info.file_size} bytes for {numel} elements of {kind}")
                loaded[key] = _Storage(_native(archive.read(info), kind, little))
            return loaded[key]

        with archive.open(names[0]) as data:
            return _Unpickler(data, storage).load()


def _read_legacy(file: IO[bytes], num_bytes: int) -> Any:
    """Pickles one after another: magic number, protocol, system, the object, keys; then the storages, in that order."""
    file.seek(0)
    # a file of something else must not be mistaken for a damaged one
    try:
        magic = _Unpickler(file).load()
    except Exception:
        magic = None
    if magic != LEGACY_MAGIC:
        raise _Refused("neither a zip file nor a legacy file of torch.save")
    if (protocol := _Unpickler(file).load()) != LEGACY_PROTOCOL:
        raise _Refused(f"legacy protocol {protocol}, only {LEGACY_PROTOCOL} is known")
    little = bool(_Unpickler(file).load()["little_endian"])
    storages: dict[str, tuple[str, _Storage]] = {}

    def storage(kind: str, key: str, numel: int) -> _Storage:
        if key not in storages:
            if numel * _dtype(kind).itemsize > num_bytes:
                raise _Refused(f"storage {key!r} of {numel} elements is larger than the file")
            # filled below, after the tensors that look into it were made
            storages[key] = kind, _Storage(np.zeros(numel, _dtype(kind)))
        return storages[key][1]

    held = _Unpickler(file, storage).load()
    keys = _Unpickler(file).load()
    if sorted(keys) != sorted(storages):
        raise _Refused("the storages listed are not those that the tensors use")
    for key in keys:
        kind, made = storages[key]
        (numel,) = struct.unpack("<q" if little else ">q", file.read(8))
        if numel != len(made.values):
            raise _Refused(f"storage {key!r} has {numel} elements where {len(made.values)} were announced")
        data = file.read(made.values.nbytes)
        if len(data) != made.values.nbytes:
            raise _Refused(f"cut off inside storage {key!r}")
        made.values[:] = _native(data, kind, little)
    return held


def checked_state(
    state: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], refusal: str
) -> dict[str, np.ndarray]:
    """The arrays of a state dict in the order of `shapes`, the names and shapes that are all it may have.

    Raises ValueError, which `refusal` begins, naming what is missing, unexpected, of another shape, or not finite.
    """
    found = {name: np.asarray(value) for name, value in state.items()}
    problems = [f"{name} is missing" for name in shapes if name not in found]
    problems += [f"{name} is unexpected" for name in found if name not in shapes]
    problems += [
        f"{name} is {found[name].shape}, not {shape}"
        for name, shape in shapes.items()
        if name in found and found[name].shape != shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(f"{refusal}: {', '.join(problems[:5])}{more}")
    for name in shapes:
        if not np.isfinite(found[name]).all():
            raise ValueError(f"{refusal}: {name} is not finite")
    return {name: found[name] for name in shapes}
