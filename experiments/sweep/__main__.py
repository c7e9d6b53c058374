"""Tests a claim by training all that it lists; writes record, figure and page.

    python -m experiments.sweep towers --data cifar10=PLACE --jobs 2
    python -m experiments.sweep towers --data cifar10=PLACE --output runs/again
    python -m experiments.sweep towers --quick

Runs that the record has are not run again, and stopped runs continue. `--output` makes a separate
record and separate runs below FOLDER. `--quick` takes minutes and needs no data. With `--quick`, or
with other seeds or epochs than the claim states, nothing is written into the repository.
"""

import dataclasses
import signal
import sys
from pathlib import Path

from experiments import programs
from experiments.sweep import page
from experiments.sweep.claims import CLAIMS, Claim, toy_claim
from experiments.sweep.drawing import draw_claim
from experiments.sweep.runner import run_claim
from experiments.sweep.variants import Variant, placed

ROOT = Path(__file__).resolve().parents[1]


def with_source(claim: Claim, places: list[str]) -> Claim:
    """Returns the claim with the places of its data sets, by the beginning of their names."""
    given = dict(place.split("=", 1) for place in places)
    if not given.keys() <= set(claim.source.split(", ")):
        takes = f"places of {claim.source}" if claim.source else "no data"
        raise SystemExit(f"--data {' '.join(places)}: this claim takes {takes}")

    def with_place(variant: Variant) -> Variant:
        data = variant.config.data
        source = next((given[n] for n in given if data.name.startswith(n)), data.source)
        before = variant.before and with_place(variant.before)
        return variant._replace(config=placed(variant.config, source), before=before)

    return claim._replace(variants={name: with_place(v) for name, v in claim.variants.items()})


def with_epochs(claim: Claim, epochs: float) -> Claim:
    variants = {
        name: variant._replace(config=dataclasses.replace(variant.config, epochs=epochs))
        for name, variant in claim.variants.items()
    }
    return claim._replace(variants=variants)


def main(words: list[str] | None = None) -> None:
    parser = programs.parser(__doc__)
    parser.add_argument("claim", choices=CLAIMS)
    parser.add_argument("--seeds", type=int, help="how many (default: as the claim says)")
    parser.add_argument("--epochs", type=float, help="of each run (default: as the claim says)")
    parser.add_argument("--quick", action="store_true", help="at toy size")
    parser.add_argument("--data", nargs="*", default=[], metavar="NAME=PLACE", help="of its set")
    parser.add_argument("--data-dir", type=Path, help="folder of prepared sets")
    parser.add_argument("--scratch", type=Path, help="for run folders (default: runs/sweep)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--output", type=Path, help="folder for a record of one's own")
    arguments = parser.parse_args(words)
    if words is None:  # as Ctrl-C: what is training saves
        for one in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, lambda number, _: sys.exit(128 + number))
    name = arguments.claim
    scratch = arguments.scratch or arguments.output or Path("runs/sweep")
    stated = toy_claim(CLAIMS[name]) if arguments.quick else CLAIMS[name]
    claim = with_source(stated, arguments.data)
    claim = claim._replace(seeds=arguments.seeds or claim.seeds)
    if arguments.epochs:
        claim = with_epochs(claim, arguments.epochs)
    as_stated = not arguments.quick and claim.seeds == stated.seeds and not arguments.epochs
    place = ROOT if as_stated else scratch / "pages"
    folder = (arguments.output or place) / name
    (folder / "results").mkdir(parents=True, exist_ok=True)
    output = folder / "results" / f"{name}.json"
    options = {"data_dir": arguments.data_dir, "jobs": arguments.jobs}
    record = run_claim(claim, name, scratch, output, **options)
    draw_claim(claim, record, output.with_suffix(".svg"))
    (folder / "README.md").write_text(page.page(name, claim, record), "utf-8")
    print(page.table_of(claim, record))


if __name__ == "__main__":
    main()
