"""Parameters to torchvision's layout and back, through files and through PyTorch's own module."""

import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.weights import READERS
from alexnet_jax.weights.readers.torchvision import from_torchvision, to_torchvision
from experiments.parity.compare import apart, ours
from experiments.parity.samples import make_images, make_params

NETWORK = "one-weird-trick"


class TorchvisionAlexNet(nn.Module):
    """The module whose `state_dict` torchvision's files hold, written out from its definition."""

    def __init__(self, classes: int):
        super().__init__()
        pool = nn.MaxPool2d(3, 2)
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), pool),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), pool),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), pool),
        )
        self.classifier = nn.Sequential(
            *(nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU()),
            *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()),
            nn.Linear(4096, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns logits of images `[n, 3, 224, 224]`."""
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), (6, 6))
        return self.classifier(torch.flatten(pooled, 1))


def compare_round_trips() -> list[dict[str, Any]]:
    """Returns one row per way: bit equality, or the largest relative difference of the logits."""
    network = NETWORKS[NETWORK]
    params = jax.tree.map(lambda leaf: leaf.astype(np.float32), make_params(network))
    images, labels = make_images(network, 2)
    arrays = to_torchvision(params, network)
    rows = [_row("ours -> torchvision's layout -> ours", from_torchvision(arrays, network), params)]

    module = TorchvisionAlexNet(network.classes).eval()
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    module.load_state_dict(tensors, strict=True)
    with torch.no_grad():
        expected = module(torch.tensor(images.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    logits = ours(network, params, images, labels, np.float32).logits
    rows.append({"way": "ours -> PyTorch's module: logits", "difference": apart(logits, expected)})

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "alexnet.pth"
        for kind, zipped in (("zip", True), ("older", False)):
            torch.save(module.state_dict(), file, _use_new_zipfile_serialization=zipped)
            found = READERS["torchvision"].read(file).params
            rows.append(_row(f"ours -> PyTorch's module -> .pth ({kind}) -> ours", found, params))
        file = file.with_suffix(".safetensors")
        save_file(arrays, file)
        found = READERS["torchvision"].read(file).params
        rows.append(_row("ours -> .safetensors with torchvision's keys -> ours", found, params))

    torch.manual_seed(0)
    theirs = {k: v.numpy() for k, v in TorchvisionAlexNet(1000).state_dict().items()}
    back = to_torchvision(from_torchvision(theirs, network), network)
    same = theirs.keys() == back.keys() and all(_same_bits(back[k], theirs[k]) for k in theirs)
    return [*rows, {"way": "PyTorch's module -> ours -> torchvision's layout", "bit_equal": same}]


def _row(way: str, found: Any, expected: Any) -> dict[str, Any]:
    same = found.keys() == expected.keys() and all(
        _same_bits(found[layer][leaf], value)
        for layer, leaves in expected.items()
        for leaf, value in leaves.items()
    )
    return {"way": way, "bit_equal": same}


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    if a.dtype != np.float32 or b.dtype != np.float32 or a.shape != b.shape:
        return False
    return np.array_equal(np.ascontiguousarray(a).view("u4"), np.ascontiguousarray(b).view("u4"))
