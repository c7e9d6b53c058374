"""Predictions and features as text and files."""

import csv
import io
import json

import numpy as np
import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.insight.classifier import Prediction
from alexnet_jax.insight.feature_files import save_features
from alexnet_jax.insight.prediction_text import format_predictions, safe_cell

FOUND = [
    [Prediction("tabby, tiger cat", 1, 0.9), Prediction("=SUM(A1)", 0, 0.1)],
    [Prediction("tabby, tiger cat", 1, 0.75), Prediction("=SUM(A1)", 0, 0.25)],
]
FILES = ["a.jpg", "@b.jpg"]


def test_the_table_shows_percent_and_each_name_once():
    text = format_predictions(FILES, FOUND)
    lines = text.splitlines()
    assert lines[0].split() == ["image", "label", "probability"]
    assert lines[1].startswith("a.jpg ") and lines[1].endswith("90.00 %")
    assert "a.jpg" not in lines[2] and lines[2].endswith("10.00 %")
    assert len(lines) == 5 and text.endswith("\n")


def test_names_cannot_steer_the_terminal():
    text = format_predictions(["\x1b[2J.jpg"], [[Prediction("x", 0, 1.0)]])
    assert "\x1b" not in text and "\\x1b[2J.jpg" in text


def test_csv_reads_back_and_holds_no_formulas():
    rows = list(csv.DictReader(io.StringIO(format_predictions(FILES, FOUND, "csv"))))
    assert len(rows) == 4
    assert list(rows[0]) == ["image", "rank", "label", "index", "probability"]
    assert list(rows[0].values()) == ["a.jpg", "1", "tabby, tiger cat", "1", "0.9"]
    assert rows[1]["label"] == "'=SUM(A1)" and rows[2]["image"] == "'@b.jpg"


@pytest.mark.parametrize("start", list("=+-@\t\r"))
def test_cells_that_look_like_formulas_are_quoted(start):
    assert safe_cell(start + "1") == "'" + start + "1"
    assert safe_cell("1" + start) == "1" + start


def test_json_keeps_label_names_and_exact_numbers():
    found = json.loads(format_predictions(FILES, FOUND, "json"))
    assert [row["image"] for row in found] == FILES
    assert found[1]["predictions"][1] == {"label": "=SUM(A1)", "index": 0, "probability": 0.25}


def test_a_file_name_that_is_not_unicode_is_printable_everywhere():
    name = b"\xff.jpg".decode("utf-8", "surrogateescape")
    for form in ("table", "csv", "json"):
        format_predictions([name], FOUND[:1], form).encode("utf-8")


def test_features_read_back_without_pickles(tmp_path):
    features = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    written = save_features(tmp_path / "features", features, FILES, "fc7", "run a")
    assert written.name == "features.npz"
    with np.load(written, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["features"], features)
        assert arrays["images"].tolist() == FILES
        assert str(arrays["layer"]) == "fc7" and str(arrays["source"]) == "run a"
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]


def test_features_are_never_written_over(tmp_path):
    path = tmp_path / "f.npz"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match="exists already"):
        save_features(path, np.zeros((1, 2), np.float32), ["a"], "fc7")
    assert path.read_bytes() == b"precious"
