"""What is run: an experiment as frozen dataclasses (network + data + optimiser + schedule).

Every field can be overridden on the command line (`--optimizer.learning-rate 0.02`) or with
`dataclasses.replace`; derived values are properties, so they never go stale. A `Config` is JSON
(`to_json`, `from_json`), and a run folder's `config.json` is exactly that.
"""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from alexnet_jax.errors import InputError, did_you_mean

Rates = tuple[tuple[str, float], ...]
"""Pairs of (layer name, value); a name that is absent takes the general value."""

Orientation = Literal["upright", "stored"]
"""How encoded images lie: turned as their EXIF says, or as their pixels are stored."""

Colours = Literal["shown", "stored"]
"""In which colours encoded images are read: as a viewer shows them, or the file's own numbers."""


class Appearance(NamedTuple):
    """How image files are read: which way up, and in which colours."""

    orientation: Orientation
    colours: Colours


AS_VIEWED = Appearance("upright", "shown")
"""As a viewer shows a photo."""

AS_STORED = Appearance("stored", "stored")
"""As 2012 read ImageNet."""

AUTO = "auto"
"""The network of a configuration that is completed once the photos are known."""

SOURCE_KINDS = {
    "digits": False,
    "folder": True,
    "cifar10": False,
    "imagenet2012": True,
    "tfds": True,
}
"""Kinds of sources, and whether their images are image files, which have an appearance.

Each has a module of its name in `preparation/sources/`.
"""

if TYPE_CHECKING:
    SourceKindName = str
