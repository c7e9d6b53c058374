"""An experiment as frozen dataclasses: network, data, optimizer, schedule.

Every field can be changed on the command line (`--optimizer.learning-rate 0.02`) or with
`dataclasses.replace`. `config.json` in a run folder is the JSON form (`to_json`, `from_json`).
The type of a number has its bounds. A default in `result_neutral` or `retunable` marks the fields
that a resumed run may change.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from alexnet_jax.errors import InputError
from alexnet_jax.fields import (
    Bound,
    Fraction,
    FractionBelowOne,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    from_json_value,
    result_neutral,
    retunable,
)
from alexnet_jax.source_kinds import SOURCE_KINDS

Rates = tuple[tuple[str, float], ...]
"""Pairs of (layer name, value); a name that is absent takes the general value."""

AUTO = "auto"
"""The network of a configuration that is chosen when the photos are known."""

if TYPE_CHECKING:
    SourceKindName = str
else:
    SourceKindName = Literal[tuple(SOURCE_KINDS)]


@dataclass(frozen=True)
class DataConfig:
    """Which images are used, and how they are stored on disk.

    Attributes:
      name: name of the prepared set in the data folder; empty: a name made from the source.
      source_kind: what `source` is; `prepare --help` describes the kinds.
      source: folder, archive or catalogue name to prepare at first use, and again when its files
        have changed; empty: the set is used as it was prepared (the digits need no source).
      stored_size: height and width of the stored images in pixels: the shorter side is scaled to
        this, then the centre is cut out.
      store: store JPEG bytes, or raw uint8 pixels (larger and faster).
      jpeg_quality: quality of stored JPEGs, 1 to 100.
      validation_fraction: share of the training images to set aside if the source has no
        validation or test split.
      orientation: `upright`: turn photos as their EXIF orientation says; `stored`: keep the pixels
        as they are in the file; `auto`: `stored` for `imagenet2012`, as in 2012, and `upright` for
        all other sets; a prepared set stays as it is. The run predicts in the same way.
      colours: `shown`: as a viewer shows photos: in the colours of their profile, converted to
        sRGB, and on white where they are transparent; `stored`: the numbers in the file, without
        its profile and its alpha; `auto`: `stored` for `imagenet2012`, `shown` for all other sets.
      copies: where a source can hold copies: photos of one scene (equal files; mirrored, turned,
        cropped or otherwise stored copies) stay `together` on one side when a share is set aside
        for validation; `ignore`: do not look for copies.
      class_order: of `imagenet2012`: labels in the order of the WordNet ids (Caffe, torchvision),
        or of ILSVRC2012_ID in the development kit (the 2012 code).
      train_split: name of the split to train on.
      validation_split: name of the split to test on.
      balance: visit the training images of small classes more often: in an epoch, each class is
        visited at least half as often as the largest (but no image more than ten times).
      cache_bytes: keep decoded images in memory if a split needs no more bytes than this.
    """

    name: str = ""
    source_kind: SourceKindName = "digits"
    source: str = result_neutral("")
    stored_size: Annotated[int, Bound("8 to 2048 pixels", lambda size: 8 <= size <= 2048)] = 256
    store: Literal["jpeg", "raw"] = "jpeg"
    jpeg_quality: Annotated[int, Bound("1 to 100", lambda quality: 1 <= quality <= 100)] = 95
    validation_fraction: FractionBelowOne = 0.1
    orientation: Literal["auto", "upright", "stored"] = result_neutral("auto")
    colours: Literal["auto", "shown", "stored"] = result_neutral("auto")
    copies: Literal["together", "ignore"] = "together"
    class_order: Literal["wordnet", "ilsvrc"] = "wordnet"
    train_split: str = "train"
    validation_split: str = "validation"
    balance: bool = False
    cache_bytes: NonNegativeInt = result_neutral(2 * 1024**3)


@dataclass(frozen=True)
class AugmentConfig:
    """The random changes to training images; every draw depends on (seed, epoch, index) only.

    With `crop_chunk` above 1, crop and mirroring depend on (seed, epoch, place // crop_chunk);
    place is the position of the image in the order of its epoch.

    Attributes:
      recipe: `crop`: the paper's random crop (§4.1); `centre-crop`: always the centre;
        `resized-crop`: RandomResizedCrop with RandomRotation (as in torchvision).
      mirror: mirror images with probability one half.
      colour_noise: standard deviation of the colour PCA coefficients, 0 for none. Paper §4.1: 0.1.
      colour_form: `2012`: the components are multiplied by their standard deviations, and the
        image is divided by 1 + colour_noise while the noise is on; `printed`: no division.
      scale: smallest and largest area of `resized-crop`, as fractions of the image's area.
      ratio: smallest and largest width / height of `resized-crop`.
      rotation_degrees: largest rotation of `resized-crop`, in both directions.
      rotation_probability: share of the images that `resized-crop` turns, 0 to 1 (RandomApply
        around RandomRotation); drawn again in each epoch.
      crop_chunk: number of consecutive images that share one crop position and one mirroring,
        but not their colour noise. 2012 file `convdata.py`: 32, so four draws per batch.
    """

    recipe: Literal["crop", "centre-crop", "resized-crop"] = "crop"
    mirror: bool = True
    colour_noise: NonNegativeFloat = 0.0
    colour_form: Literal["2012", "printed"] = "2012"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    rotation_degrees: NonNegativeFloat = 0.0
    rotation_probability: Fraction = 1.0
    crop_chunk: PositiveInt = 1


@dataclass(frozen=True)
class PreprocessConfig:
    """Arithmetic on uint8 images inside the jitted step.

    Attributes:
      mean: `image`: the centre window of the training set's mean image, for every crop (2012);
        `image-aligned`: the window at the place of the crop (Caffe); `channel`: one mean per
        channel of the training set; `imagenet`: torchvision's constants; `none`.
      scale: `none`: stay in 0..255 (2012); `channel`: divide by the training set's standard
        deviation per channel; `imagenet`: divide by torchvision's constants times 255.
    """

    mean: Literal["image", "image-aligned", "channel", "imagenet", "none"] = "image"
    scale: Literal["none", "channel", "imagenet"] = "none"


@dataclass(frozen=True)
class OptimizerConfig:
    """The 2012 update rule `v = m v - d r w - r g; w = w + v`, r inside the velocity. Paper §5.

    Attributes:
      learning_rate: r of the weights, for the mean gradient of a batch.
      bias_learning_rate: r of the biases, which have no decay. 2012: twice the weights' rate.
      momentum: m.
      weight_decay: d of the weights.
      layer_learning_rate: factors of both rates for single layers; 0 freezes a layer completely.
      layer_weight_decay: d for single layers, instead of `weight_decay`.
      rate_inside_velocity: False: `v = m v - d w - g; w = w + r v`, as PyTorch and torchvision.
    """

    learning_rate: NonNegativeFloat = retunable(0.01)
    bias_learning_rate: NonNegativeFloat = retunable(0.02)
    momentum: FractionBelowOne = 0.9
    weight_decay: NonNegativeFloat = 5e-4
    layer_learning_rate: Rates = ()
    layer_weight_decay: Rates = ()
    rate_inside_velocity: bool = True


@dataclass(frozen=True)
class Phase:
    """One row of a `step` schedule; it holds from the start of `epoch` until the next row.

    Attributes:
      epoch: first epoch of the phase, counted from 1 (can be a fraction).
      learning_rate: of the weights; None: as in the row before.
      bias_learning_rate: of the biases; None: as in the row before.
      layer_learning_rate: rates of the weights of single layers from here on; 0 freezes the
        layer with its biases; otherwise biases keep their own rate, as in the 2012 logs.
      layer_bias_learning_rate: rates of the biases of single layers from here on.
      colour_noise: False switches the colour noise off from here on.
    """

    epoch: float = 1
    learning_rate: float | None = None
    bias_learning_rate: float | None = None
    layer_learning_rate: Rates = ()
    layer_bias_learning_rate: Rates = ()
    colour_noise: bool = True


@dataclass(frozen=True)
class ScheduleConfig:
    """How the rates change.

    Attributes:
      kind: `constant`; `step`: the rows of `phases`; `plateau`: the rates are divided by `factor`
        when the validation error has not improved for `patience_epochs`, at most `drops` times,
        then the run ends (paper §5); `dexp`: the staircase of cuda-convnet2, where stair i of n
        has the rate times `total_factor ** (-i / (n - 1))`.
      phases: rows for `step`.
      factor: for `plateau`: divides both rates.
      patience_epochs: for `plateau`: epochs without improvement before a division.
      drops: for `plateau`: number of divisions.
      stairs: for `dexp`: n of the weights' rate.
      total_factor: for `dexp`: first over last rate of the weights.
      bias_stairs: for `dexp`: n of the biases' rate.
      bias_total_factor: for `dexp`: first over last rate of the biases.
    """

    kind: Literal["constant", "step", "plateau", "dexp"] = "constant"
    phases: tuple[Phase, ...] = ()
    factor: PositiveFloat = 10.0
    patience_epochs: NonNegativeInt = 5
    drops: NonNegativeInt = 3
    stairs: int = 4
    total_factor: PositiveFloat = 250.0
    bias_stairs: int = 2
    bias_total_factor: PositiveFloat = 10.0


@dataclass(frozen=True)
class TransferConfig:
    """Layers copied from another run at the start (2012 file `initw.py`).

    Attributes:
      run: run folder to copy from; empty: copy nothing.
      checkpoint: `best`, `last` or a step number.
      layers: names of the layers to copy; all other layers start with new values.
    """

    run: str = ""
    checkpoint: str = "best"
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """A complete experiment.

    Attributes:
      preset: name of the preset with the default values.
      network: key in `NETWORKS`; `auto` (presets of photos): chosen for the photos, together with
        all fields that you do not set.
      image_size: height and width of the network's input in pixels; 0: the network's own size.
      classes: number of classes; 0: as many as the data set has.
      initial_weights: `network`: those of its layers; `fan-in`: normal with variance 2 / fan_in,
        and biases of 0 (He et al., 2015), for images divided by their standard deviation.
      compute_dtype: type of the activations; parameters stay float32.
      batch_size: images per step, over all devices.
      towers: 2 spreads a network with groups over two devices, as the paper did (§3.2); the
        parameters are the same.
      replicas: copies of the network that share each batch; 0: as many as the devices allow and
        the batch can be divided by.
      accumulation: number of equal parts of a batch, computed one after another to need less
        memory; the step is the same up to rounding.
      epochs: passes over the training images.
      seed: seed of initial weights, data order, augmentation and dropout.
      evaluate_every_epochs: epochs between two tests on the validation split; can be a fraction.
      checkpoint_every_steps: steps between two extra saves; 0: save only at each evaluation.
      log_every_steps: steps between two progress lines and rows of `metrics.jsonl`.
      final_views: views of the test at the end. 1: the centre; 10: corners and centre with their
        mirror images; fewer if some are equal or training mirrors no images (the test prints how
        many).
      workers: worker processes for the data; 0: only threads.
    """

    preset: str = "digits"
    network: str = "paper"
    image_size: NonNegativeInt = 0
    classes: NonNegativeInt = 0
    initial_weights: Literal["network", "fan-in"] = "network"
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    batch_size: PositiveInt = 128
    towers: Annotated[int, Bound("1 or 2", lambda count: count in (1, 2))] = result_neutral(1)
    replicas: NonNegativeInt = result_neutral(0)
    accumulation: PositiveInt = retunable(1)
    epochs: PositiveFloat = retunable(90)
    seed: Annotated[int, Bound("0 or more, below 2**32", lambda seed: 0 <= seed < 2**32)] = 0
    evaluate_every_epochs: PositiveFloat = 1
    checkpoint_every_steps: NonNegativeInt = result_neutral(0)
    log_every_steps: PositiveInt = result_neutral(20)
    final_views: Literal[1, 10] = result_neutral(10)
    workers: NonNegativeInt = result_neutral(0)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = retunable(ScheduleConfig())
    transfer: TransferConfig = field(default_factory=TransferConfig)

    def to_json(self) -> str:
        """Returns the configuration as indented JSON text.

        >>> config = Config(network="original", optimizer=OptimizerConfig(learning_rate=0.02))
        >>> Config.from_json(config.to_json()) == config
        True
        """
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Returns the configuration in `text`; raises `InputError` for wrong fields, or no JSON."""
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise InputError(f"config is not JSON: {error}") from None

    def normalized(self) -> "Config":
        """Returns it with values of the fields' types: a float of 3 is 3.0; raises `InputError`."""
        return Config.from_dict(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, value: Any) -> "Config":
        """Returns the configuration in parsed JSON; raises `InputError` for wrong fields."""
        return from_json_value(cls, value, "config")
