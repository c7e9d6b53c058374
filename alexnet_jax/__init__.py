"""AlexNet (Krizhevsky, Sutskever and Hinton, 2012) in JAX.

The public names load on first use, so that `import alexnet_jax` is instant:

    alexnet_jax.NETWORKS, alexnet_jax.AlexNet(network)
    alexnet_jax.PRESETS, alexnet_jax.Config, alexnet_jax.train(config, workdir)
    alexnet_jax.load(workdir).predict(images)
    alexnet_jax.receptive_fields(network)
"""

import importlib
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet_jax.config import Config
    from alexnet_jax.experiment import train
    from alexnet_jax.insight.classifier import load
    from alexnet_jax.network.model import AlexNet
    from alexnet_jax.network.networks import NETWORKS
    from alexnet_jax.network.receptive_fields import receptive_fields
    from alexnet_jax.presets import PRESETS
    from alexnet_jax.weights.importing import import_weights

__version__ = "0.1.0"

FIRST_IMPORT = time.monotonic(), time.process_time()
"""Wall clock and processor time at the first import, s; see `command_line.program_start`."""

__all__ = [
    "NETWORKS",
    "PRESETS",
    "AlexNet",
    "Config",
    "__version__",
    "import_weights",
    "load",
    "receptive_fields",
    "train",
]

_HOMES = {
    "AlexNet": "alexnet_jax.network.model",
    "Config": "alexnet_jax.config",
    "NETWORKS": "alexnet_jax.network.networks",
    "PRESETS": "alexnet_jax.presets",
    "import_weights": "alexnet_jax.weights.importing",
    "load": "alexnet_jax.insight.classifier",
    "receptive_fields": "alexnet_jax.network.receptive_fields",
    "train": "alexnet_jax.experiment",
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
