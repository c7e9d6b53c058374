"""Networks for small images: CIFAR-10 as in 2012, and the paper's network in small."""

from alexnet_jax.network.layers import (
    Activation,
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Local,
    Lrn,
    MaxPool,
    ResponseNorm,
    without,
)

# CIFAR-10. The 2012 files call the classifier fc10 for its ten outputs; here digits give the depth.
CIFAR_13PCT: tuple[Layer, ...] = (  # 24 x 24 x 3 or 32 x 32 x 3
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
CIFAR_11PCT: tuple[Layer, ...] = (  # 24 x 24 x 3 or 32 x 32 x 3
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
CIFAR_18PCT: tuple[Layer, ...] = (  # 32 x 32 x 3
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
CIFAR_19PCT = without(CIFAR_18PCT, ResponseNorm)
CIFAR_80SEC: tuple[Layer, ...] = (
    *CIFAR_19PCT[:-1],  # 1024
    Dense("fc4", 64, weight_std=0.1),
    Activation(),
    Dense("fc5", 10, weight_std=0.1),
)

# The paper's network in small, for 28 x 28 crops of handwritten digits enlarged to 32 x 32: a
# quarter of its filters, 1/16 of its dense units, the same groups, order and overhanging window.
# Deviation: weights start near sqrt(2 / fan_in) (twice that variance behind a dropout), because
# with 0.01 everywhere so narrow a network passes no signal on to its output. This suits inputs
# divided by their standard deviation.
DIGITS: tuple[Layer, ...] = (  # 28 x 28 x 3
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
CIFAR_ALEXNET: tuple[Layer, ...] = (  # 28 x 28 x 3
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
MINIATURE: tuple[Layer, ...] = (  # 24 x 24 x 3
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
