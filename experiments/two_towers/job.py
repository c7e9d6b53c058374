"""One row of `run.py`: trains and tests on one mesh, and compares with the results of one device.

One device comes first and leaves its gradients, parameters and probabilities in the folder of the
job for the other rows.
"""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from alexnet_jax import processes
from alexnet_jax.config import (
    AugmentConfig,
    DataConfig,
    OptimizerConfig,
    PreprocessConfig,
    ScheduleConfig,
)
from alexnet_jax.data.dataset import Split, open_dataset
from alexnet_jax.data.pipeline import training_batches
from alexnet_jax.data.prepared import load_statistics
from alexnet_jax.data.preprocess import make_inputs
from alexnet_jax.display import Display
from alexnet_jax.evaluation.evaluate import evaluate, make_predict_step
from alexnet_jax.locations import default_data_dir
from alexnet_jax.network import placement
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation.prepare import ensure_prepared
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.schedule import rate_tree, rates_at
from alexnet_jax.training.steps import init_state, make_train_step
from experiments.benchmarks import jobs
from experiments.two_towers import traffic

_AUGMENT = AugmentConfig(colour_noise=0.1)
_PREPROCESS = PreprocessConfig()
_TEST_BATCH = 32


class _Head:
    """The first images of a split."""

    def __init__(self, split: Split, count: int):
        self.num_examples, self.labels, self.images = count, split.labels[:count], split.images


def measure(job: dict[str, Any]) -> dict[str, Any]:
    setup = _Setup(job)
    reference = _Reference(Path(job["folder"]), job["dtype"])
    found, gradients, params = setup.train()
    if job["reference"]:
        reference.write("gradients", gradients)
        reference.write("params", params)
    found["gradient_difference"] = reference.difference("gradients", gradients)
    found["param_difference"] = reference.difference("params", params)
    # The test takes the reference's parameters, so that only the test itself can differ.
    tested = setup.test(reference.read("params", params))
    assert tested.probabilities is not None
    if job["reference"]:
        reference.write("probabilities", tested.probabilities)
    expected = reference.read("probabilities", tested.probabilities)
    found["test"] = tested.values | {
        "images": tested.count,
        "other_answers": int(np.sum(tested.probabilities.argmax(1) != expected.argmax(1))),
        "probability_difference": float(np.abs(tested.probabilities - expected).max()),
    }
    return found


