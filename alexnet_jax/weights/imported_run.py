"""The run folder of imported weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from alexnet_jax.config import Config, DataConfig
from alexnet_jax.data.prepared import read_prepared
from alexnet_jax.errors import InputError
from alexnet_jax.files import write_text
from alexnet_jax.locations import default_data_dir
from alexnet_jax.network.layers import summarize
from alexnet_jax.runs import run_folder
from alexnet_jax.runs.checkpoint import Checkpoints
from alexnet_jax.runs.environment import environment
from alexnet_jax.runs.record import CHECKPOINTS, RunRecord
from alexnet_jax.runs.state import TrainState
from alexnet_jax.weights.readers.foreign_weights import ForeignWeights

IMAGENET = "imagenet2012"
_IMPORTING = "importing"


def check_free(workdir: Path) -> None:
    """Raises `InputError` if the folder holds a run; an unfinished import is none."""
    if _is_unfinished_import(workdir):
        return
    checkpoints = workdir / CHECKPOINTS
    if (workdir / "config.json").exists() or (checkpoints.is_dir() and any(checkpoints.iterdir())):
        raise InputError(f"{workdir} holds a run already; choose another --workdir")


def make_config(
    foreign: ForeignWeights, source: str, labels: str | Path | None, seed: int
) -> tuple[Config, Path]:
    data = DataConfig(stored_size=foreign.stored_size)
    folder = default_data_dir() / (foreign.network.name + "-data")
    if foreign.class_order != "names":
        data = DataConfig(
            name=IMAGENET,
            source_kind=IMAGENET,
            class_order=foreign.class_order,
            stored_size=foreign.stored_size,
        )
        folder = default_data_dir() / IMAGENET
    if labels is not None and Path(labels).is_dir():
        folder = Path(labels).absolute()
        splits = (read_prepared(folder) or {}).get("splits", {})
        split = "validation" if "validation" in splits else "test"
        data = DataConfig(name=folder.name, validation_split=split, stored_size=foreign.stored_size)
    has_own_size = foreign.image_size == foreign.network.image_size
    config = Config(
        preset=f"imported-{source}",
        network=foreign.network.name,
        image_size=0 if has_own_size else foreign.image_size,
        seed=seed,
        data=data,
        augment=foreign.augment,
        preprocess=foreign.preprocess,
    )
    return config, folder


def run_info(
    foreign: ForeignWeights, names: tuple[str, ...], data_path: Path, seed: int, record: Any
) -> dict[str, Any]:
    return environment() | {
        "status": "imported",
        "seed": seed,
        "step": 0,
        "class_names": list(names),
        "stored_size": foreign.stored_size,
        **foreign.appearance._asdict(),
        "data_path": str(data_path),
        "data_fingerprint": "",
        "wall_seconds": 0.0,
        "import": record,
    }


def write_imported_run(
    config: Config, foreign: ForeignWeights, info: dict[str, Any], workdir: Path
) -> None:
    summarize(foreign.network, foreign.image_size)  # raises for a size that does not fit
    record = RunRecord(config, info)
    with run_folder.locked(workdir):
        check_free(workdir)
        # `config.json` is written last and makes the folder a run; until then this marks it.
        write_text(workdir / "run.json", json.dumps(info | {"status": _IMPORTING}))
        shutil.rmtree(workdir / CHECKPOINTS, ignore_errors=True)
        params = jax.tree.map(jnp.asarray, foreign.params)
        key = jax.random.key_data(jax.random.key(config.seed))
        # Nobody continues training in this folder; Orbax saves no item without an array.
        state = TrainState(jnp.zeros((), jnp.int32), params, {"velocities": jnp.zeros(1)}, key)
        checkpoints = Checkpoints(workdir)
        try:
            meta = {"imported": info["import"]["sha256"]}
            described = {"run": record.to_dict()}
            checkpoints.save(state, meta | described, {})
        finally:
            checkpoints.close()
        run_folder.write_run(workdir, record, foreign.inputs)


def _is_unfinished_import(workdir: Path) -> bool:
    try:
        info = json.loads((workdir / "run.json").read_text("utf-8"))
        return info["status"] == _IMPORTING and not (workdir / "config.json").exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False
