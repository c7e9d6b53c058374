"""Named experiments, as configurations; `preset_notes` has source, command and score of each."""

from alexnet_jax.appearance import AS_STORED
from alexnet_jax.config import (
    AUTO,
    AugmentConfig,
    Config,
    DataConfig,
    OptimizerConfig,
    Phase,
    PreprocessConfig,
    ScheduleConfig,
    TransferConfig,
)

# The logged schedules. The logs have the rates of the weights only. Those of the biases are in the
# files, as they were at the end: most still have their first value, which nobody changed. Where a
# file ends with another value (0.002 in 145-2010, and that of conv6), no log has its time: here it
# comes with the first drop, or is there from the beginning.
RUN_145_2010 = (
    Phase(1, 0.01, 0.02),
    Phase(23, 1e-3, 0.002),
    Phase(51, 1e-4),
    Phase(68, layer_learning_rate=(("conv1", 1e-5),), colour_noise=False),
    Phase(72, layer_learning_rate=(("conv1", 0.0),), colour_noise=False),
    Phase(78, 1e-5, colour_noise=False),
)
"""2012 file `layer-params-145-2010.cfg`, 93 epochs on LSVRC-2010."""

RUN_145 = (
    Phase(1, 0.01, 0.02),
    Phase(25, 1e-3),
    Phase(51, 1e-4),
    Phase(67, layer_learning_rate=(("conv1", 1e-5),), colour_noise=False),
    Phase(72, layer_learning_rate=(("conv1", 0.0),), colour_noise=False),
    Phase(79, 1e-5, colour_noise=False),
)
"""2012 file `layer-params-145.cfg`, 91 epochs on ILSVRC-2012."""

_CONVS = ("conv1", "conv2", "conv3", "conv4", "conv5")


def _layers(names: tuple[str, ...], rate: float) -> tuple[tuple[str, float], ...]:
    return tuple((name, rate) for name in names)


RUN_146_2009 = (
    Phase(1, 0.01, 0.02, _layers(_CONVS, 1e-3), (("conv6", 0.002),)),
    Phase(2 + 1600 / 8691, 1e-3),  # 8.9 million images are 8,691 files of 1,024
)
"""2012 file `layer-params-146-2009.cfg`: all rates 1e-3 from epoch 2, batch file 1600."""

RUN_146_2011 = (
    Phase(1, 0.01, 0.02, _layers((*_CONVS, "conv6"), 1e-3), (("conv6", 0.002),)),
    Phase(6, 1e-3),
)
"""2012 file `layer-params-146-2011.cfg`: stopped in epoch 8, batch file 11295 of about 14,650."""

RUN_146_2012_2011 = (
    Phase(1, 1e-3, 0.02, (("conv1", 1e-4),), (("conv6", 0.022),)),  # 0.022 as in the file
    Phase(1 + 300 / 1251, layer_learning_rate=(("fc8", 0.01),)),  # after 300 files of 1,024 images
    Phase(5, layer_learning_rate=(("conv1", 1e-5),)),
    Phase(7, layer_learning_rate=(("conv1", 0.0),)),
    Phase(9, layer_learning_rate=(("fc8", 1e-3),)),
    Phase(22, 1e-4, layer_learning_rate=(("fc8", 1e-4),)),
    Phase(38, colour_noise=False),
    Phase(42, 1e-5, layer_learning_rate=(("fc8", 1e-5),), colour_noise=False),
)
"""2012 file `layer-params-146-2012-2011.cfg`, stopped at epoch 54."""

_COLOUR = AugmentConfig(colour_noise=0.1)
_AS_RUN = AugmentConfig(colour_noise=0.1, crop_chunk=32)  # 2012 file `convdata.py`
_CROPS = AugmentConfig(mirror=False)
_TORCHVISION = PreprocessConfig(mean="imagenet", scale="imagenet")


def _imagenet(name: str = "imagenet2012", **changes) -> DataConfig:
    return DataConfig(name=name, source_kind="imagenet2012", **changes)


