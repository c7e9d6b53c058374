"""How fast are gradients of images, and has training kept its speed?

    python -m experiments.gradients.speed

In turns: the library, the forms of training (by which images were differentiated before), the plain
`lax` forms, and PyTorch in two memory formats where it is installed. Writes `results/speed.json`
after each contest, and the table of the page.
"""

from pathlib import Path
from typing import Any

from experiments import pages, programs
from experiments.benchmarks.contest import Contestant, Rules
from experiments.benchmarks.records import Record
from experiments.gradients.forms import FORMS
from experiments.pages import table

OUTPUT = Path(__file__).parent / "results" / "speed.json"
QUESTION = "How long do gradients of images take, and those of parameters?"
DEFAULT = ("paper", "original", "one-weird-trick", "one-tower")
CASES = (("images", 1), ("images", 16), ("parameters", 16))
_MODULE = "experiments.gradients.contestant"


def contestants(network: str, what: str, batch: int) -> list[Contestant]:
    options = {"network": network, "what": what, "batch": batch}
    ours = [Contestant(form, _MODULE, {**options, "form": form}, batch) for form in FORMS]
    return ours + [
        Contestant(f"PyTorch, {form}", _MODULE, {**options, "memory_format": form}, batch)
        for form in ("contiguous", "channels_last")
    ]


def table_of(record: dict[str, Any]) -> str:
    head = ["network", "gradient of", "batch", "ms", "before / now", "plain / now", "PyTorch / now"]
    rows = []
    for entry in record["entries"].values():
        seconds = {
            name: found["median_seconds"]
            for name, found in entry["contestants"].items()
            if "median_seconds" in found
        }
        now = seconds["library"]
        theirs = [value for name, value in seconds.items() if name.startswith("PyTorch")]
        others = (seconds.get("training"), seconds.get("plain"), min(theirs, default=None))
        ratios = [f"{other / now:.2f}" if other else "–" for other in others]
        rows.append(
            [f"`{entry['network']}`", entry["what"], entry["batch"], f"{1000 * now:.0f}", *ratios]
        )
    return table(head, rows)


def main() -> None:
    parser = programs.parser(__doc__, OUTPUT)
    parser.add_argument("--networks", default=",".join(DEFAULT), help="names with commas between")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turn-seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    rules = Rules(arguments.rounds, arguments.turn_seconds)
    record = Record(arguments.output, QUESTION)
    for network in arguments.networks.split(","):
        for what, batch in CASES:
            facts = {"network": network, "what": what, "batch": batch}
            name = f"{network}/{what}/{batch}"
            record.put_contest(name, facts, contestants(network, what, batch), rules)
    if arguments.output == OUTPUT:
        pages.write("gradients")
    else:
        print(table_of(record.content))


if __name__ == "__main__":
    main()
