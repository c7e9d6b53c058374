"""Draws a photo and a digit as training and test see them: augmentation.jpg.

python -m experiments.gallery.augmentation
"""

import dataclasses
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_image

from alexnet_jax.config import Config
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.prepared import Statistics, load_statistics
from alexnet_jax.data.preprocess import make_inputs
from alexnet_jax.data.stream import TrainingSource
from alexnet_jax.insight.augmentations import FramedRow, OneImage, sheet, training_pictures
from alexnet_jax.insight.images import read_image
from alexnet_jax.locations import default_data_dir
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.preparation.prepare import ensure_prepared
from alexnet_jax.preparation.statistics import PixelSums, reduce
from alexnet_jax.presets import PRESETS
from experiments import programs

PICTURE = Path(__file__).with_name("augmentation.jpg")


def rows(config: Config, split: TrainingSource, statistics: Statistics) -> list[FramedRow]:
    """Returns the pictures that training makes of the first image of a split."""
    size = config.image_size or NETWORKS[config.network].image_size
    inputs = make_inputs(config.preprocess, config.augment, statistics, size)
    found = training_pictures(split, 0, config, inputs, size)
    return [row._replace(name=f"{config.preset}. {row.name}") for row in found if row.pictures]


def made(data_dir: Path) -> Image.Image:
    """Returns the picture; the photo's colour components come from its own pixels."""
    config, digits = PRESETS["imagenet"], PRESETS["digits"]
    size = config.data.stored_size
    photo = read_image(load_sample_image("china.jpg"), size)
    sums = PixelSums(size)
    sums.add(photo)
    statistics = reduce([(sums.count, sums.pixels, sums.products)], size)
    of_photo = rows(config, OneImage(photo), statistics)
    augment = dataclasses.replace(config.augment, recipe="resized-crop", rotation_degrees=20.0)
    turned = dataclasses.replace(config, augment=augment, preset="Not in the paper")
    of_photo.insert(-1, rows(turned, OneImage(photo), statistics)[0])
    folder = ensure_prepared(digits.data, data_dir)
    of_digit = rows(digits, open_dataset(folder).split("train"), load_statistics(folder))
    return sheet([*of_photo, *of_digit])


def main() -> None:
    parser = programs.parser(__doc__)
    parser.add_argument("--data-dir", type=Path, help="folder of prepared sets")
    arguments = parser.parse_args()
    page = made(arguments.data_dir or Path(default_data_dir()))
    page.save(PICTURE, quality=85, optimize=True)


if __name__ == "__main__":
    main()
