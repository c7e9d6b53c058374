"""The report: complete, harmless whatever the names are, and possible at any time of a run."""

import dataclasses
import math
import re
from html.parser import HTMLParser
from typing import Literal

import numpy as np
import pytest
from browser import chromium_page

from alexnet_jax.config import Config
from alexnet_jax.errors import InputError
from alexnet_jax.insight.augmentations import FramedRow, Picture
from alexnet_jax.insight.examples import Example, choose_examples
from alexnet_jax.insight.neighbours import Neighbours
from alexnet_jax.insight.report import write_report
from alexnet_jax.insight.report_data import ReportData
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.presets import PRESETS

NAMES = ["ant", "bee", "cat", "dog", "eel", "fox"]
EVIL = '<script>alert("x")</script>'
VOID = {"meta", "img", "br", "path", "circle"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that elements close in order."""

    def __init__(self, html):
        super().__init__()
        self.html = html
        self.elements, self.text, self._open = [], "", []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag
            self.text += " " if tag in {"td", "th", "dt", "dd", "p", "span"} else ""

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(self.text.replace("\xa0", " ").split())


def metrics():
    rows = []
    for step in range(10, 200, 10):
        place = {"step": step, "epoch": step / 20, "images_per_second": 50.0}
        errors = {"train/loss": 2 / step, "train/top1_error": 5 / step}
        rows.append(place | errors | {"train/learning_rate": 0.01 if step < 100 else 0.001})
        if step % 20 == 0:
            names = ("loss", "top1_error", "top5_error", "colour_share_1", "colour_share_2")
            values = (3 / step, 4 / step, 1 / step, 0.5, 5 / step)
            rows.append(place | {f"validation/{k}": v for k, v in zip(names, values, strict=True)})
    return rows


RUN_INFO = {
    "status": "finished",
    "command": "python -m alexnet_jax.main train --workdir W --preset imagenette-original",
    "commit": "0123abcd",
    "versions": {"jax": "0.10.2", "python": "3.11.7"},
    "devices": ["cpu"] * 4,
    "processor": "Abacus 3000",
    "cpu_cores": 2,
    "seed": 7,
    "data_fingerprint": "feed" * 16,
    "train_images": 1234,
    "validation_images": 40,
    "wall_seconds": 4000.0,
    "workdir": "runs/my run",
}


def whole_run(names=tuple(NAMES), size=32):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(names), 40)
    probabilities = rng.dirichlet(np.ones(len(names)), 40).astype(np.float32)
    random, mistakes = choose_examples(probabilities, labels, seed=3)
    kinds: list[tuple[Literal["random", "mistake"], list[int]]]
    kinds = [("random", random), ("mistake", mistakes)]
    examples = [
        Example(
            rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
            int(labels[i]),
            probabilities[i],
            f"{names[labels[i]]}/{i}.jpg",
            kind,
        )
        for kind, chosen in kinds
        for i in chosen
    ]
    return {
        "config": dataclasses.replace(PRESETS["imagenette-original"], epochs=10.0, seed=7),
        "run": dict(RUN_INFO),
        "metrics": metrics(),
        "conv1_kernel": rng.normal(size=(11, 11, 3, 96)).astype(np.float32),
        "earlier_kernels": {"epoch 3": rng.normal(size=(11, 11, 3, 96)).astype(np.float32)},
        "network": NETWORKS["original"],
        "evaluation": {
            1: {"loss": 1.5, "top1_error": 0.25, "top5_error": 0.05},
            10: {"loss": 1.25, "top1_error": 0.2, "top5_error": 0.025, "count": 40},
        },
        "confusion": np.arange(len(names) ** 2).reshape(len(names), -1),
        "class_names": list(names),
        "examples": examples,
        "neighbours": [
            Neighbours(
                examples[0].image,
                1,
                np.stack([e.image for e in examples[:3]]),
                [1, 0, 1],
                [0.0, 1.0, 2.5],
            )
        ],
        "bad_images": 3,
        "near_duplicates": 2,
    }


def read(tmp_path, **arguments):
    path = write_report(tmp_path / "report.html", ReportData(**arguments))
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    return Page(path.read_text("utf-8"))


def assert_self_contained(page):
    """Nothing in the page makes a browser run a script or ask another place for anything."""
    text = page.html
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    assert "http:" not in text and "https:" not in text
    assert "url(" not in text and "@import" not in text
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert {"href", "srcset", "xlink:href"}.isdisjoint(attributes)
        assert re.match(
            r"data:image/(png|jpeg);base64,", attributes.get("src", "data:image/png;base64,")
        )


def test_a_whole_run_is_told(tmp_path):
    page = read(tmp_path, **whole_run())
    words = page.words
    assert_self_contained(page)
    for said in (
        "my run",
        "Network original, preset imagenette-original, 6 classes.",
        "of 1,234 images in 67 min on Abacus 3000, 2 cores",
        "ten views 20.0 % 2.5 % 1.250",
        "centre view 25.0 % 5.0 % 1.500",
        "standard error of this number 6.3 %",
        "evaluate --workdir 'runs/my run' --views 10",
        "predict --workdir 'runs/my run' IMAGE.jpg",
        "Tower 1: filters 1 to 48",
        "Tower 2: filters 49 to 96",
        "Drawn at random",
        "The most confident mistakes",
        "3 unreadable images were left out",
        "2 test images show what a training image shows",
        "versions.jax 0.10.2",
        "data_fingerprint feedfeed",
        "seed 7 (preset: 0)",
    ):
        assert said in words, said
    assert len(page.all("svg")) == 4  # two curves, the network, the colour shares
    assert len(page.all("img")) == 2 + 1 + 16 + 4
    assert "not finished" not in words and "paper, 1 / 5" not in words


def test_neighbours_stand_beside_their_image_and_those_of_its_class_are_marked(tmp_path):
    arguments = whole_run()
    page = read(tmp_path, **arguments)
    assert "Nearest neighbours" in page.text
    row = page.html.partition('<div class="row">')[2].partition("</section>")[0]
    assert row.count("<img") == 4 and row.count('class="right"') == 2
    names = re.findall("<figcaption>(.*?)</figcaption>", row)
    assert names == [NAMES[1], NAMES[1], NAMES[0], NAMES[1]]
    assert "Nearest neighbours" not in read(tmp_path, **arguments | {"neighbours": []}).text


def test_what_training_sees_stands_with_its_pictures_or_says_why_not(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    many = [Picture(photo, f"picture {i}", "#c0392b" if i else "") for i in range(45)]
    rows = [
        FramedRow("Crops", f"Half {EVIL}.", tuple(many)),
        FramedRow("Colour noise", "None in this run."),
    ]
    arguments = whole_run() | {"training": rows}
    page = read(tmp_path, **arguments)
    assert_self_contained(page)
    assert "What training sees" in page.words and "Colour noise None in this run." in page.words
    assert EVIL in page.words
    assert [i["alt"] for i in page.all("img") if "Crops" in i["alt"]][44] == "Crops: picture 44"
    assert page.html.count("--hue: #c0392b") == 44
    without = read(tmp_path, **whole_run())
    assert len(page.html) < 45 * 12_000 + len(without.html)
    assert "The data set is not where" in read(tmp_path, **arguments | {"training": []}).words
    assert "What training sees" not in without.words


def test_confusions_are_counted_in_their_places(tmp_path):
    page = read(tmp_path, **whole_run())
    assert "cat 12 13 14 15 16 17" in page.words
    # Worst first: row 0 is 0 1 2 3 4 5, of which none is right.
    assert re.search(r"taken for ant 15 15 100.0 % fox", page.words)


def test_names_from_outside_are_text(tmp_path):
    names = [EVIL, '" onerror="alert(1)', "{{ 7 * 7 }}", "a&b", "</style>", "日本"]
    arguments = whole_run(names)
    arguments["run"] |= {"command": f"train --x {EVIL}", "name": EVIL, "versions": {EVIL: EVIL}}
    arguments["config"] = dataclasses.replace(arguments["config"], network=EVIL)
    page = read(tmp_path, **arguments)
    assert_self_contained(page)
    assert page.words.count(EVIL) >= 8
    assert "{{ 7 * 7 }}" in page.words and "a&b" in page.words and "日本" in page.words
    alts = [image.get("alt") for image in page.all("img")]
    assert any(alt and alt.startswith('" onerror') for alt in alts)


def test_the_page_forbids_scripts_and_requests(tmp_path):
    (policy,) = [
        m["content"] for m in read(tmp_path, **whole_run()).all("meta") if "http-equiv" in m
    ]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_a_run_that_has_hardly_begun(tmp_path):
    page = read(tmp_path, config=Config(), run={})
    assert "Nothing has been logged yet" in page.words and not page.all("img")


PARTS = "metrics conv1_kernel evaluation confusion examples bad_images near_duplicates class_names"


@pytest.mark.parametrize("missing", PARTS.split())
def test_any_part_may_be_missing(tmp_path, missing):
    arguments = whole_run()
    del arguments[missing]
    assert "my run" in read(tmp_path, **arguments).words


def test_an_interrupted_run_says_so_and_shows_the_last_validation(tmp_path):
    arguments = whole_run()
    arguments["run"]["status"] = "running"
    arguments["evaluation"] = None
    page = read(tmp_path, **arguments)
    assert "not finished: it stands at epoch 9.5 of 10" in page.words
    assert "centre view, epoch 9 2.2 %" in page.words
    assert "Go on training python -m alexnet_jax.main train --workdir W" in page.words


def test_final_rows_of_the_metrics_stand_in_for_the_evaluation(tmp_path):
    arguments = whole_run()
    arguments["evaluation"] = None
    arguments["metrics"] += [
        {"step": 200, "epoch": 10, "test_views": 10, "final/top1_error": 0.125, "final/loss": 0.5}
    ]
    assert "ten views 12.5 % – 0.500" in read(tmp_path, **arguments).words


def test_views_are_counted_in_every_place_that_names_them(tmp_path):
    arguments = whole_run()
    augment = dataclasses.replace(arguments["config"].augment, mirror=False)
    arguments["config"] = dataclasses.replace(arguments["config"], augment=augment)
    words = read(tmp_path, **arguments).words
    assert "five crops 20.0 % 2.5 % 1.250" in words and "ten views" not in words
    assert "error on 40 test images, five crops" in words
    assert "Test it with five crops python -m alexnet_jax.main evaluate" in words
    arguments["run"]["stored_size"] = 224
    assert "one view 20.0 % 2.5 % 1.250" in read(tmp_path, **arguments).words


def test_values_that_are_not_finite_are_shown_as_such(tmp_path):
    arguments = whole_run()
    arguments["metrics"] = [{"step": 1, "epoch": 0.1, "train/loss": float("nan")}]
    arguments["evaluation"] = {1: {"loss": float("nan"), "top1_error": 0.8}}
    arguments["conv1_kernel"] = np.full((11, 11, 3, 96), np.nan, np.float32)
    page = read(tmp_path, **arguments)
    assert "centre view 80.0 % – nan" in page.words
    assert [svg.get("class") for svg in page.all("svg")] == ["network"]


@pytest.mark.parametrize(
    ("classes", "images", "shown"), [(1000, 50_000, True), (1000, 500, False), (6, 50_000, False)]
)
def test_published_numbers_stand_only_beside_comparable_ones(tmp_path, classes, images, shown):
    arguments = whole_run()
    arguments["config"] = PRESETS["imagenet"]
    arguments["class_names"] = [f"class {i}" for i in range(classes)]
    arguments["examples"], arguments["confusion"] = [], None
    arguments["evaluation"][10]["count"] = images
    words = read(tmp_path, **arguments).words
    assert ("paper, 1 / 5" in words) == shown
    assert ("ten views 20.0 % 2.5 % 1.250 40.7 / 18.2 %" in words) == shown
    before = "Before it: SIFT and Fisher vectors 26.2 % top-5 (ILSVRC-2012 test)."
    assert (before in words) == shown


def test_many_classes_are_a_heat_map_and_a_list_of_pairs(tmp_path):
    arguments = whole_run()
    matrix = np.diag(np.full(200, 50))
    matrix[17, 18] = 30
    arguments |= {"examples": [], "confusion": matrix}
    arguments["class_names"] = [f"kind {i}" for i in range(200)]
    page = read(tmp_path, **arguments)
    assert "kind 17 kind 18 30 37.5 %" in page.words
    assert "140 classes in the middle are left out" in page.words
    assert [i for i in page.all("img") if i.get("class") == "heat"]
    assert not [t for t in page.all("table") if t.get("class") == "matrix"]


def test_two_classes_and_one_tower(tmp_path):
    arguments = whole_run(["cat", "dog"])
    arguments["network"] = NETWORKS["one-weird-trick"]
    page = read(tmp_path, **arguments)
    assert "top-5" not in page.words and "top 5" not in page.words
    assert "Filters 1 to 96" in page.words and "Tower" not in page.words
    assert "2 best answers" in page.words


def test_a_stretch_in_which_nothing_was_learnt_is_marked(tmp_path):
    run = whole_run()
    for row in run["metrics"]:
        if "train/loss" in row and row["step"] <= 100:
            row["train/loss"] = math.log(len(NAMES))
    page = read(tmp_path, **run)
    assert "Shaded: from epoch 0 to 5 nothing was learnt" in page.words
    assert [r["class"] for r in page.all("rect") if "box" not in r["class"]] == ["stuck"]
    page = read(tmp_path, **whole_run())
    assert "nothing was learnt" not in page.words
    assert all("box" in rect["class"] for rect in page.all("rect"))


def test_large_photos_keep_the_page_small(tmp_path):
    html = read(tmp_path, **whole_run(size=512)).html
    assert len(html) < 3_000_000 and html.count("data:image/jpeg") == 16 + 4


def test_class_names_must_fit_the_results(tmp_path):
    arguments = whole_run()
    arguments["class_names"] = ["ant", "bee"]
    with pytest.raises(InputError, match="2 class names, but results for"):
        write_report(tmp_path / "report.html", ReportData(**arguments))


def test_an_older_report_stays_when_the_new_one_cannot_be_written(tmp_path):
    path = tmp_path / "report.html"
    path.mkdir()
    with pytest.raises(InputError, match="cannot write the report"):
        write_report(path, ReportData(config=Config(), run={}))
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_same_examples_are_chosen_each_time_and_mistakes_are_the_worst():
    rng = np.random.default_rng(5)
    probabilities = rng.dirichlet(np.ones(4), 300).astype(np.float32)
    labels = rng.integers(0, 4, 300)
    random, mistakes = choose_examples(probabilities, labels, seed=1)
    assert (random, mistakes) == choose_examples(probabilities, labels, seed=1)
    assert random != choose_examples(probabilities, labels, seed=2)[0]
    assert len(set(random)) == len(set(mistakes)) == 8 and not set(random) & set(mistakes)
    own = probabilities[np.arange(300), labels]
    others = [i for i in range(300) if i not in random and i not in mistakes]
    wrong = [i for i in others if probabilities[i].argmax() != labels[i]]
    assert max(own[mistakes]) <= min(own[wrong])
    assert (probabilities[mistakes].argmax(axis=1) != labels[mistakes]).all()


def test_examples_of_a_perfect_classifier_are_only_random():
    random, mistakes = choose_examples(np.eye(3, dtype=np.float32), np.arange(3))
    assert sorted(random) == [0, 1, 2] and mistakes == []


def test_the_network_and_its_filters_on_the_way_are_shown(tmp_path):
    page = read(tmp_path, **whole_run())
    assert "2 × 48 maps" in page.words and "red lines cross" in page.words
    assert "Colour share of each tower" in page.words
    pictures = [image["alt"] for image in page.all("img") if "conv1" in image["alt"]]
    assert pictures[-1] == "conv1 filters, epoch 3"
    bare = read(tmp_path, **whole_run() | {"network": None, "earlier_kernels": None, "metrics": ()})
    assert "Colour share of each tower" not in bare.words and "maps" not in bare.text


LONG = tuple(f"a class with a name that is far too long, number {i:,}" for i in range(1000))
WORD = tuple(f"Rindfleischetikettierungsueberwachungsaufgabe-{i}" for i in range(12))


@pytest.mark.parametrize("names", (tuple(NAMES), WORD, LONG), ids=("few", "long words", "1,000"))
@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_the_page_is_readable_at_every_width(tmp_path, names, scheme):
    arguments = whole_run(names)
    pictures = [Picture(e.image, f"{names[0]}, mirrored", "#c0392b") for e in arguments["examples"]]
    arguments["training"] = [FramedRow("Crops", "A sentence on them. " * 9, tuple(pictures))]
    path = write_report(tmp_path / "report.html", ReportData(**arguments))
    with chromium_page() as (page, problems):
        page.emulate_media(color_scheme=scheme)
        page.goto(path.as_uri())
        for width in (380, 900, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(OUTSIDE, width) == []
        ink, paper = page.evaluate(COLOURS)
        assert abs(sum(ink) - sum(paper)) > 400, "text stands out from the page"
        assert (sum(paper) > sum(ink)) == (scheme == "light")
        assert not problems


# Elements with text that reach beyond the page, unless they lie in a part that scrolls by itself.
OUTSIDE = """width => [...document.querySelectorAll("body *")].filter(element =>
    element.innerText && !element.closest(".scroll") && !element.closest("svg")
    && element.getBoundingClientRect().right > width + 1
    && !["auto", "hidden"].includes(getComputedStyle(element.parentElement).overflowX)
  ).map(element => element.tagName + ": " + element.innerText.slice(0, 60))"""
COLOURS = """() => ["color", "backgroundColor"].map(
    name => getComputedStyle(document.body)[name].match(/[0-9.]+/g).slice(0, 3).map(Number))"""
