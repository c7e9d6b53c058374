"""What tests of files from outside share: messages of protocol buffers, and a limit of memory."""

import contextlib
import struct
import tracemalloc


@contextlib.contextmanager
def memory_below(limit: float):
    """Asserts that a block allocates fewer bytes at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, value) -> bytes:
    """Returns one field of a message: a whole number, a float32, a text or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data
