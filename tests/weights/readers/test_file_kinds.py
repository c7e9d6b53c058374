"""A file of another kind is named for what it is, and its owner is told what to do."""

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from hostile import field
from PIL import Image
from safetensors.numpy import save

from alexnet_jax.errors import InputError
from alexnet_jax.weights import READERS
from alexnet_jax.weights.importing import import_weights
from alexnet_jax.weights.readers.caffe import read_mean
from alexnet_jax.weights.readers.file_kinds import FILE_KINDS, detect_kind, find_remedy, find_source
from alexnet_jax.weights.readers.source_file import open_source


def npy(value) -> bytes:
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


def zipped(*names) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


def image(form) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, form)
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"), io.BytesIO(b""))
    return file.getvalue()


def message(*fields) -> bytes:
    return b"".join(field(number, value) for number, value in fields)


LAYER = message((1, b"conv1"), (2, b"Convolution"))
NODE = message((1, b"input"), (2, b"Placeholder"))
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
FILES = {
    "npy": npy(np.zeros(3)),
    "npz": zipped("a.npy", "b.npy"),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "pytorch": zipped("a/data.pkl", "a/data/0", "a/version"),
    "torchscript": zipped("a/data.pkl", "a/constants.pkl", "a/code/x.py"),
    "torch-program": zipped("a/archive_format", "a/models/model.json", "a/data/weights/weight_0"),
    "safetensors": save({"a": np.zeros(3, np.float32)}),
    "keras": zipped("metadata.json", "config.json", "model.weights.h5"),
    "onnx": message((1, 8), (2, b"pytorch"), (7, NODE)),
    "tensorflow": message((1, NODE), (1, NODE)),
    "tensorflow-checkpoint": bytes(200) + b"\1" + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb",
    "tflite": b"\x1c\0\0\0TFL3" + bytes(50),
    "caffemodel": message((1, b"CaffeNet"), (100, LAYER * 20)),
    "prototxt": b'# AlexNet\nname: "AlexNet"\nlayer {\n  name: "data"\n}\n',
    "solverstate": message((1, 450_000), (2, b"net_iter_450000.caffemodel"), (3, bytes(9))),
    "binaryproto": message((1, 1), (2, 3), (3, 256), (4, 256), (5, bytes(40))),
    "cuda-convnet": zipped("data"),
    "mxnet": struct.pack("<3Q", 0x112, 0, 16),
    "darknet": struct.pack("<3iQ", 0, 2, 0, 1_000_000) + b"\1" * 8,
    "matlab": b"MATLAB 5.0 MAT-file" + bytes(200),
    "pickle": pickle.dumps({"a": 1}, 2),
    "gzip": gzip.compress(b"x"),
    "bzip2": b"BZh91AY&SY" + bytes(20),
    "zip": zipped("alexnet.caffemodel"),
    "tar": tar(),
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(30),
    "rar": b"Rar!\x1a\x07\x01\0" + bytes(30),
    "html": b"\n <!DOCTYPE html>\n<html><head><title>Quota exceeded</title>",
    "xml": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    "image": image("PNG"),
    "pdf": b"%PDF-1.5\n" + bytes(30),
    "json": json.dumps({"a": 1}).encode(),
    "text": "Bär\n".encode() * 3000,
    "zeros": bytes(100_000),
}
ALSO = {
    "the old container": ("pytorch", MAGIC + pickle.dumps(1001, 2)),
    "a saved model": ("tensorflow", message((1, 1), (2, message((1, bytes(200)))))),
    "an older net": ("caffemodel", message((1, b"CaffeNet"), (2, LAYER * 20))),
    "an older net, its data first": ("caffemodel", message((1, b"A"), (2, message((3, b"data"))))),
    "a net without a name": ("caffemodel", message((100, LAYER * 20))),
    "a batch of Python 2": ("pickle", b"(dp0\nS'data'\np1\n."),
    "a pickle of today": ("pickle", pickle.dumps([1], 4)),
    "a JPEG": ("image", image("JPEG")),
    "a WebP": ("image", image("WEBP")),
    "a bitmap": ("image", image("BMP")),
    "a long header": ("safetensors", struct.pack("<Q", 65536) + b"{}".ljust(65536)),
    "an icon": ("image", image("ICO")),
    "a portable picture": ("image", image("PPM")),
    "a JPEG 2000": ("image", image("JPEG2000")),
    "an empty zip": ("zip", zipped()),
    "a page with a comment first": ("html", b"<!-- saved -->\n<html></html>"),
    "a pickle of protocol 1": ("pickle", pickle.dumps({"a": 1}, 1)),
    "UTF-16": ("text", "a\nb\n".encode("utf-16")),
}


