"""A sequence of layers becomes the network that computes the same, or is refused by name."""

import numpy as np
import pytest
from sequences import narrow_sequence

from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import (
    Activation,
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Lrn,
    MaxPool,
)
from alexnet_jax.weights.readers.layer_sequence import SOFTMAX, FileLayer, match_layers


@pytest.fixture
def sequence(narrow_network):
    """Returns `make(name)`: a narrow network's size, layers as in a file, and parameters."""

    def make(name, **changes):
        return narrow_sequence(narrow_network, name, **changes)

    return make


@pytest.mark.parametrize("flattened", ["chw", "hwc"])
@pytest.mark.parametrize(
    "name", ["original", "caffenet", "one-weird-trick", "one-tower-half", "six-conv", "no-talk"]
)
def test_parameters_come_back_bit_for_bit(name, flattened, sequence, assert_same_params):
    size, layers, params = sequence(name, flattened=flattened)
    found = match_layers("a.x", layers, size, flattened=flattened)
    assert (found.network.name, found.image_size) == (name, size)
    assert_same_params(found.params, params)
    softmax = FileLayer("prob", SOFTMAX)
    assert match_layers("a.x", [*layers, softmax], size, flattened=flattened).network.name == name


def test_the_last_layer_gives_the_classes_and_conv1_turns_to_rgb(sequence):
    size, layers, params = sequence("caffenet", classes=7)
    found = match_layers("a.x", layers, size, is_bgr=True)
    assert found.network.classes == 7 and found.params["fc8"]["bias"].size == 7
    kernel = params["conv1"]["kernel"][:, :, ::-1]
    np.testing.assert_array_equal(found.params["conv1"]["kernel"], kernel)


def test_dropout_may_be_anywhere_but_its_scale_is_kept(sequence, assert_same_params):
    size, layers, params = sequence("caffenet")
    without = [item for item in layers if not isinstance(item.layer, Dropout)]
    assert_same_params(match_layers("a.x", without, size).params, params)
    scaling = [
        item._replace(layer=Dropout(0.25)) if isinstance(item.layer, Dropout) else item
        for item in layers
    ]
    found = match_layers("a.x", scaling, size).params
    for name in ("fc7", "fc8"):
        params[name]["kernel"] *= np.float32(0.75)
    assert_same_params(found, params)


def test_layers_that_change_nothing_may_be_there_or_not(sequence):
    size, layers, _ = sequence("one-weird-trick")
    assert match_layers("a.x", [layers[0], FileLayer("unit", AvgPool(1, 1)), *layers[1:]], size)
    kinds = [type(item.layer).__name__ for item in layers]
    place = kinds.index("AdaptiveAvgPool")
    without = [*layers[:place], *layers[place + 1 :]]
    with pytest.raises(InputError, match="flatten.*stands where pool5b .adaptive pool. is"):
        match_layers("a.x", without, size)  # two by two pixels: there it does something


def test_padding_is_compared_by_what_it_does(sequence):
    size, layers, _ = sequence("bvlc-alexnet")
    place = next(i for i, item in enumerate(layers) if isinstance(item.layer, MaxPool))

    def with_padding(*padding):
        pool = layers[place]._replace(layer=MaxPool(overhang=False), padding=padding)
        return [*layers[:place], pool, *layers[place + 1 :]]

    # 23 pixels: windows fit without any, and one more pixel makes none more.
    assert match_layers("a.x", with_padding(0, 1), size).network.name == "bvlc-alexnet"
    with pytest.raises(InputError, match="'pool1' makes 12 windows of 23 pixels, 0 of padding"):
        match_layers("a.x", with_padding(0, 2), size, "bvlc-alexnet")
    with pytest.raises(InputError, match="1 of padding before, but pool1 makes 11 with 0"):
        match_layers("a.x", with_padding(1, 0), size, "bvlc-alexnet")


