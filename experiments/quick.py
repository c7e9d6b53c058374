"""The quick form of experiments on finished runs: the default preset, trained for it in minutes."""

import argparse
import dataclasses
from pathlib import Path

from alexnet_jax import workflow
from alexnet_jax.presets import PRESETS
from alexnet_jax.runs.folder import read_run

SCRATCH = Path("runs/quick")


def parser(text: str | None, output: Path) -> argparse.ArgumentParser:
    """Returns the options that all experiments with a quick form have: --quick, --output and data.

    Args:
      text: docstring of the program.
      output: the record in the repository.
    """
    options = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--quick", action="store_true", help="on digits; the record lies in runs/")
    options.add_argument("--data-dir", type=Path, help="folder of prepared sets")
    options.add_argument("--output", type=Path, default=output)
    return options


def trained(seeds: int, data_dir: Path | None) -> list[Path]:
    """Returns folders of finished runs of the preset `digits`; trains those that are missing.

    Args:
      seeds: how many.
      data_dir: of the prepared sets; None: the user's own.

    Raises:
      SystemExit: the user stopped a run.
    """
    places = [SCRATCH / f"digits-{seed}" for seed in range(seeds)]
    for seed, place in enumerate(places):
        workflow.train(dataclasses.replace(PRESETS["digits"], seed=seed), place, data_dir)
        if read_run(place).info["status"] != "finished":
            raise SystemExit(f"{place} was stopped; the same command goes on with it")
    return places
