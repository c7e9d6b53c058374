"""PyTorch's containers, written by hand from the description of the format."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hostile import memory_below

from alexnet_jax.errors import InputError
from alexnet_jax.weights import READERS
from alexnet_jax.weights.readers.source_file import open_source
from alexnet_jax.weights.readers.torch_file import read_torch


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def numbers(values) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def described(arrays, *, legacy=False, kind="FloatStorage", offset=0, strides=None, count=None):
    """Returns the pickle that describes tensors, one storage each."""
    data = b"\x80\x02ccollections\nOrderedDict\n)R("
    for place, (name, array) in enumerate(arrays.items()):
        steps = [s // array.itemsize for s in array.strides] if strides is None else strides
        size = array.size if count is None else count
        data += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        data += text("storage") + f"ctorch\n{kind}\n".encode() + text(str(place)) + text("cpu")
        data += b"J" + struct.pack("<i", size) + (b"N" if legacy else b"") + b"tQ"
        data += b"J" + struct.pack("<i", offset) + numbers(array.shape) + numbers(steps)
        data += b"\x89ccollections\nOrderedDict\n)RtR"
    return data + b"u."


def as_zip(
    arrays,
    description=None,
    *,
    compression=zipfile.ZIP_STORED,
    leave_out="",
    more=(),
    **settings,
):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("weights/data.pkl", description or described(arrays, **settings))
        archive.writestr("weights/byteorder", "little")
        for place, array in enumerate(arrays.values()):
            if str(place) != leave_out:
                archive.writestr(f"weights/data/{place}", array.tobytes())
        archive.writestr("weights/version", "3\n")
        for name in more:
            archive.writestr(f"weights/{name}", "")
    return file.getvalue()


def as_legacy(arrays, description=None, **settings):
    data = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    data += pickle.dumps({"little_endian": True, "type_sizes": {"int": 4}}, 2)
    data += description or described(arrays, legacy=True, **settings)
    data += pickle.dumps([str(place) for place in range(len(arrays))], 2)
    return data + b"".join(struct.pack("<q", a.size) + a.tobytes() for a in arrays.values())


CONTAINERS = {"zip": as_zip, "legacy": as_legacy}


def read_bytes(tmp_path: Path, data: bytes):
    path = tmp_path / "alexnet.pth"
    path.write_bytes(data)
    return read_torch(open_source(path))


@pytest.mark.parametrize("container", CONTAINERS)
def test_both_containers_are_read_without_pytorch(container, arrays, tmp_path):
    turned = {name: np.asfortranarray(array) for name, array in arrays.items()}
    found = read_bytes(tmp_path, CONTAINERS[container](arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    raw = {name: array.T for name, array in turned.items()}  # as its storage lies
    data = CONTAINERS[container](raw, described(turned, legacy=container == "legacy"))
    for name, array in read_bytes(tmp_path, data).items():
        np.testing.assert_array_equal(array, arrays[name])


def test_torchscript_says_that_its_program_was_not_looked_at(arrays, tmp_path):
    for name, more in (("a.pth", ()), ("a.pt", ("constants.pkl", "code/a.py"))):
        (tmp_path / name).write_bytes(as_zip(arrays, more=more))
        told = " ".join(READERS["torchvision"].read(tmp_path / name).messages)
        assert ("TorchScript program: its arrays were taken" in told) == bool(more)


def test_storages_without_a_type_are_passed_over_in_the_old_container(tmp_path):
    other = {"a": np.arange(6, dtype=np.uint8)}
    data = as_legacy(other).replace(b"ctorch\nFloatS", b"ctorch.storage\nUntypedS")
    with pytest.raises(InputError, match="is of type torch.storage.UntypedStorage"):
        read_bytes(tmp_path, data)


@pytest.mark.parametrize("container", CONTAINERS)
def test_pickles_with_code_are_refused(container, arrays, tmp_path):
    sentinel = tmp_path / "sentinel"
    code = b"\x80\x02cos\nsystem\n" + text(f"touch {sentinel}") + b"\x85R."
    with pytest.raises(InputError, match="alexnet.pth tries to call 'os.system'"):
        read_bytes(tmp_path, CONTAINERS[container](arrays, code))
    module = b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81}b."
    with pytest.raises(InputError, match="no tensors by name.*state_dict"):
        read_bytes(tmp_path, CONTAINERS[container]({}, module))
    assert not sentinel.exists()


DAMAGES = {
    "compressed": (lambda a: as_zip(a, compression=zipfile.ZIP_DEFLATED), "compressed"),
    "a storage is missing": (lambda a: as_zip(a, leave_out="3"), "missing or cut off"),
    "a storage is short": (lambda a: as_zip(a, count=10**9), "missing or cut off"),
    "beyond the storage": (lambda a: as_zip(a, offset=1), "reaches beyond"),
    "one number expanded": (
        lambda a: as_zip(tile(a), strides=[0]),
        "reaches beyond|not a complete",
    ),
    "legacy, huge": (lambda a: as_legacy(a, count=2**31 - 1), "cut off"),
    "legacy, beyond": (lambda a: as_legacy(a, offset=1), "reaches beyond"),
    "an unknown type": (lambda a: as_zip(a, kind="QInt8Storage"), "is of type torch.QInt8Storage"),
    "legacy, an unknown type": (lambda a: as_legacy(a, kind="NewStorage"), "of an unknown size"),
    "no dictionary": (lambda a: as_zip(a, b"\x80\x02]."), "no tensors by name"),
    "no tensors": (lambda a: as_zip(a, b"\x80\x02}X\x01\0\0\0aK\x01s."), "no tensors by name"),
    "another zip": (
        lambda a: as_zip(a).replace(b"data.pkl", b"data.txt"),
        "is a zip archive; unpack",
    ),
    "another pickle": (lambda a: pickle.dumps({"a": 1}, 2), "no PyTorch file"),
    "text": (lambda a: b"<html>404</html>", "is a web page"),
}


def tile(arrays):
    del arrays
    return {"features.0.bias": np.zeros(4, np.float32)[:1].repeat(4)}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_refused_in_one_line(damage, arrays, tmp_path):
    make, message = DAMAGES[damage]
    data = make(arrays)
    if damage == "one number expanded":
        data = data.replace(b"J\x04\0\0\0tQ", b"J\x01\0\0\0tQ")
    (tmp_path / "alexnet.pth").write_bytes(data)
    with memory_below(5 * len(data) + 1_000_000):
        with pytest.raises(InputError, match=message) as caught:
            READERS["torchvision"].read(tmp_path / "alexnet.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_file_cut_off_anywhere_is_refused(container, arrays, tmp_path):
    data = CONTAINERS[container](arrays)
    for share in (0.0, 0.01, 0.1, 0.5, 0.9, 0.999):
        with pytest.raises(InputError, match="alexnet.pth"):
            read_bytes(tmp_path, data[: int(len(data) * share)])


def test_a_small_zip_that_claims_much_is_refused(arrays, tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights/data.pkl", bytes(50_000_000))
    with memory_below(1_000_000), pytest.raises(InputError, match="compressed"):
        read_bytes(tmp_path, file.getvalue())
