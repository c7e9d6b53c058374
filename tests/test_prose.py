"""Numbers that pages tell in sentences are those of the records."""

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from alexnet_jax.network.layers import summarize
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.presets import NOTES, PRESETS
from experiments.parity import page as parity

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(NETWORKS)
"""As the package is imported: tests make further ones known."""


def record(place: str) -> Any:
    return json.loads((ROOT / "experiments" / place).read_text())


def errors(found: dict[str, Any]) -> dict[int, float]:
    """Returns the test error by whole epoch, percent."""
    return {round(r["epoch"]): 100 * r["validation/top1_error"] for r in found["validation"]}


def final(found: dict[str, Any], key: str = "top1_error") -> list[float]:
    rows = sorted(found["final"], key=lambda row: row["test_views"])
    return [100 * row[f"final/{key}"] for row in rows]


def standard_error(percent: float, images: int) -> float:
    return 100 * math.sqrt(percent / 100 * (1 - percent / 100) / images)


def singles(name: str) -> list[list[float]]:
    """Returns the errors of a set's single networks, with the centre and with ten views."""
    tested = record("ensembles/results/ensembles.json")["sets"][name]["views"]
    return [
        next(row["errors"] for row in tested[views] if row["networks"] == 1)
        for views in ("1", "10")
    ]


def below(found: dict[str, Any], loss: float) -> list[float]:
    """Returns the first epoch whose loss is below, and that from which on all are to epoch 1."""
    rows = [row for row in found["training"] if row["epoch"] <= 1.01]
    under = [row["train/loss"] < loss for row in rows]
    last_above = max(i for i, is_under in enumerate(under) if not is_under)
    return [rows[under.index(True)]["epoch"], rows[last_above + 1]["epoch"]]


def cifar10_18pct():
    found, fifth = (record(f"cifar10/results/cifar10-18pct{end}.json") for end in ("", "-fifth"))
    whole, by_epoch = PRESETS["cifar10-18pct"], errors(found)
    assert found["run"]["status"] == "finished" and len(found["run"]["starts"]) == 1
    assert found["run"]["cpu_cores"] == 1
    assert found["config"]["schedule"] == json.loads(whole.to_json())["schedule"]
    tenth, hundredth = (round(phase.epoch) for phase in whole.schedule.phases)
    assert (tenth, hundredth) == (121, 131)
    last, images = final(found)[0], found["run"]["validation_images"]
    yield "**`cifar10-18pct`: {:.1f} %** test error after its {:.0f} epochs", last, whole.epochs
    yield "({:,} images, standard error {:.1f} points)", images, standard_error(last, images)
    yield "{:.1f} points above the 18 % that", last - 18
    for words, first in (("51 to 60 is", 51), ("91 to 100", 91), ("111 to 120", 111)):
        mean = statistics.mean(by_epoch[epoch] for epoch in range(first, first + 10))
        yield f"of {'epochs ' if first == 51 else ''}{words} {{:.1f}} %", mean
    yield (
        "at a tenth of the rate end at {:.1f} %, the ten at a hundredth at {:.1f} %",
        by_epoch[hundredth - 1],
        by_epoch[max(by_epoch)],
    )
    tail = statistics.mean(row["train/top1_error"] for row in found["training"][-5:])
    yield "The training error ends at {:.0f} %", 100 * tail
    wall = found["run"]["wall_seconds"] / 60
    yield "{:,.0f} images/s on one core, {:.0f} minutes", found["images_per_second"]["median"], wall
    *_, early, late = (phase["epoch"] for phase in fifth["config"]["schedule"]["phases"])
    assert max(errors(fifth)) == 29 and late == 29
    yield "({:.0f} epochs at the initial rate, {:.0f} at a tenth, one", early - 1, late - early
    yield "ended at {:.1f} %: the other", final(fifth)[0]
    yield "are worth {:.1f} points", final(fifth)[0] - last
    yield "a smaller net's other four fifths were worth {:.1f} points", final(fifth)[0] - last


