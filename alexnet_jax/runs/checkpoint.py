"""Checkpoints: Orbax behind one file, with `last` and `best` by name and digests of our own.

A checkpoint holds `params`, `opt_state` and `meta` (JSON: step, states of data and schedule, PRNG
key, one SHA-256 per array and one of `meta`). Orbax restores a flipped bit in silence, so every
restore is compared with the digests.
"""

import contextlib
import json
import logging
import math
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from alexnet_jax import processes
from alexnet_jax.errors import CheckpointError, InputError
from alexnet_jax.files import write_text
from alexnet_jax.network.placement import put_whole, to_host
from alexnet_jax.runs.digests import digest_of_meta, digests_of
from alexnet_jax.runs.record import CHECKPOINTS
from alexnet_jax.runs.state import TrainState

_ERROR = "validation/top1_error"


class Restored(NamedTuple):
    """A state, with what else a resumed run needs."""

    state: TrainState
    meta: dict[str, Any]


class _Manager(ocp.CheckpointManager):
    """Orbax's manager, which a damaged file of metrics does not keep from opening or saving."""

    def metrics(self, step: int) -> dict[str, float] | None:
        try:
            metrics = super().metrics(step)
            if metrics is None or math.isfinite(metrics[_ERROR]):
                return metrics
        except Exception:  # not JSON, or not what `save` has written
            pass
        warnings.warn(
            f"the metrics of checkpoint {self.directory / str(step)} are damaged; "
            "it cannot be chosen as the best",
            stacklevel=2,
        )
        return None


@contextlib.contextmanager
def _without_warnings_of_orbax() -> Iterator[None]:
    logger = logging.getLogger("absl")

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    logger.addFilter(is_error)
    try:
        yield
    finally:
        logger.removeFilter(is_error)


