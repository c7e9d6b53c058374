"""Pickles are read without running them, and damage or malice costs neither memory nor time."""

import argparse
import builtins
import collections
import datetime
import functools
import importlib
import os
import pathlib
import pickle
import re
import runpy
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from hostile import memory_below

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.pickled_values import Stub
from alexnet_jax.weights.readers.safe_pickle import read_pickle


def read(data: bytes, **settings):
    return read_pickle(memoryview(data), "x.pkl", **settings)[0]


@pytest.mark.parametrize("protocol", range(1, 6))
def test_plain_values_and_arrays_come_back(protocol):
    value = {
        "numbers": [1, 2.5, -5, 2**70, 300, True, False, None],
        "text": ("é", "a" * 300, b"raw"),
        "nested": collections.OrderedDict([("a", {"b": ()}), ("c", [[], {}])]),
        "scalar": np.float32(0.1),
    }
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    arrays = {"c": array, "fortran": np.asfortranarray(array), "empty": array[:0], "big": array}
    arrays["big"] = array.astype(">f8")
    found = read(pickle.dumps(value | {"arrays": arrays}, protocol))
    for name, expected in arrays.items():
        result = found["arrays"][name].numpy()
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)
    del found["arrays"]
    assert found == value


def test_a_large_array_is_a_view_of_the_file():
    array = np.zeros(4_000_000, np.float32)
    data = memoryview(pickle.dumps(array, 4))
    with memory_below(1_000_000):
        found = read_pickle(data, "x")[0].numpy()
    assert found.nbytes == 16_000_000


class _Calls:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


