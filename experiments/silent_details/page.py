"""Writes the tables of this folder's README from the committed results.

python -m experiments.silent_details.page          # rewrites the tables
python -m experiments.silent_details.page --check  # exits with 1 if the README is out of date
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from experiments.generated import rewrite, with_parts

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"


def page(text: str) -> str:
    """Returns the text of the README with its generated parts made anew."""
    photos, digits = (json.loads((RESULTS / f"{n}.json").read_text()) for n in ("photos", "digits"))
    parts = {"photos": _photos(photos), "digits": _digits(digits)}
    return with_parts(text, parts, "experiments.silent_details.page")


def _photos(record: dict[str, Any]) -> str:
    lines = ["| what | measured |", "|---|---|"]
    for name, row in record["normalization"].items():
        where = row["channels"] if row["channels"] == "all" else f"channels {row['channels']} only"
        lines.append(
            f"| LRN of a trained conv1: {name} | differs by {_percent(row['difference'])}, "
            f"{_percent(row['up to a factor'])} beyond a common factor ({where}) |"
        )
    noise = record["colour"]["noise per channel, grey levels"]
    for name, values in noise.items():
        text = ", ".join(f"{value:,.1f}" for value in values)
        lines.append(f"| colour noise by {name}: red, green, blue | {text} grey levels |")
    for name, value in record["colour"]["input, root mean square, grey levels"].items():
        lines.append(f"| input of the network: {name} | {value:.1f} grey levels (RMS) |")
    mean = record["mean"]
    lines.append(
        "| centre window of the mean against the crop's own | "
        f"{mean['root mean square']:.1f} grey levels (RMS over all crops), at most "
        f"{mean['largest']:.1f} |"
    )
    for name, row in record["start"].items():
        value = row["logits, standard deviation across photos"]
        lines.append(f"| fresh logits' deviation across photos: {name} | {value:.1e} |")
    for name, row in record["windows"].items():
        up, down = (" → ".join(map(str, row[way])) for way in ("up", "down"))
        lines.append(f"| maps of {name}: windows counted up | {up} |")
        lines.append(f"| … and down | {down} |")
    return "\n".join([*lines, "", _under(record, "photos"), f"{record['photos']} photos."])


def _digits(record: dict[str, Any]) -> str:
    lines = [
        "| network and recipe | test loss | test errors, % | training loss, last epoch |",
        "|---|---|---|---|",
    ]
    for row in record["rows"]:
        runs = row["runs"]
        cells = [_spread([run["loss"] for run in runs], "{:.3f}")]
        cells.append(", ".join(f"{100 * run['top1_error']:.1f}" for run in runs))
        cells.append(_spread([run["training_loss"] for run in runs], "{:.3f}"))
        lines.append(f"| {row['what'].removesuffix('.')} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _under(record, "digits"), _seeds(record)])


def _seeds(record: dict[str, Any]) -> str:
    (count,) = {len(row["runs"]) for row in record["rows"]}
    return f"Means, lowest to highest of {count} seeds."


def _spread(values: list[float], form: str) -> str:
    low, mean, high = (form.format(f(values)) for f in (min, statistics.mean, max))
    return f"{mean} ({low} to {high})"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.095 else f"{100 * value:.1f} %"


def _under(record: dict[str, Any], name: str) -> str:
    place = record["environment"]
    return (
        f"{place['processor']}, {place['cpu_cores']} cores; jax {place['versions']['jax']}; "
        f"{place['date'][:10]}; [json](results/{name}.json)."
    )


if __name__ == "__main__":
    rewrite({README: page}, sys.argv)
