"""The reproduction table, and the experiments on finished runs: what they measure, their pages."""

import dataclasses
import io
import tarfile

import numpy as np
import pytest
from tiny import config, dataset, tiny_network  # noqa: F401

from alexnet_jax import workflow
from alexnet_jax.evaluation.ensemble import Member
from alexnet_jax.evaluation.evaluate import evaluation_of
from alexnet_jax.network.filters import tower_pictures
from alexnet_jax.network.layers import Conv, parametric_layers
from alexnet_jax.presets import PRESETS
from experiments import paired, pictures, reproduction
from experiments.benchmarks.records import read, write
from experiments.ensembles import run as ensembles
from experiments.imagenet import ready
from experiments.own_photos import page as own_photos
from experiments.own_photos.run import write_tar
from experiments.retrieval import run as retrieval
from experiments.specialise import figure3
from experiments.specialise import run as specialise
from experiments.sweep import page
from experiments.sweep.claims import CLAIMS, quick
from experiments.sweep.runner import digest_of


def test_the_pages_are_generated_from_the_records():
    for module in (ensembles, retrieval, specialise, figure3, ready):
        text = module.README.read_text("utf-8")
        assert module.updated(text) == text, module.__name__
    for module, part in ((ensembles, "sets"), (specialise, "runs")):
        record = read(module.OUTPUT)
        assert record and pictures.is_of(module.OUTPUT.with_suffix(".svg"), record[part])
    assert reproduction.is_drawn(reproduction.PICTURE)
    found = read(retrieval.OUTPUT)
    digits = (found or {"sets": {}})["sets"]["digits"]
    assert retrieval.is_drawn(retrieval.OUTPUT.with_name("digits.png"), digits)
    assert pictures.is_of(figure3.OUTPUT.with_suffix(".png"), read(figure3.OUTPUT))
    for path, made in (
        (reproduction.PAGE, reproduction.updated_page),
        (reproduction.README, reproduction.updated_readme),
        *own_photos.PAGES.items(),
    ):
        text = path.read_text("utf-8")
        assert made(text) == text, path


@pytest.mark.parametrize("name", CLAIMS)
def test_the_page_of_a_claim_is_generated_from_its_record(name):
    folder = reproduction.ROOT / name
    record = read(folder / "results" / f"{name}.json")
    assert (record is None) == (not folder.exists())
    if record is not None:
        text = (folder / "README.md").read_text("utf-8")
        assert text == page.text_of(CLAIMS[name], name, record)
        assert pictures.is_of(folder / "results" / f"{name}.svg", record["runs"])


def test_rows_without_a_record_say_that_they_were_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)
    cells = reproduction.lines(reproduction.ROWS, "")
    assert all(line[2] == "–" and line[4] != "run" for line in cells)
    assert f"0 of {len(reproduction.ROWS)} rows were run" in reproduction.whole()
    assert reproduction.short().count("\n") == 1, "only the head"


def test_a_difference_is_paired_by_seed_and_called_small_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)

    def of(errors):
        runs = [
            {"variant": variant, "seed": seed, "error": error, "wall_seconds": 3600.0}
            for variant, values in errors.items()
            for seed, error in enumerate(values)
        ]
        reproduction_write(tmp_path / "overlapping" / "results" / "overlapping.json", runs)
        tell = next(row for row in reproduction.ROWS if row.folder == "overlapping").ours
        return tell()

    text = of({"overlapping": [30.0, 31.0, 32.0], "not overlapping": [32.0, 33.0, 34.1]})
    assert text is not None and text.startswith(
        "+2.0 points (+1.9 to +2.2, n = 3); *overlapping* 31"
    )
    text = of({"overlapping": [30.0, 31.0, 32.0], "not overlapping": [29.0, 33.0, 32.0]})
    assert text is not None and text.count("not told from 0") == 1
    text = of({"overlapping": [30.0], "not overlapping": [29.0]})
    assert text == "*overlapping* 30.0, 1 of 3 runs yet, *not overlapping* 29.0, 1 of 3 runs yet"
    assert of({"overlapping": [30.0]}) is None


