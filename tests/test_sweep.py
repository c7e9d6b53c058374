"""The runner of claims: what is listed can be run, nothing is run twice, statistics and page."""

import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
import threading
import time

import jax
import pytest

from alexnet_jax import workflow
from alexnet_jax.config import Config, TransferConfig
from alexnet_jax.errors import DivergedError
from alexnet_jax.network.layers import Conv, Flatten, MaxPool, parametric_layers, summarize
from alexnet_jax.network.model import init_params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.resolution import Facts, resolve
from experiments import pictures
from experiments.benchmarks.records import read
from experiments.paired import paired
from experiments.specialise import figure3
from experiments.sweep import page, runner
from experiments.sweep.__main__ import ROOT, main, with_epochs, with_source
from experiments.sweep.claims import CLAIMS, Goal, toy_claim
from experiments.sweep.digest import digest_of
from experiments.sweep.drawing import draw_claim
from experiments.sweep.variants import FIGURE1_RATES


@pytest.fixture(autouse=True)
def known_networks():
    before = dict(NETWORKS)
    runner.networks()
    yield
    NETWORKS.clear()
    NETWORKS.update(before)


@pytest.mark.parametrize("name", CLAIMS)
def test_every_run_of_a_claim_can_begin_at_full_and_at_toy_size(name):
    claim = CLAIMS[name]
    assert claim.baseline in claim.variants and claim.seeds >= 1
    configs = [variant.config for variant in claim.variants.values()]
    assert len(set(configs)) == len(configs), "no two variants are the same run"
    for form in (claim, toy_claim(claim)):
        for variant in form.variants.values():
            config = variant.config
            assert bool(config.transfer.layers) == (variant.before is not None)
            config = dataclasses.replace(config, transfer=TransferConfig())  # its run is not there
            network, size = resolve(config, Facts(10, config.data.stored_size))
            jax.eval_shape(lambda n=network, s=size: init_params(n, s, 0))
    assert all(variant.config.data.source_kind == "digits" for variant in form.variants.values())


def test_the_ablations_change_what_they_say():
    def network_of(claim, name):
        return CLAIMS[claim].variants[name].network or NETWORKS["miniature"]

    def features(name):
        return [x.features for x in parametric_layers(network_of("towers", name).layers)]

    assert features("half") == [8, 24, 32, 32, 48, 192, 192, 10]
    assert features("no talk") == [16, 60, 64, 64, 48, 384, 192, 10]
    in_2012 = [x.features for x in parametric_layers(NETWORKS["no-talk"].layers)]
    original = [x.features for x in parametric_layers(NETWORKS["original"].layers)]
    wider = [
        here / there
        for here, there in zip(features("no talk"), features("two towers"), strict=True)
    ]
    assert wider == [after / before for after, before in zip(in_2012, original, strict=True)]
    sizes = {
        name: [row.output_shape for row in summarize(network_of("overlapping", name), 24)]
        for name in CLAIMS["overlapping"].variants
    }
    assert sizes["overlapping"] == sizes["not overlapping"]
    for name in ("conv2", "conv3", "conv4", "conv5"):
        layers = parametric_layers(network_of("depth", f"without {name}").layers)
        assert name not in [layer.name for layer in layers] and len(layers) == 7
    as_run = network_of("normalization", "as run").layers
    original = NETWORKS["original"].layers
    for name in ("0.01", "0.01, 0.03"):  # the biases that §5 prints
        here, there = network_of("initial-weights", name).layers, original
        pairs = zip(parametric_layers(here), parametric_layers(there), strict=True)
        assert all(one.bias == other.bias for one, other in pairs)
    six, there = network_of("transfer", "a fifth").layers, NETWORKS["six-conv"].layers
    for layers in (six, there):  # over the last pooling, and it sees both towers
        before, conv6 = layers[layers.index(Flatten()) - 3 : layers.index(Flatten()) - 1]
        assert isinstance(conv6, Conv) and (conv6.name, conv6.groups) == ("conv6", 1)
        assert layers is there or isinstance(before, MaxPool)
    assert [type(layer) for layer in as_run[:9]] == [type(layer) for layer in original[:9]]


