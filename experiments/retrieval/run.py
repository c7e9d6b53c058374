"""Figure 4: the five best answers, and the training images that a layer finds near a test image.

    python -m experiments.retrieval.run miniature RUN
    python -m experiments.retrieval.run --quick    # minutes: trains the digits for it

For test images (queries) the nearest images of a random part of the training set are found by
Euclidean distance, in the activations of the dense layers and of the last convolution, and in the
pixels. Precision at k is the share of the k nearest images that have the query's class.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.insight.classifier import Classifier, classifier_of
from alexnet_jax.insight.neighbours import last_hidden_layer, nearest
from alexnet_jax.network.layers import Conv, Dense, MaxPool, layer_names
from alexnet_jax.runs.run_weights import load_weights
from experiments import pictures, programs
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.pages import table

OUTPUT = Path(__file__).parent / "results" / "retrieval.json"
COUNTS = (1, 5, 20)
QUERIES, BANK = 1000, 10_000
SHOWN, NEAREST = 8, 6


def layers_of(classifier: Classifier) -> list[str]:
    """Returns the hidden dense layers, last first, then the last pooling and convolution."""
    layers = classifier.network.layers
    names = layer_names(layers)
    dense = [n for n, layer in zip(names, layers, strict=True) if isinstance(layer, Dense)]
    last_conv = max(i for i, layer in enumerate(layers) if isinstance(layer, Conv))
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, MaxPool) and i > last_conv]
    return [*reversed(dense[:-1]), *(names[i] for i in pools[:1]), names[last_conv]]


def chosen(split: Any, count: int, seed: int) -> np.ndarray:
    """Returns the indices of `count` images of a split, drawn at random, in order."""
    draw = np.random.Generator(np.random.Philox(key=[seed, 0xF4]))
    return np.sort(draw.permutation(len(split))[:count])


def precision_at(
    query_labels: np.ndarray, neighbour_labels: np.ndarray, counts: Sequence[int]
) -> dict[int, float]:
    """Returns, for each k of `counts`, the mean share of the k nearest that have the query's class.

    Labels are `[n]` and `[n, largest k]`, nearest first.
    """
    right = neighbour_labels == query_labels[:, None]
    return {count: float(right[:, :count].mean()) for count in counts}


def measure(run_folder: Path, data_dir: Path | None, picture: Path) -> dict[str, Any]:
    """Returns precision at k by layer; draws some queries and their neighbours."""
    weights = load_weights(run_folder, "last")
    run, classifier = weights.run, classifier_of(weights)
    folder = Path(run.info["data_path"])
    dataset = open_dataset(data_dir / folder.name if data_dir else folder)
    test, train = dataset.split(run.config.data.validation_split), dataset.split("train")
    queries, bank = chosen(test, QUERIES, 0), chosen(train, BANK, 1)
    query_images, bank_images = test.images(queries), train.images(bank)
    labels, bank_labels = test.labels[queries], train.labels[bank]
    chance = float(np.mean([(bank_labels == label).mean() for label in labels]))
    found: dict[str, Any] = {"chance": chance, "queries": len(queries), "bank": len(bank)}
    found["run"] = {"seed": run.config.seed, "params_sha256": run.info.get("params_sha256")}
    found["layers"], near = {}, {}
    for layer in ("pixels", *reversed(layers_of(classifier))):
        if layer == "pixels":
            near[layer] = nearest(query_images, bank_images, max(COUNTS))[0]
        else:
            of_queries = classifier.features(query_images, layer)
            of_bank = classifier.features(bank_images, layer)
            near[layer] = nearest(of_queries, of_bank, max(COUNTS))[0]
        shares = precision_at(labels, bank_labels[near[layer]], COUNTS)
        found["layers"][layer] = {str(count): share for count, share in shares.items()}
    rows = np.random.Generator(np.random.Philox(key=[2, 0xF4])).permutation(len(queries))[:SHOWN]
    best = classifier.predict(query_images[rows], top_k=5, views=10)
    names = [run.class_names[label] for label in labels[rows]]
    neighbours = bank_images[near[last_hidden_layer(run.network)][rows, :NEAREST]]
    draw(query_images[rows], names, best, neighbours, picture, found)
    return found


def draw(
    images: Any, names: list[str], answers: Any, neighbours: Any, path: Path, source: Any
) -> None:
    """Draws one row per query: image, its best answers as bars, and its neighbours."""
    columns = 2 + neighbours.shape[1]
    figure = pictures.blank(1.15 * (columns + 1.2), 1.15 * len(images))
    ratios = [1, 2.2, *[1] * neighbours.shape[1]]
    grid = figure.subplots(len(images), columns, width_ratios=ratios)
    for axes, image, name, best, near in zip(grid, images, names, answers, neighbours, strict=True):
        for place, picture in zip((axes[0], *axes[2:]), (image, *near), strict=True):
            place.imshow(picture, interpolation="nearest")
            place.axis("off")
        bars = axes[1]
        values = [answer.probability for answer in best]
        colours = ["#7fb2e5" if answer.label == name else "#d0d0d0" for answer in best]
        bars.barh(range(len(best)), values, color=colours, height=0.8)
        for row, answer in enumerate(best):
            bars.text(0.02, row, answer.label, va="center", fontsize=7)
        bars.set(xlim=(0, 1), ylim=(len(best) - 0.5, -0.5), xticks=[], yticks=[])
        bars.spines[:].set_visible(False)
        axes[0].set_title(name, fontsize=7, pad=2)
    pictures.save(figure, path, source)


def table_of(record: dict[str, Any]) -> str:
    lines = []
    for name, entry in record["sets"].items():
        for layer, found in entry["layers"].items():
            shares = [f"{100 * found[str(count)]:.1f}" for count in COUNTS]
            lines.append([f"`{name}`", layer, *shares])
        lines.append([f"`{name}`", "chance", *[f"{100 * entry['chance']:.1f}"] * len(COUNTS)])
    return table(["", "layer", *(f"precision at {count}, %" for count in COUNTS)], lines)


def is_drawn(path: Path, entry: dict[str, Any]) -> bool:
    return pictures.is_of(path, {k: value for k, value in entry.items() if k != "environment"})


def main(words: list[str] | None = None) -> None:
    parser = programs.quick_parser(__doc__, OUTPUT)
    parser.add_argument("name", nargs="?", help="in the record")
    parser.add_argument("run", nargs="?", type=Path, help="finished run folder")
    parser.add_argument("--picture", type=Path, help="PNG file (default: beside the record)")
    arguments = parser.parse_intermixed_args(words)
    programs.use_quick_folders(parser, arguments)
    if arguments.quick:
        arguments.name, [arguments.run] = "digits", programs.train_digits(1, arguments.data_dir)
    if not arguments.run:
        parser.error("a name and its run are needed, or --quick")
    picture = arguments.picture or arguments.output.with_name(f"{arguments.name}.png")
    record = read(arguments.output) or {"sets": {}}
    found = measure(arguments.run, arguments.data_dir, picture)
    record["sets"][arguments.name] = {"environment": environment(), **found}
    write(arguments.output, record)
    programs.show(table_of(record), arguments.output, OUTPUT)


if __name__ == "__main__":
    main()