def _own(name: str, **changes) -> DataConfig:
    """An ImageNet set in one folder per class; read as in 2012."""
    return DataConfig(name=name, source_kind="folder", **AS_STORED._asdict(), **changes)


_CIFAR10 = DataConfig(
    name="cifar10", source_kind="cifar10", stored_size=32, store="raw", validation_split="test"
)


# Deviation: trained on all 50,000 images from the start, where 2012 began with 40,000 and folded
# the rest in later; all are tested with the paper's ten views, as 2012 tested the 11 % net (the
# 18 % net sees whole images without mirrors, of which there is one).
def _cifar(preset: str, network: str, decay, epochs, phases, crops: AugmentConfig) -> Config:
    return Config(
        preset=preset,
        network=network,
        epochs=epochs,
        data=_CIFAR10,
        augment=crops,
        optimizer=OptimizerConfig(
            learning_rate=0.001,
            bias_learning_rate=0.002,
            weight_decay=0.0,
            layer_weight_decay=decay,
        ),
        schedule=ScheduleConfig("step", phases),
    )


def _chosen(preset: str) -> Config:
    """Photos whose network and recipe `recipes` chooses; with a given network these values hold."""
    return Config(
        preset=preset,
        network=AUTO,
        batch_size=64,
        epochs=60,
        data=DataConfig(source_kind="folder"),
        augment=_COLOUR,
        schedule=ScheduleConfig("plateau", patience_epochs=5, drops=2),
    )


def _as_printed(preset: str, network: str) -> Config:
    """The paper's recipe on ILSVRC-2012: rates divided when the validation error stalls (§5)."""
    return Config(
        preset=preset,
        network=network,
        data=_imagenet(),
        augment=AugmentConfig(colour_noise=0.1, colour_form="printed"),
        schedule=ScheduleConfig("plateau", patience_epochs=4, drops=3),
    )


_MIRRORED_CROPS = AugmentConfig()
_LONG_2012 = (Phase(501, 1e-4, 2e-4), Phase(511, 1e-5, 2e-5))