def cifar10_fifth(name: str, paper: int):
    found, whole = record(f"cifar10/results/{name}.json"), PRESETS[name]
    assert found["run"]["status"] == "finished" and len(found["run"]["starts"]) == 1
    assert found["run"]["cpu_cores"] == 1
    assert [phase["epoch"] for phase in found["config"]["schedule"]["phases"]] == [101, 103]
    by_epoch, images = errors(found), found["run"]["validation_images"]
    centre, ten = final(found)
    yield "**`{}`: {:.1f} %** with the centre, {:.1f} % with ten views", name, centre, ten
    yield "(standard error {:.1f} points)", standard_error(ten, images)
    yield "after {:.0f} of {:.0f} epochs; the paper states {} %", max(by_epoch), whole.epochs, paper
    points = [f"{by_epoch[epoch]:.1f} % after {epoch}" for epoch in (10, 50, 80, 100)]
    yield (f"{points[0]} epochs, {', '.join(points[1:])}",)
    yield "the two at a tenth of the rate end at {:.1f} %", by_epoch[102]
    yield "the two at a hundredth at {:.1f} %", by_epoch[104]
    tail = statistics.mean(row["train/top1_error"] for row in found["training"][-3:])
    yield "The training error ends at {:.0f} %", 100 * tail
    rates, minutes = found["images_per_second"], found["run"]["wall_seconds"] / 60
    yield "{:.0f} images/s on one core, {:.0f} minutes", rates["median"], minutes
    assert f"took {minutes:.0f} min" in NOTES[name].expected_time


def cifar10():
    yield from cifar10_18pct()
    yield from cifar10_fifth("cifar10-13pct", 13)
    yield from cifar10_fifth("cifar10-11pct", 11)
    plain, normed = (record(f"cifar10/results/cifar10-{n}pct.json") for n in (13, 11))
    above = [final(found)[1] - paper for found, paper in ((plain, 13), (normed, 11))]
    yield "with ten views they lie {:.1f} and {:.1f} points above it", *above

    def mean(found, first, last):
        return statistics.mean(errors(found)[epoch] for epoch in range(first, last + 1))

    for words, *epochs in (("is", 51, 60), (", of 81 to 90", 81, 90), (", of 91 to 100", 91, 100)):
        means = (mean(found, *epochs) for found in (plain, normed))
        yield f"{words} {{:.1f}} and {{:.1f}} %", *means
    centre = mean(plain, 81, 100) - mean(normed, 81, 100)
    yield "by {:.1f} points over epochs 81 to 100", centre
    better, worse = (a - b for a, b in zip(final(plain), final(normed), strict=True))
    yield "and {:.1f} at the end, and {:.1f} points worse with ten views", better, -worse
    hours = [found["run"]["wall_seconds"] * 520 / 104 / 3600 for found in (plain, normed)]
    yield "about {:.0f} and {:.0f} hours of one core", *hours
    two, one = (record(f"cifar10/results/cifar10-alexnet{end}.json") for end in ("", "-one-tower"))
    assert len(one["run"]["starts"]) == 1
    assert one["config"] == two["config"] | {"network": one["config"]["network"]}
    yield ("by the same recipe and from the same seed",)
    yield ("It ran in one piece.",)
    weights = [
        sum(row.params for row in summarize(NETWORKS[r["config"]["network"]])) for r in (one, two)
    ]
    yield "({:,} weights instead of {:,})", *weights
    yield (
        "{:.1f} % and {:.1f} %, that is {:.1f} and {:.1f} points less",
        *final(one),
        *(
            float(f"{b:.1f}") - float(f"{a:.1f}")
            for a, b in zip(final(one), final(two), strict=True)
        ),
    )


def imagenette():
    small = record("imagenette/results/imagenette.json")
    images = small["run"]["validation_images"]
    yield (
        "standard error of {:,} test images is {:.1f} points",
        images,
        standard_error(final(small)[0], images),
    )
    centre, ten = singles("imagenette")
    yield "{:.2f}, {:.2f} and {:.2f} % with the centre", *centre
    yield "{:.2f}, {:.2f} and {:.2f} % with ten views: at most 30 %", *ten
    assert [round(error, 2) for error in final(small)] == [round(e[0], 2) for e in (centre, ten)]
    assert max(ten) <= 30 and sum(error <= 30 for error in centre) == 1
    found, paper = (record(f"imagenette/results/{name}.json") for name in ("original", "paper"))
    by_epoch = errors(found)
    yield "**`original`: {:.1f} % top-1 test error with the centre view, {:.1f} %", *final(found)
    yield (
        "({:,} images, standard error {:.1f} points",
        images,
        standard_error(final(found)[0], images),
    )
    yield "top-5 {:.1f} and {:.1f} %", *final(found, "top5_error")
    three = [by_epoch[epoch] for epoch in (6, 7, 8)]
    yield "between {:.1f} and {:.1f} %, and 2 at 0.001", min(three), max(three)
    yield "which bring {:.1f} and {:.1f} %", by_epoch[9], by_epoch[10]
    rates = found["images_per_second"]
    yield "saw {:.1f} images/s in the median on one core", rates["median"]
    assert found["run"]["cpu_cores"] == 1
    yield "{:.1f} at best", rates["highest"]
    yield (
        "guessing ({:.1f} %) after half an epoch",
        100 * paper["validation"][0]["validation/top1_error"],
    )
    for one, words in ((paper, "from {:.2f} epochs on,"), (found, "`original` from {:.2f} on")):
        first, for_good = below(one, math.log(10))
        assert first == for_good
        yield words, first
    yield "{:.1f} % against {:.1f} %, the training loss", errors(paper)[1], by_epoch[1]
    ends = [
        min(one["training"], key=lambda row: abs(row["epoch"] - 1))["train/loss"]
        for one in (paper, found)
    ]
    yield "loss {:.2f} against {:.2f}", *ends


