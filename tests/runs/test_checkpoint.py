"""Checkpoints by themselves: which are kept, damage that Orbax does not see, and restores."""

import json
import logging

import jax
import numpy as np
import pytest

from alexnet_jax.config import AugmentConfig, OptimizerConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.errors import CheckpointError
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.runs import checkpoint
from alexnet_jax.runs.checkpoint import Checkpoints
from alexnet_jax.runs.digests import digest_of
from alexnet_jax.training.steps import init_state, make_train_step

OPTIMIZER = OptimizerConfig()


@pytest.fixture(scope="module")
def state():
    return init_state(NETWORKS["tiny"], OPTIMIZER, 8, 0)


def save(checkpoints, state, step, error=None):
    """Saves `state` as that of `step`, after a validation if there is an `error`."""
    metrics = {} if error is None else {"validation/top1_error": error}
    checkpoints.save(state._replace(step=np.int32(step)), {"plateau": {"drops": 2}}, metrics)


@pytest.fixture
def saved(state, tmp_path):
    """A folder with the checkpoints of steps 2 (error 0.2) and 3 (not tested)."""
    checkpoints = Checkpoints(tmp_path)
    for step, error in ((2, 0.2), (3, None)):
        save(checkpoints, state, step, error)
    checkpoints.close()
    return tmp_path


def test_a_checkpoint_is_read_without_a_warning_of_a_library(state, saved, caplog):
    caplog.clear()
    checkpoints = Checkpoints(saved, read_only=True)
    assert checkpoints.steps()
    checkpoints.close()
    assert not caplog.records
    logging.getLogger("absl").warning("others are heard as before")
    assert caplog.records


def test_saves_between_validations_never_push_out_the_best(state, saved):
    for first in (4, 8):  # also when the folder is opened anew
        checkpoints = Checkpoints(saved)
        for step in range(first, first + 4):
            save(checkpoints, state, step)
        assert checkpoints.steps() == [2, first + 2, first + 3]
        assert checkpoints.step_of("best") == 2
        checkpoints.close()
    checkpoints = Checkpoints(saved)
    save(checkpoints, state, 12, 0.1)
    save(checkpoints, state, 13, 0.4)
    save(checkpoints, state, 14)
    assert checkpoints.steps() == [12, 13, 14] and checkpoints.step_of("best") == 12
    checkpoints.close()


@pytest.mark.parametrize("content", [b"", b'{"validation/top1', b'{"top1": 0.2}', b"[1]", b"\xff"])
@pytest.mark.parametrize("read_only", [True, False])
def test_damaged_metrics_cost_the_rank_only(state, saved, content, read_only):
    (saved / "checkpoints/2/metrics/metrics").write_bytes(content)
    with pytest.warns(UserWarning, match="metrics of checkpoint .*2 are damaged"):
        checkpoints = Checkpoints(saved, read_only=read_only)
        assert checkpoints.step_of("best") == 3  # no other was tested
    params = checkpoints.restore_params(state.params, 2)
    assert digest_of(params) == digest_of(state.params)
    if not read_only:
        save(checkpoints, state, 4, 0.25)
        assert checkpoints.step_of("best") == 4
    checkpoints.close()


def test_a_changed_number_in_meta_is_damage(state, saved):
    path = saved / "checkpoints/3/meta/metadata"
    text = path.read_text()
    assert json.loads(text)["plateau"] == {"drops": 2}
    path.write_text(text.replace('"drops": 2', '"drops": 3'))
    checkpoints = Checkpoints(saved)
    with pytest.raises(CheckpointError, match="meta does not match its SHA-256"):
        checkpoints.restore(state, 3)
    with pytest.warns(UserWarning, match="trying the one before"):
        restored = checkpoints.restore_newest(state)
    assert restored is not None and int(restored.state.step) == 2
    checkpoints.close()


def test_a_step_compiles_once_after_a_restore(state, saved):
    checkpoints = Checkpoints(saved)
    restored = checkpoints.restore(state, 3).state
    checkpoints.close()
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(restored))
    step = make_train_step(NETWORKS["tiny"], OPTIMIZER, PreprocessConfig("none"), AugmentConfig())
    batch = Batch(
        images=np.zeros((2, 8, 8, 3), np.uint8),
        labels=np.zeros(2, np.int32),
        mask=np.ones(2, bool),
        colour=np.zeros((2, 3), np.float32),
        offsets=np.zeros((2, 2), np.int32),
        flips=np.zeros(2, bool),
    )
    inputs = Inputs(*(np.zeros(shape, np.float32) for shape in (3, 3, (3, 3))))
    rates = jax.tree.map(lambda _: np.float32(0.1), restored.params)
    for _ in range(3):
        restored, _ = step(restored, jax.device_put(batch), inputs, rates, np.bool_(True))
    assert step._cache_size() == 1 and int(restored.step) == 6  # pyright: ignore[reportFunctionMemberAccess]


def test_what_tensorstore_adds_to_an_error_is_left_out():
    error = ValueError("cannot read index 3. See full TensorStore details: <bound method x>\nmore")
    assert checkpoint._first_line(error) == "cannot read index 3."


@pytest.mark.parametrize("change", ["half precision", "another layer"])
def test_a_checkpoint_of_another_network_is_refused(state, saved, change):
    target = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
    layer = dict(target.params["conv1"])
    kernel = layer["kernel"]
    if change == "half precision":
        layer["kernel"] = jax.ShapeDtypeStruct(kernel.shape, np.float16)
    params = dict(target.params) | {"conv1": layer}
    if change == "another layer":
        params["conv9"] = layer
    with pytest.raises(CheckpointError, match="damaged or of another network|does not match"):
        Checkpoints(saved, read_only=True).restore(target._replace(params=params), 3)


def test_a_step_that_exists_is_not_skipped_silently(state, saved):
    checkpoints = Checkpoints(saved)
    with pytest.raises(CheckpointError, match="exists already|could not be written"):
        save(checkpoints, state, 3)
    checkpoints.close()
    checkpoints = Checkpoints(saved)
    save(checkpoints, state, 5)
    assert checkpoints.steps()[-1] == 5
    checkpoints.close()