ATTACKS = [
    open, eval, exec, sys.exit, builtins.__import__, np.load, os.system, os.popen,
    subprocess.Popen, shutil.rmtree, pickle.loads, runpy.run_path, importlib.import_module,
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", ATTACKS)
def test_nothing_is_ever_called(protocol, function, tmp_path):
    sentinel = tmp_path / "sentinel"
    data = pickle.dumps({"weights": _Calls(function, str(sentinel), "w")}, protocol)
    with pytest.raises(InputError, match="tries to call '.*', .* was not run"):
        read(data)
    assert not sentinel.exists()


def test_objects_of_any_class_become_stubs_that_keep_what_they_were_given():
    new_class = b"\x80\x02coptions\nOptionsParser\n)\x81}(U\x01aK\x01ub."
    old_class = b"(ioptions\nOption\n}(U\x01aK\x01ub."
    for data in (new_class, old_class):
        found = read(data)
        assert isinstance(found, Stub) and found.state == {"a": 1}
        assert found.made_by is not None and found.made_by.module == "options"
    with pytest.raises(InputError, match="tries to call 'os.system'"):
        read(b"(S'true'\nios\nsystem\n.")


class _Kept(list):
    pass


class _Named(dict):
    pass


class _Marks:
    """Leaves a trace if it is ever made, or given its state."""

    made: list[str] = []

    def __init__(self):
        self.made.append("init")

    def __setstate__(self, state):
        self.made.append("state")

    def __reduce__(self):
        return _Marks, (), {"a": 1}


@pytest.mark.parametrize("protocol", range(6))
def test_what_trainings_keep_beside_their_weights_is_inert(protocol):
    value = {
        "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("runs/x")),
        "when": datetime.datetime(2020, 1, 2),
        "milestones": collections.Counter({30: 2}),
        "history": collections.defaultdict(list, loss=[1.0]),
        "kept": _Kept([1, {"a": 2}]),
        "named": _Named(a=1),
        "partial": functools.partial(int, base=2),
        "keys": {(1, 2): 3, 2.5: 4, 2**40: 5},
        "set": {"a"},
        "text": np.str_("a"),
        "day": np.datetime64("2020-01-01"),
        "kind": collections.OrderedDict,
        "mine": _Marks(),
        "method": _Kept([1]).index,
    }
    _Marks.made.clear()
    found = read(pickle.dumps(value, protocol))
    assert not _Marks.made
    assert found["milestones"] == {30: 2} and found["history"] == {"loss": [1.0]}
    assert found["args"].state["lr"] == 0.1 and isinstance(found["args"].state["out"], Stub)
    if protocol > 1:  # before, they were arguments
        assert found["kept"].items == [1, {"a": 2}] and found["named"].items == {"a": 1}
    assert list(found["keys"].values()) == [3, 4, 5]


def test_stubs_cost_no_more_than_the_pickle():
    """The shortest instructions that make one; 40 bytes of bookkeeping each, and no copies."""
    many = 50_000
    name = "a" * 200
    text = f"c{name}\n{name}\nq\x01".encode("latin1")
    arguments = b"(" + b"K\x07" * 100 + b"tq\x02"
    data = b"\x80\x02(" + text + arguments + b"h\x01h\x02R" * many + b"l."
    with memory_below(30 * len(data)):
        found = read(data)
    assert len(found) == many + 2


ARRAY = pickle.dumps(np.ones((4, 4), np.float32), 2)
BOMBS = {
    "a memo of 2**32 places": b"K\x01r\xff\xff\xff\xffe.",
    "a string of 2**63 bytes": b"\x8e" + struct.pack("<Q", 2**63) + b".",
    "a string of 4 GiB": b"B\xff\xff\xff\xff.",
    "a text of 2**40 bytes": b"\x8d" + struct.pack("<Q", 2**40) + b".",
    "a number of 2 GiB": b"\x8b\xff\xff\xff\x7f.",
    "an array of 2**60 numbers": ARRAY.replace(
        b"K\x04K\x04\x86", b"\x8a\x08" + b"\0" * 7 + b"\x10\x85"
    ),
    "no end": b"]" * 1000,
    "no value": b".",
    "two values": b"K\x01K\x02.",
    "a mark as value": b"(.",
    "an instruction of no protocol": b"\xff",
    "an unknown place of the memo": b"h\x07.",
    "items without a list": b"K\x01K\x02a.",
    "a list as key": b"}]K\x01s.",
    "an extension": b"\x82\x01.",
    "an outside reference": b"U\x01aQ.",
    "an array of objects": pickle.dumps(np.array([None, 1], object), 2),
    "an array of structures": pickle.dumps(np.zeros(2, [("a", "f4")]), 2),
    "a name that is no text": b"]]\x93.",
}


@pytest.mark.parametrize("what", BOMBS)
def test_damage_and_bombs_are_one_line_and_cost_nothing(what):
    # What `numpy` says is put into words by the reader of each format.
    with memory_below(1_000_000), pytest.raises((InputError, ValueError)) as caught:
        read(BOMBS[what]).numpy()
    if isinstance(caught.value, InputError):
        assert re.match(r"x\.pkl is not a complete pickle of arrays.*$", str(caught.value))


TEXT = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x01"
ENCODE = b"c_codecs\nencode\nq\x02", TEXT, b"h\x02h\x01U\x06latin1\x86R"
PAIRS = b"}(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(50_000)) + b"uq\x01"
COPY = b"ccollections\nCounter\nq\x02", PAIRS, b"h\x02h\x01\x85R"


@pytest.mark.parametrize("parts", [ENCODE, COPY], ids=["text", "dictionary"])
def test_the_same_long_part_cannot_be_multiplied(parts):
    name, part, again = parts
    data = b"\x80\x02(" + name + part + again * 10_000 + b"l."
    with memory_below(30 * len(data)), pytest.raises(InputError, match="made of the same parts"):
        read(data)


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bytes_give_a_value_or_one_line(seed):
    rng = np.random.default_rng(seed)
    plain = pickle.dumps({"layers": [{"weights": [np.ones((2, 2), np.float32)], "n": 3.5}]}, 2)
    for _ in range(50):
        data = bytearray(plain)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        try:
            read(bytes(data))
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("cut", [0, 1, 30, 60, -1])
def test_a_cut_off_pickle_is_refused(cut):
    with pytest.raises(InputError, match="not a complete pickle"):
        read(ARRAY[:cut])


@pytest.mark.timeout(20)
def test_a_key_that_would_take_for_ever_to_hash_is_not_hashed():
    """Sixty tuples, each of the one before twice: 2**60 elements in 300 bytes."""
    pyramid = b")" + b"q\x01h\x01\x86" * 60
    found = read(b"\x80\x02}" + pyramid + b"Ns.")
    assert list(found.values()) == [None]