def after_drop():
    runs = record("after_drop/results/after_drop.json")["runs"]
    both = [(run["losses"]["inside"], run["losses"]["outside"]) for run in runs]
    courses = [[one - other for one, other in zip(*pair, strict=True)] for pair in both]
    assert len(runs) == 5 and all(min(course[1:21]) > 0 for course in courses)
    assert all(max(run["losses"]["inside"]) > run["losses"]["inside"][0] for run in runs)
    highest = [max(course) for course in courses]
    yield "by at most {:.2f} to {:.2f}, four to nine steps", min(highest), max(highest)
    when = {course.index(top) for course, top in zip(courses, highest, strict=True)}
    assert (min(when), max(when)) == (4, 9)


def cats_vs_dogs():
    for name, digits in (("cats-vs-dogs", 14), ("on-a-trunk", 4)):
        found = record(f"cats_vs_dogs/results/{name}.json")
        error = standard_error(final(found)[0], found["run"]["validation_images"])
        words = "is {:.1f} points at {:.0f} %" if digits > 9 else "and {:.1f} at {:.0f} %"
        yield words, error, math.floor(final(found)[0])
    run = found["run"]
    yield "{:,} and {:,} photos", run["train_images"], run["validation_images"]
    yield (
        "to {:.0f} for so many photos",
        max(errors(record("cats_vs_dogs/results/cats-vs-dogs.json"))),
    )
    small, large = (record(f"cats_vs_dogs/results/cats-vs-dogs{end}.json") for end in ("", "-224"))
    seen = [round(max(errors(r)) * r["run"]["train_images"], -3) for r in (large, small)]
    yield "has only begun to after {:,} images; the small network above sees {:,}.", *seen
    whole = PRESETS["cats-vs-dogs-224"]
    yield "for {:.0f} of the {:.0f} epochs, on two cores", max(errors(large)), whole.epochs
    assert large["config"]["augment"] == json.loads(whole.to_json())["augment"]
    assert large["config"]["schedule"] == json.loads(whole.to_json())["schedule"]
    centre, ten = singles("cats-vs-dogs")
    yield "have {:.2f}, {:.2f} and {:.2f} % with the centre", *centre
    yield "{:.2f}, {:.2f} and {:.2f} % with ten views", *ten


def ensembles():
    sets = record("ensembles/results/ensembles.json")["sets"]
    images = {name: entry["images"] for name, entry in sets.items()}
    half = (images["digits"] + 1) // 2
    yield "half of its test images are {}, of which one is {:.1f} %", half, 100 / half
    cats, photos = images["cats-vs-dogs"], images["imagenette"]
    yield (
        "of {} test images one is {:.3f} %, of {:,} {:.3f} %",
        cats,
        100 / cats,
        photos,
        100 / photos,
    )
    yield "of {} cats and dogs one is {:.2f} %, the difference of three", cats // 2, 200 / cats
    for name, entry in sets.items():
        for rows in entry["views"].values():
            means = {(r["networks"], r["weights"]): statistics.mean(r["errors"]) for r in rows}
            tuned = {size: mean for (size, way), mean in means.items() if "tuned" in way}
            apart = {n: mean - means[n, "equal, half of the images"] for n, mean in tuned.items()}
            assert min(apart.values()) > -1e-9
            if name == "cats-vs-dogs":
                assert apart[3] == pytest.approx(200 / cats)
    yield ("Tuned coefficients are in the mean nowhere better here",)


