"""The stack machine of `safe_pickle`: the instructions of protocols 0 to 5, one by one."""

import pickle
import struct
from collections.abc import Callable
from typing import Any

from alexnet_jax.weights.readers.pickled_values import (
    BUILDERS,
    Name,
    PickledArray,
    PickledType,
    Stub,
    as_key,
    is_dangerous,
)

MAX_COPIED_BYTES = 1 << 20  # longer strings stay views of the file
_MAX_INSTRUCTIONS = 5_000_000
_MAX_LINE = 1024
_ENTRY_BYTES = 64  # of a dictionary, in memory
_MARK = object()


class DangerousNameError(Exception):
    """The pickle mentions a name that only attacks do."""


class PickleMachine:
    """Reads one pickle; `at` is the number of bytes that were read."""

    def __init__(self, data: memoryview, builders: Any, persistent: Any):
        self.data, self.at = data, 0
        self.builders, self.persistent = {**(builders or {}), **BUILDERS}, persistent
        self.copies_left = _MAX_INSTRUCTIONS + 2 * len(data)
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self) -> Any:
        for _ in range(_MAX_INSTRUCTIONS):
            code = bytes(self.take(1))
            if code == pickle.STOP:
                value = self.pop()
                if self.stack:
                    raise ValueError("more than one value")
                return value
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise ValueError(f"instruction {code!r}")
            instruction(self)
        raise ValueError(f"more than {_MAX_INSTRUCTIONS:,} instructions")

    # The bytes of the pickle.

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.data) - self.at:
            raise ValueError(f"{count:,} bytes are announced, {len(self.data) - self.at:,} left")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        window = bytes(self.data[self.at : self.at + _MAX_LINE])
        end = window.index(b"\n")
        self.at += end + 1
        return window[:end].decode("latin1")

    # The stack.

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def top(self) -> Any:
        if self.stack[-1] is _MARK:
            raise ValueError("a mark in the place of a value")
        return self.stack[-1]

    def pop(self) -> Any:
        value = self.top()
        self.stack.pop()
        return value

    def pop_pair(self) -> tuple[Any, Any]:
        second, first = self.pop(), self.pop()
        return first, second

    def pop_to_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                values = self.stack[place + 1 :]
                del self.stack[place:]
                return values
        raise ValueError("no mark")

    # Plain values.

    def push_text(self, form: str) -> None:
        self.push(str(self.take(self.number(form)), "utf-8", "surrogatepass"))

    def push_bytes(self, form: str, encoding: str = "") -> None:
        view = self.take(self.number(form))
        if len(view) > MAX_COPIED_BYTES:
            self.push(view)
        else:
            self.push(str(view, encoding) if encoding else bytes(view))

    def push_quoted_string(self) -> None:
        text = self.line()
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"" or "\\" in text:
            raise ValueError("a string with escapes")
        self.push(text[1:-1])

    def push_integer(self) -> None:
        text = self.line()
        self.push(text == "01" if text in ("00", "01") else int(text.rstrip("L")))

    def push_long(self, form: str) -> None:
        count = self.number(form)
        if count > 255:
            raise ValueError("a number of more than 255 bytes")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def push_tuple(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def push_dict(self) -> None:
        values = self.pop_to_mark()
        self.push({})
        self.set_items(values)

    def memoize(self, index: int) -> None:
        self.memo[index] = self.top()

    # Contents of containers.

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

    # Names, and objects of any class.

    def push_name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        found = Name(module[:200], name[:200])
        if is_dangerous(found):
            raise DangerousNameError(found)
        self.push(found)

    def push_object(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Name | Stub) or not isinstance(arguments, tuple | list):
            raise ValueError("a call of something that is no function")
        builder = self.builders.get(str(function)) if isinstance(function, Name) else None
        if builder is None:
            name = function.made_by if isinstance(function, Stub) else function
            self.push(Stub(name, arguments))
            return
        # The same long argument again and again would make much out of little.
        self.copies_left -= sum(len(a) for a in arguments if isinstance(a, str | bytes))
        containers = sum(len(a) for a in arguments if isinstance(a, list | dict))
        self.copies_left -= _ENTRY_BYTES * containers
        if self.copies_left < 0:
            raise ValueError("too many values made of the same parts")
        self.push(builder(*arguments))

    def push_called_with_names(self) -> None:
        self.pop()  # the arguments by name
        self.push_object(*self.pop_pair())

    def push_instance(self) -> None:
        """The class is named in two lines; its arguments are after a mark."""
        arguments = self.pop_to_mark()
        self.push_name(self.line(), self.line())
        self.push_object(self.pop(), arguments)

    def push_marked_object(self) -> None:
        function, *arguments = self.pop_to_mark()
        self.push_object(function, arguments)

    def set_state(self) -> None:
        state, value = self.pop(), self.top()
        if isinstance(value, PickledArray | PickledType):
            value.set_state(state)
        elif isinstance(value, Stub):
            value.state = state
        # An OrderedDict, a tensor or a number may have attributes, too: they are left out.

    def push_reference(self) -> None:
        if self.persistent is None:
            raise ValueError("a reference to something outside")
        self.push(self.persistent(self.pop()))


_INSTRUCTIONS: dict[bytes, Callable[[PickleMachine], Any]] = {
    pickle.PROTO: lambda r: r.take(1),
    pickle.FRAME: lambda r: r.take(8),  # the lengths within say it all
    # Constants and numbers.
    pickle.NONE: lambda r: r.push(None),
    pickle.NEWTRUE: lambda r: r.push(True),
    pickle.NEWFALSE: lambda r: r.push(False),
    pickle.INT: PickleMachine.push_integer,
    pickle.LONG: PickleMachine.push_integer,
    pickle.BININT: lambda r: r.push(r.number("<i")),
    pickle.BININT1: lambda r: r.push(r.number("<B")),
    pickle.BININT2: lambda r: r.push(r.number("<H")),
    pickle.LONG1: lambda r: r.push_long("<B"),
    pickle.LONG4: lambda r: r.push_long("<I"),
    pickle.FLOAT: lambda r: r.push(float(r.line())),
    pickle.BINFLOAT: lambda r: r.push(r.number(">d")),
    # Text and bytes. 8-bit strings of Python 2 are text, or the bytes of an array.
    pickle.STRING: PickleMachine.push_quoted_string,
    pickle.BINSTRING: lambda r: r.push_bytes("<I", "latin1"),
    pickle.SHORT_BINSTRING: lambda r: r.push_bytes("<B", "latin1"),
    pickle.UNICODE: lambda r: r.push(r.line()),
    pickle.BINUNICODE: lambda r: r.push_text("<I"),
    pickle.SHORT_BINUNICODE: lambda r: r.push_text("<B"),
    pickle.BINUNICODE8: lambda r: r.push_text("<Q"),
    pickle.BINBYTES: lambda r: r.push_bytes("<I"),
    pickle.SHORT_BINBYTES: lambda r: r.push_bytes("<B"),
    pickle.BINBYTES8: lambda r: r.push_bytes("<Q"),
    pickle.BYTEARRAY8: lambda r: r.push_bytes("<Q"),
    # Containers. A set is a list, whose members need no hashing.
    pickle.EMPTY_LIST: lambda r: r.push([]),
    pickle.LIST: lambda r: r.push(r.pop_to_mark()),
    pickle.APPEND: lambda r: r.append([r.pop()]),
    pickle.APPENDS: lambda r: r.append(r.pop_to_mark()),
    pickle.EMPTY_SET: lambda r: r.push([]),
    pickle.ADDITEMS: lambda r: r.append(r.pop_to_mark()),
    pickle.FROZENSET: lambda r: r.push(tuple(r.pop_to_mark())),
    pickle.EMPTY_TUPLE: lambda r: r.push(()),
    pickle.TUPLE: lambda r: r.push(tuple(r.pop_to_mark())),
    pickle.TUPLE1: lambda r: r.push_tuple(1),
    pickle.TUPLE2: lambda r: r.push_tuple(2),
    pickle.TUPLE3: lambda r: r.push_tuple(3),
    pickle.EMPTY_DICT: lambda r: r.push({}),
    pickle.DICT: PickleMachine.push_dict,
    pickle.SETITEM: lambda r: r.set_items([*r.pop_pair()]),
    pickle.SETITEMS: lambda r: r.set_items(r.pop_to_mark()),
    # The stack and the memo.
    pickle.MARK: lambda r: r.push(_MARK),
    pickle.POP: lambda r: r.stack.pop(),
    pickle.POP_MARK: PickleMachine.pop_to_mark,
    pickle.DUP: lambda r: r.push(r.stack[-1]),
    pickle.PUT: lambda r: r.memoize(int(r.line())),
    pickle.BINPUT: lambda r: r.memoize(r.number("<B")),
    pickle.LONG_BINPUT: lambda r: r.memoize(r.number("<I")),
    pickle.MEMOIZE: lambda r: r.memoize(len(r.memo)),
    pickle.GET: lambda r: r.push(r.memo[int(r.line())]),
    pickle.BINGET: lambda r: r.push(r.memo[r.number("<B")]),
    pickle.LONG_BINGET: lambda r: r.push(r.memo[r.number("<I")]),
    # Names and objects.
    pickle.GLOBAL: lambda r: r.push_name(r.line(), r.line()),
    pickle.STACK_GLOBAL: lambda r: r.push_name(*r.pop_pair()),
    pickle.REDUCE: lambda r: r.push_object(*r.pop_pair()),
    pickle.NEWOBJ: lambda r: r.push_object(*r.pop_pair()),
    pickle.NEWOBJ_EX: PickleMachine.push_called_with_names,
    pickle.INST: PickleMachine.push_instance,
    pickle.OBJ: PickleMachine.push_marked_object,
    pickle.BUILD: PickleMachine.set_state,
    pickle.BINPERSID: PickleMachine.push_reference,
}