def test_the_courses_of_figure_1_are_drawn_and_told(tmp_path):
    claim = CLAIMS["figure1"]
    reached = {"relu": [[60, 20.0], [55, 30, 24.0]], "tanh": [[70, 60, 50, 24.0]], "sigmoid": []}
    runs = [
        {"variant": kind, "seed": seed, "epochs_to_reach": len(errors), "by_epoch": errors}
        for kind, courses in reached.items()
        for seed, errors in enumerate(courses)
    ]
    lost = {"variant": "sigmoid", "seed": 0, "epochs_to_reach": None, "diverged": True}
    runs = [{**run, "wall_seconds": 60.0} for run in (*runs, lost)]
    path = tmp_path / "figure1.svg"
    draw_claim(claim, {"runs": runs}, path)
    assert pictures.is_of(path, runs)
    found = page.table_of(claim, {"runs": runs})
    assert "| relu | 2 | 2.5 ± 0.7, 2 of 3 runs yet | – |" in found
    assert "| tanh | 1 | 4.0, 1 of 3 runs yet | – |" in found
    assert "| sigmoid | 1 | diverged in 1 of 1 runs, 1 of 3 runs yet | – |" in found


def test_the_page_of_a_claim_tells_the_epochs_to_each_error_of_its_goal():
    claim = CLAIMS["convergence"]
    courses = {
        "none": [[60, 50, 40], [60, 50, 40], [60, 50, 40]],
        "dropout": [[80, 70, 60, 50, 45], [80, 70, 60, 50, 45], [80, 70, 60, 50, 48]],
    }
    runs = [
        {
            "variant": variant,
            "seed": seed,
            "epochs_to_reach": len(errors) if errors[-1] <= 45 else None,
            "by_epoch": errors,
        }
        for variant, mine in courses.items()
        for seed, errors in enumerate(mine)
    ]
    table = page.table_of(claim, {"runs": runs})
    assert "| epochs to 45 % test error |" in table and "| epochs to 50 % test error |" in table
    assert "| dropout | 3 | 5.0 ± 0.0, not reached in 1 of 3 runs | – | 4.0 ± 0.0 |" in table
    assert "| none | 3 | 3.0 ± 0.0 | – | 2.0 ± 0.0 |" in table
    told = page.ratios(claim, {"runs": runs}, "dropout")
    assert told == ["2.0 times to 50 % in each of 3 pairs"], "not all came to 45 %"
    assert len(page.ratios(claim, {"runs": runs[:5]}, "dropout")) == 0, "not all were run"


def test_epochs_are_told_in_a_line_between_whole_ones():
    assert page.crossing([60, 35, 15], 25) == pytest.approx(2.5)
    assert page.crossing([60, 25, 15], 25) == pytest.approx(2)
    assert page.crossing([20, 15], 25) == 1 and page.crossing([60, 50], 25) == 2


LAYERS = {
    "digits": "50e8c2a3",
    "figure1-relu": "d9ed16c7",
    "figure1-sigmoid": "be5655c6",
    "figure1-tanh": "16af0870",
    "figure3": "c6d160c5",
    "miniature": "181a8096",
    "miniature-as-run": "5d873f51",
    "miniature-conv6": "2b7e11c5",
    "miniature-half": "0d5a9497",
    "miniature-no-conv2": "fc5b9887",
    "miniature-no-conv3": "dc6d14ad",
    "miniature-no-conv4": "7043a59b",
    "miniature-no-conv5": "3e732067",
    "miniature-no-dropout": "f9d34efb",
    "miniature-no-lrn": "1c4811b6",
    "miniature-no-talk-wide": "f87eda0b",
    "miniature-non-overlapping": "dfc9f858",
    "miniature-one-tower": "2f7277bc",
    "miniature-printed-start": "1d3ac6f7",
    "miniature-start-as-run": "0371ed03",
}


