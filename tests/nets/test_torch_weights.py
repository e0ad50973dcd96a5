import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.nets.torch_weights import LEGACY_MAGIC, LEGACY_PROTOCOL, read_state

FORMATS = {"zip": True, "legacy": False}


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def save(torch, state, path, kind):
    torch.save(state, path, _use_new_zipfile_serialization=FORMATS[kind])
    return path


@pytest.mark.parametrize("kind", FORMATS)
def test_what_torch_saved_is_read(torch, tmp_path, kind):
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = OrderedDict(
        whole=whole,
        transposed=whole.T,
        part=whole[1:3, 2:5],
        strided=whole[::2, ::3],
        expanded=torch.tensor([7.0, 8.0])[:, None].expand(2, 3),
        scalar=torch.tensor(3.5),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.tensor([1.0, -2.0])),
    )
    found = read_state(save(torch, state, tmp_path / "a.pth", kind))
    assert list(found) == list(state)
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value.detach().numpy(), strict=True)
    # copies: writing to one must not show in its neighbour of the same storage
    found["whole"][:] = 0
    assert found["part"].any() and found["part"].flags.c_contiguous


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "dtype", ["float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_every_type(torch, tmp_path, kind, dtype):
    value = torch.tensor([0, 1, 5, 100]).to(getattr(torch, dtype))
    found = read_state(save(torch, {"x": value}, tmp_path / "a.pth", kind))["x"]
    assert found.dtype == (jnp.bfloat16 if dtype == "bfloat16" else np.dtype(dtype))
    np.testing.assert_array_equal(found.astype(np.float64), value.to(torch.float64).numpy())


@pytest.mark.parametrize("kind", FORMATS)
def test_a_module_with_its_metadata(torch, tmp_path, kind):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4))
    found = read_state(save(torch, module.state_dict(), tmp_path / "a.pth", kind))
    assert found.keys() == module.state_dict().keys()
    np.testing.assert_array_equal(found["0.weight"], module[0].weight.detach().numpy())


# Files made without torch: what no torch would write.


class _Named:
    """Pickles as a call of a name, or as the name alone."""

    def __init__(self, module, name, *arguments):
        self.module, self.name, self.arguments = module, name, arguments


class _Storage:
    def __init__(self, kind, key, numel, *more):
        self.pid = ("storage", _Named("torch", kind), key, "cpu", numel, *more)


class _Pickler(pickle._Pickler):
    def persistent_id(self, value):
        return value.pid if isinstance(value, _Storage) else None

    def save(self, value, save_persistent_id=True):
        if not isinstance(value, _Named):
            return super().save(value, save_persistent_id)
        self.write(f"c{value.module}\n{value.name}\n".encode())
        if value.arguments:
            super().save(value.arguments)
            self.write(b"R")
        return None


def pickled(value):
    out = io.BytesIO()
    _Pickler(out, protocol=2).dump(value)
    return out.getvalue()


