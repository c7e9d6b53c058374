"""The figure of the page: how much the error rises if a part of the recipe is left out.

python -m experiments.costs
"""

from pathlib import Path
from typing import Any

from experiments import pictures, programs
from experiments.paired import paired
from experiments.reproduction import ROOT, claim_difference, single_errors

PICTURE = ROOT / "reproduction.svg"
_COSTS = (
    ("half of the kernels", "towers", "half", 1.7),
    ("towers that do not talk", "towers", "no talk", 1.2),
    ("no response normalization", "normalization", "none", 1.4),
    ("pooling that does not overlap", "overlapping", "not overlapping", 0.4),
    ("no crops, mirrors, noise (photos)", "augmentation", "none", None),
    ("no colour noise", "colour", "none", 1.0),
    ("no dropout (photos)", "dropout", "none", None),
    ("no weight decay (training error)", "weight-decay", "none", None),
    ("no conv2", "depth", "without conv2", 2.0),
    ("no conv3", "depth", "without conv3", 2.0),
    ("no conv4", "depth", "without conv4", 2.0),
    ("no conv5", "depth", "without conv5", 2.0),
    ("rate outside of the velocity", "velocity", "outside", None),
)
"""The change, its claim and variant, and its cost in the paper, points.

The number for towers that do not talk is from the 2012 logs; the paper says "over 1 point" for
colour noise and "about 2%" for a middle layer.
"""


def costs() -> list[tuple[str, dict[str, Any], float | None]]:
    """Returns the cost of leaving out each part: its name, our paired difference, the paper's."""
    found = []
    for label, name, variant, paper in _COSTS:
        found.append((label, claim_difference(name, variant), paper))
    errors = single_errors()
    if errors:
        found.append(("centre instead of ten views", paired(*errors), 1.5))
    transfer = claim_difference("transfer", "from scratch", "the whole rate")
    found.append(("no pre-training (photos, whole rate)", transfer, None))
    return [(label, difference, paper) for label, difference, paper in found if difference]


def draw(path: Path) -> None:
    found = costs()[::-1]
    if not found:
        return
    counts = sorted({difference["n"] for _, difference, _ in found})
    seeds = " to ".join(str(count) for count in sorted({counts[0], counts[-1]}))
    figure = pictures.blank(8.5, 0.9 + 0.27 * len(found))
    axes = figure.subplots()
    axes.axvline(0, color="#888888", lw=0.8)
    for row, (_, difference, paper) in enumerate(found):
        low, high = difference["interval_95"]
        colour = "#9aa7b5" if low <= 0 <= high else "#1f4e79"
        axes.plot([low, high], [row, row], color=colour, lw=2.2, solid_capstyle="butt")
        axes.plot(difference["mean"], row, "o", color=colour, ms=5.5)
        if paper is not None:
            axes.plot(paper, row, "D", mfc="none", mec="#a8321e", ms=5.5)
    axes.set_yticks(range(len(found)), [label for label, _, _ in found])
    axes.set_xlabel("points of top-1 error that it costs")
    figure.suptitle(
        "Left out or changed, one at a time: a miniature on CIFAR-10 (8 epochs) or photos (80)",
        fontsize=9,
    )
    for mark, colour, fill, text in (
        ("o-", "#1f4e79", None, f"here: mean, 95 % interval of {seeds} seeds"),
        ("o-", "#9aa7b5", None, "here: the interval holds 0"),
        ("D", "#a8321e", "none", "the paper or its logs, on ImageNet"),
    ):
        axes.plot([], [], mark, color=colour, mfc=fill, label=text)
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="#e3e3e3", lw=0.6)
    axes.set_axisbelow(True)
    pictures.save(figure, path, _as_text(found))


def _as_text(found: list) -> str:
    """Returns the numbers as text, which the picture keeps: for screen readers, and to check."""
    return "; ".join(
        f"{label}: {d['mean']:+.2f} ({d['interval_95'][0]:+.2f} to {d['interval_95'][1]:+.2f}), "
        f"n = {d['n']}, paper {paper}"
        for label, d, paper in found
    )


def is_drawn(path: Path) -> bool:
    return pictures.is_of(path, _as_text(costs()[::-1]))


def main() -> None:
    programs.parser(__doc__).parse_args()
    draw(PICTURE)


if __name__ == "__main__":
    main()
