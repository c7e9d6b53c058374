"""Layer specs: names, shape arithmetic, edits and the errors of impossible networks."""

import dataclasses
import functools
from typing import Any

import compiling
import jax
import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.network.layer_rules import Windows
from alexnet_jax.network.layers import (
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Local,
    Lrn,
    MaxPool,
    Network,
    ResponseNorm,
    layer_names,
    padding_of,
    parametric_layers,
    summarize,
    with_changes,
    with_fan_in_weights,
    with_features,
    with_named,
    without,
)
from alexnet_jax.network.model import AlexNet

SMALL = (
    *(Conv("conv1", 8, 3), Activation(), Lrn(groups=2), MaxPool(), Flatten()),
    *(Dense("fc2", 6), Activation("tanh"), Dropout(), Dense("fc3", 4)),
)


def network(*layers, size=9):
    return Network("test", tuple(layers), size, "test")


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding", "down", "up"),
    [
        (224, 11, 4, 0, 54, 55),  # conv1 of the paper
        (227, 11, 4, 0, 55, 55),  # conv1 of Caffe
        (224, 11, 4, 2, 55, 56),  # conv1 of torchvision
        (55, 3, 2, 0, 27, 27),
        (32, 3, 2, 0, 15, 16),  # CIFAR-10
        (24, 3, 2, 0, 11, 12),
        (3, 3, 2, 0, 1, 1),
        (2, 3, 2, 0, 0, 0),
        (2, 3, 2, 1, 1, 2),
    ],
)
def test_windows_round_down_or_up(size, window, stride, padding, down, up):
    assert Windows(window, stride, padding, overhang=False).along(size) == down
    assert Windows(window, stride, padding, overhang=True).along(size) == up


@pytest.mark.parametrize(
    ("size", "layer", "padding"),
    [
        (224, Conv("conv1", 1, 11, stride=4), (0, 3)),
        (227, Conv("conv1", 1, 11, stride=4), (0, 0)),
        (224, Conv("conv1", 1, 11, stride=4, padding=2, overhang=False), (2, 1)),
        (27, Conv("conv2", 1, 5, padding=2), (2, 2)),
        (6, Local("local3", 1, 3, padding=1), (1, 1)),
        (32, MaxPool(), (0, 1)),
        (32, AvgPool(overhang=False), (0, 0)),
        (13, MaxPool(), (0, 0)),
    ],
)
def test_padding_makes_room_for_overhanging_windows(size, layer, padding):
    assert padding_of(size, layer) == padding


@pytest.mark.parametrize("size", range(3, 40))
@pytest.mark.parametrize("overhang", [False, True])
def test_padded_axis_has_as_many_valid_windows_as_counted(size, overhang):
    layer = MaxPool(window=3, stride=2, overhang=overhang)
    padded = size + sum(padding_of(size, layer))
    assert (padded - 3) // 2 + 1 == layer.windows().along(size)


def test_layer_names_follow_the_parametric_layer_before():
    names = "conv1 relu1 norm1 pool1 flatten1 fc2 tanh2 dropout2 fc3"
    assert layer_names(SMALL) == tuple(names.split())


def test_repeated_and_early_layers_get_names_of_their_own():
    block = (Conv("conv1", 4, 3), Activation(), ResponseNorm(), AvgPool(), Activation())
    later = (AdaptiveAvgPool(2), Activation(), Conv("stem", 4, 1), Activation())
    names = "dropout0 conv1 relu1 rnorm1 pool1 relu1b pool1b relu1c stem relustem"
    assert layer_names((Dropout(), *block, *later)) == tuple(names.split())


def test_summary_counts_weights_biases_and_multiplications():
    rows = {row.name: row for row in summarize(network(*SMALL))}
    conv = rows["conv1"]  # 9 -> 7
    assert (conv.input_shape, conv.output_shape) == ((9, 9, 3), (7, 7, 8))
    assert (conv.weights, conv.biases, conv.params) == (3 * 3 * 3 * 8, 8, 224)
    assert (conv.macs, conv.neurons) == (7 * 7 * 216, 7 * 7 * 8)
    assert rows["pool1"].output_shape == (3, 3, 8)
    assert (rows["pool1"].params, rows["pool1"].neurons) == (0, 0)
    assert rows["flatten1"].output_shape == (72,)
    assert (rows["fc2"].weights, rows["fc2"].biases, rows["fc2"].macs) == (432, 6, 432)