def said(layers):
    """What a network's layers say beyond their defaults, as a digest."""
    unusual = [
        (
            type(layer).__name__,
            sorted(
                (field.name, getattr(layer, field.name))
                for field in dataclasses.fields(layer)
                if getattr(layer, field.name) != field.default
            ),
        )
        for layer in layers
    ]
    return hashlib.sha256(repr(unusual).encode()).hexdigest()[:8]


def test_a_network_that_changes_gets_another_name():
    """Records know networks by their names: runs of other layers would stand for them."""
    used = {v.config.network for claim in CLAIMS.values() for v in claim.variants.values()}
    found = {name: said(NETWORKS[name].layers) for name in used}
    found[figure3.NETWORK.name] = said(figure3.NETWORK.layers)
    assert dict(sorted(found.items())) == LAYERS


@pytest.mark.parametrize("kind", FIGURE1_RATES)
def test_the_rate_of_figure_1_is_the_one_that_was_found(kind):
    record = read(ROOT / "figure1-rates" / "results" / "figure1-rates.json") or {"runs": []}
    errors = {
        run["variant"]: math.inf if run["training_error"] is None else run["training_error"]
        for run in record["runs"]
        if run["variant"].startswith(kind)
    }
    if len(errors) < len(FIGURE1_RATES[kind]):
        pytest.skip(
            f"rates of {kind} were not all tried: python -m experiments.sweep figure1-rates"
        )
    rate = CLAIMS["figure1"].variants[kind].config.optimizer.learning_rate
    assert min(errors, key=errors.__getitem__) == f"{kind} {rate:g}"


def test_a_chosen_rate_of_figure_1_lies_between_others():
    for kind, variant in CLAIMS["figure1"].variants.items():
        rate = variant.config.optimizer.learning_rate
        assert min(FIGURE1_RATES[kind]) < rate < max(FIGURE1_RATES[kind])


@pytest.mark.parametrize("name", CLAIMS)
def test_a_record_holds_the_runs_that_its_claim_states(name):
    record = read(ROOT / name / "results" / f"{name}.json") or {"runs": []}
    for run in record["runs"]:
        variant = CLAIMS[name].variants[run["variant"]]
        assert run["config"] == digest_of(variant, run["seed"]), run["variant"]


def test_a_digest_is_that_of_what_is_not_usual(monkeypatch):
    variant, other = (CLAIMS["velocity"].variants[name] for name in ("inside", "outside"))
    digest = digest_of(variant, 0)
    assert len({digest, digest_of(variant, 1), digest_of(other, 0)}) == 3
    to_json = Config.to_json

    def with_a_field_of_tomorrow(config):
        fields = json.loads(to_json(config))
        fields["augment"] |= {"tomorrow": 0}
        return json.dumps(fields)

    monkeypatch.setattr(Config, "to_json", with_a_field_of_tomorrow)
    assert digest_of(variant, 0) == digest


def test_the_epoch_that_reaches_an_error_is_counted():
    rows = [{"epoch": e / 4, "train/top1_error": 1 - e / 16} for e in range(1, 13)]
    found = runner.errors_by_epoch([*rows, {"epoch": 3, "validation/top1_error": 0.1}])
    assert [epoch for epoch, _ in found] == [1, 2, 3]
    assert found[0][1] == pytest.approx(1 - 2.5 / 16)
    begun = [*rows, {"epoch": 3.1, "train/top1_error": 0.0}]
    assert runner.errors_by_epoch(begun) == found, "a begun epoch is none"
    assert runner.errors_by_epoch(rows[:2]) == [(1, 1 - 1.5 / 16)]


