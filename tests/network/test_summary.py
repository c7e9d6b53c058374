"""The table of a network: known numbers of the paper, towers as they talk, and every form of it."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest

import alexnet_jax
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import Conv, Dense, Flatten, Network, with_changes
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.network.summary import summary
from alexnet_jax.network.summary_text import format_summary
from experiments.two_towers.traffic import exchanges

PAGE = Path(__file__).resolve().parents[2] / "experiments" / "parity" / "README.md"

CONV3 = {
    "layer": "conv3",
    "kind": "conv",
    "kernel_shape": (3, 3, 256, 384),
    "window": 3,
    "stride": 1,
    "output_shape": (13, 13, 384),
    "receptive_field": 99,
    "params": 885_120,
    "macs": 149_520_384,
    "neurons": 64_896,
    "tower_units": (192, 192),
    "reads": "both",
}


def rows_of(network):
    return {row.layer: row for row in summary(network).rows}


def test_the_papers_network():
    table = alexnet_jax.summary(NETWORKS["paper"])
    assert (table.params, table.macs, table.neurons) == (60_965_224, 724_406_816, 659_272)
    rows = rows_of("paper")
    assert dataclasses.asdict(rows["conv3"]) == CONV3
    assert rows["conv1"].kernel_shape == (11, 11, 3, 96) and rows["conv1"].stride == 4
    assert rows["relu1"].kind == "ReLU" and not rows["relu1"].params
    assert rows["pool5"].window == 3 and rows["pool5"].output_shape == (6, 6, 256)
    assert rows["fc6"].kernel_shape == (9216, 4096) and rows["fc6"].receptive_field == 224


def test_without_groups_it_is_the_common_mistake():
    layers = with_changes(NETWORKS["no-lrn"].layers, Conv, groups=1)
    table = summary(dataclasses.replace(NETWORKS["no-lrn"], layers=layers))
    assert (table.params, table.macs) == (62_378_344, 1_135_256_096)  # a billion: one tower
    assert "towers" not in str(table) and table.rows[0].tower_units == ()


def test_which_tower_holds_and_reads_what():
    rows = rows_of("paper")
    assert [rows[f"conv{n}"].tower_units for n in (1, 2, 5)] == [(48, 48), (128, 128), (128, 128)]
    assert rows["pool2"].tower_units == (128, 128) and rows["fc8"].tower_units == (1000,)
    reads = [row.reads for row in rows.values() if row.params]
    assert reads == ["image", "own", "both", "own", "own", "both", "both", "both"]
    assert rows["norm1"].reads == "own" and rows["relu1"].reads == ""
    assert rows_of("caffenet")["norm1"].reads == "both"  # so it cannot be spread over towers
    apart = rows_of("no-talk")
    assert apart["flatten5"].tower_units == (4608, 4608) and apart["fc6"].reads == "own"


def test_towers_read_both_where_devices_exchange():
    spread = 0
    for network in NETWORKS.values():
        try:
            talking = [exchange.layer for exchange in exchanges(network)]
        except InputError:  # one tower, or a normalization across both
            continue
        spread += 1
        table = summary(network)
        assert [row.layer for row in table.rows if row.reads == "both"] == talking, network.name
    assert spread > 8


def test_more_towers_and_layers_that_do_not_divide():
    layers = (
        *(Conv("conv1", 8, 3, groups=1), Conv("conv2", 8, 3, groups=4), Conv("conv3", 6, 3)),
        *(Flatten(), Dense("fc4", 3)),
    )
    rows = rows_of(Network("four", layers, 16, "a test"))
    assert rows["conv2"].tower_units == (2, 2, 2, 2) and rows["conv2"].reads == "own"
    assert rows["conv3"].tower_units == (6,) and rows["conv3"].reads == "all"


def test_another_size_and_bad_input():
    assert summary("paper", 227).rows[0].output_shape == (55, 55, 96)
    assert summary(NETWORKS["one-weird-trick"], 256).params == 61_100_840
    wide = summary("paper", (240, 320))
    assert wide.rows[0].output_shape == (59, 79, 96) and wide.rows[-1].receptive_field == 320
    assert "images of 240x320x3" in repr(wide)
    with pytest.raises(InputError, match=r"at 30x30: layer '\w+'.*smallest that fits is"):
        summary("paper", 30)
    with pytest.raises(InputError, match="unknown network 'papr'. Did you mean 'paper'"):
        summary("papr")
    with pytest.raises(InputError, match="--format should be one of table, markdown, csv, json"):
        format_summary(summary("digits"), "html")


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_table_is_aligned_and_fits_a_terminal(name):
    table = summary(name)
    assert repr(table) == str(table)
    lines = str(table).splitlines()
    assert lines[0].startswith(f"{name}: ") and max(map(len, lines)) <= 120
    heading, *rows = lines[3:-1]
    assert [row.split()[0] for row in rows[: len(table.rows)]] == [r.layer for r in table.rows]
    ends = heading.index("parameters") + len("parameters")
    total = next(line for line in lines if line.startswith("total"))
    assert total[:ends].endswith(f" {table.params:,}")
    for row, line in zip(table.rows, rows, strict=False):
        assert (
            line[:ends]
            .rstrip()
            .endswith(f" {row.params:,}" if row.params else line[:ends][-4:].strip())
        )


def test_forms_for_programs_hold_every_attribute():
    table = summary("digits")
    names = [field.name for field in dataclasses.fields(table.rows[0])]
    read = json.loads(format_summary(table, "json"))
    assert read["network"] == "digits" and read["params"] == 232_490 and read["classes"] == 10
    assert [list(row) for row in read["rows"]] == [names] * len(table.rows)
    assert read["rows"][0]["tower_units"] == [12, 12] and read["rows"][1]["window"] is None
    rows = list(csv.DictReader(io.StringIO(format_summary(table, "csv"))))
    assert list(rows[0]) == names and len(rows) == len(table.rows)
    assert rows[0]["kernel_shape"] == "7x7x3x24" and rows[0]["tower_units"] == "12+12"
    assert sum(int(r["params"]) for r in rows) == 232_490


def test_markdown_is_a_table_of_equal_columns():
    lines = summary("paper")._repr_markdown_().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert table[1].startswith("| --- | --- |") and "---:" in table[1]
    assert table[-1].startswith("| total |") and "| 60,965,224 |" in table[-1]


def test_the_page_of_networks_has_the_same_counts():
    section = PAGE.read_text("utf-8").partition("<!-- list:")[2].partition("<!-- end")[0]
    seen = set()
    for names, counts in re.findall(r"^\| (`.*?`) \|.*\| ([\d,; ]+) \|$", section, re.MULTILINE):
        names = re.findall(r"`([\w-]+)`", names)
        numbers = [int(count.replace(",", "")) for count in counts.split(";")]
        assert [summary(name).params for name in names] == numbers * (len(names) // len(numbers))
        seen |= set(names)
    assert seen == set(NETWORKS)
