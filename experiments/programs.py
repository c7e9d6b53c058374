"""What the programs of the experiments share: options, the quick form, how they end."""

import argparse
import dataclasses
from pathlib import Path

from alexnet_jax import workflow
from alexnet_jax.config import Config
from alexnet_jax.presets import PRESETS
from alexnet_jax.runs.run_folder import read_run
from alexnet_jax.runs.state import TrainState
from experiments import pages

QUICK = Path("runs/quick")
"""Folder of the runs and records of quick forms."""


def parser(text: str | None, output: Path | None = None) -> argparse.ArgumentParser:
    """Returns a parser whose help is a docstring; `output` is the default of `--output`."""
    made = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if output:
        made.add_argument("--output", type=Path, default=output)
    return made


def quick_parser(
    text: str | None, output: Path, scratch: Path | None = None
) -> argparse.ArgumentParser:
    """Returns a parser with the options of every experiment that has a quick form.

    `scratch` is the default folder of the run folders, for programs that train some themselves.
    """
    options = parser(text, output)
    options.add_argument("--quick", action="store_true", help="on digits; the record lies in runs/")
    options.add_argument("--data-dir", type=Path, help="folder of prepared sets")
    if scratch:
        options.add_argument("--scratch", type=Path, default=scratch, help="for run folders")
    return options


def use_quick_folders(options: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """With `--quick`: makes record and run folders lie below `QUICK`."""
    if not arguments.quick:
        return
    if arguments.output != options.get_default("output") or getattr(arguments, "name", None):
        options.error("--quick has a record and run folders of its own")
    arguments.output = QUICK / arguments.output.name
    if "scratch" in arguments:
        arguments.scratch = QUICK / arguments.scratch.name


def train_to_end(
    config: Config, workdir: Path, data_dir: Path | None, retune: bool = False
) -> TrainState:
    """Trains, unless the run is finished; exits if the user stops it."""
    state = workflow.train(config, workdir, data_dir, retune=retune)
    if read_run(workdir).info["status"] != "finished":
        raise SystemExit(f"{workdir} was stopped; start it again with the same command")
    return state


def train_digits(seeds: int, data_dir: Path | None) -> list[Path]:
    """Returns folders of finished runs of the preset `digits`; trains those that are missing."""
    places = [QUICK / f"digits-{seed}" for seed in range(seeds)]
    for seed, place in enumerate(places):
        train_to_end(dataclasses.replace(PRESETS["digits"], seed=seed), place, data_dir)
    return places


def show(table: str, output: Path, record: Path) -> None:
    """Writes the page of the repository's `record`; of any other `output`, prints the table."""
    if output == record:
        pages.write(record.parents[1].name)
    else:
        print(table)
