"""Coefficients of an ensemble, found as the 2012 script found them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_jax import workflow
from alexnet_jax.config import AugmentConfig, Config, DataConfig
from alexnet_jax.errors import InputError
from alexnet_jax.evaluation.ensemble import (
    Member,
    alternate,
    ensemble,
    evaluate_members,
    tune,
)
from alexnet_jax.evaluation.evaluate import Evaluation, evaluation_of
from alexnet_jax.main import main
from alexnet_jax.workflow import evaluation as testing

CLASSES = 12


def members(count, images=300, classes=CLASSES, seed=0):
    """Members that know the label the better the later they come."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images).astype(np.int32)
    found = []
    for i in range(count):
        logits = rng.normal(0, 1, (images, classes))
        logits[np.arange(images), labels] += 1.2 * i / count
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        evaluation = evaluation_of(p.astype(np.float32), labels)
        found.append(Member(f"m{i}", evaluation, "f", tuple(map(str, range(classes)))))
    return found


def kept(member: Member) -> np.ndarray:
    assert member.evaluation.probabilities is not None
    return member.evaluation.probabilities


def wrong(scores, labels, answers=5):
    """Images whose label is not among the best answers, taken one after another."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :answers]
    return int((best != labels[:, None]).all(axis=1).sum())


def descent_of_2012(probabilities, labels):
    """The search of the 2012 script in its own order: every value in turn, kept if better."""
    coefficients = [0.5] * len(probabilities)

    def errors():
        return wrong(
            np.sum(
                [np.float32(c) * p for c, p in zip(coefficients, probabilities, strict=True)], 0
            ),
            labels,
        )

    best, changed = errors(), -1
    for _ in range(5):
        for i in range(len(coefficients)):
            if changed == i:
                return coefficients, best
            for step in range(21):
                before = coefficients[i]
                coefficients[i] = step / 20
                if (now := errors()) < best:
                    best, changed = now, i
                else:
                    coefficients[i] = before
    return coefficients, best


@pytest.mark.parametrize(("count", "seed"), [(2, 0), (3, 1), (5, 2), (7, 3)])
def test_coefficients_are_those_of_the_search_of_2012(count, seed):
    some = members(count, seed=seed)
    labels = some[0].evaluation.labels
    coefficients, errors = descent_of_2012([kept(member) for member in some], labels)
    tuning = tune(some)
    assert tuning.coefficients == pytest.approx(coefficients)
    assert tuning.error == pytest.approx(errors / len(labels)) and tuning.count == len(labels)
    assert tuning.error < tuning.equal_error == pytest.approx(ensemble(some).top5_error)
    assert ensemble(some, tuning.coefficients).top5_error == pytest.approx(tuning.error)


def test_weights_are_normalized_so_that_only_their_ratios_matter():
    some = members(3)
    found, scaled = ensemble(some, (0.1, 0.2, 0.3)), ensemble(some, (1, 2, 3))
    expected = sum((i + 1) / 6 * kept(member) for i, member in enumerate(some))
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert found.values == pytest.approx(scaled.values, rel=1e-5)
    equal = ensemble(some, (0.35,) * 3)
    assert equal.values == pytest.approx(ensemble(some).values, rel=1e-6)


@pytest.mark.parametrize("bad", [(1.0,), (1.0, -1.0), (0.0, 0.0), (1.0, float("nan"))])
def test_impossible_coefficients_are_refused(bad):
    with pytest.raises(InputError, match="coefficients .* 2 numbers"):
        ensemble(members(2), bad)


def test_up_to_five_classes_are_tuned_on_their_top1_error():
    some = members(3, classes=4)
    tuning = tune(some)
    assert tuning.answers == 1
    assert tuning.equal_error == pytest.approx(ensemble(some).top1_error)
    assert tuning.error < tuning.equal_error


def test_one_half_tunes_and_the_other_tests():
    some = members(3, images=301)
    even, odd = alternate(some)
    assert even[0].evaluation.count == 151 and odd[0].evaluation.count == 150
    np.testing.assert_array_equal(even[1].evaluation.labels, some[1].evaluation.labels[::2])
    np.testing.assert_array_equal(kept(odd[2]), kept(some[2])[1::2])
    found = evaluate_members(odd, even)
    assert found.tuning == tune(even) and not found.optimistic
    assert found.evaluation.count == 150
    assert found.evaluation.values == ensemble(odd, tune(even).coefficients).values
    assert found.equal.values == ensemble(odd).values


def test_tuning_on_the_images_of_the_test_is_optimistic():
    """Networks that know nothing: what tuning gains on its own images is gone on others."""
    claimed, true = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 10, 400).astype(np.int32)
        some = [
            Member(f"m{i}", evaluation_of(p.astype(np.float32), labels), "f", tuple("abcdefghij"))
            for i, p in enumerate(rng.dirichlet(np.ones(10), (4, 400)))
        ]
        even, odd = alternate(some)
        same, honest = evaluate_members(even, even), evaluate_members(odd, even)
        assert same.optimistic and same.coefficients == honest.coefficients
        for result, gains in ((same, claimed), (honest, true)):
            gains.append(result.equal.values["top5_error"] - result.evaluation.values["top5_error"])
    assert np.mean(claimed) > 0.03 and min(claimed) > 0
    assert abs(np.mean(true)) < 0.02


@pytest.fixture
def runs(monkeypatch):
    """Runs whose tests are made up (`u` has no mirrors): `main evaluate` without networks."""
    tests: dict[Any, Evaluation] = {}
    for split, seed in (("test", 0), ("validation", 1)):
        for name, member in zip("abcu", members(4, seed=seed), strict=True):
            tests[name, split] = member.evaluation

    class Data:
        fingerprint = "f"

        def split(self, name):
            return name

    class Run:
        def __init__(self, folder):
            self.name = Path(folder).name
            self.class_names = tuple(map(str, range(CLASSES)))
            self.stored_size, self.image_size = 256, 224
            data = DataConfig(validation_split="test")
            self.config = Config(data=data, augment=AugmentConfig(mirror=self.name != "u"))

    def evaluated(run, params, split, views, mesh, dtype) -> Evaluation:
        return tests[run.name, split]

    monkeypatch.setattr(testing, "read_run", Run)
    monkeypatch.setattr(testing, "dataset_of", lambda run, data_dir: Data())
    monkeypatch.setattr(testing, "weights_of", lambda *_: type("W", (), {"params": {}}))
    monkeypatch.setattr(testing, "evaluate_params", evaluated)


@pytest.mark.parametrize(
    ("options", "count", "words"),
    [
        ([], 300, ["weight       0.33"]),
        (["--weights", "tuned"], 300, ["equal  ", "on 300 images", "its error is optimistic"]),
        (["--weights", "tuned", "--tune-on", "test"], 300, ["its error is optimistic"]),
        (["--weights", "tuned", "--tune-on", "half"], 150, ["on 150 images, none of them in"]),
        (["--weights", "tuned", "--tune-on", "validation"], 300, ["on 300 images, none of them"]),
    ],
)
def test_the_command_prints_and_stores_the_coefficients(
    runs, tmp_path, capsys, options, count, words
):
    for name in "abc":
        (tmp_path / name).mkdir()
    arguments = ["--workdir", str(tmp_path / "a"), "--also", str(tmp_path / "b")]
    assert main(["evaluate", *arguments, str(tmp_path / "c"), *options]) == 0
    out = capsys.readouterr().out
    assert f"3 runs averaged, checkpoint best\n{count} images, ten views" in out
    assert all(word in out for word in words), out
    record = json.loads((tmp_path / "a" / "ensemble.json").read_text())
    assert record["images"] == count and len(record["members"]) == 3
    assert {member["views_averaged"] for member in record["members"]} == {10}
    for member in record["members"]:
        assert f"weight       {member['coefficient']:.2f}  {member['run']}" in out
    assert f"top-5 error  {100 * record['result']['top5_error']:.2f} %" in out
    assert record["optimistic"] is ("optimistic" in out)
    assert (record["tuning"] is None) == (not options)


def test_what_is_averaged_is_counted_for_each_run(runs, tmp_path, capsys):
    (tmp_path / "u").mkdir()
    mine = ["--workdir", str(tmp_path / "u")]
    assert main(["evaluate", *mine]) == 0
    assert "300 images, five crops (10 views asked; training does not mirror)\n" in (
        capsys.readouterr().out
    )
    assert main(["evaluate", *mine, "--views", "1"]) == 0
    assert "300 images, centre view\n" in capsys.readouterr().out
    assert main(["evaluate", *mine, "--also", "a"]) == 0
    assert "300 images, five crops (10 views asked; training does not mirror), ten views\n" in (
        capsys.readouterr().out
    )
    record = json.loads((tmp_path / "u" / "ensemble.json").read_text())
    assert record["views"] == 10
    assert [member["views_averaged"] for member in record["members"]] == [5, 10]


def test_a_record_that_cannot_be_written_does_not_lose_the_result(runs, tmp_path):
    with pytest.warns(UserWarning, match="ensemble.json was not written"):
        result = workflow.evaluate_ensemble([tmp_path / "gone" / "a", "b"])
    assert result.evaluation.count == 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "tuned"], "--also"),
        (["--also", "b", "--tune-on", "half"], "no effect without --weights tuned"),
    ],
)
def test_options_without_effect_are_refused(tmp_path, capsys, options, message):
    assert main(["evaluate", "--workdir", str(tmp_path), *options]) == 1
    assert message in capsys.readouterr().err