def retrieval():
    for name, entry in record("retrieval/results/retrieval.json")["sets"].items():
        at_five = {layer: found["5"] for layer, found in entry["layers"].items()}
        assert at_five["fc7"] > at_five["pixels"]
        near = at_five["fc7"] - 1e-3
        as_well = {layer for layer, share in at_five.items() if share > near} - {"fc7"}
        expected = {"cats-vs-dogs": {"fc6"}, "imagenette": set()}
        assert as_well == expected.get(name, {"fc6", "pool5", "conv5"}), name
    yield ("of the query's class than of the five nearest in pixels, in every set",)
    yield (
        "on cats and dogs fc6 does as well, and for the miniature on CIFAR-10 and the digits fc6, "
        "pool5 and conv5 do",
    )


def specialise():
    found = record("specialise/results/specialise.json")["others"]
    often = [100 * found[f"imagenette-{seed}"]["random_splits_as_large"] for seed in range(3)]
    yield "all but {:.1f} % of random splits do", min(often)
    assert all(45 < share < 55 for share in sorted(often)[1:])
    courses = [run["course"] for run in record("specialise/results/figure3.json")["runs"]]
    often = [100 * course[-1]["random_splits_as_large"] for course in courses]
    moved = [100 * abs(c[-1]["difference"] - c[0]["difference"]) for c in courses]
    yield (
        "of random splits {:.0f} to {:.0f} % differ as much, and after the first half epoch the "
        "differences move by {:.1f} points at most",
        *(min(often), max(often), max(moved)),
    )


def paper():
    found, figure3 = (record(f"specialise/results/{n}.json") for n in ("specialise", "figure3"))
    towers = [run for run in found["runs"] if run["variant"] == "two towers"]
    runs = [run["course"][-1] for run in (*towers, *figure3["runs"])]
    runs += [found["others"][f"imagenette-{seed}"] for seed in range(3)]
    apart = [run for run in runs if run["random_splits_as_large"] < 0.05]
    assert (len(apart), len(runs)) == (1, 11)
    yield ("[one of eleven]",)


def digits():
    found = record("digits/results/digits.json")
    yield "{:,} parameters", sum(row.params for row in summarize(NETWORKS["digits"]))
    yield (
        "{:,} for training, {:,} for the test",
        *(found["run"][key] for key in ("train_images", "validation_images")),
    )
    images = found["run"]["validation_images"]
    yield "of {} images one is {:.2f} %", images, 100 / images
    again = record("seeds/results/seeds.json")["runs"][0]
    assert again["seed"] == found["run"]["seed"]
    tests = zip(final(found), (again["error"], again["error_ten_views"]), strict=True)
    apart = [round(images * abs(one - other) / 100) for one, other in tests]
    yield (
        "by another version of the code, ended up to {} of them apart",
        ("none", "one", "two", "three")[max(apart)],
    )


def silent_details():
    photos = record("silent_details/results/photos.json")
    normalization = photos["normalization"]
    for name, before in (
        ("LRN before ReLU", "(`layers-145.cfg`)"),
        ("alpha 1e-4 undivided", "2·10⁻⁵ (`layer.py`)"),
    ):
        difference = 100 * normalization[name]["difference"]
        yield "{} | {:.0f} % of a trained conv1's output", before, difference
    assert len(normalization["one sum over both towers"]["channels"]) == 4
    yield ("four channels at the border",)
    start = [row["logits, standard deviation across photos"] for row in photos["start"].values()]
    yield "conv5 | {:.0f} times the signal at the start", start[0] / start[1]
    yield "| {0} × {0} otherwise", photos["windows"]["original at 224"]["down"][0]
    noise = photos["colour"]["noise per channel, grey levels"]
    yield (
        "| {:.0f} against {:.0f}0 grey levels",
        *(
            statistics.mean(noise[name]) / unit
            for name, unit in (
                ("standard deviations (source)", 1),
                ("eigenvalues (as printed)", 10),
            )
        ),
    )
    test, source, _ = photos["colour"]["input, root mean square, grey levels"].values()
    yield "inputs {:.0f} % weaker than the test", 100 * (1 - source / test)
    yield "wherever the crop is | {:.0f} grey level", photos["mean"]["root mean square"]
    rows = record("silent_details/results/digits.json")["rows"]
    found = [[round(100 * run["top1_error"], 1) for run in row["runs"]] for row in rows]
    images = record("digits/results/digits.json")["run"]["validation_images"]
    yield "With three seeds and {} test images (one is {:.1f} %)", images, 100 / images
    [same] = [row for row in found if len(set(row)) == 1]
    yield "(all three seeds at {:.1f} %)", same[0]


