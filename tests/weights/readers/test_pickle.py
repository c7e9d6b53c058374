"""Pickles are read without running them, and damage or malice costs neither memory nor time."""

import builtins
import collections
import pickle
import struct
import sys
import tracemalloc

import numpy as np
import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.safe_pickle import read_pickle


def read(data: bytes, **settings):
    return read_pickle(memoryview(data), "x.pkl", **settings)[0]


@pytest.mark.parametrize("protocol", range(1, 5))
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
    tracemalloc.start()
    found = read_pickle(data, "x")[0].numpy()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.nbytes == 16_000_000 and peak < 1_000_000


class _Calls:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("function", [open, eval, sys.exit, builtins.__import__, np.load, getattr])
def test_nothing_is_ever_called(protocol, function, tmp_path):
    sentinel = tmp_path / "sentinel"
    data = pickle.dumps({"weights": _Calls(function, str(sentinel), "w")}, protocol)
    with pytest.raises(InputError, match="wants to call '.*', .* was not run"):
        read(data)
    assert not sentinel.exists()


def test_objects_of_expected_modules_become_stubs_and_all_others_are_refused():
    data = b"\x80\x02coptions\nOptionsParser\n)\x81}(U\x01aK\x01ub."
    with pytest.raises(InputError, match="options.OptionsParser"):
        read(data)
    assert type(read(data, stub_modules=frozenset({"options"}))).__name__ == "Stub"
    old_class = b"(ioptions\nOption\n}(U\x01aK\x01ub."
    assert type(read(old_class, stub_modules=frozenset({"options"}))).__name__ == "Stub"
    with pytest.raises(InputError, match="wants to call 'os.system'"):
        read(b"(S'true'\nios\nsystem\n.", stub_modules=frozenset({"options"}))


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
    "a nested tuple as key": b"}" + b")" + b"\x85" * 50 + b"K\x01s.",
    "an extension": b"\x82\x01.",
    "an outside reference": b"U\x01aQ.",
    "an array of objects": pickle.dumps(np.array([None, 1], object), 2),
    "an array of structures": pickle.dumps(np.zeros(2, [("a", "f4")]), 2),
    "a name that is no text": b"]]\x93.",
}


@pytest.mark.parametrize("what", BOMBS)
def test_damage_and_bombs_are_one_line_and_cost_nothing(what):
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"^x\.pkl is not a whole pickle of arrays") as caught:
            value = read(BOMBS[what])
            value.numpy()
    except ValueError:  # what `numpy` says is put into words by the reader of each format
        caught = None
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1_000_000
    assert caught is None or "\n" not in str(caught.value)


def test_the_same_long_part_cannot_be_multiplied():
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x01"
    encode = b"c_codecs\nencode\nq\x02"
    again = b"h\x02h\x01U\x06latin1\x86R"
    data = b"\x80\x02(" + encode + text + again * 10_000 + b"l."
    tracemalloc.start()
    with pytest.raises(InputError, match="too many values made of the same parts"):
        read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * len(data)


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
    with pytest.raises(InputError, match="not a whole pickle"):
        read(ARRAY[:cut])