else:
    SourceKindName = Literal[tuple(SOURCE_KINDS)]


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they lie on disk.

    Attributes:
      name: name of the prepared set inside the data directory; empty: derived from the source.
      source_kind: what `source` is: the embedded digits, a folder, tar or zip of photos, the
        CIFAR-10 archives, the ILSVRC tars, or a TFDS catalogue set (`tfds`).
      source: folder, archive or catalogue name that `prepare` reads, also at first use, and again
        where its files have changed; empty means that the set must have been prepared, and is taken
        as it is (the embedded digits need none).
      stored_size: height and width of the stored images (shorter side to this, centre crop).
      store: JPEG bytes, or raw uint8 for speed.
      jpeg_quality: quality of stored JPEGs, 1 to 100.
      validation_fraction: share of training images set aside where the source has no
        validation or test split.
      orientation: `upright`: photos are turned as their EXIF orientation says; `stored`: they are
        taken as their pixels lie in the file; `auto`: `stored` for `imagenet2012`, as in 2012,
        and `upright` for all else; a prepared set is taken as it is. A run predicts so, too.
      colours: `shown`: as a viewer shows photos, an embedded profile converted to sRGB and what is
        transparent on white; `stored`: the numbers in the file, without its profile and its alpha;
        `auto`: as of `orientation`, `stored` for `imagenet2012` and `shown` for all else.
      copies: photos of one scene (equal files; mirrored, turned, cropped or otherwise stored ones)
        are kept `together` on one side where a share is set aside for validation; `ignore`: they
        are not looked for. Of a `folder` or `tfds` set.
      class_order: of `imagenet2012`: labels in the order of the WordNet ids (Caffe, torchvision),
        or of the development kit's ILSVRC2012_ID (the 2012 code).
      train_split: name of the split to train on.
      validation_split: name of the split to test on.
      balance: visit the training images of smaller classes more often, so that in an epoch no class
        is seen less than half as often as the largest (but no image more than ten times).
      cache_bytes: keep decoded images in memory if the split needs no more than this.
    """

    name: str = ""
    source_kind: SourceKindName = "digits"
    source: str = ""
    stored_size: int = 256
    store: Literal["jpeg", "raw"] = "jpeg"
    jpeg_quality: int = 95
    validation_fraction: float = 0.1
    orientation: Literal["auto", "upright", "stored"] = "auto"
    colours: Literal["auto", "shown", "stored"] = "auto"
    copies: Literal["together", "ignore"] = "together"
    class_order: Literal["wordnet", "ilsvrc"] = "wordnet"
    train_split: str = "train"
    validation_split: str = "validation"
    balance: bool = False
    cache_bytes: int = 2 * 1024**3


@dataclass(frozen=True)
class AugmentConfig:
    """The random changes to training images; every draw depends on (seed, epoch, index) only.

    With `crop_chunk` above 1, place and mirroring depend on (seed, epoch, place // crop_chunk)
    instead, where place is that of the image in the order of its epoch.

    Attributes:
      recipe: `crop` is the paper's random crop (§4.1); `centre-crop` is always the one in the
        middle; `resized-crop` is RandomResizedCrop with
        RandomRotation (torchvision conventions).
      mirror: mirror images with probability one half.
      colour_noise: standard deviation of the colour PCA coefficients, 0 for none. Paper §4.1: 0.1.
      colour_form: `2012` multiplies components by their standard deviations and divides the
        image by 1 + colour_noise while the noise is on; `printed` leaves the division out.
      scale: smallest and largest area of `resized-crop`, as fractions of the image's.
      ratio: smallest and largest width / height of `resized-crop`.
      rotation_degrees: largest rotation of `resized-crop`, either way.
      rotation_probability: share of the visits to images at which `resized-crop` turns them, 0 to 1
        (RandomApply around RandomRotation).
      crop_chunk: so many consecutive images of an epoch share one place and one mirroring, but not
        one colour. 2012 file `convdata.py`: 32, so four draws per batch; the paper does not say.
    """

    recipe: Literal["crop", "centre-crop", "resized-crop"] = "crop"
    mirror: bool = True
    colour_noise: float = 0.0
    colour_form: Literal["2012", "printed"] = "2012"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    rotation_degrees: float = 0.0
    rotation_probability: float = 1.0
    crop_chunk: int = 1


@dataclass(frozen=True)
class PreprocessConfig:
    """Arithmetic on uint8 images inside the jitted step.

    Attributes:
      mean: `image`: the centre window of the training set's mean image, whatever the crop (2012);
        `image-aligned`: the window under the crop (Caffe); `channel`: one mean per channel of the
        training set; `imagenet`: torchvision's constants; `none`.
      scale: `none`: stay in 0..255 (2012); `channel`: divide by the training set's standard
        deviation per channel; `imagenet`: divide by torchvision's constants times 255.
    """

    mean: Literal["image", "image-aligned", "channel", "imagenet", "none"] = "image"
    scale: Literal["none", "channel", "imagenet"] = "none"


@dataclass(frozen=True)
class OptimizerConfig:
    """The 2012 update rule `v = m v - d r w - r g; w = w + v`, r inside the velocity. Paper §5.

    Attributes:
      learning_rate: r of the weights, per minibatch mean gradient.
      bias_learning_rate: r of the biases, which have no decay. 2012: twice the weights' rate.
      momentum: m.
      weight_decay: d of the weights.
      layer_learning_rate: factors of both rates per layer; 0 freezes a layer entirely.
      layer_weight_decay: d for single layers, instead of `weight_decay`.
      rate_inside_velocity: False: `v = m v - d w - g; w = w + r v`, as PyTorch and torchvision.
    """

    learning_rate: float = 0.01
    bias_learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 5e-4
    layer_learning_rate: Rates = ()
    layer_weight_decay: Rates = ()
    rate_inside_velocity: bool = True


@dataclass(frozen=True)
class Phase:
    """One row of a `step` schedule, in force from the start of `epoch` until the next row.

    Attributes:
      epoch: first epoch of the phase, counted from 1 (may be fractional).
      learning_rate: of the weights, as an absolute number; None keeps that of the row before.
      bias_learning_rate: of the biases, as an absolute number; None keeps that of the row before.
      layer_learning_rate: absolute rates of the weights of single layers from here on; 0 freezes
        the layer with its biases, which else keep their own rate as in the 2012 logs.
      layer_bias_learning_rate: absolute rates of the biases of single layers from here on.
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
      kind: `constant`; `step` follows `phases`; `plateau` divides by `factor` when the
        validation error has not improved for `patience_epochs` (at most `drops` times, then the
        run ends; paper §5); `dexp` is cuda-convnet2's staircase, `total_factor ** (-i / (n - 1))`
        times the rate on stair i of n.
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
    factor: float = 10.0
    patience_epochs: int = 5
    drops: int = 3
    stairs: int = 4
    total_factor: float = 250.0
    bias_stairs: int = 2
    bias_total_factor: float = 10.0


@dataclass(frozen=True)
class TransferConfig:
    """Layers copied from another run at the start (2012 file `initw.py`).

    Attributes:
      run: run folder to copy from; empty: nothing is copied.
      checkpoint: `best`, `last` or a step number.
      layers: names of the layers to copy; all others start fresh.
    """

    run: str = ""
    checkpoint: str = "best"
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """A whole experiment.

    Attributes:
      preset: name of the preset that this began as.
      network: key in `NETWORKS`; `auto`: chosen for the photos, and with it whatever else is left
        as the preset has it (presets of photos).
      image_size: height and width of the network's input in pixels; 0: the network's own.
      classes: number of classes; 0: as many as the data set has.
      initial_weights: `network`: as its layers say; `fan-in`: normal with variance 2 / fan_in and
        biases of 0 (He et al., 2015), for images that are divided by their standard deviation.
      compute_dtype: activations' type; parameters stay float32.
      batch_size: images per step, over all devices.
      towers: 2 spreads a network with groups over two devices, as the paper did (§3.2); the
        parameters are the same.
      replicas: copies of the network that share each batch; 0: as many as there are devices for
        and the batch divides over.
      accumulation: equal parts in which a batch is computed, one after another, to need less
        memory; the step is the same up to rounding.
      epochs: passes over the training images.
      seed: of initial weights, data order, augmentation and dropout.
      evaluate_every_epochs: test on the validation split so often; may be fractional.
      checkpoint_every_steps: save so often, too; 0: at each evaluation only.
      log_every_steps: one progress line and one `metrics.jsonl` row per so many steps.
      final_views: of the test that ends the run. 1: the centre; 10: corners and centre with their
        mirrors, fewer where they coincide or training has no mirrors (the test says how many).
      workers: worker processes for the data, 0: threads only.
    """

    preset: str = "digits"
    network: str = "paper"
    image_size: int = 0
    classes: int = 0
    initial_weights: Literal["network", "fan-in"] = "network"
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    batch_size: int = 128
    towers: int = 1
    replicas: int = 0
    accumulation: int = 1
    epochs: float = 90
    seed: int = 0
    evaluate_every_epochs: float = 1
    checkpoint_every_steps: int = 0
    log_every_steps: int = 20
    final_views: Literal[1, 10] = 10
    workers: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
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
            raise InputError(f"config is no JSON: {error}") from None

    def normalized(self) -> "Config":
        """Returns the configuration with values of the fields' types: a float of 3 is 3.0.

        Raises:
          InputError: names a field whose value has another type.
        """
        return Config.from_dict(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, value: Any) -> "Config":
        """Returns the configuration in parsed JSON; raises `InputError` for wrong fields."""
        return _from_value(cls, value, "config")


def fields_of(config: Config) -> dict[str, Any]:
    """Returns `{dotted field name: value}`."""
    return _flat(dataclasses.asdict(config))


def differing_fields(first: Config, second: Config) -> dict[str, tuple[Any, Any]]:
    """Returns `{dotted field name: (value in first, value in second)}` where the two differ."""
    a, b = fields_of(first), fields_of(second)
    return {name: (a[name], b[name]) for name in a if a[name] != b[name]}


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= _flat(item, f"{prefix}{name}.") if isinstance(item, dict) else {prefix + name: item}
    return flat


def _from_value(kind: Any, value: Any, path: str) -> Any:
    """Builds `kind` (dataclass, tuple, union, literal, scalar) from parsed JSON."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        if not isinstance(value, dict):
            raise InputError(f"{path} should be an object, not {value!r}")
        for name in value:
            if name not in hints:
                raise InputError(f"{path} has no field '{name}'.{did_you_mean(name, hints)}")
        return typing.cast(type, kind)(
            **{
                name: _from_value(hints[name], item, f"{path}.{name}")
                for name, item in value.items()
            }
        )
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(_from_value(k, v, path) for k, v in zip(kinds, value, strict=True))
    elif origin is Literal and value in arguments:
        return value
    elif origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _from_value(next(a for a in arguments if a is not type(None)), value, path)
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    expected = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
    raise InputError(f"{path} should be {expected}, not {value!r}")
