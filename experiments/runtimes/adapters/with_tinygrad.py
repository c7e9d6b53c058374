"""tinygrad on the CPU."""

from tinygrad import Tensor
from tinygrad.nn.onnx import OnnxRunner


def load(file, option):
    def run(images):
        runner = OnnxRunner(file)  # one that has run keeps its batch size
        [name] = runner.graph_inputs
        return runner({name: Tensor(images)})["logits"].numpy()

    return run
