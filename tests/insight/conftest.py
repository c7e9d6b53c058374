"""A run folder of a tiny network."""

import jax
import numpy as np
import pytest

from alexnet_jax.config import Config, DataConfig, OptimizerConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.network.layers import Activation, Dense, Flatten, Network
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.runs.checkpoint import Checkpoints
from alexnet_jax.runs.record import RunRecord
from alexnet_jax.runs.run_folder import write_run
from alexnet_jax.training.steps import init_state

NETWORK = Network(
    "tiny",
    (Flatten(), Dense("fc1", 6, weight_std=0.01), Activation(), Dense("fc2", 3, weight_std=0.1)),
    image_size=8,
    source="this test",
)


@pytest.fixture(scope="module")
def networks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "tiny", NETWORK)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, networks):
    """A run folder with checkpoints of steps 2 (the better one) and 4, and their parameters."""
    workdir = tmp_path_factory.mktemp("runs") / "a"
    workdir.mkdir()
    config = Config(
        network="tiny",
        data=DataConfig(stored_size=10),
        preprocess=PreprocessConfig(mean="channel"),
        compute_dtype="float32",
    )
    inputs = Inputs(
        np.full(3, 120, np.float32), np.ones(3, np.float32), np.zeros((3, 3), np.float32)
    )
    info = {"class_names": ["ant", "bee", "cat"], "stored_size": 10}
    write_run(workdir, RunRecord(config, info), inputs)
    state = init_state(NETWORK, OptimizerConfig(), 8, seed=0)
    checkpoints = Checkpoints(workdir)
    params = {}
    for step, error in ((2, 0.1), (4, 0.3)):
        params[step] = jax.tree.map(lambda leaf, step=step: np.asarray(leaf) * step, state.params)
        stepped = state._replace(step=np.int32(step), params=params[step])
        checkpoints.save(stepped, {}, {"validation/top1_error": error})
    checkpoints.close()
    return workdir, params
