"""The program: `python -m alexnet_jax.main`, or `alexnet`. Its verbs are in `commands/`."""

import sys
from collections.abc import Sequence

from alexnet_jax.command_line import parse, run
from alexnet_jax.commands import VERBS

__all__ = ["VERBS", "main", "parse"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command (default `sys.argv`; `train` without a verb) and returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run(words, last=arguments is None)


if __name__ == "__main__":
    sys.exit(main())
