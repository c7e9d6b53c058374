"""What came after the paper: the networks of Caffe, of later papers, and of courses."""

from alexnet_jax.network.layers import (
    Activation,
    AdaptiveAvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Lrn,
    MaxPool,
    with_changes,
    with_named,
    without,
)

# Caffe's two replicas: k = 1, normalization across all channels, inverted dropout, 227 pixels.
_LRN_CAFFE = Lrn(alpha=1e-4 / 5, bias=1.0)
CAFFENET: tuple[Layer, ...] = (  # 227 x 227 x 3
    Conv("conv1", 96, 11, stride=4, overhang=False),  # 55 x 55 x 96
    Activation(),
    MaxPool(),  # 27 x 27 x 96; pooling before normalization saves time
    _LRN_CAFFE,
    Conv("conv2", 256, 5, padding=2, groups=2, bias=1, overhang=False),  # 27 x 27 x 256
    Activation(),
    MaxPool(),  # 13 x 13 x 256
    _LRN_CAFFE,
    Conv("conv3", 384, 3, padding=1, overhang=False),  # 13 x 13 x 384
    Activation(),
    Conv("conv4", 384, 3, padding=1, groups=2, bias=1, overhang=False),  # 13 x 13 x 384
    Activation(),
    Conv("conv5", 256, 3, padding=1, groups=2, bias=1, overhang=False),  # 13 x 13 x 256
    Activation(),
    MaxPool(),  # 6 x 6 x 256
    Flatten(),  # 9216
    Dense("fc6", 4096, weight_std=0.005, bias=1),
    Activation(),
    Dropout(inverted=True),
    Dense("fc7", 4096, weight_std=0.005, bias=1),
    Activation(),
    Dropout(inverted=True),
    Dense("fc8", 1000),
)

BVLC_ALEXNET: tuple[Layer, ...] = (  # 227 x 227 x 3
    Conv("conv1", 96, 11, stride=4, overhang=False),  # 55 x 55 x 96
    Activation(),
    _LRN_CAFFE,
    MaxPool(),  # 27 x 27 x 96
    Conv("conv2", 256, 5, padding=2, groups=2, bias=0.1, overhang=False),  # 27 x 27 x 256
    Activation(),
    _LRN_CAFFE,
    MaxPool(),  # 13 x 13 x 256
    Conv("conv3", 384, 3, padding=1, overhang=False),  # 13 x 13 x 384
    Activation(),
    Conv("conv4", 384, 3, padding=1, groups=2, bias=0.1, overhang=False),  # 13 x 13 x 384
    Activation(),
    Conv("conv5", 256, 3, padding=1, groups=2, bias=0.1, overhang=False),  # 13 x 13 x 256
    Activation(),
    MaxPool(),  # 6 x 6 x 256
    Flatten(),  # 9216
    Dense("fc6", 4096, weight_std=0.005, bias=0.1),
    Activation(),
    Dropout(inverted=True),
    Dense("fc7", 4096, weight_std=0.005, bias=0.1),
    Activation(),
    Dropout(inverted=True),
    Dense("fc8", 1000),
)


def _at_224(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """As ONNX's model zoo has Caffe's: 54 x 54, 26 x 26, 12 x 12, and only pool5 overhangs."""
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, MaxPool)]
    return tuple(MaxPool(overhang=False) if i in pools[:-1] else x for i, x in enumerate(layers))


CAFFENET_224, BVLC_ALEXNET_224 = _at_224(CAFFENET), _at_224(BVLC_ALEXNET)

# The single tower of "One weird trick for parallelizing convolutional neural networks" (2014):
# as torchvision has it, and as cuda-convnet2 has it.
ONE_WEIRD_TRICK: tuple[Layer, ...] = (  # 224 x 224 x 3
    Conv("conv1", 64, 11, stride=4, padding=2, weight_std=None, overhang=False),  # 55 x 55 x 64
    Activation(),
    MaxPool(overhang=False),  # 27 x 27 x 64
    Conv("conv2", 192, 5, padding=2, weight_std=None, overhang=False),  # 27 x 27 x 192
    Activation(),
    MaxPool(overhang=False),  # 13 x 13 x 192
    Conv("conv3", 384, 3, padding=1, weight_std=None, overhang=False),  # 13 x 13 x 384
    Activation(),
    Conv("conv4", 256, 3, padding=1, weight_std=None, overhang=False),  # 13 x 13 x 256
    Activation(),
    Conv("conv5", 256, 3, padding=1, weight_std=None, overhang=False),  # 13 x 13 x 256
    Activation(),
    MaxPool(overhang=False),  # 6 x 6 x 256
    AdaptiveAvgPool(6),  # 6 x 6 x 256 at any image size from 63
    Flatten(),  # 9216
    Dropout(inverted=True),  # before fc6 and fc7, not after them
    Dense("fc6", 4096, weight_std=None),
    Activation(),
    Dropout(inverted=True),
    Dense("fc7", 4096, weight_std=None),
    Activation(),
    Dense("fc8", 1000, weight_std=None),
)

