# %% [markdown]
# # Two towers: one network on two devices
#
# [![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/alexnet_jax/blob/main/experiments/notebooks/two_towers.ipynb)
#
# The network of 2012 did not fit into the three gigabytes of one GTX 580, so Krizhevsky,
# Sutskever and Hinton spread it over two. Each GPU had half of the feature maps, and they talked
# only in certain layers: `conv3` and the dense layers see everything, `conv2`, `conv4` and
# `conv5` only what lies on their own GPU (§3.2, §3.5, figure 2).
#
# Here that is no second model but a *sharding*: the parameters are those of one network, their
# last axis is split over two devices, and the compiler's collectives are the wires between the
# GPUs. This notebook looks at each part of that on two virtual devices of one CPU. Everything is
# small, and the same calls work on two GPUs or on hundreds of TPU cores.

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
# ## The mesh
#
# JAX can show one CPU as several devices, if it is asked before its first use (or by the
# environment: `JAX_NUM_CPU_DEVICES=2`). A mesh gives the devices two coordinates: which share of
# the batch (`data`) and which half of the network (`tower`) they compute.

# %%
import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
print(f"{jax.device_count()} devices")

# %%
import re

import jax.numpy as jnp
import numpy as np

from alexnet_jax import NETWORKS
from alexnet_jax.config import OptimizerConfig
from alexnet_jax.network import placement, towers
from alexnet_jax.network.layers import (
    Conv,
    Dense,
    Gather,
    Network,
    summarize,
    with_changes,
    with_features,
)
from alexnet_jax.training.steps import init_state, make_train_step

mesh = placement.make_mesh(towers=2)
print(mesh)

# %% [markdown]
# ## The network
#
# The paper's layers with fewer features, for images of 64x64 pixels, and with larger initial
# weights so that so narrow a network passes a signal.

# %%
WIDTHS = {"conv1": 16, "conv2": 32, "conv3": 48, "conv4": 48, "conv5": 32, "fc6": 64, "fc7": 64}
layers = with_features(NETWORKS["paper"].layers, WIDTHS | {"fc8": 10})
for kind in (Conv, Dense):
    layers = with_changes(layers, kind, weight_std=0.1)
network = Network("narrow", layers, 64, "the paper's layers, narrower")

optimizer = OptimizerConfig()
state = jax.tree.map(np.asarray, init_state(network, optimizer, image_size=64, seed=0))
params = state.params
random = np.random.default_rng(0)
images = random.standard_normal((8, 64, 64, 3), np.float32)
labels = np.arange(8, dtype=np.int32)
print(f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,} parameters")

# %% [markdown]
# ## What each device holds
#
# `placement.put` splits every layer but the classifier on its last axis, its outputs. So device 0
# has the first half of the filters, device 1 the second half.
#
# - `conv1` reads the image, which both have.
# - `conv2` is grouped: its kernel is `[5, 5, inputs of one tower, outputs]`, and the first half
#   of the outputs belongs to the first group. Splitting the last axis therefore *is* giving each
#   GPU its tower.
# - `conv3` has no groups. Half of its outputs still need all inputs: here the towers must talk.
# - `fc8` is whole on both (in 2012 it was on one of them): it is small, and the loss needs all of
#   it.

# %%
placed = placement.put(mesh, network, params)
for name in ("conv1", "conv2", "conv3", "fc6", "fc8"):
    kernel = placed[name]["kernel"]
    print(f"{name}: whole {kernel.shape}")
    for shard in kernel.addressable_shards:
        first, last, _ = shard.index[-1].indices(kernel.shape[-1])
        print(f"    {shard.device} holds {shard.data.shape}, outputs {first} to {last - 1}")
for device in mesh.devices.flat:
    held = [leaf for leaf in jax.tree.leaves(placed) for leaf in leaf.addressable_shards]
    count = sum(shard.data.size for shard in held if shard.device == device)
    print(f"{device}: {count:,} parameters")

# %% [markdown]
# That the halves of a grouped kernel are the towers can be seen in two lines: the grouped
# convolution of all channels, and an ordinary one of the second tower's channels with the second
# half of the kernel.


# %%
def convolve(x, kernel, groups=1):
    """Convolves [n, h, w, c] with [h, w, c / groups, features], padding 2."""
    kinds = ("NHWC", "HWIO", "NHWC")
    padding = ((2, 2), (2, 2))
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=kinds, feature_group_count=groups
    )


def largest_difference(ours, theirs):
    """Returns the largest difference between two trees, in parts of each leaf's largest value."""
    ours, theirs = jax.tree.map(np.asarray, (ours, theirs))
    parts = jax.tree.map(lambda a, b: np.abs(a - b).max() / np.abs(b).max(), ours, theirs)
    return max(jax.tree.leaves(parts))


kernel = params["conv2"]["kernel"]
maps = random.standard_normal((8, 7, 7, 16), np.float32)
grouped = convolve(maps, kernel, groups=2)
second = convolve(maps[..., 8:], kernel[..., 16:])
print(f"second tower, largest difference: {largest_difference(second, grouped[..., 16:]):.1e}")

# %% [markdown]
# ## What each device computes
#
# `tower_network` gives it as a network of its own: half of the features, no groups left, and a
# `Gather` where the channels of both towers are needed: before `conv3`, `fc6`, `fc7` and `fc8`. A
# layer's arithmetic is half of the whole one's everywhere but in the classifier.

# %%
tower = towers.tower_network(network, 2)
for layer in summarize(tower):
    marker = "  <- both towers" if isinstance(layer.layer, Gather) else ""
    sizes = f"{layer.input_shape} -> {layer.output_shape}"
    print(f"{layer.name:9} {sizes:34} {layer.weights:8,} weights{marker}")

