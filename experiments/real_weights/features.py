"""LabelledFeatures of all images of a prepared set, cached in a file."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alexnet_jax.data.dataset import Dataset
from alexnet_jax.insight.classifier import Classifier

_AT_ONCE = 256


class LabelledFeatures(NamedTuple):
    """The features and labels of one split."""

    values: np.ndarray  # float32 [n, features]
    labels: np.ndarray  # int32 [n]


def features_of(
    classifier: Classifier, dataset: Dataset, split_name: str, layer: str, digest: str, cache: Path
) -> LabelledFeatures:
    """Returns the layer's activations for the centre view of every image, flattened.

    They are cached in a file that is named after the `digest` of the weights.
    """
    split = dataset.split(split_name)
    key = f"{digest}{dataset.fingerprint}{split_name}{layer}"
    path = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.npy"
    if path.exists():
        return LabelledFeatures(np.load(path), split.labels)
    rows = []
    for first in range(0, split.num_examples, _AT_ONCE):
        indices = np.arange(first, min(first + _AT_ONCE, split.num_examples))
        found = classifier.features(split.images(indices), layer)
        rows.append(found.reshape(len(found), -1))
        print(f"  {split_name}: {indices[-1] + 1} of {split.num_examples}", flush=True)
    values = np.concatenate(rows)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return LabelledFeatures(values, split.labels)
