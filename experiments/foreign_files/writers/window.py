"""Runs in a library's environment: which channels its normalization reads, and what divides alpha.

    python window.py LIBRARY   # prints {"version": …, "2": {…}, …}

`offsets`: the channels that change channel 6 of 12, seen from it. With x = alpha = beta = k = 1 the
result is 1 / (1 + count / divisor), count being the channels in the window.
"""

import json
import sys

import numpy as np

CHANNELS, MIDDLE = 12, 6


def torch_function():
    import torch

    def normalize(x, size):
        function = torch.nn.functional.local_response_norm
        return function(torch.tensor(x), size, alpha=1.0, beta=1.0, k=1.0).numpy()

    return normalize, torch.__version__


def paddle_function():
    import paddle

    def normalize(x, size):
        function = paddle.nn.functional.local_response_norm
        return function(paddle.to_tensor(x), size, alpha=1.0, beta=1.0, k=1.0).numpy()

    return normalize, paddle.__version__


def mxnet_function():
    import mxnet

    def normalize(x, size):
        function = mxnet.nd.LRN
        return function(mxnet.nd.array(x), nsize=size, alpha=1.0, beta=1.0, knorm=1.0).asnumpy()

    return normalize, mxnet.__version__


def chainer_function():
    import chainer

    def normalize(x, size):
        function = chainer.functions.local_response_normalization
        return function(x, n=size, k=1.0, alpha=1.0, beta=1.0).array

    return normalize, chainer.__version__


def onnx_model(size):
    import onnx

    values = [
        onnx.helper.make_tensor_value_info(name, 1, [CHANNELS, CHANNELS, 1, 1]) for name in "xy"
    ]
    node = onnx.helper.make_node("LRN", ["x"], ["y"], size=size, alpha=1.0, beta=1.0, bias=1.0)
    graph = onnx.helper.make_graph([node], "lrn", values[:1], values[1:])
    opset = onnx.helper.make_opsetid("", 13)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)


def onnx_function():
    import onnx
    from onnx.reference import ReferenceEvaluator

    def normalize(x, size):
        # The evaluator is right only where the batch is as large as the channels.
        batch = np.repeat(x, CHANNELS, axis=0)
        (y,) = ReferenceEvaluator(onnx_model(size)).run(None, {"x": batch})
        return np.asarray(y)[:1]

    return normalize, onnx.__version__


def onnxruntime_function():
    import onnxruntime

    def normalize(x, size):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        data = onnx_model(size).SerializeToString()
        session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
        (y,) = session.run(None, {"x": np.repeat(x, CHANNELS, axis=0)})
        return np.asarray(y)[:1]

    return normalize, onnxruntime.__version__


def look(normalize, size):
    """Returns what one window does, or the first line of what the library says against it."""
    ones = np.ones((1, CHANNELS, 1, 1), np.float32)
    try:
        plain = normalize(ones, size).ravel()
        offsets = []
        for channel in range(CHANNELS):
            x = ones.copy()
            x[0, channel] = 3
            changed = normalize(x, size).ravel()[MIDDLE] * (1 / 3 if channel == MIDDLE else 1)
            if abs(changed - plain[MIDDLE]) > 1e-4:
                offsets.append(channel - MIDDLE)
    except Exception as error:
        return {"refused": str(error).strip().splitlines()[-1][:200] or type(error).__name__}
    first = sum(0 <= offset for offset in offsets)
    counts = {"middle": (MIDDLE, len(offsets)), "edge": (0, first)}
    divisors = {}
    for place, (channel, count) in counts.items():
        divisors[place] = round(float(count / (1 / plain[channel] - 1)), 3)
    return {"offsets": offsets, "divisors": divisors}


def main(library):
    normalize, version = globals()[library + "_function"]()
    found = {str(size): look(normalize, size) for size in (2, 3, 4, 5)}
    print(json.dumps(dict(found, version=version)))


if __name__ == "__main__":
    main(*sys.argv[1:])