ONE_WEIRD_TRICK_2014: tuple[Layer, ...] = (  # 224 x 224 x 3
    Conv("conv1", 64, 11, stride=4),  # 55 x 55 x 64
    Lrn(alpha=1e-4 / 5),
    MaxPool(),  # 27 x 27 x 64
    Activation(),
    Conv("conv2", 192, 5, padding=2, bias=1),  # 27 x 27 x 192
    Activation(),
    Lrn(alpha=1e-4 / 5),
    MaxPool(),  # 13 x 13 x 192
    Conv("conv3", 384, 3, padding=1, weight_std=0.03),  # 13 x 13 x 384
    Activation(),
    Conv("conv4", 256, 3, padding=1, weight_std=0.03, bias=1),  # 13 x 13 x 256
    Activation(),
    Conv("conv5", 256, 3, padding=1, weight_std=0.03, bias=1),  # 13 x 13 x 256
    MaxPool(),  # 6 x 6 x 256
    Activation(),
    Flatten(),  # 9216
    Dense("fc6", 4096, bias=1),
    Activation(),
    Dropout(),
    Dense("fc7", 4096, bias=1),
    Activation(),
    Dropout(),
    Dense("fc8", 1000, bias=-7),  # equal biases cancel in the softmax; helps sigmoids only
)

# What most courses draw: the paper's filters on one GPU, without groups, in PyTorch's layers and
# with their initial weights, for a drawing has none. Drawings disagree on the order of
# normalization and pooling. Here it is that of the paper (§3.5), which most programs of courses
# have; lecture notes that show pooling first follow `caffenet`. Drawings of 227 pixels do not pad
# conv1.
ONE_TOWER: tuple[Layer, ...] = (  # 224 x 224 x 3
    Conv("conv1", 96, 11, stride=4, padding=2, weight_std=None, overhang=False),  # 55 x 55 x 96
    Activation(),
    Lrn(alpha=1e-4 / 5),  # PyTorch divides the scale by the window size, too
    MaxPool(overhang=False),  # 27 x 27 x 96
    Conv("conv2", 256, 5, padding=2, weight_std=None, overhang=False),  # 27 x 27 x 256
    Activation(),
    Lrn(alpha=1e-4 / 5),
    MaxPool(overhang=False),  # 13 x 13 x 256
    Conv("conv3", 384, 3, padding=1, weight_std=None, overhang=False),  # 13 x 13 x 384
    Activation(),
    Conv("conv4", 384, 3, padding=1, weight_std=None, overhang=False),  # 13 x 13 x 384
    Activation(),
    Conv("conv5", 256, 3, padding=1, weight_std=None, overhang=False),  # 13 x 13 x 256
    Activation(),
    MaxPool(overhang=False),  # 6 x 6 x 256
    Flatten(),  # 9216
    Dense("fc6", 4096, weight_std=None),
    Activation(),
    Dropout(inverted=True),
    Dense("fc7", 4096, weight_std=None),
    Activation(),
    Dropout(inverted=True),
    Dense("fc8", 1000, weight_std=None),
)
_BEFORE_DENSE = ONE_TOWER.index(Flatten())
ONE_TOWER_ADAPTIVE: tuple[Layer, ...] = (
    *ONE_TOWER[:_BEFORE_DENSE],
    AdaptiveAvgPool(6),  # 6 x 6 x 256 at any image size from 63; at 224 it changes nothing
    *ONE_TOWER[_BEFORE_DENSE:],
)

# What files of Keras and Darknet hold (`weights/readers`), as edits of the above.
KERAS_ALEXNET = with_changes(CAFFENET, Lrn, alpha=1e-4, bias=2.0)  # the paper's, undivided
DARKNET_ALEXNET = with_named(without(ONE_TOWER, Lrn), "conv1", padding=0)  # 227 x 227 x 3
