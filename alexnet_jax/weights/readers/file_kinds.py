"""The kind of a file, detected by its first bytes: a wrong file is named for what it is."""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from alexnet_jax.errors import InputError
from alexnet_jax.weights import READERS
from alexnet_jax.weights.readers.source_file import SourceFile, open_source

_HEAD_BYTES = 4096
_MAX_ENTRIES = 20_000


class FileKind(NamedTuple):
    """A kind of file."""

    description: str  # for the sentence "x.npy is …"
    remedy: str = ""  # empty: name the readers that accept it
    signature: bytes = b""  # regular expression of the first bytes; empty: none


_DOWNLOAD = "the download went wrong; get the file itself"
_UNPACK = "unpack it, and name the file of weights in it"
_NAME_LABELS = "if it has class names, name it with --labels"
_IMAGES = (
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8|II\*\0|MM\0\*|P[1-6]\s[\s\d#]"
    rb"|\0\0\0\x0cjP  |\0\0\x01\0[^\0]"  # JPEG 2000, ICO
    rb"|RIFF....WEBP|....ftyp(heic|heix|mif1|avif)"
)
_TORCH_MAGIC = rb"\x80[\2-\5].{0,25}?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\."

FILE_KINDS = {
    "npy": FileKind("a NumPy file (.npy)", "", rb"\x93NUMPY"),
    "npz": FileKind("a NumPy archive (.npz)"),
    "hdf5": FileKind("an HDF5 file (.h5 of Keras, or .caffemodel.h5)", "", rb"\x89HDF\r\n\x1a\n"),
    "pytorch": FileKind("a PyTorch file (.pth)", "", _TORCH_MAGIC),
    "torchscript": FileKind("a TorchScript archive of PyTorch"),
    "torch-program": FileKind(
        "an exported PyTorch program (.pt2)", "save its state_dict with torch.save"
    ),
    "safetensors": FileKind("a safetensors file"),
    "keras": FileKind("a Keras model (.keras)"),
    "onnx": FileKind("an ONNX model"),
    "tensorflow": FileKind("a TensorFlow graph (SavedModel or frozen GraphDef, .pb)"),
    "tensorflow-checkpoint": FileKind("a file of a TensorFlow checkpoint"),
    "tflite": FileKind("a TensorFlow Lite model (.tflite)", "", rb"....TFL3"),
    "caffemodel": FileKind("a file of Caffe's weights (.caffemodel)"),
    "prototxt": FileKind(
        "the description of a Caffe network (.prototxt), which has no weights",
        "name the .caffemodel",
    ),
    "solverstate": FileKind(
        "the training state of Caffe (.solverstate)", "name the .caffemodel of the same step"
    ),
    "binaryproto": FileKind("a mean image of Caffe (.binaryproto)", "name it with --mean"),
    "cuda-convnet": FileKind("a checkpoint of cuda-convnet"),
    "mxnet": FileKind("a file of MXNet's parameters (.params)", "", rb"\x12\x01\0{14}"),
    # Its version: 0, then 1 to 9, then any small number.
    "darknet": FileKind(
        "a file of Darknet's weights (.weights)", "", rb"\0{4}[\1-\x09]\0{3}[\0-\x09]\0{3}"
    ),
    "matlab": FileKind("a MATLAB file (.mat)", "", rb"MATLAB (5\.0|7\.3)"),
    "pickle": FileKind("a Python pickle", "", rb"\x80[\2-\5]|[\]}]q.[(UX]"),
    "gzip": FileKind("an archive (gzip)", _UNPACK, rb"\x1f\x8b"),
    "bzip2": FileKind("an archive (bzip2)", _UNPACK, rb"BZh[1-9]1AY&SY"),
    "xz": FileKind("an archive (xz)", _UNPACK, rb"\xfd7zXZ\0"),
    "zstd": FileKind("an archive (Zstandard)", _UNPACK, rb"\x28\xb5\x2f\xfd"),
    "zip": FileKind("a zip archive", _UNPACK, rb"PK\x05\x06"),  # an empty one
    "tar": FileKind("a tar archive", _UNPACK, rb".{257}ustar"),
    "7z": FileKind("an archive (7-Zip)", _UNPACK, rb"7z\xbc\xaf\x27\x1c"),
    "rar": FileKind("an archive (RAR)", _UNPACK, rb"Rar!\x1a\x07"),
    "html": FileKind("a web page (HTML)", _DOWNLOAD),
    "xml": FileKind("an XML text (perhaps a server's error)", _DOWNLOAD),
    "lfs": FileKind(
        "a Git LFS pointer, which only names the real file",
        "run `git lfs pull`, or download the file itself",
        rb"version https://git-lfs",
    ),
    "image": FileKind("an image", "use it with `predict` or `features`", _IMAGES),
    "pdf": FileKind("a PDF document", _DOWNLOAD, rb"%PDF-"),
    "json": FileKind("a JSON text", _NAME_LABELS),
    "text": FileKind("a text", _NAME_LABELS),
    "zeros": FileKind("nothing but zero bytes", _DOWNLOAD),
}

_TEXTS: tuple[tuple[str, str], ...] = (
    (r"\s*<(!doctype\s+html\b|html\b|head\b|body\b|script\b|!--)", "html"),
    (r"\s*<(\?xml|error)\b", "xml"),
    (r"(?s)\s*(#[^\n]*\n\s*)*(name\s*:\s*\"|layers?\s*\{|input\s*:\s*\"|net\s*:\s*\")", "prototxt"),
    (r"\s*[\[{]", "json"),
    (r"\((dp|lp)[0-9]+\n", "pickle"),  # protocol 0
    (r"", "text"),
)
# The first fields of protocol-buffer messages.
_MESSAGES: tuple[tuple[bytes, str], ...] = (
    # A mean image: num 1, channels 3, height.
    (rb"\x08\x01\x10\x03\x18", "binaryproto"),
    # A training state: the step, the file of its weights.
    (rb"\x08[\x80-\xff]*[\0-\x7f]\x12[\0-\x7f][\x20-\x7e]+\.caffemodel", "solverstate"),
    # SavedModel: version 1, a graph of 128 bytes or more, its meta data.
    (rb"\x08\x01\x12[\x80-\xff]{1,4}[\0-\x7f]\n", "tensorflow"),
    # ONNX: the version, and who wrote it, or the graph, or the set of operators.
    (rb"\x08[\x01-\x14](\x12[\0-\x40][\x20-\x7e]*[\x1a\x22\x28\x32:]|[:B])", "onnx"),
    # A frozen graph: a node with a name and an operation.
    (rb"\n[\x80-\xff]{0,4}[\0-\x7f]\n[\x01-\x7f][\w./-]+\x12[\x01-\x40][A-Z]\w+", "tensorflow"),
    # Caffe's net: its name, and layers of either generation or inputs; or layers at once.
    (
        rb"\n[\x01-\x7f][\x20-\x7e]+(\x12[\x80-\xff]|\x12.[\x0a\x12\x1a\x22]|\xa2\x06|\x1a.)",
        "caffemodel",
    ),
    (rb"\xa2\x06[\0-\xff]{1,4}\n[\x01-\x7f][\x20-\x7e]+\x12", "caffemodel"),
)
_LEVELDB_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"


def find_source(path: str | Path) -> str:
    """Returns the key in `READERS` for a file, or for a folder with such files.

    Raises:
      InputError: no reader takes it; says what it is, and what can be read.
    """
    if Path(path).is_dir():
        return next(source for source, reader in READERS.items() if reader.has_folders)
    file = open_source(path)
    kind = detect_kind(file)
    if not kind:
        raise InputError(f"{file.name} is of no kind that is known here; {_list_files()}")
    check_file_kind(file, *(kind for reader in READERS.values() for kind in reader.kinds))
    sources = [source for source, reader in READERS.items() if kind in reader.kinds]
    others = (source for source in sources[1:] if _recognizes(source, file))
    return next(others, sources[0])


def _recognizes(source: str, file: SourceFile) -> bool:
    try:
        return READERS[source].load().recognizes(file)
    except InputError:  # of another reader, or damaged: the first reader says how
        return False


def check_file_kind(file: SourceFile, *accepted: str) -> None:
    """Raises `InputError` for a known kind of file that is not in `accepted`."""
    kind = detect_kind(file)
    if kind and kind not in accepted:
        raise InputError(f"{file.name} is {FILE_KINDS[kind].description}; {find_remedy(kind)}")


def find_remedy(kind: str) -> str:
    """Says what to do with the file; without a remedy of its own, which source reads what."""
    if remedy := FILE_KINDS[kind].remedy:
        return remedy
    # Not every file of the kind may be what the source reads.
    files = [f"--source {s} reads {r.files}" for s, r in READERS.items() if kind in r.kinds]
    return "; ".join(files) or f"convert it: {_list_files()}"


def _list_files() -> str:
    return f"what can be read: {'; '.join(reader.files for reader in READERS.values())}"


def detect_kind(file: SourceFile) -> str:
    data = file.data
    head = bytes(data[:_HEAD_BYTES])
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= len(data) - 8:
        return "safetensors"
    if head[:4] == b"PK\x03\x04":
        return _zip_kind(file)
    if head[:2] == b"BM" and int.from_bytes(head[2:6], "little") == len(data):
        return "image"
    if not any(head) and not any(data[-_HEAD_BYTES:]):
        return "zeros"
    if data[-8:] == _LEVELDB_END:
        return "tensorflow-checkpoint"
    signatures = ((kind.signature, name) for name, kind in FILE_KINDS.items() if kind.signature)
    return (
        _first_match(signatures, head)
        or _text_kind(head, len(data))
        or _first_match(_MESSAGES, head)
    )


def _first_match(patterns: Iterable[tuple[bytes, str]], head: bytes) -> str:
    return next((kind for pattern, kind in patterns if re.match(pattern, head, re.S)), "")


def _zip_kind(file: SourceFile) -> str:
    try:
        with zipfile.ZipFile(file.stream) as archive:
            names = archive.namelist()[:_MAX_ENTRIES]
    except Exception:  # damaged: the reader of such files says how
        return "pytorch" if b"/data.pkl" in bytes(file.data[:200]) else ""
    ends = {name.partition("/")[2] or name for name in names}
    if "data.pkl" in ends:
        return "torchscript" if "constants.pkl" in ends else "pytorch"
    if "archive_format" in ends:
        return "torch-program"
    if {"metadata.json", "config.json"} & set(names) and "model.weights.h5" in names:
        return "keras"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "cuda-convnet" if names == ["data"] else "zip"


def _text_kind(head: bytes, size: int) -> str:
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig")):
        if head.startswith(mark):
            try:
                text = head[: len(head) // 2 * 2].decode(encoding)
            except UnicodeDecodeError as error:
                # The head may end within a character.
                if size <= len(head) or error.start < len(head) - 4:
                    continue
                text = head[: error.start].decode(encoding)
            if not any(c < " " and c not in "\t\n\r\f" for c in text):
                return next(kind for pattern, kind in _TEXTS if re.match(pattern, text, re.I))
    return ""
