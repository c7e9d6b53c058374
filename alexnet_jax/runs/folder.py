"""The run folder: what a run writes beside its checkpoints, and how it is read again.

`config.json` (resolved), `run.json` (versions, devices, data, status), `inputs.npz` (the arrays of
the preprocessing, so that a run predicts without its data set) and `.lock`.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import filelock
import jax
import numpy as np

from alexnet_jax.config import AS_STORED, AS_VIEWED, Appearance, Config, differing_fields
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.errors import InputError
from alexnet_jax.files import read_arrays, write_arrays, write_text
from alexnet_jax.locations import check_utf8
from alexnet_jax.network.layers import Network
from alexnet_jax.resolution import Facts, resolve

CHECKPOINTS = "checkpoints"

T = TypeVar("T")

RESULT_NEUTRAL_FIELDS = {
    "log_every_steps",
    "checkpoint_every_steps",
    "workers",
    "towers",
    "replicas",
    "data.source",
    "data.orientation",
    "data.colours",
    "data.cache_bytes",
    "final_views",
}
"""Fields that change how a run goes about its work but not its parameters, except for their
rounding on other devices; a resumed run may change them. The images themselves are held by the
fingerprint of the data set."""

RETUNABLE = (
    "schedule.",
    "optimizer.learning_rate",
    "optimizer.bias_learning_rate",
    "epochs",
    "accumulation",
)
"""Fields (or beginnings of names) that `retune` may change in the middle of a run, as the rates of
2012 were changed by hand (paper §5). `accumulation` is among them because it rounds otherwise. Each
change is noted in `run.json`."""

_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "tensorflow-datasets",
    "grain",
    "numpy",
    "pillow",
)


class Run(NamedTuple):
    """What a run folder says about its network.

    Attributes:
      workdir: the folder.
      config: resolved configuration.
      network: with the run's number of classes.
      image_size: height and width of the network's input in pixels.
      stored_size: height and width of the images at rest.
      class_names: one per class, in the order of the outputs.
      inputs: arrays of the preprocessing.
      info: `run.json`.
    """

    workdir: Path
    config: Config
    network: Network
    image_size: int
    stored_size: int
    class_names: tuple[str, ...]
    inputs: Inputs
    info: dict[str, Any]

    @property
    def appearance(self) -> Appearance:
        """How photos are shown to the network: as in its training.

        The first runs trained on photos as stored; imported networks get them as a viewer does.
        """
        first = AS_VIEWED if "import" in self.info else AS_STORED
        return Appearance(*(self.info.get(name, getattr(first, name)) for name in first._fields))


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the folder and holds its lock; raises `InputError` when another process does."""
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir {workdir} is a file; name a folder")
    check_utf8(workdir)
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
        lock.release()


def check_same_config(workdir: Path, config: Config, retune: bool = False) -> bool:
    """Returns whether the folder holds a run of this configuration; False: it holds none.

    With `retune`, the fields in `RETUNABLE` may differ.

    Args:
      workdir: run folder.
      config: what is asked for.
      retune: let the fields in `RETUNABLE` differ.

    Raises:
      InputError: it holds another run, with the fields that differ.
    """
    if not (workdir / "config.json").exists():
        return False
    fields = differing_fields(read_config(workdir), config)
    changed = {name: pair for name, pair in fields.items() if name not in RESULT_NEUTRAL_FIELDS}
    refused = {k: v for k, v in changed.items() if not (retune and k.startswith(RETUNABLE))}
    if refused:
        listing = "; ".join(f"{name} was {a!r}, is {b!r}" for name, (a, b) in refused.items())
        may = all(name.startswith(RETUNABLE) for name in refused)
        raise InputError(
            f"{workdir} holds a run with another configuration ({listing}); repeat it as it was, "
            + ("change it in mid-run with --retune, " if may else "")
            + "or use another --workdir"
        )
    return True


def note_changes(run: Run, previous: Config, step: int) -> dict[str, Any]:
    """Makes `run.config` the folder's own from `step` on; returns what changes in `run.json`.

    Args:
      run: its folder is locked.
      previous: configuration up to here.
      step: finished updates.
    """
    fields = differing_fields(previous, run.config)
    changes = [
        {"step": step, "field": name, "was": was, "is": now}
        for name, (was, now) in fields.items()
        if name not in RESULT_NEUTRAL_FIELDS
    ]
    noted: dict[str, Any] = {}
    if changes:
        noted = {"changes": [*run.info.get("changes", []), *changes], "status": "running"}
        update_info(run.workdir, **noted)
    write_text(run.workdir / "config.json", run.config.to_json())
    return noted


