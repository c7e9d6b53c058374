"""The record of a run: its configuration (`config.json`) and what is known of it (`run.json`).

Every checkpoint carries a copy, so that one torn file does not make all of them useless.
"""

import contextlib
import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from alexnet_jax.config import Config
from alexnet_jax.errors import InputError
from alexnet_jax.fields import differing_fields, marked_fields
from alexnet_jax.files import write_text

CONFIG, INFO, CHECKPOINTS = "config.json", "run.json", "checkpoints"

RESULT_NEUTRAL_FIELDS = marked_fields(Config, "result_neutral")
RETUNABLE_FIELDS = marked_fields(Config, "retunable")

_DAMAGE = (OSError, ValueError, KeyError, TypeError, RecursionError, InputError)


class RunRecord(NamedTuple):
    """The configuration of a run, and the contents of `run.json`."""

    config: Config
    info: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {"config": dataclasses.asdict(self.config), "info": self.info}

    @classmethod
    def from_dict(cls, content: Any) -> "RunRecord":
        """Raises `InputError`, `KeyError`, `TypeError` or `ValueError` for what is no record."""
        return cls(Config.from_dict(content["config"]), _checked(content["info"]))


class _Files(NamedTuple):
    """What was read of a run folder: the sound files, the faults of the others, the newest copy."""

    contents: dict[str, Any]
    faults: dict[str, str]
    copy: tuple[int, RunRecord] | None  # with the step of its checkpoint


def read_record(workdir: Path) -> RunRecord:
    """Returns the record of a run. A checkpoint's copy replaces damaged files, with a warning.

    Raises:
      InputError: there is no run, nothing replaces a damaged file, or a file is of another run.
    """
    return _record_of(workdir, _read_files(workdir))


def repair_record(workdir: Path, say: Callable[[str], object]) -> RunRecord | None:
    """Writes damaged files of a locked run again; None: a run can begin in the folder.

    Raises:
      InputError: as `read_record`, or there are checkpoints without a record.
    """
    files = _read_files(workdir)
    if files.faults and files.copy:
        step, record = files.copy
        write_record(workdir, record)
        say(f"{' and '.join(files.faults)} written again from the checkpoint of step {step}")
        return record
    if files.faults and not any((workdir / CHECKPOINTS).glob("[0-9]*")):
        (workdir / CONFIG).unlink(missing_ok=True)
    if (workdir / CONFIG).exists():
        return _record_of(workdir, files)
    if (workdir / CHECKPOINTS).is_dir() and any((workdir / CHECKPOINTS).iterdir()):
        raise InputError(f"{workdir} has checkpoints but no {CONFIG}; use another --workdir")
    return None


def write_record(workdir: Path, record: RunRecord) -> None:
    """Writes `run.json` and, last, `config.json`, which makes the folder a run."""
    write_info(workdir, record.info)
    write_text(workdir / CONFIG, record.config.to_json())


def write_info(workdir: Path, info: dict[str, Any]) -> None:
    write_text(workdir / INFO, json.dumps(info, indent=2) + "\n")


def check_same_config(workdir: Path, stored: Config, config: Config, retune: bool = False) -> None:
    """Raises `InputError` where fields differ; with `retune` those of `RETUNABLE_FIELDS` may."""
    changed = _differing(stored, config)
    refused = {k: v for k, v in changed.items() if not (retune and k in RETUNABLE_FIELDS)}
    if refused:
        listing = "; ".join(f"{name} was {a!r}, is {b!r}" for name, (a, b) in refused.items())
        may_retune = refused.keys() <= RETUNABLE_FIELDS
        raise InputError(
            f"{workdir} holds a run with another configuration ({listing}); repeat it as it was, "
            + ("change it in mid-run with --retune, " if may_retune else "")
            + "or use another --workdir"
        )


def changes_between(stored: Config, config: Config, step: int) -> list[dict[str, Any]]:
    """Returns what `config` changes in the results of a run from `step` on, for `run.json`."""
    return [
        {"step": step, "field": name, "was": was, "is": now}
        for name, (was, now) in _differing(stored, config).items()
    ]


def _differing(stored: Config, config: Config) -> dict[str, tuple[Any, Any]]:
    fields = differing_fields(stored, config)
    return {name: pair for name, pair in fields.items() if name not in RESULT_NEUTRAL_FIELDS}


def _read_files(workdir: Path) -> _Files:
    contents, faults = {}, {}
    for name, parse in {CONFIG: Config.from_json, INFO: _info_from_json}.items():
        try:
            contents[name] = parse((workdir / name).read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            faults[name] = "is missing"
        except _DAMAGE as error:
            faults[name] = f"is damaged ({' '.join(str(error).split())[:80]})"
    return _Files(contents, faults, _newest_copy(workdir))


def _record_of(workdir: Path, files: _Files) -> RunRecord:
    if files.copy is None:
        if not (workdir / CONFIG).exists():
            raise InputError(f"{workdir} holds no run ({CONFIG} is missing); train one first")
        for name, fault in files.faults.items():
            raise InputError(
                f"{workdir / name} {fault}, and no checkpoint has a copy of it; bring back a copy, "
                "or use another --workdir"
            )
        return RunRecord(files.contents[CONFIG], files.contents[INFO])
    step, copy = files.copy
    for name, fault in files.faults.items():
        warnings.warn(
            f"{workdir / name} {fault}: read from the checkpoint of step {step}; "
            "the training command writes it again",
            stacklevel=3,
        )
    record = RunRecord(
        files.contents.get(CONFIG, copy.config),
        files.contents.get(INFO, copy.info),
    )
    _check_same_run(workdir, record, copy)
    return record


def _check_same_run(workdir: Path, record: RunRecord, copy: RunRecord) -> None:
    """Raises `InputError` where a file is of another run than the checkpoints."""
    changed = _differing(record.config, copy.config)
    fields = [name for name in changed if name not in RETUNABLE_FIELDS]
    run_id = copy.info.get("run_id")
    if fields:
        name, reason = CONFIG, f" ({', '.join(fields)} differ)"
    elif run_id and run_id != record.info.get("run_id"):
        name, reason = INFO, ""
    else:
        return
    raise InputError(
        f"{workdir / name} is of another run than the checkpoints{reason}; remove it, and the "
        "training command writes it again, or bring back the right one"
    )


def _newest_copy(workdir: Path) -> tuple[int, RunRecord] | None:
    """Returns a checkpoint's step and its copy."""
    folders = [path for path in (workdir / CHECKPOINTS).glob("[0-9]*") if path.name.isdigit()]
    for folder in sorted(folders, key=lambda folder: -int(folder.name)):
        with contextlib.suppress(*_DAMAGE):
            meta = json.loads((folder / "meta" / "metadata").read_text("utf-8"))
            return int(folder.name), RunRecord.from_dict(meta["run"])
    return None


def _info_from_json(text: str) -> dict[str, Any]:
    return _checked(json.loads(text))


def _checked(info: Any) -> dict[str, Any]:
    """Raises an error of `_DAMAGE` where `info` is no content of a `run.json`."""
    names, size = info["class_names"], info["stored_size"]
    if type(names) is not list or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("it has no class names")
    if type(size) is not int or size < 1:
        raise ValueError("it has no size of stored images")
    return info
