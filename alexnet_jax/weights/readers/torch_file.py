"""PyTorch's `.pth` files without PyTorch: both containers, arrays only.

Since PyTorch 1.6 a file is a zip archive: `data.pkl` describes the tensors, `data/0`, `data/1`, …
are their storages, stored and not compressed. Before, it was a run of five pickles (a magic
number, the protocol, the machine, the object, the names of the storages) and then each storage as
its length and its raw numbers. Source: pytorch/pytorch torch/serialization.py.
"""

import io
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.pickled_values import Name
from alexnet_jax.weights.readers.safe_pickle import read_pickle
from alexnet_jax.weights.readers.source_file import SourceFile

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_LARGEST_PICKLE = 16 * 1024**2  # of the zip's data.pkl, which has some kilobytes
_MOST_ENTRIES = 10_000
_REMEDY = "save it again in PyTorch: torch.save(model.state_dict(), FILE)"
INNER = ("state_dict", "model_state_dict", "model", "net", "network")
"""Where dictionaries of training keep that of the network."""

_STORAGES = {
    "torch.FloatStorage": "f4",
    "torch.DoubleStorage": "f8",
    "torch.HalfStorage": "f2",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "i8",
    "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "b1",
}


class _Storage(NamedTuple):
    kind: str
    key: str
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def item_bytes(self) -> int:
        return 2 if self.kind == "bfloat16" else np.dtype(self.kind).itemsize


