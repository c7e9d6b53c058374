"""Which form of a convolution is fastest: every layer, its output and both gradients, all forms.

    python -m experiments.benchmarks.convolutions
    python -m experiments.benchmarks.convolutions --networks paper --batch 16

The choices of `alexnet_jax/network/conv_ops.py` were made by these tables, one for each JAX. Forms
take turns; of each the lower quartile counts, as other programs of a shared machine only ever make
one slower. Groups are alike, so one of them is timed. Writes `results/convolutions_VERSION.json`.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.network import conv_ops, minimal_filtering
from alexnet_jax.network.kinds import padding_of
from alexnet_jax.network.layers import Conv, LayerSummary, summarize
from alexnet_jax.network.networks import NETWORKS
from experiments import programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import RESULTS, write

NETWORKS_TIMED = ("paper", "one-weird-trick", "cifar-18pct", "cifar-13pct", "digits")
WANTED = ("output", "images", "kernel")
FORMS = ("direct", "patches", "minimal")
CHOSEN = "chosen"
Form = Callable[[jax.Array, jax.Array], jax.Array]


def main() -> None:
    version = "_".join(jax.__version__.split(".")[:2])
    parser = programs.parser(__doc__, RESULTS / f"convolutions_{version}.json")
    parser.add_argument("--networks", default=",".join(NETWORKS_TIMED), help="names with commas")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = []
    for network in options.networks.split(","):
        for layer in summarize(NETWORKS[network]):
            if isinstance(layer.layer, Conv):
                for wanted in WANTED:
                    found = measure(layer, wanted, options.batch, options.rounds)
                    rows.append({"layer": f"{network}/{layer.name}", "wanted": wanted} | found)
                    print(rows[-1], flush=True)
    facts = {"batch": options.batch, "environment": environment(), "rows": rows}
    write(options.output, {"question": "How long does each form of a convolution take?"} | facts)


def measure(layer: LayerSummary, wanted: str, batch: int, rounds: int) -> dict[str, float]:
    """Returns milliseconds by form for one group; forms that do not fit are left out."""
    spec: Any = layer.layer
    channels, features = layer.input_shape[2] // spec.groups, spec.features // spec.groups
    images = _normal(0, (batch, *layer.input_shape[:2], channels))
    kernel = _normal(1, (spec.window, spec.window, channels, features)) * 0.05
    padding = tuple(padding_of(size, spec) for size in layer.input_shape[:2])
    forms = forms_of(images, kernel, spec.stride, padding, wanted)
    programs_by_form = {
        name: jax.jit(functools.partial(_compute, form, wanted)) for name, form in forms.items()
    }
    shape = jax.eval_shape(forms["direct"], images, kernel).shape
    return _milliseconds(programs_by_form, (images, kernel, _normal(2, shape)), rounds)


def forms_of(images: Any, kernel: Any, stride: int, padding: Any, wanted: str) -> dict[str, Form]:
    """Returns the forms for one group of these shapes, and the one that is chosen, once more."""
    given = {"stride": stride, "padding": padding}
    forms: dict[str, Form] = {"direct": functools.partial(conv_ops.plain_convolution, **given)}
    if kernel.shape[2] <= 3:
        forms["patches"] = functools.partial(conv_ops.by_patches, **given)
    if tile := minimal_filtering.best_tile(*conv_ops.without_stride(images, kernel, **given)):
        forms["minimal"] = functools.partial(conv_ops.by_minimal_filtering, tile=tile, **given)
    return forms | {CHOSEN: functools.partial(conv_ops.one_group, result=wanted, **given)}


def _compute(form: Form, wanted: str, images: Any, kernel: Any, grad: Any) -> Any:
    if wanted == "output":
        return form(images, kernel)
    if wanted == "images":
        return jax.vjp(lambda value: form(value, kernel), images)[1](grad)[0]
    return jax.vjp(lambda value: form(images, value), kernel)[1](grad)[0]


def _milliseconds(
    forms: dict[str, Callable[..., Any]], arguments: tuple[Any, ...], rounds: int
) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        for name, form in forms.items():
            start = time.perf_counter()
            jax.block_until_ready(form(*arguments))
            times.setdefault(name, []).append(time.perf_counter() - start)
    quartile = {name: sorted(each[1:])[rounds // 4] for name, each in times.items()}
    return {name: float(f"{1e3 * seconds:.3g}") for name, seconds in quartile.items()}


def _normal(seed: int, shape: tuple[int, ...]) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


if __name__ == "__main__":
    main()
