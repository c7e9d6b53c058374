"""Looks at everything a run depends on, and says what to repair."""

import contextlib
import hashlib
import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alexnet_jax.errors import AlexNetError, printable
from alexnet_jax.machine import (
    Finding,
    check_compiled_programs,
    check_devices,
    check_packages,
)

MIN_SPACE_BYTES = 2 * 1024**3
"""A checkpoint of the full network with its velocities is half a gigabyte, and three are kept."""
SOURCE_SECONDS = 2.0
"""A source whose files take longer to look at is not compared with the set made of it."""
MAX_IMAGES = 200_000
"""Of a larger split as many are read, evenly spread; the sizes of all its files are compared."""


def examine(workdir: Path | None, data_dir: Path, imagenet: Path | None = None) -> int:
    """Prints the findings and returns the exit code: 0 if nothing must be repaired, else 1."""
    bad = 0
    for finding in findings(workdir, data_dir, imagenet):
        print(printable(f"{finding.state:<5} {finding.subject:<12} {finding.text}"))
        bad += finding.state == "bad"
    print(f"{bad} to repair" if bad else "all is well")
    return 1 if bad else 0


def findings(
    workdir: Path | None, data_dir: Path, imagenet: Path | None = None
) -> Iterator[Finding]:
    """Yields the findings: packages, devices, disk, data sets, archives, run folder."""
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield from check_packages()
    yield from check_devices()
    yield from check_compiled_programs()
    yield from _disk("data", data_dir)
    yield from _data_sets(data_dir)
    if imagenet is not None:
        yield from _imagenet(imagenet)
    if workdir is not None:
        yield from _disk("run", workdir)
        yield from _run(workdir)


