"""The train step as GPUs and TPUs get it: lowered on this machine, read as text, never run."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.config import AugmentConfig, Config
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import Batch
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.runs.state import TrainState
from alexnet_jax.training.steps import init_state, make_train_step

BATCH_SIZE = 128
PLATFORMS = ("cuda", "tpu")
CASES = [("paper", "float32"), ("paper", "bfloat16"), ("original", "bfloat16")]
SHORT = {"float32": "f32", "bfloat16": "bf16"}


def _shape(shape, dtype):
    return jax.ShapeDtypeStruct(shape, np.dtype(dtype))


@functools.cache
def _texts(name: str, dtype: str) -> tuple[dict[str, str], TrainState]:
    """Returns the StableHLO of the whole step by platform, and the shapes of its state.

    Lowering needs shapes only, so that this is the full network at the paper's batch size.
    """
    network, config = NETWORKS[name], Config()
    n, size = BATCH_SIZE, network.image_size
    state = jax.eval_shape(lambda: init_state(network, config.optimizer, size, 0))
    batch = Batch(
        images=_shape((n, size, size, 3), "uint8"),
        labels=_shape((n,), "int32"),
        mask=_shape((n,), "bool"),
        colour=_shape((n, 3), "float32"),
        offsets=_shape((n, 2), "int32"),
        flips=_shape((n,), "bool"),
    )
    shapes: Any = [_shape(shape, "float32") for shape in ((size, size, 3), (3,), (3, 3))]
    inputs = Inputs(*shapes)
    rates = jax.tree.map(lambda _: _shape((), "float32"), state.params)
    step = make_train_step(
        network,
        config.optimizer,
        config.preprocess,
        AugmentConfig(colour_noise=0.1),
        jnp.dtype(dtype),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "tpu")
        traced = step.trace(state, batch, inputs, rates, _shape((), "bool"))  # type: ignore
    return {p: traced.lower(lowering_platforms=(p,)).as_text() for p in PLATFORMS}, state


@pytest.fixture(params=[(*case, p) for case in CASES for p in PLATFORMS], ids="-".join)
def lowered(request):
    """The text of one step, its state and the short name of its activations' type."""
    name, dtype, platform = request.param
    texts, state = _texts(name, dtype)
    return texts[platform], state, SHORT[dtype]


def _lines(text, operation):
    return [line for line in text.splitlines() if re.search(rf"\bstablehlo\.{operation}\b", line)]


def _operands(line):
    """Returns the element types of the operands of an operation."""
    types = re.search(r": \((tensor<.*)\) -> ", line)
    assert types, line
    return re.findall(r"tensor<(?:\d+x)*(\w+)>", types.group(1))


def test_convolutions_are_the_plain_ones(lowered):
    text, _, _ = lowered
    lines = _lines(text, "convolution")
    # 5 outputs, 5 filter gradients, 4 input gradients: conv1's is never asked for.
    assert len(lines) == 14
    assert sum("feature_group_count = 2" in line for line in lines) == 3 + 3
    assert sum("batch_group_count = 2" in line for line in lines) == 3
    assert sum("stride = [4, 4]" in line for line in lines) == 1
    assert sum("rhs_dilate = [4, 4]" in line for line in lines) == 1


def test_layouts_are_nhwc_and_hwio(lowered):
    text, _, _ = lowered
    forward = [line for line in _lines(text, "convolution") if "[0, 1, i, o]->[b" in line]
    assert len(forward) == 5
    assert all("dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in line for line in forward)
    # Kernels are turned for their input gradients; images never are.
    assert not re.search(rf"stablehlo\.transpose .*: \(tensor<{BATCH_SIZE}(x\d+){{3}}x[a-z]", text)


def test_pools_are_windows_and_not_slices(lowered):
    text, _, _ = lowered
    assert text.count('"stablehlo.select_and_scatter"') == 3
    maxima = re.findall(r'"stablehlo\.reduce_window"[^\n]*\n[^\n]*\n[^\n]*stablehlo\.maximum', text)
    assert len(maxima) == 3
    for form in ("while", "optimization_barrier", "custom_call"):
        assert not _lines(text, form)
    # Strided slices of images are how the form for CPUs pools.
    assert not re.search(rf"stablehlo\.slice .*\[0:{BATCH_SIZE}, \d+:\d+:\d", text)


def test_products_have_the_type_of_the_activations(lowered):
    text, _, dtype = lowered
    for line in _lines(text, "convolution"):
        assert _operands(line) == [dtype, dtype]
    products = [_operands(line) for line in _lines(text, "dot_general")]
    # fc6 and fc7: output and two gradients each. The classifier is float32.
    expected = [[dtype, dtype]] * 6 + [["f32", "f32"]] * 3
    assert sorted(products) == sorted(expected)


def test_sums_are_float32(lowered):
    text, _, _ = lowered
    sums = [line for line in _lines(text, "reduce") if "applies stablehlo.add" in line]
    assert len(sums) > 8, "the bias gradients are among them"
    assert not [line for line in sums if "bf16" in line]


def test_state_and_sums_are_float32_and_the_state_is_donated(lowered):
    text, state, _ = lowered
    signature = next(line for line in text.splitlines() if "@main" in line)
    arguments, results = signature.split(") -> (")
    assert "bf16" not in signature
    loss = re.search(r'tensor<(\w+)> \{jax\.result_info = "result\[1\]\.by_name.*?loss', results)
    assert loss and loss.group(1) == "f32"
    leaves = len(jax.tree.leaves(state))
    for number, argument in enumerate(re.split(r", (?=%arg\d+:)", arguments)):
        donated = f"tf.aliasing_output = {number} " in argument or "jax.buffer_donor" in argument
        assert donated == (number < leaves), argument