class Tensor(NamedTuple):
    """A tensor as the pickle describes it: a window into a storage."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


def read_torch(file: SourceFile) -> dict[str, np.ndarray]:
    """Returns the arrays of a `state_dict` by name, of the types they have in the file.

    A dictionary of training is looked into, for the first of `INNER` that is one, too.

    Raises:
      InputError: not such a file, damaged, or it wants to run something.
    """
    if bytes(file.data[:4]) == b"PK\x03\x04":
        value, storage_bytes, big = _read_zip(file)
    elif bytes(file.data[:2]) == b"\x80\x02":
        value, storage_bytes = _read_legacy(file)
        big = False
    else:
        raise InputError(f"{file.name} is no PyTorch file (neither zip nor pickle); {_REMEDY}")
    arrays = {}
    for name, tensor in _state_dict(file, value).items():
        arrays[name] = _array(f"{file.name}: '{name}'", tensor, storage_bytes, big)
    return arrays


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_BUILDERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_parameter": _parameter,
}


def _reference(value: Any) -> _Storage:
    """Returns the storage that `('storage', type, key, device, count, …)` names."""
    match value:
        case ("storage", Name() as kind, str(key), _, int(count), *view) if not any(view):
            if str(kind) in _STORAGES and count >= 0:
                return _Storage(_STORAGES[str(kind)], key, count)
    raise ValueError("a tensor of an unknown kind")


def _pickle(data: memoryview, what: str) -> tuple[Any, int]:
    names = frozenset(_STORAGES)
    return read_pickle(data, what, builders=_BUILDERS, names=names, persistent=_reference)


def _read_zip(file: SourceFile) -> tuple[Any, Callable[[_Storage], Any], bool]:
    """Returns the object, a function to the bytes of a storage, and whether they are big-endian."""
    try:
        archive = zipfile.ZipFile(io.BufferedReader(_View(file.data)))
        entries = {info.filename: info for info in archive.infolist()}
        _check_entries(file, entries)
        descriptions = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
        if len(descriptions) != 1:
            raise InputError(f"{file.name} is a zip, but no PyTorch file; {_REMEDY}")
        top = descriptions[0].split("/")[0]
        if entries[descriptions[0]].file_size > _LARGEST_PICKLE:
            raise InputError(f"{file.name}: its data.pkl is far too long for weights; {_REMEDY}")
        value, _ = _pickle(memoryview(archive.read(descriptions[0])), file.name)
        order = f"{top}/byteorder"
        big = order in entries and entries[order].file_size == 3 and archive.read(order) == b"big"
    except _ZIP_ERRORS as error:
        raise _damaged(file, error) from None

    def storage_bytes(storage: _Storage) -> bytes:
        name = f"{top}/data/{storage.key}"
        expected = storage.count * storage.item_bytes
        if name not in entries or entries[name].file_size != expected:
            raise InputError(f"{file.name}: storage {name[:80]} is missing or cut off; {_REMEDY}")
        try:
            return archive.read(name)
        except _ZIP_ERRORS as error:
            raise _damaged(file, error) from None

    return value, storage_bytes, big


_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)


def _damaged(file: SourceFile, error: Exception) -> InputError:
    why = str(error)[:100]  # it may quote much of the file
    return InputError(f"{file.name} is not a whole zip archive: {why}; get the file again")


def _check_entries(file: SourceFile, entries: dict[str, zipfile.ZipInfo]) -> None:
    """Refuses what PyTorch never writes, and a small file that would become a large one."""
    total = 0
    for name, info in entries.items():
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise InputError(
                f"{file.name}: '{name[:80]}' is compressed or encrypted, which PyTorch never does; "
                f"{_REMEDY}"
            )
        total += info.file_size
    if total > len(file.data) or len(entries) > _MOST_ENTRIES:
        raise InputError(f"{file.name} claims to hold {total:,} bytes, more than it has; {_REMEDY}")


class _View(io.RawIOBase):
    """A file over the mapped bytes, so that nothing is read that is not asked for."""

    def __init__(self, data: memoryview):
        self._data, self._at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self._at, len(self._data))[whence]
        if at < 0:
            raise ValueError("a place before the beginning")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def _read_legacy(file: SourceFile) -> tuple[Any, Callable[[_Storage], Any]]:
    """Returns the object, and a function to the bytes of a storage."""
    at = 0
    values = []
    kinds: dict[str, _Storage] = {}

    def reference(value: Any) -> _Storage:
        storage = _reference(value)
        if kinds.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage '{storage.key[:40]}' has two descriptions")
        return storage

    for _ in range(5):
        value, length = read_pickle(
            file.data[at:],
            file.name,
            builders=_BUILDERS,
            names=frozenset(_STORAGES),
            persistent=reference,
        )
        values.append(value)
        at += length
        if values[0] != _MAGIC or values[1:2] not in ([], [_PROTOCOL]):
            raise InputError(f"{file.name} is a pickle, but no PyTorch file; {_REMEDY}")
    *_, value, keys = values
    places: dict[str, memoryview] = {}
    for key in keys if isinstance(keys, list) else [None]:
        if not isinstance(key, str) or key not in kinds or key in places:
            raise InputError(f"{file.name}: its list of storages is damaged; get the file again")
        storage = kinds[key]
        count = int.from_bytes(file.data[at : at + 8], "little", signed=True)
        end = at + 8 + storage.count * storage.item_bytes
        if count != storage.count or end > len(file.data):
            raise InputError(
                f"{file.name}: storage {key[:40]} is cut off: {storage.count:,} numbers are "
                "announced; get the file again"
            )
        places[key] = file.data[at + 8 : end]
        at = end

    def storage_bytes(storage: _Storage) -> memoryview:
        if storage.key not in places:
            raise InputError(f"{file.name}: storage {storage.key[:40]} is missing; get it again")
        return places[storage.key]

    return value, storage_bytes


def _state_dict(file: SourceFile, value: Any) -> dict[str, Tensor]:
    """Returns the tensors by name, whatever the dictionary is wrapped in."""
    for _ in range(3):
        inner = [value.get(key) for key in INNER] if isinstance(value, dict) else []
        value = next((dictionary for dictionary in inner if isinstance(dictionary, dict)), value)
    if not isinstance(value, dict) or not any(isinstance(t, Tensor) for t in value.values()):
        raise InputError(f"{file.name} holds no tensors by name; {_REMEDY}")
    return {
        name: tensor
        for name, tensor in value.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }


def _array(what: str, tensor: Tensor, storage_bytes: Callable[[_Storage], Any], big: bool):
    """Returns the tensor's array, a view of its storage where that is possible."""
    storage, offset, shape, strides = tensor
    numbers = [-1]
    if isinstance(storage, _Storage) and isinstance(shape, tuple) and isinstance(strides, tuple):
        numbers = [offset, *shape, *strides] if len(shape) == len(strides) <= 8 else [-1]
    if not all(type(n) is int and 0 <= n < 2**40 for n in numbers):
        raise InputError(f"{what} has an impossible shape; {_REMEDY}")
    count, last = 1, offset
    for length, stride in zip(shape, strides, strict=True):
        count *= length
        last += (length - 1) * stride
    if count and (last >= storage.count or count > storage.count):
        raise InputError(f"{what} reaches beyond its {storage.count:,} numbers; {_REMEDY}")
    raw = np.frombuffer(storage_bytes(storage), _numpy_type(storage, big))
    if storage.kind == "bfloat16":
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    steps = [stride * raw.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(raw[offset:], shape, steps, writeable=False)


def _numpy_type(storage: _Storage, big: bool) -> np.dtype:
    kind = "u2" if storage.kind == "bfloat16" else storage.kind
    return np.dtype(kind).newbyteorder(">" if big else "<")
