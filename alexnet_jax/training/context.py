"""What the parts of the loop share."""

from dataclasses import dataclass

from jax.sharding import Mesh

from alexnet_jax.display import Display
from alexnet_jax.runs.run_folder import Run
from alexnet_jax.training.schedule import Clock


@dataclass(frozen=True)
class Context:
    """A run that is being trained, where, and who is shown what (`mesh` None: one device)."""

    run: Run
    clock: Clock
    mesh: Mesh | None
    display: Display

    @property
    def total_steps(self) -> int:
        return self.clock.step_after(self.run.config.epochs)
