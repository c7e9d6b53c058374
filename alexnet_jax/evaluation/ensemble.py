"""Several networks as one: a weighted average of their probabilities. Paper §6, table 2.

The paper says "averaging". The 2012 scripts tuned coefficients on the top-5 error of the validation
set (file `avg-valid.py`) for the test set (`avg-test.py`). Both are here.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.evaluation.evaluate import Evaluation, evaluation_of
from alexnet_jax.evaluation.metrics import metrics_of
from alexnet_jax.evaluation.views import Averaged

GRID = tuple(i / 20 for i in range(21))
"""Values that a tuned coefficient may take: 0 to 1 in steps of 0.05."""
START, MAX_ROUNDS = 0.5, 5
_ROWS = 1024  # images at a time: what is compared stays in the cache


@dataclass(frozen=True)
class Member:
    """One run with its test, probabilities kept; `fingerprint` is that of the data set."""

    name: str
    evaluation: Evaluation
    fingerprint: str
    class_names: tuple[str, ...]
    averaged: Averaged | None = None


class Tuning(NamedTuple):
    """Coefficients, and their result on the images that they were tuned on."""

    coefficients: tuple[float, ...]  # 0 to 1; only their ratios matter
    error: float  # a fraction
    equal_error: float  # with equal weights
    answers: int  # per image; 5, or 1 with five classes or fewer
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]


class Ensemble(NamedTuple):
    """A tested ensemble; `optimistic`: it was tuned on the images of the test."""

    names: tuple[str, ...]
    averaged: tuple[Averaged | None, ...]
    coefficients: tuple[float, ...]
    evaluation: Evaluation
    equal: Evaluation  # with equal weights, on the same images
    tuning: Tuning | None
    optimistic: bool


def ensemble(members: Sequence[Member], coefficients: Sequence[float] | None = None) -> Evaluation:
    """Averages the probabilities of all members and tests the average. Paper: §6.

    The weighted sum is divided by the sum of the coefficients (0 or more; None: equal weights).
    2012 did not divide: it changes no ranking, but makes the loss one of probabilities.

    Raises:
      InputError: no members, two that differ in data, split or classes, or bad coefficients.
    """
    _check_members(members)
    weights = [1.0] * len(members) if coefficients is None else list(coefficients)
    if len(weights) != len(members) or min(weights) < 0 or not 0 < sum(weights) < np.inf:
        raise InputError(
            f"coefficients {weights} should be {len(members)} numbers, none below 0 and not all 0"
        )
    average = np.zeros(_probabilities(members[0]).shape, np.float64)  # [images, classes]
    for member, weight in zip(members, weights, strict=True):
        average += np.multiply(_probabilities(member), weight, dtype=np.float64)
    average /= sum(weights)
    return evaluation_of(average.astype(np.float32), members[0].evaluation.labels)


def tune(members: Sequence[Member]) -> Tuning:
    """Finds coefficients that make the top-5 error small. Source: 2012 file `avg-valid.py`.

    All begin at 0.5. In turn, each takes the best value of `GRID` while the others stay, until a
    round changes nothing, or five rounds. With five classes or fewer the top-5 error is always 0,
    and the top-1 error is used. Raises as `ensemble`.
    """
    _check_members(members)
    labels = members[0].evaluation.labels
    probabilities = [_probabilities(member) for member in members]
    answers = 5 if probabilities[0].shape[1] > 5 else 1
    coefficients = [START] * len(members)
    best = equal = _errors(probabilities, labels, coefficients, 0, (START,), answers)[0]
    changed = -1
    for i in (i for _ in range(MAX_ROUNDS) for i in range(len(members))):
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
    """Returns float64 [values]: the error with each of `values` as the coefficient of `place`."""
    right = np.zeros(len(values))
    for start in range(0, len(labels), _ROWS):
        rows = slice(start, start + _ROWS)
        own = (np.arange(len(labels[rows])), labels[rows])
        rest = np.zeros(probabilities[0][rows].shape, np.float32)  # the other members' share
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
    """Returns even images to tune on, odd ones to test on: a split is often in order of class."""
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
    if not members:
        raise InputError("an ensemble needs at least one run")
    for member in members:
        _check_agreement(members[0], member)
        _probabilities(member)


def _check_agreement(first: Member, other: Member) -> None:
    pair = f"'{first.name}' and '{other.name}'"
    if other.class_names != first.class_names:
        raise InputError(
            f"{pair} have different classes ({len(first.class_names)} and "
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
    """`tuned_on` are the members tested on the images to tune on; None: equal weights."""
    names, averaged = zip(*((member.name, member.averaged) for member in members), strict=True)
    equal = ensemble(members) if len(members) > 1 else members[0].evaluation
    if tuned_on is None:
        share = (1 / len(members),) * len(members)
        return Ensemble(names, averaged, share, equal, equal, None, False)
    tuning = tune(tuned_on)
    result = ensemble(members, tuning.coefficients)
    optimistic = tuned_on is members
    return Ensemble(names, averaged, tuning.coefficients, result, equal, tuning, optimistic)


def format_ensemble(result: Ensemble, checkpoint: str) -> str:
    test, tuning = result.evaluation, result.tuning
    many = len(result.names) > 1
    title = f"{len(result.names)} runs averaged" if many else result.names[0]
    views = dict.fromkeys(str(averaged) for averaged in result.averaged if averaged)
    lines = [
        f"{title}, checkpoint {checkpoint}",
        ", ".join([f"{test.count:,} images", *views]),
        *(f"{metric.title:<11}  {metric.text(value)}" for metric, value in metrics_of(test.values)),
    ]
    if many:
        pairs = zip(result.coefficients, result.names, strict=True)
        lines += [f"weight       {value:.2f}  {name}" for value, name in pairs]
    if tuning is not None:
        errors = metrics_of(result.equal.values, errors=True)
        equal = ", ".join(f"{metric.text(value)} {metric.label}" for metric, value in errors)
        images = "none of them in the test"
        if result.optimistic:
            images = "those of the test: its error is optimistic (--tune-on half is not)"
        lines += [
            f"equal        {equal} with equal weights",
            f"tuned        top-{tuning.answers} error {100 * tuning.equal_error:.2f} -> "
            f"{100 * tuning.error:.2f} % on {tuning.count:,} images, {images}",
        ]
    return "\n".join(lines)
