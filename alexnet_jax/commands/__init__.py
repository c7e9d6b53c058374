"""The verbs: one class each. Its fields are the options, its docstring is the help.

Libraries that take long to import are imported inside the verbs, so that `--help` is instant.
"""

from alexnet_jax.commands.information import Demo, Doctor, Presets, Report, Summary
from alexnet_jax.commands.options import Options
from alexnet_jax.commands.predictions import Features, Predict
from alexnet_jax.commands.prepare import Prepare
from alexnet_jax.commands.training import Evaluate, Train
from alexnet_jax.commands.weights import Export, ImportWeights

VERBS: dict[str, type[Options]] = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "features": Features,
    "export": Export,
    "import-weights": ImportWeights,
    "prepare": Prepare,
    "report": Report,
    "demo": Demo,
    "doctor": Doctor,
    "presets": Presets,
    "summary": Summary,
}
"""The only place that lists the verbs. A new one is a class in a module of this package."""