def write(tmp_path, data, name="weights.bin"):
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


@pytest.mark.parametrize("what", [*FILES, *ALSO])
def test_a_kind_is_known_by_its_first_bytes(what, tmp_path):
    key, data = ALSO.get(what) or (what, FILES[what])
    assert detect_kind(open_source(write(tmp_path, data))) == key


@pytest.mark.parametrize(
    "data",
    [b"\x01\x02", b"PK\x03\x04 and no more", b"BM is no bitmap", struct.pack("<Q", 10**9) + b"{",
     np.random.default_rng(0).bytes(5000), b"\x0a\xff\xff", b"\0" * 8 + b"\1"],
)  # fmt: skip
def test_what_is_not_known_has_no_name(data, tmp_path):
    assert detect_kind(open_source(write(tmp_path, data))) in ("", "text")


@pytest.mark.parametrize("source", READERS)
def test_every_reader_names_what_it_cannot_take(source, tmp_path):
    for kind in FILES.keys() - READERS[source].kinds:
        file = write(tmp_path, FILES[kind])
        with pytest.raises(InputError) as caught:
            import_weights(file, source, tmp_path / "run")
        expected = f"weights.bin is {FILE_KINDS[kind].description}; {find_remedy(kind)}"
        assert str(caught.value) == expected and not (tmp_path / "run").exists()


def test_a_mean_of_another_kind_is_named_too(tmp_path):
    for key in FILES.keys() - {"binaryproto", "npy"}:
        with pytest.raises(InputError, match="^weights.bin is "):
            read_mean(open_source(write(tmp_path, FILES[key])), 227)


@pytest.mark.timeout(20)
def test_a_folder_and_a_pipe_are_named_and_not_waited_for(tmp_path):
    with pytest.raises(InputError, match="is a folder; name a file"):
        open_source(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe or a device"):
        open_source(tmp_path / "pipe")


def test_what_another_reader_takes_says_which(tmp_path):
    for key, source in (("pytorch", "torchvision"), ("caffemodel", "caffe"), ("npy", "caffe")):
        with pytest.raises(InputError) as caught:
            import_weights(write(tmp_path, FILES[key]), "safetensors", tmp_path / "run")
        reads = f"--source {source} reads {READERS[source].files}"
        assert str(caught.value).split("; ", 1)[1] == reads


def test_the_source_of_every_kind_is_found_by_looking(tmp_path):
    taken = {kind for reader in READERS.values() for kind in reader.kinds}
    for kind in taken & FILES.keys():
        source = find_source(write(tmp_path, FILES[kind]))
        assert kind in READERS[source].kinds
    for kind in FILES.keys() - taken:
        with pytest.raises(InputError) as caught:
            import_weights(write(tmp_path, FILES[kind]), workdir=tmp_path / "run")
        assert str(caught.value) == (
            f"weights.bin is {FILE_KINDS[kind].description}; {find_remedy(kind)}"
        )


def test_a_kind_of_several_sources_is_told_apart_by_what_is_in_it(tmp_path):
    arrays = {"features.0.weight": np.zeros(3, np.float32)}
    files = {
        "torchvision": [save(arrays), pickle.dumps(arrays, 2), b"\x80\x02 damaged"],
        "safetensors": [save(arrays, {"format": "alexnet_jax"})],
        "paddle": [pickle.dumps({"_conv1._conv.weight": np.zeros(3, np.float32)}, 4)],
        "cuda-convnet": [pickle.dumps({"op": None, "model_state": {"layers": []}}, 2)],
    }
    for source, contents in files.items():
        for data in contents:
            assert find_source(write(tmp_path, data)) == source
    assert find_source(tmp_path) == "cuda-convnet"  # the only one with folders


def test_what_nobody_knows_is_told_in_one_line_what_can_be_read(tmp_path):
    with pytest.raises(InputError) as caught:
        import_weights(write(tmp_path, b"\1\2"), workdir=tmp_path / "run")
    assert all(reader.files in str(caught.value) for reader in READERS.values())
    assert str(caught.value).startswith("weights.bin is of no kind that is known here; ")
    assert "\n" not in str(caught.value)
