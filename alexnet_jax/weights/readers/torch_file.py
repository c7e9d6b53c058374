"""PyTorch's `.pth` files without PyTorch: both containers, arrays only.

Since 1.6 a zip archive: `data.pkl` describes tensors, with storages `data/0`, …, not compressed;
TorchScript's archives, too. Older files are five pickles (magic number, protocol, machine, object,
storage names), then each storage: length, raw numbers.
Source: pytorch/pytorch torch/serialization.py.
"""

import math
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.pickled_values import Name, Stub
from alexnet_jax.weights.readers.safe_pickle import read_pickle
from alexnet_jax.weights.readers.source_file import SourceFile
from alexnet_jax.weights.readers.torch_tree import Path, Tensor, find_class_names, find_tensors

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MAX_PICKLE_BYTES = 16 * 1024**2  # of the zip's data.pkl, which has some kilobytes
_MAX_ENTRIES = 10_000
_REMEDY = "save it again in PyTorch: torch.save(model.state_dict(), FILE)"

_NUMPY_TYPES = {
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
# Bytes a number of storages that are skipped.
_SKIPPED_TYPES = {
    "torch.storage.UntypedStorage": 1,  # of float8, and of what has no type
    "torch.QInt8Storage": 1,
    "torch.QUInt8Storage": 1,
    "torch.QInt32Storage": 4,
    "torch.ComplexFloatStorage": 8,
    "torch.ComplexDoubleStorage": 16,
}
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, LookupError),
    *(OverflowError, NotImplementedError, RuntimeError),
)


class _Storage(NamedTuple):
    dtype: str
    key: str
    size: int

    @property
    def item_bytes(self) -> int:
        if self.dtype in _SKIPPED_TYPES:
            return _SKIPPED_TYPES[self.dtype]
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize


_ReadStorage = Callable[[_Storage], Any]
"""Returns the bytes of a storage."""


class TorchFile(NamedTuple):
    """The contents of a PyTorch file."""

    tensors: dict[Path, Tensor]
    modules: dict[Path, Stub]  # by path; a `state_dict` has none
    array: Callable[[Path], np.ndarray]  # of a path, of the type that it has in the file
    class_names: tuple[str, ...] = ()  # by output, if saved with the tensors

    def program_of(self, path: Path) -> str:
        """The class of the outermost module around a tensor; empty: there is none."""
        around = (self.modules.get(path[:n]) for n in range(len(path)))
        return next((str(module.made_by) for module in around if module), "")


def open_torch(file: SourceFile) -> TorchFile:
    is_big_endian = False
    if bytes(file.data[:4]) == b"PK\x03\x04":
        value, read_storage, is_big_endian = _open_zip(file)
    elif bytes(file.data[:1]) == b"\x80":
        value, read_storage = _open_legacy(file)
    else:
        raise InputError(f"{file.name} is no PyTorch file (neither zip nor pickle); {_REMEDY}")
    try:
        tensors, modules = find_tensors(value)
    except ValueError as error:
        raise InputError(f"{file.name} holds {error}; {_REMEDY}") from None
    if not tensors:
        raise InputError(f"{file.name} holds no tensors by name; {_REMEDY}")

    def array(path: Path) -> np.ndarray:
        what = f"{file.name}: '{'.'.join(path)}'"
        return _read_array(what, tensors[path], read_storage, is_big_endian)

    return TorchFile(tensors, modules, array, find_class_names(value))


def read_torch(file: SourceFile) -> dict[str, np.ndarray]:
    opened = open_torch(file)
    return {".".join(path): opened.array(path) for path in opened.tensors}


def _rebuild_from_type(function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """A tensor of a class of its own, or with attributes, becomes a plain tensor."""
    builder = _BUILDERS.get(str(function)) if isinstance(function, Name) else None
    return builder(*arguments) if builder and builder is not _rebuild_from_type else Stub()


_BUILDERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": lambda *arguments: Tensor(*arguments[:4]),
    "torch._utils._rebuild_tensor_v2": lambda *arguments: Tensor(*arguments[:4]),
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.tensor._rebuild_from_type": _rebuild_from_type,
}


def _reference(value: Any) -> Any:
    """`value` is `('storage', type, key, device, size, …)` or, in old files, a module's class."""
    match value:
        case ("storage", Name() as kind, str(key), _, int(size), *view) if not any(view):
            if size >= 0:
                return _Storage(_NUMPY_TYPES.get(str(kind), str(kind)), key, size)
        case ("module", Name() as kind, *_):
            return kind
    raise ValueError("a tensor of an unknown kind")


