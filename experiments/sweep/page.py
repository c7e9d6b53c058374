"""A claim's page: question, command, table, picture; all from its record."""

import statistics
from pathlib import Path
from typing import Any

from experiments.generated import made_with, table
from experiments.paired import paired, summary
from experiments.sweep.claims import Claim

MEASURES = {
    "error": "test error, %",
    "training_error": "training error of the last epoch, %",
    "steps_on_plateau": "steps on the plateau",
}


def _values(record: dict[str, Any], variant: str, key: str) -> dict[int, float]:
    runs = [run for run in record["runs"] if run["variant"] == variant]
    return {run["seed"]: run[key] for run in runs if run.get(key) is not None}


def _measure(claim: Claim) -> str:
    if claim.training_error is not None:
        return f"epochs to {100 * claim.training_error:.0f} % training error"
    return MEASURES[claim.measure]


def _cell(values: dict[int, float], digits: int = 1) -> str:
    if not values:
        return "not reached"
    found = summary(list(values.values()))
    spread = found["standard_deviation"]
    return f"{found['mean']:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")


def results(claim: Claim, record: dict[str, Any]) -> str:
    """Returns the table of a record."""
    key = claim.measure
    others = [other for other in ("error", "error_ten_views", "training_error") if other != key]
    others = [other for other in others if any(run.get(other) for run in record["runs"])]
    names = MEASURES | {"error_ten_views": "ten views, %"}
    head = ["", "n", _measure(claim), "difference, 95 % interval", *(names[o] for o in others)]
    lines = []
    base = _values(record, claim.baseline, key)
    for name, variant in claim.variants.items():
        values = _values(record, name, key)
        mine = [run for run in record["runs"] if run["variant"] == name]
        seeds = len(mine)
        if not seeds:
            blank = [""] * (1 + len(others))
            lines.append([name, "0", "not run", *blank, variant.paper or "–"])
            continue
        difference = paired(values, base) if name != claim.baseline else None
        text = "–"
        if difference is not None:
            low, high = difference["interval_95"]
            text = f"{difference['mean']:+.1f} ({low:+.1f} to {high:+.1f})"
            text += ", smaller than its spread" if low <= 0 <= high else ""
        more = [_cell(_values(record, name, other)) for other in others]
        told = "diverged" if any(run.get("diverged") for run in mine) else _cell(values)
        lines.append([name, str(seeds), told, text, *more, variant.paper or "–"])
    return table([*head, "paper"], lines)


def draw(claim: Claim, record: dict[str, Any], path: Path) -> None:
    """Draws every run as a point, and the means."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    names = list(claim.variants)
    figure = Figure(figsize=(7, 0.8 + 0.42 * len(names)), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for row, name in enumerate(reversed(names)):
        values = list(_values(record, name, claim.measure).values())
        axes.plot(values, [row] * len(values), "o", color="#1f4e79", alpha=0.55, ms=6, mew=0)
        if values:
            mean = statistics.mean(values)
            axes.plot([mean, mean], [row - 0.28, row + 0.28], color="#a8321e", lw=2)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(_measure(claim))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    figure.savefig(path, metadata={"Date": None})


def text_of(claim: Claim, name: str, record: dict[str, Any]) -> str:
    """Returns the whole page of a claim."""
    names = claim.source.split(", ") if claim.source else []
    data = f" --data {' '.join(f'{name}=PLACE' for name in names)}" if names else ""
    hours = sum(run["wall_seconds"] for run in record["runs"]) / 3600
    epochs = sorted({variant.config.epochs for variant in claim.variants.values()})
    scale = " or ".join(f"{e:g}" for e in epochs)
    means = "Mean ± standard deviation over seeds. " if claim.seeds > 1 else ""
    if claim.seeds > 1 and len(claim.variants) > 1:
        means = (
            "Mean ± standard deviation over seeds; differences from "
            f"*{claim.baseline}*, paired by seed.\n"
        )
    return f"""# {claim.title}

{claim.question}

Paper: {claim.paper}.

```sh
python -m experiments.sweep {name}{data}
```

{results(claim, record)}

{means}{scale} epochs.

![every run, and the means](results/{name}.svg)

{hours:.1f} hours of wall time. {made_with(record, f"{name}.json", ["torch"])}.
"""