def _disk(what: str, folder: Path) -> Iterator[Finding]:
    """Looks at the free space and the right to write where `folder` is or would be."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        yield Finding("bad", f"{what} folder", f"{place} is a file; name a folder")
        return
    if not os.access(place, os.W_OK):
        yield Finding("bad", f"{what} folder", f"{folder} cannot be written; name another")
        return
    free = shutil.disk_usage(place).free
    text = f"{folder}: {free / 1024**3:.1f} GiB free"
    state = "ok" if free >= MIN_SPACE_BYTES else "bad"
    yield Finding(state, f"{what} folder", text if state == "ok" else text + "; make room")


def _data_sets(data_dir: Path) -> Iterator[Finding]:
    folders = sorted(path for path in data_dir.glob("[!.]*") if path.is_dir())
    if not folders:
        yield Finding(
            "note", "data sets", f"none in {data_dir} yet; `train` or `prepare` makes them"
        )
    for folder in folders:
        yield from _data_set(folder)


def _data_set(folder: Path) -> Iterator[Finding]:
    """Looks at one prepared set: its description, whether every file has its size, its source."""
    from alexnet_jax.data.dataset import open_dataset
    from alexnet_jax.data.prepared import load_statistics, read_prepared
    from alexnet_jax.data.versions import version_in

    try:
        prepared = read_prepared(folder)
        if prepared is None:
            text = f"{folder.name} is not complete; repeat its `prepare`"
            yield Finding("note", "data set", text)
            return
        dataset = open_dataset(folder, cache_bytes=0)
        load_statistics(folder)
        sizes = [_read_through(dataset.split(name)) for name in dataset.splits]
    except AlexNetError as error:
        yield Finding("bad", "data set", str(error))
        return
    classes = len(prepared["class_names"])
    text = f"{folder.name}: {', '.join(sizes)} images, {classes:,} classes"
    if version_in(prepared) > 1:
        text += f"; version {version_in(prepared)} of {prepared['name']}"
    yield Finding("ok", "data set", text)
    yield from _source_of(folder, prepared)


def _source_of(folder: Path, prepared: dict[str, Any]) -> Iterator[Finding]:
    """Yields how a set differs from its source; an older version of a set may differ."""
    from alexnet_jax.data.versions import version_in, versions
    from alexnet_jax.preparation.currency import quick_state

    found = []
    with contextlib.suppress(AlexNetError):  # a damaged one has a line of its own
        found = versions(folder.with_name(prepared["name"]))
    if found and version_in(prepared) < found[-1].number:
        text = f"{found[-1].folder.name} is newer; this may be removed when no run needs it"
    else:
        kind, source = (
            str(prepared["options"].get(name, "")) for name in ("source_kind", "source")
        )
        text = quick_state(folder, kind, source, SOURCE_SECONDS)
    if text:
        yield Finding("note", "data set", f"{folder.name}: {text}")


def _read_through(split: Any) -> str:
    """Returns what a split holds; raises `DataError` if an image, label or name is damaged."""
    _ = split.labels, split.keys
    every = -(-len(split) // MAX_IMAGES)
    for index in range(0, len(split), every):
        split.stored_bytes(index)
    return f"{split.name} {len(split):,}" + (f" (one in {every} read)" if every > 1 else "")


def _imagenet(folder: Path) -> Iterator[Finding]:
    """Compares the archives of ILSVRC-2012 with their sizes, then with their MD5 sums."""
    from alexnet_jax.preparation.sources.imagenet2012 import ARCHIVES

    remedy = "fetch it again from image-net.org"
    for name, (expected_bytes, md5) in ARCHIVES.items():
        path = folder / name
        try:
            size = path.stat().st_size
            if expected_bytes is not None and size != expected_bytes:
                text = f"{path} has {size:,} bytes, expected are {expected_bytes:,}; {remedy}"
                yield Finding("bad", "imagenet", text)
                continue
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
        except FileNotFoundError:
            text = f"{name} is not in {folder}; `prepare` takes its unpacked folder, too"
            yield Finding("note", "imagenet", text)
            continue
        except OSError as error:
            yield Finding("bad", "imagenet", f"{path} cannot be read: {error.strerror}; {remedy}")
            continue
        same = found == md5
        text = f"{path}: {size:,} bytes, MD5 {found}"
        text += " is the published one" if same else f", published is {md5}; {remedy}"
        yield Finding("ok" if same else "bad", "imagenet", text)


def _run(workdir: Path) -> Iterator[Finding]:
    from alexnet_jax.runs.metrics_log import damaged_lines
    from alexnet_jax.runs.record import CHECKPOINTS
    from alexnet_jax.runs.run_folder import read_run
    from alexnet_jax.workflow import final_test

    if not any((workdir / name).exists() for name in ("config.json", CHECKPOINTS)):
        yield Finding("note", "run", f"{workdir} holds no run yet")
        return
    with warnings.catch_warnings(record=True) as caught:  # what other commands would only warn of
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module=r"alexnet_jax\b")
        try:
            run = read_run(workdir)
            final_test(run)
            checkpoints = list(_checkpoints(run))
        except AlexNetError as error:
            yield Finding("bad", "run", str(error))
            return
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        yield Finding("bad", "run", text)
    facts = (run.config.preset, run.network.name, run.info.get("status", "unknown"))
    yield Finding("ok", "run", "preset {}, network {}, status {}".format(*facts))
    trained = "import" not in run.info and run.info.get("step", 0) > 0
    bad = damaged_lines(workdir / "metrics.jsonl", expected=trained)
    if bad:
        remedy = "they cannot be brought back; the training command continues"
        yield Finding("bad", "run", f"{workdir / 'metrics.jsonl'} {bad}; {remedy}")
    yield from checkpoints


def _checkpoints(run: Any) -> Iterator[Finding]:
    """Reads every checkpoint of a run, all arrays of which are compared with their digests."""
    import jax

    from alexnet_jax.runs.checkpoint import Checkpoints
    from alexnet_jax.training.steps import init_state

    arguments = (run.network, run.config.optimizer, run.image_size, run.config.seed)
    target = jax.eval_shape(lambda: init_state(*arguments))
    checkpoints = Checkpoints(run.workdir, read_only=True)
    try:
        steps = checkpoints.steps()
        if not steps:
            yield Finding(
                "bad", "checkpoint", "there is none; the training command starts from the beginning"
            )
        named = {checkpoints.step_of(which): which for which in ("last", "best") if steps}
        for step in steps:
            what = f"step {step}" + (f" ({named[step]})" if step in named else "")
            try:
                if "import" in run.info:  # it holds no velocities
                    checkpoints.restore_params(target.params, step)
                else:
                    checkpoints.restore(target, step)
                yield Finding("ok", "checkpoint", f"{what}: digests match")
            except AlexNetError as error:
                remedy = "the training command sets it aside and takes the one before it"
                yield Finding("bad", "checkpoint", f"{what}: {error}; {remedy}")
    finally:
        checkpoints.close()
    aside = run.workdir / "damaged_checkpoints"
    if aside.is_dir():
        yield Finding("note", "checkpoint", f"{aside} holds damaged ones; it may be removed")
