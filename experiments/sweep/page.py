"""A claim's page: question, command, table, picture; all from its record."""

import statistics
from pathlib import Path
from typing import Any

from experiments.generated import made_with, table
from experiments.paired import paired, summary
from experiments.sweep.claims import Claim


def _values(record: dict[str, Any], variant: str, key: str) -> dict[int, float]:
    runs = [run for run in record["runs"] if run["variant"] == variant]
    return {run["seed"]: run[key] for run in runs if run.get(key) is not None}


def _key(claim: Claim) -> str:
    return "error" if claim.training_error is None else "epochs_to_reach"


def _cell(values: dict[int, float], digits: int = 1) -> str:
    if not values:
        return "not reached"
    found = summary(list(values.values()))
    spread = found["standard_deviation"]
    return f"{found['mean']:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")


def results(claim: Claim, record: dict[str, Any]) -> str:
    """Returns the table of a record."""
    key = _key(claim)
    measure = "test error, %"
    if claim.training_error is not None:
        measure = f"epochs to {100 * claim.training_error:.0f} % training error"
    head = ["", "n", measure, "training error of the last epoch, %", "difference, 95 % interval"]
    lines = []
    base = _values(record, claim.baseline, key)
    for name, variant in claim.variants.items():
        values = _values(record, name, key)
        training = _values(record, name, "training_error")
        if not training:
            lines.append([name, "0", "not run", "", "", variant.paper or "–"])
            continue
        difference = paired(values, base) if name != claim.baseline else None
        text = "–"
        if difference is not None:
            low, high = difference["interval_95"]
            text = f"{difference['mean']:+.1f} ({low:+.1f} to {high:+.1f})"
            text += ", smaller than its spread" if low <= 0 <= high else ""
        cells = [name, str(len(training)), _cell(values), _cell(training), text]
        lines.append([*cells, variant.paper or "–"])
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
        values = list(_values(record, name, _key(claim)).values())
        axes.plot(values, [row] * len(values), "o", color="#1f4e79", alpha=0.55, ms=6, mew=0)
        if values:
            mean = statistics.mean(values)
            axes.plot([mean, mean], [row - 0.28, row + 0.28], color="#a8321e", lw=2)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel("test error, %" if claim.training_error is None else "epochs")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    figure.savefig(path, metadata={"Date": None})


def text_of(claim: Claim, name: str, record: dict[str, Any]) -> str:
    """Returns the whole page of a claim."""
    data = f" --data {claim.source}=PLACE" if claim.source else ""
    hours = sum(run["wall_seconds"] for run in record["runs"]) / 3600
    epochs = sorted({variant.config.epochs for variant in claim.variants.values()})
    scale = " or ".join(f"{e:g}" for e in epochs)
    return f"""# {claim.title}

{claim.question}

Paper: {claim.paper}.

```sh
python -m experiments.sweep {name}{data}
```

{results(claim, record)}

Mean ± standard deviation over seeds; differences from *{claim.baseline}*, paired by seed.
{scale} epochs.

![every run, and the means](results/{name}.svg)

{hours:.1f} hours of wall time. {made_with(record, f"{name}.json", ["torch"])}.
"""