def _open_zip(file: SourceFile) -> tuple[Any, _ReadStorage, bool]:
    try:
        archive = zipfile.ZipFile(file.stream)
        entries = {info.filename: info for info in archive.infolist()}
        _check_entries(file, entries)
        descriptions = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
        if len(descriptions) != 1:
            raise InputError(f"{file.name} is a zip, but no PyTorch file; {_REMEDY}")
        if entries[descriptions[0]].file_size > _MAX_PICKLE_BYTES:
            raise InputError(f"{file.name}: its data.pkl is far too long for weights; {_REMEDY}")
        data = memoryview(archive.read(descriptions[0]))
        value, _ = read_pickle(data, file.name, builders=_BUILDERS, persistent=_reference)
        top = descriptions[0].split("/")[0]
        order = f"{top}/byteorder"
        is_big = order in entries and entries[order].file_size == 3
        is_big = is_big and archive.read(order) == b"big"
    except _ZIP_ERRORS as error:
        raise _damaged(file, error) from None

    def read_storage(storage: _Storage) -> bytes:
        name = f"{top}/data/{storage.key}"
        if name not in entries or entries[name].file_size != storage.size * storage.item_bytes:
            raise InputError(f"{file.name}: storage {name[:80]} is missing or cut off; {_REMEDY}")
        try:
            return archive.read(name)
        except _ZIP_ERRORS as error:
            raise _damaged(file, error) from None

    return value, read_storage, is_big


def _damaged(file: SourceFile, error: Exception) -> InputError:
    reason = str(error)[:100]  # it may quote much of the file
    return InputError(f"{file.name} is not a complete zip archive: {reason}; get the file again")


def _check_entries(file: SourceFile, entries: dict[str, zipfile.ZipInfo]) -> None:
    """Refuses what PyTorch never writes, and a small file that would become a large one."""
    total = 0
    for name, info in entries.items():
        if name.split("/")[1:2] in (["code"], ["extra"]):  # the program of TorchScript
            continue
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise InputError(
                f"{file.name}: '{name[:80]}' is compressed or encrypted, which PyTorch never does; "
                f"{_REMEDY}"
            )
        total += info.file_size
    if total > len(file.data) or len(entries) > _MAX_ENTRIES:
        raise InputError(f"{file.name} claims to hold {total:,} bytes, more than it has; {_REMEDY}")


def _open_legacy(file: SourceFile) -> tuple[Any, _ReadStorage]:
    storages: dict[str, _Storage] = {}

    def reference(value: Any) -> Any:
        storage = _reference(value)
        if isinstance(storage, Name):
            return storage
        if storage.dtype not in _SKIPPED_TYPES and storage.dtype not in _NUMPY_TYPES.values():
            raise ValueError(f"numbers of an unknown size ({storage.dtype[:60]})")
        if storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage '{storage.key[:40]}' has two descriptions")
        return storage

    at = 0
    values = []
    for _ in range(5):
        value, length = read_pickle(
            file.data[at:], file.name, builders=_BUILDERS, persistent=reference
        )
        values.append(value)
        at += length
        if values[0] != _MAGIC or values[1:2] not in ([], [_PROTOCOL]):
            raise InputError(
                f"{file.name} is a Python pickle, but no PyTorch file; {_REMEDY}; or, if "
                "cuda-convnet wrote it, name --source cuda-convnet"
            )
    contents = _read_storages(file, at, values[4], storages)

    def read_storage(storage: _Storage) -> memoryview:
        if storage.key not in contents:
            raise InputError(f"{file.name}: storage {storage.key[:40]} is missing; get it again")
        return contents[storage.key]

    return values[3], read_storage


def _read_storages(
    file: SourceFile, at: int, keys: Any, storages: dict[str, _Storage]
) -> dict[str, memoryview]:
    contents: dict[str, memoryview] = {}
    for key in keys if isinstance(keys, list) else [None]:
        if not isinstance(key, str) or key not in storages or key in contents:
            raise InputError(f"{file.name}: its list of storages is damaged; get the file again")
        storage = storages[key]
        size = int.from_bytes(file.data[at : at + 8], "little", signed=True)
        end = at + 8 + storage.size * storage.item_bytes
        if size != storage.size or end > len(file.data):
            raise InputError(
                f"{file.name}: storage {key[:40]} is cut off: {storage.size:,} numbers are "
                "announced; get the file again"
            )
        contents[key] = file.data[at + 8 : end]
        at = end
    return contents


def _read_array(
    what: str, tensor: Tensor, read_storage: _ReadStorage, is_big_endian: bool
) -> np.ndarray:
    storage, offset, shape, strides = tensor
    numbers = [-1]
    if isinstance(storage, _Storage) and isinstance(shape, tuple) and isinstance(strides, tuple):
        numbers = [offset, *shape, *strides] if len(shape) == len(strides) <= 8 else [-1]
    if isinstance(storage, _Storage) and storage.dtype not in _NUMPY_TYPES.values():
        raise InputError(f"{what} is of type {storage.dtype}, not a floating-point one; {_REMEDY}")
    if not all(type(n) is int and 0 <= n < 2**40 for n in numbers):
        raise InputError(f"{what} has an impossible shape; {_REMEDY}")
    count = math.prod(shape)
    last = offset + sum(
        (length - 1) * stride for length, stride in zip(shape, strides, strict=True)
    )
    if count and (last >= storage.size or count > storage.size):
        raise InputError(f"{what} reaches beyond its {storage.size:,} numbers; {_REMEDY}")
    is_bfloat16 = storage.dtype == "bfloat16"
    dtype = np.dtype("u2" if is_bfloat16 else storage.dtype)
    raw = np.frombuffer(read_storage(storage), dtype.newbyteorder(">" if is_big_endian else "<"))
    if is_bfloat16:
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    steps = [stride * raw.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(raw[offset:], shape, steps, writeable=False)
