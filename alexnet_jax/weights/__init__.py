"""In from and out to other programs: every form of weights, by the name that users give it."""

from typing import Literal

Source = Literal["torchvision", "caffe", "cuda-convnet", "safetensors"]
"""Where weights may come from; module `readers.NAME`, with `_` for `-`, reads them with `read`."""

Format = Literal["safetensors", "torchvision", "stablehlo", "onnx", "savedmodel", "tflite"]
"""What they may go out as; see `WRITERS`."""

WRITERS: dict[Format, str] = {
    "safetensors": "safetensors",
    "torchvision": "torchvision",
    "stablehlo": "stablehlo",
    "onnx": "onnx",
    "savedmodel": "tensorflow",
    "tflite": "tensorflow",
}
"""The module of `writers` that has `export_FORMAT`."""
