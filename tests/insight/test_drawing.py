"""The drawing of a network: every layer with its sizes, and lines where it reads both towers."""

import re
from xml.etree import ElementTree

import pytest

from alexnet_jax.insight.drawing import draw_network
from alexnet_jax.network.layers import parametric_layers
from alexnet_jax.network.networks import NETWORKS


def count(svg, word):
    return len(re.findall(f'class="{word}', svg))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_of_every_network_is_drawn(name):
    network = NETWORKS[name]
    svg = draw_network(network)
    ElementTree.fromstring(svg)
    layers = [layer.name for layer in parametric_layers(network.layers)]
    assert re.findall(r'class="layer"[^>]*>([^<]*)', svg) == ["image", *layers]
    boxes = 2 + network.towers * (len(layers) - 1)  # the image and the classifier lie alone
    assert count(svg, "box") == boxes


def test_the_papers_network_is_its_figure_2():
    svg = draw_network(NETWORKS["paper"])
    assert count(svg, "cross") == 2 * 3  # conv3, fc6 and fc7 read both towers
    for text in (
        "11 × 11, stride 4",
        "2 × 48 maps",
        "of 55 × 55",
        "2 × 192 maps",
        "2 × 2,048 units",
    ):
        assert text in svg
    assert "1,000 units" in svg
    assert count(draw_network(NETWORKS["no-talk"]), "cross") == 0
    assert count(draw_network(NETWORKS["one-weird-trick"]), "cross") == 0


def test_another_image_gives_other_maps():
    assert "of 63 × 63" in draw_network(NETWORKS["one-weird-trick"], 256)