def test_an_epoch_is_tested_after_the_step_that_ends_it(tmp_path):
    rows = [
        {"step": 9, "epoch": epoch, "train/top1_error": 0.2, "validation/top1_error": error}
        for epoch, error in ((1.0007, 0.6), (2.0001, 0.5), (3.0005, 0.4))
    ]
    assert runner.errors_by_epoch(rows, "test") == [(1, 0.6), (2, 0.5), (3, 0.4)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reached = {error: runner._reached(tmp_path, Goal(error, "test")) for error in (0.5, 0.39)}
    assert reached == {0.5: 2, 0.39: None}
    info = {
        "status": "interrupted",
        "wall_seconds": 1,
        "cpu_cores": 1,
        "processor": "",
        "commit": "",
    }
    (tmp_path / "run.json").write_text(json.dumps(info))
    found = runner.measured(tmp_path, Goal(0.5, "test"))
    assert (found["epochs_to_reach"], found["by_epoch"]) == (2, [60, 50, 40])


def test_paired_differences_have_students_interval():
    found = paired({0: 1.0, 1: 2.0, 2: 3.0, 7: 9.0}, {0: 1.5, 1: 1.5, 2: 3.0})
    assert found is not None and found["n"] == 3 and found["mean"] == 0
    assert found["interval_95"][1] == pytest.approx(4.302653 * 0.5 / 3**0.5)
    assert paired({0: 1.0}, {0: 2.0}) is None


@pytest.fixture
def started(monkeypatch):
    """Run folders in the order in which their runs began; a run leaves its files, untrained."""
    folders = []

    def leave_records(workdir, data_dir, cores, goal, stop):
        folders.append(workdir)
        workdir.mkdir(exist_ok=True)
        (workdir / "config.json").write_text(workdir.with_suffix(".json").read_text())
        rows = [
            {"step": 1, "epoch": 0.1, "train/loss": 2.3, "train/top1_error": 0.9},
            {"step": 1, "epoch": 0.1, "test_views": 1, "final/top1_error": 0.5, "final/loss": 2.0},
        ]
        (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        info = {"status": "finished", "step": 1, "wall_seconds": 2.0, "params_sha256": workdir.name}
        info |= {"cpu_cores": 1, "processor": "one", "commit": "abc"}
        (workdir / "run.json").write_text(json.dumps(info))

    monkeypatch.setattr(runner, "_train", leave_records)
    gap = {"error_on_training_images": 50.0, "gap": 0.0}
    monkeypatch.setattr(runner, "overfitting", lambda *_: gap)
    return folders


@pytest.fixture
def sweep(tmp_path):
    """Runs a claim below `tmp_path`; its record is `record.json`."""

    def run(claim, jobs=1):
        options = {"data_dir": tmp_path / "data", "jobs": jobs}
        return runner.run_claim(claim, "t", tmp_path / "runs", tmp_path / "record.json", **options)

    return run


def only(claim, variant):
    return claim._replace(variants={variant: claim.variants[variant]}, baseline=variant)


def test_a_run_before_comes_first_and_is_that_of_its_seed(tmp_path, started, sweep):
    record = sweep(only(toy_claim(CLAIMS["transfer"]), "a fifth")._replace(seeds=2))
    assert len(record["runs"]) == 2
    order = [json.loads((folder / "config.json").read_text()) for folder in started]
    assert [one["seed"] for one in order] == [0, 0, 1, 1]
    for seed in (0, 1):
        before, tuned = (one for one in order if one["seed"] == seed)
        run = tmp_path / "runs" / "runs"
        assert before["transfer"]["run"] == "" and tuned["transfer"]["layers"]
        assert tuned["transfer"]["run"].startswith(str(run))
        config = json.loads((run / tuned["transfer"]["run"] / "config.json").read_text())
        assert config["seed"] == seed
    assert not [run for run in record["runs"] if str(tmp_path) in json.dumps(run)]


def test_variants_that_share_a_run_before_wait_for_it_and_name_it(started, sweep, monkeypatch):
    leave_records, at_once, most = runner._train, [], []

    def slowly(workdir, *rest):
        at_once.append(workdir)
        most.append(at_once.count(workdir))
        time.sleep(0.05)
        leave_records(workdir, *rest)
        at_once.remove(workdir)

    monkeypatch.setattr(runner, "_train", slowly)
    claim = toy_claim(CLAIMS["transfer"])._replace(seeds=2)
    record = sweep(claim, jobs=4)
    assert max(most) == 1 and len(started) == len(set(started)) == 8, "a folder is one run's"
    for seed in (0, 1):
        tuned = [run for run in record["runs"] if "before" in run and run["seed"] == seed]
        assert [run["variant"] for run in tuned] == ["the whole rate", "a fifth"]
        before = digest_of(claim.variants["a fifth"].before or pytest.fail(), seed)
        assert {run["before"]["params_sha256"] for run in tuned} == {before}


def test_all_that_is_fine_tuned_began_with_one_network_of_its_seed():
    record = read(ROOT / "transfer" / "results" / "transfer.json") or {"runs": []}
    before = {
        (run["seed"], run["before"]["params_sha256"]) for run in record["runs"] if "before" in run
    }
    assert len(before) == CLAIMS["transfer"].seeds
    names = {run["variant"] for run in record["runs"] if "before" in run}
    assert names == CLAIMS["transfer"].variants.keys() - {"from scratch"}


def test_a_variant_with_another_name_keeps_its_runs(started, sweep):
    claim = toy_claim(CLAIMS["dropout"])
    sweep(claim)
    names = {"dropout": "with", "none": "without"}
    renamed = {names[name]: variant for name, variant in claim.variants.items()}
    record = sweep(claim._replace(variants=renamed, baseline="with"))
    assert len(started) == 2
    assert [run["variant"] for run in record["runs"]] == list(renamed)


def test_a_rate_that_is_too_high_is_a_result(tmp_path, started, sweep, monkeypatch):
    leave_records = runner._train

    def diverge(workdir, *rest):
        leave_records(workdir, *rest)
        if json.loads((workdir / "config.json").read_text())["network"] != "miniature":
            info = {"status": "failed", "wall_seconds": 1.0}
            (workdir / "run.json").write_text(json.dumps(info))
            (workdir / "metrics.jsonl").unlink()  # it diverged before its first row

    monkeypatch.setattr(runner, "_train", diverge)
    claim = toy_claim(CLAIMS["dropout"])._replace(seeds=2)
    record = sweep(claim)
    assert [run.get("diverged", False) for run in record["runs"]] == [False, False, True, True]
    text = page.page("dropout", claim, record)
    assert "| none | 2 | diverged in 2 of 2 runs |" in text
    assert "| dropout | 2 | 50.0 ± 0.0 |" in text
    draw_claim(claim, record, tmp_path / "dropout.svg")


def test_a_run_that_diverges_ends_with_the_exit_code_of_that(tmp_path, monkeypatch):
    def diverge(*_):
        raise DivergedError("the loss is not finite")

    monkeypatch.setattr(runner.workflow, "train", diverge)
    (tmp_path / "run.json").write_text(CLAIMS["dropout"].variants["none"].config.to_json())
    with pytest.raises(SystemExit) as stop:
        runner.train_here(tmp_path / "run", None, os.sched_getaffinity(0))
    assert stop.value.code == DivergedError.exit_code


def test_nothing_is_taken_from_a_run_that_diverged(started, sweep, monkeypatch):
    leave_records = runner._train

    def diverge(workdir, *rest):
        leave_records(workdir, *rest)
        (workdir / "run.json").write_text(json.dumps({"status": "failed", "wall_seconds": 1.0}))

    monkeypatch.setattr(runner, "_train", diverge)
    with pytest.raises(RuntimeError, match="has diverged"):
        sweep(only(toy_claim(CLAIMS["transfer"]), "a fifth"))


def a_program_that(monkeypatch, *, writes, ends):
    """A run's process that notes errors of whole epochs and goes on until it is told to end."""
    body = f"""
import json, pathlib, signal, sys, time
place = pathlib.Path(sys.argv[-1])
place.mkdir(exist_ok=True)
rows = [{{"epoch": e, "step": e, "train/top1_error": v}} for e, v in enumerate({writes}, 1)]
(place / "run.json").write_text(json.dumps({{"status": {ends!r}}}))
(place / "metrics.jsonl").write_text("".join(json.dumps(row) + chr(10) for row in rows))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
time.sleep({3000 if ends == "running" else 0})
"""
    begin = subprocess.Popen

    def popen(command, **rest):
        workdir = command[-1].partition("train_here(Path('")[2].partition("'")[0]
        return begin([sys.executable, "-c", body, workdir], **rest)

    monkeypatch.setattr(runner.subprocess, "Popen", popen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variant", "goal"),
    [("figure1", "tanh", Goal(0.95)), ("convergence", "dropout", Goal(0.95, "test"))],
)
def test_a_run_ends_when_its_goal_is_reached_and_is_not_begun_again(
    name, variant, goal, tmp_path, sweep, monkeypatch, sooner
):
    claim = only(toy_claim(CLAIMS[name], epochs=50)._replace(goal=goal), variant)
    config = dataclasses.replace(claim.variants[variant].config, evaluate_every_epochs=1)
    claim = claim._replace(variants={variant: claim.variants[variant]._replace(config=config)})
    record = sweep(claim)
    [run] = record["runs"]
    assert run["epochs_to_reach"] == 1 and 100 * 0.95 >= run["by_epoch"][0]
    assert run["steps"] < 50 * 12
    [folder] = [path for path in (tmp_path / "runs" / "runs").iterdir() if path.is_dir()]
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    monkeypatch.setattr(runner, "subprocess", None)  # nothing is begun
    (tmp_path / "record.json").unlink()
    assert sweep(claim)["runs"] == record["runs"]


@pytest.mark.parametrize("stopped", ["sweep", "run"])
def test_what_was_stopped_is_no_result(tmp_path, monkeypatch, stopped):
    stop = threading.Event()
    if stopped == "sweep":
        threading.Timer(2, stop.set).start()
    a_program_that(
        monkeypatch, writes=[0.5, 0.4], ends="running" if stopped == "sweep" else "interrupted"
    )
    with pytest.raises(RuntimeError, match="was stopped; the same command continues it"):
        runner._train(tmp_path / "run", None, {0}, Goal(0.25), stop)  # it does not sleep to its end


def test_the_error_of_the_run_that_failed_is_told_not_of_those_stopped_for_it(
    started, sweep, monkeypatch
):
    def fail(workdir, data_dir, cores, goal, stop):
        if json.loads(workdir.with_suffix(".json").read_text())["network"] != "miniature":
            raise RuntimeError("no space")
        stop.wait(60)
        raise RuntimeError("was stopped")

    monkeypatch.setattr(runner, "_train", fail)
    with pytest.raises(RuntimeError, match="no space"):
        sweep(toy_claim(CLAIMS["dropout"]), jobs=2)


def test_after_an_error_nothing_else_is_begun(tmp_path, started, sweep, monkeypatch):
    leave_records, begun = runner._train, []

    def fail(workdir, *rest):
        begun.append(workdir)
        raise RuntimeError("no space")

    monkeypatch.setattr(runner, "_train", fail)
    claim = toy_claim(CLAIMS["dropout"])._replace(seeds=5)
    with pytest.raises(RuntimeError, match="no space"):
        sweep(claim)
    assert len(begun) == 1 and not (tmp_path / "record.json").exists()
    monkeypatch.setattr(runner, "_train", leave_records)
    assert len(sweep(claim)["runs"]) == 10


def test_only_a_claim_as_it_is_stated_is_written_into_the_repository(tmp_path, started):
    def runs_of(folder):
        record = read(folder / "results" / "dropout.json")
        return len(record["runs"]) if record else 0

    before = (ROOT / "dropout" / "results" / "dropout.json").read_bytes()
    words = ["dropout", "--data", "imagenette=PHOTOS", "--scratch", str(tmp_path)]
    main([*words, "--epochs", "3"])
    main([*words, "--seeds", "2"])
    assert len(started) == 6 + 4
    assert runs_of(tmp_path / "pages" / "dropout") == 4
    main([*words, "--output", str(tmp_path / "again")])
    assert runs_of(tmp_path / "again" / "dropout") == 6
    assert (ROOT / "dropout" / "results" / "dropout.json").read_bytes() == before


def test_places_and_epochs_are_given_to_every_run():
    with pytest.raises(SystemExit, match="x=Y: this claim takes places of cifar10"):
        with_source(CLAIMS["towers"], ["cifar10=PHOTOS", "x=Y"])
    claim = with_epochs(with_source(CLAIMS["towers"], ["cifar10=PHOTOS"]), 3)
    for variant in claim.variants.values():
        assert variant.config.data.source == "PHOTOS" and variant.config.epochs == 3


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """A folder of toy runs, which the claims share as they share the large ones."""
    return tmp_path_factory.mktemp("toys")


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_the_command_ends_two_variants_of_every_claim_at_toy_size_with_a_page(
    name, toys, capsys, monkeypatch, few_optimizations
):
    def train_in_this_process(workdir, data_dir, cores, goal, stop):
        if not (workdir / "run.json").exists():
            runner.train_here(workdir, data_dir, cores)

    monkeypatch.setattr(runner, "_train", train_in_this_process)
    monkeypatch.setattr(runner, "use_compilation_cache", lambda: None)
    monkeypatch.setattr("alexnet_jax.workflow.run.write_report_of", lambda *_, **__: None)
    variants = CLAIMS[name].variants
    ends = {key: variants[key] for key in (CLAIMS[name].baseline, list(variants)[-1])}
    claim = CLAIMS[name]._replace(variants=ends)
    monkeypatch.setitem(CLAIMS, name, claim)
    words = [name, "--quick", "--epochs", "0.1", "--scratch", str(toys)]
    main([*words, "--data-dir", str(toys / "data")])
    table = capsys.readouterr().out
    folder = toys / "pages" / name  # not in the repository
    record = read(folder / "results" / f"{name}.json")
    assert record is not None
    assert pictures.is_of(folder / "results" / f"{name}.svg", record["runs"])
    assert [run["variant"] for run in record["runs"]] == list(claim.variants)
    weights = {run["params_sha256"] for run in record["runs"]}
    assert len(weights) == len(claim.variants)
    text = (folder / "README.md").read_text()
    assert text.startswith(f"# Claim: {claim.title}") and f"results/{name}.svg" in text
    for variant in claim.variants:
        assert f"| {variant} | 1 |" in table and f"| {variant} | 1 |" in text
    if claim.goal is None:
        assert all(f"{run['error']:.1f}" in table for run in record["runs"])
    else:
        assert all(f"| {run['training_error']:.1f} |" in table for run in record["runs"])
    if claim.overfits:
        [place] = [path for path in (toys / "runs").glob(f"{record['runs'][0]['config']}/")]
        error = workflow.evaluate_run(place, "last", 1, data_dir=toys / "data", split="train")
        for run in record["runs"]:
            assert run["gap"] == pytest.approx(run["error"] - run["error_on_training_images"])
        found = record["runs"][0]["error_on_training_images"]
        assert found == pytest.approx(100 * error.top1_error, abs=1e-4) and error.count > 1000
    if name == "transfer":
        assert table.count("copied conv1, conv2") == 1


def test_a_claim_is_run_once_and_goes_on_where_it_stopped(tmp_path, started, sweep):
    claim = toy_claim(CLAIMS["dropout"])._replace(seeds=2)
    sweep(claim._replace(seeds=1))
    output = tmp_path / "record.json"
    assert len(json.loads(output.read_text())["runs"]) == len(started) == 2
    record = sweep(claim)
    assert len(started) == 4, "only the second seed"
    assert [(r["variant"], r["seed"]) for r in record["runs"]] == [
        ("dropout", 0), ("dropout", 1), ("none", 0), ("none", 1),
    ]  # fmt: skip
    assert record == json.loads(output.read_text())
    text = page.page("dropout", claim, record)
    assert "| dropout | 2 |" in text and "| none | 2 |" in text
    assert "python -m experiments.sweep dropout" in text
    draw_claim(claim, record, tmp_path / "dropout.svg")
    assert "<svg" in (tmp_path / "dropout.svg").read_text()
    changed = dataclasses.replace(claim.variants["none"].config, batch_size=16)
    other = claim._replace(
        seeds=1, variants=claim.variants | {"none": claim.variants["none"]._replace(config=changed)}
    )
    kept = [(run["variant"], run["seed"]) for run in sweep(other)["runs"]]
    assert kept == [("dropout", 0), ("dropout", 1), ("none", 0)]
