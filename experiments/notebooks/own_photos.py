# %% [markdown]
# # Your own photos, with and without a trunk
#
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/alexnet_jax/blob/main/experiments/notebooks/own_photos.ipynb)
#
# A folder of photos, one folder per class, becomes a classifier. With some hundred photos the
# network should not begin from nothing: the first layers of a network that has seen many other
# images (a *trunk*) already tell edges, colours and textures apart, and only the classifier is
# learned. The paper does so in §6 (Fall 2011 to ILSVRC-2012).
#
# As it is, this notebook makes its photos from handwritten digits: it tells eights from nines with
# 40 of each, alone, and on the layers of a network that has seen zeros to sevens only. Name your
# own folder and weights below. The first cell installs the library, as in Colab.

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
import csv
import dataclasses
import json
import logging
import os
from pathlib import Path

import jax
import numpy as np
from PIL import Image

import alexnet_jax
from alexnet_jax.config import DataConfig

logging.disable(logging.WARNING)  # what the libraries tell each other
print(f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}")

# %% [markdown]
# ## Photos and trunk
#
# `PHOTOS`: `.../cat/1.jpg`, `.../dog/1.jpg`, …, or with `train/` and `test/` above; or a tar of
# that. `WEIGHTS`: e.g. `alexnet-owt-7be5be79.pth`, torchvision's AlexNet, which the verb
# `import-weights` turns into a run folder; no PyTorch is needed for that.

# %%
PHOTOS = ""
WEIGHTS = ""

SHORT = os.environ.get("ALEXNET_NOTEBOOK_EPOCHS")  # a shorter run, for the tests
TRUNK = "runs/trunk"


def write_digits(folder: str, digits: range, train: int, test: int) -> None:
    """Writes pictures of some digits, one folder per digit below train/ and test/."""
    from alexnet_jax.data.dataset import open_dataset
    from alexnet_jax.locations import default_data_dir
    from alexnet_jax.preparation.prepare import ensure_prepared

    path = ensure_prepared(alexnet_jax.PRESETS["digits"].data, default_data_dir())
    dataset = open_dataset(path)
    for split, most in (("train", train), ("test", test)):
        part = dataset.split(split)
        for digit in digits:
            place = Path(folder, split, f"digit {digit}")
            place.mkdir(parents=True, exist_ok=True)
            for index in np.flatnonzero(part.labels == digit)[:most]:
                Image.fromarray(part.images([index])[0]).save(place / f"{index}.png")


if not PHOTOS:
    write_digits("photos", range(8, 10), 40, 100)
    PHOTOS = "photos"
if WEIGHTS and not Path(TRUNK).exists():
    from alexnet_jax.weights.importing import import_weights

    import_weights(WEIGHTS, "torchvision", TRUNK)
elif not WEIGHTS:
    write_digits("others", range(8), 10**6, 100)
    data = DataConfig("zero-to-seven", "folder", "others", 32, "raw", validation_split="test")
    trunk = dataclasses.replace(
        alexnet_jax.PRESETS["digits"], data=data, epochs=float(SHORT or 15), final_views=1
    )
    alexnet_jax.train(trunk, TRUNK)

# %% [markdown]
# ## Training on the trunk
#
# The preset `folder` looks at the photos first: how many of each class, how large, which of the
# test stand in training, too. Then it chooses what suits them; whatever is set by hand is kept.

# %%
folder = alexnet_jax.PRESETS["folder"]
folder = dataclasses.replace(folder, data=dataclasses.replace(folder.data, source=PHOTOS))
on_trunk = dataclasses.replace(
    folder, transfer=dataclasses.replace(folder.transfer, run=TRUNK), final_views=1
)
alexnet_jax.train(on_trunk, "runs/on-trunk")

# %% [markdown]
# ## Training from nothing
#
# The same photos without the trunk. (With photos of your own, take the two lines about the network
# away: the preset chooses a network for 64 pixels.)

# %%
alone = dataclasses.replace(folder, final_views=1)
if not WEIGHTS:  # the same small network as on the trunk, and as many steps
    same = json.loads(Path("runs/on-trunk/config.json").read_text())
    split = same["data"]["validation_split"]
    data = dataclasses.replace(folder.data, stored_size=32, store="raw", validation_split=split)
    alone = dataclasses.replace(
        alexnet_jax.PRESETS["digits"],
        data=data,
        epochs=same["epochs"],
        batch_size=same["batch_size"],
        final_views=1,
    )
alexnet_jax.train(alone, "runs/alone")

# %% [markdown]
# ## What it was worth
#
# Of digits the network from nothing makes fewer errors: they are so plain that 40 of each teach all
# its layers, while those of the trunk stay as zeros to sevens have left them. Of photos it is the
# other way round, by far: `experiments/own_photos` has 300 cats and 300 dogs both ways.


# %%
def errors(workdir: str) -> list[float]:
    """Returns the test errors of a run, one per validation, as fractions."""
    with Path(workdir, "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [float(row["validation/top1_error"]) for row in rows if row["validation/top1_error"]]


for name in ("on-trunk", "alone"):
    found = errors(f"runs/{name}")
    print(f"{name:8}  last {100 * found[-1]:5.1f} %   best {100 * min(found):5.1f} %")

# %% [markdown]
# ## Using it
#
# From here on only the run folder is needed. `report.html` in it shows curves, filters, mistakes
# and neighbours; `alexnet demo --workdir runs/on-trunk` is a page to drop photos on.

# %%
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.runs.run_folder import read_run

classifier = alexnet_jax.load("runs/on-trunk")
run = read_run("runs/on-trunk")
test = open_dataset(run.info["data_path"]).split(run.config.data.validation_split)
images = test.images(range(3))  # or the names of photo files
for key, answers in zip(test.keys, classifier.predict(images, top_k=2), strict=False):
    said = ", ".join(f"{a.label} {100 * a.probability:.1f} %" for a in answers)
    print(f"{key}: {said}")
