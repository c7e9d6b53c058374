"""Small whole files of every format: what the fuzzer mutates."""

import argparse
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from alexnet_jax import workflow
from alexnet_jax.config import Config, DataConfig
from alexnet_jax.display import Display
from alexnet_jax.network.layers import (
    Activation,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Network,
    parametric_layers,
    summarize,
    with_features,
)
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation.prepare import prepare
from alexnet_jax.runs.run_weights import load_weights
from alexnet_jax.weights.exporting import export

TINY = Network(
    "tiny",
    (Conv("conv1", 2, 3), Activation(), MaxPool(), Flatten(), Dense("fc2", 2)),
    8,
    "for the fuzzer",
)
NARROW = ("caffenet", "bvlc-alexnet", "one-weird-trick", "cifar-13pct")


def narrow_networks() -> None:
    """Gives the published networks two to four channels a layer, so that files stay small."""
    NETWORKS["tiny"] = TINY
    for name in NARROW:
        network = NETWORKS[name]
        widths = {layer.name: 2 * layer.groups for layer in parametric_layers(network.layers)}
        layers = with_features(network.layers, widths)
        NETWORKS[name] = Network(name, layers, min(network.image_size, 64), network.source)


def images() -> list[bytes]:
    """Returns a picture in every format and kind of pixels that photos come in."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    kinds = [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P")]
    kinds += [("PNG", "I;16"), ("GIF", "P"), ("BMP", "RGB"), ("WEBP", "RGB"), ("TIFF", "RGB")]
    kinds += [(form, "RGB") for form in ("PPM", "JPEG2000", "ICO", "TGA", "PCX", "QOI", "SGI")]
    kinds += [("TIFF", "I;16"), ("TIFF", "F"), ("TIFF", "RGBA"), ("TIFF", "LAB"), ("PPM", "I;16")]
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = []
    for form, mode in kinds:
        picture = Image.new(mode, (16, 12)) if mode == "I;16" else colour.convert(mode)
        file = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {"exif": exif, "icc_profile": srgb} if form in ("JPEG", "WEBP") else {}
        picture.save(file, form, **options)
        made.append(file.getvalue())
    return made


def archives() -> list[bytes]:
    content = {"a/1.png": images()[3], "b/2.jpg": images()[0], "names.csv": b"id,name\na,ant\n"}
    return [_tar(content, "w"), _tar(content, "w:gz")]


def cifar10() -> list[bytes]:
    """Returns archives of CIFAR-10's batches, pickled and binary."""
    pixels = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    batch = {"data": pixels, "labels": [3, 5], "filenames": ["cat.png", "dog.png"]}
    folder = "cifar-10-batches-py"
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    pickled = {f"{folder}/{name}": pickle.dumps(batch, 2) for name in names}
    binary = b"".join(bytes([3]) + row.tobytes() for row in pixels)
    plain = {f"cifar-10-batches-bin/{name}.bin": binary for name in names}
    return [_tar(pickled, "w"), _tar(plain, "w")]


def pickles() -> list[bytes]:
    """Returns pickles of every protocol that is read."""
    value = {"a": [1, 2.5, -(2**70), None, True], "b": ("é", b"x"), "c": np.arange(6.0)}
    return [pickle.dumps(value, protocol) for protocol in range(1, 5)]


def cuda_convnet() -> list[bytes]:
    """Returns a checkpoint of a narrow 13 % net."""
    rng = np.random.default_rng(3)

    def weighted(name, kind, source, channels, filters, window, padding, side):
        positions = side**2 if kind == "local" else 1
        rows = positions * channels * window**2
        return {
            "name": name, "type": kind, "inputs": [source], "channels": [channels],
            "filters": filters, "filterSize": [window], "padding": [-padding], "stride": [1],
            "imgSize": [side], "modules": side**2, "groups": [1],
            "neuron": {"type": "relu", "params": {}},
            "weights": [rng.normal(size=(rows, filters)).astype("f4")],
            "biases": rng.normal(size=(filters * positions, 1)).astype("f4"),
        }  # fmt: skip

    def pool(name, source):
        return {"name": name, "type": "pool", "inputs": [source], "pool": "max", "sizeX": 3,
                "stride": 2, "start": 0}  # fmt: skip

    layers = [
        {"name": "data", "type": "data", "outputs": 1728},
        weighted("conv1", "conv", 0, 3, 2, 5, 2, 24),
        pool("pool1", 1),
        weighted("conv2", "conv", 2, 2, 2, 5, 2, 12),
        pool("pool2", 3),
        weighted("local3", "local", 4, 2, 2, 3, 1, 6),
        weighted("local4", "local", 5, 2, 2, 3, 1, 6),
        {"name": "fc10", "type": "fc", "inputs": [6], "outputs": 2,
         "weights": [np.asfortranarray(rng.normal(size=(72, 2)).astype("f4"))],
         "biases": rng.normal(size=(1, 2)).astype("f4")},
        {"name": "probs", "type": "softmax", "inputs": [7]},
    ]  # fmt: skip
    state = {"epoch": 90, "batchnum": 1, "layers": layers}
    data = pickle.dumps({"model_state": state, "op": None}, 2)
    return [data, zipped({"data": data})]


def batches_meta() -> bytes:
    """Returns the mean image as cuda-convnet keeps it."""
    mean = np.full((3 * 32 * 32, 1), 120, np.float32)
    return pickle.dumps({"data_mean": mean, "label_names": ["a", "b"]}, 2)


def caffe() -> list[bytes]:
    """Returns weights of a narrow network of Caffe's, in both forms and in a NumPy file."""
    return [_caffe(False), _caffe(True), _caffe_npy()]


