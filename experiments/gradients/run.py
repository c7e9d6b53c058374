"""Compares gradients of images with those of the plain `lax` form.

    python -m experiments.gradients.run --photos FOLDER

For every network and picture: the gradient of a weighted sum of the logits by the image, as the
library computes it, and with the forms of training, by which images were differentiated before.
Also whether knowing of differentiated images changes the program of a training step. Writes
`results/differences.json` and the table of the page.
"""

import statistics
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alexnet_jax.network.model import AlexNet, init_params
from alexnet_jax.network.networks import NETWORKS
from experiments import pages, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write
from experiments.gradients.forms import FORMS, forms
from experiments.gradients.pictures import drawn, photos
from experiments.pages import table

OUTPUT = Path(__file__).parent / "results" / "differences.json"
DEFAULT = ("paper", "original", "caffenet", "bvlc-alexnet", "one-weird-trick", "one-tower")
LIMITS = (1e-4, 1e-3, 0.1)


def compare(name: str, pictures: list[np.ndarray]) -> dict[str, list[float]]:
    """Returns by form, for every picture, |gradient - plain gradient| / |plain gradient|."""
    network = NETWORKS[name]
    params = init_params(network, network.image_size, 0)
    weights = np.random.default_rng(0).standard_normal(network.classes).astype(np.float32)

    def score(image, params):
        logits: Any = AlexNet(network).apply({"params": params}, image[None])
        return logits[0] @ weights

    found = {}
    for form in FORMS:
        with forms(form):
            gradient = jax.jit(lambda image, params: jax.grad(score)(image, params))
            found[form] = [np.asarray(gradient(picture, params)) for picture in pictures]
    norms = [np.linalg.norm(plain) for plain in found["plain"]]
    return {
        form: [
            float(f"{np.linalg.norm(ours - plain) / norm:.2e}")
            for ours, plain, norm in zip(found[form], found["plain"], norms, strict=True)
        ]
        for form in FORMS
        if form != "plain"
    }


def training_is_unchanged(name: str) -> bool:
    """Whether a step's lowered program is the same text with and without `sources`."""
    network = NETWORKS[name]
    size = network.image_size
    params = jax.eval_shape(lambda: init_params(network, size, 0))
    images = jax.ShapeDtypeStruct((16, size, size, 3), jnp.float32)

    def loss(params, images, key):
        logits: Any = AlexNet(network).apply(
            {"params": params}, images, train=True, rngs={"dropout": key}
        )
        return jnp.square(logits).mean()

    texts = set()
    for form in ("library", "training"):
        with forms(form):
            step = jax.jit(lambda *arguments: jax.grad(loss)(*arguments))
            texts.add(step.lower(params, images, jax.random.key(0)).as_text())
    return len(texts) == 1


def table_of(record: dict[str, Any]) -> str:
    head = ["network", "pictures", "", "median", *(f"> {limit:g}" for limit in LIMITS), "largest"]
    rows = []
    for name, entry in record["networks"].items():
        for kind, found in entry["differences"].items():
            for form, label in (("training", "before"), ("library", "now")):
                values = found[form]
                shares = [sum(v > limit for v in values) / len(values) for limit in LIMITS]
                cells = [f"{100 * share:.0f} %" for share in shares]
                median = f"{statistics.median(values):.1e}"
                pictures = f"{len(values)} {kind}" if label == "before" else ""
                network = f"`{name}`" if label == "before" else ""
                rows.append([network, pictures, label, median, *cells, f"{max(values):.1e}"])
    return table(head, rows)


def main() -> None:
    parser = programs.parser(__doc__, OUTPUT)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos")
    parser.add_argument("--count", type=int, default=100, help="photos to take")
    parser.add_argument("--networks", default=",".join(DEFAULT), help="names with commas between")
    arguments = parser.parse_args()
    networks: dict[str, Any] = {}
    record = {"environment": environment(), "networks": networks}
    for name in arguments.networks.split(","):
        size = NETWORKS[name].image_size
        kinds = {"drawn": drawn(size), "photos": photos(arguments.photos, arguments.count, size)}
        networks[name] = {
            "training_is_unchanged": training_is_unchanged(name),
            "differences": {kind: compare(name, list(found)) for kind, found in kinds.items()},
        }
        write(arguments.output, record)
        print(table_of({"networks": {name: networks[name]}}), flush=True)
    if arguments.output == OUTPUT:
        pages.write("gradients")


if __name__ == "__main__":
    main()