PRESETS: dict[str, Config] = {
    config.preset: config
    for config in (
        Config(
            preset="digits",
            network="digits",
            batch_size=64,
            epochs=30,
            evaluate_every_epochs=3,
            data=DataConfig(name="digits", stored_size=32, store="raw", validation_split="test"),
            augment=_CROPS,
            preprocess=PreprocessConfig("image", "channel"),
            optimizer=OptimizerConfig(0.04, 0.04),
            schedule=ScheduleConfig("step", (Phase(21, 4e-3, 4e-3), Phase(27, 4e-4, 4e-4))),
        ),
        _cifar(
            "cifar10-13pct",
            "cifar-13pct",
            (("local3", 0.004), ("local4", 0.004), ("fc5", 0.004)),
            520,
            _LONG_2012,
            _MIRRORED_CROPS,
        ),
        _cifar(
            "cifar10-11pct",
            "cifar-11pct",
            (("local3", 0.004), ("local4", 0.004), ("fc5", 0.01)),
            520,
            _LONG_2012,
            _MIRRORED_CROPS,
        ),
        _cifar(
            "cifar10-18pct",
            "cifar-18pct",
            (("conv1", 0.004), ("conv2", 0.004), ("conv3", 0.004), ("fc4", 1.0)),
            140,
            (Phase(121, 1e-4, 2e-4), Phase(131, 1e-5, 2e-5)),
            _CROPS,
        ),
        Config(
            preset="cifar10-alexnet",
            network="cifar-alexnet",
            epochs=30,
            data=_CIFAR10,
            augment=_COLOUR,
            preprocess=PreprocessConfig("image", "channel"),
            optimizer=OptimizerConfig(0.04, 0.08),
            schedule=ScheduleConfig("step", (Phase(25, 4e-3, 8e-3), Phase(29, 4e-4, 8e-4))),
        ),
        _chosen("imagenette"),
        Config(
            preset="imagenette-original",
            network="original",
            batch_size=32,
            epochs=10,
            data=DataConfig(source_kind="folder", validation_split="test"),
            augment=_COLOUR,
            schedule=ScheduleConfig("step", (Phase(9, 1e-3, 2e-3, colour_noise=False),)),
        ),
        _chosen("cats-vs-dogs"),
        # As courses teach it, in the words of PyTorch: Resize(256), RandomResizedCrop(224),
        # RandomApply([RandomRotation(30)], 0.5), RandomHorizontalFlip, Normalize; StepLR(6, 0.5);
        # tested with Resize(256), CenterCrop(224). Its rate is a tenth of `cifar-alexnet`'s, whose
        # dense layers are an eighth as wide. Deviation: weights by fan_in and not as PyTorch's,
        # whose signal is weaker, which begins with a plateau (`experiments/initial-weights`).
        Config(
            preset="cats-vs-dogs-224",
            network="one-tower",
            initial_weights="fan-in",
            batch_size=32,
            epochs=30,
            final_views=1,
            data=DataConfig(name="dogs-vs-cats", source_kind="folder"),
            augment=AugmentConfig("resized-crop", rotation_degrees=30, rotation_probability=0.5),
            preprocess=_TORCHVISION,
            optimizer=OptimizerConfig(0.001, 0.001),
            schedule=ScheduleConfig(
                "dexp", stairs=5, total_factor=16, bias_stairs=5, bias_total_factor=16
            ),
        ),
        _chosen("folder"),
        _as_printed("imagenet", "paper"),
        _as_printed("imagenet-one-tower", "one-tower"),
        Config(
            preset="imagenet-original",
            network="original",
            epochs=91,
            data=_imagenet(),
            augment=_AS_RUN,
            schedule=ScheduleConfig("step", RUN_145),
        ),
        Config(
            preset="imagenet-2010",
            network="original",
            epochs=93,
            data=_own("imagenet2010"),
            augment=_AS_RUN,
            schedule=ScheduleConfig("step", RUN_145_2010),
        ),
        Config(
            preset="imagenet-caffenet",
            network="caffenet",
            batch_size=256,
            data=_imagenet(),
            preprocess=PreprocessConfig("image-aligned"),
            schedule=ScheduleConfig(
                "step",
                tuple(Phase(1 + 20 * i, 0.01 / 10**i, 0.02 / 10**i) for i in range(5)),
            ),
        ),
        Config(
            preset="imagenet-one-weird-trick",
            network="one-weird-trick",
            batch_size=256,
            data=_imagenet(),
            augment=AugmentConfig("resized-crop"),
            preprocess=_TORCHVISION,
            # Deviation: torchvision's recipe decays the biases, too.
            optimizer=OptimizerConfig(
                bias_learning_rate=0.01, weight_decay=1e-4, rate_inside_velocity=False
            ),
            schedule=ScheduleConfig(
                "step",
                tuple(Phase(1 + 30 * i, 0.01 / 10**i, 0.01 / 10**i) for i in range(3)),
            ),
        ),
        Config(
            preset="fall-2009",
            network="six-conv",
            epochs=5 + 6491 / 8691,
            # Half trained, half tested (§6): by a hash of the names, so that there is no seed.
            data=_own("fall2009", validation_fraction=0.5),
            augment=_AS_RUN,
            schedule=ScheduleConfig("step", RUN_146_2009),
            transfer=TransferConfig(layers=_CONVS),
        ),
        Config(
            preset="fall-2011-pretrain",
            network="six-conv-2011",
            epochs=7 + 11295 / 14650,
            data=_own("fall2011", validation_fraction=0.01),
            augment=_AS_RUN,
            schedule=ScheduleConfig("step", RUN_146_2011),
            transfer=TransferConfig(layers=(*_CONVS, "conv6")),
        ),
        Config(
            preset="imagenet-finetune",
            network="six-conv",
            epochs=54,
            data=_imagenet(),
            augment=_AS_RUN,
            schedule=ScheduleConfig("step", RUN_146_2012_2011),
            transfer=TransferConfig(layers=(*_CONVS, "conv6", "fc6", "fc7")),
        ),
    )
}
