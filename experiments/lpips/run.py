"""Is our LPIPS that of the packages `lpips` and torchmetrics, and how fast is it?

    pip install torch torchvision lpips torchmetrics
    python -m experiments.lpips.run --photos PHOTOS.tar.gz            # values and speed
    python -m experiments.lpips.run --photos PHOTOS.tar.gz --speed 0  # values alone

`--photos` is a tar of 42 JPEG files or more; nothing of them is kept. The trained trunk is that of
`experiments/real_weights`, the heads are the installed package's. Writes `results/lpips.json` and
the tables of the page.
"""

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.errors import InputError
from experiments import pages, programs
from experiments.benchmarks.contest import Contestant, Rules, hold
from experiments.benchmarks.environment import environment
from experiments.benchmarks.records import read, write
from experiments.lpips import libraries
from experiments.lpips.pictures import read_pairs
from experiments.real_weights.trunk import find_archive

OUTPUT = Path(__file__).parent / "results" / "lpips.json"
OTHERS = ("lpips", "torchmetrics")
FORMATS = ("contiguous", "channels_last")
WORK = [
    (what, size, batch)
    for what in ("distance", "gradient")
    for size, batch in ((64, 1), (64, 32), (224, 1), (224, 32))
]


def compare(archive: Path, heads: Path, photos: Path) -> dict[str, Any]:
    """Returns a row for each pair, and the largest differences."""
    metric = libraries.ours(archive, heads)
    modules = {name: libraries.theirs(archive, name) for name in OTHERS}
    double = libraries.theirs(archive).double()
    spatial = libraries.theirs(archive, spatial=True)
    rows = []
    for pair in read_pairs(photos):
        x, y = pair.x[None], pair.y[None]
        first, second = libraries.as_torch(x), libraries.as_torch(y)
        value = float(metric.distance(x, y)[0])
        exact = float(double(first.double(), second.double()))
        row = {"distortion": pair.distortion, "height": x.shape[1], "width": x.shape[2]}
        row |= {"ours": value, "lpips in float64": exact}
        row["ours from float64"] = abs(value - exact)
        for name, module in modules.items():
            found = float(module(first, second))
            row |= {name: found, f"ours from {name}": abs(value - found)}
            row[f"{name} from float64"] = abs(found - exact)
        _, layers = modules["lpips"](first, second, retPerLayer=True)
        found = np.array([float(layer) for layer in layers])
        row["a layer"] = float(np.abs(metric.distance(x, y, per_layer=True)[0] - found).max())
        maps = spatial(first, second)[0, 0].numpy()
        difference = np.abs(metric.distance(x, y, spatial=True)[0] - maps).max()
        row["a map"] = float(difference / np.abs(maps).max())
        row |= _gradients(metric, modules["lpips"], double, x, y)
        row["of equal pictures"] = float(metric.distance(x, x)[0])
        rows.append(row)
        print(row, flush=True)
    kept = [name for name in rows[0] if " from " in name or name.startswith(("a ", "of "))]
    largest = {name: max(row[name] for row in rows) for name in kept}
    return {"pairs": len(rows), "largest difference": largest["ours from lpips"]} | {
        "largest": largest,
        "rows": rows,
    }


def _gradients(metric: Any, module: Any, double: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """Returns relative differences of the gradients by the first picture, by their norms."""
    import jax

    def of_torch(module: Any, *tensors: Any) -> np.ndarray:
        leaf = tensors[0].detach().requires_grad_()
        module(leaf, tensors[1]).sum().backward()
        return leaf.grad.permute(0, 2, 3, 1).double().numpy()

    pictures = [libraries.as_torch(each) for each in (x, y)]
    exact = of_torch(double, *(each.double() for each in pictures))
    theirs = of_torch(module, *pictures)
    ours = np.asarray(jax.grad(lambda x: metric.distance(x, y)[0])(x))

    def relative(found: np.ndarray, expected: np.ndarray) -> float:
        return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))

    return {
        "gradient: ours from lpips": relative(ours, theirs),
        "gradient: ours from float64": relative(ours, exact),
        "gradient: lpips from float64": relative(theirs, exact),
    }


def race(archive: Path, heads: Path, rounds: int) -> list[dict[str, Any]]:
    """Returns seconds for each kind of work: ours, and `lpips` in both memory formats."""
    entries = []
    for what, size, batch in WORK:
        options = {"archive": str(archive.absolute()), "heads": str(heads.absolute())}
        options |= {"what": what, "size": size, "batch": batch}
        module = "experiments.lpips.contestant"
        contestants = [Contestant("ours", module, options, batch)] + [
            Contestant(form, module, options | {"memory_format": form}, batch) for form in FORMATS
        ]
        print(f"{what} of {batch} pairs of {size} pixels", flush=True)
        scores = hold(contestants, Rules(rounds), lambda line: print(line, flush=True))
        found = {name: score.record() for name, score in scores.items()}
        entries.append({"what": what, "size": size, "batch": batch, "contestants": found})
    return entries


def middle(values: dict[str, Any], name: str) -> float:
    return statistics.median(row[name] for row in values["rows"])


def speed_table(entries: list[dict[str, Any]]) -> str:
    head = ["what", "pixels", "pairs", "ours (ms)"]
    head += ["`lpips` (ms)", "`lpips`, channels last (ms)", "ours against its faster format"]
    rows = []
    for entry in entries:
        seconds = {n: found["median_seconds"] for n, found in entry["contestants"].items()}
        ratio = min(seconds[form] for form in FORMATS) / seconds["ours"]
        times = [f"{1000 * seconds[name]:.3g}" for name in ("ours", *FORMATS)]
        rows.append([entry["what"], entry["size"], entry["batch"], *times, f"{ratio:.2f} times"])
    return pages.table(head, rows)


def main() -> None:
    parser = programs.parser(__doc__, OUTPUT)
    parser.add_argument("--photos", type=Path, help="a tar of JPEG files; without it speed alone")
    parser.add_argument("--speed", type=int, default=5, metavar="ROUNDS", help="0: no speed")
    parser.add_argument("--scratch", type=Path, default=Path("runs/lpips"), help="for the trunk")
    arguments = parser.parse_args()
    try:
        heads, archive = libraries.find_heads(), find_archive(arguments.scratch)
        place = {"environment": environment(libraries.PACKAGES)}
        record = read(arguments.output) or {}
        if arguments.photos:
            record |= {"values": place | compare(archive, heads, arguments.photos)}
        if arguments.speed:
            record |= {"speed": place | {"entries": race(archive, heads, arguments.speed)}}
    except InputError as error:
        parser.error(str(error))
    write(arguments.output, place | record)
    if arguments.output == OUTPUT:
        pages.write("lpips")


if __name__ == "__main__":
    main()