# %% [markdown]
# ## The same network
#
# `make_forward` runs that on the mesh (`jax.shard_map` over both axes). Loss, logits and the
# gradients of all parameters, with dropout, against one device: the differences are rounding,
# because sums of floats are taken in another order. Dropout draws the mask of the whole layer and
# cuts the tower's part out of it, or this would be another network.


# %%
def gradient_of(forward):
    """Returns the jitted ((loss, logits), gradients) of a batch."""

    def loss(params, images, labels, key):
        logits = forward(params, images, train=True, key=key)
        own = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
        return -jnp.mean(own), logits

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


key = jax.random.key(3)
one_device = gradient_of(towers.make_forward(network))
two_devices = gradient_of(towers.make_forward(network, mesh=mesh))
two_devices = two_devices.lower(placed, images, labels, key).compile()
(loss, logits), gradients = one_device(params, images, labels, key)
(tower_loss, tower_logits), tower_gradients = two_devices(placed, images, labels, key)
print(f"loss {loss:.6f} on one device, {tower_loss:.6f} on two")
print(f"logits, largest difference: {largest_difference(tower_logits, logits):.1e}")
print(f"gradients, largest difference: {largest_difference(tower_gradients, gradients):.1e}")

# %% [markdown]
# ## What crosses between the towers
#
# The compiled program says. Forward, an `all-gather` stands where a `Gather` was. Backward, each
# becomes its transpose, a `reduce-scatter`: a tower sums what both say about its own channels.
# Before `fc8` nothing comes back, because both towers compute the same classifier and so have the
# whole gradient already. Nothing else is sent: no parameters, and no gradients of parameters.

# %%
program = two_devices.as_text() or ""
crossing = re.findall(r"= (\w+\[[\d,]*\])\S* ([a-z-]+?)(?:-start)?\(", program)
names = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")
for name in names:
    shapes = [shape for shape, operation in crossing if operation == name]
    print(f"{name}: {len(shapes)} {' '.join(shapes)}")

# %% [markdown]
# At the paper's own widths a tower sends, per image and in float32:

# %%
total = 0
for layer in summarize(towers.tower_network(NETWORKS["paper"], 2)):
    if isinstance(layer.layer, Gather):
        size = 4 * int(np.prod(layer.input_shape))
        total += size
        print(f"before layer {int(layer.name[-1]) + 1}: {layer.input_shape}, {size:,} bytes")
print(f"together {total:,} bytes; the image itself has {4 * 224 * 224 * 3:,}")

# %% [markdown]
# ## Training
#
# The train step of the library, with preprocessing, dropout, weight decay and momentum, five
# times on each: the same losses, and in the end the same parameters up to rounding. In float64,
# because in float32 a rounding may decide which pixel of a window is the largest, and after that
# two courses part. The state that comes from two devices can be saved and restored on one, and the
# other way round.

# %%
from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.data.stream import Batch

batch = Batch(
    images=random.integers(0, 256, (8, 64, 64, 3), np.uint8),
    labels=labels,
    mask=np.ones(8, bool),
    colour=np.zeros((8, 3), np.float32),
    offsets=np.zeros((8, 2), np.int32),
    flips=np.zeros(8, bool),
)
grey = np.full(3, 128, np.float32)
inputs = Inputs(mean=grey, scale=grey, colour=np.eye(3, dtype=np.float32))
preprocess = PreprocessConfig(mean="channel", scale="channel")


def as_float64(tree):
    """Returns the tree with float64 in place of float32."""
    return jax.tree.map(lambda x: x.astype("f8") if x.dtype == np.float32 else x, tree)


def train(mesh, steps=5):
    """Returns the losses of some steps in float64 and the parameters after them."""
    step = make_train_step(network, optimizer, preprocess, AugmentConfig(), np.float64, mesh=mesh)
    newest = placement.put(mesh, network, as_float64(state))
    put = placement.batch_putter(mesh, len(labels))
    rates = jax.tree.map(lambda _: np.float64(0.02), params)
    losses = []
    for _ in range(steps):
        newest, sums = step(newest, put(as_float64(batch)), as_float64(inputs), rates, np.bool_(0))
        losses.append(float(sums.loss / sums.count))
    return losses, newest.params


with jax.enable_x64(True):
    losses, trained = train(None)
    tower_losses, tower_trained = train(mesh)
print("one device :", *(f"{loss:.5f}" for loss in losses))
print("two towers :", *(f"{loss:.5f}" for loss in tower_losses))
print(f"parameters, largest difference: {largest_difference(tower_trained, trained):.1e}")

# %% [markdown]
# ## What has no towers
#
# A network without groups is one tower: splitting it would be another kind of parallelism. And
# where a normalization sums over the border between the towers (Caffe's networks), the split
# network would be another one. Both are refused.

# %%
from alexnet_jax.errors import InputError

for name in ("one-weird-trick", "caffenet"):
    try:
        towers.tower_network(NETWORKS[name], 2)
    except InputError as error:
        print(error)

# %% [markdown]
# ## From here
#
# The same from the command line: two towers on two devices, and two replicas of two towers on
# four, which share each batch. A run that was begun on one device goes on there.
#
# ```sh
# JAX_NUM_CPU_DEVICES=2 python -m alexnet_jax.main --workdir runs/towers --towers 2
# JAX_NUM_CPU_DEVICES=4 python -m alexnet_jax.main --workdir runs/towers --towers 2 --replicas 2
# ```
#
# The code is short: `alexnet_jax/network/towers.py` (what a tower computes) and
# `alexnet_jax/network/placement.py` (what lies where).
