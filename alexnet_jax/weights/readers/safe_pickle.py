"""A reader of pickles that builds arrays and plain containers, and runs nothing.

The instructions are followed one by one. The name of a class or function is only text, of which a
short list of builders may make a value; anything else becomes a `Stub`, which does nothing.

Memory stays within a small multiple of the pickle's size: every length is compared with the bytes
that are left, long strings are views of the file, and neither the memo nor the keys of
dictionaries can be made to grow. `pickle.Unpickler` with a `find_class` of its own promises none
of that: it allocates what a length says, copies every array, and hashes any key, for which 300
bytes of nested tuples take for ever.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.pickle_machine import DangerousNameError, PickleMachine


def read_pickle(
    data: memoryview,
    what: str,
    *,
    builders: Mapping[str, Callable[..., Any]] | None = None,
    persistent: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """Reads the pickle at the start of `data`; returns its value and its length in bytes.

    Arrays are `PickledArray`s, and objects of other classes `Stub`s. `builders` are functions by
    `module.name`, in addition to `BUILDERS`; `persistent` makes values of references to things
    outside the pickle. Raises `InputError` if it mentions what only attacks do, or is damaged.
    """
    machine = PickleMachine(data, builders, persistent)
    try:
        return machine.read(), machine.at
    except DangerousNameError as error:
        raise InputError(
            f"{what} tries to call '{error}', which weights never need: it may be malicious, and "
            "was not run; get a file with the arrays alone (a state_dict, or safetensors)"
        ) from None
    except (ValueError, TypeError, LookupError, ArithmeticError, struct.error) as error:
        raise InputError(
            f"{what} is not a complete pickle of arrays: {str(error)[:200] or 'damaged'}; get the "
            "file again"
        ) from None
