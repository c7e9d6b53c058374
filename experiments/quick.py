"""The quick form of experiments on finished runs: the default preset, trained for it in minutes."""

import dataclasses
from pathlib import Path

from alexnet_jax import experiment
from alexnet_jax.presets import PRESETS

SCRATCH = Path("runs/quick")


def trained(seeds: int, data_dir: Path | None) -> list[Path]:
    """Returns folders of finished runs of the preset `digits`; trains those that are missing.

    Args:
      seeds: how many.
      data_dir: of the prepared sets; None: the user's own.
    """
    places = [SCRATCH / f"digits-{seed}" for seed in range(seeds)]
    for seed, place in enumerate(places):
        experiment.train(dataclasses.replace(PRESETS["digits"], seed=seed), place, data_dir)
    return places
