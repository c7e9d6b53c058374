"""The readers that are fuzzed: their inputs, and the errors that they may raise."""

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alexnet_jax import workflow
from alexnet_jax.appearance import AS_VIEWED
from alexnet_jax.config import Config, DataConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.decode import decode_rgb
from alexnet_jax.data.prepared import load_statistics
from alexnet_jax.data.square import fit_square
from alexnet_jax.errors import AlexNetError, BadImageError
from alexnet_jax.preparation.sources import cifar10, list_images
from alexnet_jax.runs.run_folder import read_run
from alexnet_jax.runs.run_weights import load_weights
from alexnet_jax.weights import READERS
from alexnet_jax.weights.readers.labels import read_labels
from alexnet_jax.weights.readers.safe_pickle import read_pickle
from experiments.fuzz import seeds

CHECKPOINT_FILES = (
    "meta/metadata",
    "metrics/metrics",
    "params/_METADATA",
    "params/manifest.ocdbt",
    "params/ocdbt.process_0/manifest.ocdbt",
    "params/d/*",
)
Call = Callable[[bytes], object]
ANSWERS = (AlexNetError, BadImageError)
"""The errors that a reader may raise: one line for the user."""


class FuzzTarget(NamedTuple):
    """A reader, with whole files; `form`, `json` or `zip`, is mutated besides bytes."""

    seeds: list[bytes]
    call: Call
    form: str = "bytes"


def targets(root: Path) -> dict[str, Callable[[], FuzzTarget]]:
    """Returns the function that makes each target, by name; `root` is the folder of its files."""
    root.mkdir(parents=True, exist_ok=True)
    made: dict[str, Callable[[], FuzzTarget]] = {
        "pickle": lambda: FuzzTarget(
            seeds.pickles(), lambda data: read_pickle(memoryview(data), "x"),
        ),
        "torchvision": lambda: FuzzTarget(
            seeds.torch_files(), _file(root / "w.pth", READERS["torchvision"].read),
            "zip",
        ),
        "caffe": lambda: FuzzTarget(
            seeds.caffe(), _file(root / "w.caffemodel", READERS["caffe"].read)
        ),
        "cuda-convnet": lambda: _cuda_convnet(root),
        "safetensors": lambda: _safetensors(root),
        "labels": lambda: FuzzTarget(
            seeds.labels(), _file(root / "names.txt", read_labels), "json",
        ),
        "images": lambda: FuzzTarget(
            seeds.images(), lambda data: fit_square(decode_rgb(data, AS_VIEWED), 32)
        ),
        "archives": lambda: _archives(root),
        "cifar10": lambda: _cifar10(root),
        "config": lambda: FuzzTarget(
            [Config().to_json().encode()],
            lambda data: Config.from_json(data.decode("utf-8", "replace")),
            "json",
        ),
    }  # fmt: skip
    for name in ("prepared.json", "statistics.npz", "examples.npz", "shard"):
        made[f"data set: {name}"] = lambda name=name: _data_set(root, name)
    for name in ("config.json", "run.json", "inputs.npz", "metrics.jsonl", "final.npz"):
        made[f"run: {name}"] = lambda name=name: _run(root, name)
    for name in CHECKPOINT_FILES:
        made[f"checkpoint: {name}"] = lambda name=name: _checkpoint(root, name)
    return made


@contextlib.contextmanager
def in_memory() -> Iterator[Path]:
    """Yields a temporary folder, in memory if the system has a place for that."""
    shared = Path("/dev/shm")
    place = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="alexnet_jax-fuzz-", dir=place) as folder:
        yield Path(folder)


def answer(call: Call, data: bytes) -> bool:
    """Returns whether a reader accepts the file; False: it refuses it in one line.

    A message that is no single line raises ValueError; it and all other errors are findings.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            call(data)
        except ANSWERS as error:
            text = str(error)
            if "\n" in text.strip() or "\x1b" in text or len(text) > 4000:
                raise ValueError(f"no single line: {text[:200]!r}") from error
            return False
    return True


def _file(path: Path, read: Callable[[Path], object]) -> Call:
    """Returns a call that writes the bytes to `path` first."""

    def call(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return call


def _cuda_convnet(root: Path) -> FuzzTarget:
    folder = root / "cuda-convnet"
    folder.mkdir(exist_ok=True)
    (root / "batches.meta").write_bytes(seeds.batches_meta())

    def read(path: Path) -> object:
        return READERS["cuda-convnet"].read(folder, mean=root / "batches.meta")

    return FuzzTarget(seeds.cuda_convnet(), _file(folder / "90.1", read), "zip")


def _safetensors(root: Path) -> FuzzTarget:
    seeds.prepared_set(root)
    data = seeds.exported(seeds.run(root), "safetensors", ".safetensors")
    return FuzzTarget([data], _file(root / "w.st", READERS["safetensors"].read))


def _archives(root: Path) -> FuzzTarget:
    path, work = root / "photos.tar", root / "work"

    def read(_: Path) -> object:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        data = DataConfig(source_kind="folder", source=str(path))
        source = list_images(data, work)
        if outside := [p for p in root.iterdir() if p.name not in ("photos.tar", "work")]:
            raise AssertionError(f"it wrote {outside} outside its folder")
        return source

    return FuzzTarget(seeds.archives(), _file(path, read))


def _cifar10(root: Path) -> FuzzTarget:
    path, work = root / "cifar.tar", root / "work"
    work.mkdir(exist_ok=True)
    data = DataConfig(source_kind="cifar10", source=str(path))
    return FuzzTarget(
        seeds.cifar10(), _file(path, lambda _: cifar10.SOURCE.list_images(data, work))
    )


def _replaced(path: Path, read: Callable[[], object], same_size: bool = False) -> FuzzTarget:
    """Returns a target that replaces one file of a folder."""
    whole = path.read_bytes()

    def call(data: bytes) -> object:
        if same_size:
            data = data[: len(whole)].ljust(len(whole), b"\0")
        path.write_bytes(data)
        return read()

    form = "zip" if path.suffix == ".npz" else "json" if whole[:1] in b"{[" else "bytes"
    return FuzzTarget([whole], call, form)


def _data_set(root: Path, name: str) -> FuzzTarget:
    folder = seeds.prepared_set(root)
    described = json.loads((folder / "prepared.json").read_text("utf-8"))
    shard = folder / described["splits"]["train"]["shards"][0][0]
    path = shard if name == "shard" else folder / name

    def read() -> object:
        dataset = open_dataset(folder, cache_bytes=0)
        load_statistics(folder)
        split = dataset.split("train")
        return split.images(range(min(len(split), 4))), split.labels, split.keys

    return _replaced(path, read, same_size=name == "shard")


def _run(root: Path, name: str) -> FuzzTarget:
    seeds.prepared_set(root)
    folder = seeds.run(root)
    reads = {
        "metrics.jsonl": lambda: workflow.write_run_report(folder),
        "final.npz": lambda: workflow.write_run_report(folder),
    }
    return _replaced(folder / name, reads.get(name, lambda: read_run(folder)))


def _checkpoint(root: Path, name: str) -> FuzzTarget:
    seeds.prepared_set(root)
    folder = seeds.run(root)
    newest = max((folder / "checkpoints").iterdir(), key=lambda step: int(step.name))
    path = max(newest.glob(name), key=lambda path: path.stat().st_size)
    which = "best" if name.startswith("metrics") else "last"
    return _replaced(path, lambda: load_weights(folder, which))
