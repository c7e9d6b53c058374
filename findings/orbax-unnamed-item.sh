#!/usr/bin/env bash
# Orbax 0.12's new interface (`orbax.checkpoint.v1`), on checkpoints of several items that Orbax wrote:
#  - `load` and `metadata` without an item's name answer the item that is first in the alphabet, so that
#    of params and opt_state the momentum is restored, of the same shapes, without a word in log or
#    warnings. The docstring says so of the default 'AUTO'; `training.Checkpointer.load` of the same
#    folder is an error that lists the items.
#  - `metadata` of a relative path answers None and a warning in the log; `load` of it is an error.
# Guessed: both ask for the name, as `Checkpointer.load` does; both take relative paths, or refuse them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet orbax-checkpoint==0.12.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON'
import logging
import pathlib
import shutil
import warnings

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import v1

print("orbax-checkpoint", ocp.__version__, "jax", jax.__version__, "numpy", np.__version__)
weights = {"kernel": np.full((2, 3), 7, np.float32)}
momentum = {"kernel": np.full((2, 3), -1, np.float32)}
root = pathlib.Path("runs").resolve()
said = []


class Listener(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage().splitlines()[0])


logging.getLogger().addHandler(Listener(logging.WARNING))


def save_old(items):
    manager = ocp.CheckpointManager(root / "old")
    arguments = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
    manager.save(1, args=ocp.args.Composite(**arguments))
    manager.wait_until_finished()
    return root / "old" / "1"


def save_new(items):
    v1.save_checkpointables(root / "new", items)
    return root / "new"


def load(step, **name):
    shapes = v1.metadata(step, **name).metadata
    target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes)
    return v1.load(step, target, **name)["kernel"][0, 0]


for save in (save_old, save_new):
    for other in ("opt_state", "velocity"):
        step = save({"params": weights, other: momentum})
        said.clear()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            unnamed, named = load(step), load(step, checkpointable_name="params")
            given = {7: "params", -1: other}[int(unnamed)]
            print(f"{save.__name__}, params and {other}: load gives {given}; said {said}, warned {warned}")
        assert named == 7 and not said and not warned
        assert given == min("params", other)
        shutil.rmtree(root)

step = save_old({"params": weights, "opt_state": momentum})
try:
    v1.training.Checkpointer(root / "old").load(1)
    raise SystemExit("Checkpointer.load of several items is no error any more")
except KeyError as error:
    print("Checkpointer.load:", error)

said.clear()
relative = "runs/old/1"
shapes = v1.metadata(relative, checkpointable_name="params").metadata
print(f"relative path: metadata {shapes}, {len(said)} line in the log")
assert shapes is None and len(said) == 1
assert v1.metadata(step, checkpointable_name="params").metadata["kernel"].shape == (2, 3)
try:
    v1.load(relative, weights, checkpointable_name="params")
    raise SystemExit("load of a relative path is no error any more")
except ValueError as error:
    print("load:", error)
print("as found")
PYTHON
