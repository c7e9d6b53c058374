"""Draws the pictures of the benchmarks from the committed results.

python -m experiments.benchmarks.plots
"""

from pathlib import Path
from typing import Any

from experiments import pictures
from experiments.benchmarks import contestants as who
from experiments.benchmarks.networks import IMAGENET, SMALL
from experiments.benchmarks.records import RESULTS, read

# The colours of Okabe and Ito, which colour-blind readers can tell apart.
_COLOURS = {
    who.OURS: "#0072B2",
    who.OURS_BFLOAT16: "#56B4E9",
    who.CHANNELS_LAST: "#E69F00",
    who.CONTIGUOUS: "#F0D08A",
    who.PLAIN: "#8C8C8C",
}
_TITLES = {"train": "training step", "inference": "inference, centre view"}


def main() -> None:
    networks, scaling = read(RESULTS / "networks.json"), read(RESULTS / "scaling.json")
    if networks:
        for names, file in ((IMAGENET, "networks.svg"), (SMALL, "cifar.svg")):
            draw_networks(networks["entries"], names, RESULTS / file)
    if scaling:
        draw_scaling(scaling["entries"], RESULTS / "scaling.svg")


def draw_networks(entries: dict[str, Any], names: tuple[str, ...], path: Path) -> None:
    """Draws one bar per contestant, with the bound as a line across the bars of a network."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    names = tuple(n for n in names if any(f"{n}/{what}" in entries for what in _TITLES))
    if not names:
        return
    figure = pictures.blank(10, 0.7 + 1.25 * len(names))
    for axes, what in zip(figure.subplots(1, 2, sharey=True), _TITLES, strict=True):
        ticks, labels = [], []
        top = 0.0
        for i, name in enumerate(names):
            entry = entries.get(f"{name}/{what}")
            if entry:
                top = max(top, _bars(axes, entry, i))
                ticks.append(i)
                labels.append(f"{name}\nbatch {entry['batch']}")
        axes.set_yticks(ticks, labels)
        axes.tick_params(axis="y", length=0)
        axes.set_title(f"{_TITLES[what]}: images per second", loc="left", fontsize=10)
        axes.set_xlim(0, top * 1.16)
        _strip(axes)
    axes = figure.axes[0]
    axes.invert_yaxis()
    handles: list[Any] = [Patch(color=colour, label=name) for name, colour in _COLOURS.items()]
    bound = "matrix-product bound (float32)"
    handles.append(Line2D([], [], color="black", ls="--", lw=1.2, label=bound))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    pictures.save(figure, path, entries)


def _bars(axes, entry: dict[str, Any], place: int) -> float:
    """Draws the group of one network around height `place`; returns its largest number."""
    shown = [n for n in _COLOURS if "rate" in entry["contestants"].get(n, {})]
    height = 0.8 / len(_COLOURS)
    largest = entry["bound_images_per_second"] or 0.0
    for i, name in enumerate(shown):
        score = entry["contestants"][name]
        y = place - 0.4 + (i + 0.5) * 0.8 / max(len(shown), 1)
        low, high = score["lowest_rate"], score["highest_rate"]
        axes.barh(y, score["rate"], height=height, color=_COLOURS[name])
        axes.plot([low, high], [y, y], color="black", lw=0.8)
        axes.annotate(
            f"{score['rate']:,.0f}" if score["rate"] >= 100 else f"{score['rate']:.1f}",
            (high, y),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
        largest = max(largest, high)
    if entry["bound_images_per_second"]:
        bound = entry["bound_images_per_second"]
        axes.plot([bound, bound], [place - 0.45, place + 0.45], color="black", ls="--", lw=1.2)
    return largest


def draw_scaling(entries: dict[str, Any], path: Path) -> None:
    """Draws images per second over the batch size, one panel for training and one for tests."""
    figure = pictures.blank(10, 3.6)
    for axes, what in zip(figure.subplots(1, 2), _TITLES, strict=True):
        group = [entry for entry in entries.values() if entry["what"] == what]
        group.sort(key=lambda entry: entry["batch"])
        for name, marker in ((who.OURS, "o"), (who.CHANNELS_LAST, "s")):
            scores = [(entry["batch"], entry["contestants"].get(name, {})) for entry in group]
            points = [(batch, score) for batch, score in scores if "rate" in score]
            if not points:
                continue
            batches = [batch for batch, _ in points]
            rates = [score["rate"] for _, score in points]
            axes.plot(batches, rates, color=_COLOURS[name], marker=marker, ms=4, label=name)
            axes.fill_between(
                batches,
                [score["lowest_rate"] for _, score in points],
                [score["highest_rate"] for _, score in points],
                color=_COLOURS[name],
                alpha=0.2,
                lw=0,
            )
        axes.set_xscale("log", base=2)
        sizes = [entry["batch"] for entry in group]
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.margins(y=0.15)
        axes.legend(loc="upper left", frameon=False, fontsize=9)
        axes.set_xlabel("batch size (images)")
        network = group[0]["network"] if group else ""
        title = f"{network}, {_TITLES[what]}: images per second"
        axes.set_title(title, loc="left", fontsize=10)
        _strip(axes)
    pictures.save(figure, path, entries)


def _strip(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


if __name__ == "__main__":
    main()