def test_a_variant_of_which_a_run_is_missing_is_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)
    claim = CLAIMS["overlapping"]

    def of(drop=False, **last):
        runs = [
            {"variant": variant, "seed": seed, "error": 30.0 + seed, "training_error": 20.0}
            for variant in claim.variants
            for seed in range(3)
        ]
        runs[-1] |= last
        runs = runs[:-1] if drop else runs
        reproduction_write(tmp_path / "overlapping" / "results" / "overlapping.json", runs)
        row = next(row for row in reproduction.ROWS if row.folder == "overlapping")
        return row.ours(), page.results(claim, {"runs": runs}), reproduction.costs()

    told, table, drawn = of()
    assert told is not None and told.startswith("+0.0 points in each of 3 pairs")
    assert "+0.0 in each of 3 pairs" in table and drawn
    told, table, drawn = of(error=None, diverged=True)
    assert told == "*overlapping* 31.0 ± 1.0, *not overlapping* 30.5 ± 0.7, diverged in 1 of 3 runs"
    assert "| not overlapping | 3 | 30.5 ± 0.7, diverged in 1 of 3 runs | – |" in table
    assert not drawn
    told, table, drawn = of(drop=True)
    assert told == "*overlapping* 31.0 ± 1.0, *not overlapping* 30.5 ± 0.7, 2 of 3 runs yet"
    assert "| not overlapping | 2 | 30.5 ± 0.7, 2 of 3 runs yet | – |" in table
    assert not drawn
    [line] = reproduction.lines(
        (next(r for r in reproduction.ROWS if r.folder == "overlapping"),), ""
    )
    assert line[4] == "begun" and "overlapping" not in reproduction.short()
    reproduction.draw(tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_overfitting_is_told_by_the_gap_of_test_and_training_images(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)
    claim, tell = CLAIMS["dropout"], reproduction._overfitting("dropout", "none")
    runs = [
        {"variant": variant, "seed": seed, "error": 30.0 + seed, "error_on_training_images": low}
        | {"gap": 30.0 + seed - low, "training_error": 20.0}
        for variant, lows in (("dropout", (20.0, 21.0, 22.0)), ("none", (5.0, 6.0, 7.5)))
        for seed, low in enumerate(lows)
    ]
    assert tell() is None
    reproduction_write(tmp_path / "dropout" / "results" / "dropout.json", runs)
    difference = "+14.8 points (+14.1 to +15.6, n = 3)"
    means = "*dropout* 10.0 ± 0.0, *none* 24.8 ± 0.3"
    errors = "test error +0.0 points in each of 3 pairs"
    assert tell() == f"gap of test and training images {difference}; {means}; {errors}"
    table = page.results(claim, {"runs": runs})
    assert "| 24.8 ± 0.3 | +14.8 (+14.1 to +15.6, n = 3) |" in table
    runs[-1] |= dict.fromkeys(("error", "training_error"), None) | {"diverged": True}
    del runs[-1]["gap"], runs[-1]["error_on_training_images"]
    reproduction_write(tmp_path / "dropout" / "results" / "dropout.json", runs)
    fate = "diverged in 1 of 3 runs"
    assert tell() == f"*dropout* 31.0 ± 1.0, *none* 30.5 ± 0.7, {fate}"
    [line] = [x for x in page.results(claim, {"runs": runs}).splitlines() if x.startswith("| none")]
    assert line.endswith("| 5.5 ± 0.7 | 25.0 ± 0.0, 2 of 3 runs yet | – |")


def test_the_picture_holds_its_numbers_and_grows_old(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)
    path = tmp_path / "overlapping" / "results" / "overlapping.json"

    def write_errors(base):
        runs = [
            {"variant": variant, "seed": seed, "error": error + seed * (1 + extra)}
            for variant, error, extra in (("overlapping", base, 0), ("not overlapping", 32, 0.5))
            for seed in range(3)
        ]
        reproduction_write(path, runs)

    write_errors(30)
    [(label, difference, paper)] = reproduction.costs()
    assert label.startswith("pooling") and difference["mean"] == 2.5 and paper == 0.4
    reproduction.draw(tmp_path / "picture.svg")
    assert reproduction.is_drawn(tmp_path / "picture.svg")
    write_errors(29)
    assert not reproduction.is_drawn(tmp_path / "picture.svg")


def test_what_is_never_reached_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)
    reached = {"fitted": [60, 80, 70], "0.01": [None] * 3, "0.01, 0.03": [500, 600, 700]}
    runs = [
        {"variant": variant, "seed": seed, "steps_on_plateau": steps, "steps": 3125}
        for variant, values in reached.items()
        for seed, steps in enumerate(values)
    ]
    reproduction_write(tmp_path / "initial-weights" / "results" / "initial-weights.json", runs)
    tell = next(row for row in reproduction.ROWS if row.folder == "initial-weights").ours
    words = "*fitted* 70 ± 10 steps, *0.01* not reached in 3 of 3 runs within 3,125 steps"
    more = "*0.01, 0.03* +530.0 steps (+293.0 to +767.0, n = 3); "
    assert tell() == f"{more}{words}, *0.01, 0.03* 600 ± 100 steps"


