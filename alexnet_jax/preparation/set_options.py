"""The options of a preparation: defaults of each kind of source, derived names, comparisons."""

import dataclasses
import hashlib
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

from alexnet_jax.appearance import Appearance
from alexnet_jax.config import DataConfig
from alexnet_jax.data.prepared import appearance_in
from alexnet_jax.data.versions import Version
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.sources import source_kind
from alexnet_jax.preparation.sources.listing import slug
from alexnet_jax.resolution import check_data
from alexnet_jax.source_kinds import SOURCE_KINDS


def default_options(kind: str, source: str = "", name: str = "") -> DataConfig:
    return DataConfig(name=name, source_kind=kind, source=source, **source_kind(kind).defaults)


def resolve_options(data: DataConfig) -> DataConfig:
    check_data(data)
    kind = source_kind(data.source_kind)
    data = dataclasses.replace(data, **kind.fixed)
    is_path = kind.location == "path" or Path(data.source).is_absolute()
    if data.source and is_path:
        data = dataclasses.replace(data, source=os.path.abspath(Path(data.source).expanduser()))
    name = data.name or _derived_name(data)
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name, re.ASCII):
        raise InputError(
            f"data.name is '{name}'; a name is letters, digits, '-', '_', '.', and no folder"
        )
    return dataclasses.replace(data, name=name)


def appearance_of(data: DataConfig) -> Appearance:
    usual = source_kind(data.source_kind).appearance
    return Appearance(
        usual.orientation if data.orientation == "auto" else data.orientation,
        usual.colours if data.colours == "auto" else data.colours,
    )


def described_options(data: DataConfig) -> dict[str, Any]:
    names = ["source_kind", "source", "stored_size", "store"]
    names += ["jpeg_quality"] * (data.store == "jpeg")
    names += source_kind(data.source_kind).options
    options = {name: getattr(data, name) for name in names}
    return options | (
        appearance_of(data)._asdict() if SOURCE_KINDS[data.source_kind].has_files else {}
    )


def check_same(version: Version, data: DataConfig) -> None:
    """Refuses a set of other options; without a source only the stored size must agree.

    Orientation and colours must agree only if `data` chooses them.
    """
    have = appearance_in(version.prepared)._asdict() | version.prepared["options"]
    want = described_options(data) | appearance_of(data)._asdict()
    has_source = data.source or source_kind(data.source_kind).location == "none"
    names = [n for n in want if n not in Appearance._fields] if has_source else ["stored_size"]
    names += [name for name in Appearance._fields if getattr(data, name) != "auto"]
    different = [name for name in names if name in have and have[name] != want[name]]
    if different:
        values = "; ".join(f"{name} {have[name]!r}, asked for {want[name]!r}" for name in different)
        raise DataError(
            f"{version.folder} was prepared with {values}; choose another --data.name (of prepare: "
            "--name), or remove that folder"
        )


def prepare_command(data: DataConfig, data_dir: Path) -> str:
    words = ["python", "-m", "alexnet_jax.main", "prepare", "--source"]
    if source_kind(data.source_kind).location == "name":
        words.append(f"{data.source_kind}:{data.source or 'NAME'}")
    else:
        words += [data.source_kind, data.source or "PATH"]
    words += ["--name", data.name, "--data-dir", str(data_dir)]
    usual = default_options(data.source_kind)
    for name in ("stored_size", "store", *Appearance._fields, "copies"):
        if getattr(data, name) != getattr(usual, name):
            words += [f"--{name.replace('_', '-')}", str(getattr(data, name))]
    return shlex.join(words)


def _derived_name(data: DataConfig) -> str:
    kind, usual = source_kind(data.source_kind), default_options(data.source_kind)
    storage = "" if data.stored_size == usual.stored_size else f"-{data.stored_size}"
    storage += "" if data.store == usual.store else f"-{data.store}"
    if kind.set_name and (name := kind.set_name(data, storage)):
        return name
    if not data.source:
        source = f"{data.source_kind}:NAME" if kind.location == "name" else "folder PHOTOS"
        raise DataError(
            "no data set is named: give a folder, tar or zip of photos, one folder per class, with "
            f"--data.source PHOTOS; or type python -m alexnet_jax.main prepare --source {source} "
            "--name photos, and then give --data.name photos"
        )
    options = described_options(data)
    # Defaults of options that older sets did not have are left out, so that these are still found.
    for name, default in (*((name, "auto") for name in Appearance._fields), ("copies", "together")):
        if getattr(data, name) == default:
            options.pop(name, None)
    digest = hashlib.sha256(json.dumps(options).encode()).hexdigest()
    return f"{slug(data.source)}-{digest[:8]}"