def test_summary_of_groups_and_unshared_filters():
    rows = summarize(
        network(
            Conv("conv1", 8, 3, padding=1),
            Conv("conv2", 8, 3, padding=1, groups=2),
            Local("local3", 5, 3),
            Flatten(),
            Dense("fc4", 6),
            Dense("fc5", 4, groups=2),
            size=5,
        )
    )
    assert rows[1].weights == 3 * 3 * (8 // 2) * 8
    assert rows[2].output_shape == (3, 3, 5)
    assert (rows[2].weights, rows[2].biases) == (9 * 3 * 3 * 8 * 5, 9 * 5)
    assert rows[2].macs == rows[2].weights
    assert rows[-1].weights == 6 * 4 // 2


def test_summary_takes_another_image_size_without_changing_the_network():
    net = network(*SMALL)
    assert summarize(net, 11)[0].output_shape == (9, 9, 8)
    assert summarize(net) == summarize(net, 9)


def test_too_small_image_names_layer_and_what_would_fit():
    with pytest.raises(InputError) as caught:
        summarize(network(*SMALL), 4)  # conv1 -> 2, pool needs 3
    message = str(caught.value)
    assert "'pool1'" in message and "2x2 pixels" in message and "'test' at 4x4" in message
    assert message.endswith("the smallest that fits is 5x5")
    assert "\n" not in message
    summarize(network(*SMALL), 5)


def test_pictures_that_are_no_squares():
    rows = {row.name: row.output_shape for row in summarize(network(*SMALL), (9, 13))}
    assert (rows["conv1"], rows["pool1"], rows["flatten1"]) == ((7, 11, 8), (3, 5, 8), (120,))
    for size in ((4, 13), (13, 4)):
        words = f"at {size[0]}x{size[1]}.*'pool1'.*the smallest that fits is 5x5$"
        with pytest.raises(InputError, match=words):
            summarize(network(*SMALL), size)


def test_a_network_cut_at_a_layer():
    whole = network(*SMALL)
    cut = whole.until("pool1")
    assert cut.layers == SMALL[:4] and cut.name == "test until pool1"
    assert whole.classifier is SMALL[-1] and cut.classifier is None
    assert whole.until("fc3").classifier is None, "as a hidden layer, in the activations' dtype"
    assert summarize(cut, 7) == summarize(whole, 7)[:4]
    with pytest.raises(InputError, match="network 'test' has no layer 'pool2'. Did you mean"):
        whole.until("pool2")
    with pytest.raises(InputError, match="'test until pool1' has no classes"):
        cut.with_classes(5)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((Conv("conv1", 9, 3, groups=2),), ("'conv1'", "2 groups", "9 outputs")),
        ((Conv("conv1", 8, 3), Dense("fc2", 4)), ("'fc2'", "Flatten")),
        ((Conv("conv1", 9, 3), Lrn(groups=2)), ("'norm1'", "9 channels")),
        ((Conv("conv1", 9, 3), Flatten(groups=2)), ("'flatten1'", "9 channels")),
        ((Flatten(), Dense("fc1", 5, groups=2)), ("'fc1'", "243 inputs", "5 outputs")),
    ],
)
def test_impossible_networks_name_the_layer(layers, words):
    with pytest.raises(InputError) as caught:
        summarize(network(*layers))
    for word in words:
        assert word in str(caught.value)
    assert "fits" not in str(caught.value)  # no image size would help


def test_edits_return_new_layers_and_leave_the_old():
    before = tuple(SMALL)
    assert Lrn(groups=2) not in without(SMALL, Lrn)
    assert len(without(SMALL, Lrn, Dropout, Activation)) == len(SMALL) - 4
    assert with_changes(SMALL, MaxPool, window=2)[3] == MaxPool(window=2)
    assert with_changes(SMALL, Activation, kind="tanh")[1] == Activation("tanh")
    assert with_named(SMALL, "fc2", bias=1.0)[5] == Dense("fc2", 6, bias=1.0)
    features = with_features(SMALL, {"conv1": 16, "fc2": 10})
    assert [layer.features for layer in parametric_layers(features)] == [16, 10, 4]
    assert before == SMALL


def test_edits_reject_unknown_names_and_fields():
    with pytest.raises(ValueError, match="no layer is called 'fc9'"):
        with_features(SMALL, {"fc9": 10})
    with pytest.raises(TypeError):
        with_changes(SMALL, MaxPool, stroke=2)


def test_classes_are_the_outputs_of_the_last_parametric_layer():
    net = network(*SMALL, Activation())
    assert net.classes == 4
    assert net.with_classes(11).classes == 11
    assert net.with_classes(4) == net
    assert [layer.features for layer in parametric_layers(net.with_classes(2).layers)] == [8, 6, 2]


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_fewer_than_two_classes_are_refused(classes):
    with pytest.raises(InputError, match=f"at least 2 classes, not {classes}"):
        network(*SMALL).with_classes(classes)


def test_specs_are_frozen_and_hashable():
    assert len({network(*SMALL), network(*SMALL)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        SMALL[0].features = 9  # type: ignore[misc]


def test_weights_by_fan_in_keep_the_size_of_a_signal():
    layers = (
        *(Conv("conv1", 32, 5, groups=1, bias=1), Activation()),
        *(Conv("conv2", 64, 5, groups=2, bias=1), Activation()),
        *(Local("local3", 8, 3), Activation(), Flatten()),
        *(Dense("fc4", 600, bias=1), Activation(), Dense("fc5", 300, weight_std=None)),
    )
    network = with_fan_in_weights(Network("n", layers, 16, "this test"), 18)
    stds = {layer.name: layer.weight_std for layer in parametric_layers(network.layers)}
    fans = {"conv1": 75, "conv2": 16 * 25, "local3": 64 * 9, "fc4": 8 * 64}
    assert stds == {name: pytest.approx((2 / fan) ** 0.5) for name, fan in fans.items()} | {
        "fc5": pytest.approx((1 / 600) ** 0.5)
    }
    assert not any(layer.bias for layer in parametric_layers(network.layers))
    model = AlexNet(network)
    images = jax.random.normal(jax.random.key(1), (4, 18, 18, 3))
    with compiling.few_optimizations():
        variables = jax.jit(model.init)(jax.random.key(0), images)
        for name, expected in {"conv2": 2, "fc5": 1}.items():
            run = jax.jit(functools.partial(model.apply, capture=name))
            found: Any = run(variables, images)
            assert expected / 1.5 < float((found**2).mean()) < expected * 1.5, name