def real_weights():
    found = record("real_weights/results/real_weights.json")
    one = found["sets"]["imagenette"]["trained"]
    yield "gives pool5 ({:,} values)", one["features"]
    more = 100 * (max(one["held_out"].values()) - one["test_accuracy"])
    assert 1.5 < more < 2.5
    yield ("score two points more than the test",)
    assert found["fine_tuned"]["epochs"] == 1
    yield ("The dense layers had one epoch",)


def benchmarks():
    memory = {row["name"]: row["value"] for row in record("benchmarks/results/memory.json")["rows"]}
    whole = memory["temporary buffers (XLA), whole"]
    assert memory["temporary buffers (XLA), 4 parts"] < whole / 2
    yield ("(N = 4 more than halves the temporary buffers)",)
    yield "(of `original` {:.1f} GiB)", whole / 1024
    weights = sum(row.params for row in summarize(NETWORKS["paper"]))
    yield "the update of {:.0f} million weights", weights / 1e6
    rows = record("benchmarks/results/profile.json")["rows"]
    step = next(row for row in rows if row["name"] == "`paper`, training, batch 128")
    assert 2 < step["high"] / step["low"] < 3
    yield ("makes that one step of `paper` two to three times as long",)
    names = [row["name"] for row in rows]
    products = rows[names.index("`paper`, inference, batch 128") + 1]
    yield (
        "are, with their transforms, {} of the inference",
        products["note"].removesuffix(" of the work"),
    )


def overfit():
    found = record("overfit/results/original.json")
    yield "{:,} parameters", found["parameters"]
    yield (
        "{:.2f} to {:.3f} and every image right after {:.0f} steps ({:.0f} s",
        *(found[key] for key in ("first_loss", "last_loss", "steps", "seconds")),
    )
    assert found["last_error"] == 0


def long_run():
    found = record("long_run/results/long_run.json")
    first, *_, last = found["medians"]["memory_kib"]
    each = (last - first) / 1024 / (800 / 20)  # medians 800 steps apart, a save each 20
    yield "about {:.2f} MiB per validation and save: {:.0f} MiB a day", each, each * 24 * 6


def readme():
    found = record("parity/results/parity.json")
    largest = {
        kind: max(parity.largest(row[kind]) for row in found["networks"])
        for kind in ("float32", "float64")
    }
    words = "to {:.1e} of the largest in float32 (on images whose decisions are clear) and {:.1e}"
    yield words, largest["float32"], largest["float64"]
    rows = record("two_towers/results/two_towers.json")["rows"]
    apart = max(row["float64"]["param_difference"]["largest"] for row in rows)
    yield "are those of one device, to {:.1e} in float64", apart
    sets = record("real_weights/results/real_weights.json")["sets"]
    right = (100 * sets[n]["trained"]["test_accuracy"] for n in ("imagenette", "cats_vs_dogs"))
    yield "give {:.1f} % on Imagenette and {:.1f} % on cats vs dogs", *right


PAGES = {
    "experiments/cifar10/README.md": cifar10,
    "experiments/after_drop/README.md": after_drop,
    "experiments/imagenette/README.md": imagenette,
    "experiments/cats_vs_dogs/README.md": cats_vs_dogs,
    "experiments/digits/README.md": digits,
    "experiments/ensembles/README.md": ensembles,
    "experiments/retrieval/README.md": retrieval,
    "experiments/specialise/README.md": specialise,
    "experiments/paper/README.md": paper,
    "experiments/silent_details/README.md": silent_details,
    "experiments/real_weights/README.md": real_weights,
    "experiments/benchmarks/README.md": benchmarks,
    "experiments/overfit/README.md": overfit,
    "experiments/long_run/README.md": long_run,
    "README.md": readme,
}


@pytest.mark.parametrize("name", PAGES)
def test_sentences_tell_what_the_records_hold(name):
    text = " ".join((ROOT / name).read_text("utf-8").split())
    for words, *values in PAGES[name]():
        assert words.format(*values).replace("e-0", "e-") in text, words


def test_every_network_is_listed_and_compared_with_pytorch():
    listed = [name for names, _ in parity._LIST for name in names]
    assert sorted(listed) == NAMES
    compared = {row["network"] for row in record("parity/results/parity.json")["networks"]}
    assert sorted(compared) == NAMES
