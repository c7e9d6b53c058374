"""The peaks that makers state for their cards, so that shares of different programs compare."""

import re
from typing import NamedTuple

NVIDIA = "NVIDIA data sheet"
GOOGLE = "Google Cloud TPU documentation, system architecture"


class Card(NamedTuple):
    """Peaks in TFLOP/s for dense matrices, a multiply-add counted as two; None: no such unit.

    `float32` is what convolutions use by default: tensor cores with shortened mantissas (TF32)
    where there are any, and the bfloat16 units of a TPU.
    """

    pattern: str  # of the name that JAX gives the device
    bfloat16: float | None
    float32: float | None
    source: str


CARDS = (
    Card(r"H200 NVL", 835.5, 417.5, f"{NVIDIA} H200"),
    Card(r"H200", 989.0, 494.5, f"{NVIDIA} H200"),
    Card(r"H100 NVL", 835.5, 417.5, f"{NVIDIA} H100"),
    Card(r"H100 PCIe", 756.0, 378.0, f"{NVIDIA} H100"),
    Card(r"H100 .*HBM3", 989.0, 494.5, f"{NVIDIA} H100"),
    Card(r"A100", 312.0, 156.0, f"{NVIDIA} A100"),
    Card(r"\bL4\b", 121.0, 60.0, f"{NVIDIA} L4"),
    Card(r"\bT4\b", None, 8.1, f"{NVIDIA} T4"),
    Card(r"V100-PCIE", None, 14.0, f"{NVIDIA} V100"),
    Card(r"V100-SXM2", None, 15.7, f"{NVIDIA} V100"),
    Card(r"RTX 4090$", 165.2, 82.6, "NVIDIA Ada GPU architecture, appendix A"),
    Card(r"TPU v4$", 275.0, 275.0, GOOGLE),
    Card(r"TPU v5( lite|e)$", 197.0, 197.0, GOOGLE),
    Card(r"TPU v5p?$", 459.0, 459.0, GOOGLE),
    Card(r"TPU v6( lite|e)$", 918.0, 918.0, GOOGLE),
)
"""The first whose pattern is found counts."""


def card(device: str) -> Card | None:
    """Returns the card of a device; None: its peak is not known here."""
    return next((one for one in CARDS if re.search(one.pattern, device)), None)


def share(device: str, dtype: str, gflop_per_second: float) -> float | None:
    """Returns a rate over the stated peak of that type; None: the peak is not known here."""
    peak = getattr(card(device), dtype, None)
    return gflop_per_second / 1e3 / peak if peak else None
