"""Golden numbers of every network, and their agreement with what the model really makes."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alexnet_jax.errors import InputError
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
    parametric_layers,
    summarize,
    with_changes,
    with_features,
    without,
)
from alexnet_jax.network.model import AlexNet, count_params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.network.summary import summary

# name: (parameters, multiply-accumulates per image, neurons) at the network's own image size
GOLDEN = {
    "paper": (60_965_224, 724_406_816, 659_272),
    "original": (60_965_224, 724_406_816, 659_272),
    "caffenet": (60_965_224, 724_406_816, 659_272),
    "bvlc-alexnet": (60_965_224, 724_406_816, 659_272),
    "caffenet-224": (60_965_224, 654_560_384, 609_640),
    "bvlc-alexnet-224": (60_965_224, 654_560_384, 609_640),
    "one-weird-trick": (61_100_840, 714_188_480, 494_184),
    "one-weird-trick-2014": (61_100_840, 714_188_480, 494_184),
    "one-tower": (62_378_344, 1_135_256_096, 659_272),
    "one-tower-adaptive": (62_378_344, 1_135_256_096, 659_272),
    "keras-alexnet": (60_965_224, 724_406_816, 659_272),
    "darknet-alexnet": (62_378_344, 1_135_256_096, 659_272),
    "one-tower-half": (59_798_312, 391_514_384, 355_864),
    "non-overlapping": (60_965_224, 686_891_552, 633_416),
    "no-lrn": (60_965_224, 724_406_816, 659_272),
    "no-talk": (60_714_408, 724_323_872, 710_024),
    "six-conv": (61_555_304, 745_640_480, 668_488),
    "six-conv-2009": (99_182_152, 783_258_144, 677_672),
    "six-conv-2011": (110_605_267, 794_667_552, 691_379),
    "cifar-13pct": (1_116_490, 18_517_248, 48_394),
    "cifar-11pct": (2_112_970, 19_512_576, 49_546),
    "cifar-18pct": (89_578, 12_298_240, 45_066),
    "cifar-19pct": (89_578, 12_298_240, 45_066),
    "cifar-80sec": (145_578, 12_354_176, 45_130),
    "figure1-relu": (1_901_386, 32_919_552, 86_026),
    "figure1-tanh": (1_901_386, 32_919_552, 86_026),
    "figure1-sigmoid": (1_901_386, 32_919_552, 86_026),
    "cifar-alexnet": (991_562, 16_247_808, 45_962),
    "cifar-alexnet-one-tower": (1_158_986, 26_422_272, 45_962),
    "miniature": (146_986, 3_013_248, 15_994),
    "digits": (232_490, 2_403_456, 8_586),
}

# The table of the paper's network: weights, biases, multiply-accumulates, neurons.
PAPER_LAYERS = {
    "conv1": (34_848, 96, 105_415_200, 290_400),
    "conv2": (307_200, 256, 223_948_800, 186_624),
    "conv3": (884_736, 384, 149_520_384, 64_896),
    "conv4": (663_552, 384, 112_140_288, 64_896),
    "conv5": (442_368, 256, 74_760_192, 43_264),
    "fc6": (37_748_736, 4_096, 37_748_736, 4_096),
    "fc7": (16_777_216, 4_096, 16_777_216, 4_096),
    "fc8": (4_096_000, 1_000, 4_096_000, 1_000),
}

# Parameters per layer where they differ from the paper's.
LAYER_PARAMS = {
    "one-weird-trick": (
        23_296, 307_392, 663_936, 884_992, 590_080, 37_752_832, 16_781_312, 4_097_000,
    ),
    "one-tower": (
        34_944, 614_656, 885_120, 1_327_488, 884_992, 37_752_832, 16_781_312, 4_097_000,
    ),
    "no-talk": (34_944, 384_320, 553_344, 663_936, 442_624, 37_756_928, 16_781_312, 4_097_000),
    "cifar-13pct": (4_864, 102_464, 664_704, 332_928, 11_530),
    "cifar-18pct": (2_432, 25_632, 51_264, 10_250),
    "digits": (3_552, 19_264, 55_392, 41_568, 27_712, 16_640, 65_792, 2_570),
    "miniature": (1_216, 9_648, 27_712, 18_496, 13_872, 37_056, 37_056, 1_930),
    "cifar-alexnet": (2_432, 38_496, 110_720, 73_856, 55_392, 442_880, 262_656, 5_130),
}  # fmt: skip

SPATIAL = {
    "paper": (224, 55, 27, 27, 13, 13, 13, 13, 6),
    "original": (224, 55, 27, 27, 13, 13, 13, 13, 6),
    "caffenet": (227, 55, 27, 27, 13, 13, 13, 13, 6),
    "bvlc-alexnet": (227, 55, 27, 27, 13, 13, 13, 13, 6),
    "caffenet-224": (224, 54, 26, 26, 12, 12, 12, 12, 6),
    "bvlc-alexnet-224": (224, 54, 26, 26, 12, 12, 12, 12, 6),
    "one-weird-trick": (224, 55, 27, 27, 13, 13, 13, 13, 6, 6),
    "one-weird-trick-2014": (224, 55, 27, 27, 13, 13, 13, 13, 6),
    "one-tower": (224, 55, 27, 27, 13, 13, 13, 13, 6),
    "one-tower-adaptive": (224, 55, 27, 27, 13, 13, 13, 13, 6, 6),
    "keras-alexnet": (227, 55, 27, 27, 13, 13, 13, 13, 6),
    "darknet-alexnet": (227, 55, 27, 27, 13, 13, 13, 13, 6),
    "one-tower-half": (224, 55, 27, 27, 13, 13, 13, 13, 6),
    "non-overlapping": (224, 55, 28, 26, 13, 13, 13, 11, 6),
    "no-lrn": (224, 55, 27, 27, 13, 13, 13, 13, 6),
    "no-talk": (224, 55, 27, 27, 13, 13, 13, 13, 6),
    "six-conv": (224, 55, 27, 27, 13, 13, 13, 13, 6, 6),
    "six-conv-2009": (224, 55, 27, 27, 13, 13, 13, 13, 6, 6),
    "six-conv-2011": (224, 55, 27, 27, 13, 13, 13, 13, 6, 6),
    "cifar-13pct": (24, 24, 12, 12, 6, 6, 6),
    "cifar-11pct": (24, 24, 12, 12, 6, 6, 6),
    "cifar-18pct": (32, 32, 16, 16, 8, 8, 4),
    "cifar-19pct": (32, 32, 16, 16, 8, 8, 4),
    "cifar-80sec": (32, 32, 16, 16, 8, 8, 4),
    "figure1-relu": (32, 32, 16, 16, 8, 8, 8),
    "figure1-tanh": (32, 32, 16, 16, 8, 8, 8),
    "figure1-sigmoid": (32, 32, 16, 16, 8, 8, 8),
    "cifar-alexnet": (28, 24, 12, 12, 6, 6, 6, 6, 3),
    "cifar-alexnet-one-tower": (28, 24, 12, 12, 6, 6, 6, 6, 3),
    "miniature": (24, 20, 10, 10, 5, 5, 5, 5, 2),
    "digits": (28, 12, 6, 6, 3, 3, 3, 3, 1),
}

# The first layers in order, as far as a test needs them; / ends a block.
BLOCKS = {
    "paper": "conv1 relu1 norm1 pool1 / conv2 relu2 norm2 pool2 / conv3",
    "original": "conv1 norm1 pool1 relu1 / conv2 relu2 norm2 rnorm2 pool2 / conv3",
    "caffenet": "conv1 relu1 pool1 norm1 / conv2 relu2 pool2 norm2 / conv3",
    "bvlc-alexnet": "conv1 relu1 norm1 pool1 / conv2 relu2 norm2 pool2 / conv3",
    "caffenet-224": "conv1 relu1 pool1 norm1 / conv2 relu2 pool2 norm2 / conv3",
    "bvlc-alexnet-224": "conv1 relu1 norm1 pool1 / conv2 relu2 norm2 pool2 / conv3",
    "one-weird-trick": "conv1 relu1 pool1 / conv2 relu2 pool2 / conv3",
    "one-weird-trick-2014": "conv1 norm1 pool1 relu1 / conv2 relu2 norm2 pool2 / conv3",
    "one-tower": "conv1 relu1 norm1 pool1 / conv2 relu2 norm2 pool2 / conv3",
    "keras-alexnet": "conv1 relu1 pool1 norm1 / conv2 relu2 pool2 norm2 / conv3",
    "darknet-alexnet": "conv1 relu1 pool1 / conv2 relu2 pool2 / conv3",
    "no-lrn": "conv1 pool1 relu1 / conv2 relu2 pool2 / conv3",
    "cifar-13pct": "conv1 relu1 pool1 / conv2",
    "cifar-11pct": "conv1 relu1 pool1 norm1 / conv2 relu2 norm2 pool2 / local3",
    "cifar-18pct": "conv1 pool1 relu1 rnorm1 / conv2 relu2 pool2 rnorm2 / conv3",
    "cifar-19pct": "conv1 pool1 relu1 / conv2 relu2 pool2 / conv3",
    "cifar-80sec": "conv1 pool1 relu1 / conv2",
    "figure1-tanh": "conv1 tanh1 pool1 / conv2",
    "figure1-sigmoid": "conv1 sigmoid1 pool1 / conv2",
    "cifar-alexnet": "conv1 relu1 norm1 pool1 / conv2",
    "cifar-alexnet-one-tower": "conv1 relu1 norm1 pool1 / conv2",
    "miniature": "conv1 relu1 norm1 pool1 / conv2",
    "digits": "conv1 relu1 norm1 pool1 / conv2",
}

every_network = pytest.mark.parametrize("name", sorted(NETWORKS))


def total_params(name, layers):
    """Returns the parameters of the network called `name` with its layers replaced."""
    rows = summarize(dataclasses.replace(NETWORKS[name], layers=layers))
    return sum(row.params for row in rows)


def groups_of(layers):
    """Returns the groups of the parametric layers."""
    return [getattr(layer, "groups", 1) for layer in parametric_layers(layers)]


def initial(network, size, key):
    """Returns the initial parameters; under jit the forward pass is not computed."""
    init = jax.jit(lambda key: AlexNet(network).init(key, jnp.zeros((1, size, size, 3))))
    return init(key)["params"]


def stds_and_biases(name):
    layers = parametric_layers(NETWORKS[name].layers)
    return [layer.weight_std for layer in layers], [layer.bias for layer in layers]


def test_every_network_has_golden_numbers():
    assert set(GOLDEN) == set(NETWORKS)
    assert set(SPATIAL) == set(NETWORKS)


@every_network
def test_totals(name):
    rows = summarize(NETWORKS[name])
    totals = tuple(sum(getattr(row, key) for row in rows) for key in ("params", "macs", "neurons"))
    assert totals == GOLDEN[name]
    table = summary(name)
    assert (table.params, table.macs, table.neurons) == GOLDEN[name]


@every_network
def test_spatial_path(name):
    network = NETWORKS[name]
    path = [network.image_size]
    for row in summarize(network):
        if isinstance(row.layer, Conv | Local | MaxPool | AvgPool) or row.name == "pool5b":
            assert row.output_shape[0] == row.output_shape[1]
            path.append(row.output_shape[0])
    assert tuple(path) == SPATIAL[name]


@every_network
def test_names_are_unique_and_sources_given(name):
    network = NETWORKS[name]
    names = layer_names(network.layers)
    assert network.name == name and network.source
    assert len(set(names)) == len(names)
    parameters = [layer.name for layer in parametric_layers(network.layers)]
    depths = [int(layer.strip("abcdefghijklmnopqrstuvwxyz") or 8) for layer in parameters]
    if name.startswith("six-conv"):  # dense layers keep the names that weights were handed on by
        convolutions = [layer for layer in parameters if layer.startswith("conv")]
        assert convolutions == [f"conv{i}" for i in range(1, 7)]
        assert [layer for layer in parameters if layer.startswith("fc")] == ["fc6", "fc7", "fc8"]
    else:
        assert depths == list(range(1, len(parameters) + 1))


@pytest.mark.parametrize(
    ("name", "classes", "params"),
    [
        ("paper", 2, 56_876_418),
        ("paper", 10, 56_909_194),
        ("one-weird-trick", 2, 57_012_034),
        ("six-conv", 10_184, 99_182_152),
    ],
)
def test_parameters_with_other_class_counts(name, classes, params):
    rows = summarize(NETWORKS[name].with_classes(classes))
    assert sum(row.params for row in rows) == params


@pytest.mark.parametrize(
    ("name", "params"), [("cifar-13pct", 1_901_386), ("cifar-11pct", 3_672_906)]
)
def test_unshared_filters_cost_more_on_whole_cifar_images(name, params):
    rows = summarize(NETWORKS[name], 32)
    assert sum(row.params for row in rows) == params
    assert [row.output_shape[0] for row in rows if isinstance(row.layer, MaxPool)] == [16, 8]


@pytest.mark.parametrize("name", ["paper", "original", "caffenet", "bvlc-alexnet", "no-lrn"])
def test_layers_of_the_paper(name):
    rows = [row for row in summarize(NETWORKS[name]) if row.params]
    counts = {row.name: (row.weights, row.biases, row.macs, row.neurons) for row in rows}
    assert counts == PAPER_LAYERS


@pytest.mark.parametrize("name", LAYER_PARAMS)
def test_parameters_per_layer(name):
    assert (
        tuple(row.params for row in summarize(NETWORKS[name]) if row.params) == LAYER_PARAMS[name]
    )


def test_related_counts():
    footnote = with_features(NETWORKS["one-weird-trick"].layers, {"conv4": 384})
    assert total_params("one-weird-trick", footnote) == 61_838_248  # the paper of that name
    ungrouped = with_changes(NETWORKS["paper"].layers, Conv, groups=1)
    assert total_params("paper", ungrouped) == GOLDEN["one-tower"][0]


@pytest.mark.parametrize("name", BLOCKS)
def test_order_within_the_first_blocks(name):
    words = BLOCKS[name].replace("/", "").split()
    assert list(layer_names(NETWORKS[name].layers)[: len(words)]) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "paper",
            "conv3 relu3 conv4 relu4 conv5 relu5 pool5 flatten5 fc6 relu6 dropout6 fc7 relu7 "
            "dropout7 fc8",
        ),
        (
            "six-conv-2011",
            "pool5 relu5 conv6 relu6 flatten6 fc6 relu6b dropout6 fc7 relu7 dropout7 bottleneck "
            "fc8",
        ),
    ],
)
def test_order_of_the_later_layers(name, words):
    names = layer_names(NETWORKS[name].layers)
    assert " ".join(names[names.index(words.split()[0]) :]) == words


@pytest.mark.parametrize(
    ("name", "stds", "biases"),
    [
        ("paper", [0.01] * 8, [0, 1, 0, 1, 1, 1, 1, 0]),
        ("original", [0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01], [0, 1, 0, 1, 1, 1, 1, 0]),
        ("caffenet", [0.01] * 5 + [0.005, 0.005, 0.01], [0, 1, 0, 1, 1, 1, 1, 0]),
        ("bvlc-alexnet", [0.01] * 5 + [0.005, 0.005, 0.01], [0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0]),
        ("one-weird-trick", [None] * 8, [0] * 8),
        (
            "one-weird-trick-2014",
            [0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01],
            [0, 1, 0, 1, 1, 1, 1, -7],
        ),
        ("one-tower", [None] * 8, [0] * 8),
        (
            "six-conv-2011",
            [0.01, 0.01, 0.03, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01, 0.01],
            [0, 1, 0, 1, 1, 1, 1, 1, 0, 0],
        ),
        ("cifar-13pct", [1e-4, 0.01, 0.04, 0.04, 0.01], [0] * 5),
        ("cifar-11pct", [1e-4, 0.01, 0.04, 0.04, 0.01], [0] * 5),
        ("cifar-18pct", [1e-4, 0.01, 0.01, 0.01], [0] * 4),
        ("cifar-80sec", [1e-4, 0.01, 0.01, 0.1, 0.1], [0] * 5),
    ],
)
def test_initial_weights_and_biases(name, stds, biases):
    assert stds_and_biases(name) == (stds, biases)


@pytest.mark.parametrize(
    ("name", "norms"),
    [
        ("paper", [Lrn(5, 1e-4, 0.75, 2.0, groups=2)] * 2),
        (
            "original",
            [
                Lrn(5, 2e-5, 0.75, 2.0, groups=2),
                Lrn(5, 2e-5, 0.75, 2.0, groups=2),
                ResponseNorm(5, 4e-5, 0.75, 1.0),
            ],
        ),
        ("caffenet", [Lrn(5, 2e-5, 0.75, 1.0)] * 2),
        ("bvlc-alexnet", [Lrn(5, 2e-5, 0.75, 1.0)] * 2),
        ("one-weird-trick", []),
        ("one-weird-trick-2014", [Lrn(5, 2e-5, 0.75, 2.0)] * 2),
        ("one-tower", [Lrn(5, 2e-5, 0.75, 2.0)] * 2),
        (
            "one-tower-half",
            [
                Lrn(5, 2e-5, 0.75, 2.0),
                Lrn(5, 2e-5, 0.75, 2.0),
                ResponseNorm(5, 4e-5, 0.75, 1.0),
            ],
        ),
        ("no-lrn", []),
        ("cifar-13pct", []),
        ("cifar-11pct", [Lrn(9, 1e-3 / 9, 0.75, 1.0)] * 2),
        ("cifar-18pct", [ResponseNorm(3, 5e-5 / 9, 0.75, 1.0)] * 2),
        ("cifar-19pct", []),
    ],
)
def test_normalizations(name, norms):
    found = [layer for layer in NETWORKS[name].layers if isinstance(layer, Lrn | ResponseNorm)]
    assert [type(layer) for layer in found] == [type(layer) for layer in norms]
    for layer, expected in zip(found, norms, strict=True):
        assert dataclasses.astuple(layer) == pytest.approx(dataclasses.astuple(expected))


@pytest.mark.parametrize(
    ("name", "names", "inverted"),
    [
        ("paper", ["dropout6", "dropout7"], False),
        ("original", ["dropout6", "dropout7"], False),
        ("caffenet", ["dropout6", "dropout7"], True),
        ("one-weird-trick", ["dropout5", "dropout6"], True),
        ("one-weird-trick-2014", ["dropout6", "dropout7"], False),
        ("one-tower", ["dropout6", "dropout7"], True),
        ("six-conv", ["dropout6", "dropout7"], False),
        ("cifar-11pct", [], False),
        ("digits", ["dropout6", "dropout7"], False),
    ],
)
def test_dropouts(name, names, inverted):
    network = NETWORKS[name]
    found = {
        label: layer
        for label, layer in zip(layer_names(network.layers), network.layers, strict=True)
        if isinstance(layer, Dropout)
    }
    assert list(found) == names
    assert all(layer == Dropout(0.5, inverted) for layer in found.values())


@pytest.mark.parametrize("name", ["paper", "original", "caffenet", "bvlc-alexnet", "digits"])
def test_towers_talk_in_conv3_and_the_dense_layers(name):
    assert groups_of(NETWORKS[name].layers) == [1, 2, 1, 2, 2, 1, 1, 1]


def test_relatives_differ_where_they_should():
    original, silent = NETWORKS["original"].layers, NETWORKS["no-talk"].layers
    assert groups_of(silent) == [1, 2, 2, 2, 2, 2, 2, 1]
    assert [layer.features for layer in parametric_layers(silent)] == [
        96, 320, 384, 384, 256, 8192, 4096, 1000,
    ]  # fmt: skip
    one, adaptive = NETWORKS["one-tower"].layers, NETWORKS["one-tower-adaptive"].layers
    assert [layer.features for layer in parametric_layers(one)] == [
        96, 256, 384, 384, 256, 4096, 4096, 1000,
    ]  # fmt: skip
    assert NETWORKS["one-tower"].towers == 1
    assert without(adaptive, AdaptiveAvgPool) == one
    half = NETWORKS["one-tower-half"].layers
    assert [layer.features for layer in parametric_layers(half)] == [
        48, 128, 192, 192, 256, 4096, 4096, 1000,
    ]  # fmt: skip
    assert all(layer.groups == 1 for layer in half if isinstance(layer, Conv | Lrn))
    assert NETWORKS["no-lrn"].layers == without(original, Lrn, ResponseNorm)
    pools = [layer for layer in NETWORKS["non-overlapping"].layers if isinstance(layer, MaxPool)]
    assert pools == [MaxPool(2, 2)] * 3
    relu, tanh = NETWORKS["figure1-relu"].layers, NETWORKS["figure1-tanh"].layers
    assert relu == NETWORKS["cifar-13pct"].layers
    assert {layer.kind for layer in tanh if isinstance(layer, Activation)} == {"tanh"}
    sigmoid = NETWORKS["figure1-sigmoid"].layers
    assert {layer.kind for layer in sigmoid if isinstance(layer, Activation)} == {"sigmoid"}
    assert without(relu, Activation) == without(tanh, Activation) == without(sigmoid, Activation)


@pytest.mark.parametrize("name", ["one-weird-trick", "one-tower-adaptive"])
def test_adaptive_networks_take_any_size_from_63(name):
    network = NETWORKS[name]
    for size in (63, 64, 100, 256):
        rows = summarize(network, size)
        assert {row.name: row.output_shape for row in rows}["pool5b"] == (6, 6, 256)
        assert sum(row.params for row in rows) == GOLDEN[name][0]
    rows = {row.name: row.output_shape[0] for row in summarize(network, 256)}
    assert [rows[name] for name in ("conv1", "pool1", "pool2", "pool5")] == [63, 31, 15, 7]
    with pytest.raises(InputError, match="'pool5'.*smallest that fits is 63x63"):
        summarize(network, 62)


@pytest.mark.parametrize(("size", "same"), [(224, True), (256, False)])
def test_adaptive_pooling_is_no_part_of_the_program_where_maps_are_6x6(size, same, key):
    def program(name):
        model = AlexNet(NETWORKS[name])
        images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        variables = jax.eval_shape(model.init, key, images)
        return jax.jit(model.apply).lower(variables, images).as_text()

    assert (program("one-tower") == program("one-tower-adaptive")) == same


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [("paper", 10, "conv1"), ("paper", 40, "pool5"), ("original", 8, "conv1")],
)
def test_impossible_sizes_name_the_layer_and_what_fits(name, size, layer):
    with pytest.raises(InputError) as caught:
        summarize(NETWORKS[name], size)
    message = str(caught.value)
    assert f"'{name}'" in message and f"'{layer}'" in message and f"{size}x{size}" in message
    fits = int(message.rsplit("x", 1)[1])
    summarize(NETWORKS[name], fits)
    with pytest.raises(InputError):
        summarize(NETWORKS[name], fits - 1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (jnp.zeros((2, 28, 28, 1)), r"\[batch, height, width, 3\], not \[2, 28, 28, 1\]"),
        (jnp.zeros((2, 28, 3)), r"\[batch, height, width, 3\], not \[2, 28, 3\]"),
        (jnp.zeros((2, 28, 28, 3), jnp.uint8), "should be float, not uint8: preprocess"),
    ],
)
def test_images_that_are_no_input_are_refused(images, message, key):
    with pytest.raises(InputError, match=message):
        AlexNet(NETWORKS["digits"]).init(key, images)


@every_network
def test_model_makes_the_summarized_parameters_and_shapes(name, key):
    network = NETWORKS[name]
    rows = summarize(network)
    images = jax.ShapeDtypeStruct((2, network.image_size, network.image_size, 3), jnp.float32)
    logits, variables = jax.eval_shape(AlexNet(network).init_with_output, key, images)
    sizes = {
        layer: {leaf: math.prod(array.shape) for leaf, array in leaves.items()}
        for layer, leaves in variables["params"].items()
    }
    assert sizes == {
        row.name: {"kernel": row.weights, "bias": row.biases} for row in rows if row.params
    }
    assert logits.shape == (2, network.classes)
    table = summary(network)
    assert table.params == count_params(variables["params"])
    kernels = {layer: leaves["kernel"].shape for layer, leaves in variables["params"].items()}
    assert kernels == {row.layer: row.kernel_shape for row in table.rows if row.params}


@pytest.mark.parametrize("name", ["digits", "cifar-18pct", "one-weird-trick"])
def test_captured_outputs_have_the_summarized_shapes(name, key):
    """Together these have every kind of layer except `Local`, whose shape the totals prove."""
    network = NETWORKS[name]
    model = AlexNet(network)
    images = jax.ShapeDtypeStruct((2, network.image_size, network.image_size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, key, images)
    shapes = {
        row.name: jax.eval_shape(
            functools.partial(model.apply, capture=row.name), variables, images
        ).shape
        for row in summarize(network)
    }
    assert shapes == {row.name: (2, *row.output_shape) for row in summarize(network)}


def test_initial_parameters_have_the_stated_spread(key):
    network = NETWORKS["digits"]
    params = initial(network, network.image_size, key)
    for layer in parametric_layers(network.layers):
        assert layer.weight_std is not None
        kernel = np.asarray(params[layer.name]["kernel"])
        tolerance = 4 / math.sqrt(2 * kernel.size)  # four standard errors of a deviation
        assert kernel.std() == pytest.approx(layer.weight_std, rel=tolerance)
        assert abs(kernel.mean()) < 4 * layer.weight_std / math.sqrt(kernel.size)
        np.testing.assert_array_equal(params[layer.name]["bias"], np.float32(layer.bias))


def test_default_initialization_of_pytorch_is_uniform_within_fan_in(key):
    first = NETWORKS["one-weird-trick"].layers[0]
    assert isinstance(first, Conv)
    layers = (first, Flatten(), Dense("fc2", 32, weight_std=None))
    params = initial(Network("test", layers, 15, "test"), 15, key)  # 3 x 3 x 64
    for name, fan_in in (("conv1", 363), ("fc2", 576)):
        bound = 1 / math.sqrt(fan_in)
        for leaf in ("kernel", "bias"):
            values = np.asarray(params[name][leaf])
            assert 0.75 * bound < np.abs(values).max() <= bound
        deviation = np.asarray(params[name]["kernel"]).std()
        assert deviation == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_towers_that_never_talk_stay_apart_until_the_classifier(key, few_optimizations):
    """Tower b's first filters must not reach tower a's half of any layer before fc8."""
    network = NETWORKS["no-talk"]
    small = {
        "conv1": 4, "conv2": 4, "conv3": 4, "conv4": 4, "conv5": 4, "fc6": 6, "fc7": 6, "fc8": 3,
    }  # fmt: skip
    layers = with_changes(with_features(network.layers, small), Conv, weight_std=0.1)
    layers = with_changes(layers, Dense, weight_std=1.0)
    network = dataclasses.replace(network, layers=layers)
    params = initial(network, 84, key)
    kernel = params["conv1"]["kernel"].at[..., 2:].multiply(-2.0)
    changed = {**params, "conv1": {**params["conv1"], "kernel": kernel}}
    images = jax.random.normal(key, (1, 84, 84, 3)) * 50  # 2 x 2 pixels reach fc6
    model = AlexNet(network)

    @jax.jit
    def outputs(params):
        variables = {"params": params}
        return model.apply(variables, images, capture="fc7"), model.apply(variables, images)

    (before, logits), (after, changed_logits) = outputs(params), outputs(changed)
    np.testing.assert_allclose(before[:, :3], after[:, :3], rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(before - after))[:, 3:].max() > 0.01
    assert np.abs(np.asarray(logits - changed_logits)).max() > 0.01
