"""When a run is saved, and what a checkpoint holds."""

from collections.abc import Mapping

from alexnet_jax.errors import DivergedError
from alexnet_jax.runs.checkpoint import Checkpoints
from alexnet_jax.runs.run_folder import Run
from alexnet_jax.runs.state import TrainState, all_finite
from alexnet_jax.training.position import Position


class Saver:
    """Saves a run; `saved_step` is that of the newest checkpoint, or None."""

    def __init__(self, run: Run, checkpoints: Checkpoints):
        self._run, self._checkpoints = run, checkpoints
        self.saved_step = max(checkpoints.steps(), default=None)

    def is_due(self, position: Position) -> bool:
        every = self._run.config.checkpoint_every_steps
        return bool(every) and position.step % every == 0

    def save(
        self, state: TrainState, position: Position, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Saves the state; one that was saved before its validation gets only its metrics.

        Raises:
          DivergedError: a parameter is not finite; nothing was saved.
          CheckpointError: the files could not be written.
        """
        meta = {
            "network": self._run.network.name,
            **position.as_json(),
            "run": self._run.record.to_dict(),
        }
        if not all_finite(state.params):
            raise DivergedError(
                f"parameters are not finite at step {position.step}; they were not saved: "
                "start in another --workdir with lower rates (--optimizer, --schedule)"
            )
        if position.step == self.saved_step:
            self._checkpoints.amend(position.step, meta, dict(metrics or {}))
            return
        self._checkpoints.save(state, meta, dict(metrics or {}))
        self.saved_step = position.step

    def save_unless_saved(self, state: TrainState, position: Position) -> None:
        if position.step != self.saved_step:
            self.save(state, position)