def test_a_missing_run_of_a_middle_layer_makes_the_row_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)
    [row] = [row for row in reproduction.ROWS if row.folder == "depth"]
    runs = [
        {"variant": variant, "seed": seed, "error": 30.0 + seed}
        for variant in CLAIMS["depth"].variants
        for seed in range(3)
    ]
    for kept, status in ((runs, "run"), (runs[:-1], "begun"), (runs[1:], "begun"), ([], "not")):
        reproduction_write(tmp_path / "depth" / "results" / "depth.json", kept)
        [line] = reproduction.lines((row,), "")
        assert line[4].startswith(status), (line, status)


def test_what_was_not_reached_says_within_which_time_and_what_is_missing_does_not(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)
    [row] = [row for row in reproduction.ROWS if row.folder == "initial-weights"]
    values = {"fitted": [50, 60], "0.01": [None] * 3, "0.01, 0.03": [None] * 3}
    runs = [
        {"variant": variant, "seed": seed, "steps_on_plateau": steps, "steps": 3125}
        for variant, found in values.items()
        for seed, steps in enumerate(found)
    ]
    reproduction_write(tmp_path / "initial-weights" / "results" / "initial-weights.json", runs)
    text = row.ours()
    assert text is not None and "2 of 3 runs yet" in text and "yet within" not in text
    assert "not reached in 3 of 3 runs within 3,125 steps" in text


def test_the_ratio_of_figure_1_is_paired_by_seed_where_all_runs_arrive(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)

    def of(**reached):
        runs = [
            {
                "variant": variant,
                "seed": seed,
                "epochs_to_reach": epochs,
                "by_epoch": [60.0] * ((epochs or 9) - 1) + [25.0 if epochs else 60.0],
            }
            for variant, values in reached.items()
            for seed, epochs in enumerate(values)
        ]
        reproduction_write(tmp_path / "figure1" / "results" / "figure1.json", runs)
        return next(row for row in reproduction.ROWS if row.folder == "figure1").ours()

    words = "*relu* 5.7 ± 0.6; *tanh* 28.3 ± 2.9; *sigmoid* not reached in 3 of 3 runs within 28"
    text = of(relu=[5, 6, 6], tanh=[25, 30, 30], sigmoid=[None] * 3)
    assert text == f"5.0 times in each of 3 pairs; whole epochs: {words} epochs"
    text = of(relu=[5, 5, 5], tanh=[25, 30, 35])
    assert text is not None and text.startswith("6.0 times (3.5 to 8.5, n = 3); whole epochs: *r")
    assert text.endswith("*sigmoid* 0 of 3 runs yet")
    least = "whole epochs: *relu* 5.0 ± 0.0; *tanh* 30.0, not reached in 2 of 3 runs within 40"
    assert (
        of(relu=[5, 5, 5], tanh=[30, None, None], sigmoid=[7, 7, 7])
        == f"{least} epochs; *sigmoid* 7.0 ± 0.0"
    )
    begun = of(relu=[5, 5, 5], tanh=[30, 30])
    assert (
        begun is not None and "*tanh* 30.0 ± 0.0, 2 of 3 runs yet" in begun and "times" not in begun
    )
    text = of(relu=[5, 5, 5], tanh=[4, 5, 6])
    assert text is not None and text.startswith("1.0 times (0.5 to 1.5, n = 3), not told from 1;")
    assert of(relu=[5, 5]) is None and of(tanh=[5]) is None