class _Setup:
    """Data, network and mesh of one row."""

    def __init__(self, job: dict[str, Any]):
        self.job = job
        self.optimizer = OptimizerConfig(job["learning_rate"], 2 * job["learning_rate"])
        folder = processes.chief_first(_prepared, _prepared)
        self.dataset = open_dataset(folder)
        self.network = NETWORKS[job["network"]].with_classes(len(self.dataset.class_names))
        self.dtype = jnp.dtype(job["dtype"])
        mesh = placement.make_mesh(job["towers"], job["replicas"], batch_size=job["batch_size"])
        self.mesh_shape = dict(mesh.shape)
        self.mesh = placement.mesh_or_none(mesh)
        size = self.network.image_size
        inputs = make_inputs(_PREPROCESS, _AUGMENT, load_statistics(folder), size)
        self.inputs: Any = placement.put(self.mesh, self.network, self.cast(inputs))

    def cast(self, tree: Any) -> Any:
        """Returns the tree with floating leaves in the dtype of the row."""

        def to(leaf):
            return leaf.astype(self.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

        return jax.tree.map(to, tree)

    def train(self) -> tuple[dict[str, Any], Any, Any]:
        """Returns losses and collectives, the gradients of the first step, and last parameters."""
        job, network, optimizer, mesh = self.job, self.network, self.optimizer, self.mesh
        batch_size = job["batch_size"]
        state = self.cast(init_state(network, optimizer, network.image_size, seed=0))
        if job["moved"]:
            state = state._replace(params=_moved(state.params))
        start = jax.tree.map(np.asarray, state.params)
        state = placement.put(mesh, network, state)
        rates = self.cast(rate_tree(rates_at(ScheduleConfig(), optimizer, 0, 1), optimizer, start))
        put = placement.batch_putter(mesh, batch_size)
        step = make_train_step(network, optimizer, _PREPROCESS, _AUGMENT, self.dtype, mesh=mesh)
        losses, gradients = [], None
        others: tuple[Any, ...] = (self.inputs, rates, np.bool_(True))
        with closing(
            training_batches(
                self.dataset.split("train"),
                seed=0,
                batch_size=batch_size,
                image_size=network.image_size,
                augment=_AUGMENT,
                threads=0,
                rows=placement.own_rows(mesh, batch_size),
            )
        ) as batches:
            for _ in range(job["steps"]):
                batch = put(next(batches))
                state, sums = step(state, batch, *others)
                losses.append(float(sums.loss) / batch_size)
                if gradients is None:
                    gradients = _gradients(state, start, rates, optimizer)
        found = {"losses": losses, "compiled": step._cache_size()}  # type: ignore[attr-defined]
        if job["dtype"] == "float32":
            text = step.lower(state, batch, *others).compile().as_text()  # pyright: ignore[reportFunctionMemberAccess, reportPossiblyUnboundVariable]
            found["collectives"] = collectives(text, self.mesh_shape, batch_size)
        return found, gradients, jax.tree.map(placement.to_host, state.params)

    def test(self, params: Any) -> Any:
        network, mesh = self.network, self.mesh
        predict = make_predict_step(
            network, _PREPROCESS, network.image_size, 1, self.dtype, _AUGMENT, mesh
        )
        head: Any = _Head(self.dataset.split("test"), self.job["test_images"])
        params = placement.put(mesh, network, params)
        return evaluate(predict, params, self.inputs, head, _TEST_BATCH, mesh=mesh)


def _prepared() -> Path:
    data = DataConfig(name="digits-256", stored_size=256)
    return ensure_prepared(data, default_data_dir(), display=Display.on_stderr(quiet=True))


def _moved(params: Any) -> Any:
    """Returns parameters of which each is larger or smaller by the last bit of its dtype."""
    random = np.random.default_rng(0)

    def move(leaf):
        sign = random.choice(np.array([-1, 1], leaf.dtype), leaf.shape)
        return jnp.asarray(np.asarray(leaf) * (1 + sign * np.finfo(leaf.dtype).eps))

    return jax.tree.map(move, params)


def _gradients(state: TrainState, start: Any, rates: Any, optimizer: OptimizerConfig) -> Any:
    """Returns the gradients of the first step, solved from its velocity `-r d w - r g`."""
    velocity = optax.tree_utils.tree_get(state.opt_state, "trace")

    def solve(path, velocity, rate, param):
        decay = optimizer.weight_decay if path[-1].key == "kernel" else 0.0
        return -placement.to_host(velocity) / rate - np.asarray(decay, param.dtype) * param

    return jax.tree_util.tree_map_with_path(solve, velocity, rates, start)


class _Reference:
    """What one device made, as files."""

    def __init__(self, folder: Path, dtype: str):
        self._folder, self._dtype = folder, dtype

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}-{self._dtype}.npz"

    def write(self, name: str, tree: Any) -> None:
        np.savez(self._path(name), *jax.tree.leaves(tree))

    def read(self, name: str, like: Any) -> Any:
        with np.load(self._path(name)) as file:
            return jax.tree.unflatten(jax.tree.structure(like), [file[key] for key in file.files])

    def difference(self, name: str, tree: Any) -> dict[str, Any]:
        """Returns the largest difference in units of the leaf's maximum, and its leaf."""
        expected = self.read(name, tree)
        leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        largest = {
            f"{path[0].key}.{path[1].key}": float(np.abs(leaf - own).max() / np.abs(own).max())
            for (path, leaf), own in zip(leaves, jax.tree.leaves(expected), strict=True)
        }
        leaf = max(largest, key=largest.__getitem__)
        return {"largest": largest[leaf], "leaf": leaf}


def collectives(text: str, mesh_shape: dict[str, int], batch_size: int) -> dict[str, Any]:
    """Returns what a compiled step sends: bytes per image between towers, else bytes per step."""
    images = batch_size // mesh_shape["data"]
    found = traffic.account(traffic.collectives(text), mesh_shape)
    return {
        "forward_bytes_per_image": [one.sent_bytes / images for one in found.forward],
        "backward_bytes_per_image": [one.sent_bytes / images for one in found.backward],
        "gradient_bytes": sum(one.bytes for one in found.gradients),
        "gradient_sums": sum(len(one.arrays) for one in found.gradients),
        "scalar_sums": sum(len(one.arrays) for one in found.scalars),
        "others": [f"{one.operation} {one.arrays}" for one in found.others],
    }


def main(job: dict[str, Any]) -> None:
    if job["dtype"] == "float64":
        jax.config.update("jax_enable_x64", True)
    if job["processes"] > 1:
        processes.connect(job["coordinator"], job["processes"], job["process"])
    result = measure(job)
    if processes.is_chief():
        print(json.dumps(result), flush=True)
    processes.leave(0)


if __name__ == "__main__":
    main(jobs.current() or {})
