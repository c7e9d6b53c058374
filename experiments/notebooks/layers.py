# %% [markdown]
# # What the layers see: receptive fields and representational similarity
#
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/alexnet_jax/blob/main/experiments/notebooks/layers.ipynb)
#
# A layer can be read in two ways. One unit at a time: which pixels does it see? And as a whole:
# which pictures does it find alike? The second is asked with a representational similarity matrix
# (Kriegeskorte, Mur and Bandettini, 2008): the correlation of a layer's activations for every pair
# of pictures, which can be compared between layers, networks, and brains.
#
# The pictures are handwritten digits, scanned from people's writing, ten of each; name a folder of
# your own below. The first cell installs the library where it is not there yet, as in Colab.

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
import os
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import alexnet_jax

logging.disable(logging.WARNING)  # what the libraries tell each other
print(f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}")

# %% [markdown]
# ## A network and pictures
#
# `RUN` is any run folder: a network that was trained here, or imported (`import-weights`).
# `PICTURES` is a folder with one folder per kind of picture. Empty, both are made from the digits:
# a minute of training on two CPU cores.

# %%
RUN = ""  # e.g. "runs/bvlc"
PICTURES = ""  # e.g. "animals" with animals/cat/1.jpg, animals/owl/1.jpg, …
EACH = 10  # pictures of each kind

if not RUN:
    RUN = "runs/digits"
    config = alexnet_jax.PRESETS["digits"]
    if os.environ.get("ALEXNET_NOTEBOOK_EPOCHS"):  # a shorter run, for the tests
        config = dataclasses.replace(config, epochs=float(os.environ["ALEXNET_NOTEBOOK_EPOCHS"]))
    alexnet_jax.train(config, RUN)
classifier = alexnet_jax.load(RUN)
network = classifier.network

if not PICTURES:
    from alexnet_jax.data.dataset import open_dataset
    from alexnet_jax.runs.run_folder import read_run

    test = open_dataset(read_run(RUN).info["data_path"]).split("test")
    for digit in range(10):
        folder = Path("pictures") / str(digit)
        folder.mkdir(parents=True, exist_ok=True)
        for index in np.flatnonzero(test.labels == digit)[:EACH]:
            Image.fromarray(test.images([index])[0]).save(folder / f"{index}.png")
    PICTURES = "pictures"

files = [
    file
    for folder in sorted(Path(PICTURES).iterdir())
    if folder.is_dir()
    for file in sorted(folder.iterdir())[:EACH]
]
kinds = np.array([file.parent.name for file in files])
names = sorted(set(kinds))
print(f"{network.name}: {len(files)} pictures of {len(names)} kinds")

# %% [markdown]
# ## What one unit sees
#
# Of every layer: how many units along a side, how many pixels of the image each of them sees, how
# far apart its neighbours look, and the pixel on which the first one is centred.

# %%
fields = alexnet_jax.receptive_fields(network, classifier.image_size)
print("layer    units   sees  stride  first centre")
for field in fields:
    print(
        f"{field.layer:8} {field.units:5} {field.size:6} {field.stride:7g} {field.first_centre:9g}"
    )

# %% [markdown]
# ## Activations of several layers
#
# One pass gives them all. `conv1:linear` is before the nonlinearity, `conv1` after it, `pool1`
# after pooling. (For more pictures than fit into memory: `alexnet features --stream` writes them
# into files that NumPy maps.)

# %%
from alexnet_jax.network.layers import parametric_layers

layers = ["conv1:linear", *(layer.name for layer in parametric_layers(network.layers))]
activations = classifier.features(files, layer=layers)
for layer in layers:
    print(f"{layer:12} {activations[layer].shape}")

# %% [markdown]
# ## Which pictures are alike
#
# For each layer the correlation between the activations of every pair of pictures, sorted by kind:
# white is alike, black is not. Towards the end the squares of one kind stand out.


# %%
def similarity(values: np.ndarray) -> np.ndarray:
    """Returns the correlation of the activations of each pair of pictures, [n, n]."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.maximum(lengths, 1e-12)
    return rows @ rows.T


matrices = {"pixels": similarity(np.stack([np.asarray(Image.open(f).convert("RGB").resize((32, 32)))
                                           for f in files]))}  # fmt: skip
matrices |= {layer: similarity(activations[layer]) for layer in layers}


def drawn(matrices: dict[str, np.ndarray], side: int = 150, columns: int = 5) -> Image.Image:
    """Draws matrices in rows, each on a scale of its own."""
    gap, line = 12, 20
    rows = -(-len(matrices) // columns)
    size = (columns * (side + gap) + gap, rows * (side + gap + line) + gap)
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for place, (name, matrix) in enumerate(matrices.items()):
        row, column = divmod(place, columns)
        left, top = gap + column * (side + gap), gap + row * (side + gap + line)
        apart = matrix[~np.eye(len(matrix), dtype=bool)]
        low, high = np.percentile(apart, [1, 99])
        grey = np.clip((matrix - low) / max(high - low, 1e-9), 0, 1)
        tile = Image.fromarray(np.uint8(255 * grey)).resize((side, side), Image.Resampling.NEAREST)
        canvas.paste(tile, (left, top + line))
        draw.text((left, top), name, "black", font)
    return canvas


def saved(picture: Image.Image, name: str) -> Image.Image:
    """Saves a picture in the run folder and returns it; a notebook shows it."""
    picture.save(Path(RUN) / name)
    return picture


saved(drawn(matrices), "similarity.png")

# %% [markdown]
# ## How far kinds stand apart
#
# In numbers: the mean correlation of two pictures of one kind, less that of two of different kinds.

# %%
same = kinds[:, None] == kinds[None]
others = ~np.eye(len(files), dtype=bool)
print("layer         one kind  different   apart")
apart = {}
for name, matrix in matrices.items():
    within, between = matrix[same & others].mean(), matrix[~same].mean()
    apart[name] = within - between
    print(f"{name:12} {within:9.3f} {between:10.3f} {apart[name]:7.3f}")

# %% [markdown]
# ## Which layers are alike
#
# The same question once more, of the matrices: two layers are alike where they find the same
# pictures alike (Spearman's correlation of the matrices' upper halves). A matrix measured in a
# brain would be one more row here.

# %%
upper = np.triu_indices(len(files), 1)
ranks = np.stack([matrix[upper].argsort().argsort() for matrix in matrices.values()])
second: np.ndarray = np.corrcoef(ranks)  # type: ignore
print(" " * 13 + " ".join(f"{name[:7]:>7}" for name in matrices))
for name, row in zip(matrices, second, strict=True):
    print(f"{name:12} " + " ".join(f"{value:7.2f}" for value in row))
