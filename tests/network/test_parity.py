"""Networks against golden numbers of PyTorch in float64, and the page of the evidence."""

import copy
import dataclasses
import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest
import quick

from alexnet_jax.network.layers import Lrn, with_changes
from experiments.parity import compare, golden
from experiments.parity.compare import RESULTS, TARGETS, apart, missed, ours

GOLDEN = json.loads(golden.PATH.read_text())
DOUBLE = (
    *("paper", "original", "caffenet", "bvlc-alexnet", "one-weird-trick"),
    *("cifar-13pct", "cifar-11pct", "cifar-18pct"),
)


pytestmark = pytest.mark.usefixtures("few_optimizations")


def difference(name, dtype, change=lambda network: network):
    network, params, images, labels = golden.inputs(name)
    with jax.enable_x64(dtype == "float64"):
        found = golden.digest(ours(change(network), params, images, labels, dtype))
    return golden.largest_difference(found, GOLDEN[name])


@pytest.mark.parametrize("name", quick.only(["paper", "original", "cifar-11pct"], DOUBLE))
def test_logits_and_gradients_are_golden_in_float64(name):
    assert difference(name, "float64") <= TARGETS["float64"]


@pytest.mark.parametrize("name", quick.only(["no-talk"], sorted(set(golden.NAMES) - set(DOUBLE))))
def test_logits_and_gradients_are_golden_in_float32(name):
    assert difference(name, "float32") <= TARGETS["float32"]


def test_a_hundredth_of_lrn_s_alpha_is_noticed():
    def change(network):
        layers = with_changes(network.layers, Lrn, alpha=1.01e-3 / 9)
        return dataclasses.replace(network, layers=layers)

    assert difference("cifar-11pct", "float32", change) > TARGETS["float32"]


def test_decisions_that_rounding_changes_are_found(monkeypatch):
    network, params, images, _ = golden.inputs("cifar-11pct")
    exact = {}

    def captured(network, params, images, name, dtype):
        found = exact.setdefault(name, compute(network, params, images, name, "float64"))
        if dtype == "float64" or name != "conv2":
            return found
        return np.where(np.abs(found) == np.abs(found).min(), -found, found)

    compute = compare._captured
    monkeypatch.setattr(compare, "_captured", captured)
    (found,) = compare.other_decisions(network, params, images)
    assert found["layer"] == "relu2" and found["others"] == 1
    assert abs(found["values"][0]) == np.abs(exact["conv2"]).min()


@pytest.mark.oracle
def test_golden_numbers_are_those_of_the_reference():
    pytest.importorskip("torch", reason="the reference is PyTorch, which is not installed")
    from experiments.parity.torch_reference import outcome

    network, params, images, labels = golden.inputs("cifar-11pct")
    found = outcome(network, params, images, labels, np.float64)
    digest = golden.digest(golden.NetworkOutputs(*found))
    assert golden.largest_difference(digest, GOLDEN["cifar-11pct"]) < 1e-12


def test_golden_files_are_small():
    files = [path for path in Path(golden.PATH.parent).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000


def test_values_that_are_not_finite_are_infinitely_far_apart():
    assert apart([1.0, np.nan], [1.0, 2.0]) == math.inf
    assert golden.largest_difference({"a": [math.nan]}, {"a": [1.0]}) == math.inf


def test_the_results_meet_the_targets():
    record = json.loads(RESULTS.read_text())
    assert missed(record) == []
    names = {row["network"] for row in record["networks"]}
    assert names >= set(golden.NAMES)


@pytest.mark.parametrize("quantity", ["logits", "kernel gradients"])
def test_a_missed_target_is_named(quantity):
    record = json.loads(RESULTS.read_text())
    for dtype, value in (("float64", 2e-9), ("float32", math.inf)):
        worse = copy.deepcopy(record)
        worse["networks"][0][dtype][quantity] = value
        assert len(missed(worse)) == 1
    worse = copy.deepcopy(record)
    worse["round_trips"][0]["bit_equal"] = False
    assert len(missed(worse)) == 1
