"""A linear classifier on frozen features: softmax regression with an L2 penalty."""

import warnings
from typing import Any, NamedTuple

import numpy as np

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Weights of half the squared norm beside the mean loss, of which held-out images choose one."""
_HELD_OUT = 5  # every fifth training image
_ITERATIONS = 300


class LinearResult(NamedTuple):
    """What a linear classifier has learnt."""

    penalty: float  # chosen on held-out training images
    held_out: dict[float, float]  # accuracy on them for every penalty
    train_accuracy: float
    predictions: np.ndarray  # int32 [n], its answers for the test images


def classify(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> LinearResult:
    """Trains on features `[n, features]`; answers for test images, whose labels it never gets."""
    # A loop without the square of all values: they fill some hundred megabytes.
    scale = np.float32(np.sqrt(np.mean([np.mean(np.square(row)) for row in train])))
    train, test = train / scale, test / scale
    # Files lie in no order of classes, but a fixed shuffle makes sure of it.
    order = np.random.default_rng(0).permutation(len(labels))
    held, kept = order[::_HELD_OUT], np.delete(order, np.s_[::_HELD_OUT])
    scores = {}
    for penalty in PENALTIES:
        model = _fitted(train[kept], labels[kept], penalty)
        scores[penalty] = float(np.mean(model.predict(train[held]) == labels[held]))
        print(f"  penalty {penalty:g}: held out {100 * scores[penalty]:.1f} %", flush=True)
    best = max(PENALTIES, key=lambda penalty: (scores[penalty], penalty))
    model = _fitted(train, labels, best)
    accuracy = float(np.mean(model.predict(train) == labels))
    return LinearResult(best, scores, accuracy, model.predict(test))


def _fitted(values: np.ndarray, labels: np.ndarray, penalty: float) -> Any:
    """Returns scikit-learn's classifier that minimizes mean loss + penalty / 2 * |w|^2."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / (penalty * len(labels)), max_iter=_ITERATIONS, tol=1e-3)
    with warnings.catch_warnings():
        # Stopping early is another form of regularization; the held-out images judge it, too.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(values, labels)
