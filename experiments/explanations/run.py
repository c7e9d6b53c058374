"""Do the places that a map names matter? Deletion and insertion curves of photos.

    python -m experiments.explanations.run RUN --data PREPARED

A photo's centre view is cut into 16 x 16 blocks. Deletion hides the blocks in the data's mean,
those with the largest mean of the map first, and insertion shows them on the mean in the same
order; the label is the most probable one of the whole view. A good map makes its probability fall
soon and rise soon (Petsiuk, Das, Saenko, 2018, "RISE", section 4.1). `random` is an order without a
map.
"""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import stats

import alexnet_jax
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.insight.classifier import Classifier
from alexnet_jax.insight.explanations import methods_of
from experiments import programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import write
from experiments.pages import table
from experiments.retrieval.run import chosen

OUTPUT = Path(__file__).parent / "results" / "explanations.json"
BLOCKS, STEPS = 16, 16
"""Blocks along a side of the view, and steps from the first block to the last."""


def main() -> None:
    parser = programs.parser(__doc__, OUTPUT)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--data", type=Path, required=True, help="a prepared set")
    parser.add_argument("--split", default="test")
    parser.add_argument("--photos", type=int, default=100)
    arguments = parser.parse_args()
    classifier = alexnet_jax.load(arguments.run, "last")
    split = open_dataset(arguments.data).split(arguments.split)
    indices = chosen(split, arguments.photos, 0)
    curves: list[dict[str, Any]] = []
    for index in indices:
        stored = split.images(np.array([index]))
        curves.append(curves_of(classifier, stored, int(index)))
        print(f"{len(curves)} of {len(indices)} photos", flush=True)
    right = [c["answer"] == int(split.labels[i]) for c, i in zip(curves, indices, strict=True)]
    record = {
        "environment": environment(),
        "set": arguments.data.name,
        "network": classifier.network.name,
        "photos": len(indices),
        "right": float(np.mean(right)),
        "probability": float(np.mean([c["probability"] for c in curves])),
        "methods": summarize(curves),
    }
    write(arguments.output, record)
    programs.show(table_of(record), arguments.output, OUTPUT)


def curves_of(classifier: Classifier, stored: np.ndarray, seed: int) -> dict[str, Any]:
    """Returns the probabilities of the first answer, `STEPS + 1` for each method and direction.

    `stored` is uint8 `[1, stored_size, stored_size, 3]`.
    """
    [image] = classifier.preprocess(stored)
    orders, answer = {}, None
    for method in methods_of(classifier.network):
        found = classifier.explain(stored, method)
        orders[method], answer = block_order(found.maps[0]), found.answers[0]
    orders["random"] = np.random.default_rng(seed).permutation(BLOCKS**2)
    assert answer is not None
    curves = {}
    for method, order in orders.items():
        left = steps_of(image, order)
        both = np.concatenate([left, image[None] - left])
        odds = np.asarray(jax.nn.softmax(classifier.apply(both)))[:, answer.index]
        curves[method] = {"deletion": odds[: STEPS + 1], "insertion": odds[STEPS + 1 :]}
    return {"answer": answer.index, "probability": answer.probability, "curves": curves}


def block_order(values: np.ndarray) -> np.ndarray:
    """Returns the numbers of the blocks of a map `[size, size]`, the largest mean first."""
    edges = block_edges(len(values))
    means = [
        values[top:bottom, left:right].mean()
        for top, bottom in zip(edges, edges[1:], strict=False)
        for left, right in zip(edges, edges[1:], strict=False)
    ]
    return np.argsort(-np.array(means), kind="stable")


def block_edges(size: int) -> np.ndarray:
    return np.linspace(0, size, BLOCKS + 1).round().astype(int)


def steps_of(image: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns a preprocessed image with 0, 1, … all `STEPS` parts of its blocks hidden (0)."""
    edges, views = block_edges(len(image)), [image]
    for part in np.array_split(order, STEPS):
        view = views[-1].copy()
        for block in part:
            y, x = divmod(int(block), BLOCKS)
            view[edges[y] : edges[y + 1], edges[x] : edges[x + 1]] = 0
        views.append(view)
    return np.stack(views)


def summarize(curves: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns mean curves, and the mean area under them with 95 % intervals, by method."""
    found = {}
    for method in curves[0]["curves"]:
        found[method] = {}
        for way in ("deletion", "insertion"):
            rows = np.stack([c["curves"][method][way] for c in curves]).astype(float)
            by_chance = np.stack([c["curves"]["random"][way] for c in curves]).astype(float)
            found[method][way] = {
                "curve": [round(float(value), 4) for value in rows.mean(axis=0)],
                "area": interval(area(rows)),
                "less_random": interval(area(rows) - area(by_chance)),
            }
    return found


def area(rows: np.ndarray) -> np.ndarray:
    """Returns the area under each row of `[n, STEPS + 1]`, from 0 to 1."""
    return (rows[:, 1:] + rows[:, :-1]).mean(axis=1) / 2


def interval(values: np.ndarray) -> dict[str, Any]:
    """Returns the mean with its 95 % interval over photos."""
    n, mean = len(values), float(values.mean())
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)) if n > 1 else 0.0
    return {"mean": mean, "interval_95": [mean - half, mean + half], "n": n}


def table_of(record: dict[str, Any]) -> str:
    def words(found: dict[str, Any], form: str) -> str:
        low, high = found["interval_95"]
        return f"{found['mean']:{form}} ({low:{form}} to {high:{form}})"

    rows = []
    for method, ways in record["methods"].items():
        cells = [f"`{method}`"]
        for way in ("deletion", "insertion"):
            cells.append(words(ways[way]["area"], ".3f"))
            cells.append("" if method == "random" else words(ways[way]["less_random"], "+.3f"))
        rows.append(cells)
    head = ("order", "deletion (less is better)", "less random", "insertion (more is better)")
    return table((*head, "less random"), rows)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
