"""One trained trunk, and the heads of the package `lpips`, in each of the three libraries.

PyTorch's are imported only where they are used.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

import alexnet_jax
from alexnet_jax.errors import InputError
from experiments.real_weights import trunk

PACKAGES = ("torch", "torchvision", "lpips", "torchmetrics")
_FIRST_LAYERS = {"slice1": 0, "slice2": 3, "slice3": 6, "slice4": 8, "slice5": 10}


def find_heads() -> Path:
    """Returns the file of the installed package."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    spec = importlib.util.find_spec("lpips")
    if missing or spec is None or spec.origin is None:
        raise InputError(f"{', '.join(missing)} missing: pip install {' '.join(PACKAGES)}")
    return Path(spec.origin).parent / "weights" / "v0.1" / "alex.pth"


def ours(archive: Path, heads: Path) -> Any:
    return alexnet_jax.lpips(trunk.read_trunk(archive), heads)


def theirs(archive: Path, library: str = "lpips", spatial: bool = False) -> Any:
    """Returns the module of `lpips` or of `torchmetrics`, in evaluation.

    Both would download torchvision's trunk; they get the archive's.
    """
    import torch

    if library == "lpips":
        package: Any = importlib.import_module("lpips")
        module = package.LPIPS(net="alex", pnet_rand=True, spatial=spatial, verbose=False)
    else:
        from torchmetrics.functional.image import lpips as functional

        module: Any = functional._LPIPS(net="alex", pnet_rand=True, spatial=spatial)
    arrays = trunk.as_torchvision(trunk.read_trunk(archive))
    with torch.no_grad():
        for name, place in _FIRST_LAYERS.items():
            convolution = getattr(module.net, name).get_submodule(str(place))
            for leaf in ("weight", "bias"):
                value = torch.from_numpy(arrays[f"features.{place}.{leaf}"])
                getattr(convolution, leaf).copy_(value)
    return module.eval().requires_grad_(False)


def as_torch(pictures: np.ndarray, memory_format: str = "contiguous") -> Any:
    """Returns `[n, 3, h, w]` of `[n, h, w, 3]`; `channels_last` keeps the order in memory."""
    import torch

    kind = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    return tensor.contiguous(memory_format=kind[memory_format])
