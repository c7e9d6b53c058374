"""A reader of pickles that builds arrays and plain containers, and runs nothing.

Names of classes and functions are text, of which a short list of builders may make a value; others
become a `Stub`. Memory stays within a small multiple of the pickle: lengths are checked against the
bytes left, strings are views. `pickle.Unpickler` promises none of that: it allocates what a length
says, copies arrays, and hashes any key, which takes for ever with 300 bytes of nested tuples.
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
    """Returns the value at the start of `data` and its length in bytes.

    `builders` are by `module.name`; `persistent` makes values of references to things outside.
    Raises `InputError` for damage, or names that only attacks mention.
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
