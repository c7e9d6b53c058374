"""AlexNet (Krizhevsky, Sutskever and Hinton, 2012) in JAX.

Networks are data, interpreted by one pure Flax module:

>>> network = NETWORKS["paper"]
>>> network.towers, network.classes, network.image_size
(2, 1000, 224)
>>> summary(network).params
60965224
>>> receptive_fields(network)[0].size
11

Experiments are frozen dataclasses, and a run is a folder:

>>> config = dataclasses.replace(PRESETS["digits"], epochs=0.2, final_views=1)
>>> state = train(config, "runs/example", say=lambda line: None)
>>> sorted(state.params)[:3]
['conv1', 'conv2', 'conv3']

A run folder is enough to use a trained network:

>>> classifier = load("runs/example")
>>> [[answer]] = classifier.predict(["photo.jpg"], top_k=1)
>>> answer.label in classifier.class_names
True
>>> classifier.features(["photo.jpg"], layer="fc7").shape
(1, 256)

`import_weights` makes such a folder from the files of other programs (PyTorch, ONNX, Caffe,
MatConvNet, Keras, Paddle, MXNet, Darknet, cuda-convnet), and `lpips` compares pictures. All of this
but `lpips` is also a command: `python -m alexnet_jax.main --help`. Names load at first use, so
`import alexnet_jax` is instant and changes no setting of the process.

On Linux the first use of `AlexNet`, `train` or `load` asks the C library (glibc) to keep freed
memory in the process, in pages of 2 MiB, because XLA allocates new buffers at each step. Steps
become faster, and the process stays as large as its largest step. `ALEXNET_JAX_KEEP_MEMORY=0` in
the environment turns this off; so do `MALLOC_ARENA_MAX` and `GLIBC_TUNABLES=glibc.malloc…`. What it
is worth was measured: see "Freed memory" in `experiments/benchmarks/README.md`.
"""

import importlib
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet_jax.config import Config
    from alexnet_jax.insight.classifier import load
    from alexnet_jax.insight.lpips import lpips
    from alexnet_jax.network.layers import summarize
    from alexnet_jax.network.model import AlexNet
    from alexnet_jax.network.networks import NETWORKS
    from alexnet_jax.network.receptive_fields import receptive_fields
    from alexnet_jax.network.summary import summary
    from alexnet_jax.presets import PRESETS
    from alexnet_jax.weights.importing import import_weights
    from alexnet_jax.workflow import train

__version__ = "0.1.0"

FIRST_IMPORT = time.monotonic(), time.process_time()
"""Wall clock and processor time at the first import, s; see `program.program_start`."""

__all__ = [
    "NETWORKS",
    "PRESETS",
    "AlexNet",
    "Config",
    "__version__",
    "import_weights",
    "load",
    "lpips",
    "receptive_fields",
    "summarize",
    "summary",
    "train",
]

_HOMES = {
    "AlexNet": "alexnet_jax.network.model",
    "Config": "alexnet_jax.config",
    "NETWORKS": "alexnet_jax.network.networks",
    "PRESETS": "alexnet_jax.presets",
    "import_weights": "alexnet_jax.weights.importing",
    "load": "alexnet_jax.insight.classifier",
    "lpips": "alexnet_jax.insight.lpips",
    "receptive_fields": "alexnet_jax.network.receptive_fields",
    "summarize": "alexnet_jax.network.layers",
    "summary": "alexnet_jax.network.summary",
    "train": "alexnet_jax.workflow",
}


def __getattr__(name: str) -> Any:
    """Imports a public name's module at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
