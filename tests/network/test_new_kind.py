"""A kind of layer is a class and its Linen module: all else follows from its rules."""

import dataclasses
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import compiling
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.config import Config, OptimizerConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.errors import InputError
from alexnet_jax.insight.report import write_report
from alexnet_jax.insight.report_data import ReportData
from alexnet_jax.network import modules, networks, placement
from alexnet_jax.network.layer_rules import Layer, Parametric, Shape, Windows, divide, divide_groups
from alexnet_jax.network.layers import Conv, Dense, Flatten, Network, summarize
from alexnet_jax.network.model import AlexNet, init_params
from alexnet_jax.network.receptive_fields import receptive_fields
from alexnet_jax.network.summary import summary
from alexnet_jax.network.towers import make_forward, tower_network
from alexnet_jax.resolution import Facts, resolve
from alexnet_jax.training.optimizer import update_rule
from alexnet_jax.training.schedule import CurrentRates, rate_tree
from alexnet_jax.weights.writers.program_spec import ProgramSpec


@dataclass(frozen=True)
class Mix(Parametric):
    """Every pixel's channels times a matrix."""

    name: str
    features: int
    weight_std: float | None = 0.5
    bias: float = 0.25

    LABEL: ClassVar[str] = "mix"

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.features)

    def parameter_shapes(self, shape: Shape) -> tuple[Shape, Shape]:
        return (shape[-1], self.features), (self.features,)

    def reads_all_towers(self) -> bool:
        return True

    def share(self, towers: int, divided: bool) -> "Mix":
        return dataclasses.replace(self, features=divide(self.features, towers, "features"))


class MixModule(nn.Module):
    layer: Mix

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel_shape, bias_shape = self.layer.parameter_shapes(x.shape[1:])
        kernel = self.param("kernel", nn.initializers.normal(0.5), kernel_shape)
        bias = self.param("bias", nn.initializers.constant(0.25), bias_shape)
        return x @ kernel + bias[None, None, None]


@dataclass(frozen=True)
class GroupNorm(Layer):
    """Mean 0 and deviation 1 in each group of channels, then a factor and an offset per channel."""

    groups: int = 2

    PREFIX: ClassVar[str] = "group"
    LABEL: ClassVar[str] = "group norm"

    def parameter_shapes(self, shape: Shape) -> tuple[Shape, Shape]:
        return (shape[-1],), (shape[-1],)

    def combines_channels(self) -> bool:
        return True

    def share(self, towers: int, divided: bool) -> "GroupNorm":
        return dataclasses.replace(self, groups=divide_groups(self.groups, towers, divided))


class GroupNormModule(nn.Module):
    layer: GroupNorm

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        factor_shape, offset_shape = self.layer.parameter_shapes(x.shape[1:])
        factor = self.param("kernel", nn.initializers.ones, factor_shape)
        offset = self.param("bias", nn.initializers.zeros, offset_shape)
        grouped = x.reshape(*x.shape[:3], self.layer.groups, -1)
        mean, variance = (f(grouped, axis=(1, 2, 4), keepdims=True) for f in (jnp.mean, jnp.var))
        unit = ((grouped - mean) * jax.lax.rsqrt(variance + 1e-5)).reshape(x.shape)
        return unit * factor[None, None, None] + offset[None, None, None]


@dataclass(frozen=True)
class EverySecond(Layer):
    """Every second row and column."""

    PREFIX: ClassVar[str] = "second"
    LABEL: ClassVar[str] = "every second"

    def windows(self) -> Windows:
        return Windows(1, 2)

    def output_shape(self, shape: Shape) -> Shape:
        return (self.windows().along(shape[0]), self.windows().along(shape[1]), shape[2])

    def drawing_note(self, output: Shape) -> str:
        return f"every second of {output[0]}"


class EverySecondModule(nn.Module):
    layer: EverySecond

    def __call__(self, x: jax.Array) -> jax.Array:
        return x[:, ::2, ::2]


NETWORK = Network(
    "toy",
    (
        *(Conv("conv1", 4, 3), GroupNorm(), EverySecond()),
        *(Conv("conv2", 4, 1, groups=2), Mix("mix3", 6)),
        *(Flatten(), Dense("fc4", 3)),
    ),
    image_size=9,
    source="this test",
)


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    monkeypatch.setitem(modules.MODULES, Mix, MixModule)
    monkeypatch.setitem(modules.MODULES, GroupNorm, GroupNormModule)
    monkeypatch.setitem(modules.MODULES, EverySecond, EverySecondModule)


