"""What a file is, by its first bytes and a little of its structure: a wrong one gets its name.

Nothing is read beyond what is looked at, and nothing is unpacked. Sources: the formats' own
descriptions (NumPy's `lib.format`, HDF5 superblock, safetensors, zip, tar, protocol buffers, …).
"""

import re
import zipfile
from typing import NamedTuple

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.source_file import SourceFile

_HEAD = 4096
_MOST_ENTRIES = 20_000


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
      key: short name, by which readers say what they take.
      what: for a sentence "x.npy is …".
      remedy: what its owner can do.
    """

    key: str
    what: str
    remedy: str


_TAKEN = (
    "readers here take .pth or .safetensors under torchvision's keys, .caffemodel, checkpoints of "
    "cuda-convnet, and .safetensors of `export`"
)
_GET = "the download went wrong: get the file itself"
_UNPACK = "unpack it, and name the file of weights in it"

KINDS = {
    kind.key: kind
    for kind in (
        Kind("npy", "a NumPy file (.npy)", f"--source caffe reads Caffe's layers in one; {_TAKEN}"),
        Kind("npz", "a NumPy archive (.npz)", _TAKEN),
        Kind("hdf5", "an HDF5 file (Keras' .h5, or a new .caffemodel.h5)", _TAKEN),
        Kind("pytorch", "a PyTorch file (.pth)", "--source torchvision reads it"),
        Kind("torchscript", "a TorchScript archive of PyTorch", "--source torchvision reads it"),
        Kind(
            "torch-program",
            "an exported program of PyTorch (.pt2)",
            "save its state_dict with torch.save",
        ),
        Kind(
            "safetensors",
            "a safetensors file",
            "--source torchvision reads torchvision's layout, --source safetensors `export`'s",
        ),
        Kind("keras", "a Keras model (.keras)", _TAKEN),
        Kind("onnx", "an ONNX model", _TAKEN),
        Kind("tensorflow", "a TensorFlow graph (SavedModel or frozen GraphDef, .pb)", _TAKEN),
        Kind("tensorflow-checkpoint", "a file of a TensorFlow checkpoint", _TAKEN),
        Kind("tflite", "a TensorFlow Lite model (.tflite)", _TAKEN),
        Kind("caffemodel", "weights of Caffe (.caffemodel)", "--source caffe reads it"),
        Kind(
            "prototxt",
            "a network's description for Caffe (.prototxt), which holds no weights",
            "name the .caffemodel",
        ),
        Kind(
            "solverstate",
            "the state of a training of Caffe's (.solverstate)",
            "name the .caffemodel of the same step",
        ),
        Kind("binaryproto", "a mean image of Caffe (.binaryproto)", "name it with --mean"),
        Kind("cuda-convnet", "a checkpoint of cuda-convnet", "--source cuda-convnet reads it"),
        Kind("matlab", "a MATLAB file (.mat)", _TAKEN),
        Kind("pickle", "a pickle of Python", "if cuda-convnet wrote it: --source cuda-convnet"),
        Kind("gzip", "an archive (gzip)", _UNPACK),
        Kind("bzip2", "an archive (bzip2)", _UNPACK),
        Kind("xz", "an archive (xz)", _UNPACK),
        Kind("zstd", "an archive (Zstandard)", _UNPACK),
        Kind("zip", "a zip archive", _UNPACK),
        Kind("tar", "a tar archive", _UNPACK),
        Kind("7z", "an archive (7-Zip)", _UNPACK),
        Kind("rar", "an archive (RAR)", _UNPACK),
        Kind("html", "a web page (HTML)", _GET),
        Kind("xml", "an XML text (an error of a server, perhaps)", _GET),
        Kind(
            "lfs",
            "a Git LFS pointer, which only names the real file",
            "get that with `git lfs pull`, or download the file itself",
        ),
        Kind("image", "an image", "`predict` and `features` take images"),
        Kind("pdf", "a PDF document", _GET),
        Kind("json", "a JSON text", "class names go to --labels; weights are in another file"),
        Kind("text", "a text", "class names go to --labels; weights are in another file"),
        Kind("zeros", "nothing but zero bytes", _GET),
    )
}

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\x93NUMPY", "npy"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"MATLAB 5.0", "matlab"),
    (b"MATLAB 7.3", "matlab"),
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"%PDF-", "pdf"),
    (b"version https://git-lfs", "lfs"),
    (b"\xff\xd8\xff", "image"),
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"GIF8", "image"),
    (b"II*\0", "image"),
    (b"MM\0*", "image"),
    (b"\0\0\0\x0cjP  ", "image"),  # JPEG 2000
    (b"PK\x05\x06", "zip"),  # an empty one
)
_TEXTS: tuple[tuple[str, str], ...] = (
    (r"\s*<(!doctype\s+html\b|html\b|head\b|body\b|script\b|!--)", "html"),
    (r"\s*<(\?xml|error)\b", "xml"),
    (r"(?s)\s*(#[^\n]*\n\s*)*(name\s*:\s*\"|layers?\s*\{|input\s*:\s*\"|net\s*:\s*\")", "prototxt"),
    (r"\s*[\[{]", "json"),
    (r"\((dp|lp)[0-9]+\n", "pickle"),  # of the oldest protocol
)
_TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def kind_of(file: SourceFile) -> Kind | None:
    """Returns what the file is; None where nothing that is known fits."""
    key = _key(file)
    return KINDS[key] if key else None


def check_kind(file: SourceFile, *taken: str) -> None:
    """Raises `InputError` for a file that is plainly of another kind than those in `taken`.

    Args:
      file: the file.
      taken: keys of `KINDS`. A kind that is not recognised passes: its reader will say more.
    """
    kind = kind_of(file)
    if kind is not None and kind.key not in taken:
        raise InputError(f"{file.name} is {kind.what}; {kind.remedy}")


def _key(file: SourceFile) -> str:
    data = file.data
    head = bytes(data[:_HEAD])
    for beginning, key in _BEGINNINGS:
        if head.startswith(beginning):
            return key
    if re.match(rb"BZh[1-9]1AY&SY", head):
        return "bzip2"
    if re.match(rb"P[1-6]\s[\s\d#]", head):
        return "image"
    if head[:2] == b"BM" and int.from_bytes(head[2:6], "little") == len(data):
        return "image"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image"
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"avif"):
        return "image"
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[:4] == b"PK\x03\x04":
        return _zip_key(file)
    if head[257:262] == b"ustar":
        return "tar"
    if _is_safetensors(data, head):
        return "safetensors"
    if head[:4] == b"\0\0\1\0" and head[4:5] != b"\0":  # ICO, and how many pictures
        return "image"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pytorch" if _TORCH_MAGIC in head[:40] else "pickle"
    if re.match(rb"[\]}]q[\0-\xff][(UX]", head):  # of protocol 1
        return "pickle"
    if not any(head) and not any(data[-_HEAD:]):
        return "zeros"
    return _text_key(head, len(data)) or _message_key(head) or _table_key(data)


def _is_safetensors(data: memoryview, head: bytes) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= len(data) - 8


def _zip_key(file: SourceFile) -> str:
    """Returns what a zip archive is by the names in it."""
    names: list[str] = []
    try:
        with zipfile.ZipFile(file.stream()) as archive:
            names = archive.namelist()[:_MOST_ENTRIES]
    except Exception:  # a damaged one: whoever reads such files says in what way
        return "pytorch" if b"/data.pkl" in bytes(file.data[:200]) else ""
    ends = {name.partition("/")[2] or name for name in names}
    if "data.pkl" in ends and "constants.pkl" in ends:
        return "torchscript"
    if "data.pkl" in ends:
        return "pytorch"
    if "archive_format" in ends:
        return "torch-program"
    if {"metadata.json", "config.json"} & set(names) and "model.weights.h5" in names:
        return "keras"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "cuda-convnet" if names == ["data"] else "zip"


def _text_key(head: bytes, size: int) -> str:
    """Returns which text it is; empty where it is none."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig")):
        if head.startswith(mark):
            try:
                text = head[: len(head) // 2 * 2].decode(encoding)
            except UnicodeDecodeError as error:
                # The last character may be cut off by the length of the head.
                if size <= len(head) or error.start < len(head) - 4:
                    continue
                text = head[: error.start].decode(encoding)
            if any(c < " " and c not in "\t\n\r\f" for c in text):
                continue
            return next((key for form, key in _TEXTS if re.match(form, text, re.I)), "text")
    return ""


_MESSAGES: tuple[tuple[bytes, str], ...] = (
    # A mean image: num 1, channels 3, height.
    (rb"\x08\x01\x10\x03\x18", "binaryproto"),
    # A training's state: the step, the file of its weights.
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
"""The first fields of messages of protocol buffers."""


def _message_key(head: bytes) -> str:
    return next((key for form, key in _MESSAGES if re.match(form, head, re.S)), "")


def _table_key(data: memoryview) -> str:
    """Returns whether it is the index of a TensorFlow checkpoint, which is a LevelDB table."""
    return (
        "tensorflow-checkpoint" if bytes(data[-8:]) == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb" else ""
    )