def test_a_preset_with_a_shortened_schedule_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)
    [row] = [row for row in reproduction.ROWS if row.claim == "CIFAR-10, four layers"]
    assert row.ours() is None and row.otherwise == "not run yet"
    for epochs, words in ((40, "after 40 of 520 epochs"), (520, "after 520 epochs")):
        record = {
            "run": {"status": "finished", "wall_seconds": 60.0, "cpu_cores": 1},
            "config": dataclasses.asdict(PRESETS["cifar10-13pct"]),
            "validation": [{"epoch": 1.0}, {"epoch": epochs + 0.0005}],
            "final": [
                {"test_views": v, "final/top1_error": e} for v, e in ((1, 0.151), (10, 0.145))
            ],
        }
        write(tmp_path / "cifar10" / "results" / "cifar10-13pct.json", record)
        assert row.ours() == f"14.5 % (ten views) {words}"
        status = "run, shortened" if epochs < 520 else "run"
        assert reproduction.lines((row,), "")[0][4] == status
        monkeypatch.setattr(reproduction, "ROWS", (row,))
        of_them = ", 1 of them by a shortened schedule." if epochs < 520 else "."
        assert f"1 of 1 rows were run{of_them}" in reproduction.whole()
    record["run"]["status"] = "interrupted"
    write(tmp_path / "cifar10" / "results" / "cifar10-13pct.json", record)
    assert reproduction.lines((row,), "")[0][4] == row.otherwise


def test_core_hours_count_a_run_once(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)
    first, second, third = (
        {"params_sha256": name, "cpu_cores": 2, "wall_seconds": 3600.0 * hours}
        for name, hours in (("a", 1), ("b", 2), ("c", 2))
    )
    write(tmp_path / "cats_vs_dogs" / "results" / "cats-vs-dogs.json", {"run": first})
    sets = {"cats-vs-dogs": [first, second, third], "two": [third], "digits": None}
    entries = {name: {"training": runs} if runs else {} for name, runs in sets.items()}
    write(tmp_path / "ensembles" / "results" / "ensembles.json", {"sets": entries})
    text = reproduction._hours()
    assert (
        "1 of towers and presets, 0 until a drop and 2 that were only averaged took 10 core hours"
        in text
    )


def test_one_value_has_no_deviation():
    assert paired.spread([3.0]) == "3.0" and paired.spread([3.0, 4.0], ".0f") == "4 ± 1"
    assert reproduction._told({0: 50.0}, "", "steps") == "50 steps"
    assert reproduction._told({}, "diverged", "steps") == "diverged"


def test_runs_that_were_made_twice_tell_what_rounding_does(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "ROOT", tmp_path)
    assert reproduction._rounding() == ""
    for name, errors in (("towers", (38.0, 39.0)), ("specialise", (38.5, 37.5))):
        runs = [{"variant": "two towers", "seed": s, "error": e} for s, e in enumerate(errors)]
        reproduction_write(tmp_path / name / "results" / f"{name}.json", runs)
    assert "2 of `towers`" in reproduction._rounding()
    assert "1.0 points in the mean and 1.5 at most" in reproduction._rounding()


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


def reproduction_write(path, runs):
    write(path, {"runs": runs})


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
    assert max(row["networks"] for row in many) == ensembles.MOST
    views = {"1": many, "10": many}
    sets = {"one": {"views": views, "views_averaged": 10}}
    record = {"sets": sets | {"two": {"views": views, "views_averaged": 5}}}
    ensembles.draw(record, tmp_path / "averages.svg")
    assert ensembles._averaged(record) == "ten views (two: five crops)"
    assert (tmp_path / "averages.svg").read_text().count("networks") >= 2


