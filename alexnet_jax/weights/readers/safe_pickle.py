"""A reader of pickles that builds arrays and plain containers, and runs nothing.

A pickle is a program. Here its instructions are followed by hand: a name of a class or function
is only ever text, which a short list of builders may turn into a value; what any other would have
made is a `Stub`, which does nothing. Nothing is imported or called. Memory stays within a small
multiple of the pickle's own size: every length is compared with the bytes that are left before
anything is allocated, long strings are views of the file, and neither memo nor dictionary keys can
be made to grow (as `pickle.load` lets them).
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.pickled_values import (
    BUILDERS,
    Array,
    DType,
    Name,
    Stub,
    as_key,
    is_of_attacks,
)

LONGEST_TEXT = 1 << 20  # longer strings stay views of the file
_MOST_INSTRUCTIONS = 5_000_000
_LONGEST_LINE = 1024
_ENTRY_BYTES = 64  # of a dictionary, in memory


def read_pickle(
    data: memoryview,
    what: str,
    *,
    builders: Mapping[str, Callable[..., Any]] | None = None,
    persistent: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """Reads the pickle at the start of `data`.

    Args:
      data: bytes, perhaps with something after the pickle.
      what: what to call it in errors.
      builders: functions by `module.name`, beside `BUILDERS`.
      persistent: makes values of the references to things outside of the pickle.

    Returns:
      The value, in which arrays are `Array`s and objects of other classes `Stub`s, and how many
      bytes were read.

    Raises:
      InputError: the pickle mentions what only attacks do, or is damaged.
    """
    reader = _Reader(data, {**(builders or {}), **BUILDERS}, persistent)
    try:
        return reader.read(), reader.at
    except _ForbiddenError as error:
        raise InputError(
            f"{what} wants to call '{error}', which weights never need: it may be malicious, and "
            "was not run; get a file with the arrays alone (a state_dict, or safetensors)"
        ) from None
    except (ValueError, TypeError, LookupError, ArithmeticError, struct.error) as error:
        raise InputError(
            f"{what} is not a whole pickle of arrays: {str(error)[:200] or 'damaged'}; get the "
            "file again"
        ) from None


class _ForbiddenError(Exception):
    """The pickle mentions a name that only attacks do."""


_MARK = object()


class _Reader:
    """The stack machine. Opcodes are those of `pickletools`, protocols 0 to 5."""

    def __init__(self, data, builders, persistent):
        self.data, self.at = data, 0
        self.builders, self.persistent = builders, persistent
        self.work = _MOST_INSTRUCTIONS + 2 * len(data)
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self) -> Any:
        for _ in range(_MOST_INSTRUCTIONS):
            code = bytes(self.take(1))
            if code == b".":
                value = self.pop()
                if self.stack:
                    raise ValueError("more than one value")
                return value
            step = _STEPS.get(code)
            if step is None:
                raise ValueError(f"instruction {code!r}")
            step(self)
        raise ValueError(f"more than {_MOST_INSTRUCTIONS:,} instructions")

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.data) - self.at:
            raise ValueError(f"{count:,} bytes are announced, {len(self.data) - self.at:,} left")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        window = bytes(self.data[self.at : self.at + _LONGEST_LINE])
        end = window.index(b"\n")
        self.at += end + 1
        return window[:end].decode("latin1")

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark in the place of a value")
        return value

    def pop_to_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                values = self.stack[place + 1 :]
                del self.stack[place:]
                return values
        raise ValueError("no mark")

    def text(self, form: str) -> None:
        self.stack.append(str(self.take(self.number(form)), "utf-8", "surrogatepass"))

    def raw(self, form: str, old: bool = False) -> None:
        """Bytes; an 8-bit string of Python 2 is text where it is short."""
        view = self.take(self.number(form))
        long = len(view) > LONGEST_TEXT
        self.stack.append(view if long else str(view, "latin1") if old else bytes(view))

    def integer(self) -> None:
        text = self.line()
        self.stack.append(
            {"00": False, "01": True}.get(text, None)
            if text in ("00", "01")
            else int(text.rstrip("L"))
        )

    def old_text(self) -> None:
        text = self.line()
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"" or "\\" in text:
            raise ValueError("a string with escapes")
        self.stack.append(text[1:-1])

    def long(self, form: str) -> None:
        count = self.number(form)
        if count > 255:
            raise ValueError("a number of more than 255 bytes")
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def put(self, index: int) -> None:
        if self.stack[-1] is _MARK:
            raise ValueError("a mark in the place of a value")
        self.memo[index] = self.stack[-1]

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        found = Name(module[:200], name[:200])
        if is_of_attacks(found):
            raise _ForbiddenError(found)
        self.stack.append(found)

    def make(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Name | Stub) or not isinstance(arguments, tuple | list):
            raise ValueError("a call of something that is no function")
        builder = self.builders.get(str(function)) if isinstance(function, Name) else None
        if builder is None:
            name = function.made_by if isinstance(function, Stub) else function
            self.stack.append(Stub(name, arguments))
            return
        # The same long argument again and again would make much out of little.
        self.work -= sum(len(a) for a in arguments if isinstance(a, str | bytes))
        self.work -= _ENTRY_BYTES * sum(len(a) for a in arguments if isinstance(a, list | dict))
        if self.work < 0:
            raise ValueError("too many values made of the same parts")
        self.stack.append(builder(*arguments))

    def instance(self) -> None:
        """INST: a class named in two lines, and arguments after a mark."""
        arguments = self.pop_to_mark()
        self.name(self.line(), self.line())
        self.make(self.pop(), arguments)

    def object(self) -> None:
        """OBJ: a class and arguments after a mark."""
        function, *arguments = self.pop_to_mark()
        self.make(function, arguments)

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.make(function, arguments)

    def reduce_with_names(self) -> None:
        """NEWOBJ_EX: a class, its arguments, and arguments by name."""
        self.pop()
        self.reduce()

    def stack_name(self) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def build(self) -> None:
        state, value = self.pop(), self.stack[-1]
        if isinstance(value, Array | DType):
            value.set_state(state)
        elif isinstance(value, Stub):
            value.state = state
        elif value is _MARK:
            raise ValueError("a mark in the place of a value")
        # An OrderedDict, a tensor or a number may have attributes, too: they are left out.

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Stub):
            if not isinstance(target.items, list):
                target.items = []
            target = target.items
        if not isinstance(target, list):
            raise ValueError("items for something that is no list")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if len(values) % 2:
            raise ValueError("a key without a value")
        if isinstance(target, Stub):
            if not isinstance(target.items, dict):
                target.items = {}
            target = target.items
        if not isinstance(target, dict):
            raise ValueError("items for something that is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[as_key(key)] = value

    def refer(self) -> None:
        if self.persistent is None:
            raise ValueError("a reference to something outside")
        self.stack.append(self.persistent(self.pop()))

    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def pop_one(self) -> None:
        self.stack.pop()


def _push(value: Any) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(value)


def _dict(reader: _Reader) -> None:
    values = reader.pop_to_mark()
    reader.stack.append({})
    reader.set_items(values)


def _set_item(reader: _Reader) -> None:
    value, key = reader.pop(), reader.pop()
    reader.set_items([key, value])


def _set_items(reader: _Reader) -> None:
    reader.set_items(reader.pop_to_mark())


_STEPS: dict[bytes, Callable[[_Reader], Any]] = {
    b"\x80": lambda r: r.take(1),  # PROTO
    b"\x95": lambda r: r.take(8),  # FRAME: its length says nothing that the rest does not
    b"(": _push(_MARK),
    b"0": _Reader.pop_one,
    b"1": _Reader.pop_to_mark,
    b"2": lambda r: r.stack.append(r.stack[-1]),
    b"N": _push(None),
    b"\x88": _push(True),
    b"\x89": _push(False),
    b"I": _Reader.integer,
    b"L": _Reader.integer,
    b"J": lambda r: r.stack.append(r.number("<i")),
    b"K": lambda r: r.stack.append(r.number("<B")),
    b"M": lambda r: r.stack.append(r.number("<H")),
    b"\x8a": lambda r: r.long("<B"),
    b"\x8b": lambda r: r.long("<I"),
    b"F": lambda r: r.stack.append(float(r.line())),
    b"G": lambda r: r.stack.append(r.number(">d")),
    b"S": _Reader.old_text,
    b"T": lambda r: r.raw("<I", old=True),
    b"U": lambda r: r.raw("<B", old=True),
    b"B": lambda r: r.raw("<I"),
    b"C": lambda r: r.raw("<B"),
    b"\x8e": lambda r: r.raw("<Q"),
    b"V": lambda r: r.stack.append(r.line()),
    b"X": lambda r: r.text("<I"),
    b"\x8c": lambda r: r.text("<B"),
    b"\x8d": lambda r: r.text("<Q"),
    b"]": lambda r: r.stack.append([]),
    b"}": lambda r: r.stack.append({}),
    b"\x8f": lambda r: r.stack.append([]),  # a set: its members need no hashing here
    b"\x90": lambda r: r.append(r.pop_to_mark()),
    b"\x91": lambda r: r.stack.append(tuple(r.pop_to_mark())),
    b"\x96": lambda r: r.raw("<Q"),  # a bytearray
    b")": _push(()),
    b"l": lambda r: r.stack.append(r.pop_to_mark()),
    b"d": _dict,
    b"t": lambda r: r.stack.append(tuple(r.pop_to_mark())),
    b"\x85": lambda r: r.tuple_of(1),
    b"\x86": lambda r: r.tuple_of(2),
    b"\x87": lambda r: r.tuple_of(3),
    b"a": lambda r: r.append([r.pop()]),
    b"e": lambda r: r.append(r.pop_to_mark()),
    b"s": _set_item,
    b"u": _set_items,
    b"p": lambda r: r.put(int(r.line())),
    b"q": lambda r: r.put(r.number("<B")),
    b"r": lambda r: r.put(r.number("<I")),
    b"\x94": lambda r: r.put(len(r.memo)),
    b"g": lambda r: r.stack.append(r.memo[int(r.line())]),
    b"h": lambda r: r.stack.append(r.memo[r.number("<B")]),
    b"j": lambda r: r.stack.append(r.memo[r.number("<I")]),
    b"c": lambda r: r.name(r.line(), r.line()),
    b"\x93": _Reader.stack_name,
    b"R": _Reader.reduce,
    b"\x81": _Reader.reduce,  # NEWOBJ: a class and its arguments
    b"\x92": _Reader.reduce_with_names,
    b"b": _Reader.build,
    b"i": _Reader.instance,
    b"o": _Reader.object,
    b"Q": _Reader.refer,
}