def start_run(workdir: Path, config: Config, inputs: Inputs, info: dict[str, Any]) -> None:
    """Writes `inputs.npz`, `run.json` and, last, `config.json`, which makes the folder a run.

    Args:
      workdir: run folder, locked.
      config: the experiment.
      inputs: arrays of the preprocessing.
      info: for `run.json`.
    """
    write_inputs(workdir, inputs)
    info = info | {"inputs_sha256": _digest(inputs)}
    write_text(workdir / "run.json", json.dumps(info, indent=2) + "\n")
    write_text(workdir / "config.json", config.to_json())


def write_inputs(workdir: Path, inputs: Inputs) -> None:
    """Writes `inputs.npz`."""
    write_arrays(workdir / "inputs.npz", **inputs._asdict())


def description(config: Config, info: dict[str, Any]) -> dict[str, Any]:
    """Returns what a checkpoint says of its run, lest one torn file make all of them useless."""
    return {"config": dataclasses.asdict(config), "info": info}


def _described(workdir: Path) -> tuple[int, dict[str, Any]] | None:
    """Returns the step of the newest checkpoint that describes its run, and the description."""
    steps = [folder for folder in (workdir / CHECKPOINTS).glob("[0-9]*") if folder.name.isdigit()]
    for folder in sorted(steps, key=lambda folder: -int(folder.name)):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads((folder / "meta" / "metadata").read_text("utf-8"))["run"]
            if found["info"]["class_names"] and found["config"]:
                return int(folder.name), found
    return None


def repair(workdir: Path, say: Callable[[str], None]) -> None:
    """Writes `config.json` and `run.json` anew where a checkpoint says what they have lost.

    Where nothing was saved yet, nothing is lost: the run begins anew.

    Args:
      workdir: run folder, locked.
      say: takes a line for the user.
    """
    files = {"config.json": _load_config, "run.json": _load_info}
    bad = [name for name, load in files.items() if _failure(load, workdir)]
    if not bad or not any((workdir / name).exists() for name in (*files, CHECKPOINTS)):
        return
    found = _described(workdir)
    if found is not None:
        step, described = found
        config = Config.from_json(json.dumps(described["config"]))
        write_text(workdir / "run.json", json.dumps(described["info"], indent=2) + "\n")
        write_text(workdir / "config.json", config.to_json())
        say(f"{' and '.join(bad)} written anew from the checkpoint of step {step}")
    elif not any((workdir / CHECKPOINTS).glob("[0-9]*")):
        (workdir / "config.json").unlink(missing_ok=True)


def _failure(load: Callable[[Path], Any], workdir: Path) -> str:
    try:
        load(workdir)
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        return f"is damaged ({' '.join(str(error).split())[:80]})"
    return ""


def holds_config(workdir: Path) -> bool:
    """Returns whether the folder has a `config.json` that can be read."""
    return not _failure(_load_config, workdir)


def _load_config(workdir: Path) -> Config:
    return Config.from_json((workdir / "config.json").read_text("utf-8"))


def _load_info(workdir: Path) -> dict[str, Any]:
    info = json.loads((workdir / "run.json").read_text("utf-8"))
    names, size = info["class_names"], info["stored_size"]
    if type(names) is not list or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("it has no class names")
    if type(size) is not int or size < 1:
        raise ValueError("it has no size of stored images")
    return info


def _loaded(load: Callable[[Path], T], name: str, workdir: Path) -> T | None:
    """Returns the contents of a file; None where a checkpoint has to stand in for it.

    Raises:
      InputError: none can.
    """
    failure = _failure(load, workdir)
    if not failure:
        return load(workdir)
    found = _described(workdir)
    if found is None:
        raise InputError(
            f"{workdir / name} {failure}, and no checkpoint says what it held; bring back a copy, "
            "or use another --workdir"
        )
    warnings.warn(
        f"{workdir / name} {failure}: read from the checkpoint of step {found[0]}; "
        "the training command writes it anew",
        stacklevel=3,
    )
    return None


