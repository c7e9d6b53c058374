"""The quick form of experiments on finished runs: the default preset, trained for it in minutes."""

import dataclasses
from pathlib import Path

from alexnet_jax import experiment
from alexnet_jax.presets import PRESETS
from alexnet_jax.runs.folder import read_run

SCRATCH = Path("runs/quick")


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
        experiment.train(dataclasses.replace(PRESETS["digits"], seed=seed), place, data_dir)
        if read_run(place).info["status"] != "finished":
            raise SystemExit(f"{place} was stopped; the same command goes on with it")
    return places
