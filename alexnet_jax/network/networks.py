"""Every network as a tuple of layer specs, read from the image down to the logits.

Comments give the output of each block, `height x width x channels`. Networks that differ from
another in a few places are written as edits of its layers. Parameter counts are golden values of
`tests/network/test_networks.py`: a network without them fails the suite.

2012 files are those of computerhistory/AlexNet-Source-Code; there a layer `conv1` is the pair
`conv1a` and `conv1b`, one on each GPU, which here are the two groups of one layer.
"""

from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.network.layers import (
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Local,
    Lrn,
    MaxPool,
    Network,
    ResponseNorm,
    with_changes,
    with_features,
    with_named,
    without,
)

# The network as the paper prints it: alpha of §3.3 undivided, 0.01 for every weight (§5), the
# order of §3.5. Where that stalls, see `original`, which is what ran.
_PAPER: tuple[Layer, ...] = (  # 224 x 224 x 3
    Conv("conv1", 96, 11, stride=4),  # 55 x 55 x 96; the 55th window overhangs by 3 pixels
    Activation(),  # §3.1
    Lrn(groups=2),  # §3.3; sums within a tower's 48 channels
    MaxPool(),  # §3.4; 27 x 27 x 96
    Conv("conv2", 256, 5, padding=2, groups=2, bias=1),  # 27 x 27 x 256; sees its own tower only
    Activation(),
    Lrn(groups=2),
    MaxPool(),  # 13 x 13 x 256
    Conv("conv3", 384, 3, padding=1),  # 13 x 13 x 384; sees both towers
    Activation(),
    Conv("conv4", 384, 3, padding=1, groups=2, bias=1),  # 13 x 13 x 384
    Activation(),
    Conv("conv5", 256, 3, padding=1, groups=2, bias=1),  # 13 x 13 x 256
    Activation(),
    MaxPool(),  # 6 x 6 x 256
    Flatten(),  # 9216
    Dense("fc6", 4096, bias=1),
    Activation(),
    Dropout(),  # §4.2
    Dense("fc7", 4096, bias=1),
    Activation(),
    Dropout(),
    Dense("fc8", 1000),
)

# The network that ran: run 145. Block 1 normalizes the signed responses and rectifies after
# pooling; block 2 has a second, spatial normalization; conv3 to conv5 start three times larger.
_LRN_2012 = Lrn(alpha=1e-4 / 5, groups=2)  # the 2012 parser divides the scale by the window size
_ORIGINAL: tuple[Layer, ...] = (  # 224 x 224 x 3
    Conv("conv1", 96, 11, stride=4),  # 55 x 55 x 96
    _LRN_2012,
    MaxPool(),  # 27 x 27 x 96
    Activation(),
    Conv("conv2", 256, 5, padding=2, groups=2, bias=1),  # 27 x 27 x 256
    Activation(),
    _LRN_2012,
    ResponseNorm(),  # 5 x 5 window in each map; not in the paper
    MaxPool(),  # 13 x 13 x 256
    Conv("conv3", 384, 3, padding=1, weight_std=0.03),  # 13 x 13 x 384
    Activation(),
    Conv("conv4", 384, 3, padding=1, groups=2, weight_std=0.03, bias=1),  # 13 x 13 x 384
    Activation(),
    Conv("conv5", 256, 3, padding=1, groups=2, weight_std=0.03, bias=1),  # 13 x 13 x 256
    MaxPool(),  # 6 x 6 x 256
    Activation(),  # the same as before pooling: max and ReLU commute
    Flatten(),  # 9216
    Dense("fc6", 4096, bias=1),
    Activation(),
    Dropout(),
    Dense("fc7", 4096, bias=1),
    Activation(),
    Dropout(),
    Dense("fc8", 1000),
)

