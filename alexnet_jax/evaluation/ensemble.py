"""Several networks as one: a weighted average of their probabilities. Paper §6, table 2.

The paper says "averaging". The 2012 scripts gave each network a coefficient, which they had tuned
on the top-5 error of the validation set (file `avg-valid.py`) before they used it on the test set
(file `avg-test.py`). Here both are at hand: equal weights, and coefficients found as they were.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.evaluation.evaluate import Evaluation, evaluation_of
from alexnet_jax.evaluation.views import Averaged

GRID = tuple(i / 20 for i in range(21))
"""Values that a tuned coefficient may take: 0 to 1 in steps of 0.05."""
_START, _PASSES = 0.5, 5
_ROWS = 1024  # images at a time, so that what is compared stays in the cache


@dataclass(frozen=True)
class Member:
    """One run of an ensemble.

    Attributes:
      name: what messages call it, e.g. the run folder.
      evaluation: its test, with probabilities.
      fingerprint: of the data set that it was tested on.
      class_names: in the order of the columns of its probabilities.
      averaged: the views whose probabilities these are the averages of; None: not known.
    """

    name: str
    evaluation: Evaluation
    fingerprint: str
    class_names: tuple[str, ...]
    averaged: Averaged | None = None


class Tuning(NamedTuple):
    """Coefficients and what they reach on the images that they were tuned on.

    Attributes:
      coefficients: one per member, 0 to 1; only their ratios matter.
      error, equal_error: fraction of wrong answers with them, and with equal weights.
      answers: per image; 5, or 1 where there are no more than five classes.
      count: images.
    """

    coefficients: tuple[float, ...]
    error: float
    equal_error: float
    answers: int
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]


class Ensemble(NamedTuple):
    """A tested ensemble.

    Attributes:
      names: of the members.
      averaged: what the tests of the members average, as far as it is known.
      coefficients: one per member.
      evaluation: of the average with these coefficients.
      equal: of the average with equal weights, on the same images.
      tuning: how the coefficients were found; None: they are equal.
      optimistic: they were tuned on the images of the test.
    """

    names: tuple[str, ...]
    averaged: tuple[Averaged | None, ...]
    coefficients: tuple[float, ...]
    evaluation: Evaluation
    equal: Evaluation
    tuning: Tuning | None
    optimistic: bool


def ensemble(members: Sequence[Member], coefficients: Sequence[float] | None = None) -> Evaluation:
    """Averages the probabilities of all members and tests the average.

    The sum of `coefficient * probabilities` is divided by that of the coefficients, which 2012 did
    not do: it changes no ranking, and makes the loss one of probabilities.

    Args:
      members: one or more, tested on the same split of the same data.
      coefficients: one per member, 0 or more; None: equal weights.

    Raises:
      InputError: none, two that differ in data, classes or labels, or impossible coefficients.

    Paper: §6 ("averaging the predictions").
    """
    _check_members(members)
    weights = [1.0] * len(members) if coefficients is None else list(coefficients)
    if len(weights) != len(members) or min(weights) < 0 or not 0 < sum(weights) < np.inf:
        raise InputError(
            f"coefficients {weights} should be {len(members)} numbers, none below 0 and not all 0"
        )
    average = np.zeros(_probabilities(members[0]).shape, np.float64)
    for member, weight in zip(members, weights, strict=True):
        average += np.multiply(_probabilities(member), weight, dtype=np.float64)
    average /= sum(weights)
    return evaluation_of(average.astype(np.float32), members[0].evaluation.labels)


def tune(members: Sequence[Member]) -> Tuning:
    """Finds coefficients that make the top-5 error of the members' images small, as 2012 did.

    From 0.5 for all, one coefficient after another takes the best value of `GRID`, the others held,
    if that is better than what there is; until a round changes nothing, at most five rounds. With
    no more than five classes the top-5 error is always 0, and the top-1 error is used.

    Raises:
      InputError: as `ensemble`.

    Source: 2012 file `avg-valid.py`, `find_coeffs`.
    """
    _check_members(members)
    labels = members[0].evaluation.labels
    probabilities = [_probabilities(member) for member in members]
    answers = 5 if probabilities[0].shape[1] > 5 else 1
    coefficients = [_START] * len(members)
    best = equal = _errors(probabilities, labels, coefficients, 0, (_START,), answers)[0]
    changed = -1
    for i in (i for _ in range(_PASSES) for i in range(len(members))):
        if changed == i:  # a whole round has changed nothing else
            break
        errors = _errors(probabilities, labels, coefficients, i, GRID, answers)
        if errors.min() < best:
            best, coefficients[i], changed = errors.min(), GRID[errors.argmin()], i
    return Tuning(tuple(coefficients), float(best), float(equal), answers, len(labels))


def _errors(
    probabilities: list[np.ndarray],
    labels: np.ndarray,
    coefficients: list[float],
    place: int,
    values: Sequence[float],
    answers: int,
) -> np.ndarray:
    """Returns the errors, float64 [values], with each of `values` for one of the coefficients."""
    right = np.zeros(len(values))
    for start in range(0, len(labels), _ROWS):
        rows = slice(start, start + _ROWS)
        own = (np.arange(len(labels[rows])), labels[rows])
        rest = np.zeros(probabilities[0][rows].shape, np.float32)
        for i, (p, c) in enumerate(zip(probabilities, coefficients, strict=True)):
            if i != place:
                rest += np.float32(c) * p[rows]
        for j, value in enumerate(values):
            scores = rest + np.float32(value) * probabilities[place][rows]
            label_scores = scores[own][:, None]
            # The fractional credit of `metrics.credit`; the 2012 script took ties in class order.
            slots = answers - np.count_nonzero(scores > label_scores, axis=1)
            tied = np.count_nonzero(scores == label_scores, axis=1)
            right[j] += np.clip(slots / tied, 0, 1).sum()
    return 1 - right / len(labels)


def alternate(members: Sequence[Member]) -> tuple[list[Member], list[Member]]:
    """Returns the members on the images of even and of odd number: one half to tune, one to test.

    Every other image, since a split is often in the order of its classes.
    """
    halves = [[_rows(member, first) for member in members] for first in (0, 1)]
    return halves[0], halves[1]


def _rows(member: Member, first: int) -> Member:
    labels = member.evaluation.labels[first::2]
    if not len(labels):
        raise InputError(f"'{member.name}' was tested on too few images to tune on half of them")
    return dataclasses.replace(
        member, evaluation=evaluation_of(_probabilities(member)[first::2], labels)
    )


def _probabilities(member: Member) -> np.ndarray:
    if member.evaluation.probabilities is None:
        raise InputError(
            f"'{member.name}' was tested without keeping its probabilities; test it again"
        )
    return member.evaluation.probabilities


def _check_members(members: Sequence[Member]) -> None:
    """Raises `InputError` unless all were tested on the same images and know the same classes."""
    if not members:
        raise InputError("an ensemble needs at least one run")
    for member in members:
        _check_agreement(members[0], member)
        _probabilities(member)


def _check_agreement(first: Member, other: Member) -> None:
    pair = f"'{first.name}' and '{other.name}'"
    if other.class_names != first.class_names:
        raise InputError(
            f"{pair} know different classes ({len(first.class_names)} and "
            f"{len(other.class_names)} names); an ensemble needs the same names in the same order"
        )
    if other.fingerprint != first.fingerprint:
        raise InputError(
            f"{pair} were tested on different data (fingerprints {first.fingerprint} and "
            f"{other.fingerprint}); an ensemble needs one data set"
        )
    if not np.array_equal(other.evaluation.labels, first.evaluation.labels):
        raise InputError(f"{pair} were tested on different splits; an ensemble needs one split")


def evaluate_members(members: Sequence[Member], tuned_on: Sequence[Member] | None) -> Ensemble:
    """Returns the tested ensemble.

    Args:
      members: tested on the images that count.
      tuned_on: the same ones, tested on the images that the coefficients are tuned on; None: the
        weights are equal.
    """
    names, averaged = zip(*((member.name, member.averaged) for member in members), strict=True)
    equal = ensemble(members) if len(members) > 1 else members[0].evaluation
    if tuned_on is None:
        share = (1 / len(members),) * len(members)
        return Ensemble(names, averaged, share, equal, equal, None, False)
    tuning = tune(tuned_on)
    result = ensemble(members, tuning.coefficients)
    return Ensemble(
        names, averaged, tuning.coefficients, result, equal, tuning, tuned_on is members
    )
