"""Everything that a report may show of a run, as plain values."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_jax.config import Config
from alexnet_jax.errors import InputError
from alexnet_jax.evaluation.guessing import Guess, watch_rows
from alexnet_jax.evaluation.views import averaged_views
from alexnet_jax.insight.augmentations import FramedRow
from alexnet_jax.insight.examples import Example
from alexnet_jax.insight.neighbours import Neighbours
from alexnet_jax.network.layers import Network
from alexnet_jax.network.networks import NETWORKS


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """What a report shows; it leaves out what is not there.

    Attributes:
      conv1_kernel: float32 `[height, width, 3, filters]`; `earlier_kernels` are by title.
      evaluation: `{views: {metric: value}}`, errors are fractions; None: the last `final/` rows.
      confusion: int `[classes, classes]`, rows are true classes.
      training: of one image; empty: its set is not here; None: not known.
      near_duplicates: how many test images nearly equal a training image.
    """

    config: Config
    run: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]] = ()
    conv1_kernel: np.ndarray | None = None
    earlier_kernels: Mapping[str, np.ndarray] | None = None
    network: Network | None = None
    evaluation: Mapping[Any, Mapping[str, float]] | None = None
    confusion: np.ndarray | None = None
    class_names: Sequence[str] = ()
    examples: Sequence[Example] = ()
    neighbours: Sequence[Neighbours] = ()
    training: Sequence[FramedRow] | None = None
    bad_images: int | None = None
    near_duplicates: int = 0

    def completed(self, path: Path) -> "ReportData":
        """Returns the data with class names, and with the folder of `path` as the run folder."""
        workdir = self.run.get("workdir") or str(path.parent)
        run = {**self.run, "workdir": workdir}
        return dataclasses.replace(self, run=run, class_names=self._class_names())

    def _class_names(self) -> list[str]:
        names = self.class_names or self.run.get("class_names") or ()
        sizes = {len(example.probabilities) for example in self.examples}
        sizes |= {len(self.confusion)} if self.confusion is not None else set()
        if not names and sizes:
            return [str(index) for index in range(max(sizes))]
        if sizes - {len(names)}:
            raise InputError(
                f"the report has {len(names)} class names, but results for {sorted(sizes)} "
                "classes; give the names of the run"
            )
        return [str(name) for name in names]

    @property
    def towers(self) -> int:
        return self.network.towers if self.network else 1

    @property
    def workdir(self) -> Path:
        return Path(self.run["workdir"])

    def views_name(self, views: int) -> str:
        """Returns the name of the views that a test of 1 or 10 averages, e.g. "five crops"."""
        stored_size = self.run.get("stored_size") or self.config.data.stored_size
        network = self.network or NETWORKS[self.config.network]
        image_size = self.config.image_size or network.image_size
        return averaged_views(stored_size, image_size, views, self.config.augment.mirror).name

    def stuck_epochs(self) -> list[tuple[float, float]]:
        """Returns the (first, last) epochs of the stretches in which nothing was learnt."""
        watch = watch_rows(
            Guess.of_run({"class_names": self.class_names, **self.run}), self.metrics
        )
        epochs = {row["step"]: row["epoch"] for row in self.metrics if row.get("epoch") is not None}
        return [(epochs.get(first, 0.0), epochs[last]) for first, last in watch.stretches]
