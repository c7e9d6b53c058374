"""The page about two towers says what its results say."""

import copy

from alexnet_jax.network.networks import NETWORKS
from experiments.benchmarks.records import read
from experiments.two_towers import exchanges, figure, run
from experiments.two_towers.run import RESULTS


def test_the_picture_states_the_bytes_of_the_formula():
    picture = (RESULTS / "towers.svg").read_text(encoding="utf-8")
    words = figure.description(NETWORKS["paper"])
    assert words in picture
    assert "before conv3: 13×13×128, 86,528 bytes there and 86,528 bytes back" in words


def test_the_compiled_programs_send_what_the_formula_says():
    scale, equality = read(RESULTS / "scale.json"), read(RESULTS / "two_towers.json")
    assert scale and equality
    for row in scale["rows"]:
        # XLA's CPU backend exchanges bfloat16 as float32.
        wider = 2 if row["dtype"] == "bfloat16" else 1
        assert row["tower_bytes"] == wider * row["tower_bytes_formula"]
        assert row["gradient_bytes"] == row["gradient_bytes_formula"]
        assert row["others"] == []
        largest = next(
            other
            for other in reversed(scale["rows"])
            if (other["dtype"], other["towers"]) == (row["dtype"], row["towers"])
        )
        if row["replicas"] > 1:
            sizes = ("argument_bytes", "temporary_bytes", "tower_bytes", "gradient_bytes")
            assert [row[name] for name in sizes] == [largest[name] for name in sizes]
    assert [row["name"] for row in equality["rows"]] == [name for name, *_ in run.ROWS]
    drift = _drift(next(row for row in equality["rows"] if row["name"] == run.CONTROL))
    for row in equality["rows"]:
        single, double = row["float32"], row["float64"]
        if row["name"] == run.CONTROL:
            continue
        assert _drift(row) < 2 * drift  # else more than rounding would be at work
        assert single["collectives"]["others"] == []
        assert single["compiled"] == double["compiled"] == 1
        assert single["gradient_difference"]["largest"] < 1e-5
        assert double["param_difference"]["largest"] < 1e-12
        assert single["test"]["other_answers"] == double["test"]["other_answers"] == 0


def _drift(row):
    return row["float32"]["param_difference"]["largest"]


def test_what_was_not_found_is_not_claimed():
    record = copy.deepcopy(read(RESULTS / "two_towers.json"))
    assert record
    row = next(row for row in record["rows"] if row["towers"] == 2)
    row["float32"]["collectives"]["backward_bytes_per_image"].remove(86528.0)
    exchange, pairs = exchanges.rows(record)[0]
    assert exchange.layer == "conv3" and pairs == [(86528, 86528), (86528, None)]