def test_convolutions_alone_are_enough(sequence, assert_same_params):
    size, layers, params = sequence("caffenet")
    dense = next(i for i, item in enumerate(layers) if isinstance(item.layer, Dense))
    found = match_layers("a.x", layers[: dense - 2], size)
    assert found.network.name == "caffenet"
    assert_same_params(found.params, {k: v for k, v in params.items() if k.startswith("conv")})
    with pytest.raises(InputError, match="it ends before conv5 in the nearest network 'caffenet'"):
        match_layers("a.x", layers[:12], size)


CHANGES = {
    "another kind": ("norm1", "BatchNormalization", r"'norm1' \(BatchNormalization\) is no part"),
    "softmax within": ("relu1", SOFTMAX, "'relu1' .Softmax. is no part of an AlexNet"),
    "activation": ("relu1", Activation("tanh"), "has kind tanh, but relu1 has relu"),
    "k": ("norm1", Lrn(alpha=2e-5), "has k 2, but norm1 has 1"),
    "alpha": ("norm1", Lrn(alpha=1e-4, bias=1), "has alpha 0.0001, but norm1 has 2e-05"),
    "channels": ("norm1", Lrn(4, 2e-5, bias=1), "has depth 4, but norm1 has 5"),
    "average": ("pool1", AvgPool(), r"\(avg pool\) stands where pool1 \(max pool\) is"),
    "window": ("pool1", MaxPool(2), "has window 2, but pool1 has 3"),
    "filters": ("conv1", Conv("", 10, 11, 4), "has features 10, but conv1 has 8"),
    "groups": ("conv2", Conv("", 12, 5), "has groups 1, but conv2 has 2"),
    "width": ("fc6", Dense("", 10), "has features 10, but fc6 has 12"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_differs_is_named(change, sequence):
    size, layers, _ = sequence("bvlc-alexnet")
    name, layer, message = CHANGES[change]
    layers = [item._replace(layer=layer) if item.name == name else item for item in layers]
    with pytest.raises(InputError, match=message) as caught:
        match_layers("a.x", layers, size)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("a.x: ")
    if not isinstance(layer, str):
        assert "in the nearest network 'bvlc-alexnet'" in str(caught.value)


def test_two_orders_of_the_same_layers_are_two_networks(sequence):
    sequence("bvlc-alexnet")  # as narrow
    size, layers, _ = sequence("caffenet")
    assert match_layers("a.x", layers, size, "caffenet").network.name == "caffenet"
    with pytest.raises(InputError, match="'pool1' .* in network 'bvlc-alexnet'; name the right"):
        match_layers("a.x", layers, size, "bvlc-alexnet")
    more = [*layers, layers[-1]._replace(name="fc9")]
    with pytest.raises(InputError, match="layer 'fc9' follows the last one in the nearest"):
        match_layers("a.x", more, size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda item: item._replace(weights=None), "'conv2' has no weights"),
        (lambda item: item._replace(weights=item.weights[:-1]), r"has weights \[4, 5, 4, 12\]"),
        (lambda item: item._replace(bias=item.bias[:-1]), "and 11 biases, but"),
        (lambda item: item._replace(weights=item.weights * np.nan), "not finite"),
        (lambda item: item._replace(weights=item.weights.astype(int)), "type int64"),
    ],
)
def test_wrong_arrays_are_refused(change, message, sequence):
    size, layers, _ = sequence("caffenet")
    layers = [change(item) if item.name == "conv2" else item for item in layers]
    with pytest.raises(InputError, match=message):
        match_layers("a.x", layers, size)


def test_a_layer_without_biases_gets_zeros(sequence):
    size, layers, _ = sequence("caffenet")
    layers = [item._replace(bias=None) for item in layers]
    assert not any(
        leaves["bias"].any() for leaves in match_layers("a", layers, size).params.values()
    )


def test_a_size_that_fits_nothing_is_refused(sequence):
    _, layers, _ = sequence("caffenet")
    with pytest.raises(InputError, match="image of 9 pixels does not fit in network 'caffenet'"):
        match_layers("a.x", layers, 9, "caffenet")
