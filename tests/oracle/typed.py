"""What pages show to be typed, given to the parsers of the programs themselves."""

import argparse
import importlib
import re
from pathlib import Path

import pytest

from alexnet_jax import main

ROOT = Path(__file__).resolve().parents[2]


class _Parsed(Exception):
    pass


def parse_verb(words: list[str]) -> None:
    """Parses what follows `alexnet`; raises what the command would say."""
    words = list(words)
    verb = "train" if words[0].startswith("-") else words.pop(0)
    main.parse(verb, words)


def parse_program(module: str, words: list[str]) -> bool:
    """Has a program of `experiments` parse its words, and end there.

    Returns:
      whether it has a parser of its own.
    """

    def stop_after(parse):
        def parsed(*arguments):
            parse(*arguments)  # exits with 2 what it does not understand
            raise _Parsed

        return parsed

    path = ROOT.joinpath(*module.split("."))
    program = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    if not re.search(r"\bparse_\w*args\(", program.read_text("utf-8")):
        return False
    name = ".".join(program.relative_to(ROOT).with_suffix("").parts)
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("parse_args", "parse_intermixed_args"):
            parse = getattr(argparse.ArgumentParser, kind)
            patch.setattr(argparse.ArgumentParser, kind, stop_after(parse))
        patch.setattr("sys.argv", [str(program), *words])
        with pytest.raises(_Parsed):
            importlib.import_module(name).main()
    return True