def test_a_new_kind_has_rows_in_every_table():
    rows = {row.layer: row for row in summary(NETWORK).rows}
    assert rows["second1"].kind == "every second" and rows["second1"].stride == 2
    assert rows["second1"].output_shape == (4, 4, 4)
    mix = rows["mix3"]
    assert (mix.kind, mix.kernel_shape, mix.params, mix.macs) == ("mix", (4, 6), 30, 24)
    assert (mix.tower_units, mix.reads, mix.neurons) == ((3, 3), "both", 96)
    norm = rows["group1"]
    assert (norm.kind, norm.kernel_shape, norm.params, norm.macs) == ("group norm", (4,), 8, 0)
    assert (norm.tower_units, norm.reads, norm.neurons) == ((2, 2), "own", 0)
    assert {field.layer: field.stride for field in receptive_fields(NETWORK)}["mix3"] == 2


@pytest.mark.slow
def test_a_new_kind_is_computed_alone_and_on_two_towers():
    params = init_params(NETWORK, 9, 0)
    assert params["mix3"]["kernel"].shape == (4, 6) and (params["mix3"]["bias"] == 0.25).all()
    # Values that differ from channel to channel, so that a tower with those of the other is seen.
    params["group1"] = {"kernel": jnp.arange(1.0, 5.0), "bias": jnp.arange(4.0)}
    images = jax.random.normal(jax.random.key(1), (2, 9, 9, 3))
    with compiling.few_optimizations():
        logits: Any = jax.jit(AlexNet(NETWORK).apply)({"params": params}, images)
    shares = [row.layer for row in summarize(tower_network(NETWORK, 2)) if row.name == "mix3"]
    assert shares == [Mix("mix3", 3)]
    mesh = placement.make_mesh(2, devices=jax.devices()[:2])
    with compiling.few_optimizations():
        on_towers = jax.jit(make_forward(NETWORK, jnp.float32, mesh))(params, images)
    np.testing.assert_allclose(on_towers, logits, rtol=1e-5, atol=1e-5)
    placed = placement.put(mesh, NETWORK, params)["group1"]
    assert {leaf.addressable_shards[1].data.shape for leaf in placed.values()} == {(2,)}


@pytest.mark.slow
def test_a_new_kind_with_parameters_has_its_own_rate_and_decay(monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, "toy", NETWORK)
    rule = OptimizerConfig(
        layer_learning_rate=(("group1", 0.5),), layer_weight_decay=(("group1", 0.0),)
    )
    config = Config(network="toy", optimizer=rule, initial_weights="fan-in")
    resolved = resolve(config, Facts(classes=3, stored_size=9))
    assert resolved.network.layers[1] == GroupNorm()
    params = init_params(resolved.network, 9, 0)
    rates = rate_tree(CurrentRates(0.02, 0.04, {}, {}, colour_noise=False), rule, params)
    assert rates["group1"] == {"kernel": np.float32(0.01), "bias": np.float32(0.02)}
    transform = update_rule(rule, params)
    grads, state = jax.tree.map(jnp.ones_like, params), transform.init(params)
    updates: Any = transform.update(grads, state, params, rates=rates)[0]
    np.testing.assert_allclose(updates["group1"]["kernel"], -0.01)
    np.testing.assert_allclose(updates["group1"]["bias"], -0.02)


def test_a_new_kind_is_drawn_in_the_report(tmp_path):
    data = ReportData(config=Config(), run={}, network=NETWORK)
    text = write_report(tmp_path / "report.html", data).read_text("utf-8")
    for words in ("mix3", "2 × 3 maps", "every second of 4"):
        assert f">{words}<" in text


@pytest.mark.parametrize("kind", [EverySecond, GroupNorm, Mix])
def test_a_file_format_that_does_not_know_a_kind_refuses_it_by_name(kind):
    onnx_graph = pytest.importorskip("alexnet_jax.weights.writers.onnx_graph")
    layers = tuple(layer for layer in NETWORK.layers if type(layer) in (Conv, kind))
    run = SimpleNamespace(
        network=dataclasses.replace(NETWORK, layers=layers),
        config=Config(preprocess=PreprocessConfig("none", "none")),
        inputs=Inputs(np.zeros(3, "f4"), np.ones(3, "f4"), np.zeros((3, 3), "f4")),
        image_size=9,
        stored_size=9,
    )
    params = jax.tree.map(np.asarray, init_params(NETWORK, 9, 0))
    weights: Any = SimpleNamespace(run=run, params=params)
    with pytest.raises(InputError, match=rf"layer '\w+' \({kind.__name__}\) cannot be expressed"):
        onnx_graph.build_model(weights, ProgramSpec(), {})


def test_a_kind_without_a_module_is_refused_by_name(monkeypatch):
    monkeypatch.delitem(modules.MODULES, Mix)
    with pytest.raises(TypeError, match="layer 'mix3' is of unknown type Mix"):
        init_params(NETWORK, 9, 0)
