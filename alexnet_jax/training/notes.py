"""What `run.json` says of the course of a run: its status, starts, changes and times."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from alexnet_jax import processes
from alexnet_jax.config import Config
from alexnet_jax.runs import run_folder
from alexnet_jax.runs.digests import digest_of
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.context import Context
from alexnet_jax.training.outlook import outlook
from alexnet_jax.training.position import Position


class Notes:
    """Writes the course of a run into its `run.json`."""

    def __init__(self, context: Context):
        self._context, self._run, self._display = context, context.run, context.display

    def _write(self, **changes: Any) -> None:
        run_folder.update_info(self._run, **changes)

    @contextlib.contextmanager
    def failure(self) -> Iterator[None]:
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            self._write(status="interrupted")
            raise
        except BaseException:
            self._write(status="failed")
            raise

    @contextlib.contextmanager
    def wall_seconds(self) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            wall = self._run.info.get("wall_seconds", 0.0) + time.monotonic() - begin
            self._write(wall_seconds=round(wall, 1))

    def start(self, previous: Config, position: Position) -> bool:
        """Returns whether anything is left to train."""
        run, mesh, status = self._run, self._context.mesh, ""
        if processes.is_chief():
            run_folder.note_changes(run, previous, position.step)
            self._show_changed_schedule(previous, position)
            # After a damaged checkpoint the run goes from the older one to the end once more.
            is_newest = position.step >= run.info.get("step", 0)
            status = run.info["status"] if is_newest else "running"
        if processes.exchange(status)[0] == "finished":
            return False
        shape = {} if mesh is None else {axis: int(size) for axis, size in mesh.shape.items()}
        here: dict[str, Any] = {"mesh": shape, "processes": processes.count()}
        starts = [*run.info.get("starts", []), {"step": position.step, **here}]
        self._write(**here, starts=starts, status="running")
        return True

    def _show_changed_schedule(self, previous: Config, position: Position) -> None:
        config, step = self._run.config, position.step
        names = ("schedule", "optimizer", "epochs")
        same = all(getattr(previous, name) == getattr(config, name) for name in names)
        if not same and 0 < step < self._context.total_steps:
            finished = self._context.clock.epochs(step)
            for line in outlook(previous, config, finished, position.plateau):
                self._display.say(line)

    def first_step(self, started: float) -> None:
        """Notes the seconds since `started`, a time of `time.monotonic()`."""
        seconds = time.monotonic() - started
        self._write(seconds_to_first_step=round(seconds, 2))
        self._display.say(f"first step after {seconds:.1f} s")

    def end(self, state: TrainState, finished: bool) -> None:
        step = int(state.step)
        if finished:
            self._write(status="finished", step=step, params_sha256=digest_of(state.params))
            return
        self._write(status="interrupted", step=step)
        self._display.warn(f"interrupted: saved step {step}; the same command continues from there")