def update_info(workdir: Path, **changes: Any) -> dict[str, Any]:
    """Changes fields of `run.json`; returns all of it."""
    info = read_info(workdir) | changes
    write_text(workdir / "run.json", json.dumps(info, indent=2) + "\n")
    return info


def read_info(workdir: Path) -> dict[str, Any]:
    """Returns what `run.json` says, or a checkpoint in its stead; errors as `read_run`."""
    info = _loaded(_load_info, "run.json", workdir)
    found = _described(workdir)
    if info is None:
        assert found is not None
        return found[1]["info"]
    theirs = found[1]["info"].get("run_id") if found else None
    if theirs and theirs != info.get("run_id"):
        raise InputError(
            f"{workdir / 'run.json'} is of another run than the checkpoints; remove it, and the "
            "training command writes it anew, or bring back its own"
        )
    return info


def read_config(workdir: Path) -> Config:
    """Returns the configuration of a run.

    Raises:
      InputError: the folder holds no run, or `config.json` cannot be read.
    """
    workdir = Path(workdir)
    if not (workdir / "config.json").exists() and _described(workdir) is None:
        raise InputError(f"{workdir} holds no run (config.json is missing); train one first")
    config = _loaded(_load_config, "config.json", workdir)
    found = _described(workdir)
    if found is None:
        assert config is not None
        return config
    theirs = Config.from_json(json.dumps(found[1]["config"]))
    if config is None:
        return theirs
    other = [
        name
        for name in differing_fields(config, theirs)
        if name not in RESULT_NEUTRAL_FIELDS and not name.startswith(RETUNABLE)
    ]
    if other:
        raise InputError(
            f"{workdir / 'config.json'} is of another run than the checkpoints ({', '.join(other)} "
            "differ); remove it, and the training command writes it anew, or bring back its own"
        )
    return config


def read_inputs(workdir: Path, info: dict[str, Any]) -> Inputs:
    """Returns the arrays of the preprocessing.

    Raises:
      InputError: `inputs.npz` is missing, damaged, or of another run.
    """
    path = workdir / "inputs.npz"
    try:
        arrays = read_arrays(path)
        inputs = Inputs(**{name: arrays[name] for name in Inputs._fields})
        if info.get("inputs_sha256", _digest(inputs)) != _digest(inputs):
            raise ValueError("of another run")
    except (OSError, ValueError, KeyError) as error:
        remedy = (
            "import the weights again"
            if "import" in info
            else ("the training command makes it anew from the data set")
        )
        raise InputError(f"{path} is missing or damaged ({error}); {remedy}") from None
    return inputs


def read_run(workdir: str | Path) -> Run:
    """Returns what is needed to use the run in `workdir`.

    Raises:
      InputError: there is none, or a file is damaged and nothing else says what it held.
    """
    folder = Path(workdir).absolute()
    config = read_config(folder)
    info = read_info(folder)
    inputs = read_inputs(folder, info)
    class_names = tuple(info["class_names"])
    network, image_size = resolve(config, Facts(len(class_names), info["stored_size"]))
    return Run(folder, config, network, image_size, info["stored_size"], class_names, inputs, info)


def _digest(inputs: Inputs) -> str:
    """Returns a SHA-256 over all arrays."""
    digest = hashlib.sha256()
    for array in inputs:
        digest.update(np.ascontiguousarray(array, np.float32).tobytes())
    return digest.hexdigest()


def environment() -> dict[str, Any]:
    """Returns versions, hardware, commit and command, for `run.json`."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "command": " ".join(["python -m alexnet_jax.main", *sys.argv[1:]]),
        "commit": _commit(),
        "versions": versions,
        "devices": [device.device_kind for device in jax.devices()],
        "platform": jax.default_backend(),
        "processor": _processor(),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    }


def _commit() -> str | None:
    """Returns the source's git commit, with `+` when programs were changed; None without git."""

    def git(*words: str) -> str:
        run = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent,
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
        return run.stdout.strip()

    try:
        commit = git("describe", "--always", "--abbrev=12", "--exclude=*")
        programs = (":/alexnet_jax/*.py", ":/experiments/*.py")  # no records, no pages
        changed = git("diff", "--name-only", "HEAD", "--", *programs)
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}{'+' if changed else ''}" or None


def _processor() -> str:
    """Returns the processor's model name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
