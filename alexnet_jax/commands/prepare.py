"""The verb that stores images ready for training: prepare."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import tyro

from alexnet_jax.appearance import Colours, Orientation
from alexnet_jax.commands.options import AbsolutePath, Options
from alexnet_jax.config import DataConfig
from alexnet_jax.errors import InputError, did_you_mean
from alexnet_jax.locations import default_data_dir
from alexnet_jax.source_kinds import SOURCE_KINDS

_SOURCE_HELP = f"one of {', '.join(SOURCE_KINDS)}; for a set of the TFDS catalogue, tfds:NAME."


@dataclass(frozen=True, kw_only=True)
class Prepare(Options):
    """Prepare images for training. This is needed once per data set and can be interrupted.

    Example:
      alexnet prepare --source folder ~/photos --name photos

    A folder has one folder per class, directly or below train/, val/ and test/ (or other usual
    names). Or it has all photos together, and their names (cat.1.jpg) or a table of labels give
    the classes. A zip or tar of that works, too. First the command prints how it understands the
    folder, and what it leaves out.

    If you repeat the command later and the source has changed, it makes a new version next to the
    old one (photos.2, and so on). `train --data.name photos` then takes the newest version.

    Attributes:
      path: folder or archive that holds the images; not for digits and tfds:NAME.
      name: name of the set in the data folder; by default from the source.
      data_dir: folder of prepared data sets; by default $ALEXNET_DATA_DIR, else the user's cache.
      stored_size: height and width of the stored images; by default 256, or 32 for small sets.
      store: jpeg bytes, or raw pixels: larger and faster; by default raw for small sets.
      jpeg_quality: 1 to 100.
      validation_fraction: share of the training images to set aside if there is no other split.
      orientation: upright: turn photos as their EXIF says; stored: keep the pixels as they are in
        the file; by default stored for imagenet2012, as in 2012, and upright for all others.
      colours: shown: as a viewer shows photos, with their colour profile and on white where they
        are transparent; stored: the numbers in the file; by default stored for imagenet2012, shown
        for all others.
      copies: together: photos of one scene (also mirrored, turned, cropped copies) are listed, and
        stay on one side of the split if a share is set aside; ignore: do not look for copies.
      class_order: of imagenet2012: by WordNet id (Caffe, torchvision) or by ILSVRC id (2012).
      workers: processes that decode; by default one per core.
      bad_images: skip: list them in bad_images.jsonl and continue; error: stop at the first.
    """

    path: tyro.conf.Positional[AbsolutePath | None] = None
    source: Annotated[str, tyro.conf.arg(help=_SOURCE_HELP)]
    name: str = ""
    data_dir: AbsolutePath | None = None
    stored_size: int | None = None
    store: Literal["jpeg", "raw"] | None = None
    jpeg_quality: int | None = None
    validation_fraction: float | None = None
    orientation: Orientation | None = None
    colours: Colours | None = None
    copies: Literal["together", "ignore"] = "together"
    class_order: Literal["wordnet", "ilsvrc"] | None = None
    workers: int | None = None
    bad_images: Literal["skip", "error"] = "skip"

    def run(self) -> None:
        from alexnet_jax.preparation.prepare import prepare

        data_dir = self.data_dir or default_data_dir()
        folder = prepare(self.data(), data_dir, workers=self.workers, bad_images=self.bad_images)
        print(f"prepared {folder}")

    def data(self) -> DataConfig:
        """Returns the data set that the options describe; raises `InputError` if they cannot."""
        from alexnet_jax.preparation.set_options import default_options
        from alexnet_jax.preparation.sources import source_kind

        kind, _, catalogue_name = self.source.partition(":")
        locations = {name: source_kind(name).location for name in SOURCE_KINDS}
        if kind not in locations or (locations[kind] == "name") != bool(catalogue_name):
            known = [name + ":NAME" * (place == "name") for name, place in locations.items()]
            raise InputError(
                f"unknown --source '{self.source}'.{did_you_mean(self.source, known)} "
                f"Known: {', '.join(known)}"
            )
        if (self.path is None) != (locations[kind] != "path"):
            needs = "takes no path" if self.path else "needs the path of its images"
            raise InputError(f"--source {self.source} {needs}; --help has an example")
        names = (
            "stored_size", "store", "jpeg_quality", "validation_fraction", "class_order",
            "orientation", "colours", "copies",
        )  # fmt: skip
        given = {n: value for n in names if (value := getattr(self, n)) is not None}
        source = catalogue_name or str(self.path or "")
        return replace(default_options(kind, source, self.name), **given)