def zipped(path, value, storages, byteorder=b"little", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(value))
        archive.writestr("archive/byteorder", byteorder)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def legacy(path, value, storages, little=True):
    content = pickled(LEGACY_MAGIC) + pickled(LEGACY_PROTOCOL) + pickled({"little_endian": little})
    content += pickled(value) + pickled(list(storages))
    for data in storages.values():
        content += struct.pack("<q" if little else ">q", len(data) // 4) + data
    path.write_bytes(content)
    return path


def tensor(size, stride, offset=0, numel=6, key="0", kind="FloatStorage", more=()):
    storage = _Storage(kind, key, numel, *more)
    return _Named("torch._utils", "_rebuild_tensor_v2", storage, offset, size, stride, False, OrderedDict())


NUMBERS = np.arange(6, dtype=np.float32)


@pytest.mark.parametrize("write", [zipped, legacy])
def test_files_without_torch(tmp_path, write):
    path = write(tmp_path / "a.pth", {"x": tensor((2, 2), (1, 3), offset=1)}, {"0": NUMBERS.tobytes()})
    np.testing.assert_array_equal(read_state(path)["x"], np.float32([[1, 4], [2, 5]]), strict=True)


def test_big_endian_files(tmp_path):
    data = {"0": NUMBERS.astype(">f4").tobytes()}
    for path in (
        zipped(tmp_path / "a.pth", {"x": tensor((6,), (1,))}, data, byteorder=b"big"),
        legacy(tmp_path / "b.pth", {"x": tensor((6,), (1,))}, data, little=False),
    ):
        np.testing.assert_array_equal(read_state(path)["x"], NUMBERS, strict=True)


@pytest.mark.parametrize("write", [zipped, legacy])
@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("torch._utils", "_rebuild_sparse_tensor")],
)
def test_no_other_name_is_called(tmp_path, write, module, name):
    trace = tmp_path / "ran"
    path = write(tmp_path / "a.pth", {"x": _Named(module, name, f"touch {trace}")}, {})
    with pytest.raises(ValueError, match=rf"a\.pth: the file asks for {module}\.{name}.*nothing was run"):
        read_state(path)
    assert not trace.exists()


def test_no_name_is_called_in_place_of_the_magic_number(tmp_path):
    trace = tmp_path / "ran"
    (tmp_path / "a.pth").write_bytes(pickled(_Named("os", "system", f"touch {trace}")))
    with pytest.raises(ValueError, match="neither a zip file nor a legacy file"):
        read_state(tmp_path / "a.pth")
    assert not trace.exists()


@pytest.mark.parametrize("write", [zipped, legacy])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (tensor((7,), (1,)), "reaches to element 6 of a storage of 6"),
        (tensor((2, 2), (4, 1), offset=1), "reaches to element 6"),
        (tensor((2,), (-1,), offset=3), "has size"),
        (tensor((2,), (1,), offset=-1), "has size"),
        (tensor((2, 2), (1,)), "has size"),
        (tensor((2,), (1,), numel=-1), "no known type or length"),
        (tensor((2,), (1,), kind="QInt8Storage"), "asks for torch.QInt8Storage"),
        (tensor((2,), (1,), more=(("1", 0, 2),)), "view of another"),
        (tensor((2,), (1,), numel=10**12), "elements"),
        (_Storage("FloatStorage", "0", 6), "'x' is no tensor"),
    ],
)
def test_tensors_stay_inside_their_storage(tmp_path, write, value, message):
    path = write(tmp_path / "a.pth", {"x": value}, {"0": NUMBERS.tobytes()})
    with pytest.raises(ValueError, match=message):
        read_state(path)


def test_compressed_storages_are_not_unpacked(tmp_path):
    data = {"0": bytes(10**6)}
    path = zipped(tmp_path / "a.pth", {"x": tensor((2,), (1,), numel=250_000)}, data, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="storage '0' has 1000000 bytes"):
        read_state(path)


@pytest.mark.parametrize("write", [zipped, legacy])
def test_cut_files(tmp_path, write):
    path = write(tmp_path / "a.pth", {"x": tensor((6,), (1,))}, {"0": NUMBERS.tobytes()})
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.pth"):
            read_state(path)


def test_other_files(tmp_path):
    path = tmp_path / "a.pth"
    with pytest.raises(FileNotFoundError):
        read_state(path)
    path.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="neither a zip file nor a legacy file"):
        read_state(path)
    np.savez(tmp_path / "b.npz", x=NUMBERS)
    with pytest.raises(ValueError, match=r"without the data\.pkl"):
        read_state(tmp_path / "b.npz")
    with pytest.raises(ValueError, match="holds a list, not a state dict"):
        read_state(zipped(path, [1], {}))
    with pytest.raises(ValueError, match="'epoch' is no tensor"):
        read_state(zipped(path, {"epoch": 3}, {}))
