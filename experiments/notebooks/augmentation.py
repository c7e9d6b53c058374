# %% [markdown]
# # What training sees of a photo
#
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/alexnet_jax/blob/main/experiments/notebooks/augmentation.ipynb)
#
# The paper's network has 60 million parameters and 1.2 million images. Two kinds of change keep it
# from learning them by heart (§4.1): each time an image is visited, another part of it is cut out,
# perhaps mirrored; and its colours are shifted along their principal components. A test then
# averages what the network says of ten parts. This notebook shows all of it on one photo, cut and
# coloured by the functions that training and test use. (`report.html` of a run shows the same of
# an image of its own.)
#
# The first cell installs the library where it is not there yet, as in Colab. The photo comes with
# scikit-learn: "china.jpg" by danielbuechele, CC BY 2.0, here cut to a square and changed as said.

# %%
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = "OWNER/alexnet_jax"  # OWNER is a placeholder
if importlib.util.find_spec("alexnet_jax") is None:
    above = [Path.cwd(), *Path.cwd().parents]  # in a clone, the clone
    clones = [folder for folder in above if (folder / "alexnet_jax" / "main.py").exists()]
    source = clones[0] if clones else Path("source").absolute()
    if not source.exists():
        if REPOSITORY.startswith("OWNER/"):
            raise RuntimeError(
                "alexnet_jax is not installed, and this notebook has no address to fetch it from: "
                "open it in a clone, or put a clone next to it in a folder named 'source'"
            )
        address = f"https://github.com/{REPOSITORY}"
        subprocess.run(["git", "clone", "-q", "--depth", "1", address, source], check=True)
    tpu = any(Path("/dev").glob("accel*")) or any(Path("/dev").glob("vfio/[0-9]*"))
    wheels = "jax[cuda12]" if shutil.which("nvidia-smi") else "jax[tpu]" if tpu else "jax"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "-r", source / "requirements.txt", wheels], check=True)
    sys.path.insert(0, str(source))

# %%
import dataclasses
import logging
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_image

import alexnet_jax
from alexnet_jax.data.preprocess import make_inputs
from alexnet_jax.evaluation.views import averaged_views
from alexnet_jax.insight.augmentations import FramedRow, OneImage, sheet, training_pictures
from alexnet_jax.insight.images import read_image
from alexnet_jax.preparation.statistics import PixelSums, reduce

logging.disable(logging.WARNING)  # what the libraries tell each other

# %% [markdown]
# ## A photo at rest
#
# `prepare` stores an image once: the shorter side brought to 256 pixels, the square in the middle
# kept, as in 2012. Name a photo of your own below.

# %%
PHOTO = ""  # e.g. "cat.jpg"

config = alexnet_jax.PRESETS["imagenet"]
photo = read_image(PHOTO or load_sample_image("china.jpg"), config.data.stored_size)
print(f"{photo.shape[1]}x{photo.shape[0]} pixels, {config.data.stored_size} a side at rest")

# %% [markdown]
# ## Its colours
#
# The principal components of the RGB values: the directions in which colours vary most, with the
# standard deviation along each. The paper takes them over all pixels of the training set, where
# `prepare` sums them up; here it is those of this one photo, summed by the same function.

# %%
sums = PixelSums(config.data.stored_size)
sums.add(photo)
statistics = reduce([(sums.count, sums.pixels, sums.products)], config.data.stored_size)
print("standard deviation    red  green   blue")
for spread, direction in zip(statistics.colour_std, statistics.colour_vectors.T, strict=True):
    print(f"{spread:18.1f} " + " ".join(f"{part:+6.2f}" for part in direction))

# %% [markdown]
# ## Crops and mirrors
#
# In every epoch 224x224 of the 256x256 pixels, anywhere, and every other time mirrored. What is
# drawn depends only on seed, epoch and image, so that a run that was stopped sees what it would
# have seen. A frame has the colour of the line below what it holds.

# %%
FOLDER = Path("runs/augmentation")
FOLDER.mkdir(parents=True, exist_ok=True)


def rows(config: alexnet_jax.Config) -> list[FramedRow]:
    """Returns what training with a configuration shows of the photo, and its test."""
    inputs = make_inputs(config.preprocess, config.augment, statistics, 224)
    return training_pictures(OneImage(photo), 0, config, inputs, 224)


def changed(config: alexnet_jax.Config, **changes) -> alexnet_jax.Config:
    """Returns a configuration with other changes to training images."""
    return dataclasses.replace(config, augment=dataclasses.replace(config.augment, **changes))


def shown(rows: list[FramedRow], name: str) -> Image.Image:
    """Saves rows of pictures as one and returns it; a notebook shows it."""
    page = sheet(rows, side=84)
    page.save(FOLDER / f"{name}.png")
    return page


crops, *colours, views = rows(config)
print(crops.note)
shown([crops], "crops")

# %% [markdown]
# ## Colour noise
#
# Every visit adds to all pixels the same colour: a random coefficient for each component, times
# its standard deviation, times 0.1. First as it is drawn, then each component by itself, with
# coefficients from -3 to 3: nearly all that is ever drawn lies between these.

# %%
for row in colours[1:]:
    print(f"{row.name}: {row.note}")
shown(colours, "colours")

# %% [markdown]
# The paper's text multiplies coefficients by eigenvalues, which are squares of standard deviations:
# of this photo's first component that would be noise of thousands of grey levels. The programs of
# 2012 used standard deviations, and divided the result by 1.1, which takes contrast away as long
# as the noise is on.

# %%
forms = []
for form in ("printed", "2012"):
    row = rows(changed(config, colour_form=form))[2]
    forms.append(row._replace(name=f"{row.name}, {form}", pictures=row.pictures[::3]))
shown(forms, "forms")

# %% [markdown]
# ## Resized crops and rotations
#
# What later programs do instead: a part of any size and shape, brought to 224x224, and turned. No
# preset of the paper does so; `--augment.recipe resized-crop --augment.rotation-degrees 20` does.

# %%
resized = changed(config, recipe="resized-crop")
turned = changed(resized, rotation_degrees=20.0, scale=(0.6, 1.0), ratio=(1.0, 1.0))
shown([rows(resized)[0], rows(turned)[0]], "resized")

# %% [markdown]
# ## The views of a test
#
# Corners, centre and their mirrors: the network answers ten times, and its probabilities are
# averaged. Where training does not mirror (a mirrored 3 is no digit), the test does not either,
# and ten views are five crops; where images are stored in the size of the network's input, there
# is nothing to move.

# %%
for name in ("imagenet", "digits", "cifar10-18pct"):
    preset = alexnet_jax.PRESETS[name]
    size = preset.image_size or alexnet_jax.NETWORKS[preset.network].image_size
    stored, mirror = preset.data.stored_size, preset.augment.mirror
    averaged = averaged_views(stored, size, 10, mirror)
    print(f"{name:14} {size:3} of {stored:3} pixels: {averaged.name}")
shown([views], "views")
