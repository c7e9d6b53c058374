"""ONNX models of classifiers: of PyTorch's exporters, of ONNX's model zoo, and our own.

An ONNX file does not say how its images are prepared. Models of PyTorch see RGB in 0..1, less
ImageNet's mean, divided by its deviation; Caffe's, those of the zoo among them, BGR in 0..255 less
the mean. The zoo's have 224 pixels, where pooling covers less of an image than Caffe's 227.
"""

import numpy as np

from alexnet_jax.config import PreprocessConfig
from alexnet_jax.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Network
from alexnet_jax.weights.readers import onnx_own
from alexnet_jax.weights.readers.caffe import CHANNEL_MEAN, STORED_SIZE, read_mean
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights, plain_inputs
from alexnet_jax.weights.readers.layer_sequence import match_layers
from alexnet_jax.weights.readers.onnx_proto import Model, files_beside, read_model
from alexnet_jax.weights.readers.onnx_sequence import read_sequence
from alexnet_jax.weights.readers.source_file import SourceFile

_CAFFE_NETWORKS = ("caffenet", "bvlc-alexnet", "caffenet-224", "bvlc-alexnet-224")
_TORCH_MESSAGE = (
    "the file does not say how images are prepared: taken as PyTorch's, RGB in 0..1 less "
    "ImageNet's mean, divided by its deviation"
)
_CAFFE_MESSAGE = (
    "the file does not say how images are prepared: taken as Caffe's, BGR in 0..255 less the mean"
)


def read(
    file: SourceFile, network_name: str = "", mean_file: SourceFile | None = None
) -> ForeignWeights:
    """`mean_file`: of a network of Caffe's."""
    model = read_model(file)
    is_own = onnx_own.is_own(model)
    if is_own and mean_file is None:
        return onnx_own.read_own(file, model, network_name)
    sequence = read_sequence(file, model)
    network, params, size = match_layers(
        file.name,
        sequence.layers,
        sequence.image_size,
        network_name,
        flattened=sequence.flattened,
    )
    is_caffe = _is_caffe(model, network)
    if mean_file is not None and (is_own or not is_caffe):
        raise InputError(
            f"{file.name} has network '{network.name}', which has no mean image; leave out --mean"
        )
    if is_caffe:
        first = params["conv1"]
        first["kernel"] = np.ascontiguousarray(first["kernel"][:, :, ::-1])  # BGR to RGB
        mean = CHANNEL_MEAN if mean_file is None else read_mean(mean_file, size)
        inputs = plain_inputs(mean)
        preprocess = PreprocessConfig(mean="channel" if mean_file is None else "image-aligned")
        stored = STORED_SIZE if mean_file is None else inputs.mean.shape[0]
    else:
        inputs, stored = plain_inputs(IMAGENET_MEAN, IMAGENET_STD), STORED_SIZE
        preprocess = PreprocessConfig(mean="imagenet", scale="imagenet")
    return ForeignWeights(
        file=file,
        network=network,
        params=params,
        image_size=size,
        stored_size=max(stored, size),
        preprocess=preprocess,
        inputs=inputs,
        form="ONNX",
        class_order="wordnet" if network.classes == 1000 else "names",
        notes=_notes(file, model, is_caffe),
        messages=(_CAFFE_MESSAGE if is_caffe else _TORCH_MESSAGE,),
    )


def _notes(file: SourceFile, model: Model, is_caffe: bool) -> tuple[str, ...]:
    turned = ("conv1's input channels turned from BGR to RGB",) * is_caffe
    beside = [f"arrays in {x.name}, SHA-256 {x.sha256()}" for x in files_beside(file, model)]
    return (f"written by '{model.producer[:80]}'", *turned, *beside)


def _is_caffe(model: Model, network: Network) -> bool:
    return network.name in _CAFFE_NETWORKS and not model.producer.startswith("pytorch")
