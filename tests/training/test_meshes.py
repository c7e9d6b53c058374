"""A run on towers and replicas is the run of one device, and each resumes the other's."""

import dataclasses
import json
from unittest import mock

import float64
import jax
import numpy as np
import pytest
import quick
from tiny import train

from alexnet_jax import workflow
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import (
    Activation,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Lrn,
    MaxPool,
    Network,
)
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.runs.checkpoint import Checkpoints
from alexnet_jax.training import steps as steps_module

TOWERS = Network(
    "tiny towers",
    (
        Conv("conv1", 8, 3, weight_std=0.1),
        Activation(),
        Lrn(groups=2),
        MaxPool(),
        Conv("conv2", 8, 3, groups=2, weight_std=0.1),
        Activation(),
        Flatten(),
        Dense("fc3", 8, weight_std=0.1),
        Activation(),
        Dropout(),
        Dense("fc4", 2, weight_std=0.1),
    ),
    8,
    "tests",
)


@pytest.fixture(autouse=True, scope="module")
def _registered():
    NETWORKS["tiny-towers"] = TOWERS
    yield
    del NETWORKS["tiny-towers"]


@pytest.fixture(scope="module")
def sharded(config):
    """The tiny configuration for two towers and two replicas; a batch divides over them."""
    return dataclasses.replace(
        config, network="tiny-towers", batch_size=12, towers=2, replicas=2, epochs=2
    )


def on(config, towers, replicas):
    return dataclasses.replace(config, towers=towers, replicas=replicas)


@pytest.fixture(scope="module")
def one_device(sharded, dataset, tmp_path_factory):
    """The outcome of one device in float64, and its folder."""
    folder = tmp_path_factory.mktemp("one") / "run"
    with float64.training():
        return train(on(sharded, 1, 1), folder, dataset), folder


def assert_same(ours, theirs):
    """Within float64's rounding: of each leaf's maximum."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == np.float64 and np.abs(a - b).max() <= 1e-12 * np.abs(b).max()


def rows(folder, name):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row[name] for row in map(json.loads, lines) if name in row]


@pytest.mark.parametrize(("towers", "replicas"), quick.rows([(2, 1)], [(2, 2), (1, 4), (2, 1)]))
def test_many_devices_train_and_test_as_one(
    sharded, dataset, tmp_path, one_device, towers, replicas
):
    with float64.training():
        outcome = train(on(sharded, towers, replicas), tmp_path / "run", dataset)
    alone, folder = one_device
    assert_same(outcome.state.params, alone.state.params)
    for name in ("train/loss", "validation/loss"):  # as logged: seven digits
        np.testing.assert_allclose(rows(tmp_path / "run", name), rows(folder, name), rtol=1e-5)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["mesh"] == {"data": replicas, "tower": towers} and info["processes"] == 1


@pytest.mark.parametrize(
    ("first", "second"),
    quick.rows([((1, 1), (2, 1))], [((2, 2), (1, 1)), ((1, 1), (2, 1)), ((1, 2), (2, 2))]),
)
def test_a_run_goes_on_with_other_devices(sharded, dataset, tmp_path, one_device, first, second):
    make = steps_module.make_train_step

    def make_breaking(*arguments, **options):
        step = make(*arguments, **options)

        def breaking(state, *others):
            if int(state.step) == 5:
                raise KeyboardInterrupt
            return step(state, *others)

        breaking.lower = step.lower  # type: ignore[attr-defined]
        return breaking

    folder = tmp_path / "run"
    every = dataclasses.replace(sharded, checkpoint_every_steps=3)
    broken = mock.patch.object(steps_module, "make_train_step", make_breaking)
    with broken, float64.training(), pytest.raises(KeyboardInterrupt):
        train(on(every, *first), folder, dataset)
    assert Checkpoints(folder, read_only=True).steps() == [3, 4]
    with float64.training():
        outcome = train(on(every, *second), folder, dataset)
    assert outcome.finished and outcome.steps_done < 8
    assert_same(outcome.state.params, one_device[0].state.params)


@pytest.mark.slow
def test_evaluation_does_not_depend_on_the_devices(sharded, dataset, tmp_path, few_optimizations):
    folder, data_dir = tmp_path / "run", dataset.path.parent
    train(on(sharded, 1, 1), folder, dataset)
    expected = workflow.evaluate_run(folder, "last", 10, data_dir=data_dir, replicas=1)
    for towers, replicas in ((2, 2), (1, 3), (2, 1)):
        found = workflow.evaluate_run(
            folder, "last", 10, data_dir=data_dir, towers=towers, replicas=replicas
        )
        assert found.probabilities is not None and expected.probabilities is not None
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
        np.testing.assert_array_equal(found.labels, expected.labels)
        assert found.count == expected.count == 10
        assert found.top1_error == expected.top1_error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"towers": 3}, "towers is 3; it must be 1 or 2"),
        ({"towers": 2, "network": "tiny"}, "'tiny' has no groups, so it has no 2 towers"),
        ({"batch_size": 11, "replicas": 2}, "11 images does not divide over 2 replicas"),
        ({"replicas": 3}, "need 6 devices, and there are 4 devices"),
        ({"batch_size": 12, "accumulation": 4}, "in 4 parts each; .* multiple of 8"),
    ],
)
def test_what_the_devices_cannot_do_is_refused_before_anything_is_made(
    sharded, tmp_path, changes, message
):
    impossible = dataclasses.replace(sharded, **changes)
    with pytest.raises(InputError, match=message):
        workflow.train(impossible, tmp_path / "run", tmp_path / "data")
    assert not (tmp_path / "run").exists() and not (tmp_path / "data").exists()