# Caffe's two replicas: k = 1, normalization across all channels, inverted dropout, 227 pixels.
_LRN_CAFFE = Lrn(alpha=1e-4 / 5, bias=1.0)
_CAFFENET: tuple[Layer, ...] = (  # 227 x 227 x 3
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

_BVLC_ALEXNET: tuple[Layer, ...] = (  # 227 x 227 x 3
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

# The single tower of "One weird trick for parallelizing convolutional neural networks" (2014):
# as torchvision has it, and as cuda-convnet2 has it.
_ONE_WEIRD_TRICK: tuple[Layer, ...] = (  # 224 x 224 x 3
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

_ONE_WEIRD_TRICK_2014: tuple[Layer, ...] = (  # 224 x 224 x 3
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
_ONE_TOWER: tuple[Layer, ...] = (  # 224 x 224 x 3
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
_BEFORE_DENSE = _ONE_TOWER.index(Flatten())
_ONE_TOWER_ADAPTIVE: tuple[Layer, ...] = (
    *_ONE_TOWER[:_BEFORE_DENSE],
    AdaptiveAvgPool(6),  # 6 x 6 x 256 at any image size from 63; at 224 it changes nothing
    *_ONE_TOWER[_BEFORE_DENSE:],
)

# The paper's ablations and its larger networks, as edits of the network that ran.
_ONE_TOWER_HALF = with_features(  # conv5 and the dense layers keep their widths (paper §3.2)
    with_changes(with_changes(_ORIGINAL, Conv, groups=1), Lrn, groups=1),
    {"conv1": 48, "conv2": 128, "conv3": 192, "conv4": 192},
)

_NON_OVERLAPPING = with_named(  # paddings changed to keep 13 x 13 and 6 x 6:
    with_named(  # 55 -> 28 -> 26 -> 13 -> 13 -> 13 -> 11 -> 6
        with_changes(_ORIGINAL, MaxPool, window=2), "conv2", padding=1
    ),
    "conv5",
    padding=0,
)

_NO_TALK = with_features(  # the towers meet in fc8 only; wider, to keep the number of parameters
    with_changes(_ORIGINAL, Flatten, groups=2),  # tower by tower, so that fc6's halves find theirs
    {"conv2": 320, "fc6": 8192},
)
for _name in ("conv3", "fc6", "fc7"):
    _NO_TALK = with_named(_NO_TALK, _name, groups=2)

# Run 146. Its dense layers keep their names although a convolution more lies before them: that is
# how weights were handed from run to run (2012 file `initw.py`).
_SIX_CONV: tuple[Layer, ...] = (
    *_ORIGINAL[: _ORIGINAL.index(Flatten())],  # 6 x 6 x 256
    Conv("conv6", 256, 3, padding=1, weight_std=0.03, bias=1),  # 6 x 6 x 256; sees both towers
    Activation(),
    Flatten(),  # 9216
    Dense("fc6", 4096, bias=1),
    Activation(),
    Dropout(),
    Dense("fc7", 4096, bias=1),
    Activation(),
    Dropout(),
    Dense("fc8", 1000),
)
_SIX_CONV_2011: tuple[Layer, ...] = (
    *_SIX_CONV[:-1],  # 4096
    Dense("bottleneck", 2048),  # linear: 2048 x 21,843 instead of 4096 x 21,843 weights
    Dense("fc8", 21_843),
)

# CIFAR-10. The 2012 files call the classifier fc10 for its ten outputs; here digits give the depth.
_CIFAR_13PCT: tuple[Layer, ...] = (  # 24 x 24 x 3 or 32 x 32 x 3
    Conv("conv1", 64, 5, padding=2, weight_std=1e-4),  # 24 or 32
    Activation(),
    MaxPool(),  # 12 or 16: the last window overhangs
    Conv("conv2", 64, 5, padding=2),
    Activation(),
    MaxPool(),  # 6 x 6 x 64 or 8 x 8 x 64
    Local("local3", 32, 3, padding=1, weight_std=0.04),  # 6 x 6 x 32
    Activation(),
    Local("local4", 32, 3, padding=1, weight_std=0.04),  # 6 x 6 x 32
    Activation(),
    Flatten(),  # 1152 or 2048
    Dense("fc5", 10),
)

_LRN_CIFAR = Lrn(depth=9, alpha=1e-3 / 9, bias=1.0)
_CIFAR_11PCT: tuple[Layer, ...] = (  # 24 x 24 x 3 or 32 x 32 x 3
    Conv("conv1", 64, 5, padding=2, weight_std=1e-4),  # 24 or 32
    Activation(),
    MaxPool(),  # 12 or 16
    _LRN_CIFAR,  # after pooling here, before it in block 2
    Conv("conv2", 64, 5, padding=2),
    Activation(),
    _LRN_CIFAR,
    MaxPool(),  # 6 x 6 x 64 or 8 x 8 x 64
    Local("local3", 64, 3, padding=1, weight_std=0.04),  # 6 x 6 x 64; twice that of 13 %
    Activation(),
    Local("local4", 32, 3, padding=1, weight_std=0.04),  # 6 x 6 x 32
    Activation(),
    Flatten(),  # 1152 or 2048
    Dense("fc5", 10),
)

_RNORM_CIFAR = ResponseNorm(window=3, alpha=5e-5 / 9)
_CIFAR_18PCT: tuple[Layer, ...] = (  # 32 x 32 x 3
    Conv("conv1", 32, 5, padding=2, weight_std=1e-4),  # 32 x 32 x 32
    MaxPool(),  # 16 x 16 x 32
    Activation(),
    _RNORM_CIFAR,
    Conv("conv2", 32, 5, padding=2),  # 16 x 16 x 32
    Activation(),  # before averaging, which it does not commute with
    AvgPool(),  # 8 x 8 x 32
    _RNORM_CIFAR,
    Conv("conv3", 64, 5, padding=2),  # 8 x 8 x 64
    Activation(),
    AvgPool(),  # 4 x 4 x 64
    Flatten(),  # 1024
    Dense("fc4", 10),
)
_CIFAR_19PCT = without(_CIFAR_18PCT, ResponseNorm)
_CIFAR_80SEC: tuple[Layer, ...] = (
    *_CIFAR_19PCT[:-1],  # 1024
    Dense("fc4", 64, weight_std=0.1),
    Activation(),
    Dense("fc5", 10, weight_std=0.1),
)

# The paper's network in small, for 28 x 28 crops of handwritten digits enlarged to 32 x 32: a
# quarter of its filters, 1/16 of its dense units, the same groups, order and overhanging window.
# Deviation: weights start near sqrt(2 / fan_in) (twice that variance behind a dropout), because
# with 0.01 everywhere so narrow a network passes no signal on to its output. This suits inputs
# divided by their standard deviation.
_DIGITS: tuple[Layer, ...] = (  # 28 x 28 x 3
    Conv("conv1", 24, 7, stride=2, weight_std=0.1),  # 12 x 12 x 24; overhangs by 1 pixel
    Activation(),
    Lrn(groups=2),
    MaxPool(),  # 6 x 6 x 24
    Conv("conv2", 64, 5, padding=2, groups=2, weight_std=0.08, bias=0.1),  # 6 x 6 x 64
    Activation(),
    Lrn(groups=2),
    MaxPool(),  # 3 x 3 x 64
    Conv("conv3", 96, 3, padding=1, weight_std=0.06),  # 3 x 3 x 96
    Activation(),
    Conv("conv4", 96, 3, padding=1, groups=2, weight_std=0.07, bias=0.1),  # 3 x 3 x 96
    Activation(),
    Conv("conv5", 64, 3, padding=1, groups=2, weight_std=0.07, bias=0.1),  # 3 x 3 x 64
    Activation(),
    MaxPool(),  # 1 x 1 x 64
    Flatten(),  # 64
    Dense("fc6", 256, weight_std=0.18, bias=0.1),
    Activation(),
    Dropout(),
    Dense("fc7", 256, weight_std=0.12, bias=0.1),
    Activation(),
    Dropout(),
    Dense("fc8", 10, weight_std=0.05),
)

# The paper's network for CIFAR-10, as courses have it built: crops of 28 of 32 pixels (224 of 256
# there), a third of the filters, an eighth of the dense units. A stride of 1 keeps the maps' sizes
# in step with the paper's: 24, 12, 6 and 3 for 55, 27, 13 and 6.
_CIFAR_ALEXNET: tuple[Layer, ...] = (  # 28 x 28 x 3
    Conv("conv1", 32, 5, weight_std=0.15),  # 24 x 24 x 32
    Activation(),
    Lrn(groups=2),
    MaxPool(),  # 12 x 12 x 32
    Conv("conv2", 96, 5, padding=2, groups=2, weight_std=0.07, bias=0.1),  # 12 x 12 x 96
    Activation(),
    Lrn(groups=2),
    MaxPool(),  # 6 x 6 x 96
    Conv("conv3", 128, 3, padding=1, weight_std=0.05),  # 6 x 6 x 128
    Activation(),
    Conv("conv4", 128, 3, padding=1, groups=2, weight_std=0.06, bias=0.1),  # 6 x 6 x 128
    Activation(),
    Conv("conv5", 96, 3, padding=1, groups=2, weight_std=0.06, bias=0.1),  # 6 x 6 x 96
    Activation(),
    MaxPool(),  # 3 x 3 x 96
    Flatten(),  # 864
    Dense("fc6", 512, weight_std=0.05, bias=0.1),
    Activation(),
    Dropout(),
    Dense("fc7", 512, weight_std=0.09, bias=0.1),
    Activation(),
    Dropout(),
    Dense("fc8", 10, weight_std=0.05),
)

# The paper's network for ablations in minutes: a sixth of its filters, and maps whose sizes fall
# as there (224: 55, 27, 13, 6). The weights begin as the paper's networks' signal does.
_MINIATURE: tuple[Layer, ...] = (  # 24 x 24 x 3
    Conv("conv1", 16, 5, weight_std=0.15),  # 20 x 20 x 16
    Activation(),
    Lrn(groups=2),
    MaxPool(),  # 10 x 10 x 16
    Conv("conv2", 48, 5, padding=2, groups=2, weight_std=0.1, bias=0.1),  # 10 x 10 x 48
    Activation(),
    Lrn(groups=2),
    MaxPool(),  # 5 x 5 x 48
    Conv("conv3", 64, 3, padding=1, weight_std=0.07),  # 5 x 5 x 64
    Activation(),
    Conv("conv4", 64, 3, padding=1, groups=2, weight_std=0.08, bias=0.1),  # 5 x 5 x 64
    Activation(),
    Conv("conv5", 48, 3, padding=1, groups=2, weight_std=0.08, bias=0.1),  # 5 x 5 x 48
    Activation(),
    MaxPool(),  # 2 x 2 x 48
    Flatten(),  # 192
    Dense("fc6", 192, weight_std=0.1, bias=0.1),
    Activation(),
    Dropout(),
    Dense("fc7", 192, weight_std=0.14, bias=0.1),
    Activation(),
    Dropout(),
    Dense("fc8", 10, weight_std=0.06),
)

_FIGURE1 = "paper §3.1, figure 1, which does not identify its network; here the 13 % topology"
_DEFINITIONS: tuple[tuple[str, tuple[Layer, ...], int, str], ...] = (
    ("paper", _PAPER, 224, "paper §3.5, constants of §3.3 and §5 as printed"),
    ("original", _ORIGINAL, 224, "2012 file layers/layers-145.cfg"),
    ("caffenet", _CAFFENET, 227, "BVLC/caffe models/bvlc_reference_caffenet"),
    ("bvlc-alexnet", _BVLC_ALEXNET, 227, "BVLC/caffe models/bvlc_alexnet"),
    ("one-weird-trick", _ONE_WEIRD_TRICK, 224, "pytorch/vision torchvision/models/alexnet.py"),
    (
        "one-weird-trick-2014",
        _ONE_WEIRD_TRICK_2014,
        224,
        "akrizhevsky/cuda-convnet2 layers/layers-imagenet-1gpu.cfg",
    ),
    ("one-tower", _ONE_TOWER, 224, "what courses draw: one GPU, no groups"),
    (
        "one-tower-adaptive",
        _ONE_TOWER_ADAPTIVE,
        224,
        "what courses draw: one GPU, no groups; any image size",
    ),
    ("one-tower-half", _ONE_TOWER_HALF, 224, "paper §3.2; 2012 file layers/layers-145-half.cfg"),
    ("non-overlapping", _NON_OVERLAPPING, 224, "paper §3.4; 2012 file layers/layers-147.cfg"),
    ("no-lrn", without(_ORIGINAL, Lrn, ResponseNorm), 224, "paper §3.3; 2012 file layers-148.cfg"),
    ("no-talk", _NO_TALK, 224, "2012 file layers/layers-150.cfg"),
    ("six-conv", _SIX_CONV, 224, "paper §6; 2012 file layers/layers-146-2009.cfg, 1000 classes"),
    (
        "six-conv-2009",
        with_features(_SIX_CONV, {"fc8": 10_184}),
        224,
        "paper §6; 2012 file layers/layers-146-2009.cfg",
    ),
    ("six-conv-2011", _SIX_CONV_2011, 224, "paper §6; 2012 file layers/layers-146-2011.cfg"),
    ("cifar-13pct", _CIFAR_13PCT, 24, "2012 file layers-cifar/layers-conv-local-13pct.cfg"),
    ("cifar-11pct", _CIFAR_11PCT, 24, "paper §3.3; cuda-convnet layers-conv-local-11pct.cfg"),
    ("cifar-18pct", _CIFAR_18PCT, 32, "2012 file layers-cifar/layers-18pct.cfg"),
    ("cifar-19pct", _CIFAR_19PCT, 32, "cuda-convnet example-layers/layers-19pct.cfg"),
    ("cifar-80sec", _CIFAR_80SEC, 32, "cuda-convnet example-layers/layers-80sec.cfg"),
    ("figure1-relu", _CIFAR_13PCT, 32, _FIGURE1),
    ("figure1-tanh", with_changes(_CIFAR_13PCT, Activation, kind="tanh"), 32, _FIGURE1),
    ("figure1-sigmoid", with_changes(_CIFAR_13PCT, Activation, kind="sigmoid"), 32, _FIGURE1),
    ("cifar-alexnet", _CIFAR_ALEXNET, 28, "this project: the paper's eight layers for CIFAR-10"),
    (
        "cifar-alexnet-one-tower",
        with_changes(with_changes(_CIFAR_ALEXNET, Conv, groups=1), Lrn, groups=1),
        28,
        "this project: the same without towers, so with more weights",
    ),
    ("miniature", _MINIATURE, 24, "this project: the paper's network in small, for ablations"),
    ("digits", _DIGITS, 28, "this project: the paper's network in small, for 8x8 digits enlarged"),
)

NETWORKS: dict[str, Network] = {
    name: Network(name, layers, image_size, source)
    for name, layers, image_size, source in _DEFINITIONS
}
"""Every network by name; `with_classes` fits one to a data set."""


def find_network(name: str, classes: int = 0) -> Network:
    """Returns a network by name, with so many classes; 0: its own number.

    Raises:
      InputError: there is none of that name, or the number of classes is impossible.
    """
    if name not in NETWORKS:
        raise InputError(
            f"unknown network '{name}'.{did_you_mean(name, NETWORKS)} Known: {', '.join(NETWORKS)}"
        )
    return NETWORKS[name].with_classes(classes) if classes else NETWORKS[name]
