"""The run folder: what a run writes next to its checkpoints, and how it is read again.

`inputs.npz` holds the arrays of the preprocessing, so that a run predicts without its data set.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import numpy as np

from alexnet_jax import processes
from alexnet_jax.appearance import AS_STORED, AS_VIEWED, Appearance
from alexnet_jax.config import Config
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.errors import InputError
from alexnet_jax.files import read_arrays, write_arrays
from alexnet_jax.locations import check_utf8
from alexnet_jax.network.layers import Network
from alexnet_jax.resolution import Facts, Resolved, resolve
from alexnet_jax.runs.record import (
    CONFIG,
    RunRecord,
    changes_between,
    read_record,
    repair_record,
    write_info,
    write_record,
)

INPUTS = "inputs.npz"


class Run(NamedTuple):
    """A run, resolved."""

    workdir: Path
    config: Config
    network: Network
    image_size: int  # height and width of the network's input, pixels
    stored_size: int  # height and width of the images at rest, pixels
    class_names: tuple[str, ...]  # in the order of the outputs
    inputs: Inputs
    info: dict[str, Any]  # contents of `run.json`

    @classmethod
    def of(cls, workdir: Path, record: RunRecord, resolved: Resolved, inputs: Inputs) -> "Run":
        config, info = record
        names, size = tuple(info["class_names"]), info["stored_size"]
        return cls(workdir, config, *resolved, size, names, inputs, info)

    @property
    def record(self) -> RunRecord:
        return RunRecord(self.config, self.info)

    @property
    def appearance(self) -> Appearance:
        """The first runs trained on photos as stored; imported networks see them as viewers do."""
        first = AS_VIEWED if "import" in self.info else AS_STORED
        return Appearance(*(self.info.get(name, getattr(first, name)) for name in first._fields))


def read_run(workdir: str | Path) -> Run:
    """Raises `InputError`: there is no run, or a file is damaged and no checkpoint has a copy."""
    folder = Path(workdir).absolute()
    record = read_record(folder)
    resolved = resolve(record.config, facts_of(record.info))
    return Run.of(folder, record, resolved, read_inputs(folder, record.info))


def facts_of(info: dict[str, Any]) -> Facts:
    return Facts(len(info["class_names"]), info["stored_size"])


def write_run(workdir: Path, record: RunRecord, inputs: Inputs) -> None:
    """Writes the files of a new run, and notes the digest of its inputs in `record.info`."""
    write_inputs(workdir, inputs)
    record.info["inputs_sha256"] = _digest(inputs)
    write_record(workdir, record)


def update_info(run: Run, **changes: Any) -> None:
    """Changes `run.info` and, in process 0, `run.json`, unless the folder has vanished."""
    run.info.update(changes)
    if processes.is_chief() and (run.workdir / CONFIG).exists():
        write_info(run.workdir, run.info)


def note_changes(run: Run, stored: Config, step: int) -> None:
    """Stores `run.config` in the locked folder, and notes what it changes from `step` on."""
    changes = changes_between(stored, run.config, step)
    if changes:
        run.info.update(changes=[*run.info.get("changes", []), *changes], status="running")
    if run.config != stored and processes.is_chief():
        write_record(run.workdir, run.record)


@contextlib.contextmanager
def opened(workdir: Path, say: Callable[[str], object]) -> Iterator[RunRecord | None]:
    """Locks a run folder, repairs its record and yields it; None: a run can begin there.

    With several processes, process 0 does that, and all get its record. Errors are those of
    `locked` and `repair_record`.
    """
    with contextlib.ExitStack() as stack:

        def lock_and_repair() -> RunRecord | None:
            stack.enter_context(locked(workdir))
            return repair_record(workdir, say)

        record = processes.chief_first(lock_and_repair, lambda: None)
        yield processes.from_chief(
            record,
            lambda record: record and record.to_dict(),
            lambda content: content and RunRecord.from_dict(content),
        )


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the folder and holds its lock. A folder that stays empty is removed again.

    Raises:
      InputError: another process holds the lock, or the folder cannot be written.
    """
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir {workdir} is a file; name a folder")
    check_utf8(workdir)
    is_new = not workdir.exists()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(workdir / ".lock", timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise InputError(
            f"another process is training in {workdir}; use another --workdir"
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot write to --workdir {workdir}: {error.strerror or error}"
        ) from None
    try:
        yield
    finally:
        if is_new and {path.name for path in workdir.glob("*")} <= {".lock"}:
            with contextlib.suppress(OSError):  # another process may just begin a run in it
                (workdir / ".lock").unlink(missing_ok=True)
                workdir.rmdir()
        lock.release()


def write_inputs(workdir: Path, inputs: Inputs) -> None:
    write_arrays(workdir / INPUTS, **inputs._asdict())


def read_inputs(workdir: Path, info: dict[str, Any]) -> Inputs:
    """Raises `InputError`: `inputs.npz` is missing, damaged, or of another run."""
    path = workdir / INPUTS
    try:
        arrays = read_arrays(path)
        inputs = Inputs(**{name: arrays[name] for name in Inputs._fields})
        if info.get("inputs_sha256", _digest(inputs)) != _digest(inputs):
            raise ValueError("of another run")
    except (OSError, ValueError, KeyError) as error:
        remedy = (
            "import the weights again"
            if "import" in info
            else "the training command makes it again from the data set"
        )
        raise InputError(f"{path} is missing or damaged ({error}); {remedy}") from None
    return inputs


def _digest(inputs: Inputs) -> str:
    digest = hashlib.sha256()
    for array in inputs:
        digest.update(np.ascontiguousarray(array, np.float32).tobytes())
    return digest.hexdigest()
