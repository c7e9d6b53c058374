"""The position of a run in its training: what a checkpoint stores apart from arrays."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from alexnet_jax.config import ScheduleConfig
from alexnet_jax.evaluation.metrics import MetricSums, no_sums
from alexnet_jax.training.schedule import PlateauState, resume_plateau


class Position(NamedTuple):
    """Where a run is."""

    step: int = 0  # finished updates
    window: MetricSums = no_sums()  # metrics of the steps since the last row of `metrics.jsonl`
    plateau: PlateauState = PlateauState()
    evaluated_epochs: float = 0.0  # up to which the run has been validated
    validation_due: bool = False  # that of this step was stopped, and has to be repeated

    def is_at_end(self, total_steps: int) -> bool:
        """Returns whether no step follows; after a stopped validation: none of this call."""
        return self.step >= total_steps or self.plateau.stopped or self.validation_due

    def after_step(self) -> "Position":
        return self._replace(step=self.step + 1)

    def as_json(self) -> dict[str, Any]:
        plateau = self.plateau._asdict()
        if not math.isfinite(self.plateau.best_error):  # JSON has no infinity
            plateau["best_error"] = None
        return {
            "data": {"next_step": self.step},
            "plateau": plateau,
            "window": self.window.as_json(),
            "evaluated_epochs": self.evaluated_epochs,
            "validation_due": self.validation_due,
        }

    @classmethod
    def from_json(cls, meta: Mapping[str, Any], schedule: ScheduleConfig) -> "Position":
        best = meta["plateau"]["best_error"]
        plateau = PlateauState(
            **meta["plateau"] | {"best_error": math.inf if best is None else best}
        )
        return cls(
            step=meta["data"]["next_step"],
            window=MetricSums.from_json(meta["window"]),
            plateau=resume_plateau(schedule, plateau),
            evaluated_epochs=meta["evaluated_epochs"],
            validation_due=meta.get("validation_due", False),
        )
