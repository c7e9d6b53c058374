"""Checkpoints of cuda-convnet as Python 2 wrote them."""

import io
import pickle
import struct
from typing import Any

import numpy as np

SIZE, STORED = 99, 115  # two by two pixels are left before fc6


class OptionsParser:
    """Stands for the object of that name that checkpoints carry along."""

    def __init__(self):
        self.options = {"gpu": [0, 1]}


PurePythonPickler: Any = pickle._Pickler  # type: ignore[attr-defined]


class Python2Pickler(PurePythonPickler):
    """Writes protocol 2 as Python 2 did: 8-bit strings, and arrays whose bytes are one."""

    dispatch = dict(PurePythonPickler.dispatch)

    def save_string(self, value):
        data = value.encode("latin1") if isinstance(value, str) else value
        short = len(data) < 256
        head = b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))
        self.write(head + data)
        self.memoize(value)

    def save_array(self, array):
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        self.write(
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        )
        self.save(array.shape)
        self.write(
            b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        )
        self.write(b"K\x00tb" + (b"\x88" if fortran else b"\x89"))
        self.save_string(array.tobytes("F" if fortran else "C"))
        self.write(b"tb")

    dispatch[str] = dispatch[bytes] = save_string
    dispatch[np.ndarray] = save_array


def python2_pickle(value) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(value)
    return file.getvalue().replace(OptionsParser.__module__.encode() + b"\n", b"options\n")


def neuron(name, source):
    kind = {"type": "relu", "params": {}, "usesActs": True, "usesInputs": False}
    return {"name": f"{name}_neuron", "type": "neuron", "inputs": [source], "neuron": kind}


class Checkpoint:
    """Builds `model_state['layers']` and keeps the matrices for the oracle."""

    def __init__(self):
        self.layers = {
            "data": {"name": "data", "type": "data", "outputs": 3 * SIZE**2},
            "labels": {"name": "labels", "type": "data", "outputs": 1},
        }
        self.rng = np.random.default_rng(7)

    def add(self, name, kind, inputs, **values):
        self.layers[name] = {"name": name, "type": kind, "inputs": list(inputs)} | values

    def matrices(self, rows, columns, bias_shape, std, order: Any = "C"):
        weights = [
            np.array(self.rng.normal(size=(r, columns)) * std, np.float32, order=order)
            for r in rows
        ]
        biases = np.array(self.rng.normal(0, 0.3, bias_shape), np.float32)
        return {"weights": weights, "weightsInc": [np.zeros_like(w) for w in weights],
                "biases": biases, "biasesInc": np.zeros_like(biases)}  # fmt: skip

    def conv(
        self, name, inputs, channels, filters, window, *, stride=1, padding=0, image=9, relu=1
    ):
        count = len(inputs)
        std = (2 / (channels * count * window**2)) ** 0.5 * (0.02 if stride > 1 else 1)
        self.add(
            name, "conv", inputs, channels=[channels] * count, filters=filters,
            filterSize=[window] * count, stride=[stride] * count, padding=[-padding] * count,
            groups=[1] * count, imgSize=[image] * count, sharedBiases=True, neuron="relu",
            **self.matrices([channels * window**2] * count, filters, (filters, 1), std),
        )  # fmt: skip
        return self.relu(name) if relu else name

    def relu(self, name):
        self.layers[f"{name}_neuron"] = neuron(name, name)
        return f"{name}_neuron"

    def fc(self, name, inputs, rows, outputs, *, relu=1):
        std = (2 / (rows * len(inputs))) ** 0.5
        made = self.matrices([rows] * len(inputs), outputs, (1, outputs), std, "F")
        self.add(name, "fc", inputs, outputs=outputs, **made)
        return self.relu(name) if relu else name

    def pool(self, name, source, *, relu=0):
        self.add(name, "pool", [source], pool="max", sizeX=3, stride=2, start=0)
        return self.relu(name) if relu else name

    def lrn(self, name, source, **values):
        self.add(name, "cmrnorm", [source], size=5, scale=2e-5, pow=0.75, minDiv=2.0, **values)
        return name


def checkpoint_bytes(layers, **state) -> bytes:
    model_state = {"epoch": 90, "batchnum": 1, "train_outputs": [([0.5], 1)], "layers": layers}
    return python2_pickle({"model_state": model_state | state, "op": OptionsParser()})


def meta_bytes(mean) -> bytes:
    chw = np.ascontiguousarray(mean.transpose(2, 0, 1), np.float32)
    return python2_pickle({"data_mean": chw.reshape(-1, 1), "label_names": list("abcde")})
