"""PyTorch's `.pth` files without PyTorch: both containers, arrays only.

Since PyTorch 1.6 a file is a zip archive: `data.pkl` describes the tensors, `data/0`, `data/1`, …
are their storages, stored and not compressed; TorchScript's archives have those, too. Before, it
was a run of five pickles (a magic number, the protocol, the machine, the object, the names of the
storages) and then each storage as its length and its raw numbers.
Source: pytorch/pytorch torch/serialization.py.
"""

import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.kinds import check_kind
from alexnet_jax.weights.readers.pickled_values import Name, Stub
from alexnet_jax.weights.readers.safe_pickle import read_pickle
from alexnet_jax.weights.readers.source_file import SourceFile
from alexnet_jax.weights.readers.torch_tree import Path, Tensor, find_class_names, find_tensors

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_LARGEST_PICKLE = 16 * 1024**2  # of the zip's data.pkl, which has some kilobytes
_MOST_ENTRIES = 10_000
_REMEDY = "save it again in PyTorch: torch.save(model.state_dict(), FILE)"

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


_OTHER_STORAGES = {
    "torch.storage.UntypedStorage": 1,  # of float8, and of what has no type
    "torch.QInt8Storage": 1,
    "torch.QUInt8Storage": 1,
    "torch.QInt32Storage": 4,
    "torch.ComplexFloatStorage": 8,
    "torch.ComplexDoubleStorage": 16,
}
"""Bytes a number: they are passed over."""


class _Storage(NamedTuple):
    kind: str
    key: str
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def item_bytes(self) -> int:
        if self.kind in _OTHER_STORAGES:
            return _OTHER_STORAGES[self.kind]
        return 2 if self.kind == "bfloat16" else np.dtype(self.kind).itemsize


class TorchFile(NamedTuple):
    """What lies in a file of PyTorch's.

    Attributes:
      tensors: by path.
      programs: of each, the class of the pickled module that it lies in, or an empty string.
      modules: pickled modules by path; a `state_dict` has none.
      array: returns the array of a path, of the type it has in the file.
      class_names: by output, where somebody saved them beside the tensors.
    """

    tensors: dict[Path, Tensor]
    programs: dict[Path, str]
    modules: dict[Path, Stub]
    array: Callable[[Path], np.ndarray]
    class_names: tuple[str, ...] = ()


def open_torch(file: SourceFile) -> TorchFile:
    """Finds the tensors of a file, whatever they are wrapped in; none is read yet.

    Raises:
      InputError: not such a file, damaged, without tensors, or it wants to run something.
    """
    check_kind(file, "pytorch", "torchscript", "pickle")
    if bytes(file.data[:4]) == b"PK\x03\x04":
        value, storage_bytes, big = _read_zip(file)
    elif bytes(file.data[:1]) == b"\x80":
        value, storage_bytes = _read_legacy(file)
        big = False
    else:
        raise InputError(f"{file.name} is no PyTorch file (neither zip nor pickle); {_REMEDY}")
    try:
        tensors, programs, modules = find_tensors(value)
    except ValueError as error:
        raise InputError(f"{file.name} holds {error}; {_REMEDY}") from None
    if not tensors:
        raise InputError(f"{file.name} holds no tensors by name; {_REMEDY}")

    def array(path: Path) -> np.ndarray:
        what = f"{file.name}: '{'.'.join(path)}'"
        return _array(what, tensors[path], storage_bytes, big)

    return TorchFile(tensors, programs, modules, array, find_class_names(value))


def read_torch(file: SourceFile) -> dict[str, np.ndarray]:
    """Returns all arrays of a file by name, see `open_torch`."""
    opened = open_torch(file)
    return {".".join(path): opened.array(path) for path in opened.tensors}


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _of_a_type(function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """Returns a tensor of a class of its own, or with attributes, as the tensor that it is."""
    builder = _BUILDERS.get(str(function)) if isinstance(function, Name) else None
    return builder(*arguments) if builder and builder is not _of_a_type else Stub()


_BUILDERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_a_type,
    "torch.tensor._rebuild_from_type": _of_a_type,
}


def _reference(value: Any) -> Any:
    """Returns the storage that `('storage', type, key, device, count, …)` names.

    Old files name the classes of their modules so, too, with their program's text.
    """
    match value:
        case ("storage", Name() as kind, str(key), _, int(count), *view) if not any(view):
            if count >= 0:
                return _Storage(_STORAGES.get(str(kind), str(kind)), key, count)
        case ("module", Name() as kind, *_):
            return kind
    raise ValueError("a tensor of an unknown kind")


def _read_zip(file: SourceFile) -> tuple[Any, Callable[[_Storage], Any], bool]:
    """Returns the object, a function to the bytes of a storage, and whether they are big-endian."""
    try:
        archive = zipfile.ZipFile(file.stream())
        entries = {info.filename: info for info in archive.infolist()}
        _check_entries(file, entries)
        descriptions = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
        if len(descriptions) != 1:
            raise InputError(f"{file.name} is a zip, but no PyTorch file; {_REMEDY}")
        top = descriptions[0].split("/")[0]
        if entries[descriptions[0]].file_size > _LARGEST_PICKLE:
            raise InputError(f"{file.name}: its data.pkl is far too long for weights; {_REMEDY}")
        description = memoryview(archive.read(descriptions[0]))
        value, _ = read_pickle(description, file.name, builders=_BUILDERS, persistent=_reference)
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
        if name.split("/")[1:2] in (["code"], ["extra"]):  # the program of TorchScript
            continue
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise InputError(
                f"{file.name}: '{name[:80]}' is compressed or encrypted, which PyTorch never does; "
                f"{_REMEDY}"
            )
        total += info.file_size
    if total > len(file.data) or len(entries) > _MOST_ENTRIES:
        raise InputError(f"{file.name} claims to hold {total:,} bytes, more than it has; {_REMEDY}")


def _read_legacy(file: SourceFile) -> tuple[Any, Callable[[_Storage], Any]]:
    """Returns the object, and a function to the bytes of a storage."""
    at = 0
    values = []
    kinds: dict[str, _Storage] = {}

    def reference(value: Any) -> Any:
        storage = _reference(value)
        if isinstance(storage, Name):
            return storage
        if storage.kind not in _OTHER_STORAGES and storage.kind not in _STORAGES.values():
            raise ValueError(f"numbers of an unknown size ({storage.kind[:60]})")
        if kinds.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage '{storage.key[:40]}' has two descriptions")
        return storage

    for _ in range(5):
        value, length = read_pickle(
            file.data[at:],
            file.name,
            builders=_BUILDERS,
            persistent=reference,
        )
        values.append(value)
        at += length
        if values[0] != _MAGIC or values[1:2] not in ([], [_PROTOCOL]):
            raise InputError(
                f"{file.name} is a pickle of Python, but no PyTorch file; {_REMEDY}, or, if "
                "cuda-convnet wrote it, name --source cuda-convnet"
            )
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


def _array(what: str, tensor: Tensor, storage_bytes: Callable[[_Storage], Any], big: bool):
    """Returns the tensor's array, a view of its storage where that is possible."""
    storage, offset, shape, strides = tensor
    numbers = [-1]
    if isinstance(storage, _Storage) and isinstance(shape, tuple) and isinstance(strides, tuple):
        numbers = [offset, *shape, *strides] if len(shape) == len(strides) <= 8 else [-1]
    if isinstance(storage, _Storage) and storage.kind not in _STORAGES.values():
        raise InputError(f"{what} is of type {storage.kind}, not a floating-point one; {_REMEDY}")
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
