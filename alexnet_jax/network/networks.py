"""Every network as a tuple of layer specs, read from the image down to the logits.

Comments give the output of each block, `height x width x channels`. A network needs its parameter
counts in `tests/network/test_networks.py`. 2012 files are those of
computerhistory/AlexNet-Source-Code; there a layer `conv1` is the pair `conv1a` and `conv1b`, one on
each GPU, here the two groups of one layer.
"""

from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.network.descendants import (
    BVLC_ALEXNET,
    BVLC_ALEXNET_224,
    CAFFENET,
    CAFFENET_224,
    DARKNET_ALEXNET,
    KERAS_ALEXNET,
    ONE_TOWER,
    ONE_TOWER_ADAPTIVE,
    ONE_WEIRD_TRICK,
    ONE_WEIRD_TRICK_2014,
)
from alexnet_jax.network.layers import (
    Activation,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Lrn,
    MaxPool,
    Network,
    ResponseNorm,
    with_changes,
    with_features,
    with_named,
    without,
)
from alexnet_jax.network.small_networks import (
    CIFAR_11PCT,
    CIFAR_13PCT,
    CIFAR_18PCT,
    CIFAR_19PCT,
    CIFAR_80SEC,
    CIFAR_ALEXNET,
    DIGITS,
    MINIATURE,
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

_FIGURE1 = "paper §3.1, figure 1, which does not identify its network; here the 13 % topology"
_DEFINITIONS: tuple[tuple[str, tuple[Layer, ...], int, str], ...] = (
    ("paper", _PAPER, 224, "paper §3.5, constants of §3.3 and §5 as printed"),
    ("original", _ORIGINAL, 224, "2012 file layers/layers-145.cfg"),
    ("caffenet", CAFFENET, 227, "BVLC/caffe models/bvlc_reference_caffenet"),
    ("bvlc-alexnet", BVLC_ALEXNET, 227, "BVLC/caffe models/bvlc_alexnet"),
    ("caffenet-224", CAFFENET_224, 224, "onnx/models validated/vision/classification/caffenet"),
    (
        "bvlc-alexnet-224",
        BVLC_ALEXNET_224,
        224,
        "onnx/models validated/vision/classification/alexnet",
    ),
    ("one-weird-trick", ONE_WEIRD_TRICK, 224, "pytorch/vision torchvision/models/alexnet.py"),
    (
        "one-weird-trick-2014",
        ONE_WEIRD_TRICK_2014,
        224,
        "akrizhevsky/cuda-convnet2 layers/layers-imagenet-1gpu.cfg",
    ),
    ("one-tower", ONE_TOWER, 224, "what courses draw: one GPU, no groups"),
    (
        "one-tower-adaptive",
        ONE_TOWER_ADAPTIVE,
        224,
        "what courses draw: one GPU, no groups; any image size",
    ),
    ("keras-alexnet", KERAS_ALEXNET, 227, "heuritech/convnets-keras convnetskeras/convnets.py"),
    ("darknet-alexnet", DARKNET_ALEXNET, 227, "pjreddie/darknet cfg/alexnet.cfg"),
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
    ("cifar-13pct", CIFAR_13PCT, 24, "2012 file layers-cifar/layers-conv-local-13pct.cfg"),
    ("cifar-11pct", CIFAR_11PCT, 24, "paper §3.3; cuda-convnet layers-conv-local-11pct.cfg"),
    ("cifar-18pct", CIFAR_18PCT, 32, "2012 file layers-cifar/layers-18pct.cfg"),
    ("cifar-19pct", CIFAR_19PCT, 32, "cuda-convnet example-layers/layers-19pct.cfg"),
    ("cifar-80sec", CIFAR_80SEC, 32, "cuda-convnet example-layers/layers-80sec.cfg"),
    ("figure1-relu", CIFAR_13PCT, 32, _FIGURE1),
    ("figure1-tanh", with_changes(CIFAR_13PCT, Activation, kind="tanh"), 32, _FIGURE1),
    ("figure1-sigmoid", with_changes(CIFAR_13PCT, Activation, kind="sigmoid"), 32, _FIGURE1),
    ("cifar-alexnet", CIFAR_ALEXNET, 28, "this project: the paper's eight layers for CIFAR-10"),
    (
        "cifar-alexnet-one-tower",
        with_changes(with_changes(CIFAR_ALEXNET, Conv, groups=1), Lrn, groups=1),
        28,
        "this project: the same without towers, so with more weights",
    ),
    ("miniature", MINIATURE, 24, "this project: the paper's network in small, for ablations"),
    ("digits", DIGITS, 28, "this project: the paper's network in small, for 8x8 digits enlarged"),
)

NETWORKS: dict[str, Network] = {
    name: Network(name, layers, image_size, source)
    for name, layers, image_size, source in _DEFINITIONS
}
"""Every network by name; `with_classes` fits one to a data set."""


def find_network(name: str, classes: int = 0) -> Network:
    """`classes` 0: the network's own. Raises `InputError` for an unknown name or a bad number."""
    if name not in NETWORKS:
        raise InputError(
            f"unknown network '{name}'.{did_you_mean(name, NETWORKS)} Known: {', '.join(NETWORKS)}"
        )
    return NETWORKS[name].with_classes(classes) if classes else NETWORKS[name]
