"""The formats of weights, in and out: one entry here adds a reader or a writer."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from alexnet_jax.weights.readers.foreign_weights import ForeignWeights


class Reader(NamedTuple):
    """A format that weights are imported from."""

    # In `readers`; has `read(file, network_name, mean_file)` and, where a reader before it takes
    # the same kind, `recognizes(file)`: whether this one is right. `InputError` means no.
    module: str
    kinds: tuple[str, ...]  # keys of `file_kinds.FILE_KINDS`; `files` says the same in words
    files: str
    has_mean: bool = False  # the format fixes the preprocessing; `read` takes no `mean_file`
    has_folders: bool = False  # the module has `find_file(folder)`

    def load(self) -> ModuleType:
        return importlib.import_module(f"{__package__}.readers.{self.module}")

    def read(
        self, path: str | Path, network_name: str = "", mean: str | Path | None = None
    ) -> "ForeignWeights":
        """Raises `InputError` for another kind, damage, an attack, or an unknown network."""
        from alexnet_jax.errors import InputError
        from alexnet_jax.weights.readers.file_kinds import check_file_kind
        from alexnet_jax.weights.readers.source_file import open_source

        module = self.load()
        if self.has_folders and Path(path).is_dir():
            path = module.find_file(Path(path))
        file = open_source(path)
        check_file_kind(file, *self.kinds)
        if not self.has_mean:
            return module.read(file, network_name, None if mean is None else open_source(mean))
        if mean is not None:
            raise InputError(f"{file.name} comes with its own preprocessing; leave out --mean")
        return module.read(file, network_name)


READERS = {
    "torchvision": Reader(
        "torchvision",
        ("pytorch", "torchscript", "pickle", "safetensors"),
        ".pth and .safetensors files with torchvision's keys",
        has_mean=True,
    ),
    "caffe": Reader(
        "caffe", ("caffemodel", "npy"), ".caffemodel files, and .npy files of Caffe's layers"
    ),
    "cuda-convnet": Reader(
        "cuda_convnet",
        ("pickle", "cuda-convnet"),
        "checkpoints of cuda-convnet",
        has_folders=True,
    ),
    "keras": Reader(
        "keras", ("hdf5",), ".h5 files of convnets-keras (Keras 1 on Theano)", has_mean=True
    ),
    "paddle": Reader("paddle", ("pickle",), ".pdparams files of Paddle", has_mean=True),
    "mxnet": Reader("mxnet", ("mxnet",), ".params files of MXNet's gluon", has_mean=True),
    "darknet": Reader(
        "darknet", ("darknet",), ".weights files of Darknet's alexnet.cfg", has_mean=True
    ),
    "matconvnet": Reader(
        "matconvnet", ("matlab",), ".mat files of MatConvNet (SimpleNN)", has_mean=True
    ),
    "onnx": Reader("onnx", ("onnx",), ".onnx files of AlexNets"),
    "safetensors": Reader(
        "safetensors", ("safetensors",), ".safetensors files from `export`", has_mean=True
    ),
}


class Writer(NamedTuple):
    """A format that weights are exported to, by `function` of `module`.

    It takes `(weights, path)`, and for programs their `ProgramSpec`.
    """

    module: str
    help: str  # what is written
    endings: tuple[str, ...] = ()  # of the file's name; none: a folder is written
    extra: str = ""  # of this project, which installs what the module needs
    function: str = "write"
    layout: str = ""  # of the images in the network's own program; empty: arrays, no program
    sidecar_ending: str = ""  # in place of the file's; empty: `.json` is appended


FORMS = {
    "whole": "from uint8 images [batch, height, width, 3] to logits and probabilities",
    "network": "from preprocessed float32 images ([batch, 3, height, width] in onnx, else "
    "[batch, height, width, 3]) to logits, for runtimes that take no more",
}
"""What of the computation a program can hold."""

WRITERS = {
    "safetensors": Writer(
        "safetensors",
        "arrays by layer name",
        (".safetensors",),
        sidecar_ending=".config.json",
    ),
    "torchvision": Writer(
        "torchvision",
        "arrays by torchvision's keys, only of one-weird-trick",
        (".safetensors", ".pth"),
    ),
    "stablehlo": Writer("stablehlo", "a program", (".stablehlo",), "export", layout="NHWC"),
    "onnx": Writer("onnx", "a program", (".onnx",), "export", layout="NCHW"),
    "savedmodel": Writer("tensorflow", "a program", (), "savedmodel", "write_savedmodel", "NHWC"),
    "tflite": Writer("tensorflow", "a program", (".tflite",), "savedmodel", "write_tflite", "NHWC"),
}


def help_of_readers() -> str:
    """Returns which files `import-weights` takes, for its help."""
    return "; ".join(f"{name}: {reader.files}" for name, reader in READERS.items())


def help_of_writers() -> str:
    """Returns what `export` writes, for its help."""
    texts = []
    for name, writer in WRITERS.items():
        needs = f' (needs pip install -e ".[{writer.extra}]")' if writer.extra else ""
        texts.append(f"{name}: {' or '.join(writer.endings) or 'a folder'}, {writer.help}{needs}")
    return "; ".join(texts)


def help_of_forms() -> str:
    """Returns what `export --form` takes, for its help."""
    return "of a program. " + "; ".join(f"{name}: {text}" for name, text in FORMS.items())


if TYPE_CHECKING:
    Source = Format = Form = str
else:
    Source = Literal[tuple(READERS)]
    Format = Literal[tuple(WRITERS)]
    Form = Literal[tuple(FORMS)]