def _caffe_npy() -> bytes:
    layers = {}
    for summary in summarize(NETWORKS["bvlc-alexnet"]):
        part = summary.layer
        if isinstance(part, Conv):
            depth = summary.weights // part.features // part.window**2
            shape = (part.window, part.window, depth, part.features)
            layers[part.name] = [np.ones(shape, "f4"), np.ones(part.features, "f4")]
    file = io.BytesIO()
    np.save(file, np.array(layers, object), allow_pickle=True)
    return file.getvalue()


def _caffe(old: bool) -> bytes:
    def number(value: int) -> bytes:
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    def field(place: int, value: Any) -> bytes:
        if isinstance(value, int):
            return number(place << 3) + number(value)
        if isinstance(value, float):
            return number(place << 3 | 5) + struct.pack("<f", value)
        data = value.encode() if isinstance(value, str) else value
        return number(place << 3 | 2) + number(len(data)) + data

    def blob(array: np.ndarray) -> bytes:
        if old:
            shape = (1,) * (4 - array.ndim) + array.shape
            sizes = b"".join(field(i + 1, n) for i, n in enumerate(shape))
        else:
            sizes = field(7, field(1, b"".join(number(n) for n in array.shape)))
        return sizes + field(5, array.astype("<f4").tobytes())

    def layer(name: str, kind: str, arrays: tuple[np.ndarray, ...] = ()) -> bytes:
        norm = field(1, 5) + field(2, 1e-4) + field(3, 0.75) + field(5, 1.0)
        if old:
            types = {"Convolution": 4, "InnerProduct": 14, "Pooling": 17, "LRN": 15}
            body = field(4, name) + field(5, types[kind]) + (kind == "LRN") * field(18, norm)
            return field(2, body + b"".join(field(6, blob(a)) for a in arrays))
        body = field(1, name) + field(2, kind) + (kind == "LRN") * field(118, norm)
        return field(100, body + b"".join(field(7, blob(a)) for a in arrays))

    rng, inputs, data = np.random.default_rng(0), 3, field(1, "CaffeNet")
    for part in parametric_layers(NETWORKS["caffenet"].layers):
        if isinstance(part, Conv):
            shape = (part.features, inputs // part.groups, part.window, part.window)
        else:
            assert isinstance(part, Dense)
            shape = (part.features, inputs)
        kind = "Convolution" if isinstance(part, Conv) else "InnerProduct"
        arrays = (rng.normal(size=shape), rng.normal(size=part.features))
        data += layer(part.name, kind, arrays)
        inputs = part.features
        if part.name in ("conv1", "conv2"):
            data += layer(f"pool{part.name[-1]}", "Pooling") + layer(f"n{part.name[-1]}", "LRN")
    return data


def labels() -> list[bytes]:
    return [
        b"ant\nbee\n",
        b"n01440764 tench, Tinca tinca\nn01443537 goldfish\n",
        json.dumps(["ant", "bee"]).encode(),
        json.dumps({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}).encode(),
        json.dumps({"id2label": {"0": "ant"}, "label2id": {"ant": 0}}).encode(),
        json.dumps([{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}]).encode(),
        b"CLASSES = {0: 'ant', 1: \"bee\", 2: 'cat'}",
        b"n02119789 1 kit_fox\nn02100735 2 English_setter\n",
        b"id;label\n0;ant\n1;bee\n",
        b"0: ant\n1: bee, wild\n2: cat\n",
        "\ufeffant\nbee\n".encode("utf-16"),
    ]


def prepared_set(root: Path) -> Path:
    """Prepares four photos of two classes, and returns the folder of the set."""
    for name in ("a", "b"):
        (root / "photos" / name).mkdir(parents=True, exist_ok=True)
        for i, data in enumerate(images()[:2]):
            (root / "photos" / name / f"{i}.jpg").write_bytes(data)
    return prepare(_set(root), root / "data", display=Display.on_stderr(quiet=True))


def _set(root: Path) -> DataConfig:
    photos = str(root / "photos")
    return DataConfig(name="set", source_kind="folder", source=photos, stored_size=10)


def run(root: Path) -> Path:
    """Trains the tiny network for two epochs, and returns its folder."""
    config = Config(
        preset="tiny", network="tiny", batch_size=2, replicas=1, epochs=2, data=_set(root),
        final_views=1, log_every_steps=1,
    )  # fmt: skip
    workflow.train(config, root / "run", data_dir=root / "data", say=lambda _: None)
    return root / "run"


def exported(run: Path, form: Any, ending: str) -> bytes:
    """Returns the weights of a run in one of the formats that are also read."""
    path = run.parent / f"weights{ending}"
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".json").unlink(missing_ok=True)
    export(load_weights(run, "last"), path, form)
    return path.read_bytes()


def torch_files() -> list[bytes]:
    """Returns weights in both containers of PyTorch, alone or in a training."""
    import torch

    from alexnet_jax.weights.readers.torchvision import layer_keys

    arrays = {}
    for key in layer_keys(NETWORKS["one-weird-trick"]):
        arrays[f"{key.prefix}.weight"] = torch.ones(key.weight_shape) / 7
        arrays[f"{key.prefix}.bias"] = torch.ones(key.weight_shape[:1])
    averaged = {f"module.{name}": array for name, array in arrays.items()}
    training = {"args": argparse.Namespace(lr=0.1), "net": arrays, "net_ema": averaged}
    made = []
    for zipped in (True, False):
        for value in (arrays, training):
            file = io.BytesIO()
            torch.save(value, file, _use_new_zipfile_serialization=zipped)
            made.append(file.getvalue())
    return made


def zipped(content: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file.getvalue()


def _tar(content: Mapping[str, bytes], mode: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()
