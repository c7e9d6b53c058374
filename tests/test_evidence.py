"""The table of claims, and the experiments on finished runs: what they measure."""

import dataclasses
import io
import tarfile

import numpy as np
import pytest
from tiny import config, dataset, tiny_network  # noqa: F401

from alexnet_jax import workflow
from alexnet_jax.evaluation.ensemble import Member
from alexnet_jax.evaluation.evaluate import evaluation_of
from alexnet_jax.presets import PRESETS
from experiments import core_hours, costs, pictures, reproduction
from experiments.benchmarks.records import read, write
from experiments.ensembles import run as ensembles
from experiments.own_photos.run import write_tar
from experiments.retrieval import run as retrieval
from experiments.specialise import figure3
from experiments.specialise import run as specialise
from experiments.sweep import page
from experiments.sweep.claims import CLAIMS, toy_claim
from experiments.sweep.digest import digest_of


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder that takes the place of `experiments/`, without records."""
    for module in (reproduction, core_hours):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def write_runs(root, name, values, key="error", **more):
    """Writes a record with the values of each variant, a run per seed; None: not reached."""
    runs = [
        {"variant": variant, "seed": seed, key: value, **more}
        for variant, found in values.items()
        for seed, value in enumerate(found)
    ]
    write(root / name / "results" / f"{name}.json", {"runs": runs})
    return runs


def row_of(folder):
    return next(row for row in reproduction.ROWS if row.folder == folder)


def text_of(folder):
    return row_of(folder).ours()


def test_rows_without_a_record_were_not_run(root):
    cells = reproduction.cells_of()
    assert all(row["ours"] == "–" and row["status"] != "run" for row in cells)
    assert reproduction.short_cells() == []


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (([30.0, 31.0, 32.0], [32.0, 33.0, 34.1]), "+2.0 points (+1.9 to +2.2, n = 3); *overl"),
        (([30.0, 31.0, 32.0], [29.0, 33.0, 32.0]), "+0.3 points (-3.5 to +4.1, n = 3), not"),
        (([30.0], [29.0]), "*overlapping* 30.0, 1 of 3 runs yet, *not overlapping* 29.0, 1 of 3"),
        (([30.0], []), None),
    ],
)
def test_a_difference_is_paired_by_seed(root, values, text):
    names = ("overlapping", "not overlapping")
    write_runs(root, "overlapping", dict(zip(names, values, strict=True)))
    found = text_of("overlapping")
    assert found is None if text is None else (found or "").startswith(text)


@pytest.mark.parametrize(
    ("last", "remark", "status"),
    [
        ({"error": None, "diverged": True}, "diverged in 1 of 3 runs", "run"),
        (None, "2 of 3 runs yet", "begun"),
    ],
)
def test_a_variant_with_a_missing_value_is_not_compared(root, last, remark, status):
    claim = CLAIMS["overlapping"]
    names = tuple(claim.variants)
    runs = write_runs(root, "overlapping", {name: [30.0, 31.0, 32.0] for name in names})
    assert (text_of("overlapping") or "").startswith("+0.0 points in each of 3 pairs")
    assert "+0.0 in each of 3 pairs" in page.table_of(claim, {"runs": runs}) and costs.costs()
    runs = runs[:-1] if last is None else [*runs[:-1], runs[-1] | last]
    write(root / "overlapping" / "results" / "overlapping.json", {"runs": runs})
    assert text_of("overlapping") == f"*{names[0]}* 31.0 ± 1.0, *{names[1]}* 30.5 ± 0.7, {remark}"
    table = page.table_of(claim, {"runs": runs})
    assert f"| {2 if last is None else 3} | 30.5 ± 0.7, {remark} | – |" in table
    assert reproduction.cells(row_of("overlapping"))["status"] == status
    costs.draw(root / "none.svg")
    assert not costs.costs() and not (root / "none.svg").exists()


def test_overfitting_is_the_gap_between_test_and_training_images(root):
    claim = CLAIMS["dropout"]
    runs = [
        {"variant": variant, "seed": seed, "error": 30.0 + seed, "error_on_training_images": low}
        | {"gap": 30.0 + seed - low, "training_error": 20.0}
        for variant, lows in (("dropout", (20.0, 21.0, 22.0)), ("none", (5.0, 6.0, 7.5)))
        for seed, low in enumerate(lows)
    ]
    assert text_of("dropout") is None
    path = root / "dropout" / "results" / "dropout.json"
    write(path, {"runs": runs})
    difference = "+14.8 points (+14.1 to +15.6, n = 3)"
    means = "*dropout* 10.0 ± 0.0, *none* 24.8 ± 0.3"
    errors = "test error +0.0 points in each of 3 pairs"
    assert text_of("dropout") == f"gap of test and training images {difference}; {means}; {errors}"
    assert "| 24.8 ± 0.3 | +14.8 (+14.1 to +15.6, n = 3) |" in page.table_of(claim, {"runs": runs})
    runs[-1] |= dict.fromkeys(("error", "training_error"), None) | {"diverged": True}
    del runs[-1]["gap"], runs[-1]["error_on_training_images"]
    write(path, {"runs": runs})
    fate = "diverged in 1 of 3 runs"
    assert text_of("dropout") == f"*dropout* 31.0 ± 1.0, *none* 30.5 ± 0.7, {fate}"
    table = page.table_of(claim, {"runs": runs})
    [line] = [line for line in table.splitlines() if line.startswith("| none")]
    assert line.endswith("| 5.5 ± 0.7 | 25.0 ± 0.0, 2 of 3 runs yet | – |")


def test_the_picture_has_its_numbers_and_becomes_old(root):
    values = {"overlapping": [30, 31, 32], "not overlapping": [32, 33.5, 35]}
    write_runs(root, "overlapping", values)
    [(label, difference, paper)] = costs.costs()
    assert label.startswith("pooling") and difference["mean"] == 2.5 and paper == 0.4
    costs.draw(root / "picture.svg")
    assert costs.is_drawn(root / "picture.svg")
    write_runs(root, "overlapping", values | {"overlapping": [29, 30, 31]})
    assert not costs.is_drawn(root / "picture.svg")


@pytest.mark.parametrize(
    ("fitted", "as_run", "text"),
    [
        (
            [60, 80, 70], [500, 600, 700],
            "*0.01, 0.03* +530.0 steps (+293.0 to +767.0, n = 3); *fitted* 70 ± 10 steps, *0.01* "
            "not reached in 3 of 3 runs within 3,125 steps, *0.01, 0.03* 600 ± 100 steps",
        ),
        (
            [50, 60], [None] * 3,
            "*fitted* 55 ± 7 steps, 2 of 3 runs yet, *0.01* not reached in 3 of 3 runs within "
            "3,125 steps, *0.01, 0.03* not reached in 3 of 3 runs within 3,125 steps",
        ),
    ],
)  # fmt: skip
def test_what_is_never_reached_has_a_limit_and_a_missing_run_has_none(root, fitted, as_run, text):
    values = {"fitted": fitted, "0.01": [None] * 3, "0.01, 0.03": as_run}
    write_runs(root, "initial-weights", values, "steps_on_plateau", steps=3125)
    assert text_of("initial-weights") == text


def test_a_missing_run_of_a_middle_layer_makes_the_row_begun(root):
    values = {variant: [30.0, 31.0, 32.0] for variant in CLAIMS["depth"].variants}
    runs = write_runs(root, "depth", values)
    for kept, status in ((runs, "run"), (runs[:-1], "begun"), (runs[1:], "begun"), ([], "not")):
        write(root / "depth" / "results" / "depth.json", {"runs": kept})
        assert reproduction.cells(row_of("depth"))["status"].startswith(status)


_LATE = "*tanh* 30.0, not reached in 2 of 3 runs within 40 epochs"


@pytest.mark.parametrize(
    ("reached", "text"),
    [
        (
            {"relu": [5, 6, 6], "tanh": [25, 30, 30], "sigmoid": [None] * 3},
            "5.0 times in each of 3 pairs; whole epochs: *relu* 5.7 ± 0.6; *tanh* 28.3 ± 2.9; "
            "*sigmoid* not reached in 3 of 3 runs within 28 epochs",
        ),
        (
            {"relu": [5, 5, 5], "tanh": [25, 30, 35]},
            "6.0 times (3.5 to 8.5, n = 3); whole epochs: *relu* 5.0 ± 0.0; *tanh* 30.0 ± 5.0; "
            "*sigmoid* 0 of 3 runs yet",
        ),
        (
            {"relu": [5, 5, 5], "tanh": [30, None, None], "sigmoid": [7, 7, 7]},
            f"whole epochs: *relu* 5.0 ± 0.0; {_LATE}; *sigmoid* 7.0 ± 0.0",
        ),
        (
            {"relu": [5, 5, 5], "tanh": [30, 30]},
            "whole epochs: *relu* 5.0 ± 0.0; *tanh* 30.0 ± 0.0, 2 of 3 runs yet; "
            "*sigmoid* 0 of 3 runs yet",
        ),
        (
            {"relu": [5, 5, 5], "tanh": [4, 5, 6]},
            "1.0 times (0.5 to 1.5, n = 3), not significant; whole epochs: *relu* 5.0 ± 0.0; "
            "*tanh* 5.0 ± 1.0; *sigmoid* 0 of 3 runs yet",
        ),
        ({"relu": [5, 5]}, None),
        ({"tanh": [5]}, None),
    ],
)
def test_the_ratio_of_figure_1_is_paired_by_seed_if_all_runs_arrive(root, reached, text):
    runs = write_runs(root, "figure1", reached, "epochs_to_reach")
    for run in runs:
        epochs = run["epochs_to_reach"]
        run["by_epoch"] = [60.0] * ((epochs or 9) - 1) + [25.0 if epochs else 60.0]
    write(root / "figure1" / "results" / "figure1.json", {"runs": runs})
    assert text_of("figure1") == text


@pytest.mark.parametrize(
    ("epochs", "ours", "status"),
    [
        (40, "14.5 % (ten views) after 40 of 520 epochs", "run, shortened"),
        (520, "14.5 % (ten views) after 520 epochs", "run"),
    ],
)
def test_a_preset_with_a_shortened_schedule_says_so(root, epochs, ours, status):
    [row] = [row for row in reproduction.ROWS if row.claim == "CIFAR-10, four layers"]
    assert row.ours() is None and reproduction.cells(row)["status"] == "not run yet"
    record = {
        "run": {"status": "finished", "wall_seconds": 60.0, "cpu_cores": 1},
        "config": dataclasses.asdict(PRESETS["cifar10-13pct"]),
        "validation": [{"epoch": 1.0}, {"epoch": epochs + 0.0005}],
        "final": [{"test_views": v, "final/top1_error": e} for v, e in ((1, 0.151), (10, 0.145))],
    }
    path = root / "cifar10" / "results" / "cifar10-13pct.json"
    write(path, record)
    found = reproduction.cells(row)
    assert (found["ours"], found["status"]) == (ours, status)
    record["run"]["status"] = "interrupted"
    write(path, record)
    assert reproduction.cells(row)["status"] == "not run yet"


def test_core_hours_count_a_run_once(root):
    first, second, third = (
        {"params_sha256": name, "cpu_cores": 2, "wall_seconds": 3600.0 * hours}
        for name, hours in (("a", 1), ("b", 2), ("c", 2))
    )
    write(root / "cats_vs_dogs" / "results" / "cats-vs-dogs.json", {"run": first})
    sets = {"cats-vs-dogs": [first, second, third], "two": [third], "digits": None}
    entries = {name: {"training": runs} if runs else {} for name, runs in sets.items()}
    write(root / "ensembles" / "results" / "ensembles.json", {"sets": entries})
    found = core_hours.core_hours()
    assert (found["others"], found["dropped"], found["averaged"], found["hours"]) == (1, 0, 2, 10)


def test_runs_that_were_made_twice_show_the_effect_of_rounding(root):
    assert core_hours.rounding() == []
    for name, errors in (("towers", (38.0, 39.0)), ("specialise", (38.5, 37.5))):
        write_runs(root, name, {"two towers": errors})
    assert core_hours.rounding() == [0.5, 1.5]


def test_the_towers_are_compared_with_the_control_seed_by_seed():
    def runs(variant, gaps):
        return [
            {"variant": variant, "seed": seed, "course": [{"difference": gap}]}
            for seed, gap in enumerate(gaps)
        ]

    both = runs("two towers", [0.3, 0.4]) + runs("one whole tower", [0.1, 0.1])
    found = specialise.compared({"runs": both})
    assert found is not None and found["n"] == 2 and found["mean"] == pytest.approx(25)
    assert specialise.compared({"runs": both[:3]}) is None


def test_the_towers_that_were_followed_are_those_of_the_claim():
    for run in (read(specialise.OUTPUT) or {"runs": []})["runs"]:
        assert run["config"] == digest_of(specialise.recipe(run["variant"]), run["seed"])
    record = read(figure3.OUTPUT)
    assert record and len(record["runs"]) == figure3.SEEDS
    for run in record["runs"]:
        assert run["config"] == digest_of(figure3.recipe(), run["seed"])
        assert tuple(point["epoch"] for point in run["course"]) == figure3.EPOCHS


def test_the_newcomers_tar_has_so_many_photos_of_each_class(tmp_path):
    for split, count in (("train", 5), ("test", 3)):
        with tarfile.open(tmp_path / f"{split}.tar.gz", "w:gz") as archive:
            for name in [f"{c}/{c}.{i}.jpg" for c in ("cat", "dog") for i in range(count)]:
                entry = tarfile.TarInfo(f"{split}/{name}")
                entry.size = 1
                archive.addfile(entry, io.BytesIO(b"x"))
    counts = write_tar(tmp_path, tmp_path / "photos.tar", each=2)
    assert counts == {"train": {"cat": 2, "dog": 2}, "test": {"cat": 3, "dog": 3}}
    with tarfile.open(tmp_path / "photos.tar") as archive:
        names = archive.getnames()
    assert len(names) == 10 and names[:2] == ["train/cat/cat.0.jpg", "train/cat/cat.1.jpg"]


@pytest.mark.slow
def test_every_subset_of_an_ensemble_is_counted(tmp_path):
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 200).astype(np.int32)
    members = []
    for seed in range(3):
        scores = random.normal(size=(200, 10)) + 1.5 * np.eye(10)[labels]
        odds = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        result = evaluation_of(odds.astype(np.float32), labels)
        members.append(Member(f"seed {seed}", result, "data", tuple("abcdefghij")))
    rows = {(row["networks"], row["weights"]): row["errors"] for row in ensembles.errors(members)}
    assert rows[1, "equal"] == [100 * member.evaluation.top1_error for member in members]
    assert [len(rows[size, "equal"]) for size in (1, 2, 3)] == [3, 3, 1]
    assert rows[3, "equal"][0] < min(rows[1, "equal"])
    assert set(ensembles.WAYS) == {way for _, way in rows}
    many = ensembles.errors([*members, *members])
    assert max(row["networks"] for row in many) == ensembles.MAX_NETWORKS
    views = {"1": many, "10": many}
    sets = {"one": {"views": views, "views_averaged": 10}}
    record = {"sets": sets | {"two": {"views": views, "views_averaged": 5}}}
    ensembles.draw(record, tmp_path / "averages.svg")
    assert ensembles.view_heading(record) == "ten views (two: five crops)"
    assert (tmp_path / "averages.svg").read_text().count("networks") >= 2


@pytest.mark.slow
def test_the_quick_forms_train_what_they_need_and_write_beside_the_repository(
    tmp_path, monkeypatch, capsys, few_optimizations
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("alexnet_jax.workflow.run.write_report_of", lambda *_, **__: None)
    short = dataclasses.replace(PRESETS["digits"], epochs=0.2, final_views=1)
    monkeypatch.setitem(PRESETS, "digits", short)
    monkeypatch.setattr(specialise, "EPOCHS", (0.1, 0.2))
    monkeypatch.setattr(figure3, "EPOCHS", (0.1, 0.2))
    words = ["--quick", "--data-dir", str(tmp_path / "data")]
    one = ["--seeds", "1"]
    programs = ((ensembles, []), (retrieval, []), (specialise, one), (figure3, one))
    for module, more in programs:
        page_path = module.OUTPUT.parents[1] / "README.md"
        before = module.OUTPUT.read_bytes(), page_path.read_bytes()
        module.main([*words, *more])
        assert (module.OUTPUT.read_bytes(), page_path.read_bytes()) == before
        found = read(tmp_path / "runs" / "quick" / module.OUTPUT.name)
        assert found and module.table_of(found) in capsys.readouterr().out
    assert len(list((tmp_path / "runs" / "quick").glob("digits-*"))) == 3
    drawn = tmp_path / "runs" / "quick" / "figure3.png"
    assert pictures.is_of(drawn, read(drawn.with_suffix(".json")))
    for module in (ensembles, retrieval):
        with pytest.raises(SystemExit, match="2"):
            module.main(["alone"])


def test_the_colour_of_towers_is_told_from_that_of_random_halves():
    random = np.random.default_rng(0)
    grey = np.repeat(random.normal(size=(5, 5, 1, 16)), 3, axis=2)
    coloured = random.normal(size=(5, 5, 3, 16))
    found = specialise.gap(np.concatenate([grey, coloured], axis=3))
    assert found["shares"][0] < 1e-12 and found["shares"][1] == pytest.approx(2 / 3, abs=0.05)
    assert found["random_splits_as_large"] == 0
    mixed = specialise.gap(np.concatenate([grey, coloured], axis=3)[..., random.permutation(32)])
    assert mixed["difference"] < 0.4 and mixed["random_splits_as_large"] > 0.01


@pytest.mark.slow
def test_a_run_is_looked_at_after_each_stretch_and_goes_on(
    tmp_path, monkeypatch, few_optimizations
):
    monkeypatch.setitem(CLAIMS, "towers", toy_claim(CLAIMS["towers"]))
    monkeypatch.setattr(specialise, "EPOCHS", (0.1, 0.2))
    found = specialise.train("one whole tower", 0, tmp_path / "runs", "", tmp_path / "data")
    assert [point["epoch"] for point in found["course"]] == [0.1, 0.2]
    first, last = (point["shares"] for point in found["course"])
    assert first != last and 0 < found["error"] <= 100
    specialise.draw({"runs": [found]}, tmp_path / "shares.svg")
    assert "<svg" in (tmp_path / "shares.svg").read_text()


@pytest.fixture
def finished(config, dataset, tmp_path, few_optimizations):  # noqa: F811
    """The folder of a finished run of the tiny network."""
    data = dataclasses.replace(config.data, name=dataset.path.name, stored_size=10)
    mine = dataclasses.replace(config, data=data, final_views=1)
    workflow.train(mine, tmp_path / "run", dataset.path.parent, say=lambda _: None)
    return tmp_path / "run"


def test_runs_that_are_named_take_the_place_of_those_of_the_record(finished, tmp_path, capsys):
    output = tmp_path / "record.json"
    for names in (("first", "second"), ("third",)):
        pairs = [f"{name}={finished}" for name in names]
        specialise.main(["--output", str(output), "--run", *pairs])
        record = read(output)
        assert record and tuple(record["others"]) == names
        assert capsys.readouterr().out.count("| third |") == (len(names) == 1)


def test_precision_counts_the_class_of_the_query():
    found = retrieval.precision_at(np.array([0, 1]), np.array([[0, 1, 0], [0, 0, 0]]), (1, 2, 3))
    assert found == {1: 0.5, 2: 0.25, 3: pytest.approx(1 / 3)}


def test_retrieval_measures_every_layer_of_a_run(finished, dataset, tmp_path, monkeypatch):  # noqa: F811
    picture = tmp_path / "figure.png"
    monkeypatch.setattr(retrieval, "COUNTS", (1, 2))
    found = retrieval.measure(finished, dataset.path.parent, picture)
    assert next(iter(found["layers"])) == "pixels" and len(found["layers"]) >= 3
    for precision in found["layers"].values():
        assert set(precision) == {"1", "2"} and all(0 <= value <= 1 for value in precision.values())
    assert picture.stat().st_size > 1000
    assert retrieval.is_drawn(picture, {"environment": {}, **found})
    found["layers"]["pixels"]["1"] += 0.01
    assert not retrieval.is_drawn(picture, found)