class Checkpoints:
    """The checkpoints of one run folder. Keeps the two newest and the best."""

    def __init__(self, workdir: Path, *, read_only: bool = False):
        """Opens `workdir/checkpoints` (made when absent, unless `read_only`).

        Opening for writing removes what an interrupted save left behind. Of several processes all
        open for writing, save and restore together; each opens `read_only` for itself.
        """
        self.folder = Path(workdir).absolute() / CHECKPOINTS
        policies = [
            preservation_policy.LatestN(2),
            preservation_policy.BestN(
                get_metric_fn=negative_error, n=1, keep_checkpoints_without_metrics=False
            ),
        ]
        items = ("params", "opt_state", "meta", "metrics")
        with _without_warnings_of_orbax():  # that it is opened to be read
            options = ocp.CheckpointManagerOptions(
                best_fn=negative_error,
                preservation_policy=preservation_policy.AnyPreservationPolicy(policies),
                cleanup_tmp_directories=not read_only,
                create=not read_only,
                read_only=read_only,
                enable_async_checkpointing=False,
                multiprocessing_options=(
                    _this_process_only() if read_only else ocp.options.MultiprocessingOptions()
                ),
            )
            self._manager = _Manager(self.folder, options=options, item_names=items)

    def save(self, state: TrainState, meta: dict[str, Any], metrics: dict[str, float]) -> None:
        """Saves `state` under its step; returns when it is on disk.

        `metrics` need a finite `validation/top1_error` (fraction) to compete for `best`. Raises
        `CheckpointError` if the files could not be written.
        """
        step = int(state.step)
        if not self.folder.exists():  # Orbax would make it anew
            raise CheckpointError(
                f"checkpoint of step {step} was not written: {self.folder} was moved or removed"
            )
        if not all(np.isfinite(value) for value in metrics.values()):
            raise ValueError(f"metrics of a checkpoint must be finite, not {metrics}")
        digests = digests_of({"params": state.params, "opt_state": state.opt_state})
        key = [int(word) for word in to_host(state.key)]
        meta = meta | {"step": step, "key": key, "digests": digests}
        meta["sha256"] = digest_of_meta(meta)
        arguments = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),  # type: ignore[call-arg]
            opt_state=ocp.args.StandardSave(state.opt_state),  # type: ignore[call-arg]
            meta=ocp.args.JsonSave(meta),  # type: ignore[call-arg]
        )
        try:
            saved = self._manager.save(step, args=arguments, metrics=metrics or None, force=True)
            self._manager.wait_until_finished()
        except Exception as error:
            processes.explain(error)
            raise CheckpointError(
                f"checkpoint of step {step} could not be written to {self.folder}: "
                f"{_first_line(error)}; free some space and run the same command again"
            ) from error
        if not saved:
            raise CheckpointError(f"checkpoint of step {step} was not saved: it exists already")

    def amend(self, step: int, meta: dict[str, Any], metrics: dict[str, float]) -> None:
        """Adds or replaces fields of `meta`, and metrics, of a saved step; its arrays stay."""
        folder = self.folder / str(step)

        def write() -> None:
            # Metrics first: a run that is killed in between evaluates this step again.
            if metrics:
                (folder / "metrics").mkdir(exist_ok=True)
                write_text(folder / "metrics" / "metrics", json.dumps(metrics))
            described = json.loads((folder / "meta" / "metadata").read_text("utf-8")) | meta
            described["sha256"] = digest_of_meta(described)
            write_text(folder / "meta" / "metadata", json.dumps(described))

        processes.chief_first(write, lambda: None)
        self._manager.reload()

    def steps(self) -> list[int]:
        """Oldest first."""
        return sorted(self._manager.all_steps())

    def step_of(self, which: str | int) -> int:
        """Returns the step of `last`, `best` or a number; raises `CheckpointError` if absent."""
        steps = self.steps()
        if not steps:
            raise CheckpointError(f"{self.folder} holds no checkpoint; train first")
        if which == "last":
            return steps[-1]
        if which == "best":
            rated = {step: self.metrics(step).get(_ERROR) for step in steps}
            errors = {step: error for step, error in rated.items() if error is not None}
            return min(errors, key=lambda step: errors[step]) if errors else steps[-1]
        if not str(which).isdigit():
            raise InputError(f"checkpoint '{which}' is neither best, last nor a step number")
        if int(which) not in steps:
            known = ", ".join(map(str, steps))
            raise CheckpointError(
                f"no checkpoint of step {which} in {self.folder}; there are {known}"
            )
        return int(which)

    def metrics(self, step: int) -> dict[str, float]:
        return dict(self._manager.metrics(step) or {})

    def restore(self, target: TrainState, step: int) -> Restored:
        """Returns the state of `step`, verified, in the shapes and shardings of `target`.

        Leaves without a sharding are on this process's first device, whatever devices saved them.

        Raises:
          CheckpointError: the checkpoint is damaged or of another network.
        """
        params, meta = self._restore_item("params", target.params, step)
        opt_state, _ = self._restore_item("opt_state", target.opt_state, step)
        # On the same device as the rest: the step compiles anew for arguments that lie elsewhere.
        clock = put_whole(np.int32(step), _sharding_of(target.step))
        key = put_whole(np.asarray(meta["key"], np.uint32), _sharding_of(target.key))
        return Restored(TrainState(clock, params, opt_state, key), meta)

    def restore_params(self, target: Any, step: int) -> Any:
        return self._restore_item("params", target, step)[0]

    def _restore_item(self, item: str, target: Any, step: int) -> tuple[Any, dict[str, Any]]:
        where = f"checkpoint {self.folder / str(step)}"
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=_sharding_of(leaf)),
            target,
        )
        arguments = ocp.args.Composite(
            meta=ocp.args.JsonRestore(),
            **{item: ocp.args.StandardRestore(abstract)},  # type: ignore[call-arg]
        )
        try:
            restored = self._manager.restore(step, args=arguments)
            tree, meta = restored[item], restored["meta"]
            if not isinstance(meta, dict) or not isinstance(meta.get("digests", {}), dict):
                raise ValueError("its description is no description")
        except Exception as error:
            processes.explain(error)
            raise CheckpointError(
                f"{where} is damaged or of another network: {_first_line(error)}"
            ) from error
        # Checkpoints from before meta had a digest of its own hold none.
        if meta.get("sha256", digest_of_meta(meta)) != digest_of_meta(meta):
            raise CheckpointError(f"{where} is damaged: meta does not match its SHA-256")
        digests = digests_of({item: tree})
        for path, digest in digests.items():
            if meta.get("digests", {}).get(path) != digest:
                raise CheckpointError(f"{where} is damaged: {path} does not match its SHA-256")
        return tree, meta

    def restore_newest(self, target: TrainState) -> Restored | None:
        """Returns the newest state that can be read, or None when there is no checkpoint at all.

        Moves damaged ones to `damaged_checkpoints/`; if all are, only raises `CheckpointError`.
        """
        steps = self.steps()
        damaged: list[int] = []
        for step in reversed(steps):
            restored, failure = None, ""
            try:
                restored = self.restore(target, step)
            except CheckpointError as error:
                failure = str(error)
            # All processes must take the same step, so one that cannot read it decides for all.
            failures = [text for text in processes.exchange(failure) if text]
            if restored is None or failures:
                warnings.warn(f"{failures[0]}; trying the one before it", stacklevel=2)
                damaged.append(step)
                continue
            for bad in damaged:
                self._set_aside(bad)
            return restored
        if steps:
            raise CheckpointError(
                f"none of the {len(steps)} checkpoints in {self.folder} can be read; "
                "nothing was changed: use another --workdir, or restore a good copy"
            )
        return None

    def _set_aside(self, step: int) -> None:
        aside = self.folder.parent / "damaged_checkpoints"

        def move() -> None:
            aside.mkdir(exist_ok=True)
            shutil.move(self.folder / str(step), aside / f"{step}-{len(list(aside.iterdir()))}")

        processes.chief_first(move, lambda: None)
        self._manager.reload()

    def close(self) -> None:
        self._manager.close()


def _this_process_only() -> ocp.options.MultiprocessingOptions:
    """Orbax then waits for no other process."""
    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}, barrier_sync_key_prefix=f"alone{here}"
    )


def negative_error(metrics: dict[str, float]) -> float:
    return -metrics[_ERROR]


def _sharding_of(leaf: Any) -> jax.sharding.Sharding:
    sharding = getattr(leaf, "sharding", None)
    return sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _first_line(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.partition(" See full TensorStore")[0][:200]  # what follows is a Python repr
