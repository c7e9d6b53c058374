"""Several networks as one: the average of their probabilities. Paper §6, table 2."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alexnet_jax.errors import InputError
from alexnet_jax.evaluation.evaluate import Evaluation, evaluation_of


@dataclass(frozen=True)
class Member:
    """One run of an ensemble.

    Attributes:
      name: what messages call it, e.g. the run folder.
      evaluation: its test, with probabilities.
      fingerprint: of the data set that it was tested on.
      class_names: in the order of the columns of its probabilities.
    """

    name: str
    evaluation: Evaluation
    fingerprint: str
    class_names: tuple[str, ...]


def ensemble(members: Sequence[Member]) -> Evaluation:
    """Averages the probabilities of all members with equal weight and tests the average.

    Deviation: the 2012 scripts tune one coefficient per network on the validation set; the paper
    describes a plain average.

    Args:
      members: one or more, tested on the same split of the same data.

    Raises:
      InputError: none, or two that differ in data, classes or labels.

    Paper: §6 ("averaging the predictions").
    """
    if not members:
        raise InputError("an ensemble needs at least one run")
    first = members[0]
    average = np.zeros(_probabilities(first).shape, np.float64)
    for member in members:
        _check_agreement(first, member)
        average += _probabilities(member)
    average /= len(members)
    return evaluation_of(average.astype(np.float32), first.evaluation.labels)


def _probabilities(member: Member) -> np.ndarray:
    if member.evaluation.probabilities is None:
        raise InputError(
            f"'{member.name}' was tested without keeping its probabilities; test it again"
        )
    return member.evaluation.probabilities


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