@pytest.mark.slow
def test_the_quick_forms_train_what_they_need_and_write_beside_the_repository(
    tmp_path, monkeypatch, capsys, few_optimizations
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("alexnet_jax.workflow.run.write_run_report", lambda *_, **__: None)
    short = dataclasses.replace(PRESETS["digits"], epochs=0.2, final_views=1)
    monkeypatch.setitem(PRESETS, "digits", short)
    monkeypatch.setattr(specialise, "EPOCHS", (0.1, 0.2))
    monkeypatch.setattr(figure3, "EPOCHS", (0.1, 0.2))
    words = ["--quick", "--data-dir", str(tmp_path / "data")]
    one = ["--seeds", "1"]
    programs = ((ensembles, []), (retrieval, []), (specialise, one), (figure3, one))
    for module, more in programs:
        before = module.OUTPUT.read_bytes(), module.README.read_bytes()
        module.main([*words, *more])
        assert (module.OUTPUT.read_bytes(), module.README.read_bytes()) == before
        found = read(tmp_path / "runs" / "quick" / module.OUTPUT.name)
        assert found and module.rows(found) in capsys.readouterr().out
    assert len(list((tmp_path / "runs" / "quick").glob("digits-*"))) == 3
    drawn = tmp_path / "runs" / "quick" / "figure3.png"
    assert pictures.is_of(drawn, read(drawn.with_suffix(".json")))
    for module in (ensembles, retrieval):
        with pytest.raises(SystemExit, match="2"):
            module.main(["alone"])


def test_a_picture_of_filters_has_a_panel_a_tower_and_a_scale_a_filter(tmp_path, monkeypatch):
    drawn = []

    def draw(kernel, *more, **options):
        drawn.append(kernel)
        return tower_pictures(kernel, *more, **options)

    monkeypatch.setattr(figure3, "tower_pictures", draw)
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3, 8)).astype(np.float32)
    kernel[..., 0], kernel[..., 1] = 0, 1e-3 * kernel[..., 1]
    figure3.draw({"one": kernel, "two": kernel}, tmp_path / "filters.png", {"runs": []})
    assert pictures.is_of(tmp_path / "filters.png", {"runs": []})
    first, second = drawn
    np.testing.assert_allclose(np.abs(first).max(axis=(0, 1, 2)), [0, *[1] * 7], rtol=1e-6)
    np.testing.assert_array_equal(first, second)


def test_the_first_layer_of_figure_3_begins_far_below_what_it_learns():
    conv1, *others = parametric_layers(figure3.NETWORK.layers)
    assert isinstance(conv1, Conv) and conv1.weight_std == 1e-4 and conv1.window >= 7
    groups = {layer.name: layer.groups for layer in others if isinstance(layer, Conv)}
    assert groups == {"conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2}
    assert figure3.RECIPE.preprocess.scale == "none"


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
    monkeypatch.setitem(CLAIMS, "towers", quick(CLAIMS["towers"]))
    monkeypatch.setattr(specialise, "EPOCHS", (0.1, 0.2))
    found = specialise.train("one whole tower", 0, tmp_path / "runs", "", tmp_path / "data")
    assert [point["epoch"] for point in found["course"]] == [0.1, 0.2]
    first, last = (point["shares"] for point in found["course"])
    assert first != last and 0 < found["error"] <= 100
    specialise.draw({"runs": [found]}, tmp_path / "shares.svg")
    assert "<svg" in (tmp_path / "shares.svg").read_text()


def test_runs_that_are_named_take_the_place_of_those_of_the_record(
    config,  # noqa: F811
    dataset,  # noqa: F811
    tmp_path,
    few_optimizations,
    capsys,
):
    data = dataclasses.replace(config.data, name=dataset.path.name, stored_size=10)
    mine = dataclasses.replace(config, data=data, final_views=1)
    workflow.train(mine, tmp_path / "run", dataset.path.parent, say=lambda _: None)
    output = tmp_path / "record.json"
    for names in (("first", "second"), ("third",)):
        pairs = [f"{name}={tmp_path / 'run'}" for name in names]
        specialise.main(["--output", str(output), "--run", *pairs])
        record = read(output)
        assert record and tuple(record["others"]) == names
        assert "`miniature`" not in capsys.readouterr().out, "it was not trained"


def test_retrieval_measures_every_layer_of_a_run(
    config,  # noqa: F811
    dataset,  # noqa: F811
    tmp_path,
    few_optimizations,
):
    data = dataclasses.replace(config.data, name=dataset.path.name, stored_size=10)
    mine = dataclasses.replace(config, data=data, final_views=1)
    workflow.train(mine, tmp_path / "run", dataset.path.parent, say=lambda _: None)
    picture = tmp_path / "figure.png"
    counts = retrieval.COUNTS
    retrieval.COUNTS = (1, 2)
    try:
        found = retrieval.measure(tmp_path / "run", dataset.path.parent, picture)
    finally:
        retrieval.COUNTS = counts
    assert next(iter(found["layers"])) == "pixels" and len(found["layers"]) >= 3
    for precision in found["layers"].values():
        assert set(precision) == {"1", "2"} and all(0 <= value <= 1 for value in precision.values())
    assert picture.stat().st_size > 1000
    assert retrieval.is_drawn(picture, {"environment": {}, **found})
    found["layers"]["pixels"]["1"] += 0.01
    assert not retrieval.is_drawn(picture, found)
