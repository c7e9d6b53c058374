# %% [markdown]
# # AlexNet in small, from training to features
#
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/alexnet_jax/blob/main/experiments/notebooks/alexnet.ipynb)
#
# The network of Krizhevsky, Sutskever and Hinton (2012) has five convolutions and three dense
# layers on two GPUs, 61 million parameters, and trained for five to six days. This notebook
# trains the same sequence of layers with 232,490 parameters on 1,797 handwritten digits: a minute
# on two CPU cores, seconds on a GPU or TPU. Everything that is done here with the small network
# works in the same way with the large one.
#
# The first cell installs the library where it is not there yet, as in Colab.

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

# %% [markdown]
# ## Devices
#
# A batch is shared by all devices that JAX finds, so that nothing below depends on their kind.

# %%
import dataclasses
import json
import logging
import os
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import alexnet_jax

logging.disable(logging.WARNING)  # what the libraries tell each other
for device in jax.devices():
    print(f"{device.platform}: {device.device_kind}")

# %% [markdown]
# ## The network of the paper
#
# Every layer of the large network: what it makes of an image, what it holds and costs, and which
# tower (GPU) holds it. `alexnet_jax.summary("digits")` shows the small one.

# %%
print(alexnet_jax.summary(alexnet_jax.NETWORKS["paper"]))

# %% [markdown]
# ## Training
#
# A preset is a frozen dataclass; `dataclasses.replace` makes another experiment of it. Training
# writes checkpoints, metrics and a report into the folder. Run the cell again and it goes on
# where it stopped, bit for bit; a finished run is left as it is.

# %%
config = alexnet_jax.PRESETS["digits"]
if os.environ.get("ALEXNET_NOTEBOOK_EPOCHS"):  # a shorter run, for the tests
    config = dataclasses.replace(config, epochs=float(os.environ["ALEXNET_NOTEBOOK_EPOCHS"]))
print(f"{config.network}: {config.epochs:g} epochs in batches of {config.batch_size}")

workdir = Path("runs/digits")
state = alexnet_jax.train(config, workdir)

# %% [markdown]
# ## The learning curve
#
# `metrics.jsonl` has a row per 20 steps and one per evaluation. (The whole story, with curves and
# the worst mistakes, is one file: `report.html` in the run folder.) The loss in training is taken
# with random crops and dropout (§4), hence it begins above that of the test.

# %%
rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
training = [row for row in rows if "train/loss" in row]
print("epoch  training loss  test loss  test error")
for row in rows:
    if "validation/loss" in row:
        before = [earlier for earlier in training if earlier["step"] <= row["step"]][-1]
        print(
            f"{row['epoch']:5.1f}  {before['train/loss']:13.4f}  {row['validation/loss']:9.4f}  "
            f"{100 * row['validation/top1_error']:8.2f} %"
        )

# %% [markdown]
# ## The filters of conv1
#
# As the paper's figure 3: black is the smallest weight of the layer, white the largest. The upper
# row has the filters of the first tower, the lower row those of the second. The digits are grey,
# so only the sum of a filter's three colours matters, and nothing else is learnt: that sum is
# shown. With photos, leave the sum out; there one tower learns colours and the other does not
# (§6.1).

# %%
from alexnet_jax.network.filters import filter_picture, tile_filters


def picture(pixels: np.ndarray | Image.Image, name: str) -> Image.Image:
    """Saves a picture in the run folder and returns it; a notebook shows it."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(workdir / name)
    return image


kernel = np.asarray(state.params["conv1"]["kernel"])
print("conv1:", kernel.shape, "(height, width, colours, filters)")
picture(filter_picture(kernel.sum(axis=2, keepdims=True), groups=2, magnify=8), "filters.png")

# %% [markdown]
# ## Inference
#
# From here on only the run folder is needed: it holds the parameters of the best evaluation
# (`best`) and of the last step, the mean image, and the names of the classes. `predict` takes
# file names, Pillow images or arrays of any size.

# %%
from alexnet_jax.data.dataset import open_dataset

classifier = alexnet_jax.load(workdir)
dataset = open_dataset(json.loads((workdir / "run.json").read_text())["data_path"])
test = dataset.split("test")
images = test.images(range(test.num_examples))
predictions = classifier.predict(images, top_k=3)
for label, best in list(zip(test.labels, predictions, strict=True))[:4]:
    answers = ", ".join(f"{p.label} ({100 * p.probability:.1f} %)" for p in best)
    print(f"a {classifier.class_names[label]} looks like {answers}")


def captioned(images: np.ndarray, captions: list[str], right: list[bool]) -> Image.Image:
    """Draws images in rows of eight with a line below each; red where it is wrong."""
    side, line, columns = 96, 22, 8
    size = (columns * side, -(-len(images) // columns) * (side + line))
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(index, columns)
        left, top = column * side, row * (side + line)
        tile = Image.fromarray(image).resize((side - 4, side - 4), Image.Resampling.NEAREST)
        canvas.paste(tile, (left + 2, top + 2))
        draw.text((left + 4, top + side), caption, "black" if right[index] else "red", font)
    return canvas


chance = classifier.probabilities(images)
hardest = chance[np.arange(len(images)), test.labels].argsort()  # by that of the right answer
captions, right, chosen = [], [], [*range(8), *hardest[:8]]
for index in chosen:
    answer, label = chance[index].argmax(), test.labels[index]
    right.append(answer == label)
    captions.append(
        f"{answer}: {100 * chance[index].max():.0f} %" if right[-1] else f"{answer} for a {label}"
    )
print("above: the first eight of the test; below: the eight hardest, wrong answers in red")
picture(captioned(images[chosen], captions, right), "predictions.png")

# %% [markdown]
# ## Ten views, here five crops
#
# The paper averages the probabilities of ten windows of a test image: the corners and the centre,
# and their mirror images (§4.1). A network that was trained without mirroring, as this one (a
# mirrored 3 is no digit), gets the five unmirrored ones.

# %%
for views in (1, 10):
    probabilities = classifier.probabilities(images, views=views)
    wrong = int(np.sum(probabilities.argmax(axis=1) != test.labels))
    name = "centre" if views == 1 else "views"
    print(f"{name:6}: {wrong} of {len(images)} wrong, {100 * wrong / len(images):.2f} %")

# %% [markdown]
# ## Features
#
# The activations of any layer, after its nonlinearity. Two images whose `fc7` lie close to each
# other are alike for the network, whatever their pixels say: the paper's figure 4 (right) shows
# test images and the training images nearest to them. Here the first column is the test image.

# %%
train = dataset.split("train")
known_images = train.images(range(train.num_examples))
known = classifier.features(known_images, layer="fc7")
asked = classifier.features(images, layer="fc7")[:6]
print("fc7:", known.shape, "(images, features)")
distances = np.linalg.norm(asked[:, None] - known[None], axis=-1)
nearest = distances.argsort(axis=1)[:, :7]
same = np.mean(train.labels[nearest] == test.labels[:6, None])
print(f"{100 * same:.0f} % of the neighbours are of the same class")
white = np.full_like(images[:1], 255)
pairs = zip(images[:6], nearest, strict=True)
lines = [np.concatenate([image[None], white, known_images[n]]) for image, n in pairs]
picture(tile_filters(np.concatenate(lines), per_row=9, magnify=2), "neighbours.png")

# %% [markdown]
# ## Further
#
# `layers.ipynb` looks at what the layers find alike, `own_photos.ipynb` trains on a folder of your
# own, `two_towers.ipynb` takes the two GPUs of 2012 apart.
