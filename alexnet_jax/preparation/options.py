"""The options of a preparation: defaults per kind of source, derived names, comparisons."""

import dataclasses
import hashlib
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

from alexnet_jax.config import AS_STORED, AS_VIEWED, IMAGE_FILES, Appearance, DataConfig
from alexnet_jax.data.prepared import appearance_in
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.resolution import check_data, check_kind

_OWN_SIZE = 32  # of CIFAR-10, and of the digits as they are usually enlarged


def default_options(source_kind: str, source: str = "", name: str = "") -> DataConfig:
    """Returns the usual options for a kind of source: small sets stay small and raw.

    Args:
      source_kind: digits, folder, cifar10, imagenet2012 or tfds.
      source: folder, archive or catalogue name.
      name: of the set; empty: derived.
    """
    check_kind(source_kind)
    small = source_kind in ("digits", "cifar10")
    return DataConfig(
        name=name,
        source_kind=source_kind,  # pyright: ignore[reportArgumentType] - checked above
        source=source,
        stored_size=_OWN_SIZE if small else 256,
        store="raw" if small else "jpeg",
        validation_split="test" if small else "validation",
    )


def resolve(data: DataConfig) -> DataConfig:
    """Checks the options, makes the source absolute and derives an empty name.

    Raises:
      InputError: an option is impossible; the message names it.
    """
    check_data(data)
    if data.source_kind == "digits":
        data = dataclasses.replace(data, store="raw", source="")
    elif data.source and (data.source_kind != "tfds" or Path(data.source).is_absolute()):
        data = dataclasses.replace(data, source=os.path.abspath(Path(data.source).expanduser()))
    name = data.name or _derived_name(data)
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name, re.ASCII):
        raise InputError(
            f"data.name is '{name}'; a name is letters, digits, '-', '_', '.', and no folder"
        )
    return dataclasses.replace(data, name=name)


def appearance_of(data: DataConfig) -> Appearance:
    """Returns how the image files are read of a set that is prepared from `data`.

    Deviation: 2012 read all photos as they are stored; of ImageNet's tars this does, too.
    """
    usual = AS_STORED if data.source_kind == "imagenet2012" else AS_VIEWED
    return Appearance(
        usual.orientation if data.orientation == "auto" else data.orientation,
        usual.colours if data.colours == "auto" else data.colours,
    )


def described_options(data: DataConfig) -> dict[str, Any]:
    """Returns what decides the contents of a prepared set, as it is kept in `prepared.json`."""
    options: dict[str, Any] = {
        "source_kind": data.source_kind,
        "source": data.source,
        "stored_size": data.stored_size,
        "store": data.store,
    }
    if data.store == "jpeg":
        options["jpeg_quality"] = data.jpeg_quality
    if data.source_kind in ("folder", "tfds"):
        options["validation_fraction"] = data.validation_fraction
        options["copies"] = data.copies
    if data.source_kind == "imagenet2012":
        options["class_order"] = data.class_order
    if data.source_kind in IMAGE_FILES:
        options |= appearance_of(data)._asdict()
    return options


def check_same(folder: Path, prepared: dict[str, Any], data: DataConfig) -> None:
    """Raises `DataError` if the set in `folder` was prepared otherwise than `data` asks.

    Without a source in `data`, the set is taken as it is, as long as the stored size agrees; and
    so are its orientation and its colours unless `data` asks for them.

    Args:
      folder: of the prepared set.
      prepared: its `prepared.json`.
      data: what is asked for, resolved.
    """
    have = appearance_in(prepared)._asdict() | prepared["options"]
    want = described_options(data) | appearance_of(data)._asdict()
    names = list(want) if data.source or data.source_kind == "digits" else ["stored_size"]
    names = [name for name in names if name not in Appearance._fields]
    names += [name for name in Appearance._fields if getattr(data, name) != "auto"]
    different = [name for name in names if name in have and have[name] != want[name]]
    if different:
        values = "; ".join(f"{name} {have[name]!r}, asked for {want[name]!r}" for name in different)
        raise DataError(
            f"{folder} was prepared with {values}; choose another --data.name (of prepare: --name)"
            ", or remove that folder"
        )


def command(data: DataConfig, data_dir: Path) -> str:
    """Returns the command line that prepares `data`, with PATH where the source is unknown."""
    words = ["python", "-m", "alexnet_jax.main", "prepare", "--source"]
    if data.source_kind == "tfds":
        words.append(f"tfds:{data.source or 'NAME'}")
    else:
        words += [data.source_kind, data.source or "PATH"]
    words += ["--name", data.name, "--data-dir", str(data_dir)]
    usual = default_options(data.source_kind)
    if data.stored_size != usual.stored_size:
        words += ["--stored-size", str(data.stored_size)]
    if data.store != usual.store:
        words += ["--store", data.store]
    for name in Appearance._fields:
        if getattr(data, name) != "auto":
            words += [f"--{name}", getattr(data, name)]
    if data.copies != usual.copies:
        words += ["--copies", data.copies]
    return shlex.join(words)


def _derived_name(data: DataConfig) -> str:
    usual = default_options(data.source_kind)
    size = "" if data.stored_size == usual.stored_size else f"-{data.stored_size}"
    size += "" if data.store == usual.store else f"-{data.store}"
    if data.source_kind == "digits":
        return f"digits-{data.stored_size}"
    if data.source_kind in ("cifar10", "imagenet2012"):
        return f"{data.source_kind}{size}"
    if not data.source:
        raise DataError(
            "no data set is named: give a folder, tar or zip of photos, one folder per class, with "
            "--data.source PHOTOS; or type python -m alexnet_jax.main prepare --source "
            f"{'tfds:NAME' if data.source_kind == 'tfds' else 'folder PHOTOS'} --name photos, "
            "and then give --data.name photos"
        )
    base = re.sub(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", "", Path(data.source).name)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", base).strip("-").lower() or "images"
    if data.source_kind == "tfds" and not Path(data.source).is_absolute():
        return f"{slug}{size}"
    options = described_options(data)
    for name in Appearance._fields:
        if getattr(data, name) == "auto":  # sets from before there was this choice are found
            del options[name]
    if data.copies == "together":
        options.pop("copies", None)
    digest = hashlib.sha256(json.dumps(options).encode()).hexdigest()
    return f"{slug}-{digest[:8]}"
