"""Draws the two towers with what crosses between them, like figure 2 of the paper.

    python -m experiments.two_towers.figure

Everything drawn is read from the network's layers: sizes of the maps, and where the towers talk.
"""

from typing import Any

from alexnet_jax.network.layers import Network, Parametric, summarize
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.network.towers import tower_network
from experiments import pictures, programs
from experiments.two_towers import traffic
from experiments.two_towers.run import RESULTS

_MAPS, _UNITS, _CROSSING, _OWN = "#C6DBEF", "#FDD9B5", "#C0392B", "#6B7280"
_STEP, _HEIGHTS = 100, (135, 365)  # pixels from layer to layer; middle of each tower


def main() -> None:
    parser = programs.parser(__doc__, RESULTS / "towers.svg")
    parser.add_argument("--network", default="paper")
    arguments = parser.parse_args()
    network = NETWORKS[arguments.network]
    pictures.save(draw_towers(network), arguments.output, description(network))


def description(network: Network) -> str:
    """Returns what the picture shows, in words."""
    talk = "; ".join(
        f"before {one.layer}: {size(one.shape)}, {one.forward_bytes():,} bytes there and "
        f"{one.backward_bytes():,} bytes back"
        for one in traffic.exchanges(network)
    )
    return (
        f"The two towers of {network.name}. Each sends the other, per image in float32, {talk}. "
        "Nothing else crosses."
    )


def size(shape: tuple[int, ...]) -> str:
    """Returns `13×13×128` for the shape (13, 13, 128)."""
    return "×".join(map(str, shape))


def draw_towers(network: Network) -> Any:
    from matplotlib.figure import Figure

    layers = [
        summary
        for summary in summarize(tower_network(network, 2))
        if isinstance(summary.layer, Parametric)
    ]
    talk = {exchange.layer: exchange for exchange in traffic.exchanges(network)}
    width, height = _STEP * (len(layers) + 1) + 10, 490
    figure = Figure(figsize=(width / 100, height / 100), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)  # downwards, as pixels are counted

    middle = sum(_HEIGHTS) / 2
    before = [_block(axes, 45, middle, (network.image_size,) * 2 + (3,))] * 2
    _words(axes, 45, middle + 92, f"image\n{size((network.image_size,) * 2 + (3,))}")
    for place, summary in enumerate(layers, start=1):
        x = 45 + _STEP * place
        edges = [_block(axes, x, y, summary.output_shape) for y in _HEIGHTS]
        _words(axes, x, 20, summary.name, weight="bold", size=11)
        for y in (_HEIGHTS[0] - 84, _HEIGHTS[1] + 66):
            _words(axes, x, y, size(summary.output_shape))
        for own in (0, 1):
            _arrow(axes, before[own][1], edges[own][0], _OWN, 1.2)
        if exchange := talk.get(summary.name):
            for own in (0, 1):
                _arrow(axes, before[own][1], edges[1 - own][0], _CROSSING, 2.0)
            _label(axes, x - _STEP / 2, middle, exchange)
        before = edges
    for y, name in zip((_HEIGHTS[0] - 30, _HEIGHTS[1] + 30), ("tower 1", "tower 2"), strict=True):
        _words(axes, 45, y, name, weight="bold", size=11, color=_OWN)
    axes.text(
        8,
        476,
        "Red: what each tower sends the other for one image, in float32, after pooling: "
        "activations →, their gradients ←. Nothing else crosses.",
        fontsize=9,
        color="black",
    )
    return figure


def _label(axes: Any, x: float, y: float, exchange: traffic.Exchange) -> None:
    lines = [size(exchange.shape), f"{exchange.forward_bytes():,} B →"]
    lines += [f"← {exchange.backward_bytes():,} B" if exchange.backward else "(none back)"]
    box = {"facecolor": "white", "edgecolor": _CROSSING, "pad": 3.0, "lw": 0.8}
    _words(axes, x, y, "\n".join(lines), color=_CROSSING, bbox=box)


def _block(
    axes: Any, x: float, y: float, shape: tuple[int, ...]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Draws the maps or units of a layer; returns the middles of its left and right edges."""
    from matplotlib.patches import Polygon

    if len(shape) == 3:
        face, deep, colour = 9.0 * shape[0] ** 0.5, 3.2 * shape[2] ** 0.5, _MAPS
    else:
        face, deep, colour = 84.0, 12.0, _UNITS
    slant = 0.28 * face if len(shape) == 3 else 4.0
    left, right, top, bottom = x - deep / 2, x + deep / 2, y - face / 2, y + face / 2
    sides = (
        [(left, top), (right, top), (right, bottom), (left, bottom)],
        [(left, top), (right, top), (right + slant, top - slant), (left + slant, top - slant)],
        [
            (right, top),
            (right, bottom),
            (right + slant, bottom - slant),
            (right + slant, top - slant),
        ],
    )
    for corners, shadow in zip(sides, (0.0, 0.1, 0.05), strict=True):
        axes.add_patch(Polygon(corners, facecolor=colour, edgecolor="#374151", lw=0.8))
        if shadow:
            axes.add_patch(Polygon(corners, facecolor="black", lw=0, alpha=shadow))
    return (left, y), (right + slant, y)


def _arrow(
    axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str, width: float
) -> None:
    axes.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "-|>", "color": colour, "lw": width, "shrinkA": 2, "shrinkB": 1},
    )


def _words(axes: Any, x: float, y: float, text: str, **style: Any) -> None:
    options = {"ha": "center", "va": "center", "fontsize": 9, "color": "black"}
    if "size" in style:
        options["fontsize"] = style.pop("size")
    axes.text(x, y, text, **(options | style))


if __name__ == "__main__":
    main()
