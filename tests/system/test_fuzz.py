"""Every reader with mutated files: what the fuzzer has found, and a few hundred more of its kind.

The fuzzer itself (`experiments/fuzz`) is guided by the code that it reaches, and needs Atheris;
these mutations are systematic: each value of a description gone or replaced, each member of an
archive gone, cut or changed, bytes flipped, files cut.
"""

import functools
import io
import json
import random
import zipfile

import pytest

from alexnet_jax.network.networks import NETWORKS
from experiments.fuzz import run, seeds, targets

NUMBERS = (0, -1, 2**31, 2**64, 1e308, 0.5, True, None)
VALUES = (*NUMBERS, "", "\x1b[31m", "a\nb", [], {}, [0], {"a": 1})


@pytest.fixture(scope="module")
def made():
    """Makes a target by its name, once."""
    before = dict(NETWORKS)
    seeds.narrow_networks()
    with targets.in_memory() as root:
        yield functools.cache(lambda name: targets.targets(root / name.replace("/", "-"))[name]())
    NETWORKS.clear()
    NETWORKS.update(before)


def names():
    with targets.in_memory() as root:
        return list(targets.targets(root))


def structures(value):
    """Yields copies of JSON, each with one value replaced or gone."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            copy = dict(value) if isinstance(value, dict) else list(value)
            del copy[key]
            yield copy
            for other in structures(value[key]):
                copy = dict(value) if isinstance(value, dict) else list(value)
                copy[key] = other
                yield copy
    yield from VALUES


def members(data, chance):
    """Yields copies of a zip, each with one member gone, empty, cut, or with a changed byte."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for name, part in content.items():
        yield seeds.zipped({other: data for other, data in content.items() if other != name})
        changes = [b"", part[: len(part) // 2], part + b"x"]
        changes += [flipped(part, chance) for _ in range(4) if part]
        for change in changes:
            yield seeds.zipped(content | {name: change})


def flipped(data, chance):
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def mutations(target, slow):
    chance = random.Random(0)
    few = 10 if slow else 60
    for data in target.seeds:
        yield from (data[: chance.randrange(len(data))] for _ in range(few // 3))
        yield from (flipped(data, chance) for _ in range(few))
        if target.form == "zip" and zipfile.is_zipfile(io.BytesIO(data)):
            found = list(members(data, chance))
            yield from chance.sample(found, min(len(found), 20 if slow else 200))
        if target.form == "json" and data[:1] in b"[{":
            first = data.split(b"\n{")[0]
            found = [json.dumps(other).encode() for other in structures(json.loads(first))]
            yield from chance.sample(found, min(len(found), 20 if slow else 1500))
    yield b""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.oracle if name == "torchvision" else ())
        for name in names()
    ],
)
def test_mutated_files_are_taken_or_refused_in_one_line(made, name, capfd):
    if name == "torchvision":
        pytest.importorskip("torch", reason="PyTorch, which writes these files, is not installed")
    target = made(name)
    for data in target.seeds:
        assert targets.answer(target.call, data), "the whole file is accepted"
    slow = name.startswith("checkpoint") or name in ("run: metrics.jsonl", "run: final.npz")
    answers = [targets.answer(target.call, data) for data in mutations(target, slow)]
    assert len(answers) > 10
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("config", b"not JSON"),
        ("config", b'{"\\u001b": 1}'),
        ("checkpoint: meta/metadata", b"[1]"),
        ("data set: statistics.npz", b"PK"),
    ],
)
def test_what_the_fuzzer_found_is_refused(made, name, data):
    assert not targets.answer(made(name).call, data)


def test_a_description_cannot_name_files_outside_its_folder(made):
    target = made("data set: prepared.json")
    whole = json.loads(target.seeds[0])
    whole["splits"]["train"]["shards"][0][0] = "../../outside"
    assert not targets.answer(target.call, json.dumps(whole).encode())


def test_the_page_is_generated_from_the_record_which_says_that_nothing_was_found():
    record = run.read(run.OUTPUT)
    assert record and len(record["targets"]) == len(names())
    for name, found in record["targets"].items():
        wrong = (found["wrong"], found["crashes"], found["hangs"], found["too_large"])
        assert wrong == ([], 0, 0, 0), name
